//! Faults, failover and clients: the glue of `failover.rs`, `takeover.rs`, `sockets.rs` and `app/restore.rs`.

use rand::RngExt;

use super::gateway::{LIMITS, NAMES, OwnerNotice, Purpose, State};
use super::world::World;
use crate::conference::Ending;
use crate::conference::core::{Core, Failure, Start};
use crate::conference::numbering::Answer;

/// More sockets than one process opens.
const BLOCK: u64 = 1_000_000;

impl World {
    fn next_block(&mut self) -> u64 {
        self.blocks += BLOCK;
        self.blocks
    }

    /// The process begins.
    pub fn start(&mut self, node: usize) {
        let first = self.next_block();
        let row = &mut self.store.nodes[node];
        (row.fence, row.is_inherited) = (row.fence + 1, false);
        let gateway = &mut self.nodes[node];
        (gateway.is_up, gateway.is_paused, gateway.fence) = (true, false, self.store.nodes[node].fence);
        (gateway.first_generation, gateway.generation) = (first, first);
        gateway.state.resets.push((node, first));
    }

    pub fn fault(&mut self, node: usize) {
        match self.rng.random_range(0..16) {
            0..2 if self.nodes[node].is_up => self.crash(node),
            0..4 if !self.nodes[node].is_up => self.start(node),
            4..6 => self.nodes[node].is_paused = self.nodes[node].is_up,
            6..9 => self.wake(node),
            9 => self.link_lost(node),
            10 => self.eim_goes_back(),
            // A node that has heard nothing of a stopped one for long cuts the link itself.
            11..13 if !self.nodes[1 - node].runs() => self.link_lost(node),
            _ => return,
        }
        self.faults += 1;
    }

    fn crash(&mut self, node: usize) {
        self.trace(|| format!("{node}: crash"));
        self.nodes[node].is_up = false;
        self.link_lost(1 - node);
        self.link_lost(node);
        self.nodes[node].state = State::default();
        for client in self.clients.iter_mut().filter(|client| client.at.is_some_and(|(at, _)| at == node)) {
            client.at = None;
        }
        self.replaced.retain(|(at, ..)| *at != node);
    }

    /// The process goes on. Sockets that were taken over meanwhile are closed first.
    pub fn wake(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].is_paused) {
            return;
        }
        self.trace(|| format!("{node}: goes on"));
        while self.replaced.iter().any(|(at, ..)| *at == node) {
            self.replaced_step();
        }
        if let Some(core) = &mut self.nodes[node].state.actor {
            core.stalled(self.now);
        }
        if std::mem::take(&mut self.store.nodes[node].is_inherited) {
            let state = &mut self.nodes[node].state;
            if let Some(owner) = &mut state.owner {
                owner.is_doubted = true;
            }
            state.resets.push((node, self.nodes[node].first_generation));
        }
    }

    /// The node's lease has lapsed, in the eyes of the other one.
    pub fn failover_step(&mut self, node: usize) {
        let other = 1 - node;
        let is_gone = !self.nodes[other].runs() && !self.store.nodes[other].is_inherited;
        if !self.nodes[node].runs() || !is_gone || !self.has_faults || self.store.nodes[other].fence == 0 {
            return;
        }
        self.trace(|| format!("{node}: answers for {other}"));
        let generation = self.next_block();
        self.nodes[node].generation = generation + 1;
        self.store.nodes[other].is_inherited = true;
        self.link_lost(node);
        self.nodes[node].state.resets.push((other, generation));
    }

    /// A node that is new or gone is told of to the owner: `Owners::reset`.
    pub fn reset_step(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let Some((of, generation)) = self.nodes[node].state.resets.pop() else { return };
        // The node is back: it says so itself.
        let is_needed = of == node || self.store.nodes[of].is_inherited;
        if is_needed && self.store.has_seats_of(NAMES[of]) {
            self.request(node, Purpose::Reset { of, generation });
        } else if of == node {
            self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
        }
    }

    pub fn was_reset(&mut self, node: usize, of: usize, generation: u64, answer: Result<Answer, Failure>) {
        match answer {
            Ok(Answer::Users(users)) => {
                for user in users {
                    self.ensure_actor(node);
                    self.existing(node, |core, now| match of == node {
                        true => core.away_since_restart(&user, generation, now),
                        false => core.inherit(&user, generation, now),
                    });
                }
                let is_late = of != node && !self.store.nodes[of].is_inherited;
                if of == node {
                    self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
                } else if is_late && self.nodes[of].is_up {
                    // `Heir::Overlapped`: it reports its sockets again.
                    self.nodes[of].state.resets.push((of, self.nodes[of].first_generation));
                }
            }
            Ok(_) => panic!("another kind of answer"),
            Err(Failure::Unreachable) => self.nodes[node].state.resets.push((of, generation)),
            Err(_) => {}
        }
    }

    fn ensure_actor(&mut self, node: usize) {
        let (conf, now) = (self.conf(), self.now);
        self.nodes[node].state.actor.get_or_insert_with(|| Core::new(conf, LIMITS, now));
    }

    /// Somebody opens a socket, or closes it, or has lost the network.
    pub fn client_step(&mut self) {
        let (of, node) = (self.rng.random_range(0..self.clients.len()), self.rng.random_range(0..2));
        match (self.clients[of].at, self.rng.random_range(0..6)) {
            (Some((at, generation)), 0) => {
                self.clients[of].at = None;
                self.closed(at, of, generation, Ending::Closed);
            }
            (None, 0..5) | (Some(_), 1) if self.nodes[node].runs() => self.open(of, node),
            _ => {}
        }
    }

    fn open(&mut self, of: usize, node: usize) {
        let user = self.clients[of].user.clone();
        if let Some((at, generation)) = self.clients[of].at.take()
            && at != node
        {
            self.replaced.push((at, user.clone(), generation));
        }
        self.nodes[node].generation += 1;
        let generation = self.nodes[node].generation;
        self.trace(|| format!("{user} opens a socket at {node}: {generation}"));
        self.clients[of].at = Some((node, generation));
        let start = self.clients[of].position().map_or(Start::Snapshot, Start::Since);
        self.nodes[node].state.sockets.insert(user.clone(), generation);
        self.ensure_actor(node);
        self.existing(node, |core, now| core.attach(user, generation, start, now));
    }

    /// The EIM has let the user in: `listen_in` of `rpc/conference.rs`.
    pub fn joined(&mut self, of: usize) {
        let user = self.clients[of].user.clone();
        if self.eim.member(&user).is_none() && self.eim.waiter(&user).is_none() {
            return;
        }
        let Some((node, generation)) = self.clients[of].at.filter(|(node, _)| self.nodes[*node].runs()) else { return };
        self.nodes[node].state.sockets.insert(user.clone(), generation);
        self.ensure_actor(node);
        self.existing(node, |core, now| core.attach(user, generation, Start::Snapshot, now));
    }

    fn closed(&mut self, node: usize, of: usize, generation: u64, how: Ending) {
        let user = self.clients[of].user.clone();
        if !self.nodes[node].is_up {
            return;
        }
        if self.nodes[node].state.sockets.get(&user) == Some(&generation) {
            self.nodes[node].state.sockets.remove(&user);
        }
        self.existing(node, |core, now| core.detach(&user, generation, how, now));
    }

    /// A node reads in the store that a socket has a successor elsewhere.
    pub fn replaced_step(&mut self) {
        let found = self.replaced.iter().position(|(node, ..)| self.nodes[*node].runs());
        let Some((node, user, generation)) = found.map(|at| self.replaced.remove(at)) else { return };
        let of = self.clients.iter().position(|client| client.user == user).expect("a client");
        self.closed(node, of, generation, Ending::TakenOver);
    }
}
