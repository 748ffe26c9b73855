//! A server with WHIP and WHEP behind our signalling: the same messages as to the built-in node. The server is another
//! confgate, whose node takes sessions over HTTP.

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::call_gateway::Trust;
use crate::support::client::{BASE, Client};
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::media::{CallSocket, NODE_SECRET, Peer, SOME, builtin_node, call, flows};
use crate::support::wait::until_true;
use crate::webrtc_browsers::Person;

/// A conference whose call gateway is a WHIP server.
struct Scene {
    server: Gateway,
    fixture: Fixture,
    conf: String,
    chair: Client,
    guest: Client,
    _trust: Trust,
    /// Held open: a conference is a gateway's as long as it has sockets there.
    _events: Vec<EventSocket>,
}

impl Scene {
    async fn open() -> Self {
        let trust = Trust::new();
        let [cert, key] = trust.files();
        let server = Gateway::media(&format!(
            "[http]\ncert = {cert:?}\nkey = {key:?}\n[node]\nid = \"m1\"\n[callgw]\nthreads = 1\n{}",
            builtin_node("m1")
        ));
        let server = server.start().await;
        let fixture = Fixture::with(&format!("{}{}", behind(&server), trust.hasty_section())).await;
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let guest = fixture.guest(&code, "One").await;
        let mut events = Vec::new();
        for member in [&chair, &guest] {
            let mut socket = member.open_socket().await;
            socket.call("conference.join", json!({ "confId": conf })).await.result();
            member.opens_devices(&conf).await;
            events.push(socket);
        }
        until_true("the server is offered", async || chair.offered_gateways().await.ends_with("/callgw/at/w1")).await;
        Self { server, fixture, conf, chair, guest, _trust: trust, _events: events }
    }

    /// Enters the call as the page does: with what was allocated.
    async fn enter(&self, member: &Client) -> CallSocket {
        let given = member.rpc("callgw.allocate", json!({ "confId": self.conf })).await.result();
        assert_eq!(given["gatewayId"], "w1");
        let path = format!("{BASE}/callgw/at/w1");
        assert!(given["url"].as_str().is_some_and(|url| url.ends_with(&path)), "{given}");
        let mut socket = member.call_socket_at(&path, given["token"].as_str()).await.expect("the token opens");
        socket.join(&self.conf, member.user_id()).await;
        socket
    }

    async fn control(&self, action: &str) {
        let params = json!({ "confId": self.conf, "action": action, "userId": self.guest.user_id() });
        self.chair.rpc("conference.control", params).await.result();
    }

    /// Through which others come in.
    async fn link(&self) -> String {
        let params = json!({ "confId": self.conf, "role": "guest" });
        let made = self.chair.rpc("conference.createLink", params).await.result();
        let code = made["code"].as_str().unwrap_or_else(|| panic!("no code: {made}"));
        format!("https://{}{BASE}/conference/{code}", self.fixture.gateway.http())
    }

    async fn at_the_server(&self) -> f64 {
        self.server.metric("confgate_http_sessions").await.unwrap_or_default()
    }
}

/// The section of a node in front of that server.
fn behind(server: &Gateway) -> String {
    format!(
        "[[callgw.nodes]]\nid = \"w1\"\nkind = \"whip\"\nadmin_url = \"https://{}{BASE}/callgw\"\n\
         whip_path = \"/whip/{{room}}\"\nwhep_path = \"/whep/{{room}}/{{stream}}\"\n\
         signer_id = \"m1\"\nsigner_secret = {NODE_SECRET:?}\n",
        server.http()
    )
}

#[tokio::test]
async fn two_people_see_and_hear_each_other_over_a_whip_server_until_one_is_muted_and_kicked() {
    let scene = Scene::open().await;
    let (mut chair, mut guest) = (scene.enter(&scene.chair).await, scene.enter(&scene.guest).await);
    let (chair_id, guest_id) = (scene.chair.user_id(), scene.guest.user_id());
    let mut cameras = [chair.publish(chair_id).await, guest.publish(guest_id).await];
    let mut views = [chair.watch(guest_id).await, guest.watch(chair_id).await];
    let [of_chair, of_guest] = &mut cameras;
    flows(of_guest, &mut views[0]).await;
    flows(of_chair, &mut views[1]).await;
    assert_eq!(scene.at_the_server().await, 4.0, "each connection is a session there");

    scene.control("mute").await;
    call(&mut [of_guest, &mut views[0]], "both ends are hung up", |peers| peers.iter().all(|peer| peer.is_over()))
        .await;
    let (mut again, mut view) = (guest.publish(guest_id).await, chair.watch(guest_id).await);
    call(&mut [&mut again, &mut view], "picture", |peers| peers[1].frames() >= 2 * SOME).await;
    assert_eq!(view.sounds(), 0, "the muted one's sound never reaches the server");

    scene.control("unmute").await;
    call(&mut [&mut again, &mut view], "hung up once more", |peers| peers.iter().all(|peer| peer.is_over())).await;
    let (mut again, mut view) = (guest.publish(guest_id).await, chair.watch(guest_id).await);
    flows(&mut again, &mut view).await;

    scene.control("kick").await;
    assert_eq!(chair.wait_for("participantLeft").await["name"], guest_id);
    call(&mut [&mut again], "the kicked one is cut", |peers| peers[0].is_over()).await;
    until_true("only the chair's camera is left", async || scene.at_the_server().await == 1.0).await;
    drop(chair);
    until_true("nothing is left at the server", async || scene.at_the_server().await == 0.0).await;
}

#[tokio::test]
async fn a_viewer_may_ask_before_anybody_sends_and_candidates_trickle() {
    let scene = Scene::open().await;
    let (mut chair, mut guest) = (scene.enter(&scene.chair).await, scene.enter(&scene.guest).await);
    let guest_id = scene.guest.user_id();
    let early = Peer::offer(crate::support::media::Media::WATCHES);
    chair.send(json!({ "id": "receiveVideoFrom", "sender": guest_id, "sdpOffer": early })).await;
    let candidate =
        json!({ "candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0 });
    chair.send(json!({ "id": "onIceCandidate", "name": guest_id, "candidate": candidate })).await;
    let mut sends = guest.publish(guest_id).await;
    let answer: Value = chair.wait_for("receiveVideoAnswer").await;
    assert_eq!(answer["name"], guest_id);
    call(&mut [&mut sends], "connected", |peers| peers[0].is_connected()).await;
    let bad = json!({ "id": "receiveVideoFrom", "sender": guest_id, "sdpOffer": "v=0" });
    chair.send(bad).await;
    assert_eq!(chair.wait_for("error").await["code"], "badSdp");
}

#[tokio::test]
async fn a_server_that_is_gone_is_offered_to_nobody() {
    let mut scene = Scene::open().await;
    scene.server.kill();
    until_true("it is not offered", async || scene.chair.offered_gateways().await.is_empty()).await;
    let refused = scene.chair.rpc("callgw.allocate", json!({ "confId": scene.conf })).await;
    refused.refused(-32020);
    scene.server.restart().await;
    until_true("it is offered again", async || !scene.chair.offered_gateways().await.is_empty()).await;
    assert!(scene.fixture.gateway.metric("confgate_whip_up").await.is_some());
}

#[tokio::test]
async fn browser_two_people_see_and_hear_each_other_on_a_whip_server() {
    let scene = Scene::open().await;
    let link = scene.link().await;
    let (anna, zhang) = tokio::join!(Browser::start(), Browser::start());
    let (anna, zhang) = tokio::join!(Person::enter(anna, &link, "Anna Schmidt"), Person::enter(zhang, &link, "张伟"));
    let both = async || {
        tokio::join!(
            async { tokio::join!(anna.browser.sees_moving(&zhang.user), anna.browser.hears_sound(&zhang.user)) },
            async { tokio::join!(zhang.browser.sees_moving(&anna.user), zhang.browser.hears_sound(&anna.user)) },
        );
    };
    both().await;
    assert_eq!(scene.at_the_server().await, 4.0, "each connection is a session there");
    anna.browser.has("banner", false).await;
    zhang.browser.page.refresh().await.expect("a page reloads");
    zhang.browser.is_on("conference").await;
    both().await;

    zhang.browser.press("camera").await;
    anna.browser.sees(&zhang.user, "video", "off").await;
    anna.browser.hears_sound(&zhang.user).await;
    zhang.browser.press("camera").await;
    both().await;
    zhang.browser.press("leave").await;
    anna.browser.has(&format!("tile-{}", zhang.user), false).await;
    until_true("only hers is left there", async || scene.at_the_server().await == 1.0).await;
    for person in [&anna, &zhang] {
        person.browser.assert_quiet_console().await;
    }
}
