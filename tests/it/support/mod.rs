//! The vocabulary of the integration tests: the real binary, its clients, real XMPP servers, a real browser.
//!
//! Everything here is started in a directory and on ports of its own, waits by deadline and never by sleeping, shows
//! what it logged when its test fails, and is gone when its test is.
#![allow(dead_code, reason = "a vocabulary: a verb is here before every suite has a use for it")]

pub mod bidi;
pub mod browser;
pub mod browser_media;
pub mod c2s;
pub mod call_gateway;
pub mod certificate;
pub mod chaos;
pub mod client;
pub mod component;
pub mod cpu;
pub mod dialogue;
pub mod ejabberd;
pub mod event_socket;
pub mod follower;
// The same that fuzzes the media node.
#[path = "../../../sfu/tests/it/support/fuzz.rs"]
pub mod fuzz;
pub mod gateway;
pub mod http_session;
pub mod janus;
pub mod livez;
pub mod mariadb;
pub mod media;
pub mod memory;
pub mod muc_client;
pub mod plain_http;
pub mod ports;
pub mod process;
pub mod prosody;
pub mod rabbitmq;
pub mod rewriter;
pub mod steal;
pub mod turn;
pub mod wait;
pub mod xml_meaning;
pub mod xml_stream;
pub mod xmpp_server;

/// Whether the long things are asked for (`tests/run --full`).
pub fn long() -> bool {
    std::env::var_os("CONFGATE_TEST_LONG").is_some_and(|v| v == "1")
}
