//! A node that is gone: another one answers for its members, who are away, then gone, exactly once.

use std::time::{Duration, Instant};

use confgate::clock::Moment;
use confgate::config::Store as StoreSettings;
use confgate::ids::Secret;
use confgate::store::Store;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Cluster, LEASE_MS, enter, id_of, name, state_of, until_state};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::{PATIENCE, until_true};

const GRACE_MS: u64 = 3000;
/// A renewal, a look and a busy machine later.
const NOTICED: Duration = Duration::from_millis(LEASE_MS + 3000);

fn grace() -> String {
    format!("[limits]\ngrace_ms = {GRACE_MS}\nresume_window_ms = 30000\n")
}

/// A conference whose chair watches from the second node, and whose guest is at the first.
struct Scene {
    cluster: Cluster,
    conf: String,
    chair: Client,
    watcher: EventSocket,
    guest: Client,
    socket: EventSocket,
}

impl Scene {
    async fn start(nodes: usize) -> Self {
        Self::of(Cluster::start(nodes, &grace()).await).await
    }

    async fn of(cluster: Cluster) -> Self {
        let chair = cluster.chair(1).await;
        let (conf, code) = cluster.conference(&chair).await;
        let mut watcher = enter(&chair, &conf).await;
        let guest = cluster.guest(0, &code, "Guest").await;
        let mut socket = enter(&guest, &conf).await;
        socket.call("conference.control", json!({ "confId": conf, "action": "raiseHand" })).await.result();
        watcher.expect_event("member.joined").await;
        watcher.expect_event("member.updated").await;
        Self { cluster, conf, chair, watcher, guest, socket }
    }

    /// The events of the guest that the chair hears within that time: their type, with the state or the reason.
    async fn heard(&mut self, within: Duration) -> Vec<String> {
        let (deadline, mut heard) = (Instant::now() + within, Vec::new());
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let Some(event) = self.watcher.next_notification(left).await else { break };
            if event.params["data"]["userId"] == self.guest.user_id() {
                heard.push(brief(&event.params));
            }
        }
        heard
    }

    /// The time until the chair hears that of the guest; nothing else may come before.
    async fn hears(&mut self, expected: &str) -> Duration {
        let since = Instant::now();
        loop {
            let event = self.watcher.next_notification(PATIENCE).await;
            let event = event.unwrap_or_else(|| panic!("not within {PATIENCE:?}: {expected}"));
            if event.params["data"]["userId"] == self.guest.user_id() {
                assert_eq!(brief(&event.params), expected);
                return since.elapsed();
            }
        }
    }
}

fn brief(event: &Value) -> String {
    let more = event["data"]["state"].as_str().or(event["data"]["reason"].as_str()).unwrap_or_default();
    format!("{} {more}", event["type"].as_str().unwrap_or_default())
}

const AWAY: &str = "member.updated reconnecting";
const BACK: &str = "member.updated joined";
const GONE: &str = "member.left timeout";

#[tokio::test]
async fn members_of_a_killed_node_are_away_then_gone_once_and_their_seats_are_kept() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].kill();
    let noticed = scene.hears(AWAY).await;
    assert!(noticed < NOTICED, "after {noticed:?}");
    let gone = scene.hears(GONE).await;
    assert!(gone > Duration::from_millis(GRACE_MS / 2), "after {gone:?}");
    assert_eq!(scene.heard(Duration::from_millis(GRACE_MS)).await, [] as [String; 0]);

    let mut socket = scene.cluster.at(1, &scene.guest).open_socket().await;
    scene.hears("member.joined joined").await;
    let id = id_of(&scene.guest);
    while socket.follower.positions().is_empty() || socket.follower.roster(&scene.conf).member(&id).is_none() {
        socket.next_notification(PATIENCE).await.expect("they are back");
    }
    assert!(socket.follower.roster(&scene.conf).member(&id).is_some_and(|member| member.hand), "the seat was kept");
    assert_eq!(scene.heard(Duration::from_millis(GRACE_MS)).await, [] as [String; 0]);
}

#[tokio::test]
async fn member_of_a_killed_node_who_comes_back_elsewhere_stays() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].kill();
    scene.hears(AWAY).await;
    let _socket = scene.cluster.at(1, &scene.guest).open_socket().await;
    scene.hears(BACK).await;
    assert_eq!(scene.heard(Duration::from_millis(2 * GRACE_MS)).await, [] as [String; 0]);
}

#[tokio::test]
async fn next_node_answers_when_the_heir_dies_too() {
    let mut scene = Scene::start(3).await;
    scene.cluster.nodes[0].kill();
    scene.hears(AWAY).await;
    // Whichever inherited: the chair's own node lives on.
    let heir = async || {
        for (number, node) in scene.cluster.nodes.iter().enumerate().skip(1) {
            if node.metric("confgate_nodes_inherited_total").await.is_some_and(|count| count > 0.0) {
                return Some(number);
            }
        }
        None
    };
    let heir = crate::support::wait::until(PATIENCE, heir).await.expect("one of them has inherited");
    let living = 3 - heir;
    let chair = scene.cluster.at(living, &scene.chair);
    scene.cluster.nodes[heir].kill();
    until_state(&chair, &scene.conf, &scene.guest, None).await;
    let inherited = scene.cluster.nodes[living].metric("confgate_nodes_inherited_total").await;
    assert!(inherited.is_some_and(|count| count >= 1.0), "{inherited:?}");
}

#[tokio::test]
async fn members_of_a_node_that_was_stopped_longer_than_its_lease_are_back_with_it() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].signal(Signal::STOP);
    scene.hears(AWAY).await;
    scene.cluster.nodes[0].signal(Signal::CONT);
    let back = scene.hears(BACK).await;
    assert!(back < Duration::from_millis(GRACE_MS), "after {back:?}");
    assert_eq!(scene.heard(Duration::from_millis(2 * GRACE_MS)).await, [] as [String; 0]);
    scene.chair.rpc("conference.sendMessage", json!({ "confId": scene.conf, "text": "here" })).await.result();
    scene.socket.expect_event("message").await;
}

#[tokio::test]
async fn socket_of_a_stopped_node_that_was_taken_over_meanwhile_takes_nothing_back() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].signal(Signal::STOP);
    scene.hears(AWAY).await;
    let mut socket = scene.cluster.at(1, &scene.guest).open_socket().await;
    scene.hears(BACK).await;
    scene.cluster.nodes[0].signal(Signal::CONT);
    assert_eq!(scene.socket.close_code().await, 4009);
    assert_eq!(scene.heard(Duration::from_millis(2 * GRACE_MS)).await, [] as [String; 0]);
    socket.call("conference.sendMessage", json!({ "confId": scene.conf, "text": "here" })).await.result();
    socket.expect_event("message").await;
}

#[tokio::test]
async fn members_of_a_node_that_was_stopped_cleanly_are_gone_after_their_grace() {
    let mut scene = Scene::start(2).await;
    assert!(scene.cluster.nodes[0].stop(PATIENCE).await.is_some_and(|status| status.success()));
    scene.hears(AWAY).await;
    let gone = scene.hears(GONE).await;
    assert!(gone < Duration::from_millis(GRACE_MS + LEASE_MS + 3000), "after {gone:?}");
    assert_eq!(scene.heard(Duration::from_millis(GRACE_MS)).await, [] as [String; 0]);
}

#[tokio::test]
async fn members_of_a_node_that_is_back_at_once_are_not_lost_to_its_heir() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].stop(PATIENCE).await.expect("it stops");
    scene.hears(AWAY).await;
    scene.cluster.nodes[0].restart().await;
    let mut socket = scene.guest.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    until_state(&scene.chair, &scene.conf, &scene.guest, Some("joined")).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2 * GRACE_MS) {
        assert_eq!(state_of(&scene.chair, &scene.conf, &scene.guest).await.as_deref(), Some("joined"));
    }
}

#[tokio::test]
async fn stopped_node_whose_name_was_taken_ends_and_removes_nobody_who_is_back() {
    let mut scene = Scene::start(2).await;
    scene.cluster.nodes[0].signal(Signal::STOP);
    scene.hears(AWAY).await;
    let _socket = scene.cluster.at(1, &scene.guest).open_socket().await;
    scene.hears(BACK).await;
    // A process on another machine, which no lock of this one keeps from it.
    let file = scene.cluster.store.path().join("confgate.db");
    let url = Secret::new(format!("sqlite:{}", file.display()));
    let store = Store::open(&StoreSettings { url, ..StoreSettings::default() }).await.expect("the store is there");
    let other = store.acquire_lease(&name(0), Moment::now(), Duration::from_secs(60)).await.expect("it is free");
    assert!(other.fence > 1);
    scene.cluster.nodes[0].signal(Signal::CONT);
    let status = scene.cluster.nodes[0].exit(PATIENCE).await.expect("it ends");
    assert_eq!(status.code(), Some(1));
    assert_eq!(scene.heard(Duration::from_millis(2 * GRACE_MS)).await, [] as [String; 0]);
}

#[tokio::test]
async fn members_of_a_killed_node_are_followed_by_events_of_a_broker_too() {
    let mut scene = Scene::of(Cluster::with_broker(2, &grace()).await).await;
    scene.cluster.nodes[0].kill();
    scene.hears(AWAY).await;
    scene.hears(GONE).await;
    assert_eq!(scene.heard(Duration::from_millis(GRACE_MS)).await, [] as [String; 0]);
}

#[tokio::test]
async fn members_of_a_node_that_dies_while_the_eim_is_away_are_gone_when_it_is_back() {
    let mut scene = Scene::start(2).await;
    scene.cluster.eim.kill();
    scene.cluster.nodes[0].kill();
    let node = &scene.cluster.nodes[1];
    let inherited = async || node.metric("confgate_nodes_inherited_total").await == Some(1.0);
    until_true("the other node has inherited", inherited).await;
    scene.cluster.eim.restart().await;
    until_state(&scene.chair, &scene.conf, &scene.guest, Some("reconnecting")).await;
    until_state(&scene.chair, &scene.conf, &scene.guest, None).await;
}
