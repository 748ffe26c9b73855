//! The worker: owns the EIM, handles what comes in, keeps what is to be kept, sends what is to be sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::address::domain_of;
use super::super::stanza_error::{Envelope, StanzaError};
use super::super::{Done, Eim, Job, Output, Write};
use super::disk::{Disk, Kept};
use super::publisher_queue::PublisherQueue;
use super::rooms::Mirror;
use crate::clock::Now;
use crate::refusal::Reason;
use crate::xmpp::xml::Stanza;

/// Stanzas and notices that wait for the worker. When it is full the links stop reading, so that the senders wait.
const INBOX: usize = 1024;
/// Most of them that are handled before their writes are made durable together.
const BATCH: usize = 256;
/// Batches of stanzas that wait for one link. One that is so far behind is cut, as its peer is stuck: it connects
/// again and asks for snapshots, instead of holding up the others.
pub(super) const LINK_QUEUE: usize = 4096;
/// Passwords are hashed on one part in so many of the cores, on one at least; each takes one for tens of milliseconds.
const HASHING_ONE_IN: usize = 2;
/// Passwords that wait to be hashed; more are refused.
const HASH_QUEUE: usize = 256;
/// After writes that could not be kept nothing is changed for so long; then it is tried again.
const WRITE_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The longest sleep: the wall clock, by which conferences start, may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The name of the link to the server whose MUC rooms mirror the conferences; no domain.
pub(super) const ROOMS: &str = "muc rooms";

/// Where a stanza of ours goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routes {
    /// We are the server: on the recipient's link.
    ByRecipient,
    /// We are components of a server: on the link of the address that speaks.
    BySender,
}

/// A message of the links' tasks to the worker.
pub(super) enum Inbound {
    Up {
        domain: String,
        link: LinkSender,
    },
    Down {
        domain: String,
        number: u64,
    },
    Stanza(Stanza),
    /// One that was not read: without its content.
    Skipped(Stanza),
    /// Of the server whose MUC rooms mirror the conferences.
    Rooms(Stanza),
    /// The same, not read.
    RoomsSkipped(Stanza),
    Done(Box<Done>),
}

/// The worker's end of a link. When it is dropped, the link sends what is queued and closes.
pub(super) struct LinkSender {
    /// Tells this connection of the domain from others.
    pub number: u64,
    /// Holds [`LINK_QUEUE`].
    pub batches: mpsc::Sender<Vec<Stanza>>,
    /// Ends the link at once.
    pub cut: CancellationToken,
}

/// See the module. No lock: the EIM and the links' ends are the worker's alone.
pub(super) struct Worker {
    pub(super) eim: Eim,
    /// Where conferences are MUC rooms.
    pub(super) mirror: Option<Mirror>,
    routes: Routes,
    disk: Disk,
    publisher: PublisherQueue,
    /// Nothing is changed until then, as changes can't be kept or published.
    pub(super) rest: Option<Instant>,
    /// Whether the last changes could not be kept.
    in_trouble: bool,
    /// The time up to which all that was due is done and kept: the EIM's time while it rests.
    kept_at: Now,
    inbox: mpsc::Receiver<Inbound>,
    /// For the outcomes of jobs.
    own: mpsc::Sender<Inbound>,
    pub(super) links: HashMap<String, LinkSender>,
    hashing: Arc<Semaphore>,
    hash_queue: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl Worker {
    pub(super) fn new(
        eim: Eim,
        routes: Routes,
        disk: Disk,
        publisher: PublisherQueue,
        tracker: TaskTracker,
    ) -> (Self, mpsc::Sender<Inbound>) {
        let (own, inbox) = mpsc::channel(INBOX);
        let links = HashMap::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hashing = Arc::new(Semaphore::new((cores / HASHING_ONE_IN).max(1)));
        let hash_queue = Arc::new(Semaphore::new(HASH_QUEUE));
        let (rest, in_trouble, kept_at) = (None, false, Now::read());
        let own_end = own.clone();
        let worker = Self {
            eim,
            mirror: None,
            routes,
            disk,
            publisher,
            rest,
            in_trouble,
            kept_at,
            inbox,
            own: own_end,
            links,
            hashing,
            hash_queue,
            tracker,
        };
        (worker, own)
    }

    /// Until told to stop; what was taken in by then is finished.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let depth = metrics::gauge!("confgate_builtin_eim_inbox_stanzas");
        self.take_restored(&stop).await;
        loop {
            let timer = self.timer();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.inbox.recv_many(&mut batch, BATCH) => {}
                () = sleep_until(timer) => {}
            }
            depth.set((batch.len() + self.inbox.len()) as f64);
            let (mut done, mut taken) = (Output::default(), Taken::default());
            self.update_rest();
            let now = if self.rest.is_some() { self.kept_at } else { Now::read() };
            if self.rest.is_none() {
                self.append(&mut done, now, |eim, now, rng| eim.tick(now, rng));
            }
            for inbound in batch.drain(..) {
                self.on_inbound(inbound, now, &mut done, &mut taken);
            }
            self.reconcile_rooms(now, &mut done);
            metrics::gauge!("confgate_builtin_eim_conferences").set(self.eim.conferences() as f64);
            metrics::gauge!("confgate_builtin_eim_calls").set(self.eim.calls() as f64);
            match self.keep(done.writes, &stop).await {
                Kept::Yes => self.kept_at = now,
                Kept::No(why) => {
                    let Some(documents) = self.disk.read(&stop).await else { return };
                    done = self.undo(documents, taken, &why);
                    self.restart_rooms(now);
                }
                Kept::Stopped => return,
            }
            self.publisher.put(done.publications);
            self.send(done.stanzas);
            self.send_to_rooms();
            for job in done.jobs {
                self.start(job);
            }
        }
    }

    /// What an earlier process has not published goes to the publisher. Without one it is deleted: it would be out of
    /// date when there is a broker again.
    async fn take_restored(&mut self, stop: &CancellationToken) {
        let restored = self.eim.take_unpublished();
        if self.publisher.is_open() {
            return self.publisher.put(restored);
        }
        let writes = restored.iter().map(|publication| Write::published(publication.number)).collect();
        // Where it fails, the next start tries it again.
        let _ = self.keep(writes, stop).await;
    }

    fn update_rest(&mut self) {
        if self.rest.is_some_and(|until| until <= Instant::now()) {
            self.rest = None;
        }
        if !self.publisher.has_room() {
            self.rest = Some(Instant::now() + WRITE_RETRY_PAUSE);
        }
    }

    fn timer(&self) -> Instant {
        if let Some(until) = self.rest {
            return until;
        }
        Instant::now() + self.eim.wait(Now::read()).map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX))
    }

    fn append(&mut self, done: &mut Output, now: Now, work: impl FnOnce(&mut Eim, Now, &mut dyn rand::Rng) -> Output) {
        done.add(work(&mut self.eim, now, &mut rand::rng()));
    }

    fn on_inbound(&mut self, inbound: Inbound, now: Now, done: &mut Output, taken: &mut Taken) {
        match inbound {
            Inbound::Up { domain, link } => {
                let is_rooms = domain == ROOMS;
                if let Some(old) = self.links.insert(domain, link) {
                    old.cut.cancel();
                }
                if is_rooms {
                    self.rooms_up(now, done);
                }
            }
            Inbound::Down { domain, number } => {
                if self.links.get(&domain).is_some_and(|link| link.number == number) {
                    self.links.remove(&domain);
                    if domain == ROOMS {
                        self.rooms_down(now);
                    }
                }
            }
            Inbound::Rooms(stanza) => self.take_from_rooms(&stanza, false, now, done),
            Inbound::RoomsSkipped(stanza) => self.take_from_rooms(&stanza, true, now, done),
            Inbound::Stanza(stanza) => self.take_stanza(stanza, now, done, taken),
            Inbound::Skipped(stanza) => {
                if stanza.is_request() && (self.routes == Routes::ByRecipient || self.is_here(&stanza)) {
                    done.stanzas.push(Envelope::answering(&stanza).error(&StanzaError::of(Reason::StanzaNotRead)));
                }
            }
            Inbound::Done(outcome) if self.rest.is_some() && outcome.changes() => {
                done.stanzas.push(later(outcome.envelope()));
            }
            Inbound::Done(outcome) => {
                taken.outcomes.push(outcome.envelope());
                self.append(done, now, |eim, now, rng| eim.finish(*outcome, now, rng));
            }
        }
    }

    fn take_stanza(&mut self, stanza: Stanza, now: Now, done: &mut Output, taken: &mut Taken) {
        if self.mirror.as_mut().is_some_and(|mirror| mirror.bridge.take_link(&stanza)) {
            return;
        }
        if self.is_here(&stanza) {
            if self.rest.is_some() && is_change(&stanza) {
                done.stanzas.push(later(Envelope::answering(&stanza)));
                return;
            }
            self.append(done, now, |eim, now, rng| eim.handle(&stanza, now, rng));
            taken.stanzas.push(stanza);
        } else if self.routes == Routes::BySender {
            // Nobody of ours: there is no address to answer from.
            metrics::counter!("confgate_builtin_eim_stanzas_total", "outcome" => "dropped").increment(1);
        } else if self.links.contains_key(&domain_of(stanza.attr("to").unwrap_or_default())) {
            done.stanzas.push(stanza);
        } else if stanza.is_request() {
            done.stanzas.push(Envelope::answering(&stanza).error(&StanzaError::of(Reason::AddressUnknown)));
        }
    }

    /// Whether it is for the EIM itself. As a server we are also at no address at all.
    fn is_here(&self, stanza: &Stanza) -> bool {
        let to = stanza.attr("to").unwrap_or_default();
        self.eim.is_at(to) || (to.is_empty() && self.routes == Routes::ByRecipient)
    }

    async fn keep(&mut self, writes: Vec<Write>, stop: &CancellationToken) -> Kept {
        if writes.is_empty() {
            return Kept::Yes;
        }
        let writes: Arc<[Write]> = latest(writes).into();
        let began = Instant::now();
        let kept = self.disk.keep(Arc::clone(&writes), !self.in_trouble, stop).await;
        if kept == Kept::Yes {
            metrics::histogram!("confgate_builtin_eim_commit_seconds").record(began.elapsed().as_secs_f64());
            metrics::counter!("confgate_builtin_eim_writes_total").increment(writes.len() as u64);
            if std::mem::take(&mut self.in_trouble) {
                tracing::info!("the built-in EIM's changes can be kept again");
            }
        }
        kept
    }

    /// As if what could not be kept had never been asked: the EIM is what the disk has. Who asked is told to come later;
    /// what only reads is answered.
    fn undo(&mut self, documents: Vec<(String, String, String)>, taken: Taken, why: &str) -> Output {
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::error!(why, "the built-in EIM's changes can't be kept: they are refused until they can");
        }
        match self.eim.reload(documents) {
            Ok(mut eim) => {
                // Writes that seemed to fail may be durable: then their publications leave too.
                self.publisher.put(eim.take_unpublished());
                self.eim = eim;
            }
            // It wrote them itself, and has read them before.
            Err(error) => tracing::error!(%error, "the built-in EIM's documents are not what it wrote"),
        }
        self.rest = Some(Instant::now() + WRITE_RETRY_PAUSE);
        let mut done = Output::default();
        done.stanzas.extend(taken.outcomes.into_iter().map(later));
        for stanza in taken.stanzas.into_iter().filter(|stanza| stanza.name == "iq") {
            self.take_stanza(stanza, self.kept_at, &mut done, &mut Taken::default());
        }
        done.writes.clear();
        done.publications.clear();
        done
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
            let sent = link.map(|link| link.batches.try_send(batch));
            let outcome = if matches!(sent, Some(Ok(()))) { "sent" } else { "dropped" };
            metrics::counter!("confgate_builtin_eim_stanzas_total", "outcome" => outcome).increment(n);
            // A link that has ended by itself says so in a moment.
            if matches!(sent, Some(Err(TrySendError::Full(_))))
                && let Some(link) = self.links.remove(&domain)
            {
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

/// The input that was taken in and is not yet kept.
#[derive(Default)]
struct Taken {
    stanzas: Vec<Stanza>,
    /// The requesters of jobs that are done.
    outcomes: Vec<Envelope>,
}

/// Whether it asks for a change (RFC 6120 section 8.2.3).
fn is_change(stanza: &Stanza) -> bool {
    stanza.name == "iq" && stanza.attr("type") == Some("set")
}

/// Nothing was done; the same may go well in a moment.
fn later(asked: Envelope) -> Stanza {
    asked.error(&StanzaError::of(Reason::StoreUnavailable))
}

/// The last write of each document: what it replaced need not be kept on the way.
fn latest(writes: Vec<Write>) -> Vec<Write> {
    let mut seen = HashSet::with_capacity(writes.len());
    let kept: Vec<bool> = writes.iter().rev().map(|w| seen.insert((w.kind, w.key.as_str()))).collect();
    drop(seen);
    let pairs = writes.into_iter().zip(kept.into_iter().rev());
    pairs.filter(|(_, keep)| *keep).map(|(write, _)| write).collect()
}
