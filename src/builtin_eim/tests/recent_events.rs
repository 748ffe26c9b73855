//! Who resumes at a node that has not followed the conference gets the events since then with the subscription.

use super::world::{World, session, via};
use crate::event::Event;
use crate::xmpp::xml::{Element, SENT_MAX};

const NONE: [u64; 0] = [];

/// The answer to a subscription of one who left off there.
fn subscribe(world: &mut World, from: &str, conf: &str, epoch: &str, seq: &str) -> Element {
    let attrs = [("confId", conf), ("node", "n9"), ("generation", "1"), ("sinceEpoch", epoch), ("sinceSeq", seq)];
    world.set(from, "subscribe", &attrs).unwrap()
}

fn events(answer: &Element) -> Vec<Event> {
    let list = answer.child("events").into_iter().flat_map(Element::children);
    list.map(|event| serde_json::from_str(&event.text()).unwrap()).collect()
}

fn missed(world: &mut World, from: &str, conf: &str, epoch: &str, seq: u64) -> Vec<u64> {
    let answer = subscribe(world, from, conf, epoch, &seq.to_string());
    let events = events(&answer);
    assert!(events.iter().all(|event| event.epoch == epoch && event.conf_id.as_str() == conf));
    let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert!(seqs.last().is_none_or(|last| answer.attr("seq") == Some(&last.to_string())), "they end at the roster");
    seqs
}

/// A conference that Ann and Ben are in, its epoch, and its number.
fn with_ben() -> (World, String, String, u64) {
    let mut world = World::new();
    let conf = world.conference(&[]);
    world.subscribe(&session("ann"), &conf, "own", 1).unwrap();
    world.join("ann", &conf).unwrap();
    world.join("ben", &conf).unwrap();
    let roster = world.snapshot(&conf);
    (world, conf, roster.epoch, roster.seq)
}

#[test]
fn a_subscriber_who_says_where_they_left_off_gets_the_events_since_then() {
    let (mut world, conf, epoch, seq) = with_ben();
    world.events_at(&session("ann"));
    for text in ["one", "two & <three>", "\"four\""] {
        world.send_message("ann", &conf, text).unwrap();
    }
    world.presence("ben", &conf, &[("node", "n1"), ("generation", "1"), ("state", "reconnecting")]).unwrap();
    let answer = subscribe(&mut world, &via("ben"), &conf, &epoch, &seq.to_string());
    let seen = world.events_at(&session("ann"));
    assert_eq!(seen.len(), 5, "their own coming is the last");
    assert_eq!(events(&answer), seen, "the same as went to who was there");
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq + 3), [seq + 4, seq + 5]);
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, 0).len() as u64, seq + 5, "from the creation on");
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq + 5), NONE, "nothing is missing");
}

#[test]
fn positions_that_the_eim_has_not_given_and_none_at_all_are_answered_without_events() {
    let (mut world, conf, epoch, seq) = with_ben();
    for (epoch, seq) in [(epoch.as_str(), seq + 1), (&epoch, u64::MAX), ("another", 1), ("e", 0)] {
        assert_eq!(missed(&mut world, &via("ben"), &conf, epoch, seq), NONE);
    }
    let claim = [("confId", conf.as_str()), ("node", "n9"), ("generation", "1")];
    for half in [("sinceEpoch", epoch.as_str()), ("sinceSeq", "1")] {
        let answer = world.set(&via("ben"), "subscribe", &[&claim[..], &[half]].concat()).unwrap();
        assert_eq!(answer.child("events"), None);
    }
    assert!(world.set(&via("ben"), "subscribe", &[&claim[..], &[("sinceSeq", "x")]].concat()).is_err());
}

#[test]
fn a_subscriber_who_is_not_let_in_gets_no_events() {
    let (mut world, conf, epoch, seq) = with_ben();
    world.set(&via("ann"), "update", &[("confId", &conf), ("lobby", "true")]).unwrap();
    world.guest("g1", &conf);
    world.join("g1", &conf).unwrap();
    world.guest("g2", &conf);
    for guest in ["g1", "g2"] {
        let answer = subscribe(&mut world, &via(guest), &conf, &epoch, &seq.to_string());
        assert_eq!((answer.attr("restricted"), answer.child("events")), (Some("true"), None));
    }
    world.control("ann", &conf, &[("action", "admit"), ("value", "all")]).unwrap();
    assert!(!missed(&mut world, &via("g1"), &conf, &epoch, seq).is_empty());
}

#[test]
fn a_restart_and_the_end_of_the_time_forget_the_events() {
    let (mut world, conf, epoch, seq) = with_ben();
    world.pass(60_000);
    world.send_message("ann", &conf, "later").unwrap();
    world.pass(60_000);
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq), [seq + 1]);
    world.send_message("ann", &conf, "later still").unwrap();
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq - 1), NONE, "an event of before is gone");
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq), [seq + 1, seq + 2]);
    // Somebody else's event is when it is looked at what is old.
    world.pass(240_000);
    world.conference(&[("name", "Another")]);
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq), NONE);

    world.send_message("ann", &conf, "before the restart").unwrap();
    world.eim = world.reloaded();
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq + 2), NONE);
    world.send_message("ann", &conf, "after the restart").unwrap();
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq + 3), [seq + 4]);
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, seq + 2), NONE, "a gap is none of the events");
}

#[test]
fn more_events_than_a_stanza_holds_are_not_in_the_answer() {
    let (mut world, conf, epoch, seq) = with_ben();
    // Messages come first: the roster is the same for everybody.
    for _ in 0..100 {
        world.send_message("ann", &conf, &"'".repeat(300)).unwrap();
    }
    let answer = subscribe(&mut world, &via("ben"), &conf, &epoch, &seq.to_string());
    assert_eq!(answer.child("events"), None);
    assert_eq!(answer.child("messages").unwrap().children().count(), 100);
    let some = missed(&mut world, &via("ben"), &conf, &epoch, seq + 80);
    assert_eq!(some, (seq + 81..=seq + 100).collect::<Vec<_>>());
    assert!(answer.fits(SENT_MAX));
    // Of many small ones the newest are kept.
    for turn in 0..300 {
        world.control("ben", &conf, &[("action", if turn % 2 == 0 { "raiseHand" } else { "lowerHand" })]).unwrap();
    }
    let last = seq + 400;
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, last - 257), NONE);
    assert_eq!(
        world
            .eim
            .recent_events
            .between(&crate::ids::ConfId::parse(&conf).unwrap(), &epoch, last - 256, last)
            .map(|all| all.len()),
        Some(256)
    );
    assert_eq!(missed(&mut world, &via("ben"), &conf, &epoch, last - 40).len(), 40);
}
