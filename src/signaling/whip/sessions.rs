//! The open sessions, by the last part of their addresses.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use super::refusals::Refused;
use crate::ids::random_text;
use crate::sync;
use crate::token::CallGatewayClaims;

/// Requests that wait for one session; a further one waits with its client.
const REQUESTS: usize = 4;
/// Characters of a session's name: nobody guesses one (190 bits).
const NAME: usize = 32;

/// To a session's task.
pub(super) type SessionRequests = mpsc::Sender<SessionRequest>;

/// A client's request to its session.
pub(super) enum SessionRequest {
    Patch { condition: Option<String>, fragment: String, reply: oneshot::Sender<Result<Option<Answered>, Refused>> },
    End(oneshot::Sender<()>),
}

/// The node's answer to an offer, or to new ICE credentials.
pub(super) struct Answered {
    pub answer: String,
    pub entity_tag: String,
}

/// As many as the node has admitted: it alone bounds them.
pub(in crate::signaling) struct Sessions {
    /// The node's: sessions' addresses begin with it.
    pub(super) path: String,
    /// Each session's owner, by the token that began it.
    open: Mutex<HashMap<String, (CallGatewayClaims, SessionRequests)>>,
}

impl Sessions {
    pub(in crate::signaling) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), open: Mutex::default() }
    }

    /// Its name, and what is asked of it.
    pub(super) fn open(&self, claims: CallGatewayClaims) -> (String, mpsc::Receiver<SessionRequest>) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let name = random_text(NAME);
        let mut open = self.table();
        open.insert(name.clone(), (claims, sender));
        metrics::gauge!("confgate_http_sessions").set(open.len() as f64);
        (name, requests)
    }

    pub(super) fn find(&self, name: &str) -> Option<(CallGatewayClaims, SessionRequests)> {
        self.table().get(name).cloned()
    }

    pub(super) fn close(&self, name: &str) {
        let mut open = self.table();
        open.remove(name);
        metrics::gauge!("confgate_http_sessions").set(open.len() as f64);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, (CallGatewayClaims, SessionRequests)>> {
        sync::lock(&self.open)
    }
}
