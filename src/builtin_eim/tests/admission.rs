//! Admission, the lobby, and refusals with their reasons.

use super::world::{GATEWAY, World, conference, refusal, via};
use crate::event::{Audio, LeftReason, Role, Video};

/// The refusals of a join, in the order of the checks. The chair is stopped by the last only.
const HURDLES: [(&str, &str); 5] = [
    ("banned", "forbidden conference.banned"),
    ("notStarted", "unexpected-request conference.notStarted"),
    ("locked", "forbidden conference.locked"),
    ("full", "resource-constraint conference.full"),
    ("lobby", "waiting"),
];

/// Ann's conference with these hurdles for Ben, who was in it once.
fn with_hurdles(hurdles: &[&str]) -> (World, String) {
    let mut world = World::new();
    let late = if hurdles.contains(&"notStarted") { "2000000" } else { "1" };
    let conf = world.conference(&[("startAt", late)]);
    let not_started = hurdles.contains(&"notStarted");
    if hurdles.contains(&"full") && !not_started {
        for user in ["m1", "m2", "m3", "m4"] {
            world.join(user, &conf).unwrap();
        }
    }
    if hurdles.contains(&"banned") && !not_started {
        world.join("ben", &conf).unwrap();
        world.control("ann", &conf, &[("action", "ban"), ("userId", "ben")]).unwrap();
    }
    if hurdles.contains(&"full") && !not_started {
        world.join("m5", &conf).unwrap();
    }
    if hurdles.contains(&"lobby") {
        world.set(&via("ann"), "update", &[("confId", &conf), ("lobby", "true")]).unwrap();
    }
    if hurdles.contains(&"locked") {
        world.control("ann", &conf, &[("action", "lock")]).unwrap();
    }
    (world, conf)
}

#[test]
fn the_checks_of_a_join_are_made_in_their_order() {
    for set in 0..1u32 << HURDLES.len() {
        let hurdles: Vec<&str> = (0..5).filter(|bit| set & (1 << bit) != 0).map(|bit| HURDLES[bit].0).collect();
        // A ban and a full house need a conference that has started.
        if hurdles.contains(&"notStarted") && (hurdles.contains(&"banned") || hurdles.contains(&"full")) {
            continue;
        }
        let (mut world, conf) = with_hurdles(&hurdles);
        let first = HURDLES.iter().find(|(name, _)| hurdles.contains(name)).map(|(_, outcome)| *outcome);
        let outcome = match world.join("ben", &conf) {
            Ok(member) => format!("{:?}", member.state).to_lowercase(),
            Err((condition, reason)) => format!("{condition} {reason}"),
        };
        assert_eq!(outcome, first.unwrap_or("joined"), "{hurdles:?}");
        assert_eq!(world.join("ann", &conf).unwrap().role, Role::Chair, "{hurdles:?}");
        assert_eq!(world.snapshot(&conf).conference.state, 0, "{hurdles:?}");
        world.control("ann", &conf, &[("action", "end")]).unwrap();
        let last = if hurdles.contains(&"banned") { "forbidden conference.banned" } else { "gone conference.ended" };
        assert_eq!(refusal(world.join("ben", &conf)), last);
        assert_eq!(refusal(world.join("ann", &conf)), "gone conference.ended");
    }
}

#[test]
fn repeated_join_gets_the_same_entry() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    world.join("ann", &conf).unwrap();
    let waiting = world.join("ben", &conf).unwrap();
    let before = world.snapshot(&conf);
    world.pass(500);
    assert_eq!(world.join("ben", &conf).unwrap(), waiting);
    world.join("ann", &conf).unwrap();
    assert_eq!(world.snapshot(&conf), before);
}

#[test]
fn roles_follow_from_the_account_and_names_cannot_be_borrowed() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    let other = world.conference(&[]);
    world.guest("g1", &conf);
    let join = |world: &mut World, user: &str, conf: &str| {
        let joined = world.set(&via(user), "join", &[("confId", conf), ("name", "Ann")]);
        joined.map(|j| super::world::member(j.child("member").unwrap())).map(|m| (m.role, m.name))
    };
    assert_eq!(join(&mut world, "ann", &conf), Ok((Role::Chair, "Ann".into())));
    assert_eq!(join(&mut world, "ben", &conf), Ok((Role::Member, "Ben".into())));
    assert_eq!(join(&mut world, "g1", &conf), Ok((Role::Guest, "A guest".into())));
    // Of somebody without an account the gateway knows more.
    assert_eq!(join(&mut world, "zed", &conf), Ok((Role::Member, "Ann".into())));
    assert_eq!(refusal(join(&mut world, "g1", &other)), "item-not-found conference.notFound");
    // A temporary account that was made for no conference in particular goes where its gateway sends it.
    world.org("set", "createUser", &[("name", "Roamer"), ("userId", "g2"), ("temporary", "true")]).unwrap();
    assert_eq!(join(&mut world, "g2", &other), Ok((Role::Guest, "Roamer".into())));
}

#[test]
fn the_chair_too_goes_by_the_name_of_their_account() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.set(&via("ann"), "join", &[("confId", &conf), ("name", "Anna Schmidt")]).unwrap();
    let snapshot = world.snapshot(&conf);
    assert_eq!((snapshot.members[0].role, snapshot.members[0].name.as_str()), (Role::Chair, "Ann"));
}

#[test]
fn mute_policy_at_the_join_sets_the_members_audio() {
    let mut world = World::new();
    for (policy, audio) in [("free", Audio::Off), ("joinMuted", Audio::Off), ("locked", Audio::ForcedOff)] {
        let conf = world.conference(&[("mutePolicy", policy)]);
        let member = world.join("ben", &conf).unwrap();
        assert_eq!((member.audio, member.video), (audio, Video::Off), "{policy}");
        assert_eq!(world.join("ann", &conf).unwrap().audio, Audio::Off);
    }
}

#[test]
fn somebody_waiting_is_admitted_denied_or_leaves_and_each_is_told() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    let chair = "ann@ips3000/home";
    world.subscribe(chair, &conf, "own", 1).unwrap();
    for user in ["m1", "m2", "m3", "m4"] {
        world.join(user, &conf).unwrap();
    }
    world.events_at(chair);
    let reasons = |world: &mut World| {
        let heard = world.events_at(chair);
        heard.iter().map(|e| format!("{} {}", e.change.name(), e.change.data()["reason"])).collect::<Vec<_>>()
    };
    world.control("ann", &conf, &[("action", "admit"), ("userId", "m1")]).unwrap();
    assert_eq!(reasons(&mut world), ["waiting.removed \"admitted\"", "member.joined null"]);
    world.control("ann", &conf, &[("action", "deny"), ("userId", "m2")]).unwrap();
    assert_eq!(reasons(&mut world), ["waiting.removed \"denied\""]);
    world.control("ann", &conf, &[("action", "kick"), ("userId", "m3")]).unwrap();
    assert_eq!(reasons(&mut world), ["waiting.removed \"denied\""]);
    world.set(&via("m4"), "leave", &[("confId", &conf)]).unwrap();
    assert_eq!(reasons(&mut world), ["waiting.removed \"left\""]);
    let gone = world.control("ann", &conf, &[("action", "admit"), ("userId", "m4")]);
    assert_eq!(refusal(gone), "item-not-found member.notFound");
}

#[test]
fn admit_all_fills_the_places_and_the_rest_goes_on_waiting() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    world.join("ann", &conf).unwrap();
    for user in ["m1", "m2", "m3", "m4"] {
        world.pass(10);
        world.join(user, &conf).unwrap();
    }
    world.control("ann", &conf, &[("action", "admit"), ("userId", "m4")]).unwrap();
    world.join("m5", &conf).unwrap();
    let all = [("action", "admit"), ("value", "all")];
    world.control("ann", &conf, &all).unwrap();
    let state = world.snapshot(&conf);
    let ids = |list: &[crate::event::Member]| list.iter().map(|m| m.user_id.to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(ids(&state.waiting), "m5");
    assert_eq!(state.members.len(), 5);
    assert_eq!(refusal(world.control("ann", &conf, &all)), "resource-constraint conference.full");
    assert_eq!(refusal(world.join("m6", &conf)), "resource-constraint conference.full");
    world.set(&via("m1"), "leave", &[("confId", &conf)]).unwrap();
    world.control("ann", &conf, &all).unwrap();
    assert_eq!(world.snapshot(&conf).waiting, []);
    world.control("ann", &conf, &all).unwrap();
}

#[test]
fn with_the_lobby_gone_those_who_wait_come_in_unless_the_door_is_locked() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    world.join("ben", &conf).unwrap();
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    world.set(&via("ann"), "update", &[("confId", &conf), ("lobby", "false")]).unwrap();
    assert_eq!(world.snapshot(&conf).waiting.len(), 1);
    world.control("ann", &conf, &[("action", "unlock")]).unwrap();
    assert_eq!(world.snapshot(&conf).waiting, []);
    assert_eq!(world.snapshot(&conf).members.len(), 1);
}

#[test]
fn a_kick_keeps_out_for_its_time_and_a_ban_for_good() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    let ben = "ben@ips3000/x";
    for (action, reason) in [("kick", LeftReason::Kicked), ("ban", LeftReason::Banned)] {
        world.join("ben", &conf).unwrap();
        world.subscribe(ben, &conf, "own", 1).unwrap();
        world.events_at(ben);
        world.control("ann", &conf, &[("action", action), ("userId", "ben")]).unwrap();
        let heard = world.events_at(ben);
        assert_eq!(heard.len(), 1, "their own leaving, and nothing after it");
        assert_eq!(heard[0].change.data()["reason"], format!("{reason:?}").to_lowercase());
        assert_eq!(heard[0].actor.as_ref().unwrap().as_str(), "ann");
        world.control("ann", &conf, &[("action", "lock")]).unwrap();
        world.control("ann", &conf, &[("action", "unlock")]).unwrap();
        assert_eq!(world.events_at(ben), []);
        world.pass(599_999);
        world.eim = world.reloaded();
        assert_eq!(refusal(world.join("ben", &conf)), "forbidden conference.banned", "{action}");
        assert_eq!(refusal(world.subscribe(ben, &conf, "own", 2)), "forbidden conference.banned");
        world.pass(1);
    }
    assert_eq!(refusal(world.subscribe(ben, &conf, "own", 2)), "forbidden conference.banned");
    world.eim = world.reloaded();
    assert_eq!(refusal(world.join("ben", &conf)), "forbidden conference.banned");
    let own = world.control("ann", &conf, &[("action", "kick"), ("userId", "ann")]);
    assert_eq!(refusal(own), "bad-request argument.invalid");
}

#[test]
fn a_conference_starts_at_its_time_and_is_forgotten_a_day_after_its_end() {
    let mut world = World::new();
    let start = (world.now + 60_000).to_string();
    let conf = world.conference(&[("startAt", &start), ("password", "4711x")]);
    let chair = "ann@ips3000/home";
    assert_eq!(world.subscribe(chair, &conf, "own", 1).unwrap().conference.state, 30);
    world.pass(59_999);
    assert_eq!(refusal(world.join("ben", &conf)), "unexpected-request conference.notStarted");
    world.pass(1);
    assert_eq!(world.hear_types(chair), "conference.started");
    world.join("ben", &conf).unwrap();
    world.guest("g1", &conf);
    world.set(&via("ann"), "end", &[("confId", &conf)]).unwrap();
    assert_eq!(world.hear_types(chair), "member.joined conference.ended");
    let found = world.get(super::world::GATEWAY, "find", &[("password", "4711x")]).unwrap();
    assert_eq!(conference(found.child("conference").unwrap()).state, 31);
    world.pass(24 * 3600 * 1000 - 1);
    assert_eq!(world.snapshot(&conf).conference.conf_name, "Standup");
    world.pass(1);
    let find = world.get(super::world::GATEWAY, "find", &[("password", "4711x")]);
    assert_eq!(refusal(find), "item-not-found conference.notFound");
    let guest = world.org("get", "getUser", &[("userId", "g1")]);
    assert_eq!(refusal(guest), "item-not-found user.notFound");
    assert!(world.disk().is_empty());
}

#[test]
fn a_start_put_forward_starts_and_an_abandoned_conference_ends() {
    let mut world = World::new();
    let conf = world.conference(&[("startAt", "99000000")]);
    let now = world.now.to_string();
    let updated = world.set(&via("ann"), "update", &[("confId", &conf), ("startAt", &now)]).unwrap();
    assert_eq!(conference(updated.child("conference").unwrap()).state, 0);
    world.join("ann", &conf).unwrap();
    world.pass(40 * 24 * 3600 * 1000);
    assert_eq!(world.snapshot(&conf).conference.state, 0);
    world.set(&via("ann"), "leave", &[("confId", &conf)]).unwrap();
    world.pass(30 * 24 * 3600 * 1000);
    assert_eq!(world.snapshot(&conf).conference.state, 31);
}

#[test]
fn a_password_belongs_to_one_conference_that_is_not_over() {
    let mut world = World::new();
    let first = world.conference(&[("password", "secret1")]);
    let create = |world: &mut World| world.set(&via("ben"), "create", &[("name", "B"), ("password", "secret1")]);
    assert_eq!(refusal(create(&mut world)), "conflict conference.passwordTaken");
    let second = world.conference(&[]);
    let update = world.set(&via("ann"), "update", &[("confId", &second), ("password", "secret1")]);
    assert_eq!(refusal(update), "conflict conference.passwordTaken");
    world.set(&via("ann"), "update", &[("confId", &first), ("password", "secret1")]).unwrap();
    let find = |world: &mut World| {
        let found = world.get(super::world::GATEWAY, "find", &[("password", "secret1")]).unwrap();
        found.child("conference").unwrap().attr("confId").unwrap().to_owned()
    };
    world.control("ann", &first, &[("action", "end")]).unwrap();
    assert_eq!(find(&mut world), first);
    create(&mut world).unwrap();
    assert_ne!(find(&mut world), first);
    world.eim = world.reloaded();
    assert_ne!(find(&mut world), first);
}

#[test]
fn a_generated_password_has_eight_digits_and_only_the_chair_is_told() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.join("ben", &conf).unwrap();
    let password = |world: &mut World, from: &str, name: &str| {
        let attrs = [("confId", conf.as_str())];
        let answer = world.get(from, name, if name == "list" { &[] } else { &attrs }).unwrap();
        answer.child("conference").unwrap().attr("password").map(str::to_owned)
    };
    let told = password(&mut world, &via("ann"), "get").unwrap();
    assert!(told.len() == 8 && told.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(password(&mut world, &via("ann"), "list"), Some(told));
    assert_eq!(password(&mut world, &via("ben"), "get"), None);
    assert_eq!(password(&mut world, &via("ben"), "list"), None);
    assert_eq!(password(&mut world, super::world::GATEWAY, "get"), None);
}

#[test]
fn the_list_holds_what_one_chairs_is_in_or_waits_for_until_its_end() {
    let mut world = World::new();
    let list = |world: &mut World, user: &str| {
        let answer = world.get(&via(user), "list", &[]).unwrap();
        answer.children().map(|c| c.attr("confId").unwrap().to_owned()).collect::<Vec<_>>()
    };
    let old = world.conference(&[("lobby", "true")]);
    world.pass(1);
    let new = world.conference(&[]);
    assert_eq!(list(&mut world, "ann"), [new.clone(), old.clone()]);
    assert!(list(&mut world, "ben").is_empty());
    world.join("ben", &old).unwrap();
    world.join("ben", &new).unwrap();
    assert_eq!(list(&mut world, "ben"), [new.clone(), old.clone()]);
    world.set(&via("ben"), "leave", &[("confId", &new)]).unwrap();
    assert_eq!(list(&mut world, "ben"), std::slice::from_ref(&old));
    world.control("ann", &old, &[("action", "end")]).unwrap();
    assert!(list(&mut world, "ben").is_empty());
    assert_eq!(list(&mut world, "ann"), [new]);
}

#[test]
fn bounds_are_refusals_not_losses() {
    let mut world = World::new();
    for _ in 0..50 {
        world.conference(&[]);
    }
    let more = world.set(&via("ben"), "create", &[("name", "B")]);
    assert_eq!(refusal(more), "resource-constraint conference.tooMany");
    let newest = world.get(&via("ann"), "list", &[("limit", "1")]).unwrap();
    let newest = newest.child("conference").unwrap().attr("confId").unwrap().to_owned();
    world.control("ann", &newest, &[("action", "end")]).unwrap();
    world.set(&via("ben"), "create", &[("name", "B")]).unwrap();
}

#[test]
fn one_chair_has_a_share_of_the_conferences_open_and_over() {
    let mut world = World::new();
    world.eim.settings.limits.conferences_per_user = 3;
    let end = |world: &mut World, chair: &str, conf: &str| {
        world.pass(1);
        world.set(&via(chair), "end", &[("confId", conf)]).unwrap();
    };
    let bens = world.set(&via("ben"), "create", &[("name", "Ben's")]).unwrap();
    let bens = bens.child("conference").unwrap().attr("confId").unwrap().to_owned();
    end(&mut world, "ben", &bens);
    let anns: Vec<String> = (0..3).map(|_| world.conference(&[])).collect();
    let more = world.set(&via("ann"), "create", &[("name", "one more")]);
    assert_eq!(refusal(more), "resource-constraint conference.tooManyOfUser");
    anns.iter().for_each(|conf| end(&mut world, "ann", conf));
    let last = world.conference(&[]);
    end(&mut world, "ann", &last);
    let is_known = |world: &mut World, conf: &str| world.get(GATEWAY, "get", &[("confId", conf)]).is_ok();
    assert!(!is_known(&mut world, &anns[0]), "the oldest of her own goes");
    for conf in [&anns[1], &anns[2], &last, &bens] {
        assert!(is_known(&mut world, conf));
    }
}
