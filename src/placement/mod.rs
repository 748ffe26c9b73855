//! Which call gateway each conference is at: agreed through the store, kept while the gateway lives, and enforced there.
//!
//! A request asks [`Placement::place`]. One task follows the conferences that people here are in: it moves them when
//! their gateway dies, is drained or fails by its members' reports, tells the members, and passes on what each member
//! may send.

mod core;
mod task;

use tokio::sync::mpsc;

use crate::callgw::{Nowhere, Pool};
use crate::ids::{ConfId, now_ms};
use crate::store::{Allocation, Store, StoreError};

pub use task::Task;

/// Placements that wait to be noted; when it is full a request waits.
const PLACED: usize = 1024;

/// How often a request tries to get away from gateways that are dead by our knowledge and alive by another's.
const ATTEMPTS: usize = 3;

/// Why there is no gateway for a conference.
#[derive(Debug)]
pub enum Unplaced {
    Nowhere(Nowhere),
    Store(StoreError),
}

impl From<StoreError> for Unplaced {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A cloneable handle. Its mailbox holds [`PLACED`] placements.
#[derive(Clone)]
pub struct Placement {
    pool: Pool,
    store: Store,
    placed: mpsc::Sender<(ConfId, Allocation)>,
}

impl Placement {
    pub fn new(pool: Pool, store: Store) -> (Self, Task) {
        let (placed, noted) = mpsc::channel(PLACED);
        (Self { pool: pool.clone(), store: store.clone(), placed }, Task::new(pool, store, noted))
    }

    /// The gateway that one more member of the conference is to use; the first one's `region` decides.
    ///
    /// # Errors
    /// Where no gateway can take the conference, and for a fault of the store.
    pub async fn place(&self, conf: &ConfId, region: Option<&str>) -> Result<String, Unplaced> {
        let mut at = self.store.allocation(conf).await?;
        for _ in 0..ATTEMPTS {
            let now = now_ms();
            let current = at.as_ref().map(|at| (at.gateway_id.as_str(), now.saturating_sub(at.assigned_at)));
            let chosen = self.pool.place(current, region).map_err(Unplaced::Nowhere)?;
            let agreed = match at {
                Some(at) if at.gateway_id == chosen => at,
                other => self.store.assign(conf, &chosen, other.as_ref().map(|at| at.gateway_id.as_str()), now).await?,
            };
            if self.pool.is_up(&agreed.gateway_id) {
                self.pool.given(&agreed.gateway_id, 1);
                metrics::gauge!("confgate_placements_waiting").set((PLACED - self.placed.capacity()) as f64);
                // At a stop nobody notes it; the store has it.
                let _ = self.placed.send((conf.clone(), agreed.clone())).await;
                return Ok(agreed.gateway_id);
            }
            at = Some(agreed);
        }
        Err(Unplaced::Nowhere(Nowhere(Vec::new())))
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
