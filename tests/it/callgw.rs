//! The call gateways' addresses: who is told them, which of them, and what happens when a node dies.

use std::time::Duration;

use confgate::clock::date_ms;
use confgate::event::Role;
use confgate::ids::Secret;
use confgate::token::{CallGatewayClaims, Kind, KindKeys};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::support::call_gateway::{Node, SECRET, probed};
use crate::support::client::Client;
use crate::support::wait::until_true;

/// How soon a dead node is to be gone from the addresses.
const SOON: Duration = Duration::from_secs(5);

async fn fixture(nodes: &[&Node]) -> Fixture {
    let sections: String = nodes.iter().map(|node| node.section()).collect();
    let fixture = Fixture::with(&format!("{sections}[callgw]\nprobe_timeout_ms = 500")).await;
    probed(&fixture.gateway, nodes).await;
    fixture
}

async fn addresses(client: &Client) -> Vec<String> {
    let params = json!({ "keys": ["webrtcAddress"] });
    let told = client.rpc("config.getProperties", params).await.result();
    let told = told["webrtcAddress"].as_str().expect("with a token it is told").to_owned();
    told.split(',').filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

async fn allocate(client: &Client, conf: &str) -> Value {
    client.rpc("callgw.allocate", json!({ "confId": conf })).await.result()
}

async fn member(fixture: &Fixture, code: &str, conf: &str) -> Client {
    let guest = fixture.guest(code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    guest
}

#[tokio::test]
async fn the_address_is_for_those_with_a_token() {
    let (a, b) = (Node::start("a").await, Node::start("b").await);
    let fixture = fixture(&[&a, &b]).await;
    let nobody = fixture.gateway.client();
    let params = json!({ "keys": ["serverName", "webrtcAddress", "auth.keys", "nothing"] });
    let told = nobody.rpc("config.getProperties", params).await.result();
    assert_eq!(told, json!({ "serverName": "ips3000" }));
    let mut told = addresses(&fixture.chair().await).await;
    told.sort();
    let mut all = [a.url(), b.url()];
    all.sort();
    assert_eq!(told, all);
}

#[tokio::test]
async fn an_allocation_names_a_living_node_and_what_admits_to_it() {
    let (a, b) = (Node::start("a").await, Node::start("b").await);
    let turn = "[callgw.turn]\nurls = [\"turn:127.0.0.1:3478\"]\nsecret = \"turn\"\nttl_s = 600\n";
    let fixture = Fixture::with(&format!("{}{}{turn}", a.section(), b.section())).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("callgw.allocate", json!({ "confId": conf })).await.refused(-32003);
    until_true("a node is probed", async || !addresses(&chair).await.is_empty()).await;
    let joined = guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let given = allocate(&guest, &conf).await;
    let gateway = given["gatewayId"].as_str().unwrap();
    assert_eq!(joined["callGateway"]["gatewayId"], gateway, "join gives it already");
    let (own, other) = if gateway == "a" { (&a, &b) } else { (&b, &a) };
    assert_eq!(given["url"], own.url());
    assert_eq!(given["mode"], "group");
    until_true("the other node is probed", async || addresses(&guest).await.len() == 2).await;
    assert_eq!(allocate(&guest, &conf).await["fallbacks"], json!([other.url()]));
    assert_eq!(addresses(&guest).await[0], own.url(), "the caller's own comes first");
    let turn = &given["iceServers"][0];
    assert_eq!(turn["urls"], json!(["turn:127.0.0.1:3478"]));
    assert!(turn["username"].as_str().unwrap().ends_with(&format!(":{}", guest.user_id())), "{turn}");

    let keys = KindKeys::new(&[(gateway.to_owned(), Secret::new(SECRET))], Kind::CallGateway);
    let claims: CallGatewayClaims = keys.verify(given["token"].as_str().unwrap()).expect("signed for that node");
    assert_eq!((claims.gateway_id.as_str(), claims.conf_id.as_str()), (gateway, conf.as_str()));
    assert_eq!((claims.user_id.as_str(), claims.role), (guest.user_id(), Role::Guest));
    let left = claims.exp - date_ms() / 1000;
    assert!((50..=60).contains(&left), "{left} s");
    // It is no access token.
    let bearer = guest.bearing(given["token"].as_str().unwrap());
    bearer.rpc("conference.members", json!({ "confId": conf })).await.refused(-32001);
}

#[tokio::test]
async fn a_conference_stays_on_its_node_until_the_node_dies() {
    let (mut a, mut b) = (Node::start("a").await, Node::start("b").await);
    let fixture = fixture(&[&a, &b]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let first = member(&fixture, &code, &conf).await;
    let given = allocate(&first, &conf).await;
    for _ in 0..5 {
        assert_eq!(allocate(&member(&fixture, &code, &conf).await, &conf).await["url"], given["url"]);
    }
    let (elsewhere, _) = fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": elsewhere })).await.result();
    assert_ne!(allocate(&chair, &elsewhere).await["url"], given["url"], "another conference goes where there is less");

    let (dead, alive) = if given["gatewayId"] == "a" { (&mut a, &mut b) } else { (&mut b, &mut a) };
    dead.kill().await;
    let killed = Instant::now();
    until_true("the dead node is gone", async || addresses(&first).await == [alive.url()]).await;
    println!("a dead node is out of the addresses: {:?}", killed.elapsed());
    assert!(killed.elapsed() < SOON, "it took {:?}", killed.elapsed());
    let next = allocate(&first, &conf).await;
    assert_eq!((next["url"].as_str(), &next["fallbacks"]), (Some(&*alive.url()), &json!([])));

    // One that comes back is there again, and the conference stays where it went.
    dead.revive().await;
    until_true("the node is back", async || addresses(&first).await.len() == 2).await;
    assert_eq!(allocate(&first, &conf).await["url"], alive.url());
}

#[tokio::test]
async fn without_a_living_node_operators_alone_are_told_why() {
    let mut a = Node::start("a").await;
    let fixture = fixture(&[&a]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = member(&fixture, &code, &conf).await;
    a.kill().await;
    until_true("it is gone", async || addresses(&guest).await.is_empty()).await;
    let refused = guest.rpc("callgw.allocate", json!({ "confId": conf })).await.refused(-32020);
    assert_eq!((&refused["data"]["key"], refused["data"].get("nodes")), (&json!("callgw.none"), None));
    guest.rpc("callgw.list", json!({})).await.refused(-32003);

    let operator = fixture.operator().await;
    let joined = operator.rpc("conference.join", json!({ "confId": conf })).await.result();
    assert_eq!(joined["callGateway"], Value::Null, "a conference is more than its media");
    let refused = operator.rpc("callgw.allocate", json!({ "confId": conf })).await.refused(-32020);
    let told = &refused["data"]["nodes"][0];
    assert!(told["gatewayId"] == "a" && told["reason"].is_string(), "{refused}");
    let listed = operator.rpc("callgw.list", json!({})).await.result();
    assert_eq!((&listed["nodes"][0]["gatewayId"], &listed["nodes"][0]["healthy"]), (&json!("a"), &json!(false)));
}
