//! The reasons for which families end: a node that finds in the store that one has ended closes its sockets with the code
//! of the reason.

use super::query::query;
use super::{Store, StoreError, Write, to_i64};
use crate::node_protocol::EndedBy;

/// The reason [`EndedBy::Conference`].
pub(super) const CONFERENCE: &str = "conference";
/// The reason [`EndedBy::Kick`].
const KICK: &str = "kick";

impl Store {
    /// As [`Store::ended_since`], with the reasons in place of the times.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn ends_since(&self, since: u64) -> Result<Vec<(String, EndedBy)>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, Option<String>)> =
            query("SELECT family_id, ended_by FROM families WHERE ended_at >= ? ORDER BY ended_at")
                .bind(to_i64(since))
                .fetch_all(read.on())
                .await?;
        let reason = |text: Option<String>| match text.as_deref() {
            Some(KICK) => EndedBy::Kick,
            Some(CONFERENCE) => EndedBy::Conference,
            _ => EndedBy::Itself,
        };
        Ok(rows.into_iter().map(|(family_id, by)| (family_id, reason(by))).collect())
    }
}

/// The reason for which the family has just ended.
pub(super) async fn set_reason(write: &mut Write, family_id: &str, by: EndedBy) -> Result<(), StoreError> {
    let text = match by {
        EndedBy::Itself => None,
        EndedBy::Kick => Some(KICK),
        EndedBy::Conference => Some(CONFERENCE),
    };
    query("UPDATE families SET ended_by = ? WHERE family_id = ?")
        .bind(text)
        .bind(family_id)
        .execute(write.on())
        .await?;
    Ok(())
}
