//! The task of one owner: its core, its part of the store, and its requests to the EIM.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::core::{Failure, Subscribed};
use super::super::log::Position;
use super::super::numbering::{Kept, NoRoster, NoSubscription, Numbering, Order};
use super::{Command, Handle, MAILBOX, Owners, Reply, unapplied};
use crate::clock::{Moment, date_ms};
use crate::eim::amqp::bindings::Subject;
use crate::eim::events::Receipt;
use crate::eim::requests::object;
use crate::event::{ENDED, Event, NumberedBy, Roster};
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::{Kind, Refusal};
use crate::store::{KeptNumbering, NumberingWrite, StoreError};

/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Commands that are carried out with one write.
const BATCH: usize = 64;
/// How many events after it a roster is written anew: as many are read by the next owner.
const ROSTER_EVERY: u64 = 64;
/// Commands that wait for the EIM's first roster.
const PARKED_MAX: usize = 1024;
/// Between attempts to write.
const WRITE_RETRY: Duration = Duration::from_millis(500);
/// Characters of an epoch.
const EPOCH: usize = 16;

/// What came of a request to the EIM.
enum Done {
    Roster(Result<Box<Roster>, Failure>),
    Left(UserId, Option<bool>),
}

/// An answer that is given once what it tells is in the store.
type Answer = Box<dyn FnOnce() + Send>;

/// Owns the numbers of one conference on this node.
pub(super) struct Task {
    conf: ConfId,
    owners: Owners,
    handle: Weak<Handle>,
    receiver: mpsc::Receiver<Command>,
    core: Numbering,
    work: JoinSet<Done>,
    /// Commands that wait for the EIM's first roster.
    parked: Vec<Command>,
    orders: Vec<Order>,
    answers: Vec<Answer>,
    receipts: Vec<Receipt>,
    /// The epoch and number of the roster in the store, and the seats there.
    written: Option<(String, u64)>,
    seats: String,
    used_at: u64,
}

impl Task {
    pub fn new(conf: ConfId, owners: Owners, handle: Weak<Handle>, receiver: mpsc::Receiver<Command>) -> Self {
        let core = numbering(&conf, &owners);
        Self {
            conf,
            owners,
            handle,
            receiver,
            core,
            work: JoinSet::new(),
            parked: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            receipts: Vec::new(),
            written: None,
            seats: String::new(),
            used_at: Moment::now().ms(),
        }
    }

    pub async fn run(mut self) {
        self.load().await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.receiver.recv() => match command {
                    Some(command) => self.commands(command),
                    None => return,
                },
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => drop(Refusal::fault(error)),
                },
                _ = tick.tick() => {
                    if self.is_idle() && self.owners.retire(&self.conf, || !self.receiver.is_empty()) {
                        return;
                    }
                    self.tick();
                }
            }
            self.carry_out().await;
        }
    }

    fn is_idle(&self) -> bool {
        let long_ago = self.used_at + self.owners.0.limits.window_ms <= Moment::now().ms();
        long_ago && self.core.is_unused() && self.parked.is_empty() && self.work.is_empty()
    }

    /// Takes the conference over, and goes on from what is kept.
    async fn load(&mut self) {
        self.core = numbering(&self.conf, &self.owners);
        (self.written, self.seats) = (None, String::new());
        loop {
            match self.owners.0.store.take_numbering(&self.conf, Moment::now()).await {
                Ok(kept) => {
                    if let Some(resumed) = kept.and_then(Resumed::read) {
                        self.written = Some((resumed.roster.epoch.clone(), resumed.roster.seq));
                        self.core.resume(resumed.roster, resumed.events, resumed.kept);
                    }
                    return;
                }
                Err(StoreError::Fenced) => return std::future::pending().await,
                Err(error) => {
                    tracing::debug!(%error, conf = %self.conf, "a conference's numbers can't be taken over yet");
                    sleep(WRITE_RETRY).await;
                }
            }
        }
    }

    /// This one and those that wait behind it.
    fn commands(&mut self, first: Command) {
        metrics::gauge!("confgate_numbering_mailbox_commands").set((MAILBOX - self.receiver.capacity()) as f64);
        self.command(first);
        for _ in 1..BATCH {
            let Ok(next) = self.receiver.try_recv() else { return };
            self.command(next);
        }
    }

    fn command(&mut self, command: Command) {
        let (now, date) = (Moment::now().ms(), date_ms());
        match command {
            Command::Change(event, receipt) => {
                self.receipts.extend(receipt);
                if self.core.change(event, now, &mut self.orders) { applied("eim", 1) } else { unapplied("no news") }
            }
            other => {
                self.used_at = now;
                if self.core.roster().is_some() {
                    self.request(other, now, date);
                } else if self.parked.len() < PARKED_MAX {
                    self.parked.push(other);
                    self.core.doubt(now);
                    self.core.tick(now, &mut self.orders);
                }
            }
        }
    }

    /// A request, where the roster is known.
    fn request(&mut self, command: Command, now: u64, date: u64) {
        let before = self.orders.len();
        match command {
            Command::Subscribe { user, generation, since, reply } => {
                let outcome = self.core.subscribe(&user, generation, now, date, &mut self.orders);
                let answer = match outcome {
                    Ok(()) => self.subscribed(since),
                    Err(NoSubscription::Refused) => Err(Failure::Refused),
                    Err(NoSubscription::Over) => Err(Failure::NoConference),
                };
                self.answer(reply, answer);
            }
            Command::Away { user, generation, reply } => {
                self.core.away(&user, generation, now, date, &mut self.orders);
                self.answer(reply, Ok(()));
            }
            Command::Gone { user, generation, keep_ms, reply } => {
                self.core.gone(&user, generation, keep_ms, now, date, &mut self.orders);
                self.answer(reply, Ok(()));
            }
            Command::Roster(reply) => {
                let roster = self.core.roster().filter(|_| !self.core.is_over()).cloned();
                self.answer(reply, roster.ok_or(Failure::NoConference));
            }
            Command::Reset { generation, reply } => {
                let users = self.core.reset(generation, now, date, &mut self.orders);
                self.answer(reply, Ok(users));
            }
            Command::Change(..) => {}
        }
        applied("gateway", self.orders.len() - before);
    }

    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, Failure>) {
        // The requester may have gone meanwhile.
        self.answers.push(Box::new(move || drop(reply.send(answer))));
    }

    /// The roster, and the events since the position where all of them are kept.
    fn subscribed(&self, since: Option<Position>) -> Result<Subscribed, Failure> {
        let log = self.core.log().ok_or(Failure::Unreachable)?;
        let missed = since.as_ref().and_then(|position| log.since(position).ok());
        let events = missed.map(|entries| entries.map(|entry| Event::clone(&entry.event)).collect());
        Ok(Subscribed { roster: log.roster().clone(), events: events.unwrap_or_default() })
    }

    fn tick(&mut self) {
        let now = Moment::now().ms();
        if self.handle.upgrade().is_some_and(|handle| handle.lost.swap(false, Ordering::Relaxed)) {
            self.core.doubt(now);
        }
        self.core.tick(now, &mut self.orders);
    }

    fn done(&mut self, done: Done) {
        let (now, date) = (Moment::now().ms(), date_ms());
        match done {
            Done::Left(user, done) => self.core.on_left(&user, done, now),
            Done::Roster(Ok(roster)) => {
                let is_over = roster.conference.state == ENDED && self.core.roster().is_none();
                let epoch = random_text(EPOCH);
                let differences = self.core.on_roster(*roster, epoch, now, date, &mut self.orders);
                applied("compare", differences);
                metrics::counter!("confgate_numbering_compares_total", "outcome" => outcome(differences)).increment(1);
                if is_over {
                    return self.refuse_parked(Failure::NoConference);
                }
                if self.core.roster().is_some() {
                    std::mem::take(&mut self.parked).into_iter().for_each(|command| self.request(command, now, date));
                }
            }
            Done::Roster(Err(failure)) => {
                metrics::counter!("confgate_numbering_compares_total", "outcome" => "failed").increment(1);
                let is_gone = failure == Failure::NoConference;
                let why = if is_gone { NoRoster::NoConference } else { NoRoster::NotNow };
                self.core.on_no_roster(why, now, date, &mut self.orders);
                self.refuse_parked(failure);
            }
        }
    }

    fn refuse_parked(&mut self, why: Failure) {
        for command in std::mem::take(&mut self.parked) {
            match command {
                Command::Subscribe { reply, .. } => self.answer(reply, Err(why)),
                Command::Away { reply, .. } | Command::Gone { reply, .. } => self.answer(reply, Err(why)),
                Command::Roster(reply) => self.answer(reply, Err(why)),
                Command::Reset { reply, .. } => self.answer(reply, Err(why)),
                Command::Change(..) => {}
            }
        }
    }

    /// First the store, then everybody else.
    async fn carry_out(&mut self) {
        if !self.keep().await {
            tracing::warn!(conf = %self.conf, "another process numbers this conference's events: beginning anew with its own");
            self.orders.clear();
            self.answers.clear();
            self.load().await;
            return;
        }
        self.receipts.clear();
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Deliver(event) => {
                    if self.owners.0.numbered.send(event).await.is_err() {
                        tracing::debug!("a numbered event after the stop");
                    }
                }
                Order::ReadRoster => self.read_roster(),
                Order::Leave(user) => self.leave(user),
            }
        }
        std::mem::take(&mut self.answers).into_iter().for_each(|answer| answer());
    }

    /// Writes what is new, however long it takes. False where another process is the owner.
    async fn keep(&mut self) -> bool {
        let Some(log) = self.core.log() else { return true };
        let roster = log.roster();
        let is_event = |order: &Order| match order {
            Order::Deliver(event) => Some((event.seq, serde_json::to_string(event).unwrap_or_default())),
            _ => None,
        };
        let events: Vec<_> = self.orders.iter().filter_map(is_event).collect();
        let seats = serde_json::to_string(&self.core.kept()).unwrap_or_default();
        let is_recent = |(epoch, seq): &(String, u64)| *epoch == roster.epoch && roster.seq < seq + ROSTER_EVERY;
        let writes_roster = !self.written.as_ref().is_some_and(is_recent);
        if events.is_empty() && seats == self.seats && !writes_roster {
            return true;
        }
        let text = writes_roster.then(|| serde_json::to_string(roster).unwrap_or_default());
        let until = roster.seq.saturating_sub(self.owners.0.limits.log as u64);
        let (epoch, at) = (roster.epoch.clone(), roster.seq);
        let write = NumberingWrite {
            roster: text.as_deref().map(|text| (text, until)),
            seats: &seats,
            epoch: &epoch,
            events: &events,
            at: Moment::now(),
        };
        loop {
            match self.owners.0.store.keep_numbering(&self.conf, write).await {
                Ok(true) => break,
                Ok(false) => return false,
                // The process is about to end.
                Err(StoreError::Fenced) => std::future::pending().await,
                Err(error) => {
                    metrics::counter!("confgate_numbering_write_failures_total").increment(1);
                    tracing::debug!(%error, conf = %self.conf, "numbered events can't be kept yet");
                    sleep(WRITE_RETRY).await;
                }
            }
        }
        self.seats = seats;
        if writes_roster {
            self.written = Some((epoch, at));
        }
        true
    }

    fn read_roster(&mut self) {
        let (owners, conf) = (self.owners.clone(), self.conf.clone());
        self.work.spawn(async move {
            owners.0.bindings.settled(&Subject::Conference(conf.clone())).await;
            let params = object(json!({"confId": conf}));
            let answer = owners.0.calls.as_gateway("eim.snapshot", &params).await;
            let answer = answer.map_err(|refusal| Failure::from(&refusal));
            let unreadable = |error: serde_json::Error| {
                tracing::warn!(%error, "the EIM's roster can't be read");
                Failure::Unreachable
            };
            let read = |value| Roster::read(value, NumberedBy::Gateway).map(Box::new).map_err(unreadable);
            Done::Roster(answer.and_then(read))
        });
    }

    fn leave(&mut self, user: UserId) {
        let (calls, params) = (self.owners.0.calls.clone(), object(json!({"confId": self.conf})));
        self.work.spawn(async move {
            let done = match calls.as_user("conference.leave", &user, &params).await {
                Ok(_) => Some(true),
                Err(refusal) if refusal.is_retryable() => None,
                Err(refusal) => Some(matches!(refusal.kind, Kind::NotFound | Kind::NotOpen)),
            };
            Done::Left(user, done)
        });
    }
}

fn numbering(conf: &ConfId, owners: &Owners) -> Numbering {
    Numbering::new(conf.clone(), owners.0.limits.log, owners.0.limits.look_ms)
}

/// What an earlier owner has kept.
struct Resumed {
    roster: Roster,
    events: Vec<Event>,
    kept: Kept,
}

impl Resumed {
    /// `None` where it can't be read: then clients get a snapshot, under another epoch.
    fn read(kept: KeptNumbering) -> Option<Self> {
        let roster: Roster = serde_json::from_str(&kept.roster).ok()?;
        let events = kept.events.iter().map(|text| serde_json::from_str::<Event>(text));
        let mut events: Vec<Event> = events.collect::<Result<_, _>>().ok()?;
        events.retain(|event| event.epoch == roster.epoch);
        Some(Self { events, kept: serde_json::from_str(&kept.seats).ok()?, roster })
    }
}

fn outcome(differences: usize) -> &'static str {
    if differences == 0 { "same" } else { "different" }
}

/// Counts events that were given a number, by what they follow from.
fn applied(from: &'static str, count: usize) {
    metrics::counter!("confgate_numbered_events_total", "from" => from).increment(count as u64);
}
