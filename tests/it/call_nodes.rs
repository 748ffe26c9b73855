//! Gateway and call gateway nodes together, all of them real: the embedded default, and nodes in processes of their own.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::call_failover::member;
use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::media::{NODE_SECRET, builtin_node};
use crate::support::wait::until_true;

async fn allocate(client: &Client, conf: &str) -> Value {
    client.rpc("callgw.allocate", json!({ "confId": conf })).await.result()
}

fn token(allocated: &Value) -> Option<&str> {
    allocated["token"].as_str()
}

#[tokio::test]
async fn by_default_the_gateway_is_its_own_call_gateway_and_enforces_what_the_chair_says() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = member(&fixture, &code, &conf).await;
    let given = allocate(&guest.client, &conf).await;
    assert_eq!(given["url"], format!("wss://{}{BASE}/callgw", fixture.gateway.http()));
    let user = guest.client.user_id();
    let mut media = guest.client.call_socket(token(&given)).await.expect("the token admits");
    media.join(&conf, user).await;
    let control = async |action: &str| {
        let params = json!({ "confId": conf, "action": action, "userId": user });
        chair.rpc("conference.control", params).await.result();
    };
    control("mute").await;
    assert_eq!(media.wait_for("enforce").await, json!({ "id": "enforce", "audio": false, "video": true }));
    control("unmute").await;
    assert_eq!(media.wait_for("enforce").await["audio"], true);
    control("kick").await;
    let (errors, code) = media.closed().await;
    assert_eq!((errors, code), (vec!["expelled".to_owned()], 4003));
    let mut again = guest.client.call_socket(token(&given)).await.expect("a socket alone is no admission");
    again.send(json!({ "id": "joinRoom", "room": conf, "name": user })).await;
    assert_eq!(again.closed().await, (vec!["expelled".to_owned()], 4003), "their token is void");
}

/// A node in a process of its own.
async fn node(id: &str) -> Gateway {
    let own = format!("[node]\nid = \"{id}\"\n{}[callgw]\nthreads = 1\nreport_interval_ms = 200\n", builtin_node(id));
    Gateway::media(&own).start().await
}

#[tokio::test]
async fn members_of_a_dead_real_node_join_another_with_their_new_allocation() {
    let mut nodes = [("m1", node("m1").await), ("m2", node("m2").await)];
    let directory = tempfile::tempdir().expect("the system's directory for temporary files is writable");
    let (mut config, mut trusted) = (String::new(), String::new());
    for (id, node) in &nodes {
        let url = format!("wss://{}{BASE}/callgw", node.http());
        let entry = format!("id = {id:?}\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n");
        write!(config, "[[callgw.nodes]]\n{entry}").expect("a text takes more");
        trusted += &std::fs::read_to_string(node.certificate()).expect("a node has a certificate");
    }
    let ca = directory.path().join("nodes.pem");
    std::fs::write(&ca, trusted).expect("the directory is writable");
    let fixture = Fixture::with(&format!("{config}[callgw]\nca = {ca:?}\nreport_interval_ms = 200\n")).await;
    let operator = fixture.operator().await;
    until_true("both nodes report", async || {
        let listed = operator.rpc("callgw.list", json!({})).await.result();
        listed["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["load"].is_number()))
    })
    .await;

    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut guest = member(&fixture, &code, &conf).await;
    let user = guest.client.user_id().to_owned();
    let given = allocate(&guest.client, &conf).await;
    nodes.sort_by_key(|(id, _)| *id != guest.gateway);
    let [(_, dying), (alive, living)] = &mut nodes;
    let mut media = dying.client().call_socket(token(&given)).await.expect("the token admits");
    media.join(&conf, &user).await;

    dying.kill();
    let told = guest.socket.wait_for("callgw.changed").await;
    assert_eq!((&told["to"], &told["reason"]), (&json!(alive), &json!("down")));
    let given = allocate(&guest.client, &conf).await;
    let mut media = living.client().call_socket(token(&given)).await.expect("the new token admits");
    media.join(&conf, &user).await;
    let params = json!({ "confId": conf, "action": "mute", "userId": user });
    chair.rpc("conference.control", params).await.result();
    assert_eq!(media.wait_for("enforce").await["audio"], false, "enforced there too");
}
