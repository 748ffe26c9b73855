//! The door: one listener with TLS, who may come in, and what every answer carries.
//!
//! ```text
//! accept -> networks -> a free slot -> PROXY v2 (trusted proxies) -> the block's share -> TLS -> HTTP/1.1 or HTTP/2
//!        -> guard -> router
//! ```
//!
//! Each connection is one task, tracked by [`HttpServer::serve`]; each open socket, upgraded ones too, holds one slot.

mod activity;
pub mod bearer;
pub mod body;
pub mod client;
mod client_addr;
mod connection;
pub mod dial;
mod flood;
mod guard;
mod listener;
mod networks;
mod progress;
mod proxy;
mod response_body;
mod self_wake_guard;
mod service;
mod slot;
mod tls;
pub mod write_timeout;
pub mod ws;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::rate_limit::account::Bounds;

pub use connection::{CONNECTION_WINDOW_BYTES, MAX_BUFFER_BYTES, MAX_HEAD_BYTES};
pub use guard::{Guard, GuardError, GuardSettings};
pub use listener::{HttpServer, ListenError};
pub use networks::{Admission, NetworkError, Networks};
pub use tls::{Certificate, CertificateFiles, Tls, TlsError, self_signed};

/// All that the door is told.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// The certificate.
    pub certificate: Certificate,
    /// The settings of the guard.
    pub guard: GuardSettings,
    /// The client addresses that may connect; checked before TLS.
    pub admission: Admission,
    /// The proxies whose PROXY v2 header and `X-Forwarded-For` are believed.
    pub trusted_proxies: Networks,
    /// Sockets open at once, upgraded ones included; one more is closed as soon as it is accepted.
    pub connections: u32,
    /// Bounds of each connection, of each address block and of all together.
    pub bounds: Bounds,
    /// Largest request body; more is answered with 413.
    pub body_bytes: u64,
    /// The time limits.
    pub timeouts: Timeouts,
}

/// How long the door waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the TLS handshake as a whole.
    pub tls_handshake: Duration,
    /// For a PROXY v2 header, and for a request's head: from the end of the handshake for the first one, from its
    /// first byte for a later one.
    pub header: Duration,
    /// For a request's body as a whole.
    pub body: Duration,
    /// For a write, or a stream's answer, to make any progress.
    pub write: Duration,
    /// How long a connection is kept with no request under way.
    pub idle: Duration,
    /// After this long a silent HTTP/2 connection is pinged.
    pub ping_interval: Duration,
    /// For the answer to such a ping.
    pub ping: Duration,
    /// How often the certificate files are looked at.
    pub certificate_check: Duration,
}
