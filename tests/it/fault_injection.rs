//! Each connection is cut in turn: a client's view, and its delay. The times are those that `docs/operation.md` tells.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::support::chaos::ChaosProxy;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::until_true;
use crate::support::xmpp_server::{COMPONENT, XmppServer};

/// A fixture whose link to the XMPP server goes through a proxy, and a conference on it.
struct Scene {
    fixture: Fixture,
    link: ChaosProxy,
    conf: String,
    chair: Client,
    socket: EventSocket,
}

impl Scene {
    async fn set(more: &str) -> Self {
        let server = XmppServer::prosody().await;
        let door = server.door(COMPONENT).port.address();
        let link = ChaosProxy::to(door).await;
        let section = server.component_section(COMPONENT);
        let through = format!("\nport = {}\n", link.address().port());
        let section = section.replace(&format!("\nport = {}\n", door.port()), &through);
        assert!(section.contains(&through), "{section}");
        let fixture = Fixture::external(server, &format!("{section}{more}"), "").await;
        let chair = fixture.chair().await;
        let (conf, _) = fixture.conference(&chair, json!({})).await;
        let mut socket = chair.open_socket().await;
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        socket.wait_for("conference.snapshot").await;
        Self { fixture, link, conf, chair, socket }
    }

    async fn members(&self) -> (crate::support::client::Answer, Duration) {
        let asked = Instant::now();
        // Of the EIM every time, unlike `conference.members`.
        let answer = self.chair.rpc("conference.get", json!({ "confId": self.conf })).await;
        (answer, asked.elapsed())
    }
}

fn seconds(range: std::ops::Range<f64>, took: Duration, what: &str) {
    println!("{what}: {:.2} s", took.as_secs_f64());
    assert!(range.contains(&took.as_secs_f64()), "{what}: {took:?}, not {range:?} s");
}

#[tokio::test]
async fn prosody_the_eims_link_is_cut_sockets_stay_open_and_hear_of_it() {
    let mut scene = Scene::set("wait_ms = 1000\n").await;
    let cut = Instant::now();
    scene.link.cut();
    let degraded = scene.socket.wait_for("degraded").await;
    seconds(0.0..1.0, cut.elapsed(), "`degraded` after a cut");
    assert_eq!(degraded["part"], "eim");
    let (answer, took) = scene.members().await;
    assert_eq!(answer.refused(-32010)["data"]["sent"], false);
    seconds(0.9..2.0, took, "-32010 after eim.wait_ms of 1 s");
    let readiness = scene.fixture.gateway.readyz().await;
    assert_eq!(readiness["state"], "ready", "the rest goes on: {readiness}");
    let told = scene.chair.rpc("config.getProperties", json!({ "keys": ["serverName"] })).await.result();
    assert!(told["serverName"].is_string());

    let mended = Instant::now();
    scene.link.restore();
    assert_eq!(scene.socket.wait_for("restored").await, json!({ "part": "eim" }));
    seconds(0.0..6.0, mended.elapsed(), "`restored` after mending");
    scene.members().await.0.result();
    // Events come again, numbered on.
    scene.chair.rpc("conference.sendMessage", json!({ "confId": scene.conf, "text": "again" })).await.result();
    scene.socket.expect_event("message").await;
}

#[tokio::test]
async fn prosody_a_request_under_way_when_the_link_is_cut_may_have_arrived() {
    let scene = Scene::set("wait_ms = 1000\n").await;
    scene.link.stall();
    let asked = scene.members();
    let cutting = async {
        until_true("the request is under way", async || {
            scene.fixture.gateway.metric("confgate_eim_requests_under_way").await == Some(1.0)
        })
        .await;
        scene.link.cut();
        Instant::now()
    };
    let ((answer, _), cut) = tokio::join!(asked, cutting);
    seconds(0.0..1.0, cut.elapsed(), "-32010 for a request under way after a cut");
    assert_eq!(answer.refused(-32010)["data"]["sent"], true);
}

#[tokio::test]
async fn prosody_an_eim_that_says_nothing_is_a_timeout_and_the_socket_stays() {
    let mut scene = Scene::set("timeout_ms = 1000\n").await;
    scene.link.stall();
    let (answer, took) = scene.members().await;
    answer.refused(-32011);
    seconds(0.9..2.0, took, "-32011 after eim.timeout_ms of 1 s");
    scene.link.restore();
    until_true("it answers again", async || scene.members().await.0.0.get("result").is_some()).await;
    scene.socket.call("config.getProperties", json!({ "keys": ["serverName"] })).await.result();
}

#[tokio::test]
async fn the_gateway_crashes_and_is_started_again_nobody_has_left() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Guest").await;
    let mut socket = guest.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let killed = Instant::now();
    fixture.gateway.kill();
    assert_eq!(socket.close_code().await, 1006);
    seconds(0.0..1.0, killed.elapsed(), "the socket's end after a crash");
    fixture.gateway.restart().await;
    let mut socket = guest.resume_socket(socket.vanish()).await;
    socket.expect("hello").await;
    let mut state = Value::Null;
    while state != "joined" {
        socket.next_notification(Duration::from_secs(10)).await.expect("events or a snapshot come");
        let id = confgate::ids::UserId::parse(guest.user_id()).unwrap();
        let member = socket.follower.roster(&conf).member(&id);
        state = member.map_or(Value::Null, |m| serde_json::to_value(m.state).unwrap());
    }
    let all = chair.rpc("conference.members", json!({ "confId": conf })).await.result();
    assert_eq!(all["members"].as_array().unwrap().len(), 1);
}
