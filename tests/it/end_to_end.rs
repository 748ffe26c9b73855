//! The main job, end to end: a guest walks in by a link, sees and is seen, speaks, is controlled, leaves; played on
//! the embedded default and over real XMPP servers.

use serde_json::json;

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::xmpp_server::XmppServer;

/// A member with a socket of its own.
struct Participant {
    client: Client,
    socket: EventSocket,
}

impl Participant {
    async fn enter(client: Client, conf: &str) -> Self {
        let mut socket = client.open_socket().await;
        let hello = socket.expect("hello").await;
        assert_eq!((hello["heartbeatMs"].as_u64(), hello["resumeWindowMs"].as_u64()), (Some(10_000), Some(60_000)));
        // From here on everything comes as an event.
        socket.wait_for("conference.snapshot").await;
        let joined = socket.call("conference.join", json!({ "confId": conf })).await.result();
        assert_eq!(joined["confId"], conf);
        assert_eq!(joined["member"]["userId"], client.user_id());
        Self { client, socket }
    }

    async fn control(&self, conf: &str, action: &str, user: Option<&str>) -> crate::support::client::Answer {
        let mut params = json!({ "confId": conf, "action": action });
        if let Some(user) = user {
            params["userId"] = user.into();
        }
        self.client.rpc("conference.control", params).await
    }
}

pub async fn whole_story(fixture: Fixture) {
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let page =
        fixture.gateway.client().request(http::Method::POST, &format!("/gzbwclient/conference/{code}"), &[], "").await;
    assert_eq!(page.json(), json!({ "confId": conf, "confName": "周会 Weekly", "state": 0, "code": 200 }));

    let mut chair = Participant::enter(chair, &conf).await;
    let mut guest = Participant::enter(fixture.guest(&code, "张三").await, &conf).await;
    let guest_id = guest.client.user_id().to_owned();
    let seen = chair.socket.expect_event("member.joined").await;
    let seen = if seen["data"]["userId"] == guest_id.as_str() {
        seen
    } else {
        chair.socket.expect_event("member.joined").await
    };
    assert_eq!((seen["data"]["name"].as_str(), seen["data"]["role"].as_str()), (Some("张三"), Some("guest")));

    mutes_and_words(&conf, &mut chair, &mut guest).await;
    let mut guest = blip(&conf, &mut chair, guest).await;

    // A second guest is sent out, and stays out.
    let mut rude = Participant::enter(fixture.guest(&code, "Rude").await, &conf).await;
    let rude_id = rude.client.user_id().to_owned();
    chair.control(&conf, "kick", Some(&rude_id)).await.result();
    assert_eq!(rude.socket.close_code().await, 4003);
    rude.client.rpc("conference.members", json!({ "confId": conf })).await.refused(-32001);

    chair.control(&conf, "lock", None).await.result();
    let params = json!({ "grantType": "conference_link", "link": code, "name": "Late" });
    assert!(fixture.gateway.client().try_login(params).await.is_err());

    chair.control(&conf, "end", None).await.result();
    assert_eq!(guest.socket.close_code().await, 4004);
    // Their socket isn't this conference's alone.
    chair.socket.expect_event("conference.ended").await;
    chair.socket.call("conference.list", json!({})).await.result();
    guest.client.rpc("conference.members", json!({ "confId": conf })).await.refused(-32001);
}

async fn mutes_and_words(conf: &str, chair: &mut Participant, guest: &mut Participant) {
    let guest_id = guest.client.user_id().to_owned();
    guest.control(conf, "unmuteSelf", None).await.result();
    let event = chair.socket.expect_event("member.updated").await;
    assert_eq!((event["data"]["audio"].as_str(), event["actor"].as_str()), (Some("on"), Some(guest_id.as_str())));
    chair.control(conf, "mute", Some(&guest_id)).await.result();
    guest.control(conf, "unmuteSelf", None).await.refused(-32003);
    guest.control(conf, "mute", Some(chair.client.user_id())).await.refused(-32003);
    chair.control(conf, "unmute", Some(&guest_id)).await.result();
    loop {
        let event = chair.socket.expect_event("member.updated").await;
        let asked = event["data"]["unmuteAsked"].as_bool();
        assert!(event["data"]["audio"] != "on" || asked.is_none(), "a chair asks, and opens nothing: {event}");
        if asked == Some(true) {
            break;
        }
    }
    guest.control(conf, "unmuteSelf", None).await.result();
    guest.control(conf, "openCamera", None).await.result();
    guest.control(conf, "raiseHand", None).await.result();
    let message = json!({ "confId": conf, "text": "你好 <b>&</b>" });
    guest.socket.call("conference.sendMessage", message).await.result();
    let event = chair.socket.expect_event("message").await;
    assert_eq!(event["data"]["text"], "你好 <b>&</b>");
    guest.socket.expect_event("message").await;
    let member = chair.socket.follower.roster(conf).member(&guest_id.parse_user()).expect("the guest is in").clone();
    assert_eq!(serde_json::to_value(&member).unwrap()["video"], "on");
    assert!(member.hand);
}

/// The guest's socket breaks and comes back: the chair sees it, and the guest misses nothing.
async fn blip(conf: &str, chair: &mut Participant, guest: Participant) -> Participant {
    let guest_id = guest.client.user_id().to_owned();
    let left_off = guest.socket.vanish();
    let event = chair.socket.expect_event("member.updated").await;
    assert_eq!(
        (event["data"]["userId"].as_str(), event["data"]["state"].as_str()),
        (Some(&*guest_id), Some("reconnecting"))
    );
    chair.client.rpc("conference.sendMessage", json!({ "confId": conf, "text": "still there?" })).await.result();
    // Where the gateway numbers, the answer may come before the event has its number.
    chair.socket.expect_event("message").await;
    let mut socket = guest.client.resume_socket(left_off).await;
    socket.expect("hello").await;
    let first = socket.expect("conference.event").await;
    assert_eq!(first["data"]["state"], "reconnecting", "the missed events and nothing else");
    assert_eq!(socket.expect_event("message").await["data"]["text"], "still there?");
    let back = chair.socket.expect_event("member.updated").await;
    assert_eq!(back["data"]["state"], "joined");
    socket.expect_event("member.updated").await;
    assert_eq!(socket.follower.roster(conf), chair.socket.follower.roster(conf));
    Participant { client: guest.client, socket }
}

trait ParseUser {
    fn parse_user(&self) -> confgate::ids::UserId;
}

impl ParseUser for String {
    fn parse_user(&self) -> confgate::ids::UserId {
        confgate::ids::UserId::parse(self).expect("a user id")
    }
}

/// Nobody else of the conference is on this node, so that only the subscription that lingers brings what is missed.
#[tokio::test]
async fn returning_client_gets_exactly_the_missed_events() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Alone").await;
    let mut socket = guest.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let left_off = socket.vanish();
    chair.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();
    let mut socket = guest.resume_socket(left_off).await;
    socket.expect("hello").await;
    let missed = [socket.expect("conference.event").await, socket.expect("conference.event").await];
    let mut kinds = missed.each_ref().map(|event| event["type"].as_str().unwrap_or_default());
    kinds.sort_unstable();
    assert_eq!(kinds, ["conference.locked", "member.updated"]);
}

#[tokio::test]
async fn a_waiting_guest_sees_themselves_only_and_everything_once_admitted() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "lobby": true })).await;
    let guest = fixture.guest(&code, "Knocking").await;
    let mut socket = guest.open_socket().await;
    let joined = socket.call("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!((joined["member"]["state"].as_str(), &joined["callGateway"]), (Some("waiting"), &json!(null)));
    guest.rpc("callgw.allocate", json!({ "confId": conf })).await.refused(-32003);
    let mut chair = Participant::enter(chair, &conf).await;
    let roster = chair.client.rpc("conference.members", json!({ "confId": conf })).await.result();
    assert_eq!(roster["members"].as_array().map(Vec::len), Some(1), "{roster}");
    chair.control(&conf, "admit", Some(guest.user_id())).await.result();
    chair.socket.expect_event("member.joined").await;
    loop {
        let snapshot = socket.wait_for("conference.snapshot").await;
        if snapshot.get("waiting").is_some() {
            assert_eq!(snapshot["members"].as_array().map(Vec::len), Some(2), "{snapshot}");
            break;
        }
        assert!(snapshot["members"].as_array().is_some_and(|m| m.len() <= 1), "{snapshot}");
    }
}

#[tokio::test]
async fn a_guest_walks_in_embedded() {
    whole_story(Fixture::embedded().await).await;
}

#[tokio::test]
async fn ejabberd_a_guest_walks_in_over_a_component() {
    whole_story(Fixture::component(XmppServer::ejabberd().await, "").await).await;
}

#[tokio::test]
async fn prosody_a_guest_walks_in_over_a_component() {
    whole_story(Fixture::component(XmppServer::prosody().await, "").await).await;
}

#[tokio::test]
async fn ejabberd_a_guest_walks_in_over_muc_rooms() {
    whole_story(Fixture::muc(XmppServer::ejabberd().await, "").await).await;
}

#[tokio::test]
async fn prosody_a_guest_walks_in_over_muc_rooms() {
    whole_story(Fixture::muc(XmppServer::prosody().await, "").await).await;
}

#[tokio::test]
async fn ejabberd_a_guest_walks_in_over_sessions() {
    whole_story(Fixture::c2s(XmppServer::ejabberd().await, "starttls", "").await).await;
}

#[tokio::test]
async fn prosody_a_guest_walks_in_over_sessions() {
    whole_story(Fixture::c2s(XmppServer::prosody().await, "starttls", "").await).await;
}
