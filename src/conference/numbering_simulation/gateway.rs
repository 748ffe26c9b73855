//! One gateway node: its conference's core with the glue of `conference/actor.rs` and `conference/source.rs`, and the
//! owner of the numbers with that of `owner/task.rs`.

use std::collections::{BTreeMap, VecDeque};

use super::store::{Found, Process};
use crate::conference::core::{Core, EimRequest, Failure, Limits};
use crate::conference::numbering::{Answer, Claim, Kept, Numbering, Order, OwnerRequest};
use crate::conference::owner::locations::Locations;
use crate::event::{ConferenceEvent, Event, Roster};
use crate::ids::UserId;

/// Much shorter than a configuration has them.
pub const LIMITS: Limits =
    Limits { grace_ms: 3000, window_ms: 8000, log: 30, replay: 25, replay_bytes: 1 << 20, look_ms: 3000 };
/// How many events after it a roster is written anew.
pub const ROSTER_EVERY: u64 = 8;

pub const NAMES: [&str; 2] = ["a", "b"];

/// Who wants an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum From {
    /// This node's request of that number.
    Here(u64),
    /// That of the other node.
    There(u64),
}

#[derive(Debug)]
pub enum Input {
    Change(ConferenceEvent),
    OwnerRequest(From, OwnerRequest),
    Watch,
    Roster(Option<Box<Roster>>),
    Left(UserId, Option<bool>),
}

/// What waits for the store.
#[derive(Default)]
pub struct Batch {
    pub orders: Vec<Order>,
    pub answers: Vec<(From, Result<Answer, Failure>)>,
}

pub struct Owner {
    pub core: Numbering,
    pub inbox: VecDeque<Input>,
    pub batch: Option<Batch>,
    pub parked: Vec<(From, OwnerRequest)>,
    pub is_watched: bool,
    pub is_doubted: bool,
    pub written: Option<(String, u64)>,
    pub kept: Kept,
    /// The first roster of this numbering, until it is kept.
    pub begun: Option<Roster>,
    /// Tells answers of the EIM to an earlier one.
    pub run: u64,
}

impl Owner {
    pub fn new(found: Found, run: u64) -> Self {
        let conf = crate::conference::numbering::tests::conference().conf_id;
        let mut core = Numbering::new(conf, LIMITS.log, LIMITS.look_ms);
        let (mut written, mut seats) = (None, Kept::default());
        if let Some(found) = found {
            let (roster, mut events, kept) = *found;
            events.retain(|event| event.epoch == roster.epoch);
            (written, seats) = (Some((roster.epoch.clone(), roster.seq)), kept.clone());
            core.resume(roster, events, kept);
        }
        Self {
            core,
            inbox: VecDeque::new(),
            batch: None,
            parked: Vec::new(),
            is_watched: false,
            is_doubted: false,
            written,
            kept: seats,
            begun: None,
            run,
        }
    }

    /// Carries out what waits first. `epoch`: text that no other numbering has.
    pub fn work(&mut self, input: Input, epoch: String, now: u64) {
        let batch = self.batch.get_or_insert_default();
        match input {
            Input::Change(event) => drop(self.core.change(event, now, &mut batch.orders)),
            Input::OwnerRequest(from, request) => {
                if self.core.roster().is_some() {
                    let answer = self.core.request(request, now, now, &mut batch.orders);
                    batch.answers.push((from, answer));
                } else {
                    self.parked.push((from, request));
                    self.core.doubt(now);
                    self.core.tick(now, &mut batch.orders);
                }
            }
            Input::Watch => {
                if !std::mem::replace(&mut self.is_watched, true) {
                    self.core.doubt(now);
                }
            }
            Input::Roster(Some(roster)) => {
                self.is_doubted = true;
                let is_first = self.core.roster().is_none();
                self.core.on_roster(*roster, epoch, now, now, &mut batch.orders);
                self.begun = self.core.roster().filter(|_| is_first).cloned().or(self.begun.take());
                for (from, request) in std::mem::take(&mut self.parked) {
                    let answer = self.core.request(request, now, now, &mut batch.orders);
                    batch.answers.push((from, answer));
                }
            }
            Input::Roster(None) => {
                let why = crate::conference::numbering::NoRoster::NotNow;
                self.core.on_no_roster(why, now, now, &mut batch.orders);
                let refused = |(from, _)| (from, Err(Failure::Unreachable));
                batch.answers.extend(std::mem::take(&mut self.parked).into_iter().map(refused));
            }
            Input::Left(user, done) => self.core.on_left(&user, done, now),
        }
    }
}

/// What the owners say to this node's conference.
#[derive(Debug)]
pub enum OwnerNotice {
    Event(Event),
    Doubt,
}

/// A request of this node's.
#[derive(Debug, Clone)]
pub enum Purpose {
    Core(EimRequest),
    /// Of a node that is new, or gone.
    Reset {
        of: usize,
        generation: u64,
    },
}

/// What a process loses with its end.
#[derive(Default)]
pub struct State {
    pub actor: Option<Core>,
    /// Each user's socket by its generation.
    pub sockets: BTreeMap<UserId, u64>,
    pub locations: Option<Locations<()>>,
    pub owner: Option<Owner>,
    pub asks: BTreeMap<u64, Purpose>,
    pub notices: VecDeque<OwnerNotice>,
    pub replies: Vec<(u64, Result<Answer, Failure>)>,
    /// Resets that are to be asked for.
    pub resets: Vec<(usize, u64)>,
}

pub struct Node {
    pub index: usize,
    pub is_up: bool,
    pub is_paused: bool,
    pub fence: u64,
    pub first_generation: u64,
    pub generation: u64,
    pub state: State,
}

impl Node {
    pub fn new(index: usize) -> Self {
        let state = State::default();
        Self { index, is_up: false, is_paused: false, fence: 0, first_generation: 0, generation: 0, state }
    }

    pub fn runs(&self) -> bool {
        self.is_up && !self.is_paused
    }

    pub fn process(&self) -> Process {
        (self.index, self.fence)
    }

    pub fn locations(&mut self) -> &mut Locations<()> {
        self.state.locations.get_or_insert_with(Locations::new)
    }

    /// The request as an owner is asked it: `perform_at_owner` of `source.rs`.
    pub fn request_of(&self, purpose: &Purpose) -> OwnerRequest {
        let own = |generation: u64| Claim { node: NAMES[self.index].into(), generation };
        match purpose.clone() {
            Purpose::Core(EimRequest::Subscribe { user, generation, since }) => {
                OwnerRequest::Subscribe { user, claim: own(generation), since }
            }
            Purpose::Core(EimRequest::Unsubscribe { user, generation, .. } | EimRequest::Away { user, generation }) => {
                OwnerRequest::Away { user, claim: own(generation) }
            }
            Purpose::Core(EimRequest::Gone { user, generation, keep_ms }) => {
                OwnerRequest::Gone { user, claim: own(generation), keep_ms }
            }
            Purpose::Core(EimRequest::Snapshot | EimRequest::Look) => OwnerRequest::Roster,
            Purpose::Reset { of, generation } => OwnerRequest::Reset(Claim { node: NAMES[of].into(), generation }),
        }
    }
}
