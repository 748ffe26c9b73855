//! An EIM that isn't ours: its own namespaces, XML in its events, users by address, dates as text, words of its own for
//! roles and reasons. The test plays it, on a real XMPP server and a real RabbitMQ; the gateway reads it by the files of
//! `fixtures/acme/` alone.

use std::path::Path;

use confgate::xmpp::xml::Stanza;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixture::CLIENTS;
use crate::support::component::Component;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Builder, Gateway};
use crate::support::rabbitmq::{Body, Foreign, RabbitMq};
use crate::support::wait::until_true;
use crate::support::xml_stream::{self, Received};
use crate::support::xmpp_server::{COMPONENT, DIALECT, XmppServer};

const NODE: &str = "gw1";
const QUEUE: &str = "confgate.gw1";
const DEAD: &str = "confgate.dead";
/// Where every message goes that a test publishes: the broker refuses one that no queue takes.
const RECORD: &str = "record";
const ROOM_KEY: &str = "rooms.r1.occupants";
/// A key without a room, bound for all.
const NEWS_KEY: &str = "rooms.news";
/// Events of rooms that nobody here is in.
const FLOOD: usize = 3000;

/// Where values stand in this EIM's state of a room.
fn room_rules() -> Value {
    let occupant = json!({
        "userId": { "path": "@jid", "type": "user" }, "name": { "path": "nick", "type": "name" },
        "role": { "path": "@affiliation", "map": { "owner": "chair", "*": "member" } },
        "state": { "path": "@here", "map": { "yes": "joined", "no": "reconnecting" }, "default": "joined" },
        "audio": { "path": "@mic", "map": { "1": "on", "0": "off" }, "default": "off" },
        "video": { "path": "@cam", "map": { "1": "on", "0": "off" }, "default": "off" },
        "hand": { "path": "@hand", "type": "boolean", "default": false },
        "joinedAt": { "path": "@since", "type": "dateTime" },
    });
    json!({
        "epoch": { "path": "@boot", "type": "string" }, "seq": { "path": "@n", "type": "integer" },
        "conference": { "path": ".", "type": "object", "members": conference_rules() },
        "members": { "path": "occupant", "type": "object", "list": true, "default": [], "members": occupant },
        "waiting": { "path": "knocking", "type": "object", "list": true, "default": [], "members": occupant },
        "messages": { "path": "said", "type": "string", "list": true, "default": [] },
    })
}

fn conference_rules() -> Value {
    json!({
        "confId": { "path": "@room", "type": "string" }, "confName": { "path": "title", "type": "name" },
        "state": { "path": "@open", "map": { "yes": 0, "no": 31 } },
        "startAt": { "path": "@start", "type": "seconds", "default": null },
        "chair": { "path": "@owner", "type": "user" },
        "locked": { "path": "@locked", "type": "boolean", "default": false },
        "lobby": { "path": "@lobby", "type": "boolean", "default": false },
        "mutePolicy": { "path": "@policy", "type": "string", "default": "free" },
        "mainVideo": { "path": "@stage", "type": "user", "default": null },
    })
}

/// A built-in entry, asked in this EIM's words.
fn entry(folder: &str, name: &str, element: &str, result: &Value) -> (String, String) {
    let path = format!("{folder}/{name}.json");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema").join(&path);
    let text = std::fs::read_to_string(file).expect("the repository holds the schema");
    let mut entry: Value = serde_json::from_str(&text).expect("it is JSON");
    let x_iq = &mut entry["x-iq"];
    (x_iq["to"], x_iq["ns"], x_iq["element"]) = (json!("acme.{domain}"), json!("urn:acme:room"), json!(element));
    x_iq["result"] = result.clone();
    x_iq.as_object_mut().expect("it is an object").remove("wrapper");
    (format!("schema/{path}"), entry.to_string())
}

fn in_its_words(mut gateway: Builder) -> Builder {
    let list = json!({ "conferences": { "path": "room", "type": "object", "list": true, "default": [],
        "members": conference_rules() } });
    let nothing = json!({});
    for (path, text) in [
        entry("methods", "conference.list", "rooms", &list),
        entry("methods", "conference.control", "act", &json!({ "seq": { "path": "@n", "type": "integer" } })),
        entry("eim", "eim.subscribe", "watch", &room_rules()),
        entry("eim", "eim.snapshot", "state", &room_rules()),
        entry("eim", "eim.conference.get", "about", &conference_rules()),
        entry("eim", "eim.unsubscribe", "unwatch", &nothing),
        entry("eim", "eim.presence", "presence", &nothing),
    ] {
        gateway = gateway.file(&path, &text);
    }
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/acme/events");
    for file in std::fs::read_dir(events).expect("the fixtures are there").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("a file of the schema is text");
        let name = file.file_name().into_string().expect("its name is ASCII");
        gateway = gateway.file(&format!("schema/events/{name}"), &text);
    }
    gateway
}

const OCCUPANT: &str = "<occupant jid='chair@ips3000/desk' affiliation='owner' mic='1' since='2019-05-07T10:55:00Z'>\
    <nick>Chair</nick></occupant>";

/// What this EIM says of its only room.
fn room(element: &str) -> String {
    format!(
        "<{element} xmlns='urn:acme:room' room='r1' boot='b1' n='4' open='yes' owner='chair@ips3000'>\
         <title>Weekly</title>{OCCUPANT}</{element}>"
    )
}

fn reply(asked: &xml_stream::Stanza) -> String {
    let is =
        |element: &str| asked.text.contains(&format!("<{element} ")) || asked.text.contains(&format!("<{element}/"));
    let locked = "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
        <room-locked xmlns='urn:acme:errors'/></error>";
    match () {
        () if asked.text.contains("urn:xmpp:ping") => asked.result("").to_xml(),
        () if is("rooms") => asked.result(&format!("<rooms xmlns='urn:acme:room'>{}</rooms>", room("room"))).to_xml(),
        () if is("watch") => asked.result(&room("watch")).to_xml(),
        () if is("state") => asked.result(&room("state")).to_xml(),
        () if is("about") => asked.result(&room("about")).to_xml(),
        () if is("unwatch") || is("presence") => asked.result("").to_xml(),
        () if is("act") => {
            let mut refused = asked.result(locked);
            refused.kind = "error".to_owned();
            refused.to_xml()
        }
        () => asked.error("cancel", "service-unavailable").to_xml(),
    }
}

/// Answers what the gateway asks. What it answers to this EIM's own questions is given to the test.
fn answer(
    mut acme: Component,
) -> (JoinHandle<()>, tokio::sync::mpsc::Sender<String>, tokio::sync::mpsc::Receiver<xml_stream::Stanza>) {
    let (send, mut to_send) = tokio::sync::mpsc::channel::<String>(64);
    let (answered, answers) = tokio::sync::mpsc::channel(64);
    let task = tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(text) = to_send.recv() => acme.send(&text).await,
                next = acme.next_within(std::time::Duration::from_secs(3600)) => {
                    let Some(Received::Stanza(stanza)) = next else { return };
                    match stanza.attr("type") {
                        "get" | "set" => acme.send(&reply(&stanza)).await,
                        // The test may have no interest in it.
                        _ => drop(answered.try_send(stanza)),
                    }
                }
            }
        }
    });
    (task, send, answers)
}

struct Scene {
    gateway: Gateway,
    task: JoinHandle<()>,
    send: tokio::sync::mpsc::Sender<String>,
    answers: tokio::sync::mpsc::Receiver<xml_stream::Stanza>,
    _server: XmppServer,
}

impl Scene {
    async fn start(events: &str) -> Self {
        let server = XmppServer::prosody().await;
        let (task, send, answers) = answer(Component::of(&server, DIALECT).await);
        let section = server.component_section(COMPONENT);
        let config = format!(
            "{CLIENTS}\n{section}schema_dir = \"schema\"\nsnapshot_interval_ms = 3600000\n{events}\n[node]\nid = \"{NODE}\"\n"
        );
        let gateway = in_its_words(Gateway::with(&config)).start().await;
        Self { gateway, task, send, answers, _server: server }
    }

    /// The chair's socket, with the room's state.
    async fn enter(&self) -> EventSocket {
        let client = self.gateway.client();
        let chair = client.login_client("chair", "the chair's secret").await;
        let mut socket = chair.open_socket().await;
        let snapshot = socket.wait_for("conference.snapshot").await;
        let conference = json!({ "confId": "r1", "confName": "Weekly", "state": 0, "startAt": null, "chair": "chair",
            "locked": false, "lobby": false, "mutePolicy": "free", "mainVideo": null });
        let chair = json!({ "userId": "chair", "name": "Chair", "role": "chair", "state": "joined", "audio": "on",
            "video": "off", "hand": false, "joinedAt": 1_557_226_500_000_u64 });
        assert_eq!(
            (&snapshot["epoch"], &snapshot["seq"], &snapshot["conference"], &snapshot["members"]),
            (&json!("b1"), &json!(4), &conference, &json!([chair]))
        );
        socket
    }

    async fn metric(&self, name: &str) -> f64 {
        self.gateway.metric(name).await.unwrap_or_default()
    }

    /// How many deliveries came out so.
    async fn outcome(&self, outcome: &str) -> f64 {
        let (_, metrics) = self.gateway.admin_get("/metrics").await;
        let begin = format!("confgate_broker_events_total{{outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok()).unwrap_or_default()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn occupants(room: &str, changes: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<occupants xmlns=\"urn:acme:room\" room=\"{room}\" boot=\"b1\" version=\"2\">{changes}</occupants>"
    )
}

/// Two changes in one message, then a third: somebody enters, a bell rings, and they are thrown out.
const ENTERS_AND_RINGS: &str = "<change n='5' kind='enter' at='1557226509.5' by='U2@ips3000/x' jid='u2@ips3000/phone' \
    affiliation='none' cam='1' since='2019-05-07T12:55:09.5+02:00'><nick>Bea</nick></change>\
    <change n='6' kind='bell' at='1557226510' by='u2@ips3000'/>";
const THROWN_OUT: &str =
    "<change n='7' kind='exit' at='1557226511' by='chair@ips3000' jid='u2@ips3000' why='thrown-out'/>";

async fn the_changes_come_at_their_numbers(socket: &mut EventSocket) {
    let member = json!({ "userId": "u2", "name": "Bea", "role": "member", "state": "joined", "audio": "off",
        "video": "on", "hand": false, "joinedAt": 1_557_226_509_500_u64 });
    let event = |seq: u64, time: u64, kind: &str, actor: &str, data: Value| json!({ "confId": "r1", "epoch": "b1", "seq": seq, "time": time, "type": kind, "actor": actor, "data": data });
    for expected in [
        event(5, 1_557_226_509_500, "member.joined", "u2", member),
        event(6, 1_557_226_510_000, "eim.bell", "u2", json!({ "by": "u2" })),
        event(7, 1_557_226_511_000, "member.left", "chair", json!({ "userId": "u2", "reason": "kicked" })),
    ] {
        let mut told = socket.expect("conference.event").await;
        // A server may write attributes in another order.
        let xml = told["data"].as_object_mut().and_then(|data| data.remove("xml"));
        let bell = xml.map(|xml| Stanza::parse(xml.as_str().expect("it is a text")).expect("it is XML"));
        let named = bell.map(|bell| (bell.name.to_string(), bell.attr("kind").map(str::to_owned)));
        assert_eq!(named.is_some(), told["type"] == "eim.bell", "{told}");
        assert!(named.is_none_or(|named| named == ("change".to_owned(), Some("bell".to_owned()))), "{told}");
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn prosody_a_foreign_eims_xml_events_come_over_rabbitmq() {
    let broker = RabbitMq::start().await;
    broker.declare(RECORD, "#").await;
    let url = broker.url();
    let mut scene = Scene::start(&format!("[events]\nmode = \"amqp\"\nurl = {url:?}\nreconnect_min_ms = 50\n")).await;
    let mut socket = scene.enter().await;
    let bound = async || broker.keys(QUEUE).await.contains(&ROOM_KEY.to_owned());
    until_true("the room's key is bound", bound).await;
    assert!(broker.keys(QUEUE).await.contains(&NEWS_KEY.to_owned()), "{:?}", broker.keys(QUEUE).await);

    let publish = async |messages: &[(&str, String)]| {
        let foreign: Vec<Foreign> =
            messages.iter().map(|(key, body)| Foreign { key, id: "x", body: Body::Text(body) }).collect();
        broker.publish(&foreign).await;
    };
    publish(&[(ROOM_KEY, occupants("r1", ENTERS_AND_RINGS)), (NEWS_KEY, occupants("r1", THROWN_OUT))]).await;
    the_changes_come_at_their_numbers(&mut socket).await;

    bad_messages_are_put_aside_or_passed_over(&broker, &scene, &publish).await;
    let said = |n: u64, text: &str| {
        occupants(
            "r1",
            &format!("<change n='{n}' kind='say' id='m{n}' at='1' by='chair@ips3000'><text>{text}</text></change>"),
        )
    };
    publish(&[(ROOM_KEY, said(8, "after the bad ones"))]).await;
    assert_eq!(socket.expect("conference.event").await["data"]["text"], "after the bad ones");
    assert_eq!(scene.metric("confgate_conferences").await, 1.0);
    the_eim_refuses_and_asks_in_its_own_words(&mut scene).await;
}

async fn bad_messages_are_put_aside_or_passed_over(
    broker: &RabbitMq,
    scene: &Scene,
    publish: &impl AsyncFn(&[(&str, String)]),
) {
    let good = occupants("r1", THROWN_OUT).replace("n='7'", "n='8'");
    let changed = |from: &str, to: &str| (ROOM_KEY, good.replace(from, to));
    let bad = [
        changed("jid='u2@ips3000'", "jid='u2@elsewhere'"),
        changed("jid='u2@ips3000'", ""),
        changed("n='8'", "n='eight'"),
        changed("n='8'", "n='18446744073709551616'"),
        changed("n='8'", ""),
        changed("at='1557226511'", "at='soon'"),
        changed("boot=\"b1\"", &format!("boot=\"{}\"", "b".repeat(100_000))),
        changed("room=\"r1\"", "room=\"r2\""),
        changed("kind='exit'", "kind='no name at all'"),
        changed("</occupants>", ""),
        changed("<?xml version=\"1.0\"?>", "<!DOCTYPE occupants [<!ENTITY a \"b\">]>"),
        (ROOM_KEY, "{}".to_owned()),
        (ROOM_KEY, format!("{}{}", "<a>".repeat(10_000), "</a>".repeat(10_000))),
    ];
    publish(&bad).await;
    until_true("all of them are put aside", async || broker.messages(DEAD).await == bad.len() as u64).await;

    let ignored = || scene.outcome("ignored");
    publish(&[changed("version=\"2\"", "version=\"1\""), changed("occupants", "topic")]).await;
    until_true("other messages are passed over", async || ignored().await == 2.0).await;
    publish(&vec![(NEWS_KEY, good.replace("\"r1\"", "\"r999\"")); FLOOD]).await;
    until_true("nothing is left", async || broker.messages(QUEUE).await == 0).await;
    assert_eq!(broker.messages(DEAD).await, bad.len() as u64);
}

/// Reasons and the question for a web address, by their files.
async fn the_eim_refuses_and_asks_in_its_own_words(scene: &mut Scene) {
    let client = scene.gateway.client();
    let chair = client.login_client("chair", "the chair's secret").await;
    let refused =
        chair.rpc("conference.control", json!({ "confId": "r1", "action": "raiseHand" })).await.refused(-32005);
    assert_eq!(refused["data"]["key"], "conference.locked", "{refused}");

    let ask = |payload: &str| format!("<iq type='get' id='ask' from='{DIALECT}' to='{COMPONENT}'>{payload}</iq>");
    scene.send.send(ask("<link xmlns='urn:acme:web' room='r1' as='host'/>")).await.expect("the EIM is there");
    let answer = scene.answers.recv().await.expect("it is answered");
    assert!(answer.attr("type") == "result" && answer.text.contains("/conference/~"), "{}", answer.text);
    let former = "<jeExtension xmlns='je:x:client:conference'><getWebAddress confId='r1'/></jeExtension>";
    scene.send.send(ask(former)).await.expect("the EIM is there");
    let answer = scene.answers.recv().await.expect("it is answered");
    assert!(answer.text.contains("service-unavailable"), "{}", answer.text);
}

#[tokio::test]
async fn prosody_a_foreign_eims_xml_events_come_over_xmpp_from_its_own_address_only() {
    let scene = Scene::start("").await;
    let mut socket = scene.enter().await;
    let message = |from: &str, changes: &str| {
        let payload = occupants("r1", changes).replace("<?xml version=\"1.0\"?>\n", "");
        format!("<message type='headline' from='{from}' to='chair%ips3000@{COMPONENT}/uc'>{payload}</message>")
    };
    let send = async |text: String| scene.send.send(text).await.expect("the EIM is there");
    send(message(DIALECT, ENTERS_AND_RINGS)).await;
    send(message(DIALECT, "<change n='seven' kind='exit' at='1'/>")).await;
    send(message(DIALECT, THROWN_OUT)).await;
    the_changes_come_at_their_numbers(&mut socket).await;
    let unreadable = async || scene.metric("confgate_events_unreadable_total").await == 1.0;
    until_true("the unreadable one is counted", unreadable).await;
    // The server lets this component speak for itself only: an address below it is still another one.
    send(message(&format!("u1@{DIALECT}"), &THROWN_OUT.replace("n='7'", "n='8'"))).await;
    let ignored = async || scene.metric("confgate_eim_messages_ignored_total").await >= 1.0;
    until_true("another sender's is none", ignored).await;
    send(message(DIALECT, "<change n='8' kind='knock' at='1'/>")).await;
    assert_eq!(socket.expect("conference.event").await["type"], "eim.knock", "and nothing before it");
}

#[tokio::test]
async fn files_of_events_that_are_wrong_are_refused_at_start_and_by_check() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/acme/events").join(name);
        serde_json::from_str::<Value>(&std::fs::read_to_string(path).expect("the fixture is there"))
            .expect("it is JSON")
    };
    let config = "[eim]\ndomain = \"ips3000\"\nschema_dir = \"schema\"\n";
    let refused = async |file: &Value, why: &str| {
        let gateway = Gateway::with(config).file("schema/events/acme.occupants.json", &file.to_string());
        let (status, said) = gateway.fail().await;
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.lines().any(|line| line.contains("acme.occupants.json") && line.contains(why)), "{said}");
        let gateway = Gateway::with(config).file("schema/events/acme.occupants.json", &file.to_string());
        let (status, printed) = gateway.check().fail().await;
        assert_eq!(status.code(), Some(1), "{printed}");
        assert!(printed.lines().any(|line| line.starts_with("FAILED schema") && line.contains(why)), "{printed}");
    };
    let mut claims = read("acme.occupants.json");
    claims["x-event"]["events"][0]["type"]["map"]["enter"] = "member.entered".into();
    refused(&claims, "x-event.events[0].type.map.enter: member.entered is no type of the vocabulary").await;
    let mut unnumbered = read("acme.occupants.json");
    unnumbered["x-event"].as_object_mut().expect("it is an object").remove("seq");
    refused(&unnumbered, "x-event.seq: is required: the EIM numbers a conference's events").await;
    let mut otherwise = read("acme.occupants.json");
    otherwise["examples"][0]["events"][0]["data"]["reason"] = "kicked".into();
    refused(&otherwise, "examples[0].events: it becomes").await;
}
