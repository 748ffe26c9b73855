//! Admission to rooms: by which token, to which room.

use http::StatusCode;
use serde_json::json;

use super::node;
use crate::support::client::BASE;
use crate::support::media::{CallSocket, Media, Peer, claims, control_token, signed, token};

#[tokio::test]
async fn a_token_is_shown_in_any_of_four_places_over_either_http() {
    let gateway = node("").await;
    let client = gateway.client();
    let (path, shown) = (format!("{BASE}/callgw"), |name: &str| token("n1", "c1", name));
    let mut sockets = vec![client.call_socket(Some(&shown("a"))).await.unwrap()];
    let bearer = format!("Bearer {}", shown("b"));
    sockets.push(CallSocket::new(client.websocket(&path, &[("authorization", &bearer)]).await.unwrap()));
    let query = format!("/groupcall?token={}", shown("c"));
    sockets.push(CallSocket::new(client.websocket(&query, &[]).await.unwrap()));
    let protocols = format!("confgate, bearer.{}", shown("d"));
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    sockets.push(CallSocket::new(client.websocket_http2(&path, &headers).await.unwrap()));
    for (socket, name) in sockets.iter_mut().zip(["a", "b", "c", "d"]) {
        socket.join("c1", name).await;
    }
    let mut late = client.call_socket(None).await.unwrap();
    late.send(json!({ "id": "joinRoom", "room": "c1", "name": "e", "token": shown("e") })).await;
    assert_eq!(late.expect("existingParticipants").await["data"], json!(["a", "b", "c", "d"]));
}

#[tokio::test]
async fn without_a_token_of_this_node_room_and_name_nobody_enters() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut expired, mut kind) = (claims("n1", "c1", "anna"), claims("n1", "c1", "anna"));
    (expired.exp, kind.gateway_id) = (1, "n2".into());
    let bad = ["nonsense".to_owned(), signed(&expired), signed(&kind), control_token("n1")];
    for token in &bad {
        let refused = client.call_socket(Some(token)).await.err().expect("it is refused before the upgrade");
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    let good = token("n1", "c1", "anna");
    let joins = [
        json!({ "id": "joinRoom", "room": "c1", "name": "anna" }),
        json!({ "id": "joinRoom", "room": "c1", "name": "anna", "token": bad[1] }),
        json!({ "id": "joinRoom", "room": "c2", "name": "anna", "token": good }),
        json!({ "id": "joinRoom", "room": "c1", "name": "ben", "token": good }),
    ];
    for join in joins {
        let mut socket = client.call_socket(None).await.unwrap();
        socket.send(join).await;
        assert_eq!(socket.closed().await, (vec!["unauthorized".to_owned()], 4001));
    }
    let foreign = [("origin", "https://elsewhere.example")];
    let refused = client.websocket(&format!("{BASE}/callgw"), &foreign).await.err().expect("another origin");
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_serves_once_and_again_when_its_socket_is_gone() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut ben = client.joined("n1", "c1", "ben").await;
    let token = token("n1", "c1", "anna");
    let mut first = client.call_socket(Some(&token)).await.unwrap();
    first.join("c1", "anna").await;
    let mut second = client.call_socket(Some(&token)).await.unwrap();
    second.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    assert_eq!(second.closed().await, (vec!["unauthorized".to_owned()], 4001));
    first.hears_nothing().await;
    drop(first);
    ben.wait_for("participantLeft").await;
    let mut third = client.call_socket(Some(&token)).await.unwrap();
    third.join("c1", "anna").await;
}

#[tokio::test]
async fn the_same_user_from_another_socket_takes_over_at_once() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut ben = client.joined("n1", "c1", "ben").await;
    let mut old = client.joined("n1", "c1", "anna").await;
    let mut new = client.call_socket(Some(&token("n1", "c1", "anna"))).await.unwrap();
    assert_eq!(new.join("c1", "anna").await, ["ben"]);
    assert_eq!(old.closed().await, (vec!["replaced".to_owned()], 4009));
    for (id, name) in
        [("newParticipantArrived", "anna"), ("participantLeft", "anna"), ("newParticipantArrived", "anna")]
    {
        assert_eq!(ben.expect(id).await["name"], name);
    }
    ben.hears_nothing().await;
}

#[tokio::test]
async fn an_open_node_keeps_strangers_apart_from_conferences() {
    let gateway = node("open = true").await;
    let client = gateway.client();
    let mut member = client.joined("n1", "c1", "anna").await;
    let mut stranger = client.call_socket_at("/groupcall", None).await.unwrap();
    assert_eq!(stranger.join("c1", "Ben Müller").await, [""; 0]);
    let mut other = client.call_socket_at("/groupcall", None).await.unwrap();
    assert_eq!(other.join("c1", "anna").await, ["Ben Müller"]);
    stranger.expect("newParticipantArrived").await;
    member.hears_nothing().await;
    stranger.send(json!({ "id": "receiveVideoFrom", "sender": "anna", "sdpOffer": Peer::offer(Media::WATCHES) })).await;
    assert_eq!(stranger.expect("receiveVideoAnswer").await["name"], "anna");
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    link.send(json!({ "id": "closeRoom", "room": "c1" })).await;
    assert_eq!(member.closed().await, (vec!["ended".to_owned()], 4004));
    stranger.hears_nothing().await;
}
