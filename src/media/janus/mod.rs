//! Janus with its VideoRoom as the media behind our signalling: media flows between the browser and Janus, and what is
//! said to the node is said here to Janus instead.
//!
//! A room of ours is a room there, made when it is first needed and destroyed with ours; a stream is a publisher's
//! feed, and each connection a handle. One process speaks to a Janus for a conference: the one whose node it is. Where
//! a conference is at two of them, they send each other its streams as their drivers agree.

mod cascade;
mod connections;
mod core;
mod link;
mod load_poll;
mod message;
mod relay;
mod rooms;
mod rtp_forward;
mod sdp;
mod status;
#[cfg(test)]
mod tests;

pub use link::{Driver, Full, JanusServer};
pub use load_poll::LoadPoll;
