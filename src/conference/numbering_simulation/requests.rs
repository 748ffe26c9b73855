//! Requests to the owner, here or over the link: the glue of `owner/mod.rs`, `owner/peer.rs`, `owner/serve.rs`, and of the
//! owner's writes.

use rand::RngExt;

use super::gateway::{Batch, From, Input, NAMES, Owner, OwnerNotice, Purpose, ROSTER_EVERY};
use super::link::Link;
use super::store::{self, Write};
use super::world::{Reading, World};
use crate::conference::core::Failure;
use crate::conference::numbering::{Order, OwnerRequest};
use crate::conference::owner::locations::Location;
use crate::conference::owner::protocol::{FromOwner, ToOwner, of_eim, unnumbered};
use crate::event::ConferenceEvent;

impl World {
    /// The EIM's event at that node: `Owners::change`.
    pub fn received(&mut self, node: usize, change: ConferenceEvent) {
        let conf = self.conf();
        match self.nodes[node].locations().get(&conf) {
            Some(Location::Here(())) => {
                let owner = self.nodes[node].state.owner.as_mut().expect("it is here");
                owner.inbox.push_back(Input::Change(change));
            }
            Some(Location::There(_)) if !self.has_broker && self.links[node].is_open => {
                self.links[node].to_owner.push_back(ToOwner::Change(unnumbered(change)));
            }
            _ => {}
        }
    }

    /// `Owners::ask`.
    pub fn request(&mut self, node: usize, purpose: Purpose) {
        self.last += 1;
        let (number, request) = (self.last, self.nodes[node].request_of(&purpose));
        self.nodes[node].state.asks.insert(number, purpose);
        if self.fault_in(60) {
            return self.nodes[node].state.replies.push((number, Err(Failure::Unreachable)));
        }
        match self.location(node) {
            Location::Here(()) => {
                let owner = self.nodes[node].state.owner.as_mut().expect("it is here");
                owner.inbox.push_back(Input::OwnerRequest(From::Here(number), request));
            }
            Location::There(_) => self.request_there(node, number, request),
        }
    }

    fn location(&mut self, node: usize) -> Location<()> {
        let conf = self.conf();
        if let Some(place) = self.nodes[node].locations().get(&conf) {
            return place;
        }
        match self.store.take(self.nodes[node].process()) {
            store::Owner::This(found) => {
                self.trace(|| format!("{node}: is the owner"));
                self.last += 1;
                self.nodes[node].state.owner = Some(Owner::new(found, self.last));
                self.nodes[node].locations().begin(&conf, ());
            }
            store::Owner::Other(other) => self.nodes[node].locations().moved(&conf, NAMES[other]),
        }
        self.nodes[node].locations().get(&conf).expect("it is known")
    }

    fn request_there(&mut self, node: usize, number: u64, request: OwnerRequest) {
        let other = 1 - node;
        if !self.links[node].is_open {
            if !self.nodes[other].runs() || self.fault_in(8) {
                self.nodes[node].state.replies.push((number, Err(Failure::Unreachable)));
                return self.link_lost(node);
            }
            self.links[node] = Link { is_open: true, ..Link::default() };
        }
        let link = &mut self.links[node];
        link.asked.insert(number);
        link.to_owner.push_back(ToOwner::OwnerRequest { number, conf: self.eim.conference.conf_id.clone(), request });
    }

    /// The node can't reach the other one any more.
    pub fn link_lost(&mut self, node: usize) {
        let link = std::mem::take(&mut self.links[node]);
        for number in link.asked {
            self.nodes[node].state.replies.push((number, Err(Failure::Unreachable)));
        }
        if let Some(owner) = &mut self.nodes[1 - node].state.owner {
            owner.is_watched = false;
        }
        for _ in self.nodes[node].locations().lost(NAMES[1 - node]) {
            self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
        }
    }

    /// One frame of the link that the node asks over.
    pub fn link_step(&mut self, node: usize) {
        let (other, conf) = (1 - node, self.conf());
        if self.nodes[other].runs()
            && self.rng.random_range(0..2) == 0
            && let Some(frame) = self.links[node].to_owner.pop_front()
        {
            match frame {
                ToOwner::OwnerRequest { number, request, .. } => self.asked_by(other, number, request),
                ToOwner::Change(change) => {
                    if let Some(owner) = &mut self.nodes[other].state.owner {
                        owner.inbox.push_back(Input::Change(of_eim(change)));
                    }
                }
                ToOwner::Doubt => {}
            }
            return;
        }
        if !self.nodes[node].runs() {
            return;
        }
        match self.links[node].to_asker.pop_front() {
            Some(FromOwner::Answer { number, answer }) => {
                if self.links[node].asked.remove(&number) {
                    self.nodes[node].state.replies.push((number, answer));
                }
            }
            Some(FromOwner::Event(event)) => self.nodes[node].state.notices.push_back(OwnerNotice::Event(event)),
            Some(FromOwner::Elsewhere(_)) => {
                if self.nodes[node].locations().elsewhere(&conf, Some(NAMES[other])) {
                    self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
                }
            }
            Some(FromOwner::Alive) | None => {}
        }
    }

    /// `Owners::request_from`, at that node.
    fn asked_by(&mut self, node: usize, number: u64, request: OwnerRequest) {
        let conf = self.conf();
        if let Location::Here(()) = self.location(node) {
            let owner = self.nodes[node].state.owner.as_mut().expect("it is here");
            owner.inbox.push_back(Input::Watch);
            return owner.inbox.push_back(Input::OwnerRequest(From::There(number), request));
        }
        let link = &mut self.links[1 - node];
        link.queue_frame(FromOwner::Elsewhere(conf.clone()));
        link.answer(number, Err(Failure::Unreachable));
        if self.nodes[node].locations().elsewhere(&conf, None) {
            self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
        }
    }

    /// The node's owner carries out what waits, or writes.
    pub fn owner_step(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let many = self.rng.random_range(1..4);
        let (now, process, epoch) = (self.now, self.nodes[node].process(), format!("e{}", self.last));
        let Some(owner) = &mut self.nodes[node].state.owner else { return };
        if owner.batch.is_none() {
            for _ in 0..many {
                let Some(input) = owner.inbox.pop_front() else { break };
                owner.work(input, epoch.clone(), now);
            }
            owner.batch.get_or_insert_default();
        }
        let batch = owner.batch.as_ref().expect("just made");
        let Some(write) = write_of(owner, batch) else { return self.deliver(node) };
        let is_lost = self.has_faults && self.rng.random_range(0..8) == 0;
        if is_lost {
            // Written or not: it is tried again.
            if self.one_in(2) {
                self.store.keep(process, &write);
            }
            return;
        }
        let is_nothing = write.events.is_empty() && write.roster.is_none();
        let is_kept = self.store.keep(process, &write);
        let owner = self.nodes[node].state.owner.as_mut().expect("it is here");
        if !is_kept {
            return self.lose(node);
        }
        owner.is_doubted = false;
        if !is_nothing && let Some((roster, _)) = &write.roster {
            owner.written = Some((roster.epoch.clone(), roster.seq));
        }
        (owner.kept, owner.begun) = (write.kept, None);
        self.deliver(node);
    }

    /// Another process is the owner.
    fn lose(&mut self, node: usize) {
        self.trace(|| format!("{node}: is the owner no longer"));
        let conf = self.conf();
        let owner = self.nodes[node].state.owner.take().expect("it is here");
        self.nodes[node].locations().end(&conf);
        let batch = owner.batch.unwrap_or_default();
        let asked = |input| if let Input::OwnerRequest(from, _) = input { Some(from) } else { None };
        let waiting = owner.inbox.into_iter().filter_map(asked);
        let answers = batch.answers.into_iter().map(|(from, _)| from);
        let parked = owner.parked.into_iter().map(|(from, _)| from);
        for from in answers.chain(parked).chain(waiting).collect::<Vec<_>>() {
            self.give(node, from, Err(Failure::Unreachable));
        }
        if owner.is_watched {
            self.links[1 - node].queue_frame(FromOwner::Elsewhere(conf));
        }
        self.nodes[node].state.notices.push_back(OwnerNotice::Doubt);
    }

    /// What is in the store is shown.
    fn deliver(&mut self, node: usize) {
        let owner = self.nodes[node].state.owner.as_mut().expect("it is here");
        let (batch, run, is_watched) = (owner.batch.take().unwrap_or_default(), owner.run, owner.is_watched);
        for order in batch.orders {
            match order {
                Order::Deliver(event) => {
                    if is_watched {
                        self.links[1 - node].queue_frame(FromOwner::Event(event.clone()));
                    }
                    self.trace(|| format!("{node}: {} {:?}", event.seq, event.change));
                    self.nodes[node].state.notices.push_back(OwnerNotice::Event(event));
                }
                Order::ReadRoster => self.readings.push(Reading { node, run, roster: None }),
                Order::Leave(user) => self.leaving.push((node, run, user)),
            }
        }
        for (from, answer) in batch.answers {
            self.give(node, from, answer);
        }
    }
}

/// `Task::keep`. `None`: nothing is to be written, nor asked.
fn write_of(owner: &Owner, batch: &Batch) -> Option<Write> {
    let log = owner.core.log()?;
    let roster = log.roster();
    let event = |order: &Order| if let Order::Deliver(event) = order { Some(event.clone()) } else { None };
    let events: Vec<_> = batch.orders.iter().filter_map(event).collect();
    let is_recent = |(epoch, seq): &(String, u64)| *epoch == roster.epoch && roster.seq < seq + ROSTER_EVERY;
    let writes_roster = !owner.written.as_ref().is_some_and(is_recent);
    if events.is_empty() && owner.core.has_kept(&owner.kept) && !writes_roster && !owner.is_doubted {
        return None;
    }
    let until = roster.seq.saturating_sub(super::gateway::LIMITS.log as u64);
    Some(Write {
        roster: writes_roster.then(|| (roster.clone(), until)),
        events,
        kept: owner.core.kept(),
        begun: owner.begun.clone(),
    })
}
