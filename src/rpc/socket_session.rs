//! The state that an event socket's task and the requests that come over it share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use crate::auth::Caller;
use crate::conference::Position;
use crate::ids::ConfId;
use crate::sync;

/// Positions that a client resumes from.
type Positions = Vec<(ConfId, Position)>;

/// See the module. Owned by the socket's task; its requests hold it as long as they are under way.
pub struct SocketSession {
    caller: watch::Sender<Arc<Caller>>,
    /// `None` once conferences were sent their snapshots, when more are of no use.
    positions: Mutex<Option<Positions>>,
    /// Whether the first frame is being answered, which says where to resume from.
    is_resuming: AtomicBool,
    /// Notified when it is known where from.
    known: Notify,
}

impl SocketSession {
    pub(super) fn new(caller: Arc<Caller>, positions: Positions) -> Self {
        Self {
            caller: watch::Sender::new(caller),
            positions: Mutex::new(Some(positions)),
            is_resuming: AtomicBool::new(false),
            known: Notify::new(),
        }
    }

    /// The present owner of the socket.
    pub(super) fn caller(&self) -> Arc<Caller> {
        self.caller.borrow().clone()
    }

    pub(super) fn callers(&self) -> watch::Receiver<Arc<Caller>> {
        self.caller.subscribe()
    }

    /// A new token for the same user: the socket lives as long as that one.
    pub(super) fn renew(&self, caller: Arc<Caller>) {
        self.caller.send_replace(caller);
    }

    /// The positions that the client resumes from, for conferences that have not been sent a snapshot yet.
    pub(super) fn resume(&self, positions: Positions) {
        if let Some(known) = self.lock().as_mut() {
            known.extend(positions);
        }
    }

    pub(super) fn has_positions(&self) -> bool {
        self.lock().as_ref().is_some_and(|known| !known.is_empty())
    }

    /// All positions; those that come later are of no use.
    pub(super) fn take_positions(&self) -> Positions {
        self.lock().take().unwrap_or_default()
    }

    /// The first frame came. `resumes`: its answer says where to resume from.
    pub(super) fn first_frame(&self, resumes: bool) {
        if resumes {
            self.is_resuming.store(true, Relaxed);
        } else {
            self.known.notify_one();
        }
    }

    pub(super) fn is_resuming(&self) -> bool {
        self.is_resuming.load(Relaxed)
    }

    /// A request was answered.
    pub(super) fn answered(&self) {
        if self.is_resuming.swap(false, Relaxed) {
            self.known.notify_one();
        }
    }

    /// Until it is known where the client resumes from.
    pub(super) async fn positions_known(&self) {
        self.known.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Positions>> {
        sync::lock(&self.positions)
    }
}
