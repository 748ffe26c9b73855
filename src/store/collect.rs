//! Deleting what has served its time.

use super::query::{query, query_scalar};
use super::{DONE, Store, StoreError, to_i64};
use crate::clock::Now;

const DAY_MS: u64 = 86_400_000;
/// Of the audit's entries, one in so many may be of what was refused.
const REFUSED_ONE_IN: u32 = 4;

/// An ended family is the revocation of its access tokens, none of which lives longer than this (`auth.access_ttl_s`).
const KEEP_FAMILIES_MS: u64 = DAY_MS;
/// Links are listed for a while after their end, so that a chair sees what became of them.
const KEEP_LINKS_MS: u64 = 30 * DAY_MS;

/// How many rows were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Links.
    pub links: u64,
    /// Refresh token families.
    pub families: u64,
    /// Bans.
    pub bans: u64,
    /// Entries of the audit.
    pub audit: u64,
}

impl Store {
    /// Deletes what is of no more use: links revoked or expired 30 days ago, families ended or expired a day ago, bans
    /// that ran out, and of the audit what is older or more than configured. Accounts are not deleted here but when the
    /// EIM has deleted them: see [`Store::due_accounts`]. In a transaction for each kind, so that others get between.
    ///
    /// # Errors
    /// A fault of the store; what was deleted before it stays so.
    pub async fn collect(&self, now: impl Into<Now>) -> Result<Collected, StoreError> {
        let Now { date, moment } = now.into();
        let links = date.saturating_sub(KEEP_LINKS_MS);
        let families = date.saturating_sub(KEEP_FAMILIES_MS);
        Ok(Collected {
            links: self.delete("DELETE FROM links WHERE revoked_at <= ? OR expires_at <= ?", &[links, links]).await?,
            families: self
                .delete(
                    "DELETE FROM families WHERE ended_at <= ? OR (ended_at IS NULL AND expires_at <= ?)",
                    &[families, families],
                )
                .await?,
            bans: self.delete("DELETE FROM bars WHERE barred_until <= ?", &[moment.ms()]).await?,
            audit: self.collect_audit(date).await?,
        })
    }

    async fn collect_audit(&self, now: u64) -> Result<u64, StoreError> {
        let keep = u64::try_from(self.audit_keep.as_millis()).unwrap_or(u64::MAX);
        let old = now.saturating_sub(keep);
        let refused_rows = self.audit_rows / REFUSED_ONE_IN;
        let done = self.audit_beyond(true, self.audit_rows - refused_rows).await?;
        let refused = self.audit_beyond(false, refused_rows).await?;
        self.delete(
            "DELETE FROM audit WHERE (outcome = 'done' AND happened_at <= ?) OR (outcome <> 'done' AND happened_at <= ?)",
            &[old.max(done), old.max(refused)],
        )
        .await
    }

    /// When the newest entry of that kind happened that is one too many; 0 where none is.
    async fn audit_beyond(&self, is_done: bool, most: u32) -> Result<u64, StoreError> {
        let mut read = self.read().await?;
        let beyond: Option<i64> = query_scalar(
            "SELECT happened_at FROM audit WHERE (outcome = ?) = ? ORDER BY happened_at DESC LIMIT 1 OFFSET ?",
        )
        .bind(DONE)
        .bind(is_done)
        .bind(i64::from(most))
        .fetch_optional(read.on())
        .await?;
        Ok(beyond.map_or(0, super::to_u64))
    }

    async fn delete(&self, sql: &'static str, times: &[u64]) -> Result<u64, StoreError> {
        let mut write = self.write().await?;
        let query = times.iter().fold(query(sql), |query, time| query.bind(to_i64(*time)));
        let deleted = query.execute(write.on()).await?;
        write.commit().await?;
        Ok(deleted)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::store::tests::{Promises, conf, fresh, promises};
    use crate::store::{BanTarget, NewLink, Store, audit, links, refresh_token_families};

    #[tokio::test]
    async fn expired_rows_are_deleted_and_nothing_else() {
        let (store, _folder) = fresh().await;
        let now = 100 * DAY_MS;
        let expiring = |id: &str, at: u64| NewLink { expires_at: Some(at), ..links::tests::link(id, "c") };
        for link in
            [expiring("old", now - KEEP_LINKS_MS), expiring("recent", now - 1), links::tests::link("always", "c")]
        {
            store.create_link(&link).await.unwrap();
        }
        for id in ["ended-long-ago", "ended-now", "live"] {
            let mut family = refresh_token_families::tests::family(id, "u1", None);
            family.family.expires_at = 2 * now;
            store.create_family(&family, 1).await.unwrap();
        }
        store.end_family("ended-long-ago", now - DAY_MS).await.unwrap();
        store.end_family("ended-now", now).await.unwrap();
        store.ban(BanTarget::Device("over"), &conf("c"), Some(Moment::at(now))).await.unwrap();
        store.ban(BanTarget::Device("kicked"), &conf("c"), Some(Moment::at(now + 1))).await.unwrap();
        store.ban(BanTarget::Device("banned"), &conf("c"), None).await.unwrap();

        let collected = store.collect(now).await.unwrap();
        assert_eq!(collected, Collected { links: 1, families: 1, bans: 1, audit: 0 });
        assert_eq!(store.collect(now).await.unwrap(), Collected::default());
        assert_eq!(store.ended_since(0).await.unwrap(), [("ended-now".to_owned(), now)]);
        assert!(store.is_banned(BanTarget::Device("kicked"), &conf("c"), Moment::at(now)).await.unwrap());
        assert!(store.is_banned(BanTarget::Device("banned"), &conf("c"), Moment::at(now)).await.unwrap());
        assert_eq!(store.links_of(&conf("c")).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn the_audit_is_bounded_in_age_and_in_number() {
        let (store, _folder) = fresh().await;
        let store = Store { audit_keep: std::time::Duration::from_millis(50), audit_rows: 3, ..store };
        for time in 1..=10 {
            store.append_audit(&audit::tests::entry(time, "c")).await.unwrap();
        }
        assert_eq!(store.collect(20).await.unwrap().audit, 7);
        let times = |entries: Vec<crate::store::AuditEntry>| entries.iter().map(|entry| entry.time).collect::<Vec<_>>();
        assert_eq!(times(store.audit_of(&conf("c"), 100).await.unwrap()), [10, 9, 8]);
        assert_eq!(store.collect(59).await.unwrap().audit, 2);
        assert_eq!(times(store.audit_of(&conf("c"), 100).await.unwrap()), [10]);
    }

    pub const ON_BOTH: Promises =
        promises![expired_rows_are_deleted_and_nothing_else, the_audit_is_bounded_in_age_and_in_number,];
}
