//! The end of a conference: its logins, accounts and links end with it.

use super::query::query;
use super::{Store, StoreError, accounts, refresh_token_families, to_i64};
use crate::ids::ConfId;

impl Store {
    /// The conference has ended: in one step its links are revoked, its guests' families ended, their accounts due, its
    /// bans lifted and its call gateway free. Returns the ids of the families ended by this call; a repeat ends none.
    ///
    /// # Errors
    /// A fault of the store; then nothing of it has happened.
    pub async fn conference_over(&self, conf: &ConfId, now: u64) -> Result<Vec<String>, StoreError> {
        let mut write = self.write().await?;
        let ended = refresh_token_families::end_of_conference(&mut write, conf, now).await?;
        accounts::end_of_conference(&mut write, conf, now).await?;
        query("UPDATE links SET revoked_at = ? WHERE conf_id = ? AND revoked_at IS NULL")
            .bind(to_i64(now))
            .bind(conf.as_str())
            .execute(write.on())
            .await?;
        query("DELETE FROM bars WHERE conf_id = ?").bind(conf.as_str()).execute(write.on()).await?;
        query("DELETE FROM allocations WHERE conf_id = ?").bind(conf.as_str()).execute(write.on()).await?;
        write.commit().await?;
        Ok(ended)
    }
}
