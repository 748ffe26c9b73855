//! Participants by a session over HTTP.

use confgate_sfu::protocol::{MemberId, StreamId};

use super::SocketId;
use super::admission::Token;
use crate::token::CallGatewayClaims;

/// A session that begins with an offer over HTTP.
#[derive(Debug, Clone)]
pub struct Session {
    /// Of the token that was shown; its room and user are the session's.
    pub claims: Box<CallGatewayClaims>,
    /// Publish, or watch a stream.
    pub purpose: Purpose,
    /// The SDP offer.
    pub offer: String,
}

/// The purpose of a session over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To send the user's camera and microphone.
    Publish,
    /// To receive the stream that members know by this name; `None`: that of who publishes by a session, else of who
    /// speaks, else of who came first, among those who send.
    Watch(Option<String>),
}

/// Somebody who watches and is no member.
pub(super) struct Viewer {
    pub name: MemberId,
    pub socket: SocketId,
    pub token: Token,
    pub stream: StreamId,
}
