//! An EIM that isn't ours and has no numbers for its events (`support/meet_eim.py`): its own address, namespace and words,
//! XML events over RabbitMQ. It runs as a component of a real server; the gateway reads it by the files of
//! `fixtures/meet/` and those made here of the built-in ones, numbers its events, and keeps seats and presence itself.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::end_to_end::whole_story;
use crate::fixture::{CLIENTS, Fixture};
use crate::support::gateway::{Builder, Gateway};
use crate::support::process::Process;
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, DIALECT, XmppServer};

/// This EIM's words for what it is asked.
const WORDS: [(&str, &str, &str); 15] = [
    ("methods", "conference.create", "open-room"),
    ("methods", "conference.list", "rooms"),
    ("methods", "conference.get", "room"),
    ("methods", "conference.join", "enter"),
    ("methods", "conference.leave", "exit"),
    ("methods", "conference.members", "occupants"),
    ("methods", "conference.control", "act"),
    ("methods", "conference.sendMessage", "say"),
    ("methods", "conference.messages", "lines"),
    ("methods", "conference.end", "close-room"),
    ("eim", "eim.conference.find", "find-room"),
    ("eim", "eim.conference.get", "about"),
    ("eim", "eim.snapshot", "state"),
    ("eim", "eim.account.create", "make-visitor"),
    ("eim", "eim.account.delete", "drop-visitor"),
];
/// What it has no need to be asked.
const UNASKED: [&str; 6] =
    ["eim.subscribe", "eim.unsubscribe", "eim.presence", "eim.resetNode", "eim.user.subscribe", "eim.user.unsubscribe"];

/// A place in the built-in EIM's answer, as this one has it.
fn place(path: &str) -> String {
    let words = [
        ("conference/call", "call"),
        ("@messageId", "@id"),
        ("conference", "room"),
        ("members/", ""),
        ("waiting/", "knocking-"),
        ("messages/", ""),
        ("member", "occupant"),
        ("message", "line"),
        ("@confId", "@id"),
        ("@confName", "@title"),
        ("@state", "@open"),
        ("@chair", "@owner"),
        ("@userId", "@jid"),
        ("@name", "@nick"),
        ("@role", "@rank"),
        ("@audio", "@mic"),
        ("@video", "@cam"),
        ("@unmuteAsked", "@invited"),
        ("@joinedAt", "@since"),
        ("@time", "@at"),
    ];
    words.iter().fold(path.to_owned(), |path, (ours, theirs)| path.replace(ours, theirs))
}

/// The rules of a result in this EIM's words. `member`: they are those of a member.
fn translate(rules: &mut Value, is_member: bool) {
    for (name, rule) in rules.as_object_mut().into_iter().flatten() {
        if let Some(path) = rule["path"].as_str().map(place) {
            rule["path"] = path.into();
        }
        if rule.get("members").is_some() {
            let of_members = ["member", "members", "waiting"].contains(&name.as_str());
            translate(&mut rule["members"], of_members);
        }
        let map = match name.as_str() {
            "userId" if is_member => json!({ "path": "@jid", "type": "user" }),
            "userId" if rule["path"] == "@jid" => json!({ "path": "@by", "type": "user" }),
            "chair" | "mainVideo" => {
                rule["type"] = "user".into();
                continue;
            }
            "role" => json!({ "path": rule["path"], "map": { "owner": "chair", "visitor": "guest", "*": "member" } }),
            "audio" => {
                json!({ "path": rule["path"], "map": { "open": "on", "closed": "off", "silenced": "forcedOff" } })
            }
            "state" if is_member => json!({ "path": "@here", "type": "string", "default": "joined" }),
            "state" => json!({ "path": rule["path"], "map": { "yes": 0, "no": 31 } }),
            "seq" => json!({ "path": "@n", "type": "integer", "default": 0 }),
            _ => continue,
        };
        *rule = map;
    }
}

fn in_its_words(mut gateway: Builder) -> Builder {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).expect("the repository holds it");
    let unasked = UNASKED.map(|name| ("eim", name, name));
    for (folder, name, element) in WORDS.into_iter().chain(unasked) {
        let text = read(&root.join(format!("rpc-schema/{folder}/{name}.json")));
        let mut entry: Value = serde_json::from_str(&text).expect("it is JSON");
        let x_iq = entry["x-iq"].as_object_mut().expect("the EIM answers it");
        x_iq.remove("wrapper");
        x_iq.insert("to".to_owned(), "acme.{domain}".into());
        x_iq.insert("ns".to_owned(), "urn:meet:rooms".into());
        x_iq.insert("element".to_owned(), element.into());
        let params = x_iq.get_mut("params").and_then(Value::as_object_mut);
        for (param, rule) in params.into_iter().flatten() {
            match param.as_str() {
                "confId" => rule["attr"] = "room".into(),
                "userId" if name == "conference.control" => rule["attr"] = "who".into(),
                _ => {}
            }
        }
        if name == "eim.account.create" {
            x_iq.insert(
                "result".to_owned(),
                json!({ "userId": { "path": "visitor@userId", "type": "string" },
                    "name": { "path": "visitor@name", "type": "name" } }),
            );
        } else if let Some(result) = x_iq.get_mut("result") {
            translate(result, false);
            if name == "conference.sendMessage" {
                result["messageId"]["path"] = "line@id".into();
                result["time"]["path"] = "line@at".into();
            }
            if name == "eim.snapshot" {
                let members = result.as_object_mut().expect("it is an object");
                members.remove("epoch");
                members.remove("seq");
            }
        }
        gateway = gateway.file(&format!("schema/{folder}/{name}.json"), &entry.to_string());
    }
    for file in ["meet.news.json", "reason.json"] {
        let text = read(&root.join("tests/it/fixtures/meet/events").join(file));
        gateway = gateway.file(&format!("schema/events/{file}"), &text);
    }
    gateway
}

struct Scene {
    gateway: Gateway,
    eim: Process,
    _broker: RabbitMq,
    _server: XmppServer,
}

impl Scene {
    /// `fault`: what goes wrong with the EIM's events.
    async fn start(fault: &str, more: &str) -> Self {
        let (server, broker) = (XmppServer::prosody().await, RabbitMq::start().await);
        let door = server.door(DIALECT);
        let port = door.port.address();
        let mut command = Command::new("/usr/bin/python3");
        command.args(["tests/it/support/meet_eim.py", &port.ip().to_string(), &port.port().to_string()]);
        command.args([DIALECT, door.secret, &broker.url(), fault]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let eim = Process::start("meet_eim", &mut command);
        let is_ready = eim.line(PATIENCE, |line| (line.text == "ready").then_some(())).await;
        assert!(is_ready.is_some(), "the EIM isn't ready: {:?}", texts(&eim));
        let (section, url) = (server.component_section(COMPONENT), broker.url());
        let config = format!(
            "{CLIENTS}\n{section}schema_dir = \"schema\"\nsnapshot_interval_ms = 1000\n[events]\nmode = \"amqp\"\n\
             numbered = \"gateway\"\nurl = {url:?}\nreconnect_min_ms = 50\n{more}\n"
        );
        let gateway = in_its_words(Gateway::with(&config)).start().await;
        Self { gateway, eim, _broker: broker, _server: server }
    }
}

fn texts(process: &Process) -> Vec<String> {
    process.lines().into_iter().map(|line| line.text).collect()
}

/// Nobody has asked the EIM what it knows nothing of.
fn assert_only_known_questions(eim: &Process) {
    let unknown: Vec<_> = texts(eim).into_iter().filter(|text| UNASKED.contains(&text.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(!texts(eim).iter().any(|text| text.contains("Traceback")), "{:?}", texts(eim));
}

#[tokio::test]
async fn prosody_a_guest_walks_in_at_an_eim_without_numbers() {
    let Scene { gateway, eim, _broker, _server } = Scene::start("", "").await;
    whole_story(Fixture::on(gateway)).await;
    assert_only_known_questions(&eim);
}

#[tokio::test]
async fn prosody_a_guest_walks_in_at_an_eim_whose_events_come_twice() {
    let Scene { gateway, eim, _broker, _server } = Scene::start("twice", "").await;
    whole_story(Fixture::on(gateway)).await;
    assert_only_known_questions(&eim);
}

/// Half of the events never come: the roster is right all the same, and every number comes once.
#[tokio::test]
async fn prosody_events_that_an_eim_lost_come_by_comparing_rosters() {
    let Scene { gateway, eim, _broker, _server } = Scene::start("lost", "").await;
    let fixture = Fixture::on(gateway);
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut socket = chair.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    for text in ["one", "two", "three", "four"] {
        chair.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
    }
    chair.rpc("conference.control", json!({ "confId": conf, "action": "raiseHand" })).await.result();
    chair.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();
    let (mut messages, mut members) = (Vec::new(), Vec::new());
    let is_whole = |socket: &crate::support::event_socket::EventSocket| {
        let roster = socket.follower.roster(&conf);
        roster.conference.locked && roster.messages.len() == 4 && roster.members.iter().any(|m| m.hand)
    };
    while !is_whole(&socket) {
        let event = socket.expect("conference.event").await;
        match event["type"].as_str() {
            Some("message") => messages.push(event["data"]["text"].clone()),
            Some("member.joined") => members.push(event["data"]["userId"].clone()),
            _ => {}
        }
    }
    messages.sort_by_key(Value::to_string);
    assert_eq!((json!(messages), members.len()), (json!(["four", "one", "three", "two"]), 2));
    let (_, metrics) = fixture.gateway.admin_get("/metrics").await;
    let compared = metrics.lines().find(|line| line.starts_with("confgate_numbered_events_total{from=\"compare\"}"));
    assert!(compared.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    assert_only_known_questions(&eim);
}

/// The gateway is killed with everybody in. The next process goes on with the numbers, awaits them back, and has those
/// leave who don't come.
#[tokio::test]
async fn prosody_a_killed_gateway_goes_on_with_the_numbers_that_it_gave() {
    let limits = "[limits]\ngrace_ms = 2000\nresume_window_ms = 4000\n";
    let Scene { mut gateway, eim, _broker, _server } = Scene::start("", limits).await;
    let client = gateway.client();
    let chair = client.login_client("chair", "the chair's secret").await;
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let (conf, code) = (made["confId"].as_str().expect("an id"), made["link"]["code"].as_str().expect("a code"));
    let mut socket = chair.open_socket().await;
    let snapshot = socket.wait_for("conference.snapshot").await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    socket.expect_event("member.joined").await;
    let guest = client.login_link(code, "Guest").await;
    let mut guests = guest.open_socket().await;
    guests.wait_for("conference.snapshot").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    socket.expect_event("member.joined").await;
    let last = socket.follower.roster(conf).seq;
    let left_off = socket.vanish();
    drop(guests);
    gateway.kill();
    gateway.restart().await;

    let mut socket = chair.resume_socket(left_off).await;
    socket.expect("hello").await;
    // The broker may not be back yet, which the socket is told too.
    let first = socket.wait_for("conference.event").await;
    assert_eq!(
        (&first["epoch"], &first["seq"]),
        (&snapshot["epoch"], &json!(last + 1)),
        "what was missed, from the store"
    );
    let left = socket.expect_event("member.left").await;
    assert_eq!(left["data"], json!({ "userId": guest.user_id(), "reason": "timeout" }));
    assert_eq!(left["epoch"], snapshot["epoch"]);
    let has_left = async || {
        let members = chair.rpc("conference.members", json!({ "confId": conf })).await.result();
        members["members"].as_array().is_some_and(|all| all.len() == 1)
    };
    until_true("the EIM has the guest no longer", has_left).await;
    assert_only_known_questions(&eim);
}

/// Two gateways on one store would give two numbers to one event.
#[tokio::test]
async fn a_second_gateway_on_the_store_is_refused_where_gateways_number_events() {
    let server = XmppServer::prosody().await;
    let config = |node: &str, more: &str| {
        let section = server.component_section(COMPONENT);
        format!("{section}\n[events]\nnumbered = \"gateway\"\n[node]\nid = \"{node}\"\nlease_ms = 2000\n{more}")
    };
    let first = Gateway::with(&config("first", "")).start().await;
    let database = first.directory().join("data/confgate.db");
    let store = format!("[store]\nurl = \"sqlite:{}\"\n", database.display());
    let (status, written) = Gateway::with(&config("second", &store)).fail().await;
    assert_eq!(status.code(), Some(1), "{written}");
    assert!(written.contains("\"gateway\" is for one gateway node alone, and node first is running"), "{written}");
}
