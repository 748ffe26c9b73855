//! The event socket's client, against a server that plays a scripted gateway.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};

use super::tls_server::TlsServer;
use crate::support::client::Client;

fn conference(name: &str) -> Value {
    json!({
        "confId": "c1", "confName": name, "state": 0, "startAt": null, "chair": "u1", "locked": false,
        "lobby": false, "mutePolicy": "free", "mainVideo": null
    })
}

fn notification(method: &str, params: Value) -> Message {
    Message::text(json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string())
}

fn renamed(seq: u64) -> Message {
    let name = format!("after {seq}");
    let event = json!({
        "confId": "c1", "epoch": "e", "seq": seq, "time": 1, "type": "conference.updated", "actor": "u1",
        "data": conference(&name)
    });
    notification("conference.event", event)
}

/// Says hello, a snapshot at 4 and event 5; answers a call after event 6; closes with 4008 when told `bye`.
async fn gateway(mut socket: WebSocket) {
    let snapshot = json!({ "confId": "c1", "epoch": "e", "seq": 4, "reason": "join", "conference": conference("first"), "members": [] });
    for message in [notification("hello", json!({})), notification("conference.snapshot", snapshot), renamed(5)] {
        socket.send(message).await.expect("the client listens");
    }
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        if text == "bye" {
            let frame = CloseFrame { code: 4008, reason: "too slow".into() };
            socket.send(Message::Close(Some(frame))).await.expect("the client listens");
            return;
        }
        let request: Value = serde_json::from_str(&text).expect("the client sends JSON");
        let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": request["params"] });
        socket.send(renamed(6)).await.expect("the client listens");
        socket.send(Message::text(answer.to_string())).await.expect("the client listens");
    }
}

async fn server() -> TlsServer {
    let upgrade = |upgrade: WebSocketUpgrade, headers: http::HeaderMap| async move {
        let offered = headers.get("sec-websocket-protocol").map_or("", |v| v.to_str().unwrap_or_default());
        if offered.ends_with("bearer.t1") {
            upgrade.protocols(["confgate"]).on_upgrade(gateway)
        } else {
            let refusal: Response = (http::StatusCode::UNAUTHORIZED, "who?").into_response();
            refusal
        }
    };
    TlsServer::start(Router::new().route("/gzbwclient/websck", any(upgrade))).await
}

async fn user() -> (TlsServer, Client) {
    let server = server().await;
    let client = Client::new(server.address, &server.certificate()).bearing("t1");
    (server, client)
}

#[tokio::test]
async fn events_before_an_answer_wait_and_the_roster_follows_all_of_them() {
    let (_server, client) = user().await;
    let mut socket = client.open_socket().await;
    socket.expect("hello").await;
    assert_eq!(socket.call("x", json!({ "a": 1 })).await.result(), json!({ "a": 1 }));
    assert_eq!(socket.follower.roster("c1").conference.conf_name, "after 6");
    assert_eq!(socket.follower.positions(), ["c1:e:6"]);
    socket.expect("conference.snapshot").await;
    assert_eq!(socket.expect_event("conference.updated").await["seq"], 5);
    assert_eq!(socket.expect_event("conference.updated").await["seq"], 6);
    assert_eq!(socket.next_notification(Duration::from_millis(50)).await, None);
}

#[tokio::test]
async fn a_close_code_is_read() {
    let (_server, client) = user().await;
    let mut socket = client.open_socket().await;
    socket.send("bye").await;
    assert_eq!(socket.close_code().await, 4008);
}

#[tokio::test]
async fn a_refused_upgrade_is_a_reply() {
    let (_server, client) = user().await;
    let refused = client.upgrade("", &[("sec-websocket-protocol", "confgate")]).await.err().expect("it is refused");
    assert_eq!((refused.status.as_u16(), &refused.body[..]), (401, &b"who?"[..]));
    let refused = client.upgrade_http2(&[]).await.err().expect("it is refused");
    assert_eq!((refused.status.as_u16(), &refused.body[..]), (401, &b"who?"[..]));
}

#[tokio::test]
async fn it_opens_over_http2_too() {
    let (_server, client) = user().await;
    let opened = client.upgrade_http2(&[("sec-websocket-protocol", "confgate, bearer.t1")]).await;
    let mut socket = opened.expect("it is not refused");
    socket.expect("hello").await;
    assert_eq!(socket.call("x", json!(["b"])).await.result(), json!(["b"]));
}

#[tokio::test]
#[should_panic(expected = "a gap or a repeat")]
async fn a_repeated_number_fails_the_test() {
    let (_server, client) = user().await;
    let mut socket = client.open_socket().await;
    for _twice in 0..2 {
        socket.call("x", json!({})).await;
    }
}
