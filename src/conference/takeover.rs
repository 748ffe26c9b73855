//! Takeover between nodes: which sockets this node has opened is written into the store, and what the other nodes have
//! written there is read from it. Many are written at once: they gather in the registry
//! for a moment. A store that is away keeps no socket from opening; it is registered when the store is back.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::clock::Moment;
use crate::conference::sockets::Sockets;
use crate::ids::UserId;
use crate::store::{OpenedSocket, Store, StoreError};

/// How often the other nodes' sockets are read: a socket that was taken over is closed within a second.
const POLL: Duration = Duration::from_millis(500);
/// How long sockets gather before they are registered together: little of the second within which the old one is closed.
const GATHER: Duration = Duration::from_millis(100);
/// Most sockets registered in one transaction: a few ten milliseconds, in which nobody else writes.
const REGISTERED_AT_ONCE: usize = 500;
/// Most sockets read at once.
const READ_AT_ONCE: u32 = 5000;
/// A socket that waited longer than this to be registered was kept from it by the store.
const DELAYED: Duration = Duration::from_secs(2);
/// How long the others may take to read of a socket: a node that was cut off from the store for longer keeps sockets
/// that were taken over.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often older ones are deleted.
const COLLECT: Duration = Duration::from_secs(600);

/// Follows what the nodes of one store open. A task that `app::serve` starts; owns the number up to which it has read.
pub struct Takeover {
    sockets: Sockets,
    store: Store,
    node: String,
    /// The newest socket of all nodes that was looked at; `None`: none yet.
    read: Option<u64>,
    /// The beginning of the last look at which everything was read.
    caught_up: watch::Sender<Moment>,
}

impl Takeover {
    /// `node`: this node's id. With it the moment at which all was read that the other nodes had registered.
    pub fn new(sockets: Sockets, store: Store, node: String) -> (Self, watch::Receiver<Moment>) {
        let (caught_up, moments) = watch::channel(Moment::NEVER);
        (Self { sockets, store, node, read: None, caught_up }, moments)
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let (mut poll, mut collect) = (ticks(POLL), ticks(COLLECT));
        let mut is_away = false;
        loop {
            let outcome = tokio::select! {
                () = gathered(&self.sockets), if !is_away => self.register().await,
                _ = poll.tick() => self.catch_up().await,
                _ = collect.tick() => self.collect().await,
            };
            if let Err(error) = &outcome
                && !is_away
            {
                tracing::info!(%error, "sockets that other nodes take over can't be followed now");
            }
            is_away = outcome.is_err();
        }
    }

    /// Registers what waits, and closes what was taken over.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let begun = Moment::now();
        self.register().await?;
        let mut since = self.start().await?;
        loop {
            let newer = self.store.sockets_since(since, READ_AT_ONCE).await?;
            let Some(last) = newer.last() else {
                self.caught_up.send_replace(begun);
                return Ok(());
            };
            since = last.seq;
            for other in newer.iter().filter(|socket| socket.node_id != self.node) {
                if let Some(user) = UserId::parse(&other.user_id) {
                    self.sockets.taken_over(&user, other.seq).await;
                }
            }
            self.read = Some(since);
        }
    }

    async fn register(&mut self) -> Result<(), StoreError> {
        self.start().await?;
        loop {
            let waiting = self.sockets.unregistered(REGISTERED_AT_ONCE);
            if waiting.is_empty() {
                return Ok(());
            }
            let now = Moment::now();
            let opened = waiting.iter().map(|(user, _, opened)| OpenedSocket {
                user_id: user.clone(),
                opened: *opened,
                is_delayed: now.since(*opened) > DELAYED,
            });
            let numbers = self.store.register_sockets(&self.node, &opened.collect::<Vec<_>>()).await?;
            metrics::counter!("confgate_socket_registrations_total").increment(1);
            for ((user, generation, _), seq) in waiting.iter().zip(numbers) {
                self.sockets.registered(user, *generation, seq).await;
            }
        }
    }

    /// From where to read: nothing that was registered before this node's first socket takes it over.
    async fn start(&mut self) -> Result<u64, StoreError> {
        if let Some(read) = self.read {
            return Ok(read);
        }
        let last = self.store.last_socket().await?;
        self.read = Some(last);
        Ok(last)
    }

    async fn collect(&self) -> Result<(), StoreError> {
        let before = Moment::now().ms().saturating_sub(KEPT.as_millis() as u64);
        self.store.collect_sockets(Moment::at(before)).await.map(drop)
    }
}

/// A socket was opened, and others beside it.
async fn gathered(sockets: &Sockets) {
    sockets.opened().await;
    sleep(GATHER).await;
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
