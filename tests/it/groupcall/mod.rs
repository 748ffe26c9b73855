//! The call gateway node: Kurento's group call over wss, with real WebRTC peers, and what a gateway orders.

mod alone;
mod browser;
mod calls;
mod entry;
mod hostile;
mod kurento;
mod lips;
mod orders;
mod sessions;

use crate::support::gateway::Gateway;
use crate::support::media::{SOME, builtin_node};
use crate::support::wait::until_true;

/// A gateway whose own node is `n1`.
async fn node(more: &str) -> Gateway {
    let config = format!("{}[callgw]\nthreads = 1\nreport_interval_ms = 50\n{more}", builtin_node("n1"));
    Gateway::with(&config).start().await
}

/// All have left: nothing of them is kept.
async fn empty(gateway: &Gateway) {
    for gauge in ["confgate_groupcall_sockets", "confgate_groupcall_rooms", "confgate_media_endpoints"] {
        until_true(gauge, async || gateway.metric(gauge).await == Some(0.0)).await;
    }
}
