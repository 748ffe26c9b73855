//! The call gateway node: Kurento's group call over wss, with real WebRTC peers, and what a gateway orders.

mod admission;
mod alone;
mod browser;
mod calls;
mod codecs;
mod control;
mod handshakes;
mod hostile;
mod kurento;
mod late_and_lost;
mod lossy_path;
mod pages;
mod sessions;

use crate::support::gateway::Gateway;
use crate::support::media::{SOME, builtin_node};
use crate::support::wait::until_true;

/// Members of both conferences that the tests are about.
const MEMBERS: [&str; 18] = [
    "a", "b", "c", "d", "e", "anna", "ben", "carl", "dora", "deaf", "flood", "late", "obs", "v", "v1", "v2", "v3", "v4",
];

/// A gateway whose own node is `n1`.
async fn node(more: &str) -> Gateway {
    let config = format!("{}[callgw]\nthreads = 1\nreport_interval_ms = 50\n{more}", builtin_node("n1"));
    let gateway = Gateway::with(&config).start().await;
    for room in ["c1", "c2"] {
        gateway.client().has_members("n1", room, &MEMBERS).await;
    }
    gateway
}

/// All have left: nothing of them is kept.
async fn empty(gateway: &Gateway) {
    for gauge in ["confgate_groupcall_sockets", "confgate_groupcall_rooms", "confgate_media_endpoints"] {
        until_true(gauge, async || gateway.metric(gauge).await == Some(0.0)).await;
    }
}
