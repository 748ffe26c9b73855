//! A call gateway's media: streams of members in rooms, forwarded to whoever watches them, never decoded.
//!
//! The messages to and from a media node are in [`protocol`]; other media servers behind the same signalling use them
//! too. [`Node`] is the node with its threads and sockets, [`Worker`] the pure core of one thread.
//!
//! ```text
//!  signalling --Command--> Node --(router: a room stays on one thread)--> queue --> Worker
//!            <--Notice---------------------------------------------------- queue <-----'
//!
//!  a publisher's packet: socket -> demux (address, ICE user fragment) -> str0m (SRTP, RTX) -> its stream's viewers:
//!      permit? -> layer? -> numbers and payload type rewritten -> str0m (SRTP, RTX, pacing off) -> sendmmsg, UDP GSO
//! ```
//!
//! A thread that has read all that waited leaves its sockets alone for 2 ms. Packets that come meanwhile are handled
//! together: a viewer's connection is asked once for all of its packets, and those pass the kernel as one.
//!
//! One connection for each stream: a client offers, either to send a stream or to receive one. All state on a packet's
//! way is owned by one thread; the only lock is the router's, taken for commands and at an endpoint's end.
//!
//! # Load
//! A thread counts the packets it forwards. At `Limits::packets_per_s_max` it takes no more endpoints
//! ([`protocol::Refusal::Overloaded`]); above it viewers lose large layers, then video, those with the smallest tiles
//! first, sound last; and get it back when there is room. Datagrams that the kernel or a slow TCP client doesn't take
//! are lost and counted, never queued without bound.
//!
//! # Tasks
//!
//! | task | started by | owns |
//! |---|---|---|
//! | thread `media-N` | [`Node::start`] | a [`Worker`], its UDP socket, its clock |
//! | TCP acceptor | the first thread | the listener; hands each connection to the thread of the endpoint it names |
//! | a TCP connection | its thread | the stream, its queue |
//! | a pulled stream's reader | its thread | reads the socket that is that stream's alone |

#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod active_speaker;
mod addresses;
mod admission;
mod clock;
mod codec;
mod config;
mod demux;
mod endpoint;
mod keyframes;
mod layers;
pub mod protocol;
mod rate_counter;
mod red;
mod renumber;
mod resends;
mod room;
mod router;
pub mod sdp;
mod shell;
mod sync;
mod track;
pub mod worker;

pub use config::{Config, Limits};
pub use shell::{Full, Node};
pub use worker::Worker;
