//! Bounds of one client, or of one address block: bytes that wait for it, connections, time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::event_socket::Opened;
use crate::support::livez::Livez;
use crate::support::wait::{PATIENCE, until_true};

/// Somebody of another address block than the tests' other clients.
const ELSEWHERE: &str = "127.1.0.1";
const MIB: usize = 1024 * 1024;

fn discover(id: usize) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "rpc.discover" })
}

fn discoveries(entries: usize) -> Value {
    (0..entries).map(discover).collect()
}

#[tokio::test]
async fn the_replies_of_a_batch_are_bounded_together_and_what_finds_no_room_is_refused_by_name() {
    let fixture = Fixture::embedded().await;
    let reply = fixture.gateway.client().post(&discoveries(50)).await;
    assert!(reply.body.len() < MIB + 50 * 512, "{} bytes", reply.body.len());
    let replies = reply.json();
    let replies = replies.as_array().expect("a batch");
    assert_eq!(replies.len(), 50);
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply["id"], n);
        assert!(reply["result"]["methods"].is_array() || reply["error"]["data"]["key"] == "rpc.repliesTooLarge");
    }
    assert!(replies[0]["result"]["methods"].is_array(), "the first has room");
    let error = &replies[49]["error"];
    assert_eq!((&error["code"], &error["data"]["sent"]), (&json!(-32029), &json!(false)), "{error}");
}

#[tokio::test]
async fn a_batchs_entries_count_as_requests_over_http_and_on_the_event_socket() {
    let fixture = Fixture::with("[limits]\nrequests_per_minute = 30").await;
    let answered = |replies: &Value| {
        let replies = replies.as_array().expect("a batch").iter();
        replies.filter(|reply| reply["error"]["data"]["key"] != "http.tooMany").count()
    };
    let properties = |n: usize| json!({ "id": n, "method": "config.getProperties", "params": { "keys": [] } });
    let batch: Value = (0..50).map(properties).collect();
    let reply = fixture.gateway.client().from("127.1.0.1").post(&batch).await;
    assert!((30..34).contains(&answered(&reply.json())), "{}", answered(&reply.json()));
    assert!(reply.json()[49]["error"]["data"]["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0));
    assert_eq!(fixture.gateway.client().from("127.1.0.1").post(&properties(1)).await.status, 429);
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    socket.send(&batch.to_string()).await;
    let answered = answered(&socket.next_batch().await.into());
    assert!((15..30).contains(&answered), "{answered}");
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_cut_though_it_goes_on_asking() {
    let fixture = Fixture::with("[limits]\nwrite_timeout_ms = 500").await;
    let client = fixture.gateway.client().from(ELSEWHERE);
    let body = discoveries(50).to_string();
    let head = format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = client.connect("http/1.1").await.expect("the gateway listens");
    let begun = Instant::now();
    let asking = async {
        while stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok() && stream.flush().await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it is cut");
    assert!(begun.elapsed() > Duration::from_millis(500));
    until_true("nothing is held for it", async || fixture.gateway.metric("confgate_held_bytes").await == Some(0.0))
        .await;
}

#[tokio::test]
async fn a_stream_that_takes_no_answer_ends_its_http2_connection_though_others_go_on() {
    let fixture = Fixture::with("[limits]\nwrite_timeout_ms = 500\nheader_timeout_ms = 1000").await;
    let client = fixture.gateway.client().from(ELSEWHERE);
    let stream = client.connect("h2").await.expect("the gateway listens");
    let (sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024)
        .handshake(TokioIo::new(stream))
        .await
        .expect("the gateway speaks HTTP/2");
    let ended = tokio::spawn(driver);
    let ask = |body: &Value| {
        let request = Request::post(format!("https://{}{BASE}/jsonrpc", client.address()));
        let request = request.body(Full::new(Bytes::from(body.to_string()))).expect("a request");
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    };
    let unread = ask(&discoveries(50)).await.expect("an answer begins");
    assert_eq!(unread.status(), StatusCode::OK);
    let small = json!({ "id": 1, "method": "config.getProperties", "params": { "keys": ["serverName"] } });
    let going_on = async { while ask(&small).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, going_on).await.expect("it is cut");
    ended.await.expect("the driver ends").ok();
    drop(unread);
    until_true("nothing is held for it", async || fixture.gateway.metric("confgate_held_bytes").await == Some(0.0))
        .await;
}

/// Pings for as long as they are taken, and reads nothing.
async fn ping_without_reading((mut socket, _): Opened) {
    while socket.feed(Message::Ping(Bytes::from_static(&[7; 125]))).await.is_ok() && socket.flush().await.is_ok() {}
}

#[tokio::test]
async fn a_client_that_pings_and_reads_nothing_is_cut_in_time_on_every_socket() {
    let limits = "[limits]\nwrite_timeout_ms = 500\nsocket_pings_per_minute = 10000000";
    let fixture = Fixture::with(limits).await;
    let chair = fixture.chair().await;
    let offer = format!("confgate, bearer.{}", chair.token().expect("they are logged in"));
    let event_socket = chair.websocket(&format!("{BASE}/websck"), &[("sec-websocket-protocol", &offer)]).await;
    let call_socket = fixture.gateway.client().websocket(&format!("{BASE}/callgw"), &[]).await;
    for socket in [event_socket, call_socket] {
        let socket = socket.expect("it is let in");
        let pinging = tokio::time::timeout(PATIENCE, ping_without_reading(socket));
        pinging.await.expect("it is cut");
    }
    until_true("nothing is held for it", async || fixture.gateway.metric("confgate_held_bytes").await == Some(0.0))
        .await;
}

#[tokio::test]
async fn more_pings_than_a_client_may_send_close_its_socket() {
    let fixture = Fixture::with("[limits]\nsocket_pings_per_minute = 100").await;
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    for _ in 0..100 {
        socket.send_frame(Message::Ping(Bytes::new())).await;
    }
    socket.call("config.getProperties", json!({ "keys": [] })).await.result();
    socket.send_frame(Message::Pong(Bytes::new())).await;
    for _ in 0..20 {
        socket.send_frame(Message::Ping(Bytes::new())).await;
    }
    assert_eq!(socket.close_code().await, 4008);
}

async fn is_served(client: &Client) -> bool {
    let Ok(mut stream) = client.connect("http/1.1").await else { return false };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.is_ok()
        && tokio::io::AsyncReadExt::read_u8(&mut stream).await.is_ok()
}

#[tokio::test]
async fn one_address_block_cant_take_all_connections_and_gets_its_own_back() {
    let fixture = Fixture::with("[limits]\nconnections = 100").await;
    let hostile = fixture.gateway.client().from(ELSEWHERE);
    let mut open = Vec::new();
    while let Ok(stream) = hostile.connect("http/1.1").await {
        open.push(stream);
        assert!(open.len() <= 75, "three quarters");
    }
    assert_eq!(open.len(), 75);
    assert!(is_served(&fixture.gateway.client()).await, "somebody else comes in");
    open.truncate(70);
    until_true("it may have as many again", async || is_served(&hostile).await).await;
}

#[tokio::test]
async fn sockets_of_one_address_block_are_bounded_whatever_connections_carry_them() {
    let fixture = Fixture::with("[limits]\nsockets_per_block = 3").await;
    let hostile = fixture.gateway.client().from(ELSEWHERE);
    let path = format!("{BASE}/callgw");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(hostile.websocket(&path, &[]).await.expect("it is let in"));
    }
    assert_eq!(hostile.websocket(&path, &[]).await.err().map(|reply| reply.status.as_u16()), Some(429));
    assert_eq!(hostile.websocket_http2(&path, &[]).await.err().map(|reply| reply.status.as_u16()), Some(429));
    assert!(fixture.gateway.client().websocket(&path, &[]).await.is_ok(), "somebody else comes in");
}

#[tokio::test]
async fn a_hundred_batches_on_one_socket_hold_up_nobody() {
    let fixture = Fixture::quiet("").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let mut chairs = chair.open_socket().await;
    chairs.wait_for("conference.snapshot").await;
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    guest.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let mut greedy = guest.open_socket().await;
    greedy.expect("hello").await;
    let batch = discoveries(50).to_string();
    let asking = async {
        for _ in 0..100 {
            greedy.send(&batch).await;
        }
        for _ in 0..100 {
            greedy.pass_over_batch().await;
        }
    };
    let waits = Livez::watch(fixture.gateway.admin(), asking).await;
    assert!(waits.typical() <= Duration::from_millis(100), "{waits:?}");
    chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": "still here" })).await.result();
    loop {
        let heard = chairs.next_notification(PATIENCE).await.expect("the message comes");
        println!("{} {}", heard.method, heard.params["type"]);
        assert_ne!(heard.method, "callgw.changed", "the conference was moved");
        if heard.params["type"] == "message" {
            return;
        }
    }
}
