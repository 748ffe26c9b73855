//! This process as a call gateway node: signalling without sockets. Clients' messages come in, replies go out through
//! their outboxes, and between them stand the calls' pure cores and the media that they command.

mod answer_check;
mod backend;
mod call_dispatcher;
mod client_sink;
pub mod group;
pub mod janus;
pub mod message;
mod node;
pub mod one_to_one;
pub mod pull;
pub mod session;
pub mod settings;
mod tokens;
pub mod whip;

pub use self::backend::Backend;
pub use self::call_dispatcher::CallDispatcher;
pub use self::client_sink::SessionEvent;
pub use self::group::{ClientCredentials, Limits, Purpose, Session};
pub use self::node::{Client, Ends, Media, Node, Settings, Status};
pub use self::tokens::Tokens;
