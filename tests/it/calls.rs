//! Calls: somebody rings somebody, who answers, or doesn't; played on the embedded default and over real XMPP servers,
//! in either link mode.

use serde_json::{Value, json};

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::{Answer, Client};
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Gateway, eim_with};
use crate::support::wait::until_true;
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer, on_each_server};

/// A third person beside the fixture's own.
const BEN: &str = r#"
[[auth.clients]]
id = "ben"
secret = "ben's secret"
name = "Ben"
password = "ben-password"
"#;
/// Bounds of the EIM and of the gateway under which nothing happens by itself while a story is played.
const PATIENT: (&str, &str) = ("[limits]\nring_ms = 60000\n", "[limits]\nring_ms = 60000\n");
/// Bounds under which ringing and staying away have an end within the story.
const HASTY: (&str, &str) = ("[limits]\nring_ms = 1500\n", "[limits]\nring_ms = 1500\ngrace_ms = 300\n");

/// The two limits are the EIM's and the gateway's; embedded they are one process's, and the gateway's count.
async fn embedded(limits: (&str, &str)) -> Fixture {
    Fixture::with(&format!("{BEN}{}", limits.1)).await
}

async fn component(server: XmppServer, limits: (&str, &str)) -> Fixture {
    let section = server.component_section(COMPONENT);
    external(server, &section, limits).await
}

async fn sessions(server: XmppServer, limits: (&str, &str)) -> Fixture {
    let users = [("chair", "chair-password"), ("operator", "operator-password"), ("u1074304", "zhang-password")];
    for (user, password) in users.into_iter().chain([("ben", "ben-password")]) {
        server.register(user, password).await;
    }
    let section = server.c2s_section("starttls");
    external(server, &section, limits).await
}

async fn external(server: XmppServer, section: &str, limits: (&str, &str)) -> Fixture {
    let eim = eim_with(&format!("{}{}", server.eim_section(), limits.0)).await;
    let gateway = Gateway::with(&format!("{CLIENTS}\n{section}\n{BEN}{}", limits.1)).start().await;
    Fixture::of(gateway, eim, server)
}

/// A test for each way to the EIM.
macro_rules! every_way {
    ($($promise:ident($limits:expr);)+) => {$(
        mod $promise {
            use super::*;

            #[tokio::test]
            async fn embedded() {
                super::$promise(super::embedded($limits).await).await;
            }

            #[tokio::test]
            async fn ejabberd_component() {
                super::$promise(component(XmppServer::ejabberd().await, $limits).await).await;
            }

            #[tokio::test]
            async fn prosody_component() {
                super::$promise(component(XmppServer::prosody().await, $limits).await).await;
            }

            #[tokio::test]
            async fn ejabberd_sessions() {
                super::$promise(sessions(XmppServer::ejabberd().await, $limits).await).await;
            }

            #[tokio::test]
            async fn prosody_sessions() {
                super::$promise(sessions(XmppServer::prosody().await, $limits).await).await;
            }
        }
    )+};
}

every_way! {
    somebody_is_called_and_answers(PATIENT);
    somebody_is_called_and_does_not_answer(PATIENT);
    several_are_called_and_late_ones_come_in(PATIENT);
    nobody_answers_in_time(HASTY);
    a_caller_who_is_lost_rings_no_longer(HASTY);
}

/// Somebody with an event socket.
struct Phone {
    client: Client,
    socket: EventSocket,
}

/// A call as its caller knows it.
struct Call {
    id: String,
    conf: String,
    mode: String,
}

impl Phone {
    async fn of(client: Client) -> Self {
        let mut socket = client.open_socket().await;
        socket.expect("hello").await;
        Self { client, socket }
    }

    fn id(&self) -> &str {
        self.client.user_id()
    }

    async fn start(&mut self, params: Value) -> Call {
        let started = self.socket.call("call.start", params).await.result();
        let text = |name: &str| started[name].as_str().unwrap_or_else(|| panic!("no {name}: {started}")).to_owned();
        Call { id: text("callId"), conf: text("confId"), mode: text("mode") }
    }

    async fn on(&mut self, verb: &str, call: &Call) -> Answer {
        self.socket.call(&format!("call.{verb}"), json!({ "callId": call.id })).await
    }

    /// The next news of that name, which must be of that call.
    async fn hears(&mut self, news: &str, call: &Call) -> Value {
        let told = self.socket.wait_for(&format!("call.{news}")).await;
        assert_eq!((&told["callId"], &told["confId"]), (&json!(call.id), &json!(call.conf)), "{told}");
        assert_eq!(told["mode"], call.mode, "{told}");
        told
    }
}

async fn three(fixture: &Fixture) -> [Phone; 3] {
    let login =
        |id: &str, secret: &str| json!({ "grantType": "client_credentials", "clientId": id, "clientSecret": secret });
    let zhang = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let ben = fixture.login(login("ben", "ben's secret")).await;
    [Phone::of(fixture.chair().await).await, Phone::of(zhang).await, Phone::of(ben).await]
}

async fn somebody_is_called_and_answers(fixture: Fixture) {
    let [mut chair, mut zhang, mut ben] = three(&fixture).await;
    // The caller is the user that is logged in, whatever the request says besides.
    let call = chair.start(json!({ "to": [zhang.id()], "from": ben.id(), "name": "周会" })).await;
    assert_eq!(call.mode, "p2p");
    let rung = zhang.hears("incoming", &call).await;
    assert_eq!((&rung["from"], &rung["to"]), (&json!(chair.id()), &json!([zhang.id()])));
    assert_eq!(rung["name"], "周会");
    assert!(rung["ringMs"].as_u64().is_some_and(|ms| ms <= 60_000), "{rung}");

    // Nobody else can do anything with it.
    for verb in ["accept", "decline", "cancel", "hangup"] {
        assert_eq!(ben.on(verb, &call).await.refused(-32004)["data"]["key"], "call.notFound", "{verb}");
    }
    ben.socket.call("conference.join", json!({ "confId": call.conf })).await.refused(-32004);

    let accepted = zhang.on("accept", &call).await.result();
    assert_eq!(accepted, json!({ "confId": call.conf, "mode": "p2p" }));
    assert_eq!(chair.hears("answered", &call).await["userId"], zhang.id());
    zhang.hears("answered", &call).await;
    let members = chair.socket.call("conference.members", json!({ "confId": call.conf })).await.result();
    let names: Vec<_> = members["members"].as_array().into_iter().flatten().map(|m| m["name"].clone()).collect();
    assert_eq!(names, [json!("Chair"), json!("张三")]);
    let conference = zhang.socket.call("conference.get", json!({ "confId": call.conf })).await.result();
    assert_eq!(conference["call"], json!({ "callId": call.id, "mode": "p2p" }));
    assert_eq!((&conference["chair"], &conference["confName"]), (&json!(chair.id()), &json!("周会")));
    // It is no conference to come back to or to invite to.
    assert_eq!(chair.socket.call("conference.list", json!({})).await.result()["conferences"], json!([]));
    let link = chair.socket.call("conference.createLink", json!({ "confId": call.conf, "role": "guest" })).await;
    assert_eq!(link.refused(-32003)["data"]["key"], "conference.ofCall");

    // A third one finds the callee busy.
    let third = ben.start(json!({ "to": [zhang.id()] })).await;
    assert_eq!(ben.hears("declined", &third).await["reason"], "busy");

    assert_eq!(chair.on("cancel", &call).await.refused(-32005)["data"]["key"], "call.answered");
    zhang.on("hangup", &call).await.result();
    for phone in [&mut chair, &mut zhang] {
        let told = phone.hears("ended", &call).await;
        assert_eq!((&told["userId"], &told["reason"]), (&json!("u1074304"), &json!("hangup")));
    }
    chair.on("hangup", &call).await.refused(-32004);

    // The sockets live on, and the line is free.
    let again = ben.start(json!({ "to": [zhang.id()] })).await;
    zhang.hears("incoming", &again).await;
}

async fn somebody_is_called_and_does_not_answer(fixture: Fixture) {
    let [mut chair, mut zhang, _] = three(&fixture).await;
    let call = chair.start(json!({ "to": [zhang.id()] })).await;
    zhang.hears("incoming", &call).await;
    let params = json!({ "callId": call.id, "reason": "稍后 <later>" });
    zhang.socket.call("call.decline", params).await.result();
    let told = chair.hears("declined", &call).await;
    assert_eq!((&told["userId"], &told["reason"]), (&json!(zhang.id()), &json!("稍后 <later>")));
    zhang.on("accept", &call).await.refused(-32004);

    let call = chair.start(json!({ "to": [zhang.id()] })).await;
    zhang.hears("incoming", &call).await;
    assert_eq!(zhang.on("cancel", &call).await.refused(-32003)["data"]["key"], "call.callerOnly");
    assert_eq!(zhang.on("hangup", &call).await.refused(-32005)["data"]["key"], "call.notIn");
    chair.on("cancel", &call).await.result();
    zhang.hears("cancelled", &call).await;
    zhang.on("accept", &call).await.refused(-32004);

    // A socket that opens while it rings, rings; the callee's last one had closed.
    let Phone { client: zhang, socket } = zhang;
    socket.close().await;
    let call = chair.start(json!({ "to": [zhang.user_id()] })).await;
    let mut zhang = Phone::of(zhang).await;
    zhang.hears("incoming", &call).await;
    zhang.on("accept", &call).await.result();
    chair.hears("answered", &call).await;
    // In a call, a socket that comes back within the grace finds it again.
    let left_off = zhang.socket.vanish();
    let mut socket = zhang.client.resume_socket(left_off).await;
    socket.expect("hello").await;
    socket.call("conference.control", json!({ "confId": call.conf, "action": "raiseHand" })).await.result();
    until_true("the one who came back is seen", async || {
        let event = chair.socket.expect_event("member.updated").await;
        event["data"]["hand"] == true && event["data"]["state"] == "joined"
    })
    .await;
}

async fn several_are_called_and_late_ones_come_in(fixture: Fixture) {
    let [mut chair, mut zhang, mut ben] = three(&fixture).await;
    let call = chair.start(json!({ "to": [zhang.id(), ben.id()] })).await;
    assert_eq!(call.mode, "group");
    let rung = zhang.hears("incoming", &call).await;
    assert_eq!(rung["to"], json!([zhang.id(), ben.id()]));
    ben.hears("incoming", &call).await;
    zhang.on("accept", &call).await.result();
    chair.hears("answered", &call).await;
    ben.on("decline", &call).await.result();
    assert_eq!(zhang.hears("declined", &call).await["userId"], ben.id());
    // Late, and over HTTP: their socket hears what happens nevertheless.
    ben.client.rpc("call.accept", json!({ "callId": call.id })).await.result();
    let snapshot = ben.socket.wait_for("conference.snapshot").await;
    assert_eq!(snapshot["members"].as_array().map(Vec::len), Some(3), "{snapshot}");
    // The caller goes, and it goes on: to the last but one.
    chair.on("hangup", &call).await.result();
    let left = zhang.socket.expect_event("member.left").await;
    assert_eq!(left["data"]["userId"], chair.id());
    assert_eq!(chair.on("hangup", &call).await.refused(-32005)["data"]["key"], "call.notIn");
    chair.on("accept", &call).await.result();
    chair.on("hangup", &call).await.result();
    ben.on("hangup", &call).await.result();
    assert_eq!(zhang.hears("ended", &call).await["userId"], ben.id());
    chair.on("accept", &call).await.refused(-32004);
}

async fn nobody_answers_in_time(fixture: Fixture) {
    let [mut chair, mut zhang, _] = three(&fixture).await;
    let call = chair.start(json!({ "to": [zhang.id()] })).await;
    zhang.hears("incoming", &call).await;
    for phone in [&mut chair, &mut zhang] {
        assert_eq!(phone.hears("missed", &call).await["userId"], "u1074304");
    }
    zhang.on("accept", &call).await.refused(-32004);
}

async fn a_caller_who_is_lost_rings_no_longer(fixture: Fixture) {
    let [mut chair, mut zhang, mut ben] = three(&fixture).await;
    let call = chair.start(json!({ "to": [zhang.id(), ben.id()] })).await;
    zhang.hears("incoming", &call).await;
    chair.socket.vanish();
    for phone in [&mut zhang, &mut ben] {
        assert_eq!(phone.hears("cancelled", &call).await["reason"], "timeout");
    }
    // The same for one who talks.
    let call = zhang.start(json!({ "to": [ben.id()] })).await;
    ben.hears("incoming", &call).await;
    ben.on("accept", &call).await.result();
    zhang.hears("answered", &call).await;
    ben.socket.vanish();
    assert_eq!(zhang.hears("ended", &call).await["reason"], "timeout");
}

on_each_server! {
    async fn every_node_with_a_socket_of_a_callee_rings_and_stops(server) {
        let _eim = eim_with(&server.eim_section()).await;
        // A component's address is one connection's: the second node asks in its own name from its own component.
        let own_name = |section: String| -> String {
            section.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect()
        };
        let node = |id: &str, section: &str| {
            Gateway::with(&format!("{CLIENTS}\n{section}\n{BEN}\n[node]\nid = \"{id}\"\n"))
        };
        let one = node("one", &server.component_section(COMPONENT)).start().await;
        let two = node("two", &own_name(server.component_section(SECOND_COMPONENT))).start().await;
        let mut chair = Phone::of(one.client().login_client("chair", "the chair's secret").await).await;
        let mut here = Phone::of(one.client().login_client("ben", "ben's secret").await).await;
        let mut there = Phone::of(two.client().login_client("ben", "ben's secret").await).await;
        let call = chair.start(json!({ "to": ["ben"] })).await;
        here.hears("incoming", &call).await;
        there.hears("incoming", &call).await;
        there.on("accept", &call).await.result();
        for phone in [&mut chair, &mut here, &mut there] {
            assert_eq!(phone.hears("answered", &call).await["userId"], "ben");
        }
        chair.on("hangup", &call).await.result();
        for phone in [&mut here, &mut there] {
            phone.hears("ended", &call).await;
        }
    }
}

#[tokio::test]
async fn number_of_calls_and_callees_is_bounded() {
    let bounds = "[limits]\ncalls = 3\ncalls_per_user = 2\ncall_callees = 2\n";
    let fixture = Fixture::with(&format!("{BEN}{bounds}")).await;
    let [mut chair, mut zhang, mut ben] = three(&fixture).await;
    let refused = |answer: Answer| answer.refused(-32029)["data"]["key"].clone();
    let many = json!({ "to": ["u1", "u2", "u3"] });
    assert_eq!(refused(chair.socket.call("call.start", many).await), "call.tooManyCallees");
    for callee in ["u1", "u2"] {
        chair.start(json!({ "to": [callee] })).await;
    }
    assert_eq!(refused(chair.socket.call("call.start", json!({ "to": ["u3"] })).await), "call.tooManyOfUser");
    zhang.start(json!({ "to": ["u1"] })).await;
    assert_eq!(refused(ben.socket.call("call.start", json!({ "to": ["u4"] })).await), "call.tooMany");
    chair.socket.call("call.start", json!({ "to": [chair.id()] })).await.refused(-32602);
    let long = json!({ "callId": "c1", "reason": "x".repeat(65) });
    chair.socket.call("call.decline", long).await.refused(-32602);
}
