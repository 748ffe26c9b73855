//! Presence: subscriptions, and gateway nodes' reports of their users' sockets.
//!
//! A user's presence in a conference has one holder, a node with a generation. On the same node an older generation is
//! stale. Between nodes the counters don't compare: a node that reports an arrival takes over, a node that reports a
//! departure is heard only if it holds the presence, and a generation that was taken over never takes it back.

use super::address::Visitor;
use super::claim::{Claim, Presence};
use super::room::{Cause, Room, Seat};
use super::stanza_error::StanzaError;
use crate::clock::Moment;
use crate::event::{Change, LeftReason, Member, MemberState, WaitingReason, WaitingRemoved};
use crate::ids::UserId;
use crate::refusal::Reason;

/// Stands for the node of members who are in the MUC room with a client of their own; no node is called so.
pub(super) const NATIVE_NODE: &str = "muc:room";

/// A gateway's report of a user's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    Online,
    Reconnecting,
    /// Away for good; the seat is kept for so many milliseconds.
    Gone {
        keep_ms: u64,
    },
}

impl Room {
    /// Registers where the user's events go. Who was reconnecting is back, who has a kept seat returns to it.
    pub fn subscribe(&mut self, cause: &Cause<'_>, visitor: &Visitor, claim: Claim) -> Result<(), StanzaError> {
        let user = &visitor.id;
        if self.is_over() {
            return Err(StanzaError::of(Reason::ConferenceEnded));
        }
        self.check_barred(cause, user)?;
        if !(self.concerns(user) || self.seats.contains_key(user) || visitor.is_guest_of(self.id())) {
            // Their node reports nothing of them from now on, nor that their socket has closed.
            if self.presence.get(user).is_some_and(|known| known.holder.node == claim.node) {
                self.drop_presence(user);
            }
            return Err(StanzaError::of(Reason::NotMember));
        }
        if !self.accepts(user, &claim, true) {
            return Err(StanzaError::of(Reason::PresenceSuperseded));
        }
        // Members and waiting people, and a few who look on: the chair, guests who have not come in yet.
        let bound = cause.limits.conference_members.saturating_mul(3);
        if !self.presence.contains_key(user) && self.presence.len() > bound {
            return Err(StanzaError::of(Reason::ConferenceFull));
        }
        // Before the arrival is told, which the subscriber's node has to hear too: its log goes on with that event.
        self.hold(user, claim, true, Some((visitor.address.clone(), cause.now.moment)));
        self.arrive(cause, user);
        Ok(())
    }

    /// The user's socket on that node is closed; events go on to its address for `linger_ms`. Without effect where the
    /// node doesn't hold the presence any more.
    pub fn unsubscribe(&mut self, cause: &Cause<'_>, user: &UserId, claim: Claim, linger_ms: u64) {
        if self.is_over() || !(self.knows(user) && self.accepts(user, &claim, false)) {
            return;
        }
        if let Some(presence) = self.presence.get_mut(user) {
            let linger_ms = linger_ms.min(cause.limits.seat_max_ms);
            presence.lingers_until = (linger_ms > 0).then(|| cause.now.moment.plus_ms(linger_ms));
        }
        self.depart(cause, user, claim);
    }

    /// Handles a node's report of a user's socket. A stale claim is without effect.
    pub fn update_socket(
        &mut self,
        cause: &Cause<'_>,
        user: &UserId,
        claim: Claim,
        reported: SocketState,
    ) -> Result<(), StanzaError> {
        if self.is_over() {
            return if reported == SocketState::Online {
                Err(StanzaError::of(Reason::ConferenceEnded))
            } else {
                Ok(())
            };
        }
        let known = self.knows(user);
        if reported == SocketState::Online && !known {
            return Err(StanzaError::of(Reason::MemberNotFound));
        }
        if !known || !self.accepts(user, &claim, reported == SocketState::Online) {
            return Ok(());
        }
        match reported {
            SocketState::Online => {
                self.arrive(cause, user);
                let kept = self.presence.get(user).filter(|p| p.holder.node == claim.node);
                let address = kept.and_then(|p| Some((p.address.clone()?, p.since)));
                self.hold(user, claim, true, address);
            }
            SocketState::Reconnecting => self.depart(cause, user, claim),
            SocketState::Gone { keep_ms } => {
                self.depart_quietly(user, claim);
                self.give_up(cause, user, keep_ms);
            }
        }
        Ok(())
    }

    /// The node that held the user's presence has started anew. Returns whether the user has a place to lose.
    pub fn reset(&mut self, cause: &Cause<'_>, user: &UserId, claim: Claim) -> bool {
        self.depart(cause, user, claim);
        self.has_place(user)
    }

    /// Whether the user is in the conference or waits for it.
    pub fn has_place(&self, user: &UserId) -> bool {
        self.is_member(user) || self.is_waiting(user)
    }

    /// Takes over what another claim holds or, for one who goes, what nobody holds.
    fn accepts(&self, user: &UserId, claim: &Claim, comes: bool) -> bool {
        let Some(known) = self.presence.get(user) else { return true };
        if known.holder.node == claim.node {
            return claim.generation >= known.holder.generation;
        }
        let stale = known.superseded.as_ref().is_some_and(|old| old.covers(claim));
        !stale && (comes || !known.online)
    }

    fn knows(&self, user: &UserId) -> bool {
        self.concerns(user) || self.seats.contains_key(user) || self.presence.contains_key(user)
    }

    fn arrive(&mut self, cause: &Cause<'_>, user: &UserId) {
        if self.return_to_seat(cause, user).is_none() {
            self.update_member(cause, user, |m| m.state = MemberState::Joined);
        }
    }

    fn depart(&mut self, cause: &Cause<'_>, user: &UserId, claim: Claim) {
        self.depart_quietly(user, claim);
        self.update_member(cause, user, |m| m.state = MemberState::Reconnecting);
    }

    fn depart_quietly(&mut self, user: &UserId, claim: Claim) {
        self.hold(user, claim, false, None);
        self.forget_stranger(user);
    }

    /// Away for good: out of the roster, the seat kept.
    fn give_up(&mut self, cause: &Cause<'_>, user: &UserId, keep_ms: u64) {
        if self.is_waiting(user) {
            let gone = WaitingRemoved { user_id: user.clone(), reason: WaitingReason::Left };
            self.emit(cause, Change::WaitingRemoved(gone));
        }
        let Some(member) = self.roster.member(user).cloned() else {
            self.forget_stranger(user);
            return;
        };
        let keep_ms = keep_ms.min(cause.limits.seat_max_ms);
        if keep_ms > 0 {
            self.keep_seat(member, cause.now.moment.plus_ms(keep_ms));
        }
        self.remove_member(cause, user, LeftReason::Timeout);
    }

    fn keep_seat(&mut self, member: Member, until: Moment) {
        let user = member.user_id.clone();
        self.seats.insert(user, Seat { member: Member { state: MemberState::Joined, ..member }, until });
    }

    fn hold(&mut self, user: &UserId, claim: Claim, online: bool, subscription: Option<(String, Moment)>) {
        let before = self.presence.remove(user);
        let lingering =
            before.as_ref().filter(|_| !online).and_then(|p| Some((p.address.clone()?, p.since, p.lingers_until?)));
        let superseded = match before {
            Some(before) if before.holder.node != claim.node => Some(before.holder),
            Some(before) => before.superseded,
            None => None,
        };
        let (address, since, lingers_until) = match (subscription, lingering) {
            (Some((address, since)), _) => (Some(address), since, None),
            (None, Some((address, since, until))) => (Some(address), since, Some(until)),
            (None, None) => (None, Moment::NEVER, None),
        };
        let presence = Presence { holder: claim, online, address, since, lingers_until, superseded };
        self.presence.insert(user.clone(), presence);
        self.pending.people.insert(user.clone());
    }

    /// Drops the presence of somebody who has no place here and no socket open.
    pub fn forget_stranger(&mut self, user: &UserId) {
        let may_return = self.has_place(user) || self.seats.contains_key(user);
        if !may_return && self.presence.get(user).is_some_and(|p| !p.online) {
            self.drop_presence(user);
        }
    }

    /// Notes that a client of the user's own is in the MUC room. A socket that is open at a gateway goes first.
    pub fn hold_native(&mut self, cause: &Cause<'_>, user: &UserId) {
        let is_elsewhere = |p: &Presence| p.online && p.holder.node != NATIVE_NODE;
        if !self.presence.get(user).is_some_and(is_elsewhere) {
            let claim = Claim { node: NATIVE_NODE.to_owned(), resets: 0, generation: cause.now.date };
            self.hold(user, claim, true, None);
        }
    }

    /// Whether the user is in the conference by a client of their own in the MUC room.
    pub fn is_native(&self, user: &UserId) -> bool {
        self.presence.get(user).is_some_and(|p| p.holder.node == NATIVE_NODE)
    }

    /// Nobody tells this user anything any more.
    pub fn drop_presence(&mut self, user: &UserId) {
        if self.presence.remove(user).is_some() {
            self.pending.people.insert(user.clone());
        }
    }
}
