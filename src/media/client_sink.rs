//! Where what the node says to a client goes: to a socket as text, to a session over HTTP as it is.

use tokio::sync::mpsc;

use super::message::{Code, Reply};
use crate::http::ws::send_queue::{Close, Outbox};

/// Events that may wait for a session: it gets answers to its few offers, one error and its end.
const SESSION_EVENTS: usize = 16;

/// An event for a session over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// The SDP answer to its offer, and what the node calls the stream.
    Answered {
        /// The stream's name as the client knows it.
        stream: String,
        /// The SDP answer.
        answer: String,
    },
    /// The offer is refused.
    Refused(Code),
    /// Its room is on another node.
    Moved,
    /// Nothing follows.
    Closed,
}

pub(super) enum ClientSink {
    Socket(Outbox),
    /// A session that lags so far that this is full has ended.
    Session(mpsc::Sender<SessionEvent>),
}

impl ClientSink {
    pub fn session() -> (Self, mpsc::Receiver<SessionEvent>) {
        let (sink, events) = mpsc::channel(SESSION_EVENTS);
        (Self::Session(sink), events)
    }

    pub fn send(&self, reply: &Reply) {
        match self {
            Self::Socket(outbox) => outbox.send(reply.text().into()),
            Self::Session(session) => {
                if let Some(events) = session_event(reply) {
                    session.try_send(events).ok();
                }
            }
        }
    }

    pub fn close(self, why: Close) {
        match self {
            Self::Socket(outbox) => outbox.close(why),
            // Full or not: the end of the sink says the same.
            Self::Session(session) => drop(session.try_send(SessionEvent::Closed)),
        }
    }
}

/// Notices about other participants are dropped: a session over HTTP doesn't show them. A session's answers hold all
/// candidates.
fn session_event(reply: &Reply) -> Option<SessionEvent> {
    match reply {
        Reply::ReceiveVideoAnswer { name, sdp_answer } => {
            Some(SessionEvent::Answered { stream: name.clone(), answer: sdp_answer.clone() })
        }
        // Of one stream; its sound goes on. Without a name it is the session that is refused.
        Reply::Error { code: Code::NoCommonCodec, name: Some(_), .. } => None,
        Reply::Error { code, .. } => Some(SessionEvent::Refused(*code)),
        Reply::Moved { .. } => Some(SessionEvent::Moved),
        _ => None,
    }
}
