//! The progress of a response, as its client takes it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

/// When the client last took a piece of an answer, in ms since the connection began.
pub struct Progress {
    begun: Instant,
    at: AtomicU64,
}

impl Progress {
    /// `begun`: when the connection began.
    pub fn new(begun: Instant) -> Self {
        let progress = Self { begun, at: AtomicU64::new(0) };
        progress.record();
        progress
    }

    pub fn record(&self) {
        self.at.store(self.begun.elapsed().as_millis() as u64, Relaxed);
    }

    pub fn at(&self) -> u64 {
        self.at.load(Relaxed)
    }
}
