//! Members' view when a call gateway dies, falls silent, is drained or fails them: `callgw.changed` and another
//! gateway, within seconds. The nodes use the control link over wss.

use std::time::Duration;

use confgate::clock::date_ms;
use confgate::node_protocol::{FromNode, ToNode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::{CLIENTS, Fixture};
use crate::support::call_gateway::{Node, REPORT_INTERVAL, Trust, load, probed};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{SECOND_COMPONENT, XmppServer};

/// From a node's death until every member has been told where to go.
const SOON: Duration = Duration::from_secs(5);

/// A gateway with these nodes, each linked.
pub async fn fixture(trust: &Trust, nodes: &[&Node]) -> Fixture {
    fixture_with(&trust.hasty_section(), nodes).await
}

pub async fn fixture_with(section: &str, nodes: &[&Node]) -> Fixture {
    let sections: String = nodes.iter().map(|node| node.section()).collect();
    let fixture = Fixture::with(&format!("{sections}{section}")).await;
    probed(&fixture.gateway, nodes).await;
    linked(&fixture, nodes.len()).await;
    fixture
}

/// Waits until so many nodes report their load.
async fn linked(fixture: &Fixture, count: usize) {
    let operator = fixture.operator().await;
    until_true("every node reports", async || {
        list(&operator).await.iter().filter(|node| node["load"].is_number()).count() == count
    })
    .await;
}

async fn list(operator: &Client) -> Vec<Value> {
    let listed = operator.rpc("callgw.list", json!({})).await.result();
    listed["nodes"].as_array().expect("a list").clone()
}

async fn listed(operator: &Client, id: &str) -> Value {
    list(operator).await.into_iter().find(|node| node["gatewayId"] == id).expect("it is configured")
}

/// A member with a socket, and where they were sent.
pub struct Member {
    pub client: Client,
    pub socket: EventSocket,
    pub gateway: String,
}

pub async fn member(fixture: &Fixture, code: &str, conf: &str) -> Member {
    let client = fixture.guest(code, "Guest").await;
    let mut socket = client.open_socket().await;
    let joined = client.rpc("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let gateway = joined["callGateway"]["gatewayId"].as_str().unwrap_or_default().to_owned();
    Member { client, socket, gateway }
}

/// Which of the two the conference is at, and the other.
fn split<'a>(at: &str, a: &'a mut Node, b: &'a mut Node) -> (&'a mut Node, &'a mut Node) {
    if at == a.id { (a, b) } else { (b, a) }
}

async fn allocate(client: &Client, conf: &str) -> Value {
    client.rpc("callgw.allocate", json!({ "confId": conf })).await.result()
}

#[tokio::test]
async fn members_of_a_dead_node_are_told_and_moved_within_five_seconds() {
    let trust = Trust::new();
    let (mut a, mut b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let fixture = fixture_with(&trust.section(), &[&a, &b]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(&fixture, &code, &conf).await);
    }
    chair.rpc("conference.update", json!({ "confId": conf, "lobby": true })).await.result();
    let mut waiting = member(&fixture, &code, &conf).await;
    assert_eq!(waiting.gateway, "", "who waits has none");

    let at = members[0].gateway.clone();
    let (dead, alive) = split(&at, &mut a, &mut b);
    dead.kill().await;
    let killed = Instant::now();
    for member in &mut members {
        let told = member.socket.wait_for("callgw.changed").await;
        assert_eq!(told, json!({ "confId": conf, "from": at, "to": alive.id, "reason": "down" }));
        assert_eq!(allocate(&member.client, &conf).await["url"], alive.url());
    }
    println!("a node died and everybody is elsewhere: {:?}", killed.elapsed());
    assert!(killed.elapsed() < SOON, "it took {:?}", killed.elapsed());
    let addresses = members[0].client.rpc("config.getProperties", json!({ "keys": ["webrtcAddress"] })).await.result();
    assert_eq!(addresses["webrtcAddress"], alive.url());

    // A waiting member learns nothing of it: its next event is its admission.
    chair.rpc("conference.control", json!({ "confId": conf, "action": "admit", "value": "all" })).await.result();
    let next = waiting.socket.next_notification(SOON).await.expect("a snapshot");
    assert_eq!(next.method, "conference.snapshot");
}

#[tokio::test]
async fn the_conferences_of_a_dead_node_are_spread_over_the_others() {
    let trust = Trust::new();
    let mut dying = Node::controlled("a", &trust).await;
    let (b, c) = (Node::controlled("b", &trust).await, Node::controlled("c", &trust).await);
    // All reports say that `b` is the better one: without a cap it would get them all.
    b.report(Some(load(0.0, false)));
    c.report(Some(load(0.4, false)));
    let fixture = fixture(&trust, &[&dying, &b, &c]).await;
    let (chair, operator) = (fixture.chair().await, fixture.operator().await);
    for id in ["b", "c"] {
        operator.rpc("callgw.drain", json!({ "gatewayId": id })).await.result();
    }
    let mut socket = chair.open_socket().await;
    for _ in 0..8 {
        let (conf, _) = fixture.conference(&chair, json!({})).await;
        let joined = chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        assert_eq!(joined["callGateway"]["gatewayId"], "a");
    }
    for id in ["b", "c"] {
        operator.rpc("callgw.drain", json!({ "gatewayId": id, "cancel": true })).await.result();
    }
    dying.kill().await;
    let mut went = Vec::new();
    for _ in 0..8 {
        went.push(socket.wait_for("callgw.changed").await["to"].clone());
    }
    let to_c = went.iter().filter(|to| **to == "c").count();
    assert!((2..=6).contains(&to_c), "{went:?}");
}

#[tokio::test]
async fn gateways_on_one_store_know_of_each_others_drains() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    let directory = tempfile::tempdir().expect("the system's directory for temporary files is writable");
    let url = format!("sqlite://{}", directory.path().join("shared.db").display());
    let more = |id: &str| {
        format!("[store]\nurl = {url:?}\n[node]\nid = \"{id}\"\n{}{}", node.section(), trust.hasty_section())
    };
    // A store has one built-in EIM at most, so theirs is at a server.
    let one = Fixture::component(XmppServer::prosody().await, &more("n1")).await;
    let section = one.server.as_ref().expect("a fixture on a server").component_section(SECOND_COMPONENT);
    // Provisioning is the first one's.
    let own: String =
        section.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect();
    let other = Gateway::with(&format!("{CLIENTS}\n{own}\n{}", more("n2"))).start().await;
    let operator = one.operator().await;
    operator.rpc("callgw.drain", json!({ "gatewayId": "a" })).await.result();
    assert_eq!(listed(&operator, "a").await["draining"], true);
    let there = other.client().login_client("operator", "the operator's secret").await;
    until_true("the other knows", async || listed(&there, "a").await["draining"] == true).await;
    let chair = other.client().login_client("chair", "the chair's secret").await;
    let (conf, _) = one.conference(&chair, json!({})).await;
    let joined = chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["callGateway"], Value::Null);
    operator.rpc("callgw.drain", json!({ "gatewayId": "a", "cancel": true })).await.result();
    until_true("the other knows", async || listed(&there, "a").await["draining"] == false).await;
    assert_eq!(allocate(&chair, &conf).await["gatewayId"], "a");
}

#[tokio::test]
async fn a_node_that_holds_its_connections_and_says_nothing_is_dead() {
    let trust = Trust::new();
    let (mut a, mut b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let fixture = fixture(&trust, &[&a, &b]).await;
    let (conf, code) = fixture.conference(&fixture.chair().await, json!({})).await;
    let mut member = member(&fixture, &code, &conf).await;
    let at = member.gateway.clone();
    let (silent, other) = split(&at, &mut a, &mut b);
    silent.report(None);
    let since = Instant::now();
    let told = member.socket.wait_for("callgw.changed").await;
    assert_eq!((&told["to"], &told["reason"]), (&json!(other.id), &json!("down")));
    let took = since.elapsed();
    println!("a node fell silent: {took:?}, reports come every {REPORT_INTERVAL:?}");
    assert!(took > REPORT_INTERVAL && took < SOON, "it took {took:?}");
    silent.report(Some(load(0.1, false)));
    let operator = fixture.operator().await;
    until_true("it is back", async || listed(&operator, &at).await["healthy"] == true).await;
    assert_eq!(allocate(&member.client, &conf).await["gatewayId"], other.id, "the conference stays where it went");
}

#[tokio::test]
async fn without_any_node_members_are_told_so_and_again_when_there_is_one() {
    let trust = Trust::new();
    let mut only = Node::controlled("only", &trust).await;
    let fixture = fixture(&trust, &[&only]).await;
    let (conf, code) = fixture.conference(&fixture.chair().await, json!({})).await;
    let mut member = member(&fixture, &code, &conf).await;
    only.kill().await;
    let told = member.socket.wait_for("callgw.changed").await;
    assert_eq!(told, json!({ "confId": conf, "from": "only", "to": null, "reason": "down" }));
    member.client.rpc("callgw.allocate", json!({ "confId": conf })).await.refused(-32020);
    only.revive().await;
    let told = member.socket.wait_for("callgw.changed").await;
    assert_eq!(told, json!({ "confId": conf, "from": null, "to": "only", "reason": "moved" }));
    assert_eq!(allocate(&member.client, &conf).await["gatewayId"], "only");
}

#[tokio::test]
async fn a_drained_node_takes_no_new_conference_and_loses_its_own_at_the_deadline() {
    let trust = Trust::new();
    let (mut a, mut b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let mut fixture = fixture(&trust, &[&a, &b]).await;
    let (chair, operator) = (fixture.chair().await, fixture.operator().await);
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let first = member(&fixture, &code, &conf).await;
    let at = first.gateway.clone();
    let (old, other) = split(&at, &mut a, &mut b);

    let far = date_ms() + 600_000;
    let drained = operator.rpc("callgw.drain", json!({ "gatewayId": at, "deadlineMs": far })).await.result();
    assert_eq!(drained, json!({ "gatewayId": at, "draining": true, "deadlineMs": far }));
    for _ in 0..5 {
        let (elsewhere, _) = fixture.conference(&chair, json!({})).await;
        let joined = chair.rpc("conference.join", json!({ "confId": elsewhere })).await.result();
        assert_eq!(joined["callGateway"]["gatewayId"], other.id);
    }
    assert_eq!(allocate(&first.client, &conf).await["gatewayId"], at, "until the deadline they stay");

    // It outlives the gateway, and so does where the conference is.
    fixture.gateway.restart().await;
    linked(&fixture, 2).await;
    let operator = fixture.operator().await;
    until_true("the drain is known again", async || listed(&operator, &at).await["draining"] == true).await;
    let mut socket = first.client.resume_socket(first.socket.vanish()).await;
    socket.expect("hello").await;
    socket.next_notification(PATIENCE).await.expect("events or a snapshot come");
    assert_eq!(allocate(&first.client, &conf).await["gatewayId"], at);

    old.take_heard();
    operator.rpc("callgw.drain", json!({ "gatewayId": at, "deadlineMs": date_ms() })).await.result();
    let told = socket.wait_for("callgw.changed").await;
    assert_eq!(told, json!({ "confId": conf, "from": at, "to": other.id, "reason": "drain" }));
    let url = other.url();
    old.hears("where its room goes", |said| matches!(said, ToNode::Move { url: to, .. } if *to == url)).await;
    assert_eq!(allocate(&first.client, &conf).await["url"], url);

    operator.rpc("callgw.drain", json!({ "gatewayId": at, "cancel": true })).await.result();
    let listed = listed(&operator, &at).await;
    assert_eq!((&listed["draining"], &listed["deadlineMs"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn a_node_that_says_that_it_stops_is_left_before_it_does() {
    let trust = Trust::new();
    let (mut a, mut b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let fixture = fixture(&trust, &[&a, &b]).await;
    let (conf, code) = fixture.conference(&fixture.chair().await, json!({})).await;
    let mut member = member(&fixture, &code, &conf).await;
    let at = member.gateway.clone();
    let (stopping, other) = split(&at, &mut a, &mut b);
    stopping.report(Some(FromNode::Draining { deadline_ms: date_ms() + 30_000 }));
    let told = member.socket.wait_for("callgw.changed").await;
    assert_eq!((&told["to"], &told["reason"]), (&json!(other.id), &json!("drain")));
}

#[tokio::test]
async fn reports_of_several_members_move_a_conference_and_those_of_one_dont() {
    let trust = Trust::new();
    let (mut a, mut b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let fixture = fixture(&trust, &[&a, &b]).await;
    let (conf, code) = fixture.conference(&fixture.chair().await, json!({})).await;
    let (one, mut two) = (member(&fixture, &code, &conf).await, member(&fixture, &code, &conf).await);
    let at = one.gateway.clone();
    let (failing, other) = split(&at, &mut a, &mut b);
    let report = async |who: &Client| {
        let params = json!({ "confId": conf, "gatewayId": failing.id, "problem": "iceFailed" });
        who.rpc("callgw.report", params).await
    };
    for _ in 0..4 {
        report(&one.client).await.result();
        assert_eq!(allocate(&one.client, &conf).await["gatewayId"], at, "another try");
    }
    let stranger = fixture.chair().await;
    report(&stranger).await.result();
    assert_eq!(allocate(&one.client, &conf).await["gatewayId"], at, "who was not sent there has no say");
    report(&two.client).await.result();
    let told = two.socket.wait_for("callgw.changed").await;
    assert_eq!(told, json!({ "confId": conf, "from": at, "to": other.id, "reason": "reported" }));
    let operator = fixture.operator().await;
    assert_eq!(listed(&operator, &at).await["healthy"], false);

    let mut refused = Value::Null;
    for _ in 0..12 {
        refused = report(&one.client).await.0;
    }
    assert_eq!(refused["error"]["code"], -32029, "{refused}");
    assert_eq!(refused["error"]["data"]["key"], "callgw.tooManyReports");
}

#[tokio::test]
async fn a_conference_goes_to_the_region_that_its_first_member_names() {
    let trust = Trust::new();
    let (eu, us) = (Node::in_region("a", "eu", &trust).await, Node::in_region("b", "us", &trust).await);
    eu.report(Some(load(0.8, false)));
    let fixture = fixture(&trust, &[&eu, &us]).await;
    let chair = fixture.chair().await;
    for (region, expected) in [("eu", "a"), ("us", "b"), ("eu", "a"), ("nowhere", "b")] {
        let (conf, _) = fixture.conference(&chair, json!({})).await;
        let joined = chair.rpc("conference.join", json!({ "confId": conf, "region": region })).await.result();
        assert_eq!(joined["callGateway"]["gatewayId"], expected, "{region}");
        let given = chair.rpc("callgw.allocate", json!({ "confId": conf, "region": "us" })).await.result();
        assert_eq!(given["gatewayId"], expected, "the first one's wish counts");
    }
}
