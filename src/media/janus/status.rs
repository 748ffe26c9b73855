//! The status of the link to a Janus, and the text of its frames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio_tungstenite::tungstenite::Message;

use crate::sync;

/// The status that the link's task publishes.
pub(super) struct LinkStatus {
    pub up: AtomicBool,
    pub endpoints: AtomicU64,
    pub rooms: AtomicU64,
    /// Of all of Janus; [`UNKNOWN`] where nobody counts.
    pub handles: AtomicU64,
    /// The reason why the last link has ended, or there was none.
    pub why: Mutex<String>,
}

pub const UNKNOWN: u64 = u64::MAX;

impl LinkStatus {
    pub fn set_handles(&self, handles: Option<u64>) {
        self.handles.store(handles.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    pub fn why(&self) -> MutexGuard<'_, String> {
        // Whole at any time.
        sync::lock(&self.why)
    }

    /// Connections that Janus has, as far as known.
    pub fn connections(&self) -> u64 {
        let own = self.endpoints.load(Ordering::Relaxed);
        match self.handles.load(Ordering::Relaxed) {
            UNKNOWN => own,
            // Ours may be newer than the count.
            handles => handles.max(own),
        }
    }
}

/// The text of a message; `None` for what is none.
pub(super) fn text_of_frame(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<String>, String> {
    match message {
        None | Some(Ok(Message::Close(_))) => Err("closed by Janus".into()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(Message::Text(text))) => Ok(Some(text.to_string())),
        Some(Ok(_)) => Ok(None),
    }
}
