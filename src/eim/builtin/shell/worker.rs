//! The worker: owns the EIM, handles what comes in, keeps what is to be kept, sends what is to be sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::address::domain_of;
use super::super::deny::{Deny, Envelope};
use super::super::{Done, Eim, Job, Output, Write};
use super::Persist;
use crate::eim::link::Backoff;
use crate::eim::xml::Stanza;
use crate::ids::now_ms;

/// Stanzas and notices that wait for the worker. When it is full the links stop reading, so that the senders wait.
const INBOX: usize = 1024;
/// Most of them that are handled before their writes are made durable together.
const BATCH: usize = 256;
/// Batches of stanzas that wait for one link. One that is so far behind is cut, as its peer is stuck: it connects
/// again and asks for snapshots, instead of holding up the others.
pub(super) const LINK_QUEUE: usize = 4096;
/// Passwords that are hashed at a time; each takes a core for tens of milliseconds.
const HASHING: usize = 2;
/// Passwords that wait to be hashed; more are refused.
const HASH_QUEUE: usize = 256;
/// The pause after writes that could not be kept.
const PERSIST_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// The longest sleep for a timer: the wall clock, by which timers are, may be set meanwhile.
const SLEEP_MAX_MS: u64 = 60_000;

/// Where a stanza of ours goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routes {
    /// We are the server: on the recipient's link.
    ByRecipient,
    /// We are components of a server: on the link of the address that speaks.
    BySender,
}

/// What the links' tasks tell the worker.
pub(super) enum Inbound {
    Up {
        domain: String,
        link: Outlet,
    },
    Down {
        domain: String,
        number: u64,
    },
    Stanza(Stanza),
    /// One that was not read: without its content.
    Skipped(Stanza),
    Done(Box<Done>),
}

/// The worker's end of a link. When it is dropped, the link sends what is queued and closes.
pub(super) struct Outlet {
    /// Tells this connection of the domain from others.
    pub number: u64,
    /// Holds [`LINK_QUEUE`].
    pub batches: mpsc::Sender<Vec<Stanza>>,
    /// Ends the link at once.
    pub cut: CancellationToken,
}

/// See the module. No lock: the EIM and the links' outlets are the worker's alone.
pub(super) struct Worker {
    eim: Eim,
    routes: Routes,
    persist: Persist,
    inbox: mpsc::Receiver<Inbound>,
    /// For the outcomes of jobs.
    own: mpsc::Sender<Inbound>,
    links: HashMap<String, Outlet>,
    hashing: Arc<Semaphore>,
    hash_queue: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl Worker {
    pub(super) fn new(
        eim: Eim,
        routes: Routes,
        persist: Persist,
        tracker: TaskTracker,
    ) -> (Self, mpsc::Sender<Inbound>) {
        let (own, inbox) = mpsc::channel(INBOX);
        let links = HashMap::new();
        let (hashing, hash_queue) = (Arc::new(Semaphore::new(HASHING)), Arc::new(Semaphore::new(HASH_QUEUE)));
        (Self { eim, routes, persist, inbox, own: own.clone(), links, hashing, hash_queue, tracker }, own)
    }

    /// Until told to stop; what was taken in by then is finished.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let depth = metrics::gauge!("confgate_builtin_eim_inbox_stanzas");
        loop {
            let timer = self.timer();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.inbox.recv_many(&mut batch, BATCH) => {}
                () = sleep_until(timer) => {}
            }
            depth.set((batch.len() + self.inbox.len()) as f64);
            let mut done = Output::default();
            self.append(&mut done, |eim, now, rng| eim.tick(now, rng));
            for inbound in batch.drain(..) {
                self.take_in(inbound, &mut done);
            }
            metrics::gauge!("confgate_builtin_eim_conferences").set(self.eim.conferences() as f64);
            metrics::gauge!("confgate_builtin_eim_calls").set(self.eim.calls() as f64);
            if !self.keep(done.writes, &stop).await {
                return;
            }
            self.send(done.stanzas);
            for job in done.jobs {
                self.start(job);
            }
        }
    }

    fn timer(&self) -> Instant {
        let wait = self.eim.next_due().map_or(SLEEP_MAX_MS, |due| due.saturating_sub(now_ms()).min(SLEEP_MAX_MS));
        Instant::now() + Duration::from_millis(wait)
    }

    fn append(&mut self, done: &mut Output, work: impl FnOnce(&mut Eim, u64, &mut dyn rand::Rng) -> Output) {
        let output = work(&mut self.eim, now_ms(), &mut rand::rng());
        done.stanzas.extend(output.stanzas);
        done.writes.extend(output.writes);
        done.jobs.extend(output.jobs);
    }

    fn take_in(&mut self, inbound: Inbound, done: &mut Output) {
        match inbound {
            Inbound::Up { domain, link } => {
                if let Some(old) = self.links.insert(domain, link) {
                    old.cut.cancel();
                }
            }
            Inbound::Down { domain, number } => {
                if self.links.get(&domain).is_some_and(|link| link.number == number) {
                    self.links.remove(&domain);
                }
            }
            Inbound::Stanza(stanza) => self.take_stanza(stanza, done),
            Inbound::Skipped(stanza) => {
                if stanza.asks() && (self.routes == Routes::ByRecipient || self.is_here(&stanza)) {
                    done.stanzas.push(Envelope::answering(&stanza).error(&Deny::not_read()));
                }
            }
            Inbound::Done(outcome) => self.append(done, |eim, now, rng| eim.finish(*outcome, now, rng)),
        }
    }

    fn take_stanza(&mut self, stanza: Stanza, done: &mut Output) {
        if self.is_here(&stanza) {
            self.append(done, |eim, now, rng| eim.handle(&stanza, now, rng));
        } else if self.routes == Routes::BySender {
            // Nobody of ours: there is no address to answer from.
            metrics::counter!("confgate_builtin_eim_stanzas_total", "outcome" => "dropped").increment(1);
        } else if self.links.contains_key(&domain_of(stanza.attr("to").unwrap_or_default())) {
            done.stanzas.push(stanza);
        } else if stanza.asks() {
            done.stanzas.push(Envelope::answering(&stanza).error(&Deny::unavailable("address.unknown")));
        }
    }

    /// Whether it is for the EIM itself. As a server we are also at no address at all.
    fn is_here(&self, stanza: &Stanza) -> bool {
        let to = stanza.attr("to").unwrap_or_default();
        self.eim.is_at(to) || (to.is_empty() && self.routes == Routes::ByRecipient)
    }

    /// Makes the writes durable, however many tries it takes. False: told to stop before it could be done.
    async fn keep(&mut self, writes: Vec<Write>, stop: &CancellationToken) -> bool {
        if writes.is_empty() {
            return true;
        }
        let writes: Arc<[Write]> = latest(writes).into();
        let mut backoff = Backoff::new(PERSIST_PAUSE.0, PERSIST_PAUSE.1);
        let began = Instant::now();
        while let Err(why) = (self.persist)(Arc::clone(&writes)).await {
            metrics::counter!("confgate_builtin_eim_commit_failures_total").increment(1);
            tracing::error!(%why, "the built-in EIM's changes can't be kept; nothing is answered until they are");
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                () = sleep(backoff.pause(false, rand::random())) => {}
            }
        }
        metrics::histogram!("confgate_builtin_eim_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::counter!("confgate_builtin_eim_writes_total").increment(writes.len() as u64);
        true
    }

    fn send(&mut self, stanzas: Vec<Stanza>) {
        let mut by_link: BTreeMap<String, Vec<Stanza>> = BTreeMap::new();
        for stanza in stanzas {
            let end = if self.routes == Routes::ByRecipient { "to" } else { "from" };
            let domain = domain_of(stanza.attr(end).unwrap_or_default());
            by_link.entry(domain).or_default().push(stanza);
        }
        for (domain, batch) in by_link {
            let n = batch.len() as u64;
            let link = self.links.get(&domain);
            if let Some(link) = link {
                let waiting = link.batches.max_capacity() - link.batches.capacity();
                metrics::gauge!("confgate_builtin_eim_link_batches", "link" => domain.clone()).set(waiting as f64);
            }
            let sent = link.is_some_and(|link| link.batches.try_send(batch).is_ok());
            let outcome = if sent { "sent" } else { "dropped" };
            metrics::counter!("confgate_builtin_eim_stanzas_total", "outcome" => outcome).increment(n);
            if !sent && let Some(link) = self.links.remove(&domain) {
                tracing::warn!(domain, "a link of the built-in EIM is cut: its peer doesn't take what is sent");
                link.cut.cancel();
            }
        }
    }

    /// Hands a job to the threads for blocking work; its outcome comes back through the mailbox.
    fn start(&mut self, job: Job) {
        let Ok(place) = Arc::clone(&self.hash_queue).try_acquire_owned() else {
            let refused = self.eim.refuse(job);
            return self.send(refused.stanzas);
        };
        let waiting = HASH_QUEUE - self.hash_queue.available_permits();
        metrics::gauge!("confgate_builtin_eim_hash_queue_jobs").set(waiting as f64);
        let (own, hashing) = (self.own.clone(), Arc::clone(&self.hashing));
        self.tracker.spawn(async move {
            let Ok(_turn) = hashing.acquire().await else { return };
            if let Ok(outcome) = tokio::task::spawn_blocking(move || job.run()).await {
                drop(place);
                // An error here: the EIM has stopped, and nobody waits for the answer.
                let _ = own.send(Inbound::Done(Box::new(outcome))).await;
            }
        });
    }
}

/// The last write of each document: what it replaced need not be kept on the way.
fn latest(writes: Vec<Write>) -> Vec<Write> {
    let mut seen = HashSet::with_capacity(writes.len());
    let kept: Vec<bool> = writes.iter().rev().map(|w| seen.insert((w.kind, w.key.as_str()))).collect();
    drop(seen);
    let pairs = writes.into_iter().zip(kept.into_iter().rev());
    pairs.filter(|(_, keep)| *keep).map(|(write, _)| write).collect()
}
