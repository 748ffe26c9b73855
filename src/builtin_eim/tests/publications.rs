//! Events for a broker: each once, under its key, kept until it is published.

use std::collections::BTreeSet;

use super::world::{World, via};
use crate::builtin_eim::{Eim, EventDelivery, Settings};
use crate::event::Event;

/// Ann's conference, with Ben, a message and an end. Ann's subscription makes headlines where there are some.
fn conference(world: &mut World) -> String {
    world.listen("ann", "n1", 1).unwrap();
    let conf = world.conference(&[]);
    world.subscribe(&via("ann"), &conf, "n1", 2).unwrap();
    world.join("ann", &conf).unwrap();
    world.join("ben", &conf).unwrap();
    world.send_message("ben", &conf, "good \"morning\"").unwrap();
    world.control("ann", &conf, &[("action", "lock")]).unwrap();
    world.set(&via("ann"), "end", &[("confId", &conf)]).unwrap();
    conf
}

fn documents(world: &World) -> Vec<(String, String, String)> {
    world.disk().iter().map(|((kind, key), body)| (kind.clone(), key.clone(), body.clone())).collect()
}

#[test]
fn each_change_of_a_conference_is_published_once_and_its_creation_to_the_chair_too() {
    let mut world = World::publishing();
    let conf = conference(&mut world);
    let epoch = world.snapshot(&conf).epoch;
    let published = world.publications();
    let expected = [
        ("conf", "conference.created", 1),
        ("user", "conference.created", 1),
        ("conf", "member.joined", 2),
        ("conf", "member.joined", 3),
        ("conf", "message", 4),
        ("conf", "conference.locked", 5),
        ("conf", "conference.ended", 6),
    ];
    let expected = expected.map(|(subject, kind, seq)| {
        let id = if subject == "conf" { conf.as_str() } else { "ann" };
        (format!("{subject}.{id}.{kind}"), format!("{conf}/{epoch}/{seq}"))
    });
    let found: Vec<_> = published.iter().map(|p| (p.routing_key.clone(), p.message_id.clone())).collect();
    assert_eq!(found, expected);
    let numbers: Vec<_> = published.iter().map(|p| p.number).collect();
    assert_eq!(numbers, (1..=7).collect::<Vec<_>>());
}

#[test]
fn a_publication_has_the_json_of_the_headline_and_replaces_it() {
    let (mut headlines, mut publishing) = (World::new(), World::publishing());
    assert_eq!(conference(&mut headlines), conference(&mut publishing));
    let sent: Vec<Event> = headlines.events_at(&via("ann"));
    let sent: Vec<String> = sent.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    let published = publishing.publications().into_iter().filter(|p| p.routing_key != "user.ann.conference.created");
    assert_eq!(published.map(|p| p.body).collect::<Vec<_>>(), sent);
    assert_eq!((publishing.events_at(&via("ann")).len(), headlines.publications().len()), (0, 0));
}

#[test]
fn a_change_by_time_and_one_that_nobody_is_subscribed_to_are_published() {
    let mut world = World::publishing();
    let conf = world.conference(&[("startAt", "1060000"), ("lobby", "true")]);
    world.publications();
    world.pass(60_000);
    world.join("ben", &conf).unwrap();
    let keys = ["conference.started", "waiting.added"].map(|kind| format!("conf.{conf}.{kind}"));
    assert_eq!(world.published_keys(), keys);
}

#[test]
fn a_calls_events_are_published_to_each_user_whom_they_concern() {
    let mut world = World::publishing();
    let (call, conf) = world.ring("ann", &["ben"]).unwrap();
    assert_eq!(
        world.published_keys(),
        [
            "user.ben.call.incoming".to_owned(),
            format!("conf.{conf}.conference.created"),
            format!("conf.{conf}.member.joined"),
        ]
    );
    // A socket of Ben's opens while it rings.
    world.listen("ben", "n1", 1).unwrap();
    assert_eq!(world.published_keys(), ["user.ben.call.incoming"]);
    world.on_call("ben", "accept", &call).unwrap();
    world.on_call("ben", "hangup", &call).unwrap();
    let mut published = world.publications();
    published.retain(|p| p.routing_key.starts_with("user."));
    let keys: Vec<_> = published.iter().map(|p| p.routing_key.as_str()).collect();
    let expected = ["ann.call.answered", "ben.call.answered", "ann.call.ended", "ben.call.ended"];
    assert_eq!(keys, expected.map(|key| format!("user.{key}")));
    let ids: BTreeSet<_> = published.iter().map(|p| p.message_id.as_str()).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    assert!(world.rung("ben").is_empty());
}

#[test]
fn unpublished_events_are_taken_once_at_a_start_in_order_and_numbers_go_on() {
    let mut world = World::publishing();
    let conf = conference(&mut world);
    let published = world.publications();
    published[..3].iter().for_each(|publication| world.confirm(publication));
    world.eim = world.reloaded();
    assert_eq!(world.eim.take_unpublished(), published[3..]);
    assert_eq!(world.eim.take_unpublished(), []);
    let other = world.conference(&[]);
    let next = world.publications();
    assert_ne!(conf, other);
    assert_eq!(next.iter().map(|p| p.number).collect::<Vec<_>>(), [8, 9]);
}

#[test]
fn a_reload_uses_no_number_again() {
    let mut world = World::publishing();
    conference(&mut world);
    let published = world.publications();
    published.iter().for_each(|publication| world.confirm(publication));
    // A change that is undone: its writes are not kept.
    let kept = documents(&world);
    world.conference(&[]);
    let undone = world.publications();
    let mut eim = world.eim.reload(kept).unwrap();
    assert_eq!(eim.take_unpublished(), []);
    world.eim = eim;
    world.conference(&[]);
    let last = undone.last().unwrap().number;
    assert!(world.publications().iter().all(|publication| publication.number > last));
}

#[test]
fn leftover_publications_are_loaded_where_events_leave_as_headlines() {
    let mut world = World::publishing();
    conference(&mut world);
    let settings = Settings { event_delivery: EventDelivery::Headlines, ..world.eim.settings.clone() };
    let mut eim = Eim::load(settings, documents(&world)).unwrap();
    assert_eq!(eim.take_unpublished(), world.publications());
}
