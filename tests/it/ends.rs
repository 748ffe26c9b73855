//! The ends of sockets, answers and logins with a conference, a kick or a logout; other conferences go on.

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::until_true;

/// The chair's one socket, in two conferences.
async fn in_two(fixture: &Fixture, chair: &Client) -> (EventSocket, [(String, String); 2]) {
    let both = [fixture.conference(chair, json!({})).await, fixture.conference(chair, json!({})).await];
    let mut socket = chair.open_socket().await;
    for (conf, _) in &both {
        socket.call("conference.join", json!({ "confId": conf })).await.result();
    }
    (socket, both)
}

/// The conference's events until one of that kind, that one included.
async fn heard_until(socket: &mut EventSocket, conf: &str, kind: &str) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let event = socket.wait_for("conference.event").await;
        let is_it = event["confId"] == conf && event["type"] == kind;
        heard.push(event);
        if is_it {
            return heard;
        }
    }
}

#[tokio::test]
async fn the_end_of_one_conference_leaves_a_users_socket_in_the_other() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (mut socket, [(over, code), (other, _)]) = in_two(&fixture, &chair).await;
    let guest = fixture.guest(&code, "Guest").await;
    let mut guests = guest.open_socket().await;
    guests.call("conference.join", json!({ "confId": over })).await.result();

    chair.rpc("conference.end", json!({ "confId": over })).await.result();
    heard_until(&mut socket, &over, "conference.ended").await;
    assert_eq!(guests.close_code().await, 4004);

    // Same socket: it talks, and is told of the other conference only.
    socket.call("conference.sendMessage", json!({ "confId": other, "text": "still here" })).await.result();
    let heard = heard_until(&mut socket, &other, "message").await;
    assert!(heard.iter().all(|event| event["confId"] == other.as_str()), "{heard:?}");
}

#[tokio::test]
async fn a_user_who_is_kicked_from_one_conference_goes_on_in_the_other() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let user = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let both = [fixture.conference(&chair, json!({})).await.0, fixture.conference(&chair, json!({})).await.0];
    let mut socket = user.open_socket().await;
    for conf in &both {
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        socket.wait_for("conference.snapshot").await;
    }
    let kick = json!({ "confId": both[0], "action": "kick", "userId": user.user_id() });
    chair.rpc("conference.control", kick).await.result();
    let heard = heard_until(&mut socket, &both[0], "member.left").await;
    assert_eq!(heard.last().unwrap()["data"]["reason"], "kicked");

    for conf in &both {
        chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": "who hears?" })).await.result();
    }
    let heard = heard_until(&mut socket, &both[1], "message").await;
    assert!(heard.iter().all(|event| event["confId"] == both[1].as_str()), "{heard:?}");
    socket.call("conference.members", json!({ "confId": both[1] })).await.result();
}

#[tokio::test]
async fn a_user_who_is_kicked_in_the_moment_of_coming_in_is_told_so() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let user = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let (mut chairs, mut users) = (chair.open_socket().await, user.open_socket().await);
    for _ in 0..12 {
        let (conf, _) = fixture.conference(&chair, json!({})).await;
        chairs.call("conference.join", json!({ "confId": conf })).await.result();
        let kick = json!({ "confId": conf, "action": "kick", "userId": user.user_id() });
        tokio::join!(
            async { users.call("conference.join", json!({ "confId": conf })).await.result() },
            // As soon as they are there: before they listen, or after that.
            until_true("they are kicked", async || {
                chairs.call("conference.control", kick.clone()).await.0.get("result").is_some()
            }),
        );
        let heard = heard_until(&mut users, &conf, "member.left").await;
        assert_eq!(heard.last().unwrap()["data"]["reason"], "kicked");
    }
}

#[tokio::test]
async fn a_user_who_is_denied_in_one_lobby_goes_on_elsewhere() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let user = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let (conf, _) = fixture.conference(&chair, json!({ "lobby": true })).await;
    let mut socket = user.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let deny = json!({ "confId": conf, "action": "deny", "userId": user.user_id() });
    chair.rpc("conference.control", deny).await.result();
    let heard = heard_until(&mut socket, &conf, "waiting.removed").await;
    assert_eq!(heard.last().unwrap()["data"]["reason"], "denied");
    socket.call("conference.list", json!({})).await.result();
}

/// Sends a request over the guest's socket and expects its answer before the close.
async fn answered_and_closed(socket: &mut EventSocket, method: &str, params: Value, code: u16) {
    socket.call(method, params).await.result();
    assert_eq!(socket.close_code().await, code, "after {method}");
}

#[tokio::test]
async fn request_that_closes_its_own_socket_is_answered_first() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let link = chair.rpc("conference.createLink", json!({ "confId": conf, "role": "chair" })).await.result();
    let code = link["code"].as_str().unwrap();

    let second = fixture.guest(code, "Second chair").await;
    let mut socket = second.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    answered_and_closed(&mut socket, "auth.http.logout", json!({}), 4001).await;

    let third = fixture.guest(code, "Third chair").await;
    let mut socket = third.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    answered_and_closed(&mut socket, "conference.end", json!({ "confId": conf }), 4004).await;

    let (conf, _) = fixture.conference(&chair, json!({})).await;
    let link = chair.rpc("conference.createLink", json!({ "confId": conf, "role": "chair" })).await.result();
    let fourth = fixture.guest(link["code"].as_str().unwrap(), "Fourth chair").await;
    let mut socket = fourth.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    let end = json!({ "confId": conf, "action": "end" });
    answered_and_closed(&mut socket, "conference.control", end, 4004).await;
}
