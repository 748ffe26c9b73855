//! One open socket out of `limits.connections`.

use tokio::sync::OwnedSemaphorePermit;

use crate::rate_limit::account::Full;

/// One open socket out of `limits.connections`; given back when the socket is dropped, wherever it went.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    open: metrics::Gauge,
}

impl Slot {
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        let open = metrics::gauge!("confgate_http_connections_open");
        open.increment(1.0);
        Self { _permit: permit, open }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.decrement(1.0);
    }
}

/// Counts a connection that was closed as soon as it was known who it was from.
pub fn refused(reason: &'static str) {
    metrics::counter!("confgate_http_connections_refused_total", "reason" => reason).increment(1);
}

/// The same for what an address block may have.
pub fn refused_by(full: Full) {
    refused(if full == Full::Rate { "rate" } else { "block" });
}
