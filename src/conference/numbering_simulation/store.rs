//! The store as `store/numberings.rs` has it, and all that it has ever kept of the conference: the truth that clients are
//! compared with.

use std::collections::BTreeMap;

use crate::conference::numbering::Kept;
use crate::event::{Event, Roster};

/// A process of a node.
pub type Process = (usize, u64);

#[derive(Default)]
pub struct NodeRow {
    pub fence: u64,
    pub is_inherited: bool,
}

struct Stored {
    roster: Roster,
    events: Vec<Event>,
    kept: String,
}

/// What is written at once.
pub struct Write {
    pub roster: Option<(Roster, u64)>,
    pub events: Vec<Event>,
    pub kept: Kept,
    /// The roster under the first number, of a numbering that has just begun: no store has it, and clients may.
    pub begun: Option<Roster>,
}

/// What an earlier owner has kept.
pub type Found = Option<Box<(Roster, Vec<Event>, Kept)>>;

pub enum Owner {
    This(Found),
    Other(usize),
}

#[derive(Default)]
pub struct Store {
    pub nodes: [NodeRow; 2],
    pub owner: Option<Process>,
    stored: Option<Stored>,
    events: BTreeMap<(String, u64), Event>,
    states: BTreeMap<(String, u64), Roster>,
    pub takeovers: u64,
}

impl Store {
    pub fn take(&mut self, process: Process) -> Owner {
        if let Some((node, fence)) = self.owner.filter(|owner| *owner != process) {
            if self.nodes[node].fence == fence && !self.nodes[node].is_inherited {
                return Owner::Other(node);
            }
            self.takeovers += 1;
        }
        self.owner = Some(process);
        let read = |kept: &Stored| {
            let seats = serde_json::from_str(&kept.kept).expect("it was written");
            Box::new((kept.roster.clone(), kept.events.clone(), seats))
        };
        Owner::This(self.stored.as_ref().map(read))
    }

    /// Whether the conference has seats of that node.
    pub fn has_seats_of(&self, node: &str) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.kept.contains(&format!("\"node\":\"{node}\"")))
    }

    pub fn keep(&mut self, process: Process, write: &Write) -> bool {
        if self.owner != Some(process) {
            return false;
        }
        if let Some(first) = &write.begun {
            self.states.entry((first.epoch.clone(), first.seq)).or_insert_with(|| first.clone());
        }
        if let Some((roster, until)) = &write.roster {
            let events = self.stored.take().map(|stored| stored.events).unwrap_or_default();
            let is_kept = |event: &Event| event.epoch == roster.epoch && event.seq > *until;
            let events = events.into_iter().filter(is_kept).collect();
            self.stored = Some(Stored { roster: roster.clone(), events, kept: String::new() });
        }
        let stored = self.stored.as_mut().expect("a roster is written first");
        stored.kept = serde_json::to_string(&write.kept).expect("it has string keys");
        for event in &write.events {
            let place = (event.epoch.clone(), event.seq);
            if let Some(known) = self.events.get(&place) {
                assert_eq!(known, event, "a number was given twice");
                continue;
            }
            if !self.states.contains_key(&place) {
                let before = self.states.get(&(event.epoch.clone(), event.seq - 1)).expect("no number is left out");
                let mut state = before.clone();
                state.apply(&event.change);
                state.seq = event.seq;
                self.states.insert(place.clone(), state);
            }
            self.events.insert(place, event.clone());
            stored.events.push(event.clone());
        }
        true
    }

    pub fn event(&self, epoch: &str, seq: u64) -> Option<&Event> {
        self.events.get(&(epoch.to_owned(), seq))
    }

    pub fn state(&self, epoch: &str, seq: u64) -> Option<&Roster> {
        self.states.get(&(epoch.to_owned(), seq))
    }

    pub fn count(&self) -> u64 {
        self.events.len() as u64
    }
}
