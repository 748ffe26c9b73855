//! The store, held under this node's lease: whoever takes the node's name over fences our writes off, and we end. With it
//! the time line of moments, which the store keeps.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Base;
use crate::app::lifecycle::{Failure, Lifecycle};
use crate::clock::Moment;
use crate::store::{Lease, Store, StoreError};

/// How often the time line of moments is kept: see `clock::TimeLine`.
const LINE_KEPT: Duration = Duration::from_secs(5);
/// How long what is still under way in the store may take at the end.
const STORE_CLOSE: Duration = Duration::from_secs(2);

/// Takes the lease and starts the tasks that keep it, and the time line of moments.
pub(super) async fn hold(base: Base, lifecycle: &mut Lifecycle) -> Result<Base, Failure> {
    let Base { config, schema, store } = base;
    store.resume_time_line().await?;
    let ttl = config.node.lease;
    let lease = store.acquire_lease(&config.node.id, Moment::now(), ttl).await?;
    if lease.took_over {
        tracing::info!(node = lease.node_id, "the process before this one ended without letting go of its lease");
    }
    let (leased, hard) = (store.under(&lease), lifecycle.hard());
    lifecycle.wire("clock", keep_line(leased.clone(), hard.clone()));
    lifecycle.wire("lease", renew(store, lease, ttl, hard));
    Ok(Base { config, schema, store: leased })
}

/// The store for the built-in EIM's own writes. Its process ends where another one has become the EIM.
pub(super) async fn hold_eim(store: &Store, ttl: Duration, lifecycle: &mut Lifecycle) -> Result<Store, Failure> {
    let lease = store.acquire_eim_lease(Moment::now(), ttl).await?;
    let leased = store.under(&lease);
    lifecycle.wire("the EIM's lease", renew(store.clone(), lease, ttl, lifecycle.hard()));
    Ok(leased)
}

async fn renew(store: Store, lease: Lease, ttl: Duration, hard: CancellationToken) -> Result<(), Failure> {
    let mut tick = interval(ttl / 3);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => match store.renew_lease(&lease, Moment::now(), ttl).await {
                Err(StoreError::Fenced) => return Err(StoreError::Fenced.into()),
                Err(error) => tracing::warn!(%error, "the node's lease could not be renewed yet"),
                Ok(()) => {}
            },
            () = hard.cancelled() => {
                store.release_lease(&lease, Moment::now()).await?;
                return Ok(());
            }
        }
    }
}

/// Keeps the time line of moments, so that the next process goes on with it.
pub(super) async fn keep_line(store: Store, hard: CancellationToken) -> Result<(), Failure> {
    let mut tick = interval(LINE_KEPT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while hard.run_until_cancelled(tick.tick()).await.is_some() {
        // That the store can't be written is told by who needs it.
        store.keep_time_line().await.ok();
    }
    store.keep_time_line().await.ok();
    Ok(())
}

/// With the last connection's end SQLite moves the log into the database's file and removes it: then one file holds all.
pub(super) async fn close(store: &Store) {
    if timeout(STORE_CLOSE, store.close()).await.is_err() {
        tracing::info!("the store was in use until the end; its log is kept beside it");
    }
}
