//! The built-in EIM's streams, clock and disk.
//!
//! One task owns the EIM; each connection has a task of its own. What an answer promises is kept before the answer is
//! sent, in one transaction for as many stanzas as were waiting.
//!
//! ```text
//! connection tasks --stanza--> EIM task --writes--> persist --then--> routes --stanza--> connection tasks
//! ```

mod components;
mod in_process;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Done, Eim, Output, Write};
use crate::eim::stream::{StreamError, XmppStream};
use crate::eim::xml::Stanza;
use crate::ids::now_ms;

pub use components::{Server, serve_components};
pub use in_process::serve_in_process;

/// Stanzas that wait for the EIM. When it is full connections are not read on.
const MAILBOX: usize = 1024;
/// Stanzas that wait for a connection. When it is full the EIM waits, and all its callers with it: a component that
/// does not read is held to its own pace for a moment, then cut off.
const OUTGOING: usize = 4096;
/// How long the EIM waits for a full connection before it is cut off.
const OUTGOING_PATIENCE: Duration = Duration::from_secs(5);
/// Most stanzas handled for one transaction.
const BATCH: usize = 256;
/// Jobs (password hashing) under way at once; more are refused as busy.
const JOBS: usize = 16;
/// Between attempts to keep what could not be kept.
const PERSIST_RETRY: Duration = Duration::from_secs(1);
/// Queued bytes at which a connection takes no more to send.
const WRITE_HIGH: usize = 256 * 1024;

/// What the EIM task is told.
enum Item {
    Stanza(Stanza),
    Done(Done),
}

/// Who is connected: the mailbox of each domain's connection. Written by the connections as they come and go.
#[derive(Clone, Default)]
struct Routes {
    by_domain: Arc<RwLock<HashMap<String, Route>>>,
    opened: Arc<AtomicU64>,
}

/// A connection's number, and its mailbox.
type Route = (u64, mpsc::Sender<Stanza>);

impl Routes {
    /// A way to the domain, instead of an earlier one, whose connection ends. The token closes it.
    fn open(&self, domain: &str) -> (u64, mpsc::Receiver<Stanza>) {
        let (sender, receiver) = mpsc::channel(OUTGOING);
        let token = self.opened.fetch_add(1, Ordering::Relaxed);
        self.by_domain.write().unwrap_or_else(PoisonError::into_inner).insert(domain.to_owned(), (token, sender));
        (token, receiver)
    }

    /// Takes the way off, unless another has taken its place.
    fn close(&self, domain: &str, token: u64) {
        let mut routes = self.by_domain.write().unwrap_or_else(PoisonError::into_inner);
        if routes.get(domain).is_some_and(|(own, _)| *own == token) {
            routes.remove(domain);
        }
    }

    fn to(&self, domain: &str) -> Option<Route> {
        self.by_domain.read().unwrap_or_else(PoisonError::into_inner).get(domain).cloned()
    }

    fn knows(&self, domain: &str) -> bool {
        self.to(domain).is_some()
    }

    /// Hands the stanza to the domain's connection. Without one, it is as lost as with a server whose component is gone.
    async fn send(&self, domain: &str, stanza: Stanza) {
        let Some((token, connection)) = self.to(domain) else {
            metrics::counter!("confgate_builtin_eim_undeliverable_total").increment(1);
            return;
        };
        if connection.send_timeout(stanza, OUTGOING_PATIENCE).await.is_err() {
            tracing::warn!(domain, "a component does not read; it is cut off");
            self.close(domain, token);
        }
    }
}

/// Owns the EIM.
struct Owner<P, R> {
    eim: Eim,
    persist: P,
    /// The domain whose connection a stanza leaves by.
    route: R,
    routes: Routes,
    jobs: JoinSet<Done>,
}

impl<P, F, R> Owner<P, R>
where
    P: FnMut(Vec<Write>) -> F,
    F: Future<Output = Result<(), String>>,
    R: Fn(&Stanza) -> String,
{
    async fn run(mut self, mut mailbox: mpsc::Receiver<Item>, stop: CancellationToken) {
        loop {
            let due = self.eim.next_due().map(|at| Duration::from_millis(at.saturating_sub(now_ms())));
            let mut output = tokio::select! {
                () = stop.cancelled() => return,
                item = mailbox.recv() => match item {
                    Some(item) => self.take(item),
                    None => return,
                },
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.take(Item::Done(done)),
                    Err(error) => {
                        tracing::error!(%error, "a job of the built-in EIM failed");
                        Output::default()
                    }
                },
                () = sleep(due) => self.eim.tick(now_ms(), &mut rand::rng()),
            };
            for _ in 0..BATCH {
                let Ok(item) = mailbox.try_recv() else { break };
                let more = self.take(item);
                output.stanzas.extend(more.stanzas);
                output.writes.extend(more.writes);
            }
            if !self.keep(output.writes, &stop).await {
                return;
            }
            for stanza in output.stanzas {
                let domain = (self.route)(&stanza);
                self.routes.send(&domain, stanza).await;
            }
        }
    }

    fn take(&mut self, item: Item) -> Output {
        let mut rng = rand::rng();
        let mut output = match item {
            Item::Stanza(stanza) => self.eim.handle(&stanza, now_ms(), &mut rng),
            Item::Done(done) => self.eim.finish(done, now_ms(), &mut rng),
        };
        for job in std::mem::take(&mut output.jobs) {
            if self.jobs.len() < JOBS {
                self.jobs.spawn_blocking(move || job.run());
            } else {
                output.stanzas.extend(self.eim.refuse(job).stanzas);
            }
        }
        output
    }

    /// Keeps the writes, however long it takes: nothing is said that isn't kept. `false`: stopped meanwhile.
    async fn keep(&mut self, writes: Vec<Write>, stop: &CancellationToken) -> bool {
        if writes.is_empty() {
            return true;
        }
        loop {
            let Err(error) = (self.persist)(writes.clone()).await else { return true };
            metrics::counter!("confgate_builtin_eim_persist_failures_total").increment(1);
            tracing::error!(error, "the built-in EIM can't keep its state; its answers wait");
            tokio::select! {
                () = tokio::time::sleep(PERSIST_RETRY) => {}
                () = stop.cancelled() => return false,
            }
        }
    }
}

async fn sleep(until: Option<Duration>) {
    match until {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Carries stanzas both ways until the stream ends. `take`: what is done with each that comes.
async fn carry<T, F>(
    stream: &mut XmppStream,
    outgoing: &mut mpsc::Receiver<Stanza>,
    mut take: T,
) -> Result<(), StreamError>
where
    T: FnMut(Stanza) -> F,
    F: Future<Output = ()>,
{
    loop {
        let may_write = stream.queued() < WRITE_HIGH;
        tokio::select! {
            stanza = stream.next() => take(stanza?).await,
            stanza = outgoing.recv(), if may_write => match stanza {
                Some(stanza) => {
                    stream.queue_stanza(&stanza);
                    while stream.queued() < WRITE_HIGH
                        && let Ok(stanza) = outgoing.try_recv()
                    {
                        stream.queue_stanza(&stanza);
                    }
                }
                // Cut off.
                None => return Ok(()),
            },
        }
    }
}

/// The domain of an address `[local@]domain[/resource]`.
fn domain_of(address: &str) -> &str {
    let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
    bare.rsplit_once('@').map_or(bare, |(_, domain)| domain)
}
