//! A gateway that did not run for a while (stopped, suspended, starved) heard nobody meanwhile: it takes nobody for gone.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::call_failover::{fixture_with, member};
use crate::support::call_gateway::{Node, Trust};

/// Longer than anything here may be silent: a control link (400 ms), somebody who is away (2 s).
const STOPPED: Duration = Duration::from_secs(3);
/// In which whatever is taken for gone would be told.
const WATCHED: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_gateway_that_was_stopped_takes_nobody_for_gone() {
    let trust = Trust::new();
    let (a, b) = (Node::controlled("a", &trust).await, Node::controlled("b", &trust).await);
    let section = format!("{}[limits]\ngrace_ms = 2000\n", trust.hasty_section());
    let mut fixture = fixture_with(&section, &[&a, &b]).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut stays = member(&fixture, &code, &conf).await;
    let away = member(&fixture, &code, &conf).await;
    let at = away.socket.vanish();
    while stays.socket.expect_event("member.updated").await["data"]["state"] != "reconnecting" {}

    fixture.gateway.signal(Signal::STOP);
    sleep(STOPPED).await;
    fixture.gateway.signal(Signal::CONT);
    let _back = away.client.resume_socket(at).await;
    let (until, mut is_back) = (Instant::now() + WATCHED, false);
    while let Some(told) = stays.socket.next_notification(until.saturating_duration_since(Instant::now())).await {
        assert_ne!(told.method, "callgw.changed", "{told:?}");
        assert_ne!(told.method, "degraded", "{told:?}");
        assert_ne!(told.params["type"], "member.left", "{told:?}");
        is_back |= told.params["data"]["userId"] == away.client.user_id() && told.params["data"]["state"] == "joined";
    }
    assert!(is_back, "who was away is back in their seat");
    assert_eq!(fixture.gateway.metric("confgate_call_gateway_changes_total").await.unwrap_or_default(), 0.0);
    // Silence is noticed as ever.
    let (silent, other) = if stays.gateway == "a" { (&a, "b") } else { (&b, "a") };
    silent.report(None);
    assert_eq!(stays.socket.wait_for("callgw.changed").await["to"], other);
}
