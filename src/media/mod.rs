//! This process as a call gateway node: signalling without sockets. Clients' messages come in, replies go out through
//! their outboxes, and between them stand the group call's pure core and the media that it commands.

mod backend;
mod ear;
pub mod group;
pub mod janus;
pub mod message;
mod node;
pub mod session;
mod tokens;
pub mod whip;

pub use self::backend::Backend;
pub use self::ear::Heard;
pub use self::group::{Limits, Purpose, Session, Shown};
pub use self::node::{Client, Ends, Media, Node, Settings, Status};
pub use self::tokens::Tokens;
