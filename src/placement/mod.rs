//! Which call gateways each conference is at: agreed through the store, kept while the gateway lives, and enforced there.
//! One is enough until it is full.
//!
//! A request asks [`Placement::place`]. One task follows the conferences that people here are in: it moves them when
//! their gateway dies, is drained or fails by its members' reports, tells the members, and passes on what each member
//! may send.

mod core;
mod register;
mod task;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::callgw::{NoNodeAvailable, NodeChoice, Pool};
use crate::clock::Moment;
use crate::ids::{ConfId, UserId};
use crate::store::{Allocation, Store, StoreError};

pub use register::{Observer, OwnGateways, Register, RegisterError, SigningKeys};
pub use task::Task;

/// Placements that wait to be noted; when it is full a request waits.
const PLACED: usize = 1024;

/// How often a request tries to get away from gateways that are dead by our knowledge and alive by another's.
const ATTEMPTS: usize = 3;

/// The reason why there is no gateway for a conference.
#[derive(Debug)]
pub enum PlacementError {
    /// No node can take the conference.
    NoNodeAvailable(NoNodeAvailable),
    /// The store has failed.
    Store(StoreError),
}

impl From<StoreError> for PlacementError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A cloneable handle. Its mailbox holds `PLACED` placements.
#[derive(Clone)]
pub struct Placement {
    pool: Pool,
    store: Store,
    register: Arc<Register>,
    placed: mpsc::Sender<(ConfId, Allocation)>,
}

impl Placement {
    /// The handle, and the task to run.
    pub fn new(pool: Pool, store: Store, register: Arc<Register>) -> (Self, Task) {
        let (placed, noted) = mpsc::channel(PLACED);
        let task = Task::new(pool.clone(), store.clone(), register.clone(), noted);
        (Self { pool, store, register, placed }, task)
    }

    /// The gateway that one more member of the conference is to use; the first one's `region` decides.
    ///
    /// # Errors
    /// Where no gateway can take the conference, and for a fault of the store.
    pub async fn place(&self, conf: &ConfId, user: &UserId, region: Option<&str>) -> Result<String, PlacementError> {
        let mut at = self.store.allocation(conf).await?;
        for _ in 0..ATTEMPTS {
            let now = Moment::now().ms();
            let nodes: Vec<&str> = at.iter().flat_map(Allocation::nodes).collect();
            // Another gateway node may have put it at a call gateway that has come a moment ago.
            if nodes.iter().any(|id| !self.pool.has(id)) {
                self.register.refresh().await?;
            }
            self.pool.judged(&nodes).await;
            let since_ms = at.as_ref().map_or(0, |at| now.saturating_sub(at.assigned_at));
            let place =
                self.pool.place(&nodes, since_ms, Some(user), region).map_err(PlacementError::NoNodeAvailable)?;
            let (chosen, agreed) = self.agree(conf, at, place, now).await?;
            if agreed.nodes().any(|id| id == chosen) && self.pool.is_up(&chosen) {
                self.pool.note_assignment(&chosen, 1);
                metrics::gauge!("confgate_placements_waiting").set((PLACED - self.placed.capacity()) as f64);
                // At a stop nobody notes it; the store has it.
                let _ = self.placed.send((conf.clone(), agreed)).await;
                return Ok(chosen);
            }
            at = Some(agreed);
        }
        Err(PlacementError::NoNodeAvailable(NoNodeAvailable(Vec::new())))
    }

    /// The gateway that was chosen, or the one that others have decided on, and where the conference is then.
    async fn agree(
        &self,
        conf: &ConfId,
        at: Option<Allocation>,
        place: NodeChoice,
        now: u64,
    ) -> Result<(String, Allocation), StoreError> {
        match (place, at) {
            (NodeChoice::Stay(id), Some(at)) => Ok((id, at)),
            (NodeChoice::Grow(id), Some(at)) => {
                let nodes: Vec<String> = at.nodes().chain([id.as_str()]).map(str::to_owned).collect();
                let agreed = self.store.spread(conf, &at, &nodes, now).await?;
                Ok((id, agreed.unwrap_or(at)))
            }
            (NodeChoice::Stay(id) | NodeChoice::Grow(id) | NodeChoice::Move(id), at) => {
                let agreed = self.store.assign(conf, &id, at.as_ref().map(|at| at.gateway_id.as_str()), now).await?;
                Ok((agreed.gateway_id.clone(), agreed))
            }
        }
    }

    /// Drains the gateway until `leave_at` (ms since 1970), when its conferences leave; `None`: no longer. Every
    /// gateway node knows within a second, this one at once.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn drain(&self, gateway: &str, leave_at: Option<u64>) -> Result<(), StoreError> {
        self.store.drain(gateway, leave_at).await?;
        self.pool.drain_only(&self.store.drains().await?);
        Ok(())
    }
}
