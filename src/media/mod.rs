//! This process as a call gateway node: signalling without sockets. Clients' messages come in, replies go out through
//! their outboxes, and between them stand the group call's pure core and the media that it commands.

mod backend;
pub mod group;
pub mod janus;
pub mod message;
mod node;
pub mod pull;
mod tokens;

pub use self::backend::Backend;
pub use self::group::{Limits, Shown};
pub use self::node::{Client, Ends, Media, Node, Settings, Status};
pub use self::tokens::Tokens;
