//! The conferences whose people this node holds: one task for each, around a pure core, and the log that sockets
//! resume from. One alone numbers a conference's events: the EIM, or for an EIM that gives no numbers its owner here
//! ([`owner`]); the conferences keep them, hand them on and ask for them again.

mod actor;
mod attached;
mod core;
pub mod failover;
mod lapses;
mod limits;
mod log;
mod numbering;
pub mod owner;
pub mod sockets;
mod source;
pub mod takeover;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod move_histories;
#[cfg(test)]
mod numbering_simulation;
#[cfg(test)]
mod simulation;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::date_ms;
use crate::eim::amqp::bindings::Bindings;
use crate::eim::events::Receipt;
use crate::event::{Event, Roster};
use crate::http::ws::Frame;
use crate::http::ws::send_queue::Outbox;
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;
use crate::sync;

pub use self::core::{LifecycleEvent, Limits, MediaPermissions, Right, Start};
pub use self::log::{Position, notification};
pub use self::source::Source;
use actor::{Command, Handle};

/// How many commands wait at one conference. When it is full the sender waits: sockets and the EIM link slow down.
const MAILBOX: usize = 1024;
/// How many lifecycle events wait to be carried out.
pub const LIFECYCLE_EVENTS: usize = 1024;
/// How many changes of permissions wait to be passed to call gateways; when they are full, conferences wait.
const MEDIA_PERMISSIONS: usize = 1024;

/// A conference of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConferenceRef {
    /// The conference.
    pub conf_id: ConfId,
    /// Whether it is a call's.
    pub call: bool,
}

/// A socket that may listen.
#[derive(Clone)]
pub struct Socket {
    /// The socket's generation.
    pub generation: u64,
    /// A guest's: it is here for one conference and ends with it.
    pub guest: bool,
    /// The socket's queue.
    pub outbox: Outbox,
}

/// How a socket came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The user has no socket now.
    Closed,
    /// The user has a later one at another node, which reports their presence from now on.
    TakenOver,
}

/// The registry: hands out the conferences' mailboxes. Cloneable; owns the map, the tasks own their conferences.
#[derive(Clone)]
pub struct Conferences(Arc<Inner>);

struct Inner {
    actors: Mutex<HashMap<ConfId, Arc<Handle>>>,
    source: Source,
    limits: Limits,
    node: String,
    bindings: Bindings,
    lifecycle_events: mpsc::Sender<(ConfId, LifecycleEvent)>,
    permissions: mpsc::Sender<(ConfId, MediaPermissions)>,
    /// Grows over restarts too.
    generations: AtomicU64,
    /// Not greater than that of any socket of this process.
    first_generation: u64,
    tracker: TaskTracker,
    /// Conferences to which the EIM refuses to let somebody listen, and since when (ms since 1970).
    refused: Mutex<HashMap<ConfId, u64>>,
}

/// The conferences' events for the rest of the program, in two channels: the consequences of a lifecycle event may take
/// their time, a change of what members may send must not wait for them.
pub struct EventReceivers {
    /// Events whose consequences are carried out elsewhere.
    pub lifecycle_events: mpsc::Receiver<(ConfId, LifecycleEvent)>,
    /// Changes of members' permissions.
    pub permissions: mpsc::Receiver<(ConfId, MediaPermissions)>,
}

impl Conferences {
    /// `generation`: the first one, greater than all that earlier processes of this node have used.
    pub fn new(
        source: Source,
        limits: Limits,
        node: String,
        generation: u64,
        bindings: Bindings,
        tracker: TaskTracker,
    ) -> (Self, EventReceivers) {
        let (lifecycle_events, carried_out) = mpsc::channel(LIFECYCLE_EVENTS);
        let (permissions, granted) = mpsc::channel(MEDIA_PERMISSIONS);
        let generations = AtomicU64::new(generation);
        let actors = Mutex::default();
        let refused = Mutex::default();
        let inner = Inner {
            actors,
            source,
            limits,
            node,
            bindings,
            lifecycle_events,
            permissions,
            generations,
            first_generation: generation,
            tracker,
            refused,
        };
        (Self(Arc::new(inner)), EventReceivers { lifecycle_events: carried_out, permissions: granted })
    }

    /// The next generation of a socket or of a presence: greater than all before, also than those before a restart.
    pub fn next_generation(&self) -> u64 {
        self.0.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// The user's socket listens to the conference from now on.
    pub async fn attach(&self, conf: &ConferenceRef, user: &UserId, start: Start, socket: Socket) {
        let Socket { generation, guest, outbox } = socket;
        let command = Command::Attach { user: user.clone(), guest, generation, start, outbox, call: conf.call };
        self.actor(&conf.conf_id).send(command).await;
    }

    /// The user's socket is gone. Of an older generation than the one that listens: nothing happens.
    pub async fn detach(&self, conf: &ConfId, user: &UserId, generation: u64, how: Ending) {
        if let Some(actor) = self.existing(conf) {
            actor.send(Command::Detach { user: user.clone(), generation, how }).await;
        }
    }

    /// The user joined by a request; without a socket they are away from now on.
    pub async fn joined(&self, conf: &ConfId, user: &UserId) {
        let generation = self.next_generation();
        self.actor(conf).send(Command::Joined { user: user.clone(), generation }).await;
    }

    /// The user has been given a place at a call gateway: what the EIM decides of them is followed from now on, whether
    /// or not anybody listens.
    pub async fn placed(&self, conf: &ConfId, user: &UserId) {
        self.actor(conf).send(Command::Placed(user.clone())).await;
    }

    /// A request has changed something; where nobody listens, no event tells what.
    pub async fn look(&self, conf: &ConfId) {
        if let Some(actor) = self.existing(conf) {
            actor.send(Command::Look).await;
        }
    }

    /// Something happened whose consequences are to be carried out elsewhere, later than now.
    pub async fn retry_later(&self, conf: &ConfId, event: LifecycleEvent) {
        if self.0.lifecycle_events.send((conf.clone(), event)).await.is_err() {
            tracing::debug!("a lifecycle event after the stop");
        }
    }

    /// An event from the EIM; for a conference that nobody here is in, nothing. The receipt is dropped once the event is
    /// in the log.
    pub async fn event(&self, event: Event, receipt: Option<Receipt>) {
        if let Some(actor) = self.existing(&event.conf_id) {
            actor.send(Command::Event(event, receipt)).await;
        }
    }

    /// Says something beside the events to every member who listens here. Never waits: false where the conference is
    /// too busy to take it now.
    pub fn send_to_members(&self, conf: &ConfId, frame: Frame) -> bool {
        self.existing(conf).is_none_or(|actor| actor.try_send(Command::SendToMembers(frame)))
    }

    /// The link to the EIM is back.
    pub async fn link_up(&self) {
        for actor in self.all() {
            actor.send(Command::LinkUp).await;
        }
    }

    /// The owner of that conference's numbers is another one, or was lost.
    pub async fn owner_lost(&self, conf: &ConfId) {
        if let Some(actor) = self.existing(conf) {
            actor.send(Command::LinkUp).await;
        }
    }

    /// This node was taken for gone: others may own the numbers that it gave.
    fn doubt_owners(&self) {
        self.0.source.doubt();
    }

    /// The user's own session at the EIM is there, or there again.
    pub async fn session_up(&self, user: &UserId) {
        for actor in self.all() {
            actor.send(Command::SessionUp(user.clone())).await;
        }
    }

    fn all(&self) -> Vec<Arc<Handle>> {
        self.lock().values().cloned().collect()
    }

    /// The roster, where it is followed here.
    pub async fn roster(&self, conf: &ConfId) -> Option<Arc<Roster>> {
        let actor = self.existing(conf)?;
        let (reply, answer) = oneshot::channel();
        actor.send(Command::Roster(reply)).await;
        answer.await.ok().flatten()
    }

    /// After a start, or after another node has answered for this one's members: whoever was here before is away until
    /// they come back. Those who are back already stay so.
    pub async fn restore(&self) -> Result<usize, Refusal> {
        let generation = self.0.first_generation;
        let seats = self.0.source.reset_node(&self.0.node, generation).await?;
        let count = seats.len();
        for (conf, user) in seats {
            self.actor(&conf).send(Command::AwaySinceRestart { user, generation }).await;
        }
        Ok(count)
    }

    /// Another node is gone: its members are this node's, away until they come back anywhere. `generation`: greater than
    /// all that either node has used. Answers the conferences that they are in.
    async fn inherit(&self, node: &str, generation: u64) -> Result<HashSet<ConfId>, Refusal> {
        self.0.generations.fetch_max(generation + 1, Ordering::Relaxed);
        let seats = self.0.source.reset_node(node, generation).await?;
        let mut conferences = HashSet::new();
        for (conf, user) in seats {
            self.actor(&conf).send(Command::Inherit { user, generation }).await;
            conferences.insert(conf);
        }
        Ok(conferences)
    }

    /// Whether the EIM knows of each presence of that generation in the conference.
    async fn is_reported(&self, conf: &ConfId, generation: u64) -> bool {
        let Some(actor) = self.existing(conf) else { return true };
        let (reply, answer) = oneshot::channel();
        actor.send(Command::IsReported { generation, reply }).await;
        answer.await.unwrap_or(true)
    }

    /// Since when (ms since 1970) the EIM refuses to let somebody listen who is here, and in how many conferences.
    pub fn refused_since(&self) -> Option<(u64, usize)> {
        let refused = sync::lock(&self.0.refused);
        refused.values().min().map(|since| (*since, refused.len()))
    }

    fn refused(&self, conf: &ConfId, is_refused: bool) {
        let mut refused = sync::lock(&self.0.refused);
        match (is_refused, refused.contains_key(conf)) {
            (true, false) => drop(refused.insert(conf.clone(), date_ms())),
            (false, true) => drop(refused.remove(conf)),
            _ => {}
        }
    }

    /// What this node has the broker deliver.
    pub fn bindings(&self) -> &Bindings {
        &self.0.bindings
    }

    fn existing(&self, conf: &ConfId) -> Option<Arc<Handle>> {
        self.lock().get(conf).cloned()
    }

    fn actor(&self, conf: &ConfId) -> Arc<Handle> {
        let mut actors = self.lock();
        if let Some(handle) = actors.get(conf) {
            return handle.clone();
        }
        let handle = actor::spawn(self.clone(), conf.clone());
        actors.insert(conf.clone(), handle.clone());
        metrics::gauge!("confgate_conferences").set(actors.len() as f64);
        handle
    }

    /// Takes the conference off the map, unless somebody holds its handle or has left a command.
    fn retire(&self, conf: &ConfId, has_commands: impl FnOnce() -> bool) -> bool {
        let mut actors = self.lock();
        let unused = actors.get(conf).is_none_or(|handle| Arc::strong_count(handle) == 1) && !has_commands();
        if unused {
            actors.remove(conf);
            self.refused(conf, false);
            metrics::gauge!("confgate_conferences").set(actors.len() as f64);
        }
        unused
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConfId, Arc<Handle>>> {
        sync::lock(&self.0.actors)
    }
}
