//! For any order of what members, natives, moderators, the network and the server do: when all is quiet, roster and room
//! have the same people, each once, and the same subject.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::World;
use crate::ids::{ConfId, UserId};

const BROWSERS: [&str; 4] = ["ann", "ben", "g1", "g2"];
const NATIVES: [&str; 4] = ["cat", "dan", "eve", "ben"];
const NICKS: [&str; 4] = ["Cat", "ben", "confgate", "g1"];

#[derive(Debug, Clone)]
enum Step {
    Join(usize),
    Leave(usize),
    Enter(usize, usize),
    Exit(usize, usize),
    Control(&'static str, usize),
    Hand(usize),
    Subject(usize, &'static str),
    Rename(&'static str),
    Write(usize),
    Kick(usize, u16),
    Cut { is_forgotten: bool },
    Reconnect,
    Hide(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (browser, native, nick) = (0..BROWSERS.len(), 0..NATIVES.len(), 0..NICKS.len());
    let order = prop::sample::select(&["kick", "ban", "lock", "unlock", "mute", "setChair"][..]);
    let name = prop::sample::select(&["Plan", "计划", "x"][..]);
    prop_oneof![
        6 => browser.clone().prop_map(Step::Join),
        3 => browser.clone().prop_map(Step::Leave),
        6 => (native.clone(), nick.clone()).prop_map(|(n, k)| Step::Enter(n, k)),
        3 => (native.clone(), nick.clone()).prop_map(|(n, k)| Step::Exit(n, k)),
        3 => (order, 0..BROWSERS.len() + NATIVES.len()).prop_map(|(o, t)| Step::Control(o, t)),
        2 => browser.prop_map(Step::Hand),
        2 => (native.clone(), name.clone()).prop_map(|(n, s)| Step::Subject(n, s)),
        2 => name.prop_map(Step::Rename),
        2 => native.prop_map(Step::Write),
        2 => (nick, prop::sample::select(&[301u16, 307, 333][..])).prop_map(|(k, s)| Step::Kick(k, s)),
        2 => any::<bool>().prop_map(|is_forgotten| Step::Cut { is_forgotten }),
        4 => Just(Step::Reconnect),
        1 => any::<bool>().prop_map(Step::Hide),
        2 => (1..40_000u64).prop_map(Step::Pass),
    ]
}

fn play(world: &mut World, conf: &ConfId, step: &Step) {
    let room = format!("{conf}@conference.ips3000");
    match step {
        Step::Join(user) => drop(world.set(BROWSERS[*user], "join", &[("confId", conf.as_str())])),
        Step::Leave(user) => drop(world.set(BROWSERS[*user], "leave", &[("confId", conf.as_str())])),
        Step::Enter(user, nick) if world.is_up => world.native(conf, NATIVES[*user], NICKS[*nick]),
        Step::Exit(user, nick) if world.is_up => world.native_leaves(conf, NATIVES[*user], NICKS[*nick]),
        Step::Control(action, target) => {
            let target = BROWSERS.iter().chain(&NATIVES).nth(*target).unwrap();
            world.set("ann", "control", &[("confId", conf.as_str()), ("action", action), ("userId", target)]);
        }
        Step::Hand(user) => {
            drop(world.set(BROWSERS[*user], "control", &[("confId", conf.as_str()), ("action", "raiseHand")]));
        }
        Step::Subject(user, subject) if world.is_up => world.native_writes(conf, NATIVES[*user], "subject", subject),
        Step::Rename(name) => drop(world.set("ann", "update", &[("confId", conf.as_str()), ("name", name)])),
        Step::Write(user) if world.is_up => world.native_writes(conf, NATIVES[*user], "body", "hello"),
        Step::Kick(nick, status) if world.is_up => world.service.kick(&room, NICKS[*nick], *status),
        Step::Cut { is_forgotten } if world.is_up => {
            world.disconnect();
            if *is_forgotten {
                world.service.rooms.clear();
            }
        }
        Step::Reconnect if !world.is_up => world.connect(),
        Step::Hide(hides) if !world.is_up => world.service.hides = *hides,
        Step::Pass(ms) => world.pass(*ms),
        _ => {}
    }
    world.reconcile();
}

fn check(world: &World, conf: &ConfId) {
    let room = world.eim.room(conf).unwrap();
    let own: Vec<UserId> =
        world.occupants(conf).iter().filter_map(|(_, jid)| UserId::parse(jid.split_once('%')?.0)).collect();
    let own_set: BTreeSet<UserId> = own.iter().cloned().collect();
    assert_eq!(own.len(), own_set.len(), "a member is in the room twice");
    let members = &room.roster.members;
    let of_browsers: BTreeSet<UserId> =
        members.iter().map(|m| m.user_id.clone()).filter(|user| !room.is_native(user)).collect();
    assert_eq!(own_set, of_browsers, "members of browsers are occupants");
    let natives = members.iter().filter(|m| room.is_native(&m.user_id)).count();
    let clients = world.occupants(conf).iter().filter(|(_, jid)| !jid.contains('%')).count();
    assert!(natives <= clients, "{natives} natives, {clients} clients");
    if !world.service.hides {
        for (nick, jid) in world.occupants(conf).iter().filter(|(_, jid)| !jid.contains('%')) {
            let user = UserId::parse(jid.split_once('@').unwrap().0).unwrap();
            assert!(room.is_member(&user), "{nick} is in the room, and not in the conference");
        }
    }
    let muc = &world.service.rooms[&format!("{conf}@conference.ips3000")];
    assert_eq!(muc.subject, room.roster.conference.conf_name);
    assert_eq!(muc.members_only, room.roster.conference.locked);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn roster_and_room_agree_when_all_is_quiet(steps in vec(step(), 1..40)) {
        let mut world = World::new();
        let conf = world.create();
        for step in &steps {
            play(&mut world, &conf, step);
        }
        if !world.is_up {
            world.connect();
        }
        world.reconcile();
        // What was refused is tried again by then.
        for _ in 0..4 {
            world.pass(31_000);
        }
        check(&world, &conf);
    }
}
