//! Which call gateway a conference is at: agreed by all gateway nodes through this table.

use super::{Store, StoreError, big, fits};
use crate::ids::{ConfId, ID_MAX};

impl Store {
    /// Puts the conference at `gateway_id` if it is at none, or if it is at `instead_of`, and returns where it is then:
    /// of several nodes that decide at once, the first one's word holds for all.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn assign(
        &self,
        conf: &ConfId,
        gateway_id: &str,
        instead_of: Option<&str>,
        now: u64,
    ) -> Result<String, StoreError> {
        fits("a call gateway's id", gateway_id, ID_MAX)?;
        let mut write = self.write().await?;
        let at: Option<String> = sqlx::query_scalar("SELECT gateway_id FROM allocations WHERE conf_id = ?")
            .bind(conf.as_str())
            .fetch_optional(write.on())
            .await?;
        if let Some(at) = at
            && Some(at.as_str()) != instead_of
        {
            return Ok(at);
        }
        sqlx::query("REPLACE INTO allocations (conf_id, gateway_id, assigned_at) VALUES (?, ?, ?)")
            .bind(conf.as_str())
            .bind(gateway_id)
            .bind(big(now))
            .execute(write.on())
            .await?;
        write.commit().await?;
        Ok(gateway_id.to_owned())
    }

    /// # Errors
    /// A fault of the store.
    pub async fn allocation(&self, conf: &ConfId) -> Result<Option<String>, StoreError> {
        let mut read = self.read().await?;
        let at = sqlx::query_scalar("SELECT gateway_id FROM allocations WHERE conf_id = ?").bind(conf.as_str());
        Ok(at.fetch_optional(read.on()).await?)
    }

    /// Forgets where the conference was, so that the next allocation is free.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn release(&self, conf: &ConfId) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("DELETE FROM allocations WHERE conf_id = ?").bind(conf.as_str()).execute(write.on()).await?;
        write.commit().await
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{conf, fresh};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nodes_that_decide_at_once_agree() {
        let (store, _folder) = fresh().await;
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.assign(&conf("c"), &format!("gw{i}"), None, 1).await.unwrap() })
            })
            .collect();
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.unwrap());
        }
        assert!(told.iter().all(|at| *at == told[0]), "{told:?}");
        assert_eq!(store.allocation(&conf("c")).await.unwrap(), Some(told[0].clone()));
    }

    #[tokio::test]
    async fn a_conference_moves_only_from_where_it_is() {
        let (store, _folder) = fresh().await;
        assert_eq!(store.assign(&conf("c"), "gw1", None, 1).await.unwrap(), "gw1");
        assert_eq!(store.assign(&conf("c"), "gw2", Some("gw1"), 2).await.unwrap(), "gw2");
        assert_eq!(store.assign(&conf("c"), "gw3", Some("gw1"), 3).await.unwrap(), "gw2");
        store.release(&conf("c")).await.unwrap();
        assert_eq!(store.assign(&conf("c"), "gw3", Some("gw1"), 4).await.unwrap(), "gw3");
    }
}
