//! Hostile clients of a node.

use serde_json::json;

use super::{SOME, node};
use crate::support::media::call;

#[tokio::test]
async fn nonsense_is_answered_and_harms_nobody() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    anna.expect("newParticipantArrived").await;
    for text in ["", "{", "[]", "{\"id\":5}", "{\"id\":\"receiveVideoFrom\",\"sender\":\"ben\"}"] {
        anna.text(text).await;
        anna.refused("badMessage").await;
    }
    anna.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    anna.refused("badMessage").await;
    anna.send(json!({ "id": "receiveVideoFrom", "sender": "nobody", "sdpOffer": "v=0" })).await;
    assert_eq!(anna.refused("badMessage").await["name"], "nobody");
    anna.send(json!({ "id": "receiveVideoFrom", "sender": "ben", "sdpOffer": "v=0" })).await;
    assert_eq!(anna.refused("badSdp").await["name"], "ben");
    for ignored in [json!({ "id": "cancelVideoFrom", "sender": "nobody" }), json!({ "id": "somethingNew" })] {
        anna.send(ignored).await;
    }
    anna.hears_nothing().await;
    anna.text(&format!("{{\"id\":\"{}\"}}", "x".repeat(64 * 1024))).await;
    assert_eq!(anna.closed().await.1, 1009);
    assert_eq!(ben.expect("participantLeft").await["name"], "anna");
}

#[tokio::test]
async fn ten_thousand_messages_at_once_end_their_socket_and_no_other_call() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let (mut sends, mut sees) = (anna.publish("anna").await, ben.watch("anna").await);
    call(&mut [&mut sends, &mut sees], "the call runs", |peers| peers[1].frames() >= SOME).await;
    let mut flood = client.joined("n1", "c2", "flood").await;
    let flooding = tokio::spawn(async move {
        for _ in 0..10_000 {
            if !flood.pour(r#"{"id":"cancelVideoFrom","sender":"x"}"#).await {
                break;
            }
        }
        flood.closed().await
    });
    let before = sees.frames();
    call(&mut [&mut sends, &mut sees], "the call goes on", |peers| peers[1].frames() >= before + SOME).await;
    assert_eq!(flooding.await.unwrap(), (vec!["tooMany".to_owned()], 4008));
    ben.hears_nothing().await;
}

#[tokio::test]
async fn a_socket_that_stops_reading_is_cut_in_time_though_it_goes_on_sending() {
    let limits = "[limits]\nheartbeat_ms = 3600000\nwrite_timeout_ms = 500";
    let gateway = node(&format!("messages_per_minute = 100000000\n{limits}")).await;
    let client = gateway.client();
    let mut deaf = client.joined("n1", "c1", "deaf").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    // Each is answered, until no more answers go out; then it isn't heard either. Whether its queue or its time is over
    // first depends on what the system takes.
    let pouring = async { while deaf.pour("no JSON").await {} };
    let (left, ()) = tokio::join!(ben.expect("participantLeft"), pouring);
    assert_eq!(left["name"], "deaf");
    let [stuck, lagged] = ["confgate_clients_stuck_total", "confgate_socket_lagged_total"];
    let count = async |name| gateway.metric(name).await.unwrap_or_default();
    assert_eq!(count(stuck).await + count(lagged).await, 1.0);
}
