//! Browsers that a kick or a ban keeps out of a conference.

use super::{Store, StoreError, big, fits};
use crate::ids::{ConfId, ID_MAX};

impl Store {
    /// Bars a browser from a conference until then (ms since 1970), or with `None` (a ban) for as long as the conference
    /// lasts. Never shortens an earlier bar.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn bar(&self, device: &str, conf: &ConfId, until: Option<u64>) -> Result<(), StoreError> {
        fits("a device's id", device, ID_MAX)?;
        let mut write = self.write().await?;
        let earlier: Option<(Option<i64>,)> =
            sqlx::query_as("SELECT barred_until FROM bars WHERE device = ? AND conf_id = ?")
                .bind(device)
                .bind(conf.as_str())
                .fetch_optional(write.on())
                .await?;
        let until = match earlier {
            Some((earlier,)) => until.map(big).zip(earlier).map(|(new, earlier)| new.max(earlier)),
            None => until.map(big),
        };
        sqlx::query("REPLACE INTO bars (device, conf_id, barred_until) VALUES (?, ?, ?)")
            .bind(device)
            .bind(conf.as_str())
            .bind(until)
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// # Errors
    /// A fault of the store.
    pub async fn is_barred(&self, device: &str, conf: &ConfId, now: u64) -> Result<bool, StoreError> {
        let mut read = self.read().await?;
        let bar: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM bars WHERE device = ? AND conf_id = ? AND (barred_until IS NULL OR barred_until > ?)",
        )
        .bind(device)
        .bind(conf.as_str())
        .bind(big(now))
        .fetch_optional(read.on())
        .await?;
        Ok(bar.is_some())
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{conf, fresh};

    #[tokio::test]
    async fn a_kick_bars_for_its_time_in_its_conference_alone() {
        let (store, _folder) = fresh().await;
        store.bar("device", &conf("c"), Some(100)).await.unwrap();
        assert!(store.is_barred("device", &conf("c"), 99).await.unwrap());
        assert!(!store.is_barred("device", &conf("c"), 100).await.unwrap());
        assert!(!store.is_barred("device", &conf("d"), 99).await.unwrap());
        assert!(!store.is_barred("other", &conf("c"), 99).await.unwrap());
    }

    #[tokio::test]
    async fn a_later_kick_shortens_no_bar() {
        let (store, _folder) = fresh().await;
        for until in [Some(100), Some(50), None, Some(200)] {
            store.bar("device", &conf("c"), until).await.unwrap();
            assert!(store.is_barred("device", &conf("c"), 99).await.unwrap(), "{until:?}");
        }
        assert!(store.is_barred("device", &conf("c"), u64::MAX).await.unwrap(), "the ban stands");
    }
}
