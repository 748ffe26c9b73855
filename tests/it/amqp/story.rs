//! A guest's whole visit by the broker's events.

use super::{RECORD, Scene, events, recorded};
use crate::end_to_end::whole_story;
use crate::fixture::Fixture;
use crate::support::rabbitmq::RabbitMq;

#[tokio::test]
async fn prosody_a_guest_walks_in_by_events_of_the_broker() {
    let Scene { fixture, eim, broker, server } = Scene::start("").await;
    whole_story(Fixture::of(fixture.gateway, eim, server)).await;
    let taken = broker.take(RECORD).await;
    let all = recorded(&taken);
    assert_eq!(all.len(), 1, "one conference: {:?}", all.keys());
    let kinds: Vec<&str> = taken.iter().filter_map(|message| message.key.splitn(3, '.').nth(2)).collect();
    assert_eq!(kinds.first(), Some(&"conference.created"));
    for kind in ["member.joined", "message", "member.left", "conference.locked"] {
        assert!(kinds.contains(&kind), "no {kind} among {kinds:?}");
    }
}

#[tokio::test]
async fn prosody_a_guest_walks_in_by_events_over_tls() {
    let section = |broker: &RabbitMq| events(&broker.tls_url(), &format!("ca = {:?}\n", broker.ca()));
    let Scene { fixture, eim, broker: _broker, server } = Scene::with("", section).await;
    whole_story(Fixture::of(fixture.gateway, eim, server)).await;
}
