//! Conference events over AMQP 0-9-1: the topic exchange between the EIM, which publishes, and the gateway nodes, which
//! consume.
//!
//! Routing keys are `conf.<confId>.<type>` and `user.<userId>.<type>`; the body is the event as JSON. The connection is
//! supervised here, not by the client library: each new one begins with all declarations and bindings, and is followed
//! by a fresh snapshot of each conference.

pub mod bindings;
mod connection;
pub mod consumer;
pub mod publisher;
mod settings;
mod transport;

pub use connection::try_broker;
pub use settings::Settings;
