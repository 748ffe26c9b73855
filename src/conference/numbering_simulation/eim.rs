//! The EIM without numbers, and how its events and answers arrive.

use rand::RngExt;

use super::gateway::Input;
use super::world::{Reading, World};
use crate::conference::numbering::tests::{event, member};
use crate::event::{
    Change, Conference, Left, LeftReason, Member, MemberState, Message, Roster, WaitingReason, WaitingRemoved,
};

impl World {
    /// The EIM changes, and tells it, perhaps.
    pub fn eim_change(&mut self, change: Change) {
        self.trace(|| format!("EIM: {change:?}"));
        self.eim.apply(&change);
        let message = event(change, self.now);
        if self.has_broker {
            self.changes.push((0, message.clone()));
            self.changes.push((1, message));
        } else {
            let node = self.rng.random_range(0..2);
            self.changes.push((node, message));
        }
        if self.one_in(4) {
            self.earlier.push(self.eim.clone());
        }
    }

    pub fn eim_acts(&mut self) {
        let of = self.some_user();
        let user = self.clients[of].user.clone();
        let (is_in, waits) = (self.eim.member(&user).cloned(), self.eim.waiter(&user).cloned());
        let left = |reason| Change::MemberLeft(Left { user_id: user.clone(), reason });
        let change = match (self.rng.random_range(0..9), is_in, waits) {
            (0..4, None, None) => Change::MemberJoined(member(user.as_str(), self.now)),
            (4, None, None) => {
                Change::WaitingAdded(Member { state: MemberState::Waiting, ..member(user.as_str(), self.now) })
            }
            (0..5, None, Some(_)) => {
                let reason = WaitingReason::Admitted;
                self.eim_change(Change::WaitingRemoved(WaitingRemoved { user_id: user.clone(), reason }));
                Change::MemberJoined(member(user.as_str(), self.now))
            }
            (0, Some(_), _) => left(LeftReason::Left),
            (1, Some(_), _) if of > 0 => left(LeftReason::Kicked),
            (2..5, Some(m), _) => Change::MemberUpdated(Member { hand: !m.hand, ..m }),
            (5, ..) => {
                let locked = !self.eim.conference.locked;
                let conference = Conference { locked, ..self.eim.conference.clone() };
                if locked { Change::Locked(conference) } else { Change::Unlocked(conference) }
            }
            (6 | 7, ..) => {
                self.next_id += 1;
                let message_id = format!("m{}", self.next_id);
                Change::Message(Message { message_id, user_id: user, text: "x".into(), time: self.now })
            }
            _ => return,
        };
        let joins = matches!(change, Change::MemberJoined(_) | Change::WaitingAdded(_));
        self.eim_change(change);
        if joins {
            self.joined(of);
        }
    }

    /// The EIM was restarted with an earlier state. What was said is said.
    pub fn eim_goes_back(&mut self) {
        if self.earlier.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.earlier.len());
        // It may have members once more who were gone.
        self.reported.clear();
        let (messages, before) = (self.eim.messages.clone(), self.earlier.swap_remove(at));
        self.eim = Roster { messages, ..before };
        for lost in self.readings.extract_if(.., |reading| reading.roster.is_some()).collect::<Vec<_>>() {
            self.input_of(lost.node, lost.run, Input::Roster(None));
        }
        self.trace(|| "EIM: an earlier state".into());
    }

    /// One of the EIM's events arrives, in whatever order; some twice, some never.
    pub fn arrive(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.changes.len());
        let is_twice = self.fault_in(12);
        let (node, change) = if is_twice { self.changes[at].clone() } else { self.changes.swap_remove(at) };
        if self.fault_in(12) || !self.nodes[node].runs() {
            return;
        }
        self.received(node, change);
    }

    pub fn eim_answers(&mut self) {
        if !self.readings.is_empty() {
            let at = self.rng.random_range(0..self.readings.len());
            if self.readings[at].roster.is_none() {
                self.readings[at].roster = Some(self.eim.clone());
            } else {
                let Reading { node, run, roster } = self.readings.swap_remove(at);
                let roster = if self.fault_in(6) { None } else { roster.map(Box::new) };
                self.input_of(node, run, Input::Roster(roster));
            }
        }
        let Some((node, run, user)) = self.leaving.pop() else { return };
        let is_reached = !self.fault_in(4);
        if is_reached && self.eim.member(&user).is_some() {
            self.eim_change(Change::MemberLeft(Left { user_id: user.clone(), reason: LeftReason::Left }));
        } else if is_reached && self.eim.waiter(&user).is_some() {
            let reason = WaitingReason::Left;
            self.eim_change(Change::WaitingRemoved(WaitingRemoved { user_id: user.clone(), reason }));
        }
        self.input_of(node, run, Input::Left(user, is_reached.then_some(true)));
    }
}
