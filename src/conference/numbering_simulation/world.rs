//! All parts together: what happens next is by chance, and each part does it as its shell would.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::Client;
use super::gateway::{Input, Node};
use super::link::Link;
use super::store::Store;
use crate::conference::core::Core;
use crate::conference::numbering::tests::{conference, member};
use crate::event::{ConferenceEvent, MemberState, Roster};
use crate::ids::{ConfId, UserId};

const USERS: usize = 5;
const STEPS: usize = 700;
const REST_STEPS: usize = 400;

/// What the histories had in them, so that they can't be empty.
#[derive(Debug, Default)]
pub struct Tally {
    events: u64,
    takeovers: u64,
    faults: u64,
    compared: u64,
    /// Members without a socket whose socket an owner knew. An EIM's event of somebody's coming that is late by more than
    /// the grace is taken for their coming anew, by another way than the gateway: then nobody has them leave.
    ghosts: u64,
}

impl Tally {
    pub fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            takeovers: self.takeovers + other.takeovers,
            faults: self.faults + other.faults,
            compared: self.compared + other.compared,
            ghosts: self.ghosts + other.ghosts,
        }
    }

    /// In the mean of a history.
    pub fn check(&self, histories: u64) {
        assert!(self.events > 15 * histories && self.takeovers * 4 > 3 * histories, "too little happens");
        assert!(self.ghosts * 50 <= histories, "too many stay who are gone");
        assert!(self.faults > 5 * histories && self.compared > histories, "too little is left to check");
    }
}

/// A roster that the owner of that node and run has asked the EIM for, once the EIM has read the request.
pub struct Reading {
    pub node: usize,
    pub run: u64,
    pub roster: Option<Roster>,
}

pub struct World {
    pub rng: StdRng,
    pub now: u64,
    pub eim: Roster,
    /// States that the EIM may go back to.
    pub earlier: Vec<Roster>,
    /// Events of the EIM's on their way, each to a node.
    pub changes: Vec<(usize, ConferenceEvent)>,
    /// Whether a broker gives each event to both nodes, or the EIM to one alone.
    pub has_broker: bool,
    pub readings: Vec<Reading>,
    /// Who is to leave at the EIM, by whose order.
    pub leaving: Vec<(usize, u64, UserId)>,
    pub store: Store,
    pub nodes: [Node; 2],
    /// The link that each node asks over.
    pub links: [Link; 2],
    pub clients: Vec<Client>,
    /// Sockets that have a successor elsewhere.
    pub replaced: Vec<(usize, UserId, u64)>,
    /// Whose socket an owner knows, each with when they have come in: without one they must be gone in the end.
    pub reported: BTreeMap<UserId, u64>,
    pub blocks: u64,
    pub last: u64,
    pub next_id: u64,
    pub has_faults: bool,
    pub faults: u64,
    traces: bool,
}

impl World {
    pub fn new(seed: u64, traces: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let has_broker = rng.random_bool(0.5);
        let (members, none) = (vec![member("u0", 1)], Vec::new());
        let eim = Roster {
            epoch: String::new(),
            seq: 0,
            conference: conference(),
            members,
            waiting: none,
            messages: Vec::new(),
        };
        let user = |n| UserId::parse(&format!("u{n}")).expect("a user's id");
        Self {
            rng,
            now: 1_000_000,
            eim,
            earlier: Vec::new(),
            changes: Vec::new(),
            has_broker,
            readings: Vec::new(),
            leaving: Vec::new(),
            store: Store::default(),
            nodes: [Node::new(0), Node::new(1)],
            links: Default::default(),
            clients: (0..USERS).map(|n| Client::new(user(n))).collect(),
            replaced: Vec::new(),
            reported: BTreeMap::new(),
            blocks: 0,
            last: 0,
            next_id: 0,
            has_faults: true,
            faults: 0,
            traces,
        }
    }

    pub fn conf(&self) -> ConfId {
        self.eim.conference.conf_id.clone()
    }

    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_range(0..n) == 0
    }

    /// The same where faults happen still.
    pub fn fault_in(&mut self, n: u32) -> bool {
        let is_fault = self.has_faults && self.one_in(n);
        self.faults += u64::from(is_fault);
        is_fault
    }

    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.traces {
            println!("{:6} {}", self.now - 1_000_000, text());
        }
    }

    pub fn run(&mut self) -> Tally {
        (0..2).for_each(|node| self.start(node));
        for _ in 0..STEPS {
            self.now += self.rng.random_range(0..60);
            self.step();
        }
        self.rest();
        self.check()
    }

    fn step(&mut self) {
        let node = self.rng.random_range(0..2);
        match self.rng.random_range(0..40) {
            0..3 => self.eim_acts(),
            3..9 => self.arrive(),
            9..16 => self.actor_step(node),
            16..24 => self.owner_step(node),
            24..30 => self.link_step(node),
            30..32 => self.eim_answers(),
            32..34 => self.tick(node),
            34..36 => self.client_step(),
            36 => self.reset_step(node),
            37 => self.replaced_step(),
            38 => self.fault(node),
            _ => self.failover_step(node),
        }
    }

    /// No more faults, and everything is given time.
    fn rest(&mut self) {
        self.has_faults = false;
        for node in 0..2 {
            if !self.nodes[node].is_up {
                self.start(node);
            }
            self.wake(node);
        }
        for step in 0..REST_STEPS {
            self.now += 100;
            if step == REST_STEPS / 2 {
                // Whoever was refused, and is in all the same, joins once more.
                (0..USERS).for_each(|of| self.joined(of));
            }
            for node in 0..2 {
                self.tick(node);
                for _ in 0..20 {
                    self.owner_step(node);
                    self.link_step(node);
                    self.actor_step(node);
                }
                self.reset_step(node);
            }
            self.eim_answers();
            self.replaced_step();
            while !self.changes.is_empty() {
                self.arrive();
            }
        }
    }

    pub fn some_user(&mut self) -> usize {
        self.rng.random_range(0..USERS)
    }

    pub fn input_of(&mut self, node: usize, run: u64, input: Input) {
        if let Some(owner) = self.nodes[node].state.owner.as_mut().filter(|owner| owner.run == run) {
            owner.inbox.push_back(input);
        }
    }

    fn tick(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let now = self.now;
        if let Some(owner) = &mut self.nodes[node].state.owner
            && owner.batch.is_none()
        {
            let batch = owner.batch.get_or_insert_default();
            owner.core.tick(now, &mut batch.orders);
        }
        self.existing(node, Core::tick);
    }

    fn check(&mut self) -> Tally {
        let owners: Vec<usize> = (0..2).filter(|node| self.nodes[*node].state.owner.is_some()).collect();
        let (mut compared, mut ghosts) = (0, 0);
        if owners.is_empty() {
            assert!(self.clients.iter().all(|client| client.at.is_none()), "somebody listens, and nobody numbers");
        } else {
            let (named, _) = self.store.owner.expect("one was taken");
            assert_eq!(owners, [named], "one owner, whom the store names");
            let owner = self.nodes[named].state.owner.as_ref().expect("it is one");
            let ours = owner.core.roster().expect("it has one");
            let seen = owner.core.as_seen(self.eim.clone());
            assert_eq!(
                (&ours.conference, &ours.members, &ours.waiting),
                (&seen.conference, &seen.members, &seen.waiting)
            );
            let messages = |roster: &Roster| {
                let mut ids: Vec<_> = roster.messages.iter().map(|m| m.message_id.clone()).collect();
                ids.sort();
                ids
            };
            assert_eq!(messages(ours), messages(&self.eim));
            for client in self.clients.iter().filter(|client| client.at.is_none()) {
                let known = self.reported.get(&client.user);
                let is_ghost = ours.member(&client.user).is_some_and(|member| known == Some(&member.joined_at));
                ghosts += u64::from(is_ghost);
            }
            for client in self.clients.iter().filter(|client| client.at.is_some()) {
                let Some(member) = ours.member(&client.user) else { continue };
                assert_eq!(member.state, MemberState::Joined, "{} is connected", client.user);
                assert_eq!(client.roster.as_ref(), Some(ours), "{} shows another roster", client.user);
                compared += 1;
            }
        }
        let Self { store, faults, .. } = self;
        Tally { events: store.count(), takeovers: store.takeovers, faults: *faults, compared, ghosts }
    }
}
