//! The lobby of the EIM without numbers, and its restart.

use serde_json::json;

use super::{Scene, UNASKED, start_eim, texts};
use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::{PATIENCE, until, until_true};

/// A guest who waits is seen by the chair, told nothing else, and let in; the next one is sent out.
#[tokio::test]
async fn prosody_a_guest_waits_in_the_lobby_and_is_admitted_under_the_gateways_numbers() {
    let Scene { gateway, eim, _broker, _server } = Scene::start("", "").await;
    let fixture = Fixture::on(gateway);
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "lobby": true })).await;
    let mut socket = chair.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = fixture.guest(&code, "Guest").await;
    let mut guests = guest.open_socket().await;
    let joined = guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["member"]["state"], "waiting");
    let added = socket.expect_event("waiting.added").await;
    assert_eq!((&added["data"]["userId"], &added["data"]["state"]), (&json!(guest.user_id()), &json!("waiting")));
    let own = guests.wait_for("conference.snapshot").await;
    assert!(own.get("messages").is_none(), "who waits is told of themselves only: {own}");

    let admit = json!({ "confId": conf, "action": "admit", "userId": guest.user_id() });
    chair.rpc("conference.control", admit).await.result();
    let removed = socket.expect_event("waiting.removed").await;
    assert_eq!(removed["data"], json!({ "userId": guest.user_id(), "reason": "admitted" }));
    let came = socket.expect_event("member.joined").await;
    assert_eq!((&came["data"]["userId"], &came["data"]["state"]), (&json!(guest.user_id()), &json!("joined")));
    while guests.follower.positions().is_empty() || guests.follower.roster(&conf).members.len() < 2 {
        guests.next_notification(PATIENCE).await.expect("a full snapshot comes");
    }
    guest.rpc("conference.sendMessage", json!({ "confId": conf, "text": "here" })).await.result();
    socket.expect_event("message").await;
    guests.expect_event("message").await;

    let other = fixture.guest(&code, "Other").await;
    let mut others = other.open_socket().await;
    other.rpc("conference.join", json!({ "confId": conf })).await.result();
    socket.expect_event("waiting.added").await;
    let deny = json!({ "confId": conf, "action": "deny", "userId": other.user_id() });
    chair.rpc("conference.control", deny).await.result();
    let removed = socket.expect_event("waiting.removed").await;
    assert_eq!(removed["data"], json!({ "userId": other.user_id(), "reason": "denied" }));
    assert_eq!(others.close_code().await, 4003);
    assert!(!texts(&eim).iter().any(|text| UNASKED.contains(&text.as_str())));
}

struct Meeting {
    scene: Scene,
    kept: tempfile::TempDir,
    conf: String,
    chair: Client,
    socket: EventSocket,
    guest: Client,
}

impl Meeting {
    /// The EIM keeps its rooms in a file.
    async fn start() -> Self {
        let kept = tempfile::tempdir().expect("the system's directory for temporary files is writable");
        let file = kept.path().join("rooms");
        let scene = Scene::start(&file.display().to_string(), "").await;
        let client = scene.gateway.client();
        let chair = client.login_client("chair", "the chair's secret").await;
        let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let (conf, code) = (text(&made["confId"]), text(&made["link"]["code"]));
        let mut socket = chair.open_socket().await;
        socket.wait_for("conference.snapshot").await;
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        let guest = client.login_link(&code, "Guest").await;
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
        let mut meeting = Self { scene, kept, conf, chair, socket, guest };
        meeting.socket.expect_event("member.joined").await;
        meeting.socket.expect_event("member.joined").await;
        meeting
    }

    /// Its process is killed, and one more is started.
    async fn restart_eim(&mut self, loses: bool) {
        let file = self.kept.path().join("rooms");
        self.scene.eim.kill();
        if loses {
            std::fs::remove_file(&file).expect("it has kept its rooms");
        }
        self.scene.eim = start_eim(&self.scene._server, &self.scene._broker.url(), &file.display().to_string()).await;
    }
}

#[tokio::test]
async fn prosody_an_eim_that_is_back_with_its_rooms_goes_on_under_the_next_number() {
    let mut meeting = Meeting::start().await;
    let before = meeting.socket.follower.roster(&meeting.conf).clone();
    meeting.restart_eim(false).await;
    let say = json!({ "confId": meeting.conf, "text": "after" });
    let said = async || meeting.guest.rpc("conference.sendMessage", say.clone()).await.0.get("result").map(drop);
    until(PATIENCE, said).await.expect("the EIM is back");
    let event = meeting.socket.expect_event("message").await;
    assert_eq!(event["epoch"], before.epoch.as_str());
    let roster = meeting.socket.follower.roster(&meeting.conf);
    assert_eq!((roster.members.len(), roster.messages.len()), (before.members.len(), 1), "{roster:?}");
}

#[tokio::test]
async fn prosody_a_conference_that_an_eim_has_lost_with_its_rooms_is_over() {
    let mut meeting = Meeting::start().await;
    let before = meeting.socket.follower.roster(&meeting.conf).clone();
    meeting.restart_eim(true).await;
    let event = meeting.socket.expect_event("conference.ended").await;
    assert_eq!(event["epoch"], before.epoch.as_str());
    assert!(event["seq"].as_u64() > Some(before.seq));
    let is_gone = async || {
        let params = json!({ "confId": meeting.conf });
        meeting.chair.rpc("conference.get", params).await.0["error"]["code"] == -32004
    };
    until_true("nobody knows of it", is_gone).await;
}
