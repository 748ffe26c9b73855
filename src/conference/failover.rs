//! What becomes of the members of a node that is gone: one of the others finds its lease lapsed or released, tells the
//! EIM in its name, claims its members, and follows their grace as its own members'. A node that was only stopped, or cut
//! off from the store, finds that it was inherited, and reports the sockets that it still holds.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::backoff::Backoff;
use crate::clock::{Moment, stall};
use crate::conference::Conferences;
use crate::conference::lapses::Lapses;
use crate::conference::sockets::Sockets;
use crate::store::{Heir, Lease, NodeState, Store, StoreError};

/// How often the nodes' leases are looked at, at the least.
const LOOK: Duration = Duration::from_secs(1);
/// And so many times within this node's own lease.
const LOOKS_PER_LEASE: u32 = 4;
/// Between attempts to reach the EIM or the store: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long an heir that lives needs at the most to claim what it inherits. This node reports its sockets after that, since
/// the claims would undo what it has reported before.
const HEIR_IS_DONE: Duration = Duration::from_secs(5);
/// How often it is looked whether the EIM has taken all claims.
const CLAIMED: Duration = Duration::from_millis(500);

/// Watches the other nodes. A task that `app::serve` starts.
pub struct Failover {
    parts: Parts,
    lasts: Duration,
    lapses: Lapses,
    /// Work under way, and the nodes that it is for: at most one for each.
    work: JoinSet<String>,
    busy: HashSet<String>,
    /// Since when another node answers for this one's members.
    inherited: Option<Moment>,
}

/// What the work for one node needs.
#[derive(Clone)]
struct Parts {
    conferences: Conferences,
    sockets: Sockets,
    store: Store,
    caught_up: watch::Receiver<Moment>,
}

impl Failover {
    /// `caught_up`: when it was last known what the other nodes have taken over; `lasts`: this node's lease.
    pub fn new(
        conferences: Conferences,
        sockets: Sockets,
        store: Store,
        caught_up: watch::Receiver<Moment>,
        lasts: Duration,
    ) -> Self {
        let parts = Parts { conferences, sockets, store, caught_up };
        Self { parts, lasts, lapses: Lapses::default(), work: JoinSet::new(), busy: HashSet::new(), inherited: None }
    }

    /// Runs for ever. From `soft` on this node inherits nothing more: it is about to go itself.
    pub async fn run(mut self, soft: CancellationToken) {
        let every = LOOK.min(self.lasts / LOOKS_PER_LEASE);
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Moment::now();
        loop {
            tokio::select! {
                Some(done) = self.work.join_next() => match done {
                    Ok(node) => drop(self.busy.remove(&node)),
                    Err(error) => tracing::error!(%error, "an inheritance panicked"),
                },
                _ = tick.tick() => {
                    let before = std::mem::replace(&mut looked, Moment::now());
                    if stall::is_stall(every, looked.since(before)) {
                        self.lapses.forget();
                    }
                    if let Err(error) = self.look(soft.is_cancelled()).await {
                        tracing::debug!(%error, "the other nodes can't be looked at now");
                        self.lapses.forget();
                    }
                }
            }
        }
    }

    async fn look(&mut self, draining: bool) -> Result<(), StoreError> {
        let Some(own) = self.parts.store.lease().cloned() else { return Ok(()) };
        let nodes = self.parts.store.node_states().await?;
        if let Some(heir) = self.inherited_by(&own, &nodes)
            && !self.busy.contains(&own.node_id)
            && self.parts.store.reclaim().await?
        {
            let parts = self.parts.clone();
            self.start(own.node_id.clone(), async move { parts.report_again(heir).await });
        }
        for gone in self.lapses.orphans(&own, self.lasts, &nodes, Moment::now()) {
            if draining || self.busy.contains(&gone.node_id) || !self.parts.store.inherit(&gone).await? {
                continue;
            }
            let parts = self.parts.clone();
            self.start(gone.node_id.clone(), async move { parts.inherit(&gone).await });
        }
        Ok(())
    }

    /// The node that has answered for this one's members, once it is done with it.
    fn inherited_by(&mut self, own: &Lease, nodes: &[NodeState]) -> Option<Heir> {
        let heir = &nodes.iter().find(|node| node.node_id == own.node_id)?.heir;
        self.inherited = (*heir != Heir::None).then(|| self.inherited.unwrap_or_else(Moment::now));
        let is_late = Moment::now().since(self.inherited?) > HEIR_IS_DONE;
        (is_late || !matches!(heir, Heir::Node { .. })).then(|| heir.clone())
    }

    fn start(&mut self, node: String, work: impl Future<Output = ()> + Send + 'static) {
        self.busy.insert(node.clone());
        self.work.spawn(async move {
            work.await;
            node
        });
    }
}

impl Parts {
    async fn inherit(&self, gone: &NodeState) {
        metrics::counter!("confgate_nodes_inherited_total").increment(1);
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        while let Err(error) = self.claim_members(gone).await {
            tracing::info!(node = gone.node_id, error, "the members of a node that is gone can't be claimed yet");
            sleep(backoff.pause(false, rand::random())).await;
        }
        while let Err(error) = self.store.end_inheritance(gone).await {
            tracing::debug!(%error, "an inheritance can't be settled yet");
            sleep(backoff.pause(false, rand::random())).await;
        }
    }

    /// An error passes.
    async fn claim_members(&self, gone: &NodeState) -> Result<(), String> {
        // Before the look at the node: a process that is started after it uses greater ones.
        let generation = self.store.next_generations().await.map_err(|error| error.to_string())?;
        let nodes = self.store.node_states().await.map_err(|error| error.to_string())?;
        let is_gone = |node: &NodeState| {
            (&node.node_id, node.fence, node.expires_at) == (&gone.node_id, gone.fence, gone.expires_at)
        };
        if !nodes.iter().any(is_gone) {
            tracing::info!(node = gone.node_id, "the node is back");
            return Ok(());
        }
        match self.conferences.inherit(&gone.node_id, generation).await {
            Ok(conferences) => {
                tracing::info!(
                    node = gone.node_id,
                    conferences = conferences.len(),
                    "answering for a node that is gone"
                );
                for conf in conferences {
                    while !self.conferences.is_reported(&conf, generation).await {
                        sleep(CLAIMED).await;
                    }
                }
                Ok(())
            }
            Err(refusal) if refusal.is_retryable() => Err(refusal.key().to_owned()),
            Err(refusal) => {
                tracing::warn!(node = gone.node_id, key = refusal.key(), "the EIM doesn't say who was at a node");
                Ok(())
            }
        }
    }

    /// Another node has taken this one for gone: the EIM takes its members for away. First it must be known whose sockets
    /// were opened elsewhere meanwhile: those are not reported.
    async fn report_again(mut self, heir: Heir) {
        tracing::warn!("another node took this one for gone; it reports its sockets again");
        self.conferences.doubt_owners();
        let since = Moment::now();
        if self.caught_up.wait_for(|at| *at > since).await.is_err() {
            return;
        }
        if !matches!(heir, Heir::Overlapped { .. }) {
            self.number_anew().await;
        }
        self.sockets.attach_again().await;
        self.conferences.link_up().await;
        self.sockets.link_up(None);
    }

    /// Has the EIM take this process's generations again, which are smaller than that of the inheritance.
    async fn number_anew(&self) {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        while let Err(refusal) = self.conferences.restore().await {
            if !refusal.is_retryable() {
                return;
            }
            sleep(backoff.pause(false, rand::random())).await;
        }
    }
}
