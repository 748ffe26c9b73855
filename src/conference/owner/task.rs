//! The task of one owner: its core, its part of the store, and its requests to the EIM.

mod keep;

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::super::core::Failure;
use super::super::numbering::{Answer, Kept, NoRoster, Numbering, Order, OwnerRequest};
use super::reply::Reply;
use super::serve::Watcher;
use super::{Command, Handle, MAILBOX, OwnerNotice, Owners, unapplied};
use crate::clock::{Moment, date_ms};
use crate::eim::amqp::bindings::{Binding, Subject};
use crate::eim::events::Receipt;
use crate::eim::requests::object;
use crate::event::{ENDED, Event, NumberedBy, Roster};
use crate::ids::{ConfId, UserId, random_text};
use crate::refusal::{Kind, Refusal};

/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Commands that are carried out with one write.
const BATCH: usize = 64;
/// Commands that wait for the EIM's first roster.
const PARKED_MAX: usize = 1024;
/// Characters of an epoch.
const EPOCH: usize = 16;

/// What came of a request to the EIM.
enum Done {
    Roster(Result<Box<Roster>, Failure>),
    Left(UserId, Option<bool>),
}

/// The node that is the owner in this one's place.
struct Moved(String);

/// Owns the numbers of one conference on this node.
pub(super) struct Task {
    conf: ConfId,
    owners: Owners,
    handle: Weak<Handle>,
    receiver: mpsc::Receiver<Command>,
    core: Numbering,
    work: JoinSet<Done>,
    /// Requests that wait for the EIM's first roster.
    parked: Vec<(OwnerRequest, Reply)>,
    orders: Vec<Order>,
    /// Given once what they tell is in the store.
    answers: Vec<(Reply, Result<Answer, Failure>)>,
    receipts: Vec<Receipt>,
    /// The links of other nodes that get the events.
    watchers: Vec<Watcher>,
    /// The epoch and number of the roster in the store, and the seats there.
    written: Option<(String, u64)>,
    seats: Kept,
    /// The store is to be asked whether this process is the owner still.
    is_doubted: bool,
    used_at: u64,
    /// The broker delivers the conference's events to this node while it is the owner.
    binding: Option<Binding>,
}

impl Task {
    pub fn new(conf: ConfId, owners: Owners, handle: Weak<Handle>, receiver: mpsc::Receiver<Command>) -> Self {
        let core = keep::numbering(&conf, &owners);
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
            watchers: Vec::new(),
            written: None,
            seats: Kept::default(),
            is_doubted: false,
            used_at: Moment::now().ms(),
            binding: None,
        }
    }

    /// Until nobody needs it, or another node is the owner.
    pub async fn run(mut self) {
        let moved = match self.load().await {
            Ok(()) => self.own().await,
            Err(moved) => Some(moved),
        };
        self.binding = None;
        self.watchers.iter().for_each(|watcher| watcher.elsewhere(&self.conf));
        let Some(Moved(node)) = moved else { return };
        let had_any = !self.watchers.is_empty() || self.core.roster().is_some();
        self.orders.clear();
        self.answers.clear();
        self.receiver.close();
        let parked =
            std::mem::take(&mut self.parked).into_iter().map(|(request, reply)| Command::OwnerRequest(request, reply));
        let waiting: Vec<Command> = std::iter::from_fn(|| self.receiver.try_recv().ok()).collect();
        self.owners.moved(&self.conf, &node, parked.chain(waiting));
        if had_any {
            // At a stop nobody takes it.
            let _ = self.owners.0.notices.send(OwnerNotice::Doubt(self.conf.clone())).await;
        }
    }

    /// Owns the conference. Answers who does in its place; `None`: nobody needs it.
    async fn own(&mut self) -> Option<Moved> {
        let given_back = self.owners.0.given_back.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.receiver.recv() => self.commands(command?),
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => drop(Refusal::fault(error)),
                },
                () = given_back.cancelled() => {
                    self.give_back().await;
                    return None;
                }
                _ = tick.tick() => {
                    if self.is_idle() && self.owners.retire(&self.conf, || !self.receiver.is_empty()) {
                        return None;
                    }
                    self.core.tick(Moment::now().ms(), &mut self.orders);
                }
            }
            if self.handle.upgrade().is_some_and(|handle| handle.doubted.swap(false, Ordering::Relaxed)) {
                self.is_doubted = true;
                self.core.doubt(Moment::now().ms());
            }
            if let Err(moved) = self.carry_out().await {
                return Some(moved);
            }
        }
    }

    fn is_idle(&self) -> bool {
        let long_ago = self.used_at + self.owners.0.limits.window_ms <= Moment::now().ms();
        long_ago && self.core.is_unused() && self.parked.is_empty() && self.work.is_empty()
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
            Command::Watch(watcher) => {
                if !self.watchers.iter().any(|known| known.is(&watcher)) {
                    self.watchers.retain(|known| !known.is_closed());
                    self.watchers.push(watcher);
                    // What its node has heard of the EIM before may be lost.
                    self.core.doubt(now);
                }
            }
            Command::OwnerRequest(request, reply) => {
                self.used_at = now;
                if self.core.roster().is_some() {
                    self.request(request, reply, now, date);
                } else if self.parked.len() < PARKED_MAX {
                    self.parked.push((request, reply));
                    self.core.doubt(now);
                    self.core.tick(now, &mut self.orders);
                }
            }
        }
    }

    /// A request, where the roster is known.
    fn request(&mut self, request: OwnerRequest, reply: Reply, now: u64, date: u64) {
        let before = self.orders.len();
        let answer = self.core.request(request, now, date, &mut self.orders);
        self.answers.push((reply, answer));
        applied("gateway", self.orders.len() - before);
    }

    fn done(&mut self, done: Done) {
        let (now, date) = (Moment::now().ms(), date_ms());
        match done {
            Done::Left(user, done) => self.core.on_left(&user, done, now),
            Done::Roster(Ok(roster)) => {
                self.is_doubted = true;
                let is_over = roster.conference.state == ENDED && self.core.roster().is_none();
                let epoch = random_text(EPOCH);
                let differences = self.core.on_roster(*roster, epoch, now, date, &mut self.orders);
                applied("compare", differences);
                metrics::counter!("confgate_numbering_compares_total", "outcome" => outcome(differences)).increment(1);
                if is_over {
                    return self.refuse_parked(Failure::NoConference);
                }
                if self.core.roster().is_some() {
                    for (request, reply) in std::mem::take(&mut self.parked) {
                        self.request(request, reply, now, date);
                    }
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
        self.answers.extend(std::mem::take(&mut self.parked).into_iter().map(|(_, reply)| (reply, Err(why))));
    }

    /// First the store, then everybody else.
    async fn carry_out(&mut self) -> Result<(), Moved> {
        if !self.keep().await {
            tracing::warn!(conf = %self.conf, "another process numbers this conference's events");
            self.orders.clear();
            self.answers.clear();
            self.load().await?;
            // What that process has shown to others was not heard here.
            self.watchers.drain(..).for_each(|watcher| watcher.elsewhere(&self.conf));
            let _ = self.owners.0.notices.send(OwnerNotice::Doubt(self.conf.clone())).await;
            return Ok(());
        }
        self.receipts.clear();
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Deliver(event) => self.deliver(event).await,
                Order::ReadRoster => self.read_roster(),
                Order::Leave(user) => self.leave(user),
            }
        }
        std::mem::take(&mut self.answers).into_iter().for_each(|(reply, answer)| reply.send(answer));
        Ok(())
    }

    async fn deliver(&mut self, event: Event) {
        if !self.watchers.is_empty() {
            self.watchers.retain(|watcher| !watcher.is_closed());
            let frame = Watcher::frame(event.clone());
            self.watchers.iter().for_each(|watcher| watcher.send(frame.clone()));
        }
        if self.owners.0.notices.send(OwnerNotice::Event(event)).await.is_err() {
            tracing::debug!("a numbered event after the stop");
        }
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

fn outcome(differences: usize) -> &'static str {
    if differences == 0 { "same" } else { "different" }
}

/// Counts events that were given a number, by what they follow from.
fn applied(from: &'static str, count: usize) {
    metrics::counter!("confgate_numbered_events_total", "from" => from).increment(count as u64);
}
