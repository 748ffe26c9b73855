//! Any server with WHIP (RFC 9725) and WHEP as the media behind our signalling: media flows between the browser and that
//! server, and each offer of a client's is posted there.
//!
//! Such a server knows of no rooms and no rights: a stream is an address, and what isn't to be heard isn't sent there.
//! A member who is muted has their session ended and, when their browser offers again, that offer posted without its
//! sound.

mod core;
mod driver;
mod request;
mod sdp;
#[cfg(test)]
mod tests;

pub use driver::{Driver, Full};
pub use request::{Bearer, WhipServer};
