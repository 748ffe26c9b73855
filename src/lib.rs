//! confgate: anybody enters an enterprise's XMPP conference from a plain browser.

pub mod address;
pub mod admin;
pub mod app;
pub mod body;
pub mod callgw;
pub mod check;
pub mod cli;
pub mod conference;
pub mod config;
pub mod demo;
pub mod eim;
pub mod entry;
pub mod event;
pub mod http;
pub mod ids;
pub mod lifecycle;
pub mod limiter;
pub mod log;
pub mod page;
pub mod refusal;
pub mod rpc;
pub mod schema;
pub mod sockets;
pub mod store;
pub mod token;
pub mod wss;
