//! The broker goes away and comes back, and the EIM crashes meanwhile: whatever was acknowledged arrives.

use confgate::event::Change;
use serde_json::json;

use super::{PATIENT, Scene, enter, events, part, state, texts, until_known, until_part};
use crate::support::client::Client;

/// A silent broker is given up after two of these.
const HEARTBEAT: &str = "heartbeat_s = 1\n";

/// Sends them one after the other; each is acknowledged.
async fn send_all(chair: &Client, conf: &str, messages: &[&str]) {
    for text in messages {
        chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
    }
}

#[tokio::test]
async fn acknowledged_changes_arrive_once_after_an_outage_of_the_broker_and_a_crash_of_the_eim() {
    let mut scene = Scene::with(PATIENT, |broker| events(&broker.url(), HEARTBEAT)).await;
    let chair = scene.fixture.chair().await;
    let (conf, code) = scene.fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = scene.fixture.guest(&code, "Guest").await;
    let mut socket = enter(&guest, &conf).await;
    send_all(&chair, &conf, &["before"]).await;
    until_known(&mut socket, &conf, &["before"]).await;

    scene.broker.cut();
    until_part(&mut socket, "degraded", "events").await;
    let readyz = scene.gateway().readyz().await;
    let events = part(&readyz, "events");
    assert!(events["state"] == "down" && events["reason"].is_string(), "{readyz}");
    assert_eq!(scene.gateway().admin_get("/readyz").await.0, 200, "no reason to send people elsewhere");
    send_all(&chair, &conf, &["one", "two", "three"]).await;
    scene.broker.restart().await;
    until_part(&mut socket, "restored", "events").await;
    state(scene.gateway(), "events", "up").await;
    until_known(&mut socket, &conf, &["before", "one", "two", "three"]).await;

    scene.broker.cut();
    until_part(&mut socket, "degraded", "events").await;
    send_all(&chair, &conf, &["four", "five"]).await;
    scene.eim.kill();
    scene.eim.restart().await;
    scene.broker.restart().await;
    until_part(&mut socket, "restored", "events").await;
    until_known(&mut socket, &conf, &["before", "one", "two", "three", "four", "five"]).await;

    // It is stopped, and nothing is closed: only heartbeats find out.
    scene.broker.pause();
    until_part(&mut socket, "degraded", "events").await;
    send_all(&chair, &conf, &["six"]).await;
    scene.broker.resume();
    until_part(&mut socket, "restored", "events").await;
    send_all(&chair, &conf, &["seven"]).await;
    let all = ["before", "one", "two", "three", "four", "five", "six", "seven"];
    until_known(&mut socket, &conf, &all).await;

    // The numbered events went to the broker without a gap, for whoever else listens there.
    let last = socket.follower.roster(&conf).seq;
    let record = scene.record(&conf, last).await;
    let words = record.iter().filter_map(|event| match &event.change {
        Change::Message(message) => Some(message.text.as_str()),
        _ => None,
    });
    assert_eq!(words.collect::<Vec<_>>(), all);
    assert_eq!(texts(&socket, &conf), all);
    socket.call("conference.leave", json!({ "confId": conf })).await.result();
}
