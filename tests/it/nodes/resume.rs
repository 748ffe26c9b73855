//! A client that got its position at one node goes on at another: with the events that it missed and nothing else where
//! that node or the EIM has them, else with a snapshot that says why. A node that stops sends its clients there.

use futures_util::future::join_all;
use serde_json::json;

use super::{Cluster, enter, id_of, until_state};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::PATIENCE;

async fn send(client: &Client, conf: &str, text: &str) {
    client.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
}

/// Reads until the client has those messages; the methods of all notifications that it read, and whether each snapshot's
/// reason.
async fn until_known(socket: &mut EventSocket, conf: &str, expected: &[&str]) -> Vec<String> {
    let mut read = Vec::new();
    let texts = |socket: &EventSocket| -> Vec<String> {
        let roster = || socket.follower.roster(conf).messages.iter().map(|message| message.text.clone()).collect();
        if socket.follower.positions().is_empty() { Vec::new() } else { roster() }
    };
    while texts(socket) != expected {
        let next = socket.next_notification(PATIENCE).await;
        let next = next.unwrap_or_else(|| panic!("not {expected:?}, but {:?}; read {read:?}", texts(socket)));
        let more = next.params["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
        read.push(format!("{}{more}", next.method));
    }
    read
}

async fn resumes_with_the_missed_events(cluster: Cluster) {
    let chair = cluster.chair(1).await;
    let (conf, code) = cluster.conference(&chair).await;
    // The second node holds the conference: its chair's socket is there.
    let mut watcher = enter(&chair, &conf).await;
    let guest = cluster.guest(0, &code, "Guest").await;
    let mut socket = enter(&guest, &conf).await;
    send(&chair, &conf, "before").await;
    until_known(&mut socket, &conf, &["before"]).await;
    until_known(&mut watcher, &conf, &["before"]).await;
    let left_off = socket.vanish();
    send(&chair, &conf, "missed").await;
    until_known(&mut watcher, &conf, &["before", "missed"]).await;

    let there = cluster.at(1, &guest);
    let mut socket = there.resume_socket(left_off).await;
    send(&chair, &conf, "after").await;
    // The follower fails the test at a gap and at a repeat.
    let read = until_known(&mut socket, &conf, &["before", "missed", "after"]).await;
    assert!(read.iter().all(|method| method == "hello" || method == "conference.event"), "{read:?}");
    until_known(&mut watcher, &conf, &["before", "missed", "after"]).await;
}

#[tokio::test]
async fn client_goes_on_at_another_node_with_the_events_it_missed() {
    resumes_with_the_missed_events(Cluster::start(2, "").await).await;
}

#[tokio::test]
async fn client_goes_on_at_another_node_by_events_of_a_broker() {
    resumes_with_the_missed_events(Cluster::with_broker(2, "").await).await;
}

/// Three who left off one after the other come at once to a node that was started after all that they missed.
async fn resumes_at_a_node_that_has_just_started(mut cluster: Cluster) {
    let chair = cluster.chair(0).await;
    let (conf, code) = cluster.conference(&chair).await;
    let mut watcher = enter(&chair, &conf).await;
    let mut left = Vec::new();
    for name in ["One", "Two", "Three"] {
        let guest = cluster.guest(0, &code, name).await;
        let mut socket = enter(&guest, &conf).await;
        send(&chair, &conf, name).await;
        while socket.follower.roster(&conf).messages.last().is_none_or(|message| message.text != name) {
            socket.next_notification(PATIENCE).await.expect("what was said comes");
        }
        left.push((guest, socket.vanish()));
    }
    for (guest, _) in &left {
        until_state(&chair, &conf, guest, Some("reconnecting")).await;
    }
    send(&chair, &conf, "\"missed\" & <lost>").await;
    cluster.nodes[1].restart().await;
    let there: Vec<_> = left.into_iter().map(|(guest, left_off)| (cluster.at(1, &guest), left_off)).collect();
    let resumed = there.into_iter().map(|(client, left_off)| async move { client.resume_socket(left_off).await });
    let mut resumed = join_all(resumed).await;
    send(&chair, &conf, "after").await;
    let expected = ["One", "Two", "Three", "\"missed\" & <lost>", "after"];
    for socket in &mut resumed {
        let read = until_known(socket, &conf, &expected).await;
        // The node may still be without a broker.
        let others = ["hello", "degraded", "restored"];
        assert!(read.iter().all(|method| method == "conference.event" || others.contains(&&**method)), "{read:?}");
    }
    until_known(&mut watcher, &conf, &expected).await;
}

#[tokio::test]
async fn clients_go_on_at_a_node_that_has_just_started_with_the_events_they_missed() {
    resumes_at_a_node_that_has_just_started(Cluster::start(2, "").await).await;
}

#[tokio::test]
async fn clients_go_on_at_a_node_that_has_just_started_by_events_of_a_broker() {
    resumes_at_a_node_that_has_just_started(Cluster::with_broker(2, "").await).await;
}

#[tokio::test]
async fn client_gets_a_snapshot_with_the_reason_where_neither_the_node_nor_the_eim_has_the_events() {
    let mut cluster = Cluster::start(2, "").await;
    let chair = cluster.chair(0).await;
    let (conf, code) = cluster.conference(&chair).await;
    let mut watcher = enter(&chair, &conf).await;
    let guest = cluster.guest(0, &code, "Guest").await;
    let mut socket = enter(&guest, &conf).await;
    send(&chair, &conf, "before").await;
    until_known(&mut socket, &conf, &["before"]).await;
    let left_off = socket.vanish();
    send(&chair, &conf, "missed").await;
    until_known(&mut watcher, &conf, &["before", "missed"]).await;
    until_state(&chair, &conf, &guest, Some("reconnecting")).await;
    cluster.eim.restart().await;
    cluster.nodes[1].restart().await;
    let mut socket = cluster.at(1, &guest).resume_socket(left_off).await;
    let read = until_known(&mut socket, &conf, &["before", "missed"]).await;
    assert_eq!(read, ["hello", "conference.snapshot gap"]);
    let there = cluster.at(1, &chair);
    send(&there, &conf, "after").await;
    until_known(&mut socket, &conf, &["before", "missed", "after"]).await;
}

#[tokio::test]
async fn clients_of_a_node_that_stops_are_back_on_the_other_without_a_gap() {
    let mut cluster = Cluster::start(2, "").await;
    let chair = cluster.chair(1).await;
    let (conf, code) = cluster.conference(&chair).await;
    let mut watcher = enter(&chair, &conf).await;
    let mut leaving = Vec::new();
    for name in ["One", "Two", "Three"] {
        let guest = cluster.guest(0, &code, name).await;
        let socket = enter(&guest, &conf).await;
        leaving.push((cluster.at(1, &guest), socket));
    }
    cluster.nodes[0].signal(rustix::process::Signal::TERM);
    let mut expected: Vec<String> = Vec::new();
    let mut back = Vec::new();
    for (number, (there, mut socket)) in leaving.into_iter().enumerate() {
        let deadline = socket.wait_for("goingAway").await;
        assert!(deadline["deadlineMs"].is_u64(), "{deadline}");
        expected.push(format!("while {number} moves"));
        send(&chair, &conf, &expected[number]).await;
        // A page moves as soon as it is told, without closing first.
        let mut moved = there.resume_socket(socket.follower.clone()).await;
        let texts: Vec<&str> = expected.iter().map(String::as_str).collect();
        let read = until_known(&mut moved, &conf, &texts).await;
        assert!(read.iter().all(|method| method == "hello" || method == "conference.event"), "{read:?}");
        back.push((there, moved));
    }
    assert!(cluster.nodes[0].exit(PATIENCE).await.is_some_and(|status| status.success()));
    send(&chair, &conf, "all are here").await;
    expected.push("all are here".to_owned());
    let texts: Vec<&str> = expected.iter().map(String::as_str).collect();
    until_known(&mut watcher, &conf, &texts).await;
    for (there, socket) in &mut back {
        until_known(socket, &conf, &texts).await;
        let member = watcher.follower.roster(&conf).member(&id_of(there)).cloned().expect("they stayed");
        assert_eq!(serde_json::to_value(member.state).expect("it is text"), "joined");
    }
}
