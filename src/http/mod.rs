//! The HTTPS server: one listener with TLS, the admission of clients, and the headers of every response.
//!
//! ```text
//! accept -> networks -> a free slot -> PROXY v2 (trusted proxies) -> the block's share -> TLS -> HTTP/1.1 or HTTP/2
//!        -> guard -> router
//! ```
//!
//! Each connection is one task, tracked by [`HttpServer::serve`]; each open socket, upgraded ones too, holds one slot.

pub mod accept;
mod activity;
pub mod bearer;
pub mod body;
pub mod client;
mod client_addr;
mod connection;
pub mod dial;
mod flood;
mod forward;
mod guard;
mod listener;
mod networks;
mod progress;
mod proxy;
mod response_body;
mod self_wake_guard;
mod service;
mod settings;
mod slot;
mod stop;
mod tls;
pub mod write_timeout;
pub mod ws;

#[cfg(test)]
mod tests;

pub use connection::{CONNECTION_WINDOW_BYTES, MAX_BUFFER_BYTES, MAX_HEAD_BYTES};
pub use guard::{Guard, GuardError, GuardSettings, Neighbours};
pub use listener::{HttpServer, ListenError};
pub use networks::{Admission, NetworkError, Networks};
pub use service::{Handler, routed};
pub use settings::{HttpSettings, Timeouts};
pub use tls::{Certificate, CertificateFiles, Tls, TlsError, self_signed};
