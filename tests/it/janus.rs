//! Janus behind our signalling: the same messages as to the built-in node, with the media between the peers and Janus.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::event_socket::EventSocket;
use crate::support::janus::{Janus, media_address};
use crate::support::media::{CallSocket, Peer, SOME, call};
use crate::support::wait::until_true;

/// A conference whose call gateway is a Janus.
struct Scene {
    janus: Janus,
    fixture: Fixture,
    conf: String,
    chair: Client,
    guests: [Client; 2],
    /// Held open: a conference is a gateway's as long as it has sockets there.
    _events: Vec<EventSocket>,
}

impl Scene {
    async fn open() -> Self {
        let janus = Janus::start().await;
        let fixture = Fixture::with(&janus.node("j1")).await;
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let guests = [fixture.guest(&code, "One").await, fixture.guest(&code, "Two").await];
        let mut events = Vec::new();
        for member in [&chair, &guests[0], &guests[1]] {
            let mut socket = member.open_socket().await;
            socket.call("conference.join", json!({ "confId": conf })).await.result();
            member.opens_devices(&conf).await;
            events.push(socket);
        }
        until_true("Janus is offered", async || chair.offered_gateways().await.ends_with("/callgw/at/j1")).await;
        Self { janus, fixture, conf, chair, guests, _events: events }
    }

    fn members(&self) -> [&Client; 3] {
        [&self.chair, &self.guests[0], &self.guests[1]]
    }

    /// Enters the call as the page does: with what was allocated.
    async fn enter(&self, member: &Client) -> CallSocket {
        let given = member.rpc("callgw.allocate", json!({ "confId": self.conf })).await.result();
        assert_eq!(given["gatewayId"], "j1");
        let path = format!("{BASE}/callgw/at/j1");
        assert!(given["url"].as_str().is_some_and(|url| url.ends_with(&path)), "{given}");
        let mut socket = member.call_socket_at(&path, given["token"].as_str()).await.expect("the token opens");
        socket.join(&self.conf, member.user_id()).await;
        socket
    }
}

/// Everybody's camera, and everybody's view of everybody else's.
async fn all(scene: &Scene, sockets: &mut [CallSocket]) -> (Vec<Peer>, Vec<Peer>) {
    let here = media_address();
    let (mut cameras, mut viewers) = (Vec::new(), Vec::new());
    for (socket, member) in sockets.iter_mut().zip(scene.members()) {
        cameras.push(socket.publish_from(here, member.user_id()).await);
    }
    let mut sending: Vec<&mut Peer> = cameras.iter_mut().collect();
    call(&mut sending, "all cameras are connected", |peers| peers.iter().all(|peer| peer.is_connected())).await;
    for (socket, member) in sockets.iter_mut().zip(scene.members()) {
        for other in scene.members().iter().filter(|other| other.user_id() != member.user_id()) {
            viewers.push(socket.watch_from(here, other.user_id()).await);
        }
    }
    (cameras, viewers)
}

#[tokio::test]
async fn three_people_see_and_hear_each_other_on_janus_until_one_is_muted_and_kicked() {
    let scene = Scene::open().await;
    let mut sockets = Vec::new();
    for member in scene.members() {
        sockets.push(scene.enter(member).await);
    }
    let (mut cameras, mut viewers) = all(&scene, &mut sockets).await;
    let mut peers: Vec<&mut Peer> = viewers.iter_mut().chain(&mut cameras).collect();
    call(&mut peers, "everybody sees and hears everybody", |peers| {
        peers[..6].iter().all(|viewer| viewer.frames() >= SOME && viewer.sounds() >= SOME)
    })
    .await;

    // The chair mutes the first guest, whose peer sends on: the chair's own view of them falls silent, not dark.
    let target = scene.guests[0].user_id();
    let control = |action: &str| json!({ "confId": scene.conf, "action": action, "userId": target });
    scene.chair.rpc("conference.control", control("mute")).await.result();
    sockets[1].wait_for("enforce").await;
    let silent = |peers: &[&mut Peer]| (peers[0].sounds(), peers[0].frames());
    let mut before = silent(&peers);
    loop {
        // Packets that were on their way come through; after that, pictures alone.
        call(&mut peers, "pictures go on", |peers| peers[0].frames() >= before.1 + SOME).await;
        let now = silent(&peers);
        if now.0 == before.0 {
            break;
        }
        before = now;
    }

    scene.chair.rpc("conference.control", control("kick")).await.result();
    let (errors, code) = sockets[1].closed().await;
    assert_eq!((errors, code), (vec!["expelled".to_owned()], 4003));
    let left: Value = sockets[0].wait_for("participantLeft").await;
    assert_eq!(left["name"], target);
    tokio::time::timeout(Duration::from_secs(20), call(&mut peers, "they are gone", |peers| peers[7].is_over()))
        .await
        .expect("the kicked one's connection ends");
}

#[tokio::test]
async fn a_janus_that_dies_is_left_for_the_next_node_and_taken_again_when_it_is_back() {
    let mut scene = Scene::open().await;
    scene.janus.stop();
    until_true("nobody is sent to it any more", async || scene.chair.offered_gateways().await.is_empty()).await;
    let refused = scene.chair.rpc("callgw.allocate", json!({ "confId": scene.conf })).await.refused(-32020);
    assert_eq!(refused["data"]["key"], "callgw.none", "{refused}");
    scene.janus.start_again().await;
    until_true("it is offered again", async || scene.chair.offered_gateways().await.ends_with("/callgw/at/j1")).await;
    assert!(scene.fixture.gateway.metric("confgate_janus_up").await == Some(1.0));
}

#[tokio::test]
async fn a_check_opens_a_session_with_janus_and_says_why_it_cant() {
    let janus = Janus::start().await;
    let directory = tempfile::tempdir().unwrap();
    let check = |config: &str| {
        std::fs::write(directory.path().join("confgate.toml"), config).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_confgate"));
        command.args(["check", "--config", "confgate.toml"]).current_dir(directory.path());
        // Others of this machine may have the default ports.
        command.env("CONFGATE_HTTP__LISTEN", "127.0.0.1:0").env("CONFGATE_ADMIN__LISTEN", "127.0.0.1:0");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = check(&janus.node("j1"));
    assert!(code == Some(0) && said.contains("ok     callgw j1: ws://"), "{said}");
    let (code, said) = check(&janus.node("j1").replace("api_secret", "# api_secret"));
    assert!(code == Some(1) && said.contains("FAILED callgw j1: ") && said.contains("secret"), "{said}");
    let (code, said) = check(&janus.counted_node("j1"));
    assert!(code == Some(0) && said.contains("ok     callgw j1: ws://"), "{said}");
    let (code, said) = check(&janus.counted_node("j1").replace("admin_secret = \"", "admin_secret = \"not "));
    assert!(code == Some(1) && said.contains("FAILED callgw j1: its Admin API: "), "{said}");
}

#[tokio::test]
async fn other_clients_of_a_janus_count_as_its_load() {
    let janus = Janus::start().await;
    let node = janus.counted_node("j1");
    let fixture = Fixture::with(&format!("[callgw]\nconnections = 100\nreport_interval_ms = 200\n{node}")).await;
    let operator = fixture.operator().await;
    let load = async || {
        let listed = operator.rpc("callgw.list", json!({})).await.result();
        listed["nodes"][0]["load"].as_f64().unwrap_or_default()
    };
    let other = janus.other_service(60).await;
    until_true("the other's 60 of 100 connections count", async || (0.6..0.7).contains(&load().await)).await;
    drop(other);
    until_true("they count no more", async || load().await < 0.1).await;
}

/// As Firefox numbers codecs: Janus sends with the publisher's numbers, and reads no others.
#[tokio::test]
async fn a_viewer_with_other_payload_types_is_told_so_and_answers_januss_offer() {
    let scene = Scene::open().await;
    let here = media_address();
    let (mut camera, mut viewer) = (scene.enter(scene.members()[0]).await, scene.enter(scene.members()[1]).await);
    let anna = scene.chair.user_id();
    let mut sends = camera.publish_from(here, anna).await;
    call(&mut [&mut sends], "the camera is connected", |peers| peers[0].is_connected()).await;
    viewer.knows(anna).await;
    viewer.watch_by_other_numbers(anna).await;
    assert_eq!(viewer.refused("payloadTypes").await["name"], anna);
    let mut sees = viewer.answer_from(here, anna).await;
    call(&mut [&mut sends, &mut sees], "sound and picture come", |peers| {
        peers[1].frames() >= SOME && peers[1].sounds() >= SOME
    })
    .await;
}
