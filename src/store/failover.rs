//! Which node answers for the members of a node that is gone. Decided by conditional `UPDATE`s of the gone node's row: it
//! must still be as it was when the node was found to be gone, so that one node alone inherits, and none from a node
//! that renews its lease after all.

use std::time::Duration;

use super::leases::EIM_LEASE;
use super::query::query;
use super::{Lease, Store, StoreError, to_i64, to_u64};
use crate::clock::date_ms;

/// In place of a fence: the members are the heir's own, nobody needs to inherit any more.
const SETTLED: i64 = 0;
/// In place of a fence: the node was started anew before its heir was done, so that its first reports may be undone.
const OVERLAPPED: i64 = -1;
/// In place of a fence where there is none.
const NO_FENCE: i64 = -2;
/// More sockets than one process ever opens, and more than one inheritance numbers.
const GENERATIONS: u64 = 1_000_000_000;

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// The node's id.
    pub node_id: String,
    /// The fencing number of its newest process.
    pub fence: u64,
    /// Another value with each renewal. It is that node's moment: another one's clock doesn't compare.
    pub expires_at: i64,
    /// How long its lease lasts; zero: it was released. `None`: its process is of an older release.
    pub lease: Option<Duration>,
    /// The node that inherited its members.
    pub heir: Heir,
}

/// The node that answers for a gone node's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heir {
    /// None does.
    None,
    /// That process of that node does.
    Node {
        /// Its id.
        id: String,
        /// Its fencing number.
        fence: u64,
    },
    /// One did, and has claimed each of them for itself.
    Settled,
    /// That node did, for an earlier process of this node, while the newest one had begun already.
    Overlapped {
        /// Its id.
        id: String,
    },
}

type Row = (String, i64, i64, Option<i64>, Option<String>, Option<i64>);

impl Store {
    /// All nodes that ever held a lease.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn node_states(&self) -> Result<Vec<NodeState>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> =
            query("SELECT node_id, fence, expires_at, lease_ms, heir, heir_fence FROM nodes WHERE node_id <> ? ORDER BY node_id")
                .bind(EIM_LEASE)
                .fetch_all(read.on())
                .await?;
        Ok(rows.into_iter().map(from_row).collect())
    }

    /// This node inherits the members of that one, unless its row has changed since it was read; whether it does.
    ///
    /// # Errors
    /// A fault of the store, [`StoreError::Fenced`] included.
    pub async fn inherit(&self, gone: &NodeState) -> Result<bool, StoreError> {
        let Some(own) = self.lease.clone() else { return Ok(false) };
        let (heir, heir_fence) = columns(&gone.heir);
        let mut write = self.write().await?;
        // Absent on both sides is equal here, which NULL is not.
        let done = query(
            "UPDATE nodes SET heir = ?, heir_fence = ? WHERE node_id = ? AND fence = ? AND expires_at = ? \
             AND COALESCE(heir, '') = ? AND COALESCE(heir_fence, ?) = ?",
        )
        .bind(&own.node_id)
        .bind(to_i64(own.fence))
        .bind(&gone.node_id)
        .bind(to_i64(gone.fence))
        .bind(gone.expires_at)
        .bind(heir.unwrap_or_default())
        .bind(NO_FENCE)
        .bind(heir_fence.unwrap_or(NO_FENCE))
        .execute(write.on())
        .await?;
        write.commit().await?;
        Ok(done == 1)
    }

    /// The members of that node are this node's own from now on. Where that node is back already, it is marked once more,
    /// so that it reports the sockets that it holds.
    ///
    /// # Errors
    /// As for [`Store::inherit`].
    pub async fn end_inheritance(&self, gone: &NodeState) -> Result<(), StoreError> {
        let Some(own) = self.lease.clone() else { return Ok(()) };
        let mut write = self.write().await?;
        query(
            "UPDATE nodes SET heir = ?, heir_fence = CASE WHEN fence = ? THEN ? ELSE ? END \
             WHERE node_id = ? AND COALESCE(heir, ?) = ?",
        )
        .bind(&own.node_id)
        .bind(to_i64(gone.fence))
        .bind(SETTLED)
        .bind(OVERLAPPED)
        .bind(&gone.node_id)
        .bind(&own.node_id)
        .bind(&own.node_id)
        .execute(write.on())
        .await?;
        write.commit().await
    }

    /// This node is here, and answers for its members itself; whether another one had inherited them.
    ///
    /// # Errors
    /// As for [`Store::inherit`].
    pub async fn reclaim(&self) -> Result<bool, StoreError> {
        let Some(own) = self.lease.clone() else { return Ok(false) };
        let mut write = self.write().await?;
        let done = query("UPDATE nodes SET heir = NULL, heir_fence = NULL WHERE node_id = ? AND heir IS NOT NULL")
            .bind(&own.node_id)
            .execute(write.on())
            .await?;
        write.commit().await?;
        Ok(done == 1)
    }

    /// The first of a block of generations greater than all that any node of this store has used. The date alone would
    /// not do: a clock may have been set back meanwhile.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn next_generations(&self) -> Result<u64, StoreError> {
        self.next_block("generation", date_ms() * 1000, GENERATIONS).await
    }

    /// This handle's lease.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }
}

fn columns(heir: &Heir) -> (Option<String>, Option<i64>) {
    match heir {
        Heir::None => (None, None),
        Heir::Node { id, fence } => (Some(id.clone()), Some(to_i64(*fence))),
        Heir::Settled => (None, Some(SETTLED)),
        Heir::Overlapped { id } => (Some(id.clone()), Some(OVERLAPPED)),
    }
}

fn from_row((node_id, fence, expires_at, lease_ms, heir, heir_fence): Row) -> NodeState {
    let heir = match (heir, heir_fence) {
        (Some(_), Some(SETTLED)) => Heir::Settled,
        (Some(id), Some(OVERLAPPED)) => Heir::Overlapped { id },
        (Some(id), Some(fence)) => Heir::Node { id, fence: to_u64(fence) },
        _ => Heir::None,
    };
    let lease = lease_ms.map(|ms| Duration::from_millis(to_u64(ms)));
    NodeState { node_id, fence: to_u64(fence), expires_at, lease, heir }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::store::tests::{Promises, fresh, promises};

    const TTL: Duration = Duration::from_millis(100);

    async fn node(store: &Store, id: &str) -> (Store, Lease) {
        let lease = store.acquire_lease(id, Moment::at(10), TTL).await.unwrap();
        (store.under(&lease), lease)
    }

    async fn state(store: &Store, id: &str) -> NodeState {
        store.node_states().await.unwrap().into_iter().find(|node| node.node_id == id).unwrap()
    }

    #[tokio::test]
    async fn one_node_inherits_and_the_next_when_that_one_is_gone_too() {
        let (store, _folder) = fresh().await;
        let [(a, lease), (b, of_b), (c, _)] =
            [node(&store, "a").await, node(&store, "b").await, node(&store, "c").await];
        let gone = state(&store, "a").await;
        assert_eq!((gone.lease, &gone.heir), (Some(TTL), &Heir::None));
        assert!(b.inherit(&gone).await.unwrap());
        assert!(!c.inherit(&gone).await.unwrap(), "it was inherited already");
        let inherited = state(&store, "a").await;
        assert_eq!(inherited.heir, Heir::Node { id: "b".into(), fence: of_b.fence });
        assert!(c.inherit(&inherited).await.unwrap());
        c.end_inheritance(&gone).await.unwrap();
        assert_eq!(state(&store, "a").await.heir, Heir::Settled);
        // It was only stopped.
        a.renew_lease(&lease, Moment::at(500), TTL).await.unwrap();
        assert!(a.reclaim().await.unwrap() && !a.reclaim().await.unwrap());
        a.release_lease(&lease, Moment::at(510)).await.unwrap();
        assert_eq!(state(&store, "a").await.lease, Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn nobody_inherits_from_a_node_that_has_renewed_its_lease_or_was_started_anew() {
        let (store, _folder) = fresh().await;
        let [(a, lease), (b, _)] = [node(&store, "a").await, node(&store, "b").await];
        let seen = state(&store, "a").await;
        a.renew_lease(&lease, Moment::at(20), TTL).await.unwrap();
        assert!(!b.inherit(&seen).await.unwrap());
        let seen = state(&store, "a").await;
        node(&store, "a").await;
        assert!(!b.inherit(&seen).await.unwrap());
        b.end_inheritance(&seen).await.unwrap();
        let marked = state(&store, "a").await;
        assert_eq!(marked.heir, Heir::Overlapped { id: "b".into() });
        assert!(b.inherit(&marked).await.unwrap(), "it may die before it has seen the mark");
        // A process that has lost its name writes nothing.
        let first = node(&store, "c").await.0;
        node(&store, "c").await;
        assert!(matches!(first.inherit(&state(&store, "a").await).await, Err(StoreError::Fenced)));
    }

    pub const ON_BOTH: Promises = promises![
        one_node_inherits_and_the_next_when_that_one_is_gone_too,
        nobody_inherits_from_a_node_that_has_renewed_its_lease_or_was_started_anew,
    ];
}
