//! The store of the EIM's documents, and how long it is tried.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::Write;
use crate::clock::backoff::Backoff;

/// How long writes that could not be kept are tried again before what they are for is refused and undone.
const KEEP_TRYING: Duration = Duration::from_millis(500);
/// The pauses between the tries, and between those to read.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Makes writes durable, all of them or none, in one transaction. They are for distinct documents. The error is for
/// operators.
pub type Persist = Arc<dyn Fn(Arc<[Write]>) -> Persisting + Send + Sync>;
/// See [`Persist`].
pub type Persisting = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// All documents as they are kept now: `(kind, key, body)`.
pub type Recall = Arc<dyn Fn() -> Recalling + Send + Sync>;
/// See [`Recall`].
pub type Recalling = Pin<Box<dyn Future<Output = Result<Vec<(String, String, String)>, String>> + Send>>;

/// Both ways to the disk.
#[derive(Clone)]
pub struct Disk {
    /// Writes documents.
    pub persist: Persist,
    /// Reads all documents.
    pub recall: Recall,
}

/// The result of writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    /// None of them is kept, and why.
    No(String),
    /// Told to stop first.
    Stopped,
}

impl Disk {
    /// `patiently`: a failure may be one of a moment.
    pub(super) async fn keep(&self, writes: Arc<[Write]>, patiently: bool, stop: &CancellationToken) -> Kept {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let until = Instant::now() + if patiently { KEEP_TRYING } else { Duration::ZERO };
        while let Err(why) = (self.persist)(Arc::clone(&writes)).await {
            metrics::counter!("confgate_builtin_eim_commit_failures_total").increment(1);
            let pause = sleep(backoff.pause(false, rand::random()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Kept::Stopped,
                paused = timeout_at(until, pause) => if paused.is_err() { return Kept::No(why) },
            }
        }
        Kept::Yes
    }

    /// Reads the documents, however many tries it takes; `None` where told to stop first.
    pub(super) async fn read(&self, stop: &CancellationToken) -> Option<Vec<(String, String, String)>> {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            match (self.recall)().await {
                Ok(documents) => return Some(documents),
                Err(why) => tracing::error!(%why, "the built-in EIM's documents can't be read"),
            }
            stop.run_until_cancelled(sleep(backoff.pause(false, rand::random()))).await?;
        }
    }
}
