//! What the store has ever committed of the conference: the truth that clients are compared with.

use std::collections::BTreeSet;

use crate::event::{Change, Event, LeftReason, Publication, Roster};
use crate::ids::UserId;

/// All events in order, and the roster after each.
pub struct History {
    pub events: Vec<Event>,
    /// `states[n]` is the roster with the number `states[0].seq + n`.
    states: Vec<Roster>,
}

impl History {
    pub fn new(first: Roster) -> Self {
        Self { events: Vec::new(), states: vec![first] }
    }

    /// A publication was committed with the change that it follows from.
    pub fn note(&mut self, body: &str) {
        let publication: Publication = serde_json::from_str(body).expect("a publication");
        if !publication.routing_key.starts_with("conf.") {
            return;
        }
        let event: Event = serde_json::from_str(&publication.body).expect("an event");
        let mut state = self.last().clone();
        if event.seq <= state.seq {
            assert_eq!(Some(&event), self.event(event.seq).or(Some(&event)), "a number was used twice");
            return;
        }
        assert_eq!((&event.epoch, event.seq), (&state.epoch, state.seq + 1), "the EIM's numbers have a gap");
        state.apply(&event.change);
        state.seq = event.seq;
        self.states.push(state);
        self.events.push(event);
    }

    pub fn last(&self) -> &Roster {
        self.states.last().expect("there is a first")
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.states[0].seq)?).ok()
    }

    pub fn event(&self, seq: u64) -> Option<&Event> {
        self.events.get(self.index(seq)?.checked_sub(1)?)
    }

    pub fn state(&self, seq: u64) -> Option<&Roster> {
        self.states.get(self.index(seq)?)
    }

    /// The states between two numbers, both included.
    pub fn between(&self, from: u64, to: u64) -> &[Roster] {
        let (from, to) = (self.index(from).unwrap_or_default(), self.index(to).unwrap_or_default());
        &self.states[from..=to.min(self.states.len() - 1)]
    }

    /// Nobody comes twice or goes twice.
    pub fn check_comings_and_goings(&self) {
        let mut there: BTreeSet<UserId> = self.states[0].members.iter().map(|m| m.user_id.clone()).collect();
        for event in &self.events {
            match &event.change {
                Change::MemberJoined(m) => assert!(there.insert(m.user_id.clone()), "joined twice: {event:?}"),
                Change::MemberUpdated(m) => assert!(there.contains(&m.user_id), "not there: {event:?}"),
                Change::MemberLeft(left) => assert!(there.remove(&left.user_id), "left twice: {event:?}"),
                _ => {}
            }
        }
    }

    /// Members that went because their grace was over.
    pub fn timeouts(&self) -> impl Iterator<Item = (&UserId, &Event)> {
        self.events.iter().filter_map(|event| match &event.change {
            Change::MemberLeft(left) if left.reason == LeftReason::Timeout => Some((&left.user_id, event)),
            _ => None,
        })
    }
}
