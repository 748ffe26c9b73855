//! confgate: anybody enters an enterprise's XMPP conference from a plain browser.

pub mod address;
pub mod admin;
pub mod body;
pub mod config;
pub mod eim;
pub mod event;
pub mod http;
pub mod ids;
pub mod lifecycle;
pub mod limiter;
pub mod log;
pub mod refusal;
pub mod schema;
pub mod store;
