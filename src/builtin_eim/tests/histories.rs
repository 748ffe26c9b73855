//! For any order of actions of several people: events are numbered without gap, replaying them over any earlier state
//! gives the later one, nobody leaves that hadn't come, and the disk holds it all.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{World, via};
use crate::event::{Audio, Change, Event, Member, Roster, Video};
use crate::ids::UserId;

/// One thing that somebody does. Numbers pick the user, the target, the node.
#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Control(usize, &'static str, Option<usize>, Option<&'static str>),
    Say(usize),
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Presence(usize, usize, &'static str, u64),
    ResetNode(usize),
    Update(usize, &'static str, &'static str),
    Pass(u64),
    Snapshot,
    Reload,
}

const USERS: [&str; 8] = ["ann", "ben", "cat", "dan", "eve", "g1", "g2", "c1"];
const NODES: [&str; 2] = ["n1", "n2"];
const OWN: [&str; 6] = ["muteSelf", "unmuteSelf", "openCamera", "closeCamera", "raiseHand", "lowerHand"];
const ORDERS: [&str; 14] = [
    "mute",
    "unmute",
    "muteAll",
    "unmuteAll",
    "allowUnmute",
    "kick",
    "ban",
    "lock",
    "unlock",
    "setMainVideo",
    "setChair",
    "admit",
    "deny",
    "lowerHand",
];

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS.len();
    let target = proptest::option::of(0..USERS.len());
    let value = prop_oneof![Just(None), Just(Some("locked")), Just(Some("all"))];
    // Orders are the chair's; Ann has it mostly.
    let giver = prop_oneof![4 => Just(0usize), 1 => user.clone()];
    let state = prop_oneof![Just("online"), Just("reconnecting"), Just("gone")];
    let change = prop_oneof![
        Just(("lobby", "true")),
        Just(("lobby", "false")),
        Just(("mutePolicy", "free")),
        Just(("mutePolicy", "joinMuted")),
        Just(("mutePolicy", "locked")),
        Just(("name", "Renamed"))
    ];
    prop_oneof![
        6 => user.clone().prop_map(Step::Join),
        2 => user.clone().prop_map(Step::Leave),
        4 => (user.clone(), prop::sample::select(&OWN[..])).prop_map(|(u, a)| Step::Control(u, a, None, None)),
        8 => (giver, prop::sample::select(&ORDERS[..]), target, value)
            .prop_map(|(u, a, t, v)| Step::Control(u, a, t, v)),
        2 => user.clone().prop_map(Step::Say),
        4 => (user.clone(), 0..NODES.len()).prop_map(|(u, n)| Step::Subscribe(u, n)),
        2 => (user.clone(), 0..NODES.len()).prop_map(|(u, n)| Step::Unsubscribe(u, n)),
        4 => (user.clone(), 0..NODES.len(), state, 0..90_000u64).prop_map(|(u, n, s, k)| Step::Presence(u, n, s, k)),
        1 => (0..NODES.len()).prop_map(Step::ResetNode),
        2 => (Just(0), change).prop_map(|(u, (k, v))| Step::Update(u, k, v)),
        2 => (1..60_000u64).prop_map(Step::Pass),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reload),
    ]
}

/// A conference of Ann's, with an onlooker in a session of his own who gets everything.
struct History {
    world: World,
    conf: String,
    generation: u64,
    /// Earlier states; all events since the first of them.
    states: Vec<Roster>,
    events: Vec<Event>,
}

const ONLOOKER: &str = "onlooker@ips3000/x";

impl History {
    fn new() -> Self {
        let mut world = World::new();
        let conf = world.conference(&[]);
        for guest in ["g1", "g2"] {
            world.guest(guest, &conf);
        }
        world.linked("c1", &conf, "chair");
        world.set(ONLOOKER, "join", &[("confId", &conf)]).unwrap();
        let first = world.subscribe(ONLOOKER, &conf, "own", 1).unwrap();
        Self { world, conf, generation: 1, states: vec![first], events: Vec::new() }
    }

    /// Whether it was done or refused is not the matter here.
    fn step(&mut self, step: &Step) {
        let Self { world, conf, .. } = self;
        let conf = conf.clone();
        let at = [("confId", conf.as_str())];
        self.generation += 1;
        let generation = self.generation.to_string();
        let claim = |node: &usize| [at[0], ("node", NODES[*node]), ("generation", generation.as_str())];
        match step {
            Step::Join(user) => drop(world.join(USERS[*user], &conf)),
            Step::Leave(user) => drop(world.set(&via(USERS[*user]), "leave", &at)),
            Step::Control(user, action, target, value) => {
                let mut attrs = vec![("action", *action)];
                attrs.extend(target.map(|t| ("userId", USERS[t])));
                attrs.extend(value.map(|v| ("value", v)));
                drop(world.control(USERS[*user], &conf, &attrs));
            }
            Step::Say(user) => drop(world.send_message(USERS[*user], &conf, "会议 <&> \"x\"")),
            Step::Subscribe(user, node) => drop(world.set(&via(USERS[*user]), "subscribe", &claim(node))),
            Step::Unsubscribe(user, node) => drop(world.set(&via(USERS[*user]), "unsubscribe", &claim(node))),
            Step::Presence(user, node, state, keep) => {
                let keep = keep.to_string();
                let attrs = [claim(node).as_slice(), &[("state", *state), ("keepMs", keep.as_str())]].concat();
                drop(world.presence(USERS[*user], &conf, &attrs[1..]));
            }
            Step::ResetNode(node) => drop(world.set(super::world::GATEWAY, "resetNode", &claim(node)[1..])),
            Step::Update(user, name, value) => {
                drop(world.set(&via(USERS[*user]), "update", &[at[0], (*name, *value)]));
            }
            Step::Pass(ms) => world.pass(*ms),
            Step::Snapshot => self.states.push(self.world.snapshot(&conf)),
            Step::Reload => {
                let reloaded = world.reloaded();
                assert_eq!(reloaded, world.eim, "the disk gives another EIM");
                world.eim = reloaded;
            }
        }
        self.events.extend(self.world.events_at(ONLOOKER));
    }

    fn check(&mut self) {
        let last = self.world.snapshot(&self.conf);
        let first = &self.states[0];
        let numbers: Vec<u64> = self.events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers, (first.seq + 1..=last.seq).collect::<Vec<_>>(), "a gap or a repeat");
        for state in &self.states {
            let mut replayed = state.clone();
            for event in self.events.iter().filter(|e| e.seq > state.seq) {
                assert_eq!(event.epoch, replayed.epoch);
                replayed.apply(&event.change);
                replayed.seq = event.seq;
            }
            assert_eq!(replayed, last, "replayed from {}", state.seq);
        }
        self.check_comings_and_goings();
        self.check_consent();
        let chairs = self.world.eim.directory.get(&last.conference.conf_id).unwrap().chairs.clone();
        check_state(&last, &chairs);
    }

    /// A device opens by its owner's own act only; a seat that is taken up again is as its owner left it.
    fn check_consent(&self) {
        let devices = |m: &Member| (m.audio == Audio::On, m.video == Video::On);
        let mut open: BTreeMap<_, _> = self.states[0].members.iter().map(|m| (m.user_id.clone(), devices(m))).collect();
        for event in &self.events {
            let (Change::MemberJoined(m) | Change::MemberUpdated(m)) = &event.change else { continue };
            let (audio, video) = devices(m);
            let before = open.insert(m.user_id.clone(), (audio, video)).unwrap_or_default();
            let opened = (audio && !before.0) || (video && !before.1);
            assert!(!opened || event.actor.as_ref() == Some(&m.user_id), "opened by somebody else: {event:?}");
        }
    }

    fn check_comings_and_goings(&self) {
        let first = &self.states[0];
        let mut there: BTreeSet<_> = first.members.iter().map(|m| m.user_id.clone()).collect();
        let mut waiting: BTreeSet<_> = first.waiting.iter().map(|m| m.user_id.clone()).collect();
        for event in &self.events {
            match &event.change {
                Change::MemberJoined(m) => {
                    assert!(there.insert(m.user_id.clone()), "joined twice");
                    assert!(!waiting.contains(&m.user_id), "joined while waiting");
                }
                Change::MemberUpdated(m) => assert!(there.contains(&m.user_id), "changed without being there"),
                Change::MemberLeft(left) => assert!(there.remove(&left.user_id), "left without having joined"),
                Change::WaitingAdded(m) => {
                    assert!(waiting.insert(m.user_id.clone()) && !there.contains(&m.user_id));
                }
                Change::WaitingRemoved(gone) => assert!(waiting.remove(&gone.user_id)),
                _ => {}
            }
        }
    }
}

/// The invariants of every state.
fn check_state(roster: &Roster, chairs: &BTreeSet<UserId>) {
    let conference = &roster.conference;
    for member in &roster.members {
        let is_chair = member.role == crate::event::Role::Chair;
        assert_eq!(is_chair, member.user_id == conference.chair || chairs.contains(&member.user_id));
        assert!(!is_chair || member.audio != crate::event::Audio::ForcedOff);
        assert_ne!(member.state, crate::event::MemberState::Waiting);
    }
    assert!(roster.waiting.iter().all(|m| m.state == crate::event::MemberState::Waiting));
    assert!(roster.waiting.iter().all(|m| m.user_id != conference.chair));
    assert!(conference.main_video.as_ref().is_none_or(|user| roster.member(user).is_some()));
    assert!(roster.members.len() <= 6, "five and the chair");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_of_any_kind_is_told_exactly_by_its_events(steps in vec(step(), 1..120)) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
        }
        history.check();
        prop_assert_eq!(&history.world.reloaded(), &history.world.eim);
        // After the end nothing of it stays but what is known by name, and a day later not even that.
        let conf = history.conf.clone();
        let chair = history.world.snapshot(&conf).conference.chair;
        history.world.control(chair.as_str(), &conf, &[("action", "end")]).unwrap();
        prop_assert!(history.world.disk().keys().all(|(kind, _)| kind != "person"));
        prop_assert_eq!(&history.world.reloaded(), &history.world.eim);
        history.world.pass(24 * 3600 * 1000);
        prop_assert!(history.world.disk().keys().all(|(kind, _)| kind == "node"));
        prop_assert_eq!(&history.world.reloaded(), &history.world.eim);
    }
}
