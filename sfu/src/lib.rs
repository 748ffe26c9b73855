//! A call gateway's media: streams of members in rooms, forwarded to whoever watches them, never decoded.
//!
//! What is said to a media node and what it says is in [`vocabulary`]; other media servers behind the same signalling
//! speak it too.

mod addresses;
mod admission;
mod clock;
mod codec;
mod config;
mod demux;
mod endpoint;
mod forward;
mod keyframes;
mod layers;
mod meter;
mod room;
mod router;
mod sdp;
mod shell;
mod speaker;
mod track;
pub mod vocabulary;
pub mod worker;

pub use config::{Config, Limits};
pub use sdp::SDP_MAX;
pub use shell::{Full, Node};
pub use worker::Worker;
