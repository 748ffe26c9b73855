//! The owners of conferences' numbers, where the gateway gives them: one task for each conference, around
//! [`Numbering`](super::numbering::Numbering). To a conference's actor an owner is what the EIM is elsewhere: it is asked
//! for rosters, and told of sockets; its events come back the way on which the EIM's come.
//!
//! # Several nodes
//!
//! The store names the one node that numbers a conference: the first one that needed it. The others ask that node over a
//! link ([`link`], [`serve`]), which brings them the numbered events too, and give it what they hear of the EIM that it
//! doesn't hear itself. Where it can't be reached, or says that it isn't the owner, the store is asked again, and each
//! client goes on from its position. A node takes a conference over when its owner is gone (`Store::take_numbering`), and
//! goes on in the same epoch.
//!
//! An event is in the store before anybody is shown it. Where another process has taken the conference over, the store
//! refuses the write: then nothing of it is shown, and the node asks the new owner.

mod address;
mod link;
pub(super) mod locations;
pub(super) mod protocol;
mod reply;
pub mod serve;
mod task;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::link::LinkQueue;
use self::locations::{Location, Locations};
use self::reply::Reply;
use self::serve::Watcher;
use self::task::Task;
use super::core::{Failure, Limits};
use super::numbering::{Answer, Claim, OwnerRequest};
use crate::clock::Moment;
use crate::eim::amqp::bindings::Bindings;
use crate::eim::events::Receipt;
use crate::eim::requests::Requests;
use crate::event::{ConferenceEvent, Event};
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;
use crate::store::Store;
use crate::sync;

pub use self::address::keep_address;
pub use self::link::Dialer;

/// How many commands wait at one owner. When it is full the EIM's changes are dropped, and its roster is read; whoever
/// asks is refused for now.
const MAILBOX: usize = 1024;
/// How many numbered events wait to be given to their conferences; when they are full, owners wait.
const NUMBERED: usize = 1024;

/// How long the numbers of a conference without news are kept, in which nobody is awaited back: far longer than any
/// client can resume from.
const KEPT_MS: u64 = 86_400_000;
/// How long it is waited until the store is asked again, after a node has said that it isn't the owner: two nodes that
/// take each other for it don't ask each other without end.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A command to an owner.
enum Command {
    /// A change from the EIM.
    Change(ConferenceEvent, Option<Receipt>),
    OwnerRequest(OwnerRequest, Reply),
    /// That link gets the numbered events from now on.
    Watch(Watcher),
}

/// What the conferences' actors are given.
#[derive(Debug)]
pub enum OwnerNotice {
    /// A numbered event.
    Event(Event),
    /// The owner was lost, or is another one: events may have been missed.
    Doubt(ConfId),
}

/// The registry of this node's owners: cloneable; owns the map, the tasks own their conferences.
#[derive(Clone)]
pub struct Owners(Arc<Inner>);

struct Inner {
    locations: Mutex<Locations<Arc<Handle>>>,
    /// The links to other nodes, by node.
    links: Mutex<HashMap<String, Arc<LinkQueue>>>,
    calls: Requests,
    store: Store,
    bindings: Bindings,
    limits: Limits,
    notices: mpsc::Sender<OwnerNotice>,
    dialer: Dialer,
    tracker: TaskTracker,
    /// This process ends: it has given its conferences back, and takes none.
    given_back: CancellationToken,
}

/// An owner's mailbox.
struct Handle {
    commands: mpsc::Sender<Command>,
    /// Changes may have been lost, or another process may be the owner: the EIM's roster is to be read, and the store
    /// asked.
    doubted: AtomicBool,
}

impl Owners {
    /// No owners yet. Their news come out of the receiver.
    pub fn new(
        calls: Requests,
        store: Store,
        bindings: Bindings,
        limits: Limits,
        dialer: Dialer,
        tracker: TaskTracker,
    ) -> (Self, mpsc::Receiver<OwnerNotice>) {
        let (notices, events) = mpsc::channel(NUMBERED);
        let (locations, links) = (Mutex::new(Locations::new()), Mutex::default());
        let given_back = CancellationToken::new();
        let inner = Inner { locations, links, calls, store, bindings, limits, notices, dialer, tracker, given_back };
        (Self(Arc::new(inner)), events)
    }

    /// A change from the EIM; of a conference that nobody here is in, nothing. Never waits: where an owner is behind, the
    /// change is dropped, and the EIM's roster read. The receipt is dropped once the event is in the store. The owner at
    /// another node is given what the broker didn't bring, since it has the broker's itself.
    pub fn change(&self, event: ConferenceEvent, receipt: Option<Receipt>) {
        let place = sync::lock(&self.0.locations).get(&event.conf_id);
        match place {
            Some(Location::Here(owner)) => {
                if owner.commands.try_send(Command::Change(event, receipt)).is_err() {
                    unapplied("full");
                    owner.doubted.store(true, Ordering::Relaxed);
                }
            }
            Some(Location::There(node)) if receipt.is_none() => {
                if !self.link_to(&node).change(event) {
                    unapplied("full");
                }
            }
            Some(Location::There(_)) | None => {}
        }
    }

    /// The EIM's changes may have been lost, or this process was taken for gone: the EIM's rosters are read, and the store
    /// is asked whether this node is the owner still.
    pub fn doubt(&self) {
        self.doubt_here();
        sync::lock(&self.0.links).values().for_each(|link| link.doubt());
    }

    /// The same for the owners of this node alone.
    fn doubt_here(&self) {
        for owner in sync::lock(&self.0.locations).here() {
            owner.doubted.store(true, Ordering::Relaxed);
        }
    }

    /// This process ends: other nodes may take its conferences over at once, and their links are closed.
    pub fn give_back(&self) {
        self.0.given_back.cancel();
    }

    /// Asks the conference's owner, wherever it is.
    ///
    /// # Errors
    /// Its refusal; [`Failure::Unreachable`] where there is none to be reached now.
    pub(super) async fn request(&self, conf: &ConfId, request: OwnerRequest) -> Result<Answer, Failure> {
        if self.0.given_back.is_cancelled() {
            return Err(Failure::Unreachable);
        }
        let (to, answer) = oneshot::channel();
        let reply = Reply::new(move |answered| drop(to.send(answered)));
        match self.location(conf) {
            Location::Here(owner) => owner.send(Command::OwnerRequest(request, reply)).await,
            Location::There(node) => self.link_to(&node).request(conf, request, reply),
        }
        answer.await.unwrap_or(Err(Failure::Unreachable))
    }

    /// That node, this one or another, is new or gone: whoever had a socket there has none. Answers who that is.
    pub(super) async fn reset(&self, claim: Claim) -> Result<Vec<(ConfId, UserId)>, Refusal> {
        if self.0.store.lease().is_some_and(|own| own.node_id != claim.node) {
            self.lost(&claim.node).await;
        }
        let mut seats = Vec::new();
        for conf in self.0.store.numberings_with_seats_at(&claim.node).await? {
            match self.request(&conf, OwnerRequest::Reset(claim.clone())).await {
                Ok(Answer::Users(users)) => seats.extend(users.into_iter().map(|user| (conf.clone(), user))),
                Ok(_) | Err(Failure::Unreachable) => return Err(Refusal::eim_unreachable(false)),
                Err(_) => {}
            }
        }
        Ok(seats)
    }

    /// A request of another node's. Never waits.
    fn request_from(&self, conf: &ConfId, request: OwnerRequest, reply: Reply, from: &Watcher) {
        if self.0.given_back.is_cancelled() {
            return from.elsewhere(conf);
        }
        match self.location(conf) {
            Location::Here(owner) => {
                let _ = owner.commands.try_send(Command::Watch(from.clone()));
                // Where there is no room the reply says that it may work later.
                let _ = owner.commands.try_send(Command::OwnerRequest(request, reply));
            }
            Location::There(_) => {
                from.elsewhere(conf);
                // It has read of this node in the store.
                if sync::lock(&self.0.locations).elsewhere(conf, None) {
                    self.doubt_soon(conf.clone());
                }
            }
        }
    }

    /// The conference's numbers are at that node no longer, by its own word.
    fn elsewhere(&self, conf: &ConfId, node: &str) {
        if sync::lock(&self.0.locations).elsewhere(conf, Some(node)) {
            self.doubt_soon(conf.clone());
        }
    }

    fn doubt_soon(&self, conf: ConfId) {
        let notices = self.0.notices.clone();
        self.0.tracker.spawn(async move {
            sleep(ASK_AGAIN).await;
            // At a stop nobody takes it.
            let _ = notices.send(OwnerNotice::Doubt(conf)).await;
        });
    }

    /// That node can't be reached any more.
    async fn lost(&self, node: &str) {
        let lost = sync::lock(&self.0.locations).lost(node);
        for conf in lost {
            if self.0.notices.send(OwnerNotice::Doubt(conf)).await.is_err() {
                return;
            }
        }
    }

    /// The owner that began here finds that the conference is that node's. What it was given goes there.
    fn moved(&self, conf: &ConfId, node: &str, commands: impl Iterator<Item = Command>) {
        sync::lock(&self.0.locations).moved(conf, node);
        self.measure();
        let link = self.link_to(node);
        for command in commands {
            match command {
                Command::OwnerRequest(request, reply) => link.request(conf, request, reply),
                Command::Change(event, None) => drop(link.change(event)),
                Command::Change(_, Some(_)) => {}
                Command::Watch(watcher) => watcher.elsewhere(conf),
            }
        }
    }

    fn location(&self, conf: &ConfId) -> Location<Arc<Handle>> {
        let mut locations = sync::lock(&self.0.locations);
        if let Some(place) = locations.get(conf) {
            return place;
        }
        let (commands, receiver) = mpsc::channel(MAILBOX);
        let handle = Arc::new(Handle { commands, doubted: AtomicBool::new(false) });
        let task = Task::new(conf.clone(), self.clone(), Arc::downgrade(&handle), receiver);
        self.0.tracker.spawn(task.run());
        locations.begin(conf, handle.clone());
        drop(locations);
        self.measure();
        Location::Here(handle)
    }

    fn link_to(&self, node: &str) -> Arc<LinkQueue> {
        let mut links = sync::lock(&self.0.links);
        let new = || LinkQueue::start(node, self.clone(), &self.0.tracker);
        links.entry(node.to_owned()).or_insert_with(new).clone()
    }

    /// Takes the owner off the map, unless somebody holds its handle or has left a command.
    fn retire(&self, conf: &ConfId, has_commands: impl FnOnce() -> bool) -> bool {
        let mut locations = sync::lock(&self.0.locations);
        // One on the map, one here.
        let unused = match locations.get(conf) {
            Some(Location::Here(handle)) => Arc::strong_count(&handle) == 2 && !has_commands(),
            _ => true,
        };
        if unused {
            locations.end(conf);
        }
        drop(locations);
        self.measure();
        unused
    }

    /// The owner here has given the conference back.
    fn ended(&self, conf: &ConfId) {
        sync::lock(&self.0.locations).end(conf);
        self.measure();
    }

    fn measure(&self) {
        metrics::gauge!("confgate_numberings").set(sync::lock(&self.0.locations).here().count() as f64);
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

impl Handle {
    async fn send(&self, command: Command) {
        // The task ends with what it has not read: then the reply says that it may work later.
        if self.commands.send(command).await.is_err() {
            tracing::debug!("an owner of numbers ended with a command under way");
        }
    }
}

/// Counts a change of the EIM's that gave no event.
fn unapplied(why: &'static str) {
    metrics::counter!("confgate_eim_changes_unapplied_total", "why" => why).increment(1);
}
