//! The audit: who did what in which conference. Never message text, names or secrets.
//!
//! Actions that were done and attempts that were refused are two kinds with bounds of their own, in each conference and
//! in all: attempts don't displace actions, nor one conference's entries another's.

use super::query::{query, query_scalar};
use super::{Store, StoreError, Write, to_i64, to_u64};
use crate::ids::{ConfId, UserId, random_text};

/// The outcome of an action that was done.
pub const DONE: &str = "done";
/// Most entries of one conference, done ones and refused ones; the oldest go first. One conference can't take more of
/// the whole.
const DONE_PER_CONFERENCE: u32 = 2000;
const REFUSED_PER_CONFERENCE: u32 = 200;
/// Most of them that go for one new one: where an earlier version kept more.
const SURPLUS_AT_ONCE: i64 = 100;

/// One control action. Longer texts than the bounds given are cut, so that an entry is never lost to its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Milliseconds since 1970.
    pub time: u64,
    /// `None`: the gateway itself.
    pub actor: Option<UserId>,
    /// The conference.
    pub conf_id: ConfId,
    /// As in `conference.control`; up to 64 bytes.
    pub action: String,
    /// The member or link acted on; up to 191 bytes.
    pub target: Option<String>,
    /// [`DONE`], or the refusal's key; up to 191 bytes.
    pub outcome: String,
}

type Row = (i64, Option<String>, String, String, Option<String>, String);

impl Store {
    /// # Errors
    /// A fault of the store.
    pub async fn append_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        make_room(&mut write, &entry.conf_id, entry.outcome == DONE).await?;
        query(
            "INSERT INTO audit (entry_id, happened_at, actor, conf_id, action, target, outcome) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(random_text(20))
        .bind(to_i64(entry.time))
        .bind(entry.actor.as_ref().map(UserId::as_str))
        .bind(entry.conf_id.as_str())
        .bind(cut(&entry.action, 64))
        .bind(entry.target.as_deref().map(|target| cut(target, 191)))
        .bind(cut(&entry.outcome, 191))
        .execute(write.on())
        .await?;
        write.commit().await
    }

    /// A conference's entries, newest first, at most `most`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn audit_of(&self, conf: &ConfId, most: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(
            "SELECT happened_at, actor, conf_id, action, target, outcome FROM audit \
             WHERE conf_id = ? ORDER BY happened_at DESC LIMIT ?",
        )
        .bind(conf.as_str())
        .bind(i64::from(most))
        .fetch_all(read.on())
        .await?;
        rows.into_iter().map(from_row).collect()
    }
}

/// Deletes the conference's oldest entries of that kind, so that there is room for one more.
async fn make_room(write: &mut Write, conf: &ConfId, is_done: bool) -> Result<(), StoreError> {
    let most = if is_done { DONE_PER_CONFERENCE } else { REFUSED_PER_CONFERENCE };
    let surplus: Vec<String> = query_scalar(
        "SELECT entry_id FROM audit WHERE conf_id = ? AND (outcome = ?) = ? ORDER BY happened_at DESC LIMIT ? OFFSET ?",
    )
    .bind(conf.as_str())
    .bind(DONE)
    .bind(is_done)
    .bind(SURPLUS_AT_ONCE)
    .bind(i64::from(most - 1))
    .fetch_all(write.on())
    .await?;
    for entry in surplus {
        query("DELETE FROM audit WHERE entry_id = ?").bind(entry).execute(write.on()).await?;
    }
    Ok(())
}

fn from_row((time, actor, conf_id, action, target, outcome): Row) -> Result<AuditEntry, StoreError> {
    let actor = actor.map(|text| UserId::parse(&text).ok_or(StoreError::Damaged("audit entry"))).transpose()?;
    let conf_id = ConfId::parse(&conf_id).ok_or(StoreError::Damaged("audit entry"))?;
    Ok(AuditEntry { time: to_u64(time), actor, conf_id, action, target, outcome })
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::refusal::Reason;
    use crate::store::tests::{Promises, conf, fresh, promises, user};

    pub fn entry(time: u64, conf_id: &str) -> AuditEntry {
        AuditEntry {
            time,
            actor: Some(user("chair")),
            conf_id: conf(conf_id),
            action: "kick".to_owned(),
            target: Some("u1".to_owned()),
            outcome: DONE.to_owned(),
        }
    }

    #[tokio::test]
    async fn entries_come_back_newest_first_and_none_is_lost_to_its_length() {
        let (store, _folder) = fresh().await;
        let long = AuditEntry { actor: None, target: Some("é".repeat(200)), ..entry(1, "c") };
        for entry in [long, entry(2, "c"), entry(3, "d")] {
            store.append_audit(&entry).await.unwrap();
        }
        let found = store.audit_of(&conf("c"), 10).await.unwrap();
        assert_eq!(found[0], entry(2, "c"));
        assert_eq!(found[1].target.as_deref(), Some("é".repeat(95).as_str()));
        assert_eq!(store.audit_of(&conf("c"), 1).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn attempts_that_were_refused_do_not_displace_what_was_done() {
        let (store, _folder) = fresh().await;
        store.append_audit(&entry(1, "c")).await.unwrap();
        for time in 2..2 + 2 * u64::from(REFUSED_PER_CONFERENCE) {
            let refused = AuditEntry { outcome: Reason::ChairOnly.key().to_owned(), ..entry(time, "c") };
            store.append_audit(&refused).await.unwrap();
        }
        let all = store.audit_of(&conf("c"), 10_000).await.unwrap();
        assert_eq!(all.len(), 1 + REFUSED_PER_CONFERENCE as usize);
        assert_eq!(all.last(), Some(&entry(1, "c")));
    }

    pub const ON_BOTH: Promises = promises![
        entries_come_back_newest_first_and_none_is_lost_to_its_length,
        attempts_that_were_refused_do_not_displace_what_was_done,
    ];
}
