//! What members may send is enforced at the call gateway, not only asked of browsers: what the node hears on its control
//! link, and how soon.

use std::time::Duration;

use confgate::control::ToNode;
use serde_json::json;
use tokio::time::Instant;

use crate::call_failover::{member, stage};
use crate::stage::Stage;
use crate::support::call_gateway::{Node, Trust, probed};
use crate::support::client::Client;

/// From the chair's request to the node's hearing of it.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn control(chair: &Client, conf: &str, action: &str, user: &str) -> Instant {
    let at = Instant::now();
    chair.rpc("conference.control", json!({ "confId": conf, "action": action, "userId": user })).await.result();
    at
}

fn permits(user: &str, audio: bool) -> impl Fn(&ToNode) -> bool {
    move |said| matches!(said, ToNode::Permit { name, audio: a, video: true, .. } if name.as_str() == user && *a == audio)
}

fn expels(user: &str) -> impl Fn(&ToNode) -> bool {
    move |said| matches!(said, ToNode::Expel { name, .. } if name.as_str() == user)
}

#[tokio::test]
async fn mute_unmute_leave_kick_and_end_reach_the_node_at_once() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    let stage = stage(&trust, &[&node]).await;
    let chair = stage.chair().await;
    let (conf, code) = stage.conference(&chair, json!({})).await;
    let (one, two) = (member(&stage, &code, &conf).await, member(&stage, &code, &conf).await);
    let (first, second) = (one.client.user_id(), two.client.user_id());
    node.hears("that the first may speak", permits(first, true)).await;
    node.hears("that the second may speak", permits(second, true)).await;

    node.take_heard();
    let asked = control(&chair, &conf, "mute", first).await;
    let heard = node.hears("the mute", permits(first, false)).await;
    println!("a mute is at the node: {:?}", heard - asked);
    assert!(heard - asked < AT_ONCE);
    one.client.rpc("conference.control", json!({ "confId": conf, "action": "openCamera" })).await.result();
    control(&chair, &conf, "unmute", first).await;
    node.hears("the unmute", permits(first, true)).await;

    let leaving = confgate::ids::now_ms();
    one.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
    node.hears("the leave", expels(first)).await;
    let ours = node.take_heard().into_iter().find(expels(first)).expect("just heard");
    let ToNode::Expel { issued_until, room, .. } = ours else { panic!("{ours:?}") };
    assert_eq!(room.as_str(), conf);
    assert!((leaving..=confgate::ids::now_ms()).contains(&issued_until), "tokens up to then are void");

    let asked = control(&chair, &conf, "kick", second).await;
    let heard = node.hears("the kick", expels(second)).await;
    println!("a kick is at the node: {:?}", heard - asked);
    assert!(heard - asked < AT_ONCE);

    let three = member(&stage, &code, &conf).await;
    assert_eq!(three.gateway, "a");
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    node.hears("the end", |said| matches!(said, ToNode::CloseRoom { room } if room.as_str() == conf)).await;
}

#[tokio::test]
async fn what_was_decided_while_the_control_link_was_away_is_said_when_it_opens() {
    let trust = Trust::new();
    let mut node = Node::controlled("a", &trust).await;
    let stage = stage(&trust, &[&node]).await;
    let chair = stage.chair().await;
    let (conf, code) = stage.conference(&chair, json!({})).await;
    let (over, over_code) = stage.conference(&chair, json!({})).await;
    let (one, two) = (member(&stage, &code, &conf).await, member(&stage, &code, &conf).await);
    let _three = member(&stage, &over_code, &over).await;
    node.hears("that the second may speak", permits(two.client.user_id(), true)).await;

    node.kill().await;
    node.take_heard();
    control(&chair, &conf, "mute", one.client.user_id()).await;
    control(&chair, &conf, "kick", two.client.user_id()).await;
    chair.rpc("conference.end", json!({ "confId": over })).await.result();
    node.revive().await;
    node.hears("the mute", permits(one.client.user_id(), false)).await;
    node.hears("the kick", expels(two.client.user_id())).await;
    node.hears("the end", |said| matches!(said, ToNode::CloseRoom { room } if room.as_str() == over)).await;
}

#[tokio::test]
async fn a_gateway_that_starts_again_enforces_what_held_before() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    let mut stage = stage(&trust, &[&node]).await;
    let chair = stage.chair().await;
    let (conf, code) = stage.conference(&chair, json!({})).await;
    let one = member(&stage, &code, &conf).await;
    control(&chair, &conf, "mute", one.client.user_id()).await;
    node.hears("the mute", permits(one.client.user_id(), false)).await;
    stage.gateway.kill();
    node.take_heard();
    stage.gateway.restart().await;
    let _socket = one.client.resume_socket(one.socket.vanish()).await;
    node.hears("the mute again", permits(one.client.user_id(), false)).await;
}

#[tokio::test]
async fn a_node_that_cant_prove_who_it_is_hears_nothing_and_operators_see_why() {
    let trust = Trust::new();
    let node = Node::controlled("a", &trust).await;
    // Without `callgw.ca`, its self-signed certificate is nobody's.
    let stage = Stage::with(&node.section()).await;
    probed(&stage.gateway, &[&node]).await;
    let operator = stage.operator().await;
    let listed = async || operator.rpc("callgw.list", json!({})).await.result()["nodes"][0].clone();
    crate::support::wait::until_true("the reason is known", async || {
        listed().await["reason"].as_str().is_some_and(|why| why.contains("callgw.ca"))
    })
    .await;
    assert_eq!((&listed().await["healthy"], &listed().await["load"]), (&json!(true), &json!(null)));
    let (conf, code) = stage.conference(&stage.chair().await, json!({})).await;
    assert_eq!(member(&stage, &code, &conf).await.gateway, "a", "whether it lives is for the probe to say");
    assert_eq!(node.take_heard(), []);
}
