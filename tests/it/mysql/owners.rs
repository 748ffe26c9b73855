//! A node's id belongs to one process, by the server's locks and the lease.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{bare, store, whole};
use crate::support::mariadb::MariaDb;
use crate::support::wait::{PATIENCE, until};

/// How long the server waits for a session that sends nothing, and a moment.
const SESSION_ENDS: Duration = Duration::from_secs(15 + 10);
/// How long a newcomer waits at most for a lock that its last owner's end frees.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_second_process_of_a_node_is_refused_by_name_and_follows_a_crash_within_seconds() {
    let database = MariaDb::start().await;
    let store = store(&database.url());
    let mut first = bare("n1", &store).start().await;
    let begun = Instant::now();
    let (status, logs) = bare("n1", &store).fail().await;
    assert_eq!(status.code(), Some(1), "{logs}");
    let held = "SELECT host FROM information_schema.processlist WHERE user = 'confgate'";
    let hosts = database.sql(held).await;
    let named = hosts.lines().any(|host| logs.contains(&format!("a process at {host}, ")));
    assert!(named, "no connection of {hosts:?} is named in: {logs}");
    for words in ["another confgate is running here", "node \"n1\"", "stop that process"] {
        assert!(logs.contains(words), "{words:?} is missing in: {logs}");
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(first.admin_get("/readyz").await.0, 200);
    drop(bare("n2", &store).start().await);

    first.kill();
    let begun = Instant::now();
    first.restart().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    first.logged("without letting go of its lease").await;
}

/// Starts it until it isn't refused as a second one: how long that took.
async fn starts_at_last(id: &str, store: &str) -> (crate::support::gateway::Gateway, Duration) {
    let begun = Instant::now();
    let free = until(SESSION_ENDS, async || {
        let lock = crate::xmpp::check(&format!("{}{store}[node]\nid = {id:?}\n", super::NO_EIM)).await;
        (!lock.1.contains("ok     running")).then_some(())
    });
    assert!(free.await.is_some(), "the lock isn't free within {SESSION_ENDS:?}");
    (bare(id, store).start().await, begun.elapsed())
}

#[tokio::test]
async fn a_node_that_stood_still_and_was_replaced_ends_itself_and_writes_nothing() {
    let database = MariaDb::start().await;
    let store = store(&database.url());
    let mut first = bare("n1", &store).start().await;
    first.signal(Signal::STOP);
    let (status, logs) = bare("n1", &store).fail().await;
    assert!(status.code() == Some(1) && logs.contains("another confgate is running here"), "{logs}");
    let (mut second, waited) = starts_at_last("n1", &store).await;
    println!("the second starts {waited:?} after the first stood still");
    let fence = database.number("SELECT fence FROM nodes WHERE node_id = 'n1'").await;
    first.signal(Signal::CONT);
    let status = first.exit(PATIENCE).await.expect("it ends itself");
    assert_eq!(status.code(), Some(1), "{}", first.logs());
    assert!(first.logs().contains("another process runs under this node's id"), "{}", first.logs());
    assert_eq!(database.number("SELECT fence FROM nodes WHERE node_id = 'n1'").await, fence);
    assert_eq!(second.admin_get("/readyz").await.0, 200);
    assert!(second.stop(PATIENCE).await.is_some_and(|status| status.success()), "{}", second.logs());
}

#[tokio::test]
async fn a_built_in_eim_that_stood_still_and_was_replaced_ends_itself_and_writes_nothing() {
    let database = MariaDb::start().await;
    let store = store(&database.url());
    let mut first = whole("n1", &store).start().await;
    let (status, logs) = whole("n2", &store).fail().await;
    assert!(status.code() == Some(1) && logs.contains("built-in EIM"), "{logs}");
    first.signal(Signal::STOP);
    let sessions = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'confgate'";
    let ended = until(SESSION_ENDS, async || (database.number(sessions).await == 0).then_some(())).await;
    assert!(ended.is_some(), "the server has ended no session within {SESSION_ENDS:?}");
    let second = whole("n2", &store).start().await;
    let client = second.client().login_client("chair", "the chair's secret").await;
    let made = client.rpc("conference.create", json!({ "name": "At the second" })).await.result();
    first.signal(Signal::CONT);
    // Its EIM is the other process's now.
    let status = first.exit(SESSION_ENDS).await.expect("it ends itself");
    assert_eq!(status.code(), Some(1), "{}", first.logs());
    client.rpc("conference.get", json!({ "confId": made["confId"] })).await.result();
}
