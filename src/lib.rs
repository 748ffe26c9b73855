//! confgate: anybody enters an enterprise's XMPP conference from a plain browser.

pub mod config;
pub mod eim;
pub mod event;
pub mod ids;
pub mod log;
pub mod refusal;
pub mod schema;
pub mod store;
