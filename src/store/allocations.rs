//! Which call gateway a conference is at, and which ones an operator drains: agreed by all gateway nodes through these
//! tables.

use std::collections::HashMap;

use super::query::{On, query};
use super::{Store, StoreError, check_len, to_i64, to_u64};
use crate::ids::{ConfId, ID_MAX};

/// Most allocations that are told at once: those that are left out are found when they are asked for one by one.
const CHANGES_MAX: i64 = 10_000;

/// Between ids, which have no blanks; and the longest of all together, in characters.
const SEPARATOR: &str = " ";
const MORE_MAX: usize = 1024;

/// Where a conference is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The call gateway node's id.
    pub gateway_id: String,
    /// The call gateways onto which it has grown, in that order.
    pub more: Vec<String>,
    /// A [`Moment`](crate::clock::Moment), in ms.
    pub assigned_at: u64,
}

impl Allocation {
    /// All call gateways of the conference, in the order in which they came.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.gateway_id).chain(&self.more).map(String::as_str)
    }
}

impl Store {
    /// Puts the conference at `gateway_id` if it is at none, or if it is at `instead_of`, and returns where it is then:
    /// of several nodes that decide at once, the first one's word holds for all. A later word has a later time, whatever
    /// the nodes' clocks say.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn assign(
        &self,
        conf: &ConfId,
        gateway_id: &str,
        instead_of: Option<&str>,
        now: u64,
    ) -> Result<Allocation, StoreError> {
        check_len("a call gateway's id", gateway_id, ID_MAX)?;
        let mut write = self.write_in(conf.as_str()).await?;
        let at = find(conf, write.on()).await?;
        if let Some(at) = &at
            && Some(at.gateway_id.as_str()) != instead_of
        {
            return Ok(at.clone());
        }
        let assigned_at = now.max(at.as_ref().map_or(0, |before| before.assigned_at + 1));
        let more = at.map(|before| before.more).unwrap_or_default();
        let more = more.into_iter().filter(|id| id != gateway_id).collect();
        let now = Allocation { gateway_id: gateway_id.to_owned(), more, assigned_at };
        put(conf, &now, write.on()).await?;
        write.commit().await?;
        Ok(now)
    }

    /// Puts the conference at these call gateways, at least one, if it is where it was last `seen`; returns where it is
    /// then.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn spread(
        &self,
        conf: &ConfId,
        seen: &Allocation,
        nodes: &[String],
        now: u64,
    ) -> Result<Option<Allocation>, StoreError> {
        let mut write = self.write_in(conf.as_str()).await?;
        let at = find(conf, write.on()).await?;
        let (Some((gateway_id, more)), Some(before)) = (nodes.split_first(), &at) else { return Ok(at) };
        if before != seen {
            return Ok(at);
        }
        check_len("call gateways' ids", &nodes.join(SEPARATOR), MORE_MAX)?;
        let assigned_at = now.max(before.assigned_at + 1);
        let now = Allocation { gateway_id: gateway_id.clone(), more: more.to_vec(), assigned_at };
        put(conf, &now, write.on()).await?;
        write.commit().await?;
        Ok(Some(now))
    }

    /// # Errors
    /// A fault of the store.
    pub async fn allocation(&self, conf: &ConfId) -> Result<Option<Allocation>, StoreError> {
        let mut read = self.read().await?;
        find(conf, read.on()).await
    }

    /// Conferences that were put somewhere since that moment (ms), each with where it is; the newest 10000.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn allocations_since(&self, since: u64) -> Result<Vec<(ConfId, Allocation)>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, String, String, i64)> = query(
            "SELECT conf_id, gateway_id, more_ids, assigned_at FROM allocations WHERE assigned_at >= ? \
             ORDER BY assigned_at DESC LIMIT ?",
        )
        .bind(to_i64(since))
        .bind(CHANGES_MAX)
        .fetch_all(read.on())
        .await?;
        let parsed = |(conf, gateway_id, more, at): (String, String, String, i64)| {
            Some((ConfId::parse(&conf)?, allocation(gateway_id, &more, at)))
        };
        Ok(rows.into_iter().filter_map(parsed).collect())
    }

    /// Forgets where the conference was, so that the next allocation is free.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn release(&self, conf: &ConfId) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        query("DELETE FROM allocations WHERE conf_id = ?").bind(conf.as_str()).execute(write.on()).await?;
        write.commit().await
    }

    /// The call gateway takes no new conferences, and its own leave at `leave_at` (ms since 1970); `None`: no longer.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn drain(&self, gateway_id: &str, leave_at: Option<u64>) -> Result<(), StoreError> {
        check_len("a call gateway's id", gateway_id, ID_MAX)?;
        let mut write = self.write().await?;
        match leave_at {
            Some(at) => {
                query("REPLACE INTO drains (gateway_id, leave_at) VALUES (?, ?)").bind(gateway_id).bind(to_i64(at))
            }
            None => query("DELETE FROM drains WHERE gateway_id = ?").bind(gateway_id),
        }
        .execute(write.on())
        .await?;
        write.commit().await
    }

    /// The call gateways that are drained, each with when its conferences leave.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn drains(&self) -> Result<HashMap<String, u64>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, i64)> = query("SELECT gateway_id, leave_at FROM drains").fetch_all(read.on()).await?;
        Ok(rows.into_iter().map(|(id, at)| (id, to_u64(at))).collect())
    }
}

async fn find(conf: &ConfId, on: On<'_>) -> Result<Option<Allocation>, StoreError> {
    let at: Option<(String, String, i64)> =
        query("SELECT gateway_id, more_ids, assigned_at FROM allocations WHERE conf_id = ?")
            .bind(conf.as_str())
            .fetch_optional(on)
            .await?;
    Ok(at.map(|(gateway_id, more, at)| allocation(gateway_id, &more, at)))
}

async fn put(conf: &ConfId, at: &Allocation, on: On<'_>) -> Result<(), StoreError> {
    query("REPLACE INTO allocations (conf_id, gateway_id, more_ids, assigned_at) VALUES (?, ?, ?, ?)")
        .bind(conf.as_str())
        .bind(&at.gateway_id)
        .bind(at.more.join(SEPARATOR))
        .bind(to_i64(at.assigned_at))
        .execute(on)
        .await?;
    Ok(())
}

fn allocation(gateway_id: String, more: &str, at: i64) -> Allocation {
    let more = more.split_whitespace().map(str::to_owned).collect();
    Allocation { gateway_id, more, assigned_at: to_u64(at) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::Allocation;
    use crate::store::tests::{Promises, conf, fresh, promises};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nodes_that_decide_at_once_agree() {
        let (store, _folder) = fresh().await;
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.assign(&conf("c"), &format!("gw{i}"), None, 1).await.unwrap() })
            })
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        assert!(results.iter().all(|at| *at == results[0]), "{results:?}");
        assert_eq!(store.allocation(&conf("c")).await.unwrap(), Some(results[0].clone()));
    }

    fn at(gateway_id: &str, assigned_at: u64) -> Allocation {
        Allocation { gateway_id: gateway_id.to_owned(), more: Vec::new(), assigned_at }
    }

    #[tokio::test]
    async fn a_conference_grows_and_shrinks_only_from_what_was_last_seen_of_it() {
        let (store, _folder) = fresh().await;
        let nodes = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let seen = store.assign(&conf("c"), "gw1", None, 10).await.unwrap();
        let grown = store.spread(&conf("c"), &seen, &nodes(&["gw1", "gw2"]), 10).await.unwrap().unwrap();
        assert_eq!(grown, Allocation { more: nodes(&["gw2"]), ..at("gw1", 11) });
        let late = store.spread(&conf("c"), &seen, &nodes(&["gw1", "gw3"]), 50).await.unwrap();
        assert_eq!(late.as_ref(), Some(&grown), "another gateway was first");
        assert_eq!(store.allocations_since(11).await.unwrap(), [(conf("c"), grown.clone())]);
        let moved = store.assign(&conf("c"), "gw3", Some("gw1"), 20).await.unwrap();
        assert_eq!(moved, Allocation { more: nodes(&["gw2"]), ..at("gw3", 20) });
        let shrunk = store.spread(&conf("c"), &moved, &nodes(&["gw2"]), 30).await.unwrap();
        assert_eq!(shrunk, Some(at("gw2", 30)));
        assert_eq!(store.spread(&conf("other"), &moved, &nodes(&["gw2"]), 30).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_conference_moves_only_from_where_it_is_and_each_time_later() {
        let (store, _folder) = fresh().await;
        assert_eq!(store.assign(&conf("c"), "gw1", None, 10).await.unwrap(), at("gw1", 10));
        assert_eq!(store.assign(&conf("c"), "gw2", Some("gw1"), 5).await.unwrap(), at("gw2", 11), "a slow clock");
        assert_eq!(store.assign(&conf("c"), "gw3", Some("gw1"), 30).await.unwrap(), at("gw2", 11));
        store.release(&conf("c")).await.unwrap();
        assert_eq!(store.assign(&conf("c"), "gw3", Some("gw1"), 40).await.unwrap(), at("gw3", 40));
    }

    #[tokio::test]
    async fn other_nodes_learn_what_was_moved_since_they_looked() {
        let (store, _folder) = fresh().await;
        store.assign(&conf("old"), "gw1", None, 10).await.unwrap();
        store.assign(&conf("moved"), "gw1", None, 10).await.unwrap();
        store.assign(&conf("moved"), "gw2", Some("gw1"), 30).await.unwrap();
        store.assign(&conf("new"), "gw1", None, 20).await.unwrap();
        let changes = store.allocations_since(20).await.unwrap();
        assert_eq!(changes, [(conf("moved"), at("gw2", 30)), (conf("new"), at("gw1", 20))]);
    }

    #[tokio::test]
    async fn a_drain_is_known_to_all_until_it_is_called_off() {
        let (store, _folder) = fresh().await;
        store.drain("gw1", Some(10)).await.unwrap();
        store.drain("gw2", Some(20)).await.unwrap();
        store.drain("gw1", Some(30)).await.unwrap();
        assert_eq!(store.drains().await.unwrap(), HashMap::from([("gw1".into(), 30), ("gw2".into(), 20)]));
        store.drain("gw1", None).await.unwrap();
        assert_eq!(store.drains().await.unwrap(), HashMap::from([("gw2".into(), 20)]));
    }

    pub const ON_BOTH: Promises = promises![
        nodes_that_decide_at_once_agree,
        a_conference_grows_and_shrinks_only_from_what_was_last_seen_of_it,
        a_conference_moves_only_from_where_it_is_and_each_time_later,
        other_nodes_learn_what_was_moved_since_they_looked,
        a_drain_is_known_to_all_until_it_is_called_off,
    ];
}
