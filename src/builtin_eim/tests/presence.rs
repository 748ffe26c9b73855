//! Sockets come and go, on one node and between nodes; a seat outlives them for a while.

use super::world::{GATEWAY, World, refusal, session, via};
use crate::event::{Audio, MemberState, Roster};

fn state(world: &mut World, conf: &str, user: &str) -> Option<MemberState> {
    world.snapshot(conf).members.into_iter().find(|m| m.user_id.as_str() == user).map(|m| m.state)
}

fn claim<'a>(conf: &'a str, node: &'a str, generation: &'a str) -> [(&'a str, &'a str); 3] {
    [("confId", conf), ("node", node), ("generation", generation)]
}

fn told<'a>(node: &'a str, generation: &'a str, state: &'a str) -> [(&'a str, &'a str); 4] {
    [("node", node), ("generation", generation), ("state", state), ("keepMs", "60000")]
}

/// Ann's conference with Ben in it, subscribed through node n1 with generation 5, and Ann listening at home.
fn with_ben() -> (World, String) {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.join("ben", &conf).unwrap();
    world.subscribe(&via("ben"), &conf, "n1", 5).unwrap();
    world.subscribe(&session("ann"), &conf, "own", 1).unwrap();
    (world, conf)
}

#[test]
fn a_socket_that_closes_and_opens_again_is_told_as_reconnecting_and_back() {
    let (mut world, conf) = with_ben();
    world.set(&via("ben"), "unsubscribe", &claim(&conf, "n1", "5")).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Reconnecting));
    assert_eq!(world.events_at(&via("ben")), [], "nothing after the unsubscription");
    let back = world.subscribe(&via("ben"), &conf, "n1", 6).unwrap();
    assert_eq!(back.members[0].state, MemberState::Joined, "the answer holds what it caused");
    assert_eq!(world.hear_types(&session("ann")), "member.updated member.updated");
}

#[test]
fn the_event_of_an_arrival_goes_to_the_arriving_users_node_too() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.join("ben", &conf).unwrap();
    world.presence("ben", &conf, &told("n1", "4", "reconnecting")).unwrap();
    let answer = world.subscribe(&via("ben"), &conf, "n1", 5).unwrap();
    // A log that ends before the arrival goes on without a gap.
    let heard = world.events_at(&via("ben"));
    assert_eq!(heard.iter().map(|event| event.seq).collect::<Vec<_>>(), [answer.seq]);
}

#[test]
fn a_node_whose_subscription_is_refused_holds_nothing_against_another_node() {
    let (mut world, conf) = with_ben();
    world.set(&via("ben"), "leave", &[("confId", &conf)]).unwrap();
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 5)), "forbidden conference.notMember");
    // Comes back by a request at another node, and opens no socket.
    world.join("ben", &conf).unwrap();
    world.presence("ben", &conf, &told("n2", "1", "reconnecting")).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Reconnecting));
    world.presence("ben", &conf, &told("n2", "1", "gone")).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), None);
}

#[test]
fn presence_from_an_older_socket_has_no_effect() {
    let (mut world, conf) = with_ben();
    world.subscribe(&via("ben"), &conf, "n1", 7).unwrap();
    let before = world.snapshot(&conf);
    world.set(&via("ben"), "unsubscribe", &claim(&conf, "n1", "5")).unwrap();
    world.presence("ben", &conf, &told("n1", "6", "gone")).unwrap();
    world.presence("ben", &conf, &told("n1", "6", "reconnecting")).unwrap();
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 6)), "conflict presence.superseded");
    assert_eq!(world.snapshot(&conf), before);
    world.presence("ben", &conf, &told("n1", "7", "reconnecting")).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Reconnecting));
}

#[test]
fn a_takeover_by_another_node_is_not_undone_by_the_end_of_the_old_socket() {
    let (mut world, conf) = with_ben();
    let other = "ben%ips3000@webconf-b.ips3000/uc";
    // The counters of nodes don't compare: a smaller number from elsewhere takes over.
    world.subscribe(other, &conf, "n2", 1).unwrap();
    let before = world.snapshot(&conf);
    world.set(&via("ben"), "unsubscribe", &claim(&conf, "n1", "5")).unwrap();
    world.presence("ben", &conf, &told("n1", "6", "gone")).unwrap();
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 5)), "conflict presence.superseded");
    assert_eq!(world.snapshot(&conf), before);
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    assert_eq!(world.hear_types(other), "conference.locked");
    assert_eq!(world.hear_types(&via("ben")), "");
    // A newer socket on the first node takes it back, and a reset lets its counter start anew.
    world.set(GATEWAY, "resetNode", &[("node", "n1"), ("generation", "0")]).unwrap();
    world.eim = world.reloaded();
    world.subscribe(&via("ben"), &conf, "n1", 1).unwrap();
    assert_eq!(refusal(world.subscribe(other, &conf, "n2", 1)), "conflict presence.superseded");
}

#[test]
fn member_that_goes_leaves_once_and_returns_to_its_seat_in_time() {
    let (mut world, conf) = with_ben();
    let chair = session("ann");
    world.control("ann", &conf, &[("action", "mute"), ("userId", "ben")]).unwrap();
    world.control("ben", &conf, &[("action", "raiseHand")]).unwrap();
    let before = world.snapshot(&conf).members;
    world.set(&via("ben"), "unsubscribe", &claim(&conf, "n1", "5")).unwrap();
    world.presence("ben", &conf, &told("n1", "5", "gone")).unwrap();
    world.presence("ben", &conf, &told("n1", "5", "gone")).unwrap();
    assert_eq!(world.snapshot(&conf).members, []);
    let left = world.events_at(&chair).pop().unwrap();
    assert_eq!((left.change.name(), left.change.data()["reason"].as_str()), ("member.left", Some("timeout")));
    assert_eq!(left.actor, None);
    // Locked and with a lobby: who was admitted before is admitted.
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    world.pass(59_999);
    world.eim = world.reloaded();
    let back = world.subscribe(&via("ben"), &conf, "n2", 1).unwrap();
    assert_eq!(back.members, before, "role, order, hand and mute as they were");
    world.presence("ben", &conf, &told("n2", "1", "gone")).unwrap();
    world.pass(60_000);
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n2", 2)), "forbidden conference.notMember");
    assert_eq!(refusal(world.join("ben", &conf)), "forbidden conference.locked");
}

#[test]
fn a_kept_seat_counts_and_is_bound_by_what_happens_meanwhile() {
    let (mut world, conf) = with_ben();
    world.presence("ben", &conf, &told("n1", "5", "gone")).unwrap();
    for user in ["m1", "m2", "m3", "m4"] {
        world.join(user, &conf).unwrap();
    }
    assert_eq!(refusal(world.join("m5", &conf)), "resource-constraint conference.full");
    world.control("ann", &conf, &[("action", "muteAll"), ("value", "locked")]).unwrap();
    assert_eq!(world.join("ben", &conf).unwrap().audio, Audio::ForcedOff);
    world.presence("ben", &conf, &told("n1", "5", "gone")).unwrap();
    world.control("ann", &conf, &[("action", "kick"), ("userId", "ben")]).unwrap();
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 9)), "forbidden conference.banned");
    world.join("m5", &conf).unwrap();
}

#[test]
fn somebody_who_waits_leaves_when_their_socket_does() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    world.join("ben", &conf).unwrap();
    world.subscribe(&via("ben"), &conf, "n1", 1).unwrap();
    let seq = world.snapshot(&conf).seq;
    world.presence("ben", &conf, &told("n1", "1", "reconnecting")).unwrap();
    assert_eq!(world.snapshot(&conf).seq, seq, "waiting has no shades");
    world.control("ann", &conf, &[("action", "admit"), ("userId", "ben")]).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Reconnecting), "admitted while away");
    world.join("cat", &conf).unwrap();
    world.presence("cat", &conf, &told("n1", "1", "gone")).unwrap();
    assert_eq!(world.snapshot(&conf).waiting, []);
}

#[test]
fn before_admission_one_sees_the_conference_and_oneself_only() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    world.join("ann", &conf).unwrap();
    world.send_message("ann", &conf, "secret").unwrap();
    world.join("cat", &conf).unwrap();
    world.guest("g1", &conf);
    let own = session("g1");
    let ids = |roster: &Roster| roster.waiting.iter().map(|m| m.user_id.to_string()).collect::<Vec<_>>().join(" ");
    let early = world.subscribe(&own, &conf, "own", 1).unwrap();
    assert_eq!((early.members.len(), ids(&early).as_str(), early.messages.len()), (0, "", 0));
    world.join("g1", &conf).unwrap();
    let waiting = world.subscribe(&own, &conf, "own", 2).unwrap();
    assert_eq!((waiting.members.len(), ids(&waiting).as_str(), waiting.messages.len()), (0, "g1", 0));
    let attrs = [("confId", conf.as_str())];
    let members = world.get(&own, "members", &attrs).unwrap();
    assert_eq!(members.children().map(|m| m.attr("userId").unwrap()).collect::<Vec<_>>(), ["g1"]);
    assert_eq!(refusal(world.get(&own, "messages", &attrs)), "forbidden conference.notMember");
    assert_eq!(refusal(world.send_message("g1", &conf, "hello?")), "forbidden conference.notMember");
    world.events_at(&own);
    world.join("ben", &conf).unwrap();
    world.send_message("ann", &conf, "more secrets").unwrap();
    assert_eq!(world.hear_types(&own), "", "others' news");
    world.control("ann", &conf, &[("action", "admit"), ("userId", "g1")]).unwrap();
    world.send_message("ann", &conf, "welcome").unwrap();
    assert_eq!(world.hear_types(&own), "waiting.removed member.joined message");
    let full = world.subscribe(&own, &conf, "own", 3).unwrap();
    assert_eq!((full.members.len(), ids(&full).as_str(), full.messages.len()), (2, "ben cat", 3));
}

#[test]
fn a_stranger_is_told_nothing() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    let other = world.conference(&[]);
    world.guest("g1", &other);
    let attrs = [("confId", conf.as_str())];
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 1)), "forbidden conference.notMember");
    for name in ["members", "messages"] {
        assert_eq!(refusal(world.get(&via("ben"), name, &attrs)), "forbidden conference.notMember");
        assert_eq!(refusal(world.get(&via("g1"), name, &attrs)), "item-not-found conference.notFound");
    }
    assert_eq!(refusal(world.get(&via("g1"), "get", &attrs)), "item-not-found conference.notFound");
    assert_eq!(refusal(world.subscribe(&via("g1"), &conf, "n1", 1)), "item-not-found conference.notFound");
    assert_eq!(refusal(world.set(&via("g1"), "create", &[("name", "x")])), "forbidden user.temporary");
    assert_eq!(refusal(world.get(&via("ben"), "get", &[("confId", "none")])), "item-not-found conference.notFound");
}

#[test]
fn a_gateway_gets_one_copy_and_each_session_its_own() {
    let mut world = World::new();
    let conf = world.conference(&[]);
    for user in ["ben", "cat", "dan", "eve"] {
        world.join(user, &conf).unwrap();
    }
    world.subscribe(&via("ben"), &conf, "n1", 1).unwrap();
    world.pass(1);
    world.subscribe(&via("cat"), &conf, "n1", 2).unwrap();
    world.subscribe("dan%ips3000@webconf-b.ips3000/uc", &conf, "n2", 1).unwrap();
    world.subscribe(&session("eve"), &conf, "own", 1).unwrap();
    world.subscribe(&session("ann"), &conf, "own", 1).unwrap();
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    let hearers = [&via("ben"), &via("cat"), "dan%ips3000@webconf-b.ips3000/uc", &session("eve"), &session("ann")];
    assert_eq!(hearers.map(|a| world.events_at(a).len()), [0, 1, 1, 1, 1]);
    // The latest goes: the copy goes to the one before.
    world.set(&via("cat"), "unsubscribe", &claim(&conf, "n1", "2")).unwrap();
    assert_eq!(hearers.map(|a| world.events_at(a).len()), [1, 0, 1, 1, 1]);
    world.control("ann", &conf, &[("action", "end")]).unwrap();
    assert_eq!(
        hearers.map(|a| world.hear_types(a)),
        ["conference.ended", "", "conference.ended", "conference.ended", "conference.ended"]
    );
}

#[test]
fn a_node_that_starts_anew_answers_for_its_seats_and_for_unclaimed_ones() {
    let mut world = World::new();
    let conf = world.conference(&[("lobby", "true")]);
    for user in ["ben", "cat", "dan"] {
        world.join(user, &conf).unwrap();
        world.control("ann", &conf, &[("action", "admit"), ("userId", user)]).unwrap();
    }
    world.join("eve", &conf).unwrap();
    world.subscribe(&via("ben"), &conf, "n1", 40).unwrap();
    world.subscribe(&via("eve"), &conf, "n1", 41).unwrap();
    world.subscribe(&session("cat"), &conf, "n2", 1).unwrap();
    world.eim = world.reloaded();
    let reset = world.set(GATEWAY, "resetNode", &[("node", "n1"), ("generation", "2")]).unwrap();
    let mut seats: Vec<&str> = reset.children().map(|seat| seat.attr("userId").unwrap()).collect();
    seats.sort_unstable();
    assert_eq!(seats, ["ben", "dan", "eve"], "Dan never opened a socket: nobody else answers for him");
    assert_eq!(reset.attr("more"), None);
    let states = ["ben", "cat", "dan"].map(|user| state(&mut world, &conf, user).unwrap());
    assert_eq!(states, [MemberState::Reconnecting, MemberState::Joined, MemberState::Reconnecting]);
    world.events_at(&via("ben"));
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    assert_eq!(world.hear_types(&via("ben")), "", "no subscription outlives the reset");
    world.presence("dan", &conf, &told("n1", "2", "gone")).unwrap();
    assert_eq!(state(&mut world, &conf, "dan"), None);
    // The counter of the new run is smaller than that of the old one, and counts.
    world.subscribe(&via("ben"), &conf, "n1", 3).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Joined));
}

#[test]
fn seats_that_one_answer_cannot_name_are_given_up_and_kept() {
    let mut world = World::new();
    let limits = &mut world.eim.settings.limits;
    (limits.conferences, limits.conferences_per_user) = (10_000, 10_000);
    let long = |i: usize| format!("{i:0>64}");
    for i in 0..2300 {
        world.now += 1;
        let conf = world.conference(&[]);
        world.join(&long(i), &conf).unwrap();
    }
    let reset = world.set(GATEWAY, "resetNode", &[("node", "n1"), ("generation", "1")]).unwrap();
    let named = reset.children().count();
    assert!((2100..2300).contains(&named), "{named}");
    let list = |world: &mut World, i: usize| world.get(&via(&long(i)), "list", &[]).unwrap().children().count();
    let left = (0..2300).filter(|i| list(&mut world, *i) == 0).count();
    assert_eq!(named + left, 2300, "nobody stays whom no node answers for");
}

#[test]
fn presence_of_somebody_who_is_not_there_is_told_in_vain() {
    let (mut world, conf) = with_ben();
    let before = world.snapshot(&conf);
    for state in ["gone", "reconnecting"] {
        world.presence("zed", &conf, &told("n1", "1", state)).unwrap();
    }
    let online = world.presence("zed", &conf, &told("n1", "1", "online"));
    assert_eq!(refusal(online), "item-not-found member.notFound");
    let odd = world.presence("ben", &conf, &told("n1", "9", "asleep"));
    assert_eq!(refusal(odd), "bad-request argument.invalid");
    assert_eq!(world.snapshot(&conf), before);
    world.presence("ben", &conf, &told("n1", "9", "reconnecting")).unwrap();
    world.presence("ben", &conf, &told("n1", "9", "online")).unwrap();
    assert_eq!(state(&mut world, &conf, "ben"), Some(MemberState::Joined));
    world.control("ann", &conf, &[("action", "end")]).unwrap();
    assert_eq!(refusal(world.presence("ann", &conf, &told("n1", "9", "online"))), "gone conference.ended");
    world.presence("ann", &conf, &told("n1", "9", "gone")).unwrap();
    world.set(&via("ann"), "unsubscribe", &claim(&conf, "n1", "9")).unwrap();
    assert!(world.disk().keys().all(|(kind, _)| kind != "person"), "nobody is present in what is over");
}
