//! An EIM that isn't ours and has no numbers for its events (`examples/dialects/unnumbered-xml/eim.py`): its own address,
//! namespace and words, XML events over RabbitMQ. It runs as a component of a real server; the gateway reads it by the
//! files of that folder, numbers its events, and keeps seats and presence itself.

mod nodes;
mod restarts;

use std::process::Command;

use serde_json::{Value, json};

use crate::end_to_end::whole_story;
use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::BASE;
use crate::support::gateway::{Builder, Gateway};
use crate::support::process::Process;
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, DIALECT, XmppServer};

/// What it has no need to be asked.
const UNASKED: [&str; 6] = ["subscribe", "unsubscribe", "presence", "resetNode", "watch", "unwatch"];

const DIALECT_FOLDER: &str = "examples/dialects/unnumbered-xml";

struct Scene {
    gateway: Gateway,
    eim: Process,
    _broker: RabbitMq,
    _server: XmppServer,
}

impl Scene {
    /// `fault`: what goes wrong with the EIM's events.
    async fn start(fault: &str, more: &str) -> Self {
        Self::with(fault, more, |gateway| gateway).await
    }

    /// The same with files beside the dialect's.
    async fn with(fault: &str, more: &str, own_files: impl FnOnce(Builder) -> Builder) -> Self {
        let (eim, broker, server, gateway) = parts(fault, more).await;
        Self { gateway: own_files(gateway).start().await, eim, _broker: broker, _server: server }
    }
}

/// The EIM, what it needs, and a gateway that isn't started yet.
async fn parts(fault: &str, more: &str) -> (Process, RabbitMq, XmppServer, Builder) {
    let (server, broker) = (XmppServer::prosody().await, RabbitMq::start().await);
    let eim = start_eim(&server, &broker.url(), fault).await;
    let (section, url) = (server.component_section(COMPONENT), broker.url());
    let over = format!("{CLIENTS}\n{section}[events]\nurl = {url:?}\nreconnect_min_ms = 50\n{more}\n");
    (eim, broker, server, Gateway::of_folder(DIALECT_FOLDER, &over))
}

/// `url`: the broker's, or `xmpp`; `more`: what goes wrong with its events, or the file in which it keeps its rooms.
async fn start_eim(server: &XmppServer, url: &str, more: &str) -> Process {
    let door = server.door(DIALECT);
    let port = door.port.address();
    let mut command = Command::new("/usr/bin/python3");
    command.args([&format!("{DIALECT_FOLDER}/eim.py"), &port.ip().to_string(), &port.port().to_string()]);
    command.args([DIALECT, door.secret, url, more]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let eim = Process::start("meet_eim", &mut command);
    let is_ready = eim.line(PATIENCE, |line| (line.text == "ready").then_some(())).await;
    assert!(is_ready.is_some(), "the EIM isn't ready: {:?}", texts(&eim));
    eim
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

/// What it doesn't have are a main video, a lobby and an address book, and a lock is a change of the room like any other;
/// it is never told of sockets.
#[tokio::test]
async fn prosody_a_check_of_an_eim_without_numbers_says_what_it_lacks() {
    let (eim, _broker, _server, gateway) = parts("", "").await;
    let (status, said) = gateway.check().argument("--eim").argument("--json").fail().await;
    let rows: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let names = |outcome: &str| -> Vec<&str> {
        let of_outcome = rows.iter().filter(|row| row["outcome"] == outcome);
        of_outcome.filter_map(|row| row["operation"].as_str()).collect()
    };
    let lacks = [
        "disco",
        "conference.control setMainVideo",
        "conference.update",
        "event conference.locked",
        "event conference.unlocked",
        "org.contacts.departments",
        "org.contacts.users",
        "org.contacts.search",
        "org.user.createUser",
    ];
    assert_eq!(names("failed"), lacks, "{said}");
    let never = ["eim.resetNode", "eim.user.subscribe", "event conference.created", "eim.subscribe", "eim.presence"];
    assert!(never.iter().all(|row| names("not asked").contains(row)), "{said}");
    assert_eq!(status.code(), Some(0), "every must has passed: {said}");
    assert_only_known_questions(&eim);
}

/// A request and an event of which the gateway knows by two files only.
#[tokio::test]
async fn prosody_an_operation_of_the_eims_own_goes_both_ways() {
    let polls = |gateway: Builder| gateway.files("schema", "examples/dialects/own-operation/schema");
    let Scene { gateway, eim, _broker, _server } = Scene::with("", "", polls).await;
    let fixture = Fixture::on(gateway);
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let mut socket = guest.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    let poll = json!({ "confId": conf, "question": "Lunch & tea?", "options": ["now", "later <2 h"] });
    let made = chair.rpc("poll.open", poll.clone()).await.result();
    let told = socket.expect_event("eim.poll.opened").await;
    assert_eq!((&told["actor"], &told["seq"]), (&json!(chair.user_id()), &json!(socket.follower.roster(&conf).seq)));
    let data = json!({ "pollId": made["pollId"], "question": poll["question"], "options": poll["options"] });
    assert_eq!(told["data"], data);
    // Its schema is checked, and its EIM's refusals come back, as for any method.
    let one = json!({ "confId": conf, "question": "?", "options": ["only one"] });
    chair.rpc("poll.open", one).await.refused(-32602);
    let other = json!({ "confId": "r999", "question": "?", "options": ["a", "b"] });
    chair.rpc("poll.open", other).await.refused(-32004);

    let reference = fixture.gateway.client().rpc("rpc.discover", json!({})).await.result();
    let methods = reference["methods"].as_array().expect("OpenRPC lists methods");
    assert!(methods.iter().any(|method| method["name"] == "poll.open"));
    let document = fixture.gateway.client().get(&format!("{BASE}/asyncapi.json")).await.json();
    let event = &document["components"]["schemas"]["EimPollOpenedEvent"];
    assert_eq!(event["properties"]["data"]["required"], json!(["pollId", "question", "options"]));
    assert_only_known_questions(&eim);
}
