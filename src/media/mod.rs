//! This process as a call gateway node: signalling without sockets.

pub mod group;
pub mod message;
