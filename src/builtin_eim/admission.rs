//! Admission: joins, the lobby, and removals.

use super::address::Visitor;
use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::event::{
    Audio, Change, Left, LeftReason, Member, MemberState, MutePolicy, NOT_STARTED, Role, Video, WaitingReason,
    WaitingRemoved,
};
use crate::ids::UserId;
use crate::refusal::Reason;

/// Most people of one conference whose silence is remembered after they left; whoever comes beyond that is bound by
/// the mute policy only.
const SILENCED_MAX: usize = 1000;

/// Most people of one conference who are kept out for a while at a time.
const KICKED_MAX: usize = 1000;

impl Room {
    /// Takes the visitor in or lets them wait. Checks in this order: banned, started, locked, full, lobby. Who is in
    /// already, or waits, gets their entry again; the conference's chair is only ever stopped by the end, its further
    /// chairs by a full house as well; who has a kept seat was admitted before.
    pub fn join(&mut self, cause: &Cause<'_>, visitor: &Visitor, name: &str) -> Result<Member, StanzaError> {
        let user = &visitor.id;
        if let Some(member) = self.roster.member(user) {
            return Ok(member.clone());
        }
        self.check_barred(cause, user)?;
        self.check_started(user)?;
        if let Some(member) = self.return_to_seat(cause, user) {
            return Ok(member);
        }
        if self.is_chair(user) {
            if self.chair() != user && self.is_full(cause) {
                return Err(StanzaError::of(Reason::ConferenceFull));
            }
            self.start(cause);
            return Ok(self.add_member(cause, visitor, name));
        }
        if let Some(waiter) = self.roster.waiter(user) {
            return Ok(waiter.clone());
        }
        if self.roster.conference.locked {
            return Err(StanzaError::of(Reason::ConferenceLocked));
        }
        if self.is_full(cause) {
            return Err(StanzaError::of(Reason::ConferenceFull));
        }
        if self.roster.conference.lobby {
            self.add_waiting(cause, visitor, name)
        } else {
            Ok(self.add_member(cause, visitor, name))
        }
    }

    /// Whether the user was sent out, for a while or for good.
    pub fn check_barred(&self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        let is_kicked = self.kicked.get(user).is_some_and(|until| cause.now.moment < *until);
        if is_kicked || self.banned.contains(user) { Err(StanzaError::of(Reason::ConferenceBanned)) } else { Ok(()) }
    }

    /// Sends somebody out, and keeps them out for a while.
    pub fn kick(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.expel(cause, user, LeftReason::Kicked)?;
        self.kicked.retain(|_, until| cause.now.moment < *until);
        if self.kicked.len() < KICKED_MAX {
            self.kicked.insert(user.clone(), cause.now.moment.plus_ms(cause.limits.kick_ms));
        }
        self.pending.head = true;
        Ok(())
    }

    fn check_started(&self, user: &UserId) -> Result<(), StanzaError> {
        if self.is_over() {
            return Err(StanzaError::of(Reason::ConferenceEnded));
        }
        if self.roster.conference.state == NOT_STARTED && !self.is_chair(user) {
            return Err(StanzaError::of(Reason::NotStarted));
        }
        Ok(())
    }

    /// A kept seat is a place taken.
    pub fn is_full(&self, cause: &Cause<'_>) -> bool {
        self.roster.members.len() + self.seats.len() >= cause.limits.conference_members
    }

    pub fn add_member(&mut self, cause: &Cause<'_>, visitor: &Visitor, name: &str) -> Member {
        let member = self.newcomer(cause, visitor, name);
        self.emit(cause, Change::MemberJoined(member.clone()));
        member
    }

    fn add_waiting(&mut self, cause: &Cause<'_>, visitor: &Visitor, name: &str) -> Result<Member, StanzaError> {
        if self.roster.waiting.len() >= cause.limits.conference_members {
            return Err(StanzaError::of(Reason::ConferenceFull));
        }
        let waiter = Member { state: MemberState::Waiting, ..self.newcomer(cause, visitor, name) };
        self.emit(cause, Change::WaitingAdded(waiter.clone()));
        Ok(waiter)
    }

    fn newcomer(&self, cause: &Cause<'_>, visitor: &Visitor, name: &str) -> Member {
        let role = match visitor.temporary {
            _ if self.is_chair(&visitor.id) => Role::Chair,
            // A former chair is a member at most.
            true if visitor.role == Role::Guest => Role::Guest,
            _ => Role::Member,
        };
        Member {
            user_id: visitor.id.clone(),
            name: name.to_owned(),
            role,
            state: MemberState::Joined,
            audio: self.first_audio(&visitor.id),
            // Its owner opens it, never their coming in.
            video: Video::Off,
            hand: false,
            unmute_asked: false,
            joined_at: cause.now.date,
        }
    }

    /// Off until its owner opens it, which they may unless they are forced to be silent.
    fn first_audio(&self, user: &UserId) -> Audio {
        let locked = self.roster.conference.mute_policy == MutePolicy::Locked;
        let forced = !self.is_chair(user) && (locked || self.silenced.contains(user));
        if forced { Audio::ForcedOff } else { Audio::Off }
    }

    /// Admits the waiting members that nothing keeps waiting any more: the lobby is off, the conference not locked, a
    /// place free.
    pub fn admit_waiting(&mut self, cause: &Cause<'_>) {
        let conference = &self.roster.conference;
        if conference.lobby || conference.locked || !self.is_open() {
            return;
        }
        while let Some(first) = self.roster.waiting.first().map(|m| m.user_id.clone()) {
            if self.admit(cause, &first).is_err() {
                return;
            }
        }
    }

    pub fn admit(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        let waiter = self.roster.waiter(user).ok_or(StanzaError::of(Reason::MemberNotFound))?.clone();
        if self.is_full(cause) {
            return Err(StanzaError::of(Reason::ConferenceFull));
        }
        let removed = WaitingRemoved { user_id: user.clone(), reason: WaitingReason::Admitted };
        self.emit(cause, Change::WaitingRemoved(removed));
        let online = self.presence.get(user).is_none_or(|p| p.online);
        let member = Member {
            state: if online { MemberState::Joined } else { MemberState::Reconnecting },
            // The policy may have changed since they knocked.
            audio: self.first_audio(user),
            joined_at: cause.now.date,
            ..waiter
        };
        self.emit(cause, Change::MemberJoined(member));
        Ok(())
    }

    /// As many as there is room for, in the order in which they came.
    pub fn admit_all(&mut self, cause: &Cause<'_>) -> Result<(), StanzaError> {
        let waiting: Vec<UserId> = self.roster.waiting.iter().map(|m| m.user_id.clone()).collect();
        for (admitted, user) in waiting.iter().enumerate() {
            match self.admit(cause, user) {
                Err(full) if admitted == 0 => return Err(full),
                Err(_) => return Ok(()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    pub fn refuse_waiter(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        if !self.is_waiting(user) {
            return Err(StanzaError::of(Reason::MemberNotFound));
        }
        let denied = WaitingRemoved { user_id: user.clone(), reason: WaitingReason::Denied };
        self.emit(cause, Change::WaitingRemoved(denied));
        self.drop_presence(user);
        Ok(())
    }

    /// The user goes, from wherever they are. Their subscription stays as long as their socket does.
    pub fn leave(&mut self, cause: &Cause<'_>, user: &UserId) {
        if self.is_member(user) {
            self.remove_member(cause, user, LeftReason::Left);
        } else if self.is_waiting(user) {
            let left = WaitingRemoved { user_id: user.clone(), reason: WaitingReason::Left };
            self.emit(cause, Change::WaitingRemoved(left));
            self.forget_stranger(user);
        } else {
            self.drop_seat(user);
        }
    }

    /// Puts somebody out, from wherever they are, and keeps nothing of theirs.
    pub fn expel(&mut self, cause: &Cause<'_>, user: &UserId, reason: LeftReason) -> Result<(), StanzaError> {
        if self.chair() == user {
            return Err(StanzaError::of(Reason::ChairStays));
        }
        if self.is_member(user) {
            self.remove_member(cause, user, reason);
        } else if self.is_waiting(user) {
            self.refuse_waiter(cause, user)?;
        } else if self.drop_seat(user).is_none() {
            return Err(StanzaError::of(Reason::MemberNotFound));
        }
        self.drop_chair(user);
        self.drop_presence(user);
        Ok(())
    }

    /// Takes a member out of the roster, and their picture off the main place.
    pub fn remove_member(&mut self, cause: &Cause<'_>, user: &UserId, reason: LeftReason) {
        if let Some(member) = self.roster.member(user).cloned() {
            self.remember_silence(&member);
        }
        self.emit(cause, Change::MemberLeft(Left { user_id: user.clone(), reason }));
        if self.roster.conference.main_video.as_ref() == Some(user) {
            let cleared = self.conference_with(|c| c.main_video = None);
            self.emit(cause, Change::MainVideo(cleared));
        }
        self.forget_stranger(user);
    }

    /// Somebody whom the chair forced to be silent stays so when they come back.
    pub fn remember_silence(&mut self, member: &Member) {
        if member.audio == Audio::ForcedOff && self.silenced.len() < SILENCED_MAX {
            self.silenced.insert(member.user_id.clone());
            self.pending.head = true;
        }
    }
}
