//! Links into conferences, and the counting of their uses.

use super::query::{query, query_scalar};
use super::{Store, StoreError, Write, check_len, to_i64, to_u64};
use crate::event::Role;
use crate::ids::{ConfId, ID_MAX, UserId};

/// Most links that a conference may have at a time, neither revoked nor expired, and most of the others that are kept: a
/// bound for a chair who scripts.
const LINKS_PER_CONFERENCE: i64 = 1000;
/// Most of those others that go for one new link.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// A link as its maker wishes it. Times in ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The link's id.
    pub link_id: String,
    /// The conference.
    pub conf_id: ConfId,
    /// The role.
    pub role: Role,
    /// From when it serves, in ms since 1970.
    pub not_before: Option<u64>,
    /// Until when it serves, in ms since 1970.
    pub expires_at: Option<u64>,
    /// `None`: any number.
    pub max_uses: Option<u64>,
    /// The user that made it.
    pub created_by: UserId,
    /// When it was made, in ms since 1970.
    pub created_at: u64,
}

/// A link as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The link as it was made.
    pub link: NewLink,
    /// How often it was used.
    pub uses: u64,
    /// When it was revoked, in ms since 1970.
    pub revoked_at: Option<u64>,
}

/// The result of an attempt to use a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkUse {
    /// It was good, and one use of it is spent.
    Counted,
    /// Its time hasn't begun.
    NotYet,
    /// Its time is over.
    Expired,
    /// It was used as often as it may be.
    Exhausted,
    /// It was revoked.
    Revoked,
    /// There is no such link.
    Unknown,
}

type Row = (String, String, String, Option<i64>, Option<i64>, Option<i64>, i64, String, i64, Option<i64>);

impl Store {
    /// Keeps a new link; `false` where its conference has as many as it may.
    ///
    /// # Errors
    /// A fault of the store, an id in use included.
    pub async fn create_link(&self, link: &NewLink) -> Result<bool, StoreError> {
        check_len("a link's id", &link.link_id, ID_MAX)?;
        let mut write = self.write_in(link.conf_id.as_str()).await?;
        let live: i64 = query_scalar(
            "SELECT COUNT(*) FROM links WHERE conf_id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
        )
            .bind(link.conf_id.as_str())
            .bind(to_i64(link.created_at))
            .fetch_one(write.on())
            .await?;
        if live >= LINKS_PER_CONFERENCE {
            return Ok(false);
        }
        forget_over(&mut write, &link.conf_id, link.created_at).await?;
        query(
            "INSERT INTO links (link_id, conf_id, role, not_before, expires_at, max_uses, uses, created_by, created_at, \
             revoked_at) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, NULL)",
        )
        .bind(&link.link_id)
        .bind(link.conf_id.as_str())
        .bind(role_text(link.role))
        .bind(link.not_before.map(to_i64))
        .bind(link.expires_at.map(to_i64))
        .bind(link.max_uses.map(to_i64))
        .bind(link.created_by.as_str())
        .bind(to_i64(link.created_at))
        .execute(write.on())
        .await?;
        write.commit().await?;
        Ok(true)
    }

    /// # Errors
    /// A fault of the store.
    pub async fn link(&self, link_id: &str) -> Result<Option<Link>, StoreError> {
        let mut read = self.read().await?;
        let row: Option<Row> = query(
            "SELECT link_id, conf_id, role, not_before, expires_at, max_uses, uses, created_by, created_at, revoked_at \
             FROM links WHERE link_id = ?",
        )
        .bind(link_id)
        .fetch_optional(read.on())
        .await?;
        row.map(from_row).transpose()
    }

    /// A conference's links, oldest first; those long revoked or expired may be gone.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn links_of(&self, conf_id: &ConfId) -> Result<Vec<Link>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(
            "SELECT link_id, conf_id, role, not_before, expires_at, max_uses, uses, created_by, created_at, revoked_at \
             FROM links WHERE conf_id = ? ORDER BY created_at, link_id",
        )
        .bind(conf_id.as_str())
        .fetch_all(read.on())
        .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// Revokes a conference's link; `false` where it has no such link that isn't revoked yet.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn revoke_link(&self, conf_id: &ConfId, link_id: &str, now: u64) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = query("UPDATE links SET revoked_at = ? WHERE link_id = ? AND conf_id = ? AND revoked_at IS NULL")
            .bind(to_i64(now))
            .bind(link_id)
            .bind(conf_id.as_str())
            .execute(write.on())
            .await?;
        write.commit().await?;
        Ok(done == 1)
    }

    /// Spends one use, if the link is good: however many try at once, never more than `max_uses` succeed.
    ///
    /// # Errors
    /// A fault of the store; the use may then be spent or not.
    pub async fn use_link(&self, link_id: &str, now: u64) -> Result<LinkUse, StoreError> {
        let mut write = self.write().await?;
        let spent = query(
            "UPDATE links SET uses = uses + 1 WHERE link_id = ? AND revoked_at IS NULL \
             AND (max_uses IS NULL OR uses < max_uses) \
             AND (not_before IS NULL OR not_before <= ?) AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(link_id)
        .bind(to_i64(now))
        .bind(to_i64(now))
        .execute(write.on())
        .await?;
        write.commit().await?;
        if spent == 1 {
            return Ok(LinkUse::Counted);
        }
        Ok(self.link(link_id).await?.map_or(LinkUse::Unknown, |link| why_not(&link, now)))
    }

    /// Gives back a use whose login failed after all.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn give_back_use(&self, link_id: &str) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        query("UPDATE links SET uses = uses - 1 WHERE link_id = ? AND uses > 0")
            .bind(link_id)
            .execute(write.on())
            .await?;
        write.commit().await
    }
}

/// Of those that are revoked or expired as many are listed as may live; the others go, those that are over longest first.
async fn forget_over(write: &mut Write, conf: &ConfId, now: u64) -> Result<(), StoreError> {
    let surplus: Vec<String> = query_scalar(
        "SELECT link_id FROM links WHERE conf_id = ? AND (revoked_at IS NOT NULL OR expires_at <= ?) \
         ORDER BY COALESCE(revoked_at, expires_at) DESC LIMIT ? OFFSET ?",
    )
    .bind(conf.as_str())
    .bind(to_i64(now))
    .bind(FORGOTTEN_AT_ONCE)
    .bind(LINKS_PER_CONFERENCE)
    .fetch_all(write.on())
    .await?;
    for link in surplus {
        query("DELETE FROM links WHERE link_id = ?").bind(link).execute(write.on()).await?;
    }
    Ok(())
}

fn why_not(link: &Link, now: u64) -> LinkUse {
    match &link.link {
        _ if link.revoked_at.is_some() => LinkUse::Revoked,
        NewLink { expires_at: Some(at), .. } if *at <= now => LinkUse::Expired,
        NewLink { not_before: Some(at), .. } if *at > now => LinkUse::NotYet,
        _ => LinkUse::Exhausted,
    }
}

fn from_row(row: Row) -> Result<Link, StoreError> {
    let (link_id, conf_id, role, not_before, expires_at, max_uses, uses, created_by, created_at, revoked_at) = row;
    let link = NewLink {
        link_id,
        conf_id: ConfId::parse(&conf_id).ok_or(StoreError::Damaged("link"))?,
        role: parse_role(&role).ok_or(StoreError::Damaged("link"))?,
        not_before: not_before.map(to_u64),
        expires_at: expires_at.map(to_u64),
        max_uses: max_uses.map(to_u64),
        created_by: UserId::parse(&created_by).ok_or(StoreError::Damaged("link"))?,
        created_at: to_u64(created_at),
    };
    Ok(Link { link, uses: to_u64(uses), revoked_at: revoked_at.map(to_u64) })
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Chair => "chair",
        Role::Member => "member",
        Role::Guest => "guest",
    }
}

fn parse_role(text: &str) -> Option<Role> {
    [Role::Chair, Role::Member, Role::Guest].into_iter().find(|role| role_text(*role) == text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, conf, fresh, promises, user};

    pub fn link(link_id: &str, conf_id: &str) -> NewLink {
        NewLink {
            link_id: link_id.to_owned(),
            conf_id: conf(conf_id),
            role: Role::Guest,
            not_before: None,
            expires_at: None,
            max_uses: None,
            created_by: user("chair"),
            created_at: 1,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_fifty_at_once_only_max_uses_get_in() {
        let (store, _folder) = fresh().await;
        store.create_link(&NewLink { max_uses: Some(7), ..link("l", "c") }).await.unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.use_link("l", 10).await.unwrap() })
            })
            .collect();
        let mut counted = 0;
        for task in tasks {
            match task.await.unwrap() {
                LinkUse::Counted => counted += 1,
                other => assert_eq!(other, LinkUse::Exhausted),
            }
        }
        assert_eq!(counted, 7);
        assert_eq!(store.link("l").await.unwrap().unwrap().uses, 7);
    }

    #[tokio::test]
    async fn a_use_given_back_can_be_spent_again() {
        let (store, _folder) = fresh().await;
        store.create_link(&NewLink { max_uses: Some(1), ..link("l", "c") }).await.unwrap();
        assert_eq!(store.use_link("l", 10).await.unwrap(), LinkUse::Counted);
        store.give_back_use("l").await.unwrap();
        store.give_back_use("l").await.unwrap();
        assert_eq!(store.use_link("l", 10).await.unwrap(), LinkUse::Counted);
        assert_eq!(store.use_link("l", 10).await.unwrap(), LinkUse::Exhausted);
    }

    #[tokio::test]
    async fn a_link_that_is_no_good_says_why() {
        let (store, _folder) = fresh().await;
        store.create_link(&NewLink { not_before: Some(10), expires_at: Some(20), ..link("l", "c") }).await.unwrap();
        let uses = [(9, LinkUse::NotYet), (10, LinkUse::Counted), (19, LinkUse::Counted), (20, LinkUse::Expired)];
        for (now, expected) in uses {
            assert_eq!(store.use_link("l", now).await.unwrap(), expected, "at {now}");
        }
        assert_eq!(store.use_link("other", 10).await.unwrap(), LinkUse::Unknown);
        assert!(!store.revoke_link(&conf("another"), "l", 12).await.unwrap());
        assert!(store.revoke_link(&conf("c"), "l", 12).await.unwrap());
        assert!(!store.revoke_link(&conf("c"), "l", 13).await.unwrap());
        assert_eq!(store.use_link("l", 15).await.unwrap(), LinkUse::Revoked);
    }

    #[tokio::test]
    async fn a_link_is_kept_as_it_was_made() {
        let (store, _folder) = fresh().await;
        let made = NewLink {
            role: Role::Chair,
            not_before: Some(1),
            expires_at: Some(u64::MAX >> 1),
            max_uses: Some(3),
            ..link("l", "c")
        };
        assert!(store.create_link(&made).await.unwrap());
        let kept = Link { link: made.clone(), uses: 0, revoked_at: None };
        assert_eq!(store.link("l").await.unwrap(), Some(kept.clone()));
        assert_eq!(store.links_of(&conf("c")).await.unwrap(), [kept]);
        assert!(store.create_link(&made).await.is_err(), "an id serves once");
    }

    #[tokio::test]
    async fn a_conference_has_a_bounded_number_of_links() {
        let (store, _folder) = fresh().await;
        let mut write = store.write().await.unwrap();
        for n in 0..LINKS_PER_CONFERENCE {
            query("INSERT INTO links VALUES (?, 'c', 'guest', NULL, NULL, NULL, 0, 'u', 1, NULL)")
                .bind(n.to_string())
                .execute(write.on())
                .await
                .unwrap();
        }
        write.commit().await.unwrap();
        assert!(!store.create_link(&link("one-more", "c")).await.unwrap());
        assert!(store.create_link(&link("one-more", "another")).await.unwrap());
        assert!(store.revoke_link(&conf("c"), "5", 2).await.unwrap());
        assert!(store.create_link(&link("in-its-place", "c")).await.unwrap());
    }

    #[tokio::test]
    async fn expired_links_make_room_and_of_those_that_are_over_the_latest_are_kept() {
        let (store, _folder) = fresh().await;
        let mut write = store.write().await.unwrap();
        for n in 0..2 * LINKS_PER_CONFERENCE {
            let revoked = (n % 2 == 0).then_some(n);
            query("INSERT INTO links VALUES (?, 'c', 'guest', NULL, ?, NULL, 0, 'u', 1, ?)")
                .bind(n.to_string())
                .bind(n)
                .bind(revoked)
                .execute(write.on())
                .await
                .unwrap();
        }
        write.commit().await.unwrap();
        let (all_over, others) = (2 * LINKS_PER_CONFERENCE as u64, LINKS_PER_CONFERENCE / FORGOTTEN_AT_ONCE);
        for n in 0..others + 1 {
            let new = NewLink { created_at: all_over, ..link(&format!("new-{n}"), "c") };
            assert!(store.create_link(&new).await.unwrap(), "{n}");
        }
        let kept = store.links_of(&conf("c")).await.unwrap();
        assert_eq!(kept.len() as i64, LINKS_PER_CONFERENCE + others + 1);
        let oldest = (LINKS_PER_CONFERENCE - 1).to_string();
        assert_eq!(store.link(&oldest).await.unwrap(), None);
        assert!(store.link(&LINKS_PER_CONFERENCE.to_string()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn of_a_conferences_revoked_links_the_latest_are_kept() {
        let (store, _folder) = fresh().await;
        let mut write = store.write().await.unwrap();
        for n in 0..LINKS_PER_CONFERENCE + 2 {
            query("INSERT INTO links VALUES (?, 'c', 'guest', NULL, NULL, NULL, 0, 'u', 1, ?)")
                .bind(n.to_string())
                .bind(n)
                .execute(write.on())
                .await
                .unwrap();
        }
        write.commit().await.unwrap();
        assert!(store.create_link(&link("new", "c")).await.unwrap());
        assert_eq!(store.links_of(&conf("c")).await.unwrap().len() as i64, LINKS_PER_CONFERENCE + 1);
        assert_eq!((store.link("0").await.unwrap(), store.link("1").await.unwrap()), (None, None));
    }

    pub const ON_BOTH: Promises = promises![
        of_fifty_at_once_only_max_uses_get_in,
        a_use_given_back_can_be_spent_again,
        a_link_that_is_no_good_says_why,
        a_link_is_kept_as_it_was_made,
        a_conference_has_a_bounded_number_of_links,
        expired_links_make_room_and_of_those_that_are_over_the_latest_are_kept,
        of_a_conferences_revoked_links_the_latest_are_kept,
    ];
}
