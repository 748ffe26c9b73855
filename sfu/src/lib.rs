//! A call gateway's media: streams of members in rooms, forwarded to whoever watches them, never decoded.
//!
//! What is said to a media node and what it says is in [`vocabulary`]; other media servers behind the same signalling
//! speak it too.

pub mod vocabulary;
