//! How the program ends: in two stages, and with an exit code that tells the truth.
//!
//! *Soft*: take nothing new, finish what is under way. *Hard*: end now. Doors (what clients talk to) end at the soft
//! stop; wires (store, EIM, ...) go on until the last listener has ended, because requests under way need them.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The time after the hard stop in which wires write down the data that they still hold.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// "File size limit exceeded" (signal(7)), whose default is the process's end.
const SIGXFSZ: i32 = 25;

/// An error of any part.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How the program ended; the exit code of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked: 0.
    Stopped,
    /// A part failed, or ended without being asked: 1.
    PartFailed,
}

impl Outcome {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::PartFailed => 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Listener,
    Wire,
}

struct Task {
    name: &'static str,
    stage: Stage,
    handle: AbortHandle,
}

/// Owns every task of the program and decides when each has to end.
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    /// Cancelled by the second signal: wait for nothing more.
    at_once: CancellationToken,
    drain: Duration,
    running: JoinSet<Result<(), Failure>>,
    tasks: Vec<Task>,
    failed: bool,
}

impl Lifecycle {
    /// `drain`: from the soft stop to the hard one at the latest (`limits.drain_s`).
    pub fn new(drain: Duration) -> Self {
        Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            at_once: CancellationToken::new(),
            drain,
            running: JoinSet::new(),
            tasks: Vec::new(),
            failed: false,
        }
    }

    /// Cancelled when nothing new shall begin.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when all shall end now; after `soft`.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Starts a part that clients talk to. It ends when it has drained after the soft stop; before that, its end is a
    /// failure of the process.
    pub fn listener<F>(&mut self, name: &'static str, part: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.start(name, Stage::Listener, part);
    }

    /// Starts a part that others rely on. It ends after the hard token, which comes when the last listener has ended;
    /// before that, its end is a failure of the process.
    pub fn wire<F>(&mut self, name: &'static str, part: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.start(name, Stage::Wire, part);
    }

    /// As [`Self::wire`], for work that can be dropped at the hard stop.
    pub fn work<F>(&mut self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard();
        self.wire(name, async move {
            hard.run_until_cancelled(work).await;
            Ok(())
        });
    }

    fn start<F>(&mut self, name: &'static str, stage: Stage, part: F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handle = self.running.spawn(part);
        self.tasks.push(Task { name, stage, handle });
    }

    /// From now on SIGTERM and SIGINT are the soft stop, and the second of them ends everything at once. To be called
    /// before the parts are made: making them may be what hangs.
    pub fn listen_to_signals(&self) -> io::Result<()> {
        // Where a file may not grow any more the write fails, and what wanted it says so: no reason to die.
        let _ignored_from_now_on = signal(SignalKind::from_raw(SIGXFSZ))?;
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (soft, at_once) = (self.soft.clone(), self.at_once.clone());
        tokio::spawn(async move {
            for stop in [soft, at_once] {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                stop.cancel();
            }
        });
        Ok(())
    }

    /// Runs until the soft token is cancelled or a part ends by itself, then ends the rest.
    pub async fn run(mut self) -> Outcome {
        let (soft, at_once) = (self.soft.clone(), self.at_once.clone());
        tokio::select! {
            biased;
            () = soft.cancelled() => tracing::info!(drain_s = self.drain.as_secs(), "stopping"),
            Some(ended) = self.running.join_next_with_id() => self.note(ended, false),
        }
        self.soft.cancel();
        let drained = at_once.run_until_cancelled(self.drain_doors()).await;
        self.hard.cancel();
        if drained.is_none() || at_once.run_until_cancelled(self.last_words()).await.is_none() {
            tracing::info!(aborted = ?self.names(), "stopped at once");
        }
        self.running.abort_all();
        if self.failed { Outcome::PartFailed } else { Outcome::Stopped }
    }

    /// Waits for the listeners, at most for the drain time.
    async fn drain_doors(&mut self) {
        let deadline = Instant::now() + self.drain;
        while self.tasks.iter().any(|task| task.stage == Stage::Listener) {
            match timeout_at(deadline, self.running.join_next_with_id()).await {
                Ok(Some(ended)) => self.note(ended, true),
                Ok(None) => return,
                Err(_) => {
                    tracing::info!(still_open = ?self.names(), "hard stop: the drain time is over");
                    return;
                }
            }
        }
    }

    async fn last_words(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        loop {
            match timeout_at(deadline, self.running.join_next_with_id()).await {
                Ok(Some(ended)) => self.note(ended, true),
                Ok(None) => return,
                Err(_) => {
                    tracing::warn!(aborted = ?self.names(), "parts did not end after the hard stop");
                    return;
                }
            }
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.tasks.iter().map(|task| task.name).collect()
    }

    /// Takes note of a part's end: an error or a panic is a failure at any time, an end is one unless it was asked for.
    fn note(&mut self, ended: Result<(tokio::task::Id, Result<(), Failure>), JoinError>, stopping: bool) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let at = self.tasks.iter().position(|task| task.handle.id() == id);
        let Some(Task { name: part, stage, .. }) = at.map(|at| self.tasks.swap_remove(at)) else { return };
        let asked = stopping && (stage == Stage::Listener || self.hard.is_cancelled());
        match ended {
            Ok((_, Ok(()))) if asked => return,
            Ok((_, Ok(()))) => tracing::error!(part, "a part ended by itself"),
            Ok((_, Err(error))) => tracing::error!(part, %error, "a part failed"),
            Err(panic) => tracing::error!(part, error = %panic, "a part panicked"),
        }
        self.failed = true;
    }
}

#[cfg(test)]
mod tests;
