//! What listeners are sent: events, snapshots, and what they missed.

use super::super::log::{Entry, Log, Reason, full_snapshot, notification, outside_snapshot};
use super::{CREATION, Core, Effect, Effects, Start, Subscriber};
use crate::event::{Change, ENDED, Event, Roster, WaitingReason};
use crate::http::ws::Frame;
use crate::ids::UserId;

impl Core {
    /// Says something to every member who listens: `frame` is no event, and has no number.
    pub fn send_to_members(&self, frame: &Frame) -> Effects {
        let is_member = |user: &UserId| self.roster().is_some_and(|roster| roster.member(user).is_some());
        let members = self.subscribers.iter().filter(|(user, _)| is_member(user));
        let send = |(user, subscriber): (&UserId, &Subscriber)| Effect::Send {
            user: user.clone(),
            generation: subscriber.generation,
            frame: frame.clone(),
        };
        members.map(send).collect()
    }

    /// Gives each listener the event, or a snapshot to one who has just come to see more.
    pub(super) fn pass_on(&mut self, event: &Event, out: &mut Effects) {
        let Some(frame) = self.log.as_ref().and_then(Log::last).map(|entry| &entry.frame) else { return };
        let (mut others, mut may_see_less) = (Vec::new(), Vec::new());
        for (user, subscriber) in self.subscribers.iter().filter(|(_, subscriber)| subscriber.pending.is_none()) {
            if !subscriber.full {
                others.push(user.clone());
                continue;
            }
            if ends_sight(&event.change, user) {
                may_see_less.push(user.clone());
            }
            let generation = subscriber.generation;
            out.push(Effect::Send { user: user.clone(), generation, frame: frame.clone() });
        }
        for user in may_see_less {
            self.set_full(&user, self.sees_all(&user));
        }
        for user in others {
            self.pass_on_outside(&user, event, out);
        }
    }

    /// To one who has not seen all until now.
    fn pass_on_outside(&mut self, user: &UserId, event: &Event, out: &mut Effects) {
        let Some(subscriber) = self.subscribers.get(user) else { return };
        match &event.change {
            // A guest's socket says it by its close.
            Change::WaitingRemoved(gone)
                if gone.user_id == *user && gone.reason == WaitingReason::Denied && !subscriber.guest =>
            {
                self.send_last(user, out);
            }
            Change::WaitingAdded(m) if m.user_id == *user => self.send_snapshot(user, Reason::Join, out),
            _ if self.sees_all(user) => self.send_snapshot(user, Reason::Join, out),
            _ => {}
        }
    }

    pub(super) fn sees_all(&self, user: &UserId) -> bool {
        self.roster().is_some_and(|r| r.member(user).is_some() || r.conference.chair == *user)
    }

    fn set_full(&mut self, user: &UserId, full: bool) {
        if let Some(subscriber) = self.subscribers.get_mut(user) {
            subscriber.full = full;
        }
    }

    /// Tells one whose socket stays that it is over, where no event will: the EIM has no word of it any more.
    pub(super) fn notify_over(&self, user: &UserId, out: &mut Effects) {
        let (Some(subscriber), Some(roster)) = (self.subscribers.get(user), self.roster()) else { return };
        if subscriber.guest || self.is_call() {
            return;
        }
        let mut roster = roster.clone();
        roster.conference.state = ENDED;
        let full = self.sees_all(user);
        let text =
            if full { full_snapshot(&roster, Reason::Gap) } else { outside_snapshot(&roster, user, Reason::Gap) };
        out.push(Effect::Send { user: user.clone(), generation: subscriber.generation, frame: text.into() });
    }

    /// The first frames of a new listener: what it missed, a snapshot, or the creation.
    pub(super) fn send_first_snapshot(&mut self, user: &UserId, now: u64, out: &mut Effects) {
        if self.log.is_none() {
            return;
        }
        let Some(subscriber) = self.subscribers.get_mut(user) else { return };
        let Some(start) = subscriber.pending.take() else { return };
        let generation = subscriber.generation;
        let full = self.sees_all(user);
        let Some(log) = &self.log else { return };
        if start == Start::Creation && log.roster().seq == CREATION {
            let frame = created(log.roster(), self.date.unwrap_or(now));
            out.push(Effect::Send { user: user.clone(), generation, frame });
            self.set_full(user, full);
            return;
        }
        let resumed = match (&start, full) {
            (Start::Since(position), true) => log.since_for(user, position),
            _ => Err(Reason::Join),
        };
        let (replay, replay_bytes) = (self.limits.replay, self.limits.replay_bytes);
        let resumed = resumed.and_then(|entries| {
            let fits = entries.clone().count() <= replay
                && entries.clone().map(|e| e.frame.len()).sum::<usize>() <= replay_bytes;
            if fits { Ok(entries) } else { Err(Reason::Expired) }
        });
        let frame = |e: &Entry| Effect::Send { user: user.clone(), generation, frame: e.frame.clone() };
        match resumed.map(|entries| out.extend(entries.map(frame))) {
            Ok(()) => self.set_full(user, true),
            Err(reason) => self.send_snapshot(user, reason, out),
        }
    }

    pub(super) fn send_snapshot(&mut self, user: &UserId, reason: Reason, out: &mut Effects) {
        let full = self.sees_all(user);
        let Some(roster) = self.log.as_ref().map(Log::roster) else { return };
        let text = if full { full_snapshot(roster, reason) } else { outside_snapshot(roster, user, reason) };
        let Some(subscriber) = self.subscribers.get_mut(user) else { return };
        subscriber.pending = None;
        subscriber.full = full;
        out.push(Effect::Send { user: user.clone(), generation: subscriber.generation, frame: text.into() });
    }

    fn send_last(&self, user: &UserId, out: &mut Effects) {
        let (Some(subscriber), Some(entry)) = (self.subscribers.get(user), self.log.as_ref().and_then(Log::last))
        else {
            return;
        };
        out.push(Effect::Send { user: user.clone(), generation: subscriber.generation, frame: entry.frame.clone() });
    }
}

/// Whether one who sees all may not do so after the event.
fn ends_sight(change: &Change, user: &UserId) -> bool {
    match change {
        Change::MemberLeft(left) => left.user_id == *user,
        Change::MemberJoined(_) | Change::MemberUpdated(_) => false,
        Change::WaitingAdded(_) | Change::WaitingRemoved(_) => false,
        Change::Message(_) | Change::Custom(_) => false,
        // It may have another chair.
        _ => true,
    }
}

/// The event that a roster with nothing else in it comes from.
fn created(roster: &Roster, now: u64) -> Frame {
    let event = Event {
        epoch: roster.epoch.clone(),
        seq: CREATION,
        conf_id: roster.conference.conf_id.clone(),
        time: now,
        change: Change::Created(roster.conference.clone()),
        actor: Some(roster.conference.chair.clone()),
    };
    notification("conference.event", &event).into()
}
