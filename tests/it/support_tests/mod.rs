//! Tests of the support modules that all other tests rely on.

mod browser;
mod chaos;
mod client;
mod dialogue;
mod event_socket;
mod gateway;
mod mariadb;
mod process;
mod tls_server;
mod xmpp;
