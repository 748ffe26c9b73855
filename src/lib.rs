//! confgate: anybody enters an enterprise's XMPP conference from a plain browser.
//!
//! A request walks down by calling handles; news climbs up as values on channels.
//!
//! | floor | modules |
//! |---|---|
//! | 4 roof | `cli`, `app` (the recipe), `demo`, `check`, `lifecycle`, `http` (one listener, TLS) |
//! | 3 doors | `rpc`, `wss`, `signal` (the call gateway's sockets), `page`, `admin` |
//! | 2 rooms | `conference` (registry, one actor each, a pure core), `entry` (logins, links, guests), `sockets`, `placement` (conferences' call gateways) |
//! | 1 wires | `store` (SQL), `eim` (XMPP, conversion, the built-in EIM), `callgw` (the pool), `media` (this process's call gateway node) |
//! | 0 ground | `clock`, `ids`, `names`, `password`, `trace`, `refusal`, `event`, `address`, `limiter`, `budget`, `account`, `patient`, `stall`, `token`, `bearer`, `body`, `outbox`, `socket` (a WebSocket), `pump`, `control`, `trust`, `dial`, `config`, `schema`, `log`, `print` |
//!
//! All tasks, who starts them and what they own:
//!
//! | task | started by | owns |
//! |---|---|---|
//! | a connection | `http::Door::serve` | its socket, its TLS, its requests |
//! | an event socket | `wss::serve` (in its connection's task) | the socket (`pump`), its inbox, its requests under way |
//! | a conference | `conference::Conferences`, on first use | its core, its sockets' outboxes, its requests to the EIM |
//! | a link to the EIM | `eim::Eim::start` (callers, gateway; a session each in mode `c2s`) | the stream, the requests under way |
//! | the built-in EIM's worker | `eim::builtin::shell` | all of the built-in EIM's state |
//! | the built-in EIM's links | `eim::builtin::shell` | a stream each |
//! | events | `app::serve` | the receiving end of a channel that leads up |
//! | happenings | `app::serve` | the receiving end of another, what waits for the store to keep it |
//! | ended families, revocations, collector, health, gateways, store, lease, clock | `app::serve` | nothing: they ask and tell at intervals |
//! | a call gateway's probe | `callgw::Pool::start` | whether that gateway ever answered |
//! | a call gateway's control link | `callgw::Pool::start` | the link, the commands that wait for it |
//! | placement | `app::serve` | where this node's conferences have their media, what is enforced there |
//! | the call gateway node | `app::serve`, `app::serve_media` | its calls, the ways to its clients' ears, the media's ends |
//! | a session over HTTP (WHIP, WHEP) | `signal::whip`, by its offer | its place at the node, what it has agreed on |
//! | a media server's driver, its requests | `media::Backend` (Janus, WHIP) | its connections there, the link or the requests under way |
//! | a client's call socket, a control link | `signal` (in its connection's task) | the socket (`pump`), its inbox |
//! | a link to another node | `media` (the node's task), for a conference or a stream | the socket, which streams the other node has |
//! | media threads | `media::Node::start` (crate `confgate_sfu`) | their rooms' connections and ports |
//! | admin | `app::serve` | the admin listener |
//! | signals | `lifecycle` | the soft and hard stop |

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod admin;
pub mod app;
pub mod auth;
pub mod backoff;
pub mod builtin_eim;
pub mod callgw;
pub mod cli;
pub mod clock;
pub mod conference;
pub mod config;
pub mod eim;
pub mod event;
pub mod http;
pub mod ids;
pub mod media;
pub mod node_protocol;
pub mod placement;
pub mod precis;
pub mod rate_limit;
pub mod refusal;
pub mod rpc;
pub mod schema;
pub mod signaling;
pub mod stall;
pub mod store;
pub mod tls_client;
pub mod token;
pub mod xmpp;
