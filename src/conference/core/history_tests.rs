use super::super::super::Ending;
use super::super::tests::{self, LIMITS, Truth, asked_in_vain, attached, core, frames, member, requests, user};
use super::super::{CATCH_UP_MS, Effect, EimRequest, Failure};
use super::*;
use crate::event::{Change, Left, LeftReason, Member, MemberState};

fn at(seq: u64) -> Position {
    tests::at(seq).unwrap()
}

/// Events of somebody whom nobody else has to do with.
fn events(truth: &mut Truth, count: usize) -> Vec<Event> {
    (0..count as u64).map(|turn| truth.event(Change::MemberUpdated(member("other", turn)))).collect()
}

/// The EIM's answer with the newest `count` of those events.
fn answer(truth: &Truth, all: &[Event], count: usize) -> Result<Subscribed, Failure> {
    Ok(Subscribed { roster: truth.0.clone(), events: all[all.len() - count..].to_vec() })
}

/// The numbers of the events that the user was sent. A snapshot is its reason.
fn sent(out: &[Effect], id: &str) -> Vec<String> {
    let brief = |(method, params): (String, Value)| match method.as_str() {
        "conference.event" => params["seq"].to_string(),
        _ => params["reason"].as_str().unwrap_or(&method).to_owned(),
    };
    frames(out, id).into_iter().map(brief).collect()
}

fn since(out: &[Effect]) -> Vec<Option<Position>> {
    let position = |request: &EimRequest| match request {
        EimRequest::Subscribe { since, .. } => Some(since.clone()),
        _ => None,
    };
    requests(out).into_iter().filter_map(position).collect()
}

#[test]
fn sockets_that_move_to_a_node_that_has_just_started_get_the_events_that_each_missed() {
    let mut truth = Truth::new(&["a", "b", "c", "other"]);
    let all = events(&mut truth, 4);
    let mut core = core();
    assert_eq!(since(&core.attach(user("a"), 1, Start::Since(at(12)), 0)), [Some(at(12))]);
    assert_eq!(since(&core.attach(user("b"), 1, Start::Since(at(10)), 0)), [Some(at(10))]);
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 2), 0);
    assert_eq!(sent(&out, "a"), ["13", "14"]);
    assert_eq!(sent(&out, "b"), [""; 0], "their own answer is on its way");
    let out = core.on_subscribe_reply(&user("b"), answer(&truth, &all, 4), 0);
    assert_eq!(sent(&out, "b"), ["11", "12", "13", "14"], "older events came before those that were there");
    assert_eq!(sent(&out, "a"), [""; 0]);

    // Who comes later is served by what is here; what the log lacks comes with the answer.
    let later = events(&mut truth, 1);
    assert_eq!(since(&core.attach(user("c"), 1, Start::Since(at(11)), 0)), [Some(at(14))]);
    let out = core.on_subscribe_reply(&user("c"), answer(&truth, &later, 1), 0);
    assert_eq!((sent(&out, "a"), sent(&out, "b")), (vec!["15".to_owned()], vec!["15".to_owned()]));
    assert_eq!(sent(&out, "c"), ["12", "13", "14", "15"]);
    assert_eq!(core.event(later[0].clone(), 0), [], "it comes by itself too");
    assert_eq!(core.tick(CATCH_UP_MS), [], "nothing is waited for");
    let out = core.event(truth.event(Change::MemberUpdated(member("other", 9))), 0);
    assert!(["a", "b", "c"].iter().all(|id| sent(&out, id) == ["16"]), "{out:?}");
}

#[test]
fn events_that_come_while_the_answer_is_awaited_follow_those_of_the_answer() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 3);
    let roster = truth.0.clone();
    let mut core = core();
    core.attach(user("a"), 1, Start::Since(at(11)), 0);
    assert_eq!(core.event(all[2].clone(), 0), [], "the roster will have it");
    assert_eq!(core.event(truth.event(Change::MemberUpdated(member("other", 9))), 0), []);
    let out = core.on_subscribe_reply(&user("a"), Ok(Subscribed { roster, events: all[1..].to_vec() }), 0);
    assert_eq!(sent(&out, "a"), ["12", "13", "14"]);
    assert_eq!(core.roster(), Some(&truth.0));
}

#[test]
fn events_that_are_not_those_before_the_roster_are_no_events() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 4);
    let changed = |at: usize, change: &dyn Fn(&mut Event)| {
        let mut wrong = all.clone();
        change(&mut wrong[at]);
        wrong
    };
    let conf_id = ConfId::parse("another").unwrap();
    let hostile = [
        changed(1, &|event| event.epoch = "e2".into()),
        changed(3, &|event| event.epoch = "e2".into()),
        changed(1, &|event| event.conf_id = conf_id.clone()),
        changed(2, &|event| event.seq = 12),
        changed(2, &|event| event.seq = 99),
        changed(0, &|event| event.seq = u64::MAX),
        all[..3].to_vec(),
        [&all[..1], &all[2..]].concat(),
        [&all[..], &all[3..]].concat(),
        all.iter().rev().cloned().collect(),
        all.iter().cycle().take(4000).cloned().collect(),
    ];
    for events in hostile {
        let what = format!("{events:.200?}");
        // Where there is no log yet, and where there is one that begins later.
        for watcher in [None, Some("b")] {
            let mut core = watcher.map_or_else(core, |id| attached(&truth, &[id]));
            core.attach(user("a"), 1, Start::Since(at(10)), 0);
            let out = core.on_subscribe_reply(
                &user("a"),
                Ok(Subscribed { roster: truth.0.clone(), events: events.clone() }),
                0,
            );
            assert_eq!(sent(&out, "a"), ["gap"], "{what}");
            assert_eq!(since(&out), [], "it is not asked for again: {what}");
            assert_eq!(core.roster(), Some(&truth.0));
        }
    }
    // A log that counts from 1 has nothing before.
    let mut first = Truth::new(&["a"]);
    first.0.seq = 0;
    let zeroth = Event { seq: 0, ..all[0].clone() };
    let mut core = core();
    core.attach(user("a"), 1, Start::Since(at(5)), 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(Subscribed { roster: first.0.clone(), events: vec![zeroth] }), 0);
    assert_eq!(sent(&out, "a"), ["gap"]);
}

#[test]
fn more_events_than_are_kept_are_no_events() {
    let mut truth = Truth::new(&["a", "b", "c", "other"]);
    let all = events(&mut truth, LIMITS.log + 1);
    let mut core = core();
    core.attach(user("a"), 1, Start::Since(at(10)), 0);
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, all.len()), 0);
    assert_eq!(sent(&out, "a"), ["gap"]);

    // Nor are more kept than that, wherever they come from: of the older ones the newest.
    let mut core = self::core();
    core.attach(user("a"), 1, Start::Since(at(16)), 0);
    core.on_subscribe_reply(&user("a"), answer(&truth, &all, 3), 0);
    let roster = truth.0.clone();
    let newer = events(&mut truth, 2);
    newer.iter().for_each(|event| drop(core.event(event.clone(), 0)));
    core.attach(user("b"), 1, Start::Since(at(11)), 0);
    core.on_subscribe_reply(&user("b"), Ok(Subscribed { roster, events: all[1..].to_vec() }), 0);
    core.attach(user("c"), 1, Start::Since(at(13)), 0);
    let out = core.on_subscribe_reply(&user("c"), Ok(truth.0.clone().into()), 0);
    assert_eq!(sent(&out, "c"), ["14", "15", "16", "17", "18", "19", "20", "21"]);
    assert_eq!(core.log.as_ref().map(|log| log.since(&at(12)).is_err()), Some(true));
}

#[test]
fn a_position_that_no_eim_can_have_given_is_not_shown_to_it() {
    let epochs = ["", "e\u{1}", &"e".repeat(65)];
    let positions = epochs.map(|epoch| Position { epoch: epoch.into(), seq: 5 });
    for position in positions.into_iter().chain([at(SEQ_MAX + 1), at(u64::MAX)]) {
        let out = core().attach(user("a"), 1, Start::Since(position), 0);
        assert_eq!(since(&out), [None]);
    }
    assert_eq!(since(&core().attach(user("a"), 1, Start::Snapshot, 0)), [None]);
}

/// The answers to two subscriptions come the other way round than the EIM gave them.
#[test]
fn events_that_end_before_the_log_begins_are_requested_once_more() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 2);
    let early = answer(&truth, &all, 2);
    let joined = truth.event(Change::MemberJoined(member("new", 9)));
    let mut core = core();
    core.attach(user("a"), 1, Start::Since(at(10)), 0);
    core.attach(user("new"), 1, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("new"), Ok(truth.0.clone().into()), 0);
    let out = core.on_subscribe_reply(&user("a"), early, 0);
    assert_eq!((sent(&out, "a"), since(&out)), (vec![], vec![Some(at(10))]));
    assert_eq!(core.event(joined.clone(), 0), []);
    let whole = [&all[..], &[joined]].concat();
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &whole, 3), 0);
    assert_eq!((sent(&out, "a"), since(&out)), (vec!["11".to_owned(), "12".to_owned(), "13".to_owned()], vec![]));

    // An EIM whose events never join has had its chance.
    let mut core = attached(&truth, &["new"]);
    core.attach(user("a"), 1, Start::Since(at(10)), 0);
    let late = || Ok(Subscribed { roster: Roster { seq: 12, ..truth.0.clone() }, events: all.clone() });
    assert_eq!(since(&core.on_subscribe_reply(&user("a"), late(), 0)).len(), 1);
    let out = core.on_subscribe_reply(&user("a"), late(), 0);
    assert_eq!((sent(&out, "a"), since(&out)), (vec!["gap".to_owned()], vec![]));
}

#[test]
fn a_node_that_is_behind_catches_up_with_the_events_of_the_answer() {
    let mut truth = Truth::new(&["a", "b", "other"]);
    let mut core = attached(&truth, &["b"]);
    let all = events(&mut truth, 3);
    // They come from a node that was ahead of this one.
    assert_eq!(since(&core.attach(user("a"), 1, Start::Since(at(12)), 0)), [Some(at(10))]);
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 3), 0);
    assert_eq!(sent(&out, "b"), ["11", "12", "13"]);
    assert_eq!(sent(&out, "a"), ["13"]);

    // Also where a roster was asked for because one of them was missing.
    let mut truth = Truth::new(&["a", "b", "other"]);
    let mut core = attached(&truth, &["b"]);
    let all = events(&mut truth, 3);
    assert_eq!(requests(&core.event(all[1].clone(), 0)), [&EimRequest::Snapshot]);
    core.attach(user("a"), 1, Start::Since(at(11)), 0);
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 3), 0);
    assert_eq!(
        (sent(&out, "b"), sent(&out, "a")),
        (vec!["11".into(), "12".into(), "13".into()], vec!["12".into(), "13".into()])
    );
    assert_eq!(core.on_snapshot_reply(Ok(truth.0.clone()), 0), [], "it is known");
    let out = core.event(truth.event(Change::MemberUpdated(member("other", 9))), 0);
    assert_eq!(sent(&out, "b"), ["14"]);
}

#[test]
fn a_socket_whose_position_comes_second_resumes_as_if_it_had_come_first() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 3);
    let mut core = core();
    assert_eq!(since(&core.attach(user("a"), 1, Start::Snapshot, 0)), [None]);
    assert_eq!(core.attach(user("a"), 1, Start::Since(at(11)), 0), [], "one request at a time");
    assert_eq!(core.attach(user("a"), 1, Start::Snapshot, 0), []);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!((sent(&out, "a"), since(&out)), (vec![], vec![Some(at(11))]));
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 2), 0);
    assert_eq!(sent(&out, "a"), ["12", "13"]);
    assert_eq!(core.attach(user("a"), 1, Start::Since(at(11)), 0), [], "it has had its first frame");
}

#[test]
fn the_answer_to_an_older_socket_is_no_reason_for_a_snapshot() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 3);
    let mut core = core();
    core.attach(user("a"), 1, Start::Snapshot, 0);
    core.attach(user("a"), 2, Start::Since(at(11)), 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!((sent(&out, "a"), since(&out)), (vec![], vec![Some(at(11))]));
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 2), 0);
    assert_eq!(sent(&out, "a"), ["12", "13"]);

    // Where that one fails, they get what there is.
    let mut core = self::core();
    core.attach(user("a"), 1, Start::Snapshot, 0);
    core.attach(user("a"), 2, Start::Since(at(11)), 0);
    core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    let out = core.on_subscribe_reply(&user("a"), Err(Failure::Unreachable), 0);
    assert_eq!(sent(&out, "a"), ["gap"]);
}

#[test]
fn a_client_that_came_in_after_its_position_gets_a_snapshot_and_one_that_left_meanwhile_the_events() {
    let mut truth = Truth::new(&["left", "other"]);
    let gone = Change::MemberLeft(Left { user_id: user("left"), reason: LeftReason::Timeout });
    let all = [gone, Change::MemberJoined(member("left", 0)), Change::MemberJoined(member("new", 5))];
    let all = all.map(|change| truth.event(change));
    let mut core = core();
    core.attach(user("new"), 1, Start::Since(at(10)), 0);
    let out = core.on_subscribe_reply(&user("new"), answer(&truth, &all, 3), 0);
    assert_eq!(sent(&out, "new"), ["join"], "what they had was not the whole");
    core.attach(user("left"), 1, Start::Since(at(10)), 0);
    let out = core.on_subscribe_reply(&user("left"), Ok(truth.0.clone().into()), 0);
    assert_eq!(sent(&out, "left"), ["11", "12", "13"]);
}

#[test]
fn one_who_waits_gets_no_events_whoever_asked_for_them() {
    let mut truth = Truth::new(&["a", "other"]);
    let waiting = Member { state: MemberState::Waiting, ..member("w", 5) };
    let all = [truth.event(Change::WaitingAdded(waiting)), truth.event(Change::MemberUpdated(member("other", 2)))];
    let mut core = core();
    core.attach(user("w"), 1, Start::Since(at(10)), 0);
    let out = core.on_subscribe_reply(&user("w"), answer(&truth, &all, 2), 0);
    assert_eq!(sent(&out, "w"), ["join"]);
    core.attach(user("a"), 1, Start::Since(at(10)), 0);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!((sent(&out, "a"), sent(&out, "w")), (vec!["11".to_owned(), "12".to_owned()], vec![]));
}

#[test]
fn an_overtaken_answer_leaves_what_is_waited_for() {
    let mut truth = Truth::new(&["a", "other"]);
    let mut core = attached(&truth, &["a"]);
    let first = truth.event(Change::MemberUpdated(member("other", 3)));
    let earlier = truth.0.clone();
    let joined = truth.event(Change::MemberJoined(member("new", 5)));
    core.attach(user("new"), 1, Start::Snapshot, 0);
    core.attach(user("late"), 1, Start::Snapshot, 0);
    assert_eq!(sent(&core.on_subscribe_reply(&user("new"), Ok(truth.0.clone().into()), 0), "new"), [""; 0]);
    core.event(first, 0);
    let out = core.on_subscribe_reply(&user("late"), Ok(earlier.into()), 0);
    assert_eq!(sent(&out, "new"), [""; 0], "their own coming is on its way");
    let out = core.event(joined, 0);
    assert_eq!(sent(&out, "new"), ["join"]);
    assert_eq!(sent(&out, "a"), ["12"]);
}

#[test]
fn a_result_is_read_with_its_events_or_without_any() {
    let mut truth = Truth::new(&["a", "other"]);
    let all = events(&mut truth, 2);
    let read = |texts: Value| {
        let mut result = serde_json::to_value(&truth.0).unwrap();
        result["events"] = texts;
        let read = Subscribed::read(result).unwrap();
        assert_eq!(read.roster, truth.0);
        read.events
    };
    let text = |event: &Event| Value::from(serde_json::to_string(event).unwrap());
    assert_eq!(read(Value::Array(all.iter().map(text).collect())), all);
    let unreadable = ["", "{}", "null", "[", "{\"type\":\"member.left\"}"].map(Value::from);
    // Nor is anything that an event which comes by itself may not hold.
    let beyond = [Event { seq: 0, ..all[1].clone() }, Event { time: u64::MAX, ..all[1].clone() }];
    for wrong in unreadable.into_iter().chain(beyond.iter().map(text)).chain([
        Value::Null,
        7.into(),
        serde_json::to_value(&all[0]).unwrap(),
    ]) {
        assert_eq!(read(vec![text(&all[0]), wrong.clone()].into()), []);
        assert_eq!(read(wrong), []);
    }
    assert!(Subscribed::read(Value::Null).is_err());
}

#[test]
fn held_events_that_lead_on_are_told_in_place_of_the_roster_that_was_asked_for() {
    let mut truth = Truth::new(&["a", "other"]);
    let mut core = attached(&truth, &["a"]);
    let all = events(&mut truth, 3);
    assert_eq!(requests(&core.event(all[1].clone(), 0)), [&EimRequest::Snapshot]);
    assert_eq!(core.event(all[0].clone(), 0), [], "it was late");
    let out = core.on_snapshot_reply(Ok(Roster { seq: 12, ..truth.0.clone() }), 0);
    assert_eq!(sent(&out, "a"), ["11", "12"]);
    assert_eq!(sent(&core.event(all[2].clone(), 0), "a"), ["13"]);
}

/// Nobody listened when it was asked for; those who have come since hear what it tells, or are about to.
#[test]
fn a_roster_that_was_asked_for_before_somebody_resumed_takes_none_of_their_events() {
    let mut truth = Truth::new(&["a", "other"]);
    let alone = |truth: &Truth| {
        let mut core = attached(truth, &["a"]);
        core.detach(&user("a"), 1, Ending::Closed, 0);
        core.on_presence_reply(&user("a"), Ok(()), 0);
        assert_eq!(requests(&core.tick(1000)), [&EimRequest::Snapshot]);
        assert_eq!(since(&core.attach(user("a"), 2, Start::Since(at(10)), 1000)), [Some(at(10))]);
        core
    };
    let mut core = alone(&truth);
    let all = events(&mut truth, 2);
    let out = core.on_snapshot_reply(Ok(truth.0.clone()), 1000);
    assert_eq!(sent(&out, "a"), [""; 0], "the answer to their subscription brings more");
    let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 2), 1000);
    assert_eq!(sent(&out, "a"), ["11", "12"]);

    // The roster comes after that answer, and its event after both.
    let mut truth = Truth::new(&["a", "other"]);
    let mut core = alone(&truth);
    let all = events(&mut truth, 1);
    assert_eq!(sent(&core.on_subscribe_reply(&user("a"), answer(&truth, &all, 1), 1000), "a"), ["11"]);
    let last = truth.event(Change::MemberUpdated(member("other", 9)));
    assert_eq!(sent(&core.on_snapshot_reply(Ok(truth.0.clone()), 1000), "a"), [""; 0]);
    assert_eq!(sent(&core.event(last, 1000), "a"), ["12"]);
}

#[test]
fn after_the_link_was_away_one_subscription_brings_everybody_what_was_missed() {
    let mut truth = Truth::new(&["a", "b", "other"]);
    for roster_comes_first in [false, true] {
        let mut core = attached(&truth, &["a", "b"]);
        let end = truth.0.seq;
        let all = events(&mut truth, 3);
        let out = core.link_up(0);
        assert_eq!(since(&out), [Some(at(end)), None], "once is enough");
        if roster_comes_first {
            assert_eq!(core.on_snapshot_reply(Ok(truth.0.clone()), 0), []);
            assert_eq!(core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0), []);
        }
        let out = core.on_subscribe_reply(&user("a"), answer(&truth, &all, 3), 0);
        let numbers = [end + 1, end + 2, end + 3].map(|seq| seq.to_string());
        assert_eq!((sent(&out, "a"), sent(&out, "b")), (numbers.to_vec(), numbers.to_vec()));
        if !roster_comes_first {
            assert_eq!(core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0), []);
            assert_eq!(core.on_snapshot_reply(Ok(truth.0.clone()), 0), []);
        }
        assert_eq!(core.tick(CATCH_UP_MS), []);
    }

    // An EIM that has no events is believed what it says of the roster.
    let mut core = attached(&truth, &["a", "b"]);
    events(&mut truth, 2);
    core.link_up(0);
    assert_eq!(core.on_snapshot_reply(Ok(truth.0.clone()), 0), []);
    let out = core.on_subscribe_reply(&user("a"), Ok(truth.0.clone().into()), 0);
    assert_eq!((sent(&out, "a"), sent(&out, "b")), (vec!["gap".to_owned()], vec!["gap".to_owned()]));
}

#[test]
fn missing_events_are_waited_for_as_long_as_one_of_them_comes() {
    let mut truth = Truth::new(&["a", "other"]);
    let mut core = attached(&truth, &["a"]);
    let all = events(&mut truth, 3);
    core.attach(user("b"), 1, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("b"), Ok(truth.0.clone().into()), 0);
    core.event(all[0].clone(), CATCH_UP_MS - 1);
    assert_eq!(core.tick(CATCH_UP_MS), []);
    // Another answer tells of the same, and is no reason to wait for longer.
    core.attach(user("c"), 1, Start::Snapshot, CATCH_UP_MS);
    core.on_subscribe_reply(&user("c"), Ok(truth.0.clone().into()), CATCH_UP_MS);
    assert_eq!(sent(&asked_in_vain(&mut core, &truth, 2 * CATCH_UP_MS - 1), "a"), ["gap"]);
}

#[test]
fn events_that_do_not_come_by_themselves_are_asked_for_before_anybody_gets_a_snapshot() {
    let mut truth = Truth::new(&["a", "b", "other"]);
    let mut core = attached(&truth, &["a", "b"]);
    let all = events(&mut truth, 3);
    // An answer tells of them, and of its own request nothing.
    core.attach(user("c"), 1, Start::Snapshot, 0);
    core.on_subscribe_reply(&user("c"), Ok(truth.0.clone().into()), 0);
    assert_eq!(core.tick(CATCH_UP_MS - 1), []);
    let out = core.tick(CATCH_UP_MS);
    let [EimRequest::Subscribe { user: asked, since, .. }] = requests(&out)[..] else { panic!("{out:?}") };
    assert_eq!((out.len(), since), (1, &Some(at(10))));
    let out = core.on_subscribe_reply(asked, answer(&truth, &all, 3), CATCH_UP_MS);
    for listener in ["a", "b"] {
        assert_eq!(sent(&out, listener).len(), 3, "{out:?}");
    }
    assert_eq!(core.tick(CATCH_UP_MS), []);
    for event in all {
        assert_eq!(core.event(event, CATCH_UP_MS), [], "they are known");
    }
}
