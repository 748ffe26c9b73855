//! A conference from its start to its end: what its chair changes, what time brings, and the seats kept meanwhile.

use super::room::{Cause, Room, Seat};
use super::settings::Limits;
use crate::clock::Moment;
use crate::event::{Change, Conference, ENDED, Member, MemberState, NOT_STARTED, OPEN};
use crate::ids::{Secret, UserId};

impl Room {
    pub fn set_password(&mut self, password: &str) {
        if self.password.expose() != password {
            self.password = Secret::new(password);
            self.pending.head = true;
        }
    }

    /// Makes the conference what `changed` says, and brings everybody in it under a new mute policy.
    pub fn update(&mut self, cause: &Cause<'_>, changed: Conference) {
        if changed == self.roster.conference {
            return;
        }
        let before = self.roster.conference.mute_policy;
        self.emit(cause, Change::Updated(changed));
        self.bind_to_policy(cause, before);
        if self.roster.conference.start_at.is_some_and(|at| at <= cause.now.date) {
            self.start(cause);
        }
    }

    pub fn start(&mut self, cause: &Cause<'_>) {
        if self.roster.conference.state == NOT_STARTED {
            let started = self.conference_with(|c| c.state = OPEN);
            self.emit(cause, Change::Started(started));
        }
    }

    /// Ends the conference: everybody is told of it, nobody is left in it, nobody listens any more.
    pub fn end(&mut self, cause: &Cause<'_>) {
        if self.is_over() {
            return;
        }
        let ended = self.conference_with(|c| {
            c.state = ENDED;
            c.main_video = None;
        });
        self.emit(cause, Change::Ended(ended));
        self.ended_at = Some(cause.now.moment);
        self.seats.clear();
        self.presence.clear();
        self.silenced.clear();
    }

    /// The date (ms since 1970) at which [`Room::tick`] starts the conference.
    pub fn starts_on(&self) -> Option<u64> {
        self.roster.conference.start_at.filter(|_| self.roster.conference.state == NOT_STARTED)
    }

    /// When [`Room::tick`] has something else to do next.
    pub fn due(&self, limits: &Limits) -> Option<Moment> {
        if let Some(ended) = self.ended_at {
            return Some(ended.plus_ms(self.kept_ms(limits)));
        }
        if self.roster.conference.state == NOT_STARTED {
            return None;
        }
        let seat = self.seats.values().map(|seat| seat.until).min();
        let abandoned = self.empty_since.map(|since| since.plus_ms(limits.abandoned_ms));
        seat.into_iter().chain(abandoned).min()
    }

    /// How long it is known by name after its end. Nobody looks for a call's conference by a name or a password.
    pub fn kept_ms(&self, limits: &Limits) -> u64 {
        if self.roster.conference.call.is_some() { 0 } else { limits.ended_kept_ms }
    }

    /// Does what time has brought: the start, seats that nobody came back to, the end of what nobody is in.
    /// Being forgotten after the end is the directory's business.
    pub fn tick(&mut self, cause: &Cause<'_>) {
        let starts = self.roster.conference.start_at.is_some_and(|at| at <= cause.now.date);
        if starts {
            self.start(cause);
        }
        let late = self.seats.iter().filter(|(_, seat)| seat.until <= cause.now.moment);
        for user in late.map(|(user, _)| user.clone()).collect::<Vec<_>>() {
            self.drop_seat(&user);
        }
        let abandoned =
            self.empty_since.is_some_and(|since| since.plus_ms(cause.limits.abandoned_ms) <= cause.now.moment);
        if abandoned && self.is_open() {
            self.end(cause);
        }
    }

    /// Gives a kept seat up. The place is free for others and the user joins anew.
    pub fn drop_seat(&mut self, user: &UserId) -> Option<Seat> {
        let seat = self.seats.remove(user)?;
        self.remember_silence(&seat.member);
        self.pending.people.insert(user.clone());
        self.forget_stranger(user);
        Some(seat)
    }

    /// Takes who was admitted before into the roster again, as they were.
    pub fn return_to_seat(&mut self, cause: &Cause<'_>, user: &UserId) -> Option<Member> {
        let seat = self.seats.remove(user)?;
        let member = Member { state: MemberState::Joined, ..seat.member };
        self.emit(cause, Change::MemberJoined(member.clone()));
        Some(member)
    }
}
