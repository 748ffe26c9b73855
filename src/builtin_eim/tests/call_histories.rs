//! For any order of actions of several people, and any loss of them: no call rings longer than it may, nobody stays
//! busy, everybody that was rung is told of the end, and the disk holds it all.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{GATEWAY, World, via};
use crate::event::CallStep;

/// One thing that somebody does. Numbers pick the user, the callees, the call, the node.
#[derive(Debug, Clone)]
enum Step {
    Start(usize, BTreeSet<usize>),
    On(usize, &'static str, usize),
    Join(usize, usize),
    Leave(usize, usize),
    Kick(usize, usize, usize),
    End(usize, usize),
    Gone(usize, usize),
    Listen(usize, usize),
    Unlisten(usize, usize),
    ResetNode(usize),
    Pass(u64),
    Reload,
}

const USERS: [&str; 5] = ["ann", "ben", "cat", "dan", "eve"];
const NODES: [&str; 2] = ["n1", "n2"];
const DAY_MS: u64 = 24 * 3600 * 1000;

fn step() -> impl Strategy<Value = Step> {
    let user = || 0..USERS.len();
    let call = || 0..8usize;
    let verb = prop_oneof![4 => Just("accept"), 2 => Just("decline"), 1 => Just("cancel"), 2 => Just("hangup")];
    prop_oneof![
        4 => (user(), proptest::collection::btree_set(user(), 1..4)).prop_map(|(u, to)| Step::Start(u, to)),
        12 => (user(), verb, call()).prop_map(|(u, verb, c)| Step::On(u, verb, c)),
        1 => (user(), call()).prop_map(|(u, c)| Step::Join(u, c)),
        1 => (user(), call()).prop_map(|(u, c)| Step::Leave(u, c)),
        1 => (user(), user(), call()).prop_map(|(u, t, c)| Step::Kick(u, t, c)),
        1 => (user(), call()).prop_map(|(u, c)| Step::End(u, c)),
        2 => (user(), call()).prop_map(|(u, c)| Step::Gone(u, c)),
        2 => (user(), 0..NODES.len()).prop_map(|(u, n)| Step::Listen(u, n)),
        1 => (user(), 0..NODES.len()).prop_map(|(u, n)| Step::Unlisten(u, n)),
        1 => (0..NODES.len()).prop_map(Step::ResetNode),
        3 => (1..50_000u64).prop_map(Step::Pass),
        1 => Just(Step::Reload),
    ]
}

struct History {
    world: World,
    calls: Vec<(String, String)>,
    generation: u64,
    /// Calls that ring at a user's client: incoming ones, until it is told of their end.
    ringing: BTreeSet<(&'static str, String)>,
}

impl History {
    fn new() -> Self {
        let mut world = World::new();
        for user in USERS {
            world.listen(user, "steady", 1).unwrap();
        }
        Self { world, calls: Vec::new(), generation: 1, ringing: BTreeSet::new() }
    }

    /// Whether it was done or refused is not the matter here.
    fn step(&mut self, step: &Step) {
        self.generation += 1;
        let generation = self.generation.to_string();
        let claim = |node: usize| [("node", NODES[node]), ("generation", generation.as_str())];
        let (call, conf) = match step {
            Step::On(_, _, c)
            | Step::Join(_, c)
            | Step::Leave(_, c)
            | Step::Kick(_, _, c)
            | Step::End(_, c)
            | Step::Gone(_, c) => self.calls.iter().rev().nth(*c).cloned().unwrap_or_default(),
            _ => Default::default(),
        };
        let at = [("confId", conf.as_str())];
        let world = &mut self.world;
        match step {
            Step::Start(user, to) => {
                let to: Vec<&str> = to.iter().map(|to| USERS[*to]).collect();
                self.calls.extend(world.ring(USERS[*user], &to));
            }
            Step::On(user, verb, _) => drop(world.on_call(USERS[*user], verb, &call)),
            Step::Join(user, _) => drop(world.join(USERS[*user], &conf)),
            Step::Leave(user, _) => drop(world.set(&via(USERS[*user]), "leave", &at)),
            Step::Kick(user, target, _) => {
                drop(world.control(USERS[*user], &conf, &[("action", "kick"), ("userId", USERS[*target])]));
            }
            Step::End(user, _) => drop(world.set(&via(USERS[*user]), "end", &at)),
            Step::Gone(user, _) => {
                let attrs = [claim(0).as_slice(), &[("state", "gone"), ("keepMs", "40000")]].concat();
                drop(world.presence(USERS[*user], &conf, &attrs));
            }
            Step::Listen(user, node) => {
                drop(world.call(&via(USERS[*user]), World::operation("watch", &claim(*node))));
            }
            Step::Unlisten(user, node) => {
                drop(world.call(&via(USERS[*user]), World::operation("unwatch", &claim(*node))));
            }
            Step::ResetNode(node) => drop(world.set(GATEWAY, "resetNode", &claim(*node))),
            Step::Pass(ms) => world.pass(*ms),
            Step::Reload => {
                let reloaded = world.reloaded();
                assert_eq!(reloaded, world.eim, "the disk gives another EIM");
                world.eim = reloaded;
            }
        }
        self.listen_in();
    }

    /// Follows what each user's client shows.
    fn listen_in(&mut self) {
        for user in USERS {
            for event in self.world.rung(user) {
                let key = (user, event.data.call_id.to_string());
                let own = event.data.user_id.as_ref().is_some_and(|who| who.as_str() == user);
                if event.step == CallStep::Incoming {
                    self.ringing.insert(key);
                } else if own || event.is_last() {
                    self.ringing.remove(&key);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_call_rings_and_nobody_is_busy_for_ever(steps in vec(step(), 1..100)) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
        }
        prop_assert_eq!(&history.world.reloaded(), &history.world.eim);
        // When the ringing is over nobody is rung any more, and a day later nobody is in a call, though none of them
        // has said a word meanwhile.
        history.world.pass(45_000);
        history.listen_in();
        prop_assert_eq!(&history.ringing, &BTreeSet::new(), "somebody's client rings on");
        for user in USERS {
            let user = crate::ids::UserId::parse(user).expect("an id");
            prop_assert_eq!(history.world.eim.calls.ringing(&user).count(), 0);
        }
        history.world.pass(DAY_MS);
        for user in USERS {
            let user = crate::ids::UserId::parse(user).expect("an id");
            prop_assert!(!history.world.eim.calls.is_busy(&user, 1));
        }
        prop_assert_eq!(history.world.eim.calls(), 0);
        prop_assert!(history.world.disk().keys().all(|(kind, _)| matches!(kind.as_str(), "node" | "listener")));
        prop_assert_eq!(&history.world.reloaded(), &history.world.eim);
    }
}
