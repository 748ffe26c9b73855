//! One XMPP stream that comes back by itself: a cloneable handle, and the one task that owns the stream.

mod connection;
mod requests;
mod state;
mod task;
#[cfg(test)]
mod tests;

use crate::xmpp::dial::{Connected, Dial};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Gauge, Histogram};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::eim::events::{Announce, Inbound, Outbox, UNREADABLE_LINES};
use crate::eim::inbound::InboundSchema;
use crate::health::Health;
use crate::rate_limit::throttle::Throttle;
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{SENT_MAX, Stanza};

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum EimError {
    /// The link is down, or went down. `sent`: the request may have arrived and been carried out.
    #[error("the EIM is unreachable")]
    Unreachable { sent: bool },
    /// The request went out and its deadline passed. It may have been carried out.
    #[error("the EIM did not answer in time")]
    Timeout,
    /// The user has no session at the server, nor will one come by itself (mode `c2s`).
    #[error("the user's session at the EIM is lost")]
    NoSession,
    /// The bound of requests under way is reached; nothing was sent.
    #[error("too many requests to the EIM are under way")]
    TooManyUnderWay,
    /// The request itself is such that a server would end the stream for it; nothing was sent.
    #[error("{0}")]
    Unsendable(&'static str),
    /// The user's share of them is used up; nothing was sent.
    #[error("too many requests of one user to the EIM are under way")]
    TooManyOfUser,
}

impl EimError {
    /// Its name among the metrics' labels.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Unreachable { sent: false } => "unreachable",
            Self::Unreachable { sent: true } => "cut",
            Self::Timeout => "timeout",
            Self::NoSession => "no_session",
            Self::TooManyUnderWay => "too_many",
            Self::Unsendable(_) => "unsendable",
            Self::TooManyOfUser => "too_many_of_user",
        }
    }
}

/// The times of a link.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For connecting, and for the answer to a keep-alive ping.
    pub timeout: Duration,
    /// How long a request waits for a link that is down.
    pub wait: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// Silence after which the link is pinged.
    pub keepalive: Duration,
}

/// The settings of a link.
pub struct LinkSettings {
    /// The metrics' label: `callers`, `gateway`, `session`.
    pub name: &'static str,
    /// The server and the identity.
    pub dial: Dial,
    /// The EIM's domain, which is pinged.
    pub eim_domain: String,
    /// How what comes of its own accord is read.
    pub inbound: Arc<InboundSchema>,
    /// The time limits.
    pub timing: Timing,
    /// The states that are announced.
    pub announce: Announce,
    /// To and from the link beside this one, where there is one.
    pub strays: Option<MisroutedReplies>,
}

/// The crossing between two component links of one gateway, for answers that a server gives to the wrong one of them.
///
/// ejabberd with `global_routes` (its default) routes every domain of a listener to every component on that listener,
/// at random. Such an answer is handed over once, and there belongs to a request by id and sender as any other.
pub struct MisroutedReplies {
    to: mpsc::Sender<Stanza>,
    from: mpsc::Receiver<Stanza>,
    seen: Arc<AtomicBool>,
}

impl MisroutedReplies {
    /// Answers that may wait to be handed over; what is more is dropped, and its request times out.
    const MAX: usize = 1024;
    /// Advice for an operator. Events are spread over both links too, and so lose their order.
    pub const ADVICE: &str = "the server sends one component what is for the other \
        (ejabberd: set `global_routes: false` on the listener, or use one listener for each component)";

    /// Both ends of a crossing.
    pub fn crossing() -> (Self, Self) {
        let ((to_a, from_b), (to_b, from_a)) = (mpsc::channel(Self::MAX), mpsc::channel(Self::MAX));
        let seen = Arc::new(AtomicBool::new(false));
        (Self { to: to_a, from: from_a, seen: Arc::clone(&seen) }, Self { to: to_b, from: from_b, seen })
    }

    /// Whether an answer has crossed.
    pub fn seen(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.seen)
    }

    fn note(&self) {
        if !self.seen.swap(true, Ordering::Relaxed) {
            tracing::warn!("{}", Self::ADVICE);
        }
    }

    async fn recv(this: &mut Option<Self>) -> Stanza {
        let next = match this {
            Some(strays) => strays.from.recv().await,
            None => None,
        };
        match next {
            Some(stanza) => stanza,
            None => std::future::pending().await,
        }
    }
}

/// The state that links share.
#[derive(Clone)]
pub struct Context {
    slots: Arc<Semaphore>,
    /// How many slots there are in all.
    slots_max: usize,
    inbound: mpsc::Sender<Inbound>,
    /// Bounds the log's lines of messages that can't be read.
    unreadable: Arc<Throttle>,
    tracker: TaskTracker,
}

impl Context {
    /// `under_way` bounds the requests under way on all links together.
    pub fn new(under_way: usize, inbound: mpsc::Sender<Inbound>, tracker: TaskTracker) -> Self {
        let slots_max = under_way.clamp(1, Semaphore::MAX_PERMITS);
        let unreadable = Arc::new(Throttle::new(UNREADABLE_LINES));
        Self { slots: Arc::new(Semaphore::new(slots_max)), slots_max, inbound, unreadable, tracker }
    }
}

/// Handle to a link's task. Cheap to clone; the link ends with its last handle or with its token.
///
/// The mailbox holds as many requests as may be under way at all (each holds one of `slots` from before it is sent
/// until it is over), so it is never full; without a free slot the caller learns [`EimError::TooManyUnderWay`] at
/// once. When the task is gone the caller learns [`EimError::Unreachable`].
#[derive(Clone)]
pub struct Link {
    requests: mpsc::Sender<Request>,
    slots: Arc<Semaphore>,
    under_way: Gauge,
    seconds: Histogram,
    health: watch::Receiver<Health>,
    wait: Duration,
}

/// A place in somebody's share of what all share: held as long as their request is under way, whether or not they wait
/// for its answer.
pub type Guard = Arc<dyn Send + Sync>;

/// A request on its way to the link's task.
struct Request {
    /// With `from` and `to` as on the wire; the task gives it its id.
    stanza: Stanza,
    deadline: Instant,
    /// Until when it may wait for the link to come up.
    wait_until: Instant,
    reply: Reply,
}

struct Reply {
    to: oneshot::Sender<Result<Stanza, EimError>>,
    _slot: Slot,
}

impl Reply {
    fn send(self, outcome: Result<Stanza, EimError>) {
        // An error here: the caller has gone, and with it the interest.
        let _ = self.to.send(outcome);
    }
}

/// A place among the requests under way.
struct Slot {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
    _guard: Option<Guard>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

impl Link {
    /// Starts the link's task, on `first` where a connection is there already.
    pub fn start(settings: LinkSettings, first: Option<Connected>, around: &Context, stop: CancellationToken) -> Self {
        let Context { slots, slots_max, inbound, unreadable, tracker } = around;
        let (slots, inbound) = (Arc::clone(slots), inbound.clone());
        let (to_task, requests) = mpsc::channel(*slots_max);
        // A caller that has just opened the link must not be taken for one that waits for it.
        let begin = if first.is_some() { Health::up() } else { Health::down("not connected yet") };
        let (to_health, health) = watch::channel(begin);
        let under_way = metrics::gauge!("confgate_eim_requests_under_way", "link" => settings.name);
        let seconds = metrics::histogram!("confgate_eim_request_seconds", "link" => settings.name);
        let (outbox, wait) = (Outbox::new(inbound, settings.announce.clone()), settings.timing.wait);
        tracker.spawn(task::Task::new(settings, requests, to_health, outbox, unreadable.clone(), stop).run(first));
        Self { requests: to_task, slots, under_way, seconds, health, wait }
    }

    /// Sends an IQ of type get or set, with `from` and `to` as on the wire, and gives the answer (result or error) as
    /// it came. A caller that stops waiting leaves the request under way until its answer or deadline.
    pub async fn request(&self, stanza: Stanza, timeout: Duration) -> Result<Stanza, EimError> {
        self.request_within(None, stanza, timeout).await
    }

    /// As [`Link::request`], within somebody's share of all.
    pub async fn request_within(
        &self,
        guard: Option<Guard>,
        stanza: Stanza,
        timeout: Duration,
    ) -> Result<Stanza, EimError> {
        let began = Instant::now();
        let outcome = self.exchange(guard, stanza, began, timeout).await;
        match &outcome {
            Ok(_) => self.seconds.record(began.elapsed()),
            Err(e) => metrics::counter!("confgate_eim_requests_failed_total", "why" => e.label()).increment(1),
        }
        outcome
    }

    async fn exchange(
        &self,
        guard: Option<Guard>,
        stanza: Stanza,
        now: Instant,
        timeout: Duration,
    ) -> Result<Stanza, EimError> {
        if stanza.attr("to").is_some_and(|to| Jid::parse(to).is_none()) {
            return Err(EimError::Unsendable("to is no address"));
        }
        if !stanza.fits(SENT_MAX) {
            return Err(EimError::Unsendable("too large for one request to the EIM"));
        }
        let permit = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| EimError::TooManyUnderWay)?;
        self.under_way.increment(1.0);
        let slot = Slot { gauge: self.under_way.clone(), _permit: permit, _guard: guard };
        let (to, answer) = oneshot::channel();
        let deadline = now + timeout;
        let wait_until = deadline.min(now + self.wait);
        let request = Request { stanza, deadline, wait_until, reply: Reply { to, _slot: slot } };
        self.requests.try_send(request).map_err(|_| EimError::Unreachable { sent: false })?;
        answer.await.unwrap_or(Err(EimError::Unreachable { sent: true }))
    }

    /// The link's health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}
