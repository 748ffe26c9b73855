//! What anybody may publish to the exchange: it is put aside, passed over or repaired, and good events follow.

use serde_json::{Value, json};

use super::{DEAD, PATIENT, QUEUE, RECORD, Scene, enter, until_known};
use crate::support::event_socket::EventSocket;
use crate::support::memory::resident;
use crate::support::rabbitmq::{Body, Foreign};
use crate::support::wait::{PATIENCE, until, until_true};

const LARGE: usize = 10 * 1024 * 1024;
const LARGE_COUNT: usize = 8;
/// Far less than the large ones together: none of them is kept.
const MEMORY: usize = 64 * 1024 * 1024;

/// Looks at a counter that find it unchanged, before it is taken for still.
const QUIET_LOOKS: usize = 10;

fn message_event(conf: &str, epoch: &str, seq: u64, text: &str) -> Value {
    let data = json!({ "messageId": format!("m{seq}"), "userId": "chair", "text": text, "time": 1 });
    json!({ "epoch": epoch, "seq": seq, "confId": conf, "time": 1, "type": "message", "actor": "chair", "data": data })
}

/// Bodies that can't be read under that conference's key are put aside, each once.
async fn unreadable_bodies_are_put_aside(scene: &Scene, socket: &EventSocket, conf: &str) {
    let (epoch, seq) = {
        let roster = socket.follower.roster(conf);
        (roster.epoch.clone(), roster.seq)
    };
    let key = format!("conf.{conf}.message");
    let elsewhere = message_event("00000000", &epoch, seq + 1, "of another conference").to_string();
    let joined = json!({ "epoch": epoch, "seq": seq + 1, "confId": conf, "time": 1, "type": "message", "actor": null,
        "data": { "userId": 7 } })
    .to_string();
    let beyond = message_event(conf, &epoch, u64::MAX, "beyond every number").to_string();
    let unnumbered = message_event(conf, &epoch, 1, "without a number").to_string().replace("\"seq\":1,", "");
    let xml = "<message xmlns='urn:acme'/>";
    let small =
        ["", "no JSON", "{", "[]", "{\"type\":\"message\"}", "\u{0}", xml, &elsewhere, &joined, &beyond, &unnumbered];
    let publish = |body| Foreign { key: &key, id: "foreign", body };
    let mut foreign: Vec<Foreign> = small.iter().map(|text| publish(Body::Text(text))).collect();
    foreign.extend((0..LARGE_COUNT).map(|_| publish(Body::Filled(LARGE))));
    let before = resident(scene.gateway().pid());
    scene.broker.publish(&foreign).await;
    let put_aside = async || scene.broker.messages(DEAD).await == foreign.len() as u64;
    until_true("all of them are put aside", put_aside).await;
    until_true("nothing is left", async || scene.broker.messages(QUEUE).await == 0).await;
    until_true("memory is as it was", async || resident(scene.gateway().pid()) < before + MEMORY).await;

    let taken = scene.broker.take(DEAD).await;
    let mut bodies: Vec<&str> = taken.iter().filter_map(|message| message.body.as_deref()).collect();
    let mut expected = small.to_vec();
    bodies.sort_unstable();
    expected.sort_unstable();
    assert_eq!(bodies, expected);
    assert_eq!(taken.iter().filter(|message| message.size == LARGE).count(), LARGE_COUNT);
}

/// Events that are well-formed and yet not the EIM's next ones change nothing.
async fn events_out_of_place_change_nothing(scene: &Scene, socket: &EventSocket, conf: &str) {
    let (epoch, seq) = {
        let roster = socket.follower.roster(conf);
        (roster.epoch.clone(), roster.seq)
    };
    let key = format!("conf.{conf}.message");
    let bodies = [
        message_event(conf, &epoch, seq, "repeated").to_string(),
        message_event(conf, &epoch, 1, "repeated long ago").to_string(),
        message_event(conf, "an older epoch", seq + 1, "of another epoch").to_string(),
        message_event(conf, &epoch, seq + 1000, "of the future").to_string(),
        message_event(conf, &epoch, (1 << 53) - 1, "of the last day").to_string(),
    ];
    let foreign = bodies.each_ref().map(|body| Foreign { key: &key, id: "foreign", body: Body::Text(body) });
    scene.broker.publish(&foreign).await;
    until_true("all of them are taken", async || scene.broker.messages(QUEUE).await == 0).await;
    assert_eq!(scene.broker.messages(DEAD).await, 0, "they can be read");
    // Each may have the roster read anew, once.
    let requests = async || scene.gateway().metric("confgate_eim_request_seconds_count").await.unwrap_or_default();
    let first = requests().await;
    let (mut before, mut unchanged) = (first, 0);
    let still = until(PATIENCE, async || {
        let now = requests().await;
        unchanged = if now == std::mem::replace(&mut before, now) { unchanged + 1 } else { 0 };
        (unchanged >= QUIET_LOOKS).then_some(())
    });
    if still.await.is_none() {
        panic!("the roster is read again and again: {} requests in {PATIENCE:?}", requests().await - first);
    }
}

#[tokio::test]
async fn bad_events_at_the_broker_are_put_aside_once_and_good_ones_follow() {
    let scene = Scene::start(PATIENT).await;
    let chair = scene.fixture.chair().await;
    let (conf, code) = scene.fixture.conference(&chair, json!({})).await;
    let guest = scene.fixture.guest(&code, "Guest").await;
    let mut socket = enter(&guest, &conf).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let send = async |text: &str| {
        chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
    };
    send("first").await;
    until_known(&mut socket, &conf, &["first"]).await;

    unreadable_bodies_are_put_aside(&scene, &socket, &conf).await;
    send("after the unreadable").await;
    until_known(&mut socket, &conf, &["first", "after the unreadable"]).await;

    // A real gap: one event never reaches the gateway's queue.
    let key = format!("conf.{conf}.#");
    scene.broker.unbind(QUEUE, &key).await;
    scene.broker.take(RECORD).await;
    send("lost").await;
    until_true("the lost one is published", async || scene.broker.messages(RECORD).await >= 1).await;
    scene.broker.bind(QUEUE, &key).await;
    send("after the gap").await;
    let all = ["first", "after the unreadable", "lost", "after the gap"];
    let read = until_known(&mut socket, &conf, &all).await;
    let snapshot = read.iter().find(|notification| notification.method == "conference.snapshot");
    let snapshot = snapshot.unwrap_or_else(|| panic!("no snapshot in {read:#?}"));
    assert_eq!(snapshot.params["reason"], "gap", "{snapshot:?}");
    send("next").await;
    assert_eq!(socket.expect("conference.event").await["data"]["text"], "next");

    events_out_of_place_change_nothing(&scene, &socket, &conf).await;
    send("last").await;
    assert_eq!(socket.expect("conference.event").await["data"]["text"], "last", "neither a snapshot nor another event");
}
