//! The owners of conferences' numbers, where the gateway gives them: one task for each conference, around
//! [`Numbering`](super::numbering::Numbering). To a conference's actor an owner is what the EIM is elsewhere: it is asked
//! for rosters, and told of sockets; its events come back the way on which the EIM's come.
//!
//! An event is in the store before anybody is shown it. Where another process has taken the conference over, the store
//! refuses the write: then nothing of it is shown, and the owner begins anew with what is kept.

mod task;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::core::{Failure, Limits, Subscribed};
use super::log::Position;
use crate::clock::Moment;
use crate::eim::amqp::bindings::Bindings;
use crate::eim::events::Receipt;
use crate::eim::requests::Requests;
use crate::event::{ConferenceEvent, Event, Roster};
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;
use crate::store::Store;
use crate::sync;
use task::Task;

/// How many commands wait at one owner. When it is full the EIM's changes are dropped, and its roster is read; whoever
/// asks waits.
pub(super) const MAILBOX: usize = 1024;
/// How many numbered events wait to be given to their conferences; when they are full, owners wait.
pub(super) const NUMBERED: usize = 1024;

/// How long the numbers of a conference without news are kept, in which nobody is awaited back: far longer than any
/// client can resume from.
const KEPT_MS: u64 = 86_400_000;

/// A command to an owner.
pub(super) enum Command {
    Change(ConferenceEvent, Option<Receipt>),
    Subscribe { user: UserId, generation: u64, since: Option<Position>, reply: Reply<Subscribed> },
    Away { user: UserId, generation: u64, reply: Reply<()> },
    Gone { user: UserId, generation: u64, keep_ms: u64, reply: Reply<()> },
    Roster(Reply<Roster>),
    Reset { generation: u64, reply: Reply<Vec<UserId>> },
}

/// The place for an answer. Dropped: the owner ended, and may be asked again.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// The registry of this node's owners: cloneable; owns the map, the tasks own their conferences.
#[derive(Clone)]
pub struct Owners(Arc<Inner>);

pub(super) struct Inner {
    owners: Mutex<HashMap<ConfId, Arc<Handle>>>,
    pub(super) calls: Requests,
    pub(super) store: Store,
    pub(super) bindings: Bindings,
    pub(super) limits: Limits,
    pub(super) numbered: mpsc::Sender<Event>,
    tracker: TaskTracker,
}

/// An owner's mailbox.
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
    /// Changes may have been lost: the EIM's roster is to be read.
    pub(super) lost: AtomicBool,
}

impl Owners {
    /// No owners yet. Their numbered events come out of the receiver.
    pub fn new(
        calls: Requests,
        store: Store,
        bindings: Bindings,
        limits: Limits,
        tracker: TaskTracker,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (numbered, events) = mpsc::channel(NUMBERED);
        let owners = Mutex::default();
        (Self(Arc::new(Inner { owners, calls, store, bindings, limits, numbered, tracker })), events)
    }

    /// A change from the EIM; of a conference that nobody here is in, nothing. Never waits: where an owner is behind, the
    /// change is dropped, and the EIM's roster read. The receipt is dropped once the event is in the store.
    pub fn change(&self, event: ConferenceEvent, receipt: Option<Receipt>) {
        let Some(owner) = sync::lock(&self.0.owners).get(&event.conf_id).cloned() else { return };
        if owner.commands.try_send(Command::Change(event, receipt)).is_err() {
            unapplied("full");
            owner.lost.store(true, Ordering::Relaxed);
        }
    }

    /// The EIM's changes may have been lost: its rosters are read.
    pub fn doubt(&self) {
        for owner in sync::lock(&self.0.owners).values() {
            owner.lost.store(true, Ordering::Relaxed);
        }
    }

    pub(super) async fn subscribe(
        &self,
        conf: &ConfId,
        user: UserId,
        generation: u64,
        since: Option<Position>,
    ) -> Result<Subscribed, Failure> {
        self.command(conf, |reply| Command::Subscribe { user, generation, since, reply }).await
    }

    pub(super) async fn away(&self, conf: &ConfId, user: UserId, generation: u64) -> Result<(), Failure> {
        self.command(conf, |reply| Command::Away { user, generation, reply }).await
    }

    pub(super) async fn gone(&self, conf: &ConfId, user: UserId, generation: u64, keep_ms: u64) -> Result<(), Failure> {
        self.command(conf, |reply| Command::Gone { user, generation, keep_ms, reply }).await
    }

    pub(super) async fn roster(&self, conf: &ConfId) -> Result<Roster, Failure> {
        self.command(conf, Command::Roster).await
    }

    /// This process is new: whoever had a socket at an earlier one has none. Answers who that is.
    pub(super) async fn reset(&self, generation: u64) -> Result<Vec<(ConfId, UserId)>, Refusal> {
        let mut seats = Vec::new();
        for conf in self.0.store.numberings_with_seats().await? {
            match self.command(&conf, |reply| Command::Reset { generation, reply }).await {
                Ok(users) => seats.extend(users.into_iter().map(|user| (conf.clone(), user))),
                Err(Failure::Unreachable) => return Err(Refusal::eim_unreachable(false)),
                Err(_) => {}
            }
        }
        Ok(seats)
    }

    async fn command<T>(&self, conf: &ConfId, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let owner = self.owner(conf);
        if owner.commands.send(command(reply)).await.is_err() {
            return Err(Failure::Unreachable);
        }
        drop(owner);
        answer.await.unwrap_or(Err(Failure::Unreachable))
    }

    fn owner(&self, conf: &ConfId) -> Arc<Handle> {
        let mut owners = sync::lock(&self.0.owners);
        if let Some(handle) = owners.get(conf) {
            return handle.clone();
        }
        let (commands, receiver) = mpsc::channel(MAILBOX);
        let handle = Arc::new(Handle { commands, lost: AtomicBool::new(false) });
        let task = Task::new(conf.clone(), self.clone(), Arc::downgrade(&handle), receiver);
        self.0.tracker.spawn(task.run());
        owners.insert(conf.clone(), handle.clone());
        metrics::gauge!("confgate_numberings").set(owners.len() as f64);
        handle
    }

    /// Takes the owner off the map, unless somebody holds its handle or has left a command.
    fn retire(&self, conf: &ConfId, has_commands: impl FnOnce() -> bool) -> bool {
        let mut owners = sync::lock(&self.0.owners);
        let unused = owners.get(conf).is_none_or(|handle| Arc::strong_count(handle) == 1) && !has_commands();
        if unused {
            owners.remove(conf);
            metrics::gauge!("confgate_numberings").set(owners.len() as f64);
        }
        unused
    }

    /// Deletes what is kept of conferences without news since then.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn collect(&self) -> Result<(), Refusal> {
        let before = Moment::at(Moment::now().ms().saturating_sub(KEPT_MS));
        self.0.store.delete_numberings(before).await.map(drop).map_err(Refusal::from)
    }
}

/// Counts a change of the EIM's that gave no event.
pub(super) fn unapplied(why: &'static str) {
    metrics::counter!("confgate_eim_changes_unapplied_total", "why" => why).increment(1);
}
