//! confgate: anybody enters an enterprise's XMPP conference from a plain browser.
//!
//! A request walks down by calling handles; news climbs up as values on channels.
//!
//! | floor | modules |
//! |---|---|
//! | 4 roof | `app` (starts every part), `cli` |
//! | 3 doors | `admin`, `rpc` (JSON-RPC and its event socket), `signaling` (the call gateway's sockets, WHIP, WHEP) |
//! | 2 rooms | `conference` (registry, one actor each, a pure core, the open event sockets), `auth` (logins, links, guests), `placement` (conferences' call gateways) |
//! | 1 wires | `store` (SQL), `eim` (link, conversion, AMQP), `builtin_eim`, `callgw` (the pool), `media` (this process's call gateway node) |
//! | 0 ground | `sync`, `clock`, `ids`, `health`, `precis`, `refusal`, `event`, `rate_limit`, `token`, `config`, `tls_client`, `schema`, `node_protocol`, `http` (listener, client, WebSockets), `xmpp` (XML, streams, negotiation) |
//!
//! All tasks, who starts them and what they own:
//!
//! | task | started by | owns |
//! |---|---|---|
//! | a connection | `http::HttpServer::serve` | its socket, its TLS, its requests |
//! | an event socket | `rpc::event_socket::EventSockets::serve` (in its connection's task) | the socket (`http::ws::pump`), its inbox, its requests under way |
//! | a conference | `conference::Conferences`, on first use | its core, its sockets' outboxes, its requests to the EIM |
//! | an owner of a conference's numbers | `conference::owner::Owners`, on first use | its core, its requests to the EIM, its part of the store |
//! | a link to another gateway node's owners | `conference::owner`, on first use | the link, the requests under way |
//! | another gateway node's link to the owners here | `conference::owner::serve` (in its connection's task) | the socket (`http::ws::pump`), its inbox |
//! | a link to the EIM | `eim::Eim::start` (callers, gateway; a session each in mode `c2s`) | the stream, the requests under way |
//! | the built-in EIM's worker | `builtin_eim::runtime` | all of the built-in EIM's state |
//! | the built-in EIM's links | `builtin_eim::runtime` | a stream each |
//! | events | `app::serve` | the receiving end of a channel that leads up |
//! | the broker's consumer | `app::serve` | the connection to the broker, the queue's bindings |
//! | the broker's publisher | `app::serve_eim` | the connection to the broker, what it has not confirmed |
//! | lifecycle events | `app::serve` | the receiving end of another, the events that the store could not keep yet |
//! | takeover | `app::serve` | the number up to which it has read of the other nodes' sockets |
//! | failover | `app::serve` | since when the other nodes' leases were not renewed, whose members it inherits |
//! | ended families, revocations, collector, health, gateways, store, lease, clock, this node's address | `app::serve` | nothing: they ask and tell at intervals |
//! | the lock of a node's name | `store::NodeLock::take`, with a database server | the connection that holds it |
//! | a call gateway's probe | `callgw::Pool::start` | whether that gateway ever answered |
//! | a call gateway's control link | `callgw::Pool::start` | the link, the commands that wait for it |
//! | placement | `app::serve` | where this node's conferences have their media, what is enforced there |
//! | the call gateway node | `app::serve`, `app::serve_media` | its calls, the queues to its clients, the media's ends |
//! | a session over HTTP (WHIP, WHEP) | `signaling::whip`, by its offer | its place at the node, what it has agreed on |
//! | a media server's driver, its requests | `media::Backend` (Janus, WHIP) | its connections there, the link or the requests under way |
//! | a client's call socket, a control link | `signaling` (in its connection's task) | the socket (`http::ws::pump`), its inbox |
//! | a link to another node | `media` (the node's task), for a conference or a stream | the socket, which streams the other node has |
//! | media threads | `media::Node::start` (crate `confgate_sfu`) | their rooms' connections and ports |
//! | admin | `app::serve` | the admin listener |
//! | signals | `app::lifecycle` | the soft and hard stop |

#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used))]

pub mod admin;
pub mod app;
pub mod auth;
pub mod builtin_eim;
pub mod callgw;
pub mod cli;
pub mod clock;
pub mod conference;
pub mod config;
pub mod eim;
pub mod event;
pub mod health;
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
pub mod store;
pub mod sync;
pub mod tls_client;
pub mod token;
pub mod xmpp;
