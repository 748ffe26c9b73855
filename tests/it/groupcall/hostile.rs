//! What any client may do to a node.

use std::time::Duration;

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
async fn a_socket_that_stops_reading_is_closed_and_the_others_go_on() {
    let gateway = node("messages_per_minute = 100000000\n[limits]\nheartbeat_ms = 3600000").await;
    let client = gateway.client();
    let mut deaf = client.joined("n1", "c1", "deaf").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    // Each is answered, until the answers fill its queue.
    while ben.next(Duration::ZERO).await.is_none() {
        for _ in 0..500 {
            deaf.pour("no JSON").await;
        }
    }
    ben.hears_nothing().await;
    assert_eq!(gateway.metric("confgate_socket_lagged_total").await, Some(1.0));
}
