//! The conference's task of a gateway node: the glue of `conference/actor.rs` and `conference/source.rs`.

use rand::RngExt;

use super::gateway::{From, OwnerNotice, Purpose};
use super::world::World;
use crate::conference::core::{Core, Effect, EimRequest, Failure};
use crate::conference::numbering::Answer;

impl World {
    /// What the owners say, or an answer, reaches the node's conference.
    pub fn actor_step(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let state = &mut self.nodes[node].state;
        if !state.replies.is_empty() && self.rng.random_range(0..2) == 0 || state.notices.is_empty() {
            if state.replies.is_empty() {
                return;
            }
            let at = self.rng.random_range(0..state.replies.len());
            let (number, answer) = state.replies.swap_remove(at);
            let Some(purpose) = state.asks.remove(&number) else { return };
            return self.replied(node, purpose, answer);
        }
        let notices = state.notices.pop_front();
        self.existing(node, |core, now| match notices {
            Some(OwnerNotice::Event(event)) => core.event(event, now),
            Some(OwnerNotice::Doubt) => core.link_up(now),
            None => Vec::new(),
        });
    }

    fn replied(&mut self, node: usize, purpose: Purpose, answer: Result<Answer, Failure>) {
        self.trace(|| {
            format!("{node}: {purpose:?}: {}", if answer.is_ok() { "ok".into() } else { format!("{answer:?}") })
        });
        let roster =
            |answer: Result<Answer, Failure>| answer.and_then(|answer| answer.roster().ok_or(Failure::Unreachable));
        match purpose {
            Purpose::Reset { of, generation } => self.was_reset(node, of, generation, answer),
            Purpose::Core(EimRequest::Subscribe { user, .. }) => {
                if answer.is_ok()
                    && let Some(member) = self.eim.member(&user)
                {
                    self.reported.insert(user.clone(), member.joined_at);
                }
                let answer = answer.and_then(|answer| answer.subscribed().ok_or(Failure::Unreachable));
                self.existing(node, |core, now| core.on_subscribe_reply(&user, answer, now));
            }
            Purpose::Core(EimRequest::Snapshot) => {
                self.existing(node, |core, now| core.on_snapshot_reply(roster(answer), now));
            }
            Purpose::Core(EimRequest::Look) => {
                self.existing(node, |core, now| core.on_look_reply(roster(answer), now));
            }
            Purpose::Core(
                EimRequest::Unsubscribe { user, .. } | EimRequest::Away { user, .. } | EimRequest::Gone { user, .. },
            ) => self.existing(node, |core, now| core.on_presence_reply(&user, answer.map(drop), now)),
        }
    }

    pub fn existing(&mut self, node: usize, work: impl FnOnce(&mut Core, u64) -> Vec<Effect>) {
        let now = self.now;
        let Some(core) = self.nodes[node].state.actor.as_mut() else { return };
        core.set_date(now);
        for effect in work(core, now) {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { user, generation, frame } => {
                if self.nodes[node].state.sockets.get(&user) == Some(&generation) {
                    self.trace(|| format!("{node}: to {user}: {}", frame.get(..90).unwrap_or(&frame)));
                    let Self { clients, store, .. } = self;
                    let client = clients.iter_mut().find(|client| client.user == user).expect("a client");
                    if client.at == Some((node, generation)) {
                        client.receive(&frame, store);
                    }
                }
            }
            Effect::Close { user, generation, .. } | Effect::Release { user, generation } => {
                if self.nodes[node].state.sockets.get(&user) == Some(&generation) {
                    self.nodes[node].state.sockets.remove(&user);
                }
            }
            Effect::EimRequest(request) => self.request(node, Purpose::Core(request)),
            Effect::Emit(_) | Effect::Grant(_) => {}
        }
    }

    /// An answer goes to whoever has asked.
    pub fn give(&mut self, node: usize, to: From, answer: Result<Answer, Failure>) {
        match to {
            From::Here(number) => self.nodes[node].state.replies.push((number, answer)),
            From::There(number) => self.links[1 - node].answer(number, answer),
        }
    }
}
