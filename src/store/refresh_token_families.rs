//! Refresh families: one login and all the tokens that come of it. An ended family is the revocation of its tokens.

use super::query::{query, query_scalar};
use super::{Store, StoreError, Write, check_len, family_ends, to_i64, to_u64};
use crate::ids::{ConfId, ID_MAX, UserId};
use crate::node_protocol::EndedBy;

/// Live families of one user; beyond it the one that expires first is ended, so that a program which logs in for every
/// request fills no disk.
const FAMILIES_PER_USER: i64 = 1000;

/// A login. `expires_at` in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The family's id.
    pub family_id: String,
    /// The user.
    pub user_id: UserId,
    /// The one conference that a guest's tokens are for.
    pub conf_id: Option<ConfId>,
    /// The issuer's own data for a refresh, as JSON; up to 64 KiB.
    pub client: Option<String>,
    /// Until when it serves, in ms since 1970.
    pub expires_at: u64,
}

/// A login to be kept, with the hash of its first refresh token (up to 128 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFamily {
    /// The family.
    pub family: Family,
    /// The hash of its newest refresh token.
    pub refresh_hash: String,
}

/// The result of using a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It was the newest; the new one has taken its place.
    Rotated(Family),
    /// It was not the newest: somebody else has used it. The family is ended by this very call.
    Reused(Family),
    /// It was the newest of a family that had ended or expired.
    Over,
    /// No such family, or a token that was never its newest since it ended.
    Gone,
}

type Row = (String, String, Option<String>, Option<String>, i64);

impl Store {
    /// # Errors
    /// A fault of the store, an id in use included.
    pub async fn create_family(&self, new: &NewFamily, now: u64) -> Result<(), StoreError> {
        let family = &new.family;
        check_len("a family's id", &family.family_id, ID_MAX)?;
        check_len("a refresh token's hash", &new.refresh_hash, 128)?;
        check_len("a family's client", family.client.as_deref().unwrap_or_default(), 65_535)?;
        let mut write = self.write_in(family.user_id.as_str()).await?;
        make_room(&mut write, &family.user_id, now).await?;
        query(
            "INSERT INTO families (family_id, user_id, conf_id, client, refresh_hash, expires_at, ended_at) \
             VALUES (?, ?, ?, ?, ?, ?, NULL)",
        )
        .bind(&family.family_id)
        .bind(family.user_id.as_str())
        .bind(family.conf_id.as_ref().map(ConfId::as_str))
        .bind(&family.client)
        .bind(&new.refresh_hash)
        .bind(to_i64(family.expires_at))
        .execute(write.on())
        .await?;
        write.commit().await
    }

    /// Puts `new_hash` in the place of `old_hash`, which serves once: of any number that try it at once, one succeeds
    /// and the next ends the family. `expires_at` is the family's new deadline.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn rotate_family(
        &self,
        family_id: &str,
        old_hash: &str,
        new_hash: &str,
        now: u64,
        expires_at: u64,
    ) -> Result<Rotation, StoreError> {
        check_len("a refresh token's hash", new_hash, 128)?;
        let mut write = self.write().await?;
        let rotated = query(
            "UPDATE families SET refresh_hash = ?, expires_at = ? \
             WHERE family_id = ? AND refresh_hash = ? AND ended_at IS NULL AND expires_at > ?",
        )
        .bind(new_hash)
        .bind(to_i64(expires_at))
        .bind(family_id)
        .bind(old_hash)
        .bind(to_i64(now))
        .execute(write.on())
        .await?;
        let Some(family) = live(&mut write, family_id, now).await? else {
            let was = was_newest(&mut write, family_id, old_hash).await?;
            return Ok(if was { Rotation::Over } else { Rotation::Gone });
        };
        if rotated == 0 {
            end(&mut write, family_id, now).await?;
        }
        write.commit().await?;
        Ok(if rotated == 1 { Rotation::Rotated(family) } else { Rotation::Reused(family) })
    }

    /// The live family whose newest refresh token has that hash.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn family(&self, family_id: &str, refresh_hash: &str, now: u64) -> Result<Option<Family>, StoreError> {
        let mut read = self.read().await?;
        let row: Option<Row> = query(
            "SELECT family_id, user_id, conf_id, client, expires_at FROM families \
             WHERE family_id = ? AND refresh_hash = ? AND ended_at IS NULL AND expires_at > ?",
        )
        .bind(family_id)
        .bind(refresh_hash)
        .bind(to_i64(now))
        .fetch_optional(read.on())
        .await?;
        row.map(from_row).transpose()
    }

    /// Ends a family; `false` where there is none, or it had ended.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_family(&self, family_id: &str, now: u64) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let ended = end(&mut write, family_id, now).await?;
        write.commit().await?;
        Ok(ended)
    }

    /// Ends a user's families that are for that conference, for that reason, and returns their ids.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_families_of(
        &self,
        user: &UserId,
        conf: &ConfId,
        now: u64,
        by: EndedBy,
    ) -> Result<Vec<String>, StoreError> {
        let mut write = self.write().await?;
        let ids: Vec<String> =
            query_scalar("SELECT family_id FROM families WHERE user_id = ? AND conf_id = ? AND ended_at IS NULL")
                .bind(user.as_str())
                .bind(conf.as_str())
                .fetch_all(write.on())
                .await?;
        for family_id in &ids {
            end(&mut write, family_id, now).await?;
            family_ends::set_reason(&mut write, family_id, by).await?;
        }
        write.commit().await?;
        Ok(ids)
    }

    /// A user's live families, those that expire last first, at most `most`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn live_families(&self, user: &UserId, now: u64, most: u32) -> Result<Vec<Family>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(
            "SELECT family_id, user_id, conf_id, client, expires_at FROM families \
             WHERE user_id = ? AND ended_at IS NULL AND expires_at > ? ORDER BY expires_at DESC LIMIT ?",
        )
        .bind(user.as_str())
        .bind(to_i64(now))
        .bind(most)
        .fetch_all(read.on())
        .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// Families ended at `since` or later, with the time, oldest first: what each node polls in order to refuse their
    /// access tokens. Ask with some overlap: another node's clock and commit may lag. Kept for a day after their end.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn ended_since(&self, since: u64) -> Result<Vec<(String, u64)>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<(String, i64)> =
            query("SELECT family_id, ended_at FROM families WHERE ended_at >= ? ORDER BY ended_at")
                .bind(to_i64(since))
                .fetch_all(read.on())
                .await?;
        Ok(rows.into_iter().map(|(family_id, at)| (family_id, to_u64(at))).collect())
    }
}

/// Ends every family that is for the conference, and returns their ids.
pub(super) async fn end_of_conference(write: &mut Write, conf: &ConfId, now: u64) -> Result<Vec<String>, StoreError> {
    let ids = query_scalar("SELECT family_id FROM families WHERE conf_id = ? AND ended_at IS NULL")
        .bind(conf.as_str())
        .fetch_all(write.on())
        .await?;
    query("UPDATE families SET ended_at = ?, ended_by = ? WHERE conf_id = ? AND ended_at IS NULL")
        .bind(to_i64(now))
        .bind(family_ends::CONFERENCE)
        .bind(conf.as_str())
        .execute(write.on())
        .await?;
    Ok(ids)
}

async fn end(write: &mut Write, family_id: &str, now: u64) -> Result<bool, StoreError> {
    let done = query("UPDATE families SET ended_at = ? WHERE family_id = ? AND ended_at IS NULL")
        .bind(to_i64(now))
        .bind(family_id)
        .execute(write.on())
        .await?;
    Ok(done == 1)
}

async fn live(write: &mut Write, family_id: &str, now: u64) -> Result<Option<Family>, StoreError> {
    let row: Option<Row> = query(
        "SELECT family_id, user_id, conf_id, client, expires_at FROM families \
         WHERE family_id = ? AND ended_at IS NULL AND expires_at > ?",
    )
    .bind(family_id)
    .bind(to_i64(now))
    .fetch_optional(write.on())
    .await?;
    row.map(from_row).transpose()
}

async fn was_newest(write: &mut Write, family_id: &str, hash: &str) -> Result<bool, StoreError> {
    let found: i64 = query_scalar("SELECT COUNT(*) FROM families WHERE family_id = ? AND refresh_hash = ?")
        .bind(family_id)
        .bind(hash)
        .fetch_one(write.on())
        .await?;
    Ok(found == 1)
}

async fn make_room(write: &mut Write, user: &UserId, now: u64) -> Result<(), StoreError> {
    let oldest: Option<String> = query_scalar(
        "SELECT family_id FROM families WHERE user_id = ? AND expires_at > ? AND ended_at IS NULL \
         ORDER BY expires_at DESC LIMIT 1 OFFSET ?",
    )
    .bind(user.as_str())
    .bind(to_i64(now))
    .bind(FAMILIES_PER_USER - 1)
    .fetch_optional(write.on())
    .await?;
    if let Some(family_id) = oldest {
        end(write, &family_id, now).await?;
    }
    Ok(())
}

fn from_row((family_id, user_id, conf_id, client, expires_at): Row) -> Result<Family, StoreError> {
    let conf_id = conf_id.map(|text| ConfId::parse(&text).ok_or(StoreError::Damaged("family"))).transpose()?;
    let user_id = UserId::parse(&user_id).ok_or(StoreError::Damaged("family"))?;
    Ok(Family { family_id, user_id, conf_id, client, expires_at: to_u64(expires_at) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, after_a_crash, conf, fresh, promises, user};

    pub fn family(family_id: &str, user_id: &str, conf_id: Option<&str>) -> NewFamily {
        let family = Family {
            family_id: family_id.to_owned(),
            user_id: user(user_id),
            conf_id: conf_id.map(conf),
            client: Some("{\"id\":\"portal\"}".to_owned()),
            expires_at: 1000,
        };
        NewFamily { family, refresh_hash: "h0".to_owned() }
    }

    #[tokio::test]
    async fn a_refresh_token_serves_once_and_its_reuse_ends_the_family() {
        let (store, folder) = fresh().await;
        let new = family("f", "u1", Some("c"));
        store.create_family(&new, 1).await.unwrap();
        assert_eq!(store.family("f", "h0", 10).await.unwrap().as_ref(), Some(&new.family));
        let renewed = Family { expires_at: 2000, ..new.family };
        assert_eq!(store.rotate_family("f", "h0", "h1", 10, 2000).await.unwrap(), Rotation::Rotated(renewed.clone()));
        assert_eq!(store.family("f", "h0", 20).await.unwrap(), None, "it is not the newest");
        assert_eq!(store.rotate_family("f", "h0", "h2", 20, 2000).await.unwrap(), Rotation::Reused(renewed));
        assert_eq!(store.rotate_family("f", "h1", "h3", 30, 2000).await.unwrap(), Rotation::Over);
        let (again, _copy) = after_a_crash(&folder).await;
        assert_eq!(again.ended_since(20).await.unwrap(), [("f".to_owned(), 20)]);
        assert_eq!(again.ended_since(21).await.unwrap(), []);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_that_use_a_refresh_token_at_once_one_succeeds() {
        let (store, _folder) = fresh().await;
        store.create_family(&family("f", "u1", None), 1).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.rotate_family("f", "h0", &format!("n{i}"), 10, 1000).await.unwrap() })
            })
            .collect();
        let mut rotated = 0;
        for task in tasks {
            rotated += usize::from(matches!(task.await.unwrap(), Rotation::Rotated(_)));
        }
        assert_eq!(rotated, 1);
        assert_eq!(store.ended_since(0).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_expired_family_is_over_and_an_unknown_one_gone() {
        let (store, _folder) = fresh().await;
        store.create_family(&family("f", "u1", None), 1).await.unwrap();
        assert_eq!(store.rotate_family("f", "h0", "h1", 1000, 2000).await.unwrap(), Rotation::Over);
        assert_eq!(store.rotate_family("f", "h9", "h1", 1000, 2000).await.unwrap(), Rotation::Gone);
        assert_eq!(store.rotate_family("g", "h0", "h1", 10, 2000).await.unwrap(), Rotation::Gone);
        assert_eq!(store.ended_since(0).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_logout_ends_one_family_and_a_kick_those_for_the_conference() {
        let (store, _folder) = fresh().await;
        for (id, of) in [("a", Some("c")), ("b", Some("c")), ("other-conference", Some("d")), ("own", None)] {
            store.create_family(&family(id, "u1", of), 1).await.unwrap();
        }
        store.create_family(&family("other-user", "u2", Some("c")), 1).await.unwrap();
        assert!(store.end_family("a", 5).await.unwrap());
        assert!(!store.end_family("a", 6).await.unwrap());
        assert_eq!(store.end_families_of(&user("u1"), &conf("c"), 7, EndedBy::Kick).await.unwrap(), ["b"]);
        assert_eq!(store.ended_since(0).await.unwrap(), [("a".to_owned(), 5), ("b".to_owned(), 7)]);
        store.conference_over(&conf("d"), 8).await.unwrap();
        let reasons = [("a", EndedBy::Itself), ("b", EndedBy::Kick), ("other-conference", EndedBy::Conference)];
        assert_eq!(store.ends_since(0).await.unwrap(), reasons.map(|(id, by)| (id.to_owned(), by)));
    }

    #[tokio::test]
    async fn a_user_has_a_bounded_number_of_live_families() {
        let (store, _folder) = fresh().await;
        let mut write = store.write().await.unwrap();
        for n in 0..FAMILIES_PER_USER {
            query("INSERT INTO families VALUES (?, 'u1', NULL, NULL, 'h', ?, NULL, NULL)")
                .bind(format!("f{n}"))
                .bind(500 + n)
                .execute(write.on())
                .await
                .unwrap();
        }
        write.commit().await.unwrap();
        store.create_family(&family("another", "u2", None), 1).await.unwrap();
        assert_eq!(store.ended_since(0).await.unwrap(), []);
        store.create_family(&family("one-more", "u1", None), 1).await.unwrap();
        assert_eq!(store.ended_since(0).await.unwrap(), [("f0".to_owned(), 1)]);
    }

    pub const ON_BOTH: Promises = promises![
        a_refresh_token_serves_once_and_its_reuse_ends_the_family,
        of_many_that_use_a_refresh_token_at_once_one_succeeds,
        an_expired_family_is_over_and_an_unknown_one_gone,
        a_logout_ends_one_family_and_a_kick_those_for_the_conference,
        a_user_has_a_bounded_number_of_live_families,
    ];
}
