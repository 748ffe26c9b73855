//! People see and hear each other, and know who is there.

use std::time::Duration;

use serde_json::json;

use super::{SOME, empty, node};
use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::media::{CallSocket, Peer, call, token};
use crate::support::wait::until_true;

#[tokio::test]
async fn three_people_see_and_hear_each_other() {
    let gateway = node("").await;
    let client = gateway.client();
    let names = ["anna", "ben", "carl"];
    let (mut sockets, mut peers) = (Vec::new(), Vec::new());
    for name in names {
        sockets.push(client.joined("n1", "c1", name).await);
    }
    for (socket, name) in sockets.iter_mut().zip(names) {
        peers.push(socket.publish(name).await);
    }
    let mut viewers = Vec::new();
    for (socket, name) in sockets.iter_mut().zip(names) {
        for other in names.iter().filter(|other| **other != name) {
            viewers.push(socket.watch(other).await);
        }
    }
    let mut all: Vec<&mut Peer> = viewers.iter_mut().chain(&mut peers).collect();
    call(&mut all, "everybody sees and hears everybody", |peers| {
        peers[..6].iter().all(|viewer| viewer.frames() >= SOME && viewer.sounds() >= SOME)
    })
    .await;
    until_true("three members", async || gateway.metric("confgate_groupcall_members").await == Some(3.0)).await;
    drop(sockets);
    empty(&gateway).await;
}

#[tokio::test]
async fn newcomers_and_leavers_are_told_as_kurentos_page_expects() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.call_socket(Some(&token("n1", "c1", "anna"))).await.unwrap();
    assert_eq!(anna.headers["sec-websocket-protocol"], "confgate", "the token must not come back");
    assert_eq!(anna.join("c1", "anna").await, [""; 0]);
    let mut ben = client.call_socket(Some(&token("n1", "c1", "ben"))).await.unwrap();
    assert_eq!(ben.join("c1", "ben").await, ["anna"]);
    assert_eq!(anna.expect("newParticipantArrived").await["name"], "ben");
    let _annas = anna.publish("anna").await;
    let _viewed = ben.watch("anna").await;
    ben.send(json!({ "id": "leaveRoom" })).await;
    assert_eq!(anna.expect("participantLeft").await["name"], "ben");
    drop(ben);
    anna.hears_nothing().await;
    let mut other_room = client.call_socket(Some(&token("n1", "c2", "anna"))).await.unwrap();
    assert_eq!(other_room.join("c2", "anna").await, [""; 0], "two rooms have an Anna each");
    anna.hears_nothing().await;
}

#[tokio::test]
async fn a_shared_screen_is_a_second_stream_of_its_member() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let mut screen = anna.publish("anna/screen").await;
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "anna/screen");
    let mut viewed = ben.watch("anna/screen").await;
    call(&mut [&mut screen, &mut viewed], "the screen is seen", |peers| peers[1].frames() >= SOME).await;
    let mut carl = client.call_socket(Some(&token("n1", "c1", "carl"))).await.unwrap();
    assert_eq!(carl.join("c1", "carl").await, ["anna", "anna/screen", "ben"]);
    anna.send(json!({ "id": "cancelVideoFrom", "sender": "anna/screen" })).await;
    ben.expect("newParticipantArrived").await;
    assert_eq!(ben.expect("participantLeft").await["name"], "anna/screen");
    call(&mut [&mut viewed], "the viewer's connection ends", |peers| peers[0].is_over()).await;
}

#[tokio::test]
async fn the_room_hears_who_speaks() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let (mut sends, mut sees) = (anna.publish("anna").await, ben.watch("anna").await);
    let mut heard = None;
    while heard.is_none() {
        let frames = sees.frames();
        call(&mut [&mut sends, &mut sees], "she talks", |peers| peers[1].frames() >= frames + SOME).await;
        heard = ben.next(Duration::ZERO).await;
    }
    assert_eq!(heard, Some(json!({ "id": "speaker", "name": "anna" })));
    let mut carl = client.joined("n1", "c1", "carl").await;
    assert_eq!(carl.expect("speaker").await["name"], "anna", "whoever comes later is told too");
    drop(anna);
    assert_eq!(carl.wait_for("participantLeft").await["name"], "anna");
    assert_eq!(carl.expect("speaker").await["name"], json!(null));
}

/// Joins the conference and goes to the call gateway that is given, as the page does.
async fn on_the_phone(member: &Client, conf: &str) -> CallSocket {
    member.rpc("conference.join", json!({ "confId": conf })).await.result();
    let allocated = member.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let (url, token) = (allocated["url"].as_str().unwrap(), allocated["token"].as_str().unwrap());
    let own = format!("wss://{}", member.address());
    let path = url.strip_prefix(&own).unwrap_or_else(|| panic!("{url} is not this gateway's"));
    let mut socket = member.call_socket_at(path, Some(token)).await.unwrap();
    socket.join(conf, member.user_id()).await;
    socket
}

#[tokio::test]
async fn by_default_a_conference_is_called_and_governed_without_anything_else() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (anna, ben) = (fixture.guest(&code, "Anna").await, fixture.guest(&code, "Ben").await);
    // A member without an event socket has left after a while.
    let _sockets = (anna.open_socket().await, ben.open_socket().await);
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    anna.rpc("conference.join", json!({ "confId": conf })).await.result();
    anna.opens_devices(&conf).await;
    let (mut annas, mut bens) = (on_the_phone(&anna, &conf).await, on_the_phone(&ben, &conf).await);
    let (mut sends, mut sees) = (annas.publish(anna.user_id()).await, bens.watch(anna.user_id()).await);
    let pair: &mut [&mut Peer] = &mut [&mut sends, &mut sees];
    call(pair, "picture and sound", |peers| peers[1].frames() >= SOME && peers[1].sounds() >= SOME).await;

    let control = async |action: &str, user: &Client| {
        let params = json!({ "confId": conf, "action": action, "userId": user.user_id() });
        chair.rpc("conference.control", params).await.result();
    };
    control("mute", &anna).await;
    assert_eq!(annas.wait_for("enforce").await["audio"], false, "enforced at the node, whatever her browser does");
    control("kick", &anna).await;
    assert_eq!(annas.closed().await, (vec!["expelled".to_owned()], 4003));
    assert_eq!(bens.wait_for("participantLeft").await["name"], anna.user_id());
    call(&mut [&mut sees], "her stream is over", |peers| peers[0].is_over()).await;
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    assert_eq!(bens.closed().await, (vec!["ended".to_owned()], 4004));
}
