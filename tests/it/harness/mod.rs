//! The harness itself: that what every other test stands on does what it says.

mod browser;
mod chaos;
mod client;
mod dialogue;
mod event_socket;
mod gateway;
mod process;
mod tls_server;
mod xmpp;
