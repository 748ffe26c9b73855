//! Reports of users' sockets: who is in, who is awaited back, whose seat is over.

use super::difference::Subject;
use super::seats::{Claim, Presence, Seat};
use super::{Numbering, Order, Orders};
use crate::event::{Change, Left, LeftReason, Member, MemberState, WaitingReason, WaitingRemoved};
use crate::ids::UserId;

/// How long until somebody is made to leave once more, where the EIM could not be reached.
const LEAVE_RETRY_MS: u64 = 2000;

/// Why a user may not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSubscription {
    /// They were removed.
    Refused,
    /// The conference is over.
    Over,
}

impl Numbering {
    /// A socket of the user's is open and listens. Whoever may open one is decided by those who attach it; here they are
    /// refused who were removed. A socket that was taken over is without effect, and may listen until it is closed; so may
    /// that of a node for which another one answers.
    ///
    /// # Errors
    /// Why they may not listen.
    pub fn subscribe(
        &mut self,
        user: &UserId,
        claim: &Claim,
        now: u64,
        date: u64,
        out: &mut Orders,
    ) -> Result<(), NoSubscription> {
        if self.is_over() {
            return Err(NoSubscription::Over);
        }
        if self.barred.contains(user) {
            return Err(NoSubscription::Refused);
        }
        if self.seats.accepts(user, claim, true) {
            self.report(user, claim, Presence::Online, now, date, out);
        }
        Ok(())
    }

    /// The user has no socket any more, or joined without one. An older report than the newest is without effect.
    pub fn away(&mut self, user: &UserId, claim: &Claim, now: u64, date: u64, out: &mut Orders) {
        if !(self.is_over() || self.barred.contains(user)) && self.seats.accepts(user, claim, false) {
            self.report(user, claim, Presence::Away, now, date, out);
        }
    }

    /// The user's grace is over; the seat is kept for `keep_ms`.
    pub fn gone(&mut self, user: &UserId, claim: &Claim, keep_ms: u64, now: u64, date: u64, out: &mut Orders) {
        if self.is_over() || !self.seats.accepts(user, claim, false) || self.seats.hidden(user).is_some() {
            return;
        }
        let Some(roster) = self.roster() else { return };
        let (member, waiter) = (roster.member(user).cloned(), roster.waiter(user).cloned());
        self.compare.touch(&Subject::User(user.clone()));
        let change = match (&member, &waiter) {
            (Some(_), _) => Change::MemberLeft(Left { user_id: user.clone(), reason: LeftReason::Timeout }),
            (None, Some(_)) => {
                Change::WaitingRemoved(WaitingRemoved { user_id: user.clone(), reason: WaitingReason::Left })
            }
            (None, None) => return drop(self.seats.take(user)),
        };
        let Some(member) = member.or(waiter) else { return };
        self.seats.put(user, claim, Presence::Gone { member, until: now + keep_ms });
        self.give_number(change, date, None, out);
    }

    /// The node was started anew, or is gone: whoever had a socket there has none, and it counts generations anew from
    /// this one. Answers who that is: also those who aren't in the conference, since the event of their coming may be lost.
    pub fn reset(&mut self, claim: &Claim, now: u64, date: u64, out: &mut Orders) -> Vec<UserId> {
        self.seats.forget_superseded(&claim.node);
        // Of the process that began with this generation somebody may have come meanwhile.
        let is_old = |seat: &Seat| match seat.presence {
            Presence::Online => seat.claim.generation < claim.generation,
            Presence::Away => true,
            Presence::Gone { .. } | Presence::Leaving { .. } => false,
        };
        let is_of = |(_, seat): &(&UserId, &Seat)| seat.claim.node == claim.node && is_old(seat);
        let old: Vec<UserId> = self.seats.iter().filter(is_of).map(|(user, _)| user.clone()).collect();
        for user in &old {
            self.report(user, claim, Presence::Away, now, date, out);
        }
        old
    }

    fn report(&mut self, user: &UserId, claim: &Claim, presence: Presence, now: u64, date: u64, out: &mut Orders) {
        self.compare.touch(&Subject::User(user.clone()));
        let returned = self.seats.hidden(user).cloned();
        self.seats.put(user, claim, presence);
        if let Some(member) = returned {
            let seen = self.seats.seen(member);
            let change = match seen.state {
                MemberState::Waiting => Change::WaitingAdded(seen),
                _ => Change::MemberJoined(seen),
            };
            return self.give_number(change, date, None, out);
        }
        let Some(roster) = self.roster() else { return };
        match roster.member(user).cloned() {
            Some(ours) => {
                let seen: Member = self.seats.seen(ours.clone());
                if seen != ours {
                    self.give_number(Change::MemberUpdated(seen), date, None, out);
                }
            }
            // They may have joined a moment ago, and the EIM's event be lost.
            None if roster.waiter(user).is_none() => self.compare.hasten(now),
            None => {}
        }
    }

    /// Has those leave at the EIM whose seat is over.
    pub(super) fn end_seats(&mut self, now: u64, out: &mut Orders) {
        for user in self.seats.ended(now) {
            let Some(Seat { claim, presence: Presence::Gone { member, .. }, .. }) = self.seats.get(&user).cloned()
            else {
                continue;
            };
            self.seats.put(&user, &claim, Presence::Leaving { member, done: false });
            out.push(Order::Leave(user));
        }
    }

    /// The EIM answered [`Order::Leave`]. `done`: whether it let them go; `None`: it could not be reached.
    pub fn on_left(&mut self, user: &UserId, done: Option<bool>, now: u64) {
        let Some(Seat { claim, presence: Presence::Leaving { member, .. }, .. }) = self.seats.get(user).cloned() else {
            return;
        };
        self.compare.touch(&Subject::User(user.clone()));
        match done {
            Some(true) => self.seats.put(user, &claim, Presence::Leaving { member, done: true }),
            Some(false) => drop(self.seats.take(user)),
            None => self.seats.put(user, &claim, Presence::Gone { member, until: now + LEAVE_RETRY_MS }),
        }
        self.compare.hasten(now);
    }
}
