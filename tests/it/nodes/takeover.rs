//! A second event socket of the same user takes over, on whatever node.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::{Cluster, enter, id_of, state_of};
use crate::support::client::Client;
use crate::support::wait::until_true;

/// A socket that was taken over is closed within this.
const WITHIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn second_socket_takes_over_on_another_node_and_the_first_ones_end_removes_nobody() {
    let cluster = Cluster::start(2, "[limits]\ngrace_ms = 2500\n").await;
    let chair = cluster.chair(0).await;
    let (conf, code) = cluster.conference(&chair).await;
    let mut watcher = enter(&chair, &conf).await;
    let here = cluster.guest(0, &code, "Guest").await;
    let mut first = enter(&here, &conf).await;
    watcher.expect_event("member.joined").await;

    let there = cluster.at(1, &here);
    let opened = Instant::now();
    let mut second = there.open_socket().await;
    assert_eq!(first.close_code().await, 4009);
    assert!(opened.elapsed() < WITHIN, "after {:?}", opened.elapsed());
    second.wait_for("conference.snapshot").await;

    // Beyond the grace of a socket that had ended without a successor.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(6000) {
        if let Some(event) = watcher.next_notification(Duration::from_millis(200)).await {
            assert_ne!(event.params["type"], "member.left", "{event:?}");
            assert_ne!(event.params["data"]["state"], "reconnecting", "{event:?}");
        }
    }
    assert_eq!(state_of(&chair, &conf, &here).await.as_deref(), Some("joined"));
    second.call("conference.sendMessage", json!({ "confId": conf, "text": "still here" })).await.result();
    watcher.expect_event("message").await;

    // And back: the node that lost it takes over in its turn.
    let mut third = here.open_socket().await;
    assert_eq!(second.close_code().await, 4009);
    third.wait_for("conference.snapshot").await;
    assert!(third.follower.roster(&conf).member(&id_of(&here)).is_some());
}

#[tokio::test]
async fn of_sockets_opened_at_once_on_two_nodes_one_stays() {
    let cluster = Cluster::start(2, "").await;
    let chair = cluster.chair(0).await;
    let (conf, code) = cluster.conference(&chair).await;
    for _ in 0..5 {
        let here = cluster.guest(0, &code, "Guest").await;
        let there = cluster.at(1, &here);
        let (mut one, mut other) = tokio::join!(here.open_socket(), there.open_socket());
        let (stayed, closed) = tokio::select! {
            code = one.close_code() => (other, code),
            code = other.close_code() => (one, code),
        };
        assert_eq!(closed, 4009);
        let mut stayed = stayed;
        stayed.call("conference.join", json!({ "confId": conf })).await.result();
        // Two polls later it is still open.
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(1200) {
            stayed.call("conference.get", json!({ "confId": conf })).await.result();
        }
    }
}

/// Opens a socket for each, at once.
async fn open_all(clients: Vec<Client>) -> Vec<crate::support::event_socket::EventSocket> {
    let mut opening = JoinSet::new();
    for client in clients {
        opening.spawn(async move { client.open_socket().await });
    }
    opening.join_all().await
}

#[tokio::test]
async fn sockets_opened_at_once_are_registered_in_few_transactions() {
    const SOCKETS: usize = 200;
    let more = "[limits]\njoins_per_minute = 10000\nconnects_per_minute = 100000\n";
    let cluster = Cluster::start(2, more).await;
    let chair = cluster.chair(0).await;
    let (_, code) = cluster.conference(&chair).await;
    let mut guests = Vec::new();
    for _ in 0..SOCKETS {
        guests.push(cluster.guest(0, &code, "Guest").await);
    }
    let moved = guests.iter().map(|guest| cluster.at(1, guest)).collect();
    let mut sockets = open_all(guests).await;
    let _later = open_all(moved).await;
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 4009);
    }
    for node in &cluster.nodes {
        let none = async || node.metric("confgate_sockets_unregistered").await == Some(0.0);
        until_true("every socket is registered", none).await;
        let transactions = node.metric("confgate_socket_registrations_total").await.expect("it is counted");
        assert!(transactions < SOCKETS as f64 / 4.0, "{transactions} transactions for {SOCKETS} sockets");
    }
}
