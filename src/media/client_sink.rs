//! Where what the node says to a client goes: to a socket as text, to a session over HTTP as it is.

use tokio::sync::mpsc;

use super::message::{Code, Reply};
use crate::http::ws::send_queue::{Close, Outbox};

/// What may wait for a session: it hears answers to its few offers, one error and its end.
const HEARD: usize = 16;

/// What a session over HTTP heeds.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The SDP answer to its offer, and what the node calls the stream.
    Answered {
        stream: String,
        answer: String,
    },
    Refused(Code),
    /// Its room is on another node.
    Moved,
    /// Nothing follows.
    Closed,
}

pub(super) enum ClientSink {
    Socket(Outbox),
    /// Who lags so far that this is full has ended: it hears no more, and goes.
    Session(mpsc::Sender<Heard>),
}

impl ClientSink {
    pub fn session() -> (Self, mpsc::Receiver<Heard>) {
        let (ear, heard) = mpsc::channel(HEARD);
        (Self::Session(ear), heard)
    }

    pub fn hear(&self, reply: &Reply) {
        match self {
            Self::Socket(outbox) => outbox.send(reply.text().into()),
            Self::Session(session) => {
                if let Some(heard) = heeded(reply) {
                    session.try_send(heard).ok();
                }
            }
        }
    }

    pub fn close(self, why: Close) {
        match self {
            Self::Socket(outbox) => outbox.close(why),
            // Full or not: that the ear is gone says the same.
            Self::Session(session) => drop(session.try_send(Heard::Closed)),
        }
    }
}

/// Who comes and goes is for who shows them; a session's answers hold all candidates.
fn heeded(reply: &Reply) -> Option<Heard> {
    match reply {
        Reply::ReceiveVideoAnswer { name, sdp_answer } => {
            Some(Heard::Answered { stream: name.clone(), answer: sdp_answer.clone() })
        }
        // Of one stream; its sound goes on. Without a name it is the session that is refused.
        Reply::Error { code: Code::NoCommonCodec, name: Some(_), .. } => None,
        Reply::Error { code, .. } => Some(Heard::Refused(*code)),
        Reply::Moved { .. } => Some(Heard::Moved),
        _ => None,
    }
}
