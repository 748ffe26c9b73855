//! Node leases with fencing numbers: of two processes under one node id, only the later one writes.

use std::sync::Arc;
use std::time::Duration;

use super::query::{On, query, query_scalar};
use super::{Store, StoreError, Write, check_len, to_i64, to_ms, to_u64};
use crate::clock::Moment;
use crate::ids::ID_MAX;

/// In the place of a node's id, which has no `=`: the lease of the process that is the built-in EIM.
pub(super) const EIM_LEASE: &str = "=eim";

/// A node's right to write. The number grows by one with each process that takes the node's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's id.
    pub node_id: String,
    /// The fencing number: a write with an older one is refused.
    pub fence: u64,
    /// Whether the lease before this one had not run out: its process crashed a moment ago, or still runs.
    pub took_over: bool,
}

impl Store {
    /// Takes the node's lease for `ttl` from `now`. The caller holds the node's [`super::NodeLock`], so
    /// whoever held the lease before lives no longer, however little of it has run out.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn acquire_lease(&self, node_id: &str, now: Moment, ttl: Duration) -> Result<Lease, StoreError> {
        check_len("a node's id", node_id, ID_MAX)?;
        let mut write = self.write_in(node_id).await?;
        let before: Option<(i64, i64)> = query("SELECT fence, expires_at FROM nodes WHERE node_id = ?")
            .bind(node_id)
            .fetch_optional(write.on())
            .await?;
        let (last, expires_at) = before.unwrap_or_default();
        let fence = last + 1;
        put(node_id, fence, now, ttl, &mut write).await?;
        write.commit().await?;
        Ok(Lease { node_id: node_id.to_owned(), fence: to_u64(fence), took_over: to_u64(expires_at) > now.ms() })
    }

    /// As [`Store::acquire_lease`], for the process that is the built-in EIM.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn acquire_eim_lease(&self, now: Moment, ttl: Duration) -> Result<Lease, StoreError> {
        self.acquire_lease(EIM_LEASE, now, ttl).await
    }

    /// A handle whose every write is refused ([`StoreError::Fenced`]) once another process has taken the lease.
    pub fn under(&self, lease: &Lease) -> Self {
        Self { lease: Some(Arc::new(lease.clone())), ..self.clone() }
    }

    /// # Errors
    /// [`StoreError::Fenced`] where another process has taken it: this one must stop. Else a fault of the store.
    pub async fn renew_lease(&self, lease: &Lease, now: Moment, ttl: Duration) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        demand(lease, write.on()).await?;
        set_deadline(lease, now, ttl, &mut write).await?;
        write.commit().await
    }

    /// Lets the lease run out now, so that the others see the node gone; the number stays used.
    ///
    /// # Errors
    /// As for [`Store::renew_lease`].
    pub async fn release_lease(&self, lease: &Lease, now: Moment) -> Result<(), StoreError> {
        self.renew_lease(lease, now, Duration::ZERO).await
    }

    /// Ids of the nodes whose lease has not run out.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn live_nodes(&self, now: Moment) -> Result<Vec<String>, StoreError> {
        let mut read = self.read().await?;
        let live = query_scalar("SELECT node_id FROM nodes WHERE expires_at > ? AND node_id <> ? ORDER BY node_id")
            .bind(to_ms(now))
            .bind(EIM_LEASE);
        live.fetch_all(read.on()).await
    }
}

/// Refuses a lease that is not the node's newest. Where the node's row has an older number, or there is none, the
/// database was restored from a backup: then this lease is the newest all the same.
pub(super) async fn demand(lease: &Lease, on: On<'_>) -> Result<(), StoreError> {
    // On a server the row stays as it is until this write is over.
    let newest = match on.is_mysql() {
        true => query_scalar("SELECT fence FROM nodes WHERE node_id = ? LOCK IN SHARE MODE"),
        false => query_scalar("SELECT fence FROM nodes WHERE node_id = ?"),
    };
    let newest: Option<i64> = newest.bind(&lease.node_id).fetch_optional(on).await?;
    if newest <= Some(to_i64(lease.fence)) { Ok(()) } else { Err(StoreError::Fenced) }
}

async fn set_deadline(lease: &Lease, now: Moment, ttl: Duration, write: &mut Write) -> Result<(), StoreError> {
    let kept = query("UPDATE nodes SET fence = ?, expires_at = ?, lease_ms = ? WHERE node_id = ?")
        .bind(to_i64(lease.fence))
        .bind(deadline(now, ttl))
        .bind(lease_ms(ttl))
        .bind(&lease.node_id)
        .execute(write.on())
        .await?;
    if kept == 0 {
        put(&lease.node_id, to_i64(lease.fence), now, ttl, write).await?;
    }
    Ok(())
}

async fn put(node_id: &str, fence: i64, now: Moment, ttl: Duration, write: &mut Write) -> Result<(), StoreError> {
    query("REPLACE INTO nodes (node_id, fence, expires_at, lease_ms) VALUES (?, ?, ?, ?)")
        .bind(node_id)
        .bind(fence)
        .bind(deadline(now, ttl))
        .bind(lease_ms(ttl))
        .execute(write.on())
        .await?;
    Ok(())
}

/// How long the others wait for the next renewal; 0: the node has released its lease.
fn lease_ms(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)
}

fn deadline(now: Moment, ttl: Duration) -> i64 {
    to_ms(now + ttl)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, fresh, promises};

    const TTL: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_write_under_an_older_number_is_refused() {
        let (store, _folder) = fresh().await;
        let first = store.acquire_lease("node1", Moment::at(10), TTL).await.unwrap();
        assert!(!first.took_over);
        let under_first = store.under(&first);
        under_first.get_or_create("a", || "1".to_owned()).await.unwrap();

        let second = store.acquire_lease("node1", Moment::at(50), TTL).await.unwrap();
        assert_eq!((second.fence, second.took_over), (first.fence + 1, true));
        let late = under_first.get_or_create("b", || "2".to_owned()).await;
        assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
        assert!(matches!(store.renew_lease(&first, Moment::at(60), TTL).await, Err(StoreError::Fenced)));
        assert_eq!(under_first.setting("a").await.unwrap().as_deref(), Some("1"), "reading is harmless");
        store.under(&second).get_or_create("b", || "3".to_owned()).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_is_live_while_it_renews_and_its_numbers_are_never_used_again() {
        let (store, _folder) = fresh().await;
        let lease = store.acquire_lease("node1", Moment::at(0), TTL).await.unwrap();
        store.acquire_lease("node2", Moment::at(0), TTL).await.unwrap();
        assert_eq!(store.live_nodes(Moment::at(99)).await.unwrap(), ["node1", "node2"]);
        store.renew_lease(&lease, Moment::at(99), TTL).await.unwrap();
        assert_eq!(store.live_nodes(Moment::at(100)).await.unwrap(), ["node1"]);
        store.release_lease(&lease, Moment::at(120)).await.unwrap();
        assert_eq!(store.live_nodes(Moment::at(120)).await.unwrap(), Vec::<String>::new());
        let next = store.acquire_lease("node1", Moment::at(130), TTL).await.unwrap();
        assert_eq!((next.fence, next.took_over), (lease.fence + 1, false));
    }

    pub const ON_BOTH: Promises = promises![
        a_write_under_an_older_number_is_refused,
        a_node_is_live_while_it_renews_and_its_numbers_are_never_used_again,
    ];
}
