//! Types of events that only the EIM and its clients know.

use serde_json::{Value, json};

use super::{PATIENT, Scene, enter};
use crate::support::rabbitmq::{Body, Foreign};

#[tokio::test]
async fn a_type_of_the_eims_own_comes_at_its_number_and_is_replayed_and_nobody_gets_a_snapshot() {
    let scene = Scene::start(PATIENT).await;
    let chair = scene.fixture.chair().await;
    let (conf, code) = scene.fixture.conference(&chair, json!({})).await;
    let guest = scene.fixture.guest(&code, "Guest").await;
    let mut socket = enter(&guest, &conf).await;
    assert_eq!(socket.wait_for("conference.snapshot").await["reason"], "join");
    let (epoch, seq) = {
        let roster = socket.follower.roster(&conf);
        (roster.epoch.clone(), roster.seq)
    };
    let position = socket.follower.clone();

    let event = |seq: u64, kind: &str, data: Value| json!({ "confId": conf, "epoch": epoch, "seq": seq, "time": 1, "type": kind, "actor": "chair", "data": data });
    let poll = json!({ "question": "午饭?", "answers": ["yes", { "no": null }], "weight": 0.5 });
    let text = json!({ "messageId": "m1", "userId": "chair", "text": "after it", "time": 1 });
    let events = [
        event(seq + 1, "poll.opened", poll.clone()),
        event(seq + 2, "call.noted", Value::Null),
        event(seq + 3, "message", text),
    ];
    let messages = events.each_ref().map(|event| {
        let kind = event["type"].as_str().expect("it has a type");
        (format!("conf.{conf}.{kind}"), event.to_string())
    });
    let foreign = messages.each_ref().map(|(key, body)| Foreign { key, id: "x", body: Body::Text(body) });
    scene.broker.publish(&foreign).await;

    let mut expected = events.clone();
    expected[0]["type"] = "eim.poll.opened".into();
    expected[1]["type"] = "eim.call.noted".into();
    for expected in &expected {
        assert_eq!(socket.expect("conference.event").await, *expected);
    }
    drop(socket);
    let mut resumed = guest.resume_socket(position).await;
    assert_eq!(resumed.expect("hello").await["node"], super::NODE);
    for expected in &expected {
        assert_eq!(resumed.expect("conference.event").await, *expected);
    }
}
