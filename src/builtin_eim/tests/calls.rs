//! Calls: ringing, answering, declining, giving up, missing; who is told of it, and what stays.

use std::time::Duration;

use super::world::{GATEWAY, World, refusal, session, via};
use crate::clock::{Moment, Now};
use crate::event::CallMode;
use crate::xmpp::xml::Element;

const RING_MS: u64 = 45_000;

/// Ann, Ben and Cat each have a socket.
fn world() -> World {
    let mut world = World::new();
    for (generation, user) in (1..).zip(["ann", "ben", "cat", "dan"]) {
        world.listen(user, "n1", generation).unwrap();
    }
    world
}

fn members(world: &mut World, conf: &str) -> String {
    let roster = world.snapshot(conf);
    roster.members.iter().map(|m| m.user_id.as_str()).collect::<Vec<_>>().join(" ")
}

fn nothing_is_left(world: &World) {
    assert_eq!(world.eim.calls(), 0);
    assert_eq!(world.reloaded(), world.eim);
}

#[test]
fn a_call_between_two_rings_is_answered_and_ends_for_both() {
    let mut world = world();
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    let incoming = world.rung("ben").remove(0);
    assert_eq!((incoming.data.from.as_str(), incoming.data.mode), ("ann", CallMode::P2p));
    assert_eq!((incoming.data.ring_ms, incoming.data.conf_id.as_str()), (Some(RING_MS), conf.as_str()));
    let of = world.snapshot(&conf).conference.call.unwrap();
    assert_eq!((of.call_id.as_str(), of.mode), (call.as_str(), CallMode::P2p));
    assert_eq!(members(&mut world, &conf), "ann");
    let accepted = world.on_call("ben", "accept", &call).unwrap();
    assert_eq!((accepted.attr("confId"), accepted.attr("mode")), (Some(conf.as_str()), Some("p2p")));
    assert_eq!((world.rings("ann"), world.rings("ben")), ("answered(ben)".into(), "answered(ben)".into()));
    assert_eq!(members(&mut world, &conf), "ann ben");
    world.on_call("ben", "hangup", &call).unwrap();
    assert_eq!((world.rings("ann"), world.rings("ben")), ("ended(ben):hangup".into(), "ended(ben):hangup".into()));
    assert_eq!(refusal(world.on_call("ann", "hangup", &call)), "item-not-found call.notFound");
    world.pass(1);
    assert_eq!(refusal(world.get(GATEWAY, "get", &[("confId", &conf)])), "item-not-found conference.notFound");
    nothing_is_left(&world);
}

#[test]
fn a_declined_call_tells_why_and_is_over() {
    let mut world = world();
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    world.rung("ben");
    let decline = World::operation("decline", &[("callId", &call), ("reason", "later")]);
    world.call(&via("ben"), decline).unwrap();
    assert_eq!((world.rings("ann"), world.rings("ben")), ("declined(ben):later".into(), "declined(ben):later".into()));
    nothing_is_left(&world);
}

#[test]
fn busy_callee_declines_without_being_rung() {
    let mut world = world();
    let (first, _) = world.ring("ann", &["ben"]).unwrap();
    world.on_call("ben", "accept", &first).unwrap();
    world.rung("ben");
    world.ring("cat", &["ben"]).unwrap();
    assert_eq!((world.rings("cat"), world.rings("ben")), ("declined(ben):busy".into(), String::new()));
    // Several: the others ring.
    world.ring("cat", &["ben", "dan"]).unwrap();
    assert_eq!((world.rings("cat"), world.rings("dan")), ("declined(ben):busy".into(), "incoming".into()));
    assert_eq!(world.eim.calls(), 2);
}

#[test]
fn a_caller_gives_up_before_the_answer_only() {
    let mut world = world();
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    assert_eq!(refusal(world.on_call("ben", "cancel", &call)), "forbidden call.callerOnly");
    world.on_call("ann", "cancel", &call).unwrap();
    assert_eq!(world.rings("ben"), "incoming cancelled(ann)");
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    assert_eq!(refusal(world.on_call("ann", "cancel", &call)), "conflict call.answered");
    let decline = World::operation("decline", &[("callId", &call)]);
    assert_eq!(refusal(world.call(&via("ben"), decline)), "conflict call.answered");
}

#[test]
fn a_call_rings_as_long_whatever_the_wall_clock_says_meanwhile() {
    const HOUR_MS: u64 = 3_600_000;
    let mut world = world();
    world.ring("ann", &["ben"]).unwrap();
    let (rung, rng) = (world.now, &mut rand::rng());
    for (date, passed, is_missed) in [(rung + HOUR_MS, RING_MS - 1, false), (rung - HOUR_MS / 4, RING_MS, true)] {
        let now = Now { date, moment: Moment::at(rung + passed) };
        let told = world.eim.tick(now, rng).stanzas;
        assert_eq!(told.iter().any(|stanza| stanza.to_xml().contains("call.missed")), is_missed, "{told:?}");
        assert!(told.iter().all(|stanza| stanza.to_xml().contains(&date.to_string())), "what is told has its date");
    }
}

#[test]
fn a_call_that_nobody_answers_in_time_is_missed_by_both() {
    let mut world = world();
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    world.pass(RING_MS - 1);
    assert_eq!(world.eim.wait(world.now), Some(Duration::from_millis(1)));
    world.pass(1);
    assert_eq!((world.rings("ann"), world.rings("ben")), ("missed(ben)".into(), "incoming missed(ben)".into()));
    assert_eq!(refusal(world.on_call("ben", "accept", &call)), "item-not-found call.notFound");
    nothing_is_left(&world);
}

#[test]
fn every_node_with_a_socket_of_a_callee_rings_and_stops() {
    let mut world = world();
    let second = "ben%ips3000@webconf-b.ips3000/uc";
    let claim = World::operation("watch", &[("node", "n2"), ("generation", "9")]);
    world.call(second, claim).unwrap();
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    // One that opens while it rings, rings too.
    let claim = World::operation("watch", &[("node", "own"), ("generation", "1")]);
    world.call(&session("ben"), claim).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    for address in [via("ben"), second.to_owned(), session("ben")] {
        let names: Vec<_> = world.rung_at(&address).iter().map(|e| e.step.name()).collect();
        assert_eq!(names, ["call.incoming", "call.answered"], "{address}");
    }
}

#[test]
fn an_older_socket_neither_takes_nor_ends_a_subscription_and_a_new_start_of_its_node_does() {
    let mut world = world();
    world.listen("ben", "n1", 20).unwrap();
    assert_eq!(refusal(world.listen("ben", "n1", 19)), "conflict presence.superseded");
    world.call(&via("ben"), World::operation("unwatch", &[("node", "n1"), ("generation", "19")])).unwrap();
    world.ring("ann", &["ben"]).unwrap();
    assert_eq!(world.rings("ben"), "incoming");
    world.set(GATEWAY, "resetNode", &[("node", "n1"), ("generation", "20")]).unwrap();
    world.ring("cat", &["ben"]).unwrap();
    assert_eq!(world.rings("ben"), "incoming", "a socket of after the start stays");
    world.set(GATEWAY, "resetNode", &[("node", "n1"), ("generation", "21")]).unwrap();
    world.ring("dan", &["ben"]).unwrap();
    assert_eq!(world.rings("ben"), "");
    // The counter of the new run may be smaller.
    world.listen("ben", "n1", 3).unwrap();
    assert_eq!(world.rings("ben"), "incoming incoming incoming");
    assert_eq!(world.reloaded(), world.eim);
}

#[test]
fn several_ring_at_once_late_ones_come_in_and_it_ends_with_the_last_but_one() {
    let mut world = world();
    let (call, conf) = world.ring("ann", &["ben", "cat", "dan"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    world.on_call("cat", "decline", &call).unwrap();
    world.pass(RING_MS);
    assert_eq!(world.rings("ann"), "answered(ben) declined(cat) missed(dan)");
    assert_eq!(world.rings("dan"), "incoming missed(dan)");
    world.on_call("dan", "accept", &call).unwrap();
    world.on_call("cat", "accept", &call).unwrap();
    assert_eq!(members(&mut world, &conf), "ann ben cat dan");
    // The caller goes: the call is the others'.
    world.on_call("ann", "hangup", &call).unwrap();
    assert_eq!(world.snapshot(&conf).conference.chair.as_str(), "ben");
    assert_eq!(refusal(world.on_call("ann", "hangup", &call)), "conflict call.notIn");
    world.on_call("ben", "hangup", &call).unwrap();
    for user in ["ann", "ben", "dan"] {
        world.rings(user);
    }
    world.on_call("cat", "hangup", &call).unwrap();
    // A member that had hung up could have come back until then.
    for user in ["ann", "ben", "dan"] {
        assert_eq!(world.rings(user), "ended(cat):hangup", "{user}");
    }
    nothing_is_left(&world);
}

#[test]
fn a_department_rings_and_one_that_nobody_answers_ends() {
    let mut world = world();
    world.call(&via("ann"), World::operation("start", &[("departmentId", "sales")])).unwrap();
    assert_eq!(world.rung("ben")[0].data.mode, CallMode::Group);
    world.pass(RING_MS);
    assert_eq!(world.rings("ann"), "missed(ben) ended:unanswered");
    assert_eq!(world.rings("ben"), "missed(ben) ended:unanswered");
    let nobody = World::operation("start", &[("departmentId", "nowhere")]);
    assert_eq!(refusal(world.call(&via("ann"), nobody)), "item-not-found department.notFound");
    nothing_is_left(&world);
}

#[test]
fn a_socket_that_stays_away_has_hung_up() {
    let mut world = world();
    let gone = |world: &mut World, user: &str, conf: &str| {
        let attrs = [("node", "n1"), ("generation", "99"), ("state", "gone"), ("keepMs", "40000")];
        world.presence(user, conf, &attrs).unwrap();
    };
    // Of a caller while it rings: given up.
    let (_, conf) = world.ring("ann", &["ben"]).unwrap();
    gone(&mut world, "ann", &conf);
    assert_eq!(world.rings("ben"), "incoming cancelled(ann):timeout");
    // Of who talks: over.
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    world.rings("ann");
    gone(&mut world, "ben", &conf);
    assert_eq!(world.rings("ann"), "ended(ben):timeout");
    // Of one of several: out, until they accept again; no seat is kept.
    let (call, conf) = world.ring("ann", &["ben", "cat"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    world.on_call("cat", "accept", &call).unwrap();
    gone(&mut world, "ben", &conf);
    assert_eq!(refusal(world.subscribe(&via("ben"), &conf, "n1", 100)), "forbidden conference.notMember");
    world.on_call("ben", "accept", &call).unwrap();
    assert_eq!(members(&mut world, &conf), "ann ben cat");
}

#[test]
fn end_of_the_conference_ends_the_call() {
    let mut world = world();
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    world.rings("ben");
    world.set(&via("ann"), "end", &[("confId", &conf)]).unwrap();
    assert_eq!(world.rings("ben"), "ended:ended");
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    world.on_call("ben", "accept", &call).unwrap();
    world.rings("ben");
    world.control("ann", &conf, &[("action", "kick"), ("userId", "ben")]).unwrap();
    assert_eq!(world.rings("ben"), "ended(ben):kicked");
    nothing_is_left(&world);
}

#[test]
fn a_call_and_its_conference_exist_for_those_only_whom_it_names() {
    let mut world = world();
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    for operation in ["accept", "decline", "cancel", "hangup"] {
        assert_eq!(refusal(world.on_call("cat", operation, &call)), "item-not-found call.notFound", "{operation}");
        assert_eq!(refusal(world.on_call("ben", operation, "nowhere")), "item-not-found call.notFound");
    }
    for operation in ["join", "leave", "sendMessage"] {
        let stranger = world.set(&via("cat"), operation, &[("confId", &conf)]);
        assert_eq!(refusal(stranger), "item-not-found conference.notFound", "{operation}");
    }
    assert_eq!(refusal(world.get(&via("cat"), "get", &[("confId", &conf)])), "item-not-found conference.notFound");
    // Coming in is answering.
    world.join("ben", &conf).unwrap();
    assert_eq!(world.rings("ann"), "answered(ben)");
    // It is listed where it is asked for, and can't be made anything else.
    assert_eq!(world.get(&via("ann"), "list", &[]).unwrap().children().count(), 0);
    assert_eq!(world.get(&via("ann"), "list", &[("calls", "true")]).unwrap().children().count(), 1);
    let update = world.set(&via("ann"), "update", &[("confId", &conf), ("password", "123456")]);
    assert_eq!(refusal(update), "forbidden conference.ofCall");
    assert!(
        world
            .get(&via("ann"), "get", &[("confId", &conf)])
            .unwrap()
            .child("conference")
            .unwrap()
            .attr("password")
            .is_none()
    );
}

#[test]
fn callees_and_rate_of_calls_are_bounded() {
    let mut world = world();
    let conf = world.conference(&[]);
    world.guest("g1", &conf);
    assert_eq!(refusal(world.ring("g1", &["ann"])), "forbidden user.temporary");
    assert_eq!(refusal(world.listen("g1", "n1", 1)), "forbidden user.temporary");
    assert_eq!(refusal(world.ring("ann", &["g1"])), "item-not-found user.notFound");
    assert_eq!(refusal(world.ring("ann", &["ann"])), "bad-request argument.invalid");
    assert_eq!(refusal(world.ring("ann", &["Not An Id"])), "bad-request argument.invalid");
    assert_eq!(refusal(world.ring("ann", &[])), "bad-request argument.invalid");
    let many: Vec<String> = (0..33).map(|i| format!("u{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refusal(world.ring("ann", &many)), "resource-constraint call.tooManyCallees");
    let reason = "x".repeat(65);
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    let decline = World::operation("decline", &[("callId", &call), ("reason", &reason)]);
    assert_eq!(refusal(world.call(&via("ben"), decline)), "bad-request argument.invalid");
    let long = Element::new("start", super::world::CALL).with("name", "x".repeat(129));
    let to = Element::new("to", super::world::CALL).with_text("ben");
    assert_eq!(refusal(world.call(&via("ann"), long.with_child(to))), "bad-request argument.invalid");
    for _ in 0..3 {
        world.ring("ann", &["ben"]).unwrap();
    }
    assert_eq!(refusal(world.ring("ann", &["cat"])), "resource-constraint call.tooManyOfUser");
    // Nor can many ring one to death.
    world.rings("cat");
    world.ring("cat", &["ben"]).unwrap();
    assert_eq!(world.rings("cat"), "declined(ben):busy");
    world.eim.settings.limits.calls = 4;
    assert_eq!(refusal(world.ring("cat", &["dan"])), "resource-constraint call.tooMany");
}

#[test]
fn a_call_goes_on_after_a_restart_of_the_eim() {
    let mut world = world();
    let (call, _) = world.ring("ann", &["ben"]).unwrap();
    world.eim = world.reloaded();
    world.on_call("ben", "accept", &call).unwrap();
    world.eim = world.reloaded();
    world.rings("ann");
    world.on_call("ann", "hangup", &call).unwrap();
    assert_eq!(world.rings("ann"), "ended(ann):hangup");
    nothing_is_left(&world);
}
