//! Accounts and browsers that a kick or a ban keeps out of a conference.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::query::{query, query_scalar};
use super::{Store, StoreError, check_len, to_ms};
use crate::clock::Moment;
use crate::ids::{ConfId, ID_MAX, UserId};

/// The account or browser that a ban keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanTarget<'a> {
    /// By the user id.
    Account(&'a UserId),
    /// By the id in its cookie.
    Device(&'a str),
}

impl BanTarget<'_> {
    /// As it stands in the table. A device's id has no `=`, and fits beside an account's of any length.
    fn key(self) -> String {
        match self {
            Self::Account(user) => format!("={}", URL_SAFE_NO_PAD.encode(digest(&SHA256, user.as_str().as_bytes()))),
            Self::Device(device) => device.to_owned(),
        }
    }
}

impl Store {
    /// Bans an account or a browser from a conference until then, or with `None` (a ban) for as long as
    /// the conference lasts. Never shortens an earlier ban.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn ban(&self, whom: BanTarget<'_>, conf: &ConfId, until: Option<Moment>) -> Result<(), StoreError> {
        let device = whom.key();
        check_len("a device's id", &device, ID_MAX)?;
        let mut write = self.write_in(&device).await?;
        let earlier: Option<(Option<i64>,)> = query("SELECT barred_until FROM bars WHERE device = ? AND conf_id = ?")
            .bind(&device)
            .bind(conf.as_str())
            .fetch_optional(write.on())
            .await?;
        let until = match earlier {
            Some((earlier,)) => until.map(to_ms).zip(earlier).map(|(new, earlier)| new.max(earlier)),
            None => until.map(to_ms),
        };
        query("REPLACE INTO bars (device, conf_id, barred_until) VALUES (?, ?, ?)")
            .bind(&device)
            .bind(conf.as_str())
            .bind(until)
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// # Errors
    /// A fault of the store.
    pub async fn is_banned(&self, whom: BanTarget<'_>, conf: &ConfId, now: Moment) -> Result<bool, StoreError> {
        let mut read = self.read().await?;
        let banned: Option<i64> = query_scalar(
            "SELECT 1 FROM bars WHERE device = ? AND conf_id = ? AND (barred_until IS NULL OR barred_until > ?)",
        )
        .bind(whom.key())
        .bind(conf.as_str())
        .bind(to_ms(now))
        .fetch_optional(read.on())
        .await?;
        Ok(banned.is_some())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, conf, fresh, promises, user};

    const DEVICE: BanTarget<'_> = BanTarget::Device("device");

    #[tokio::test]
    async fn a_kick_bars_for_its_time_in_its_conference_alone() {
        let (store, _folder) = fresh().await;
        store.ban(DEVICE, &conf("c"), Some(Moment::at(100))).await.unwrap();
        assert!(store.is_banned(DEVICE, &conf("c"), Moment::at(99)).await.unwrap());
        assert!(!store.is_banned(DEVICE, &conf("c"), Moment::at(100)).await.unwrap());
        assert!(!store.is_banned(DEVICE, &conf("d"), Moment::at(99)).await.unwrap());
        assert!(!store.is_banned(BanTarget::Device("other"), &conf("c"), Moment::at(99)).await.unwrap());
    }

    #[tokio::test]
    async fn an_accounts_bar_is_no_browsers_whatever_they_are_called() {
        let (store, _folder) = fresh().await;
        let longest = user(&"u".repeat(64));
        for account in [&longest, &user("device")] {
            store.ban(BanTarget::Account(account), &conf("c"), None).await.unwrap();
            assert!(store.is_banned(BanTarget::Account(account), &conf("c"), Moment::at(1)).await.unwrap());
        }
        assert!(!store.is_banned(DEVICE, &conf("c"), Moment::at(1)).await.unwrap());
        assert!(!store.is_banned(BanTarget::Account(&user("other")), &conf("c"), Moment::at(1)).await.unwrap());
    }

    #[tokio::test]
    async fn a_later_kick_shortens_no_bar() {
        let (store, _folder) = fresh().await;
        for until in [Some(100), Some(50), None, Some(200)] {
            store.ban(DEVICE, &conf("c"), until.map(Moment::at)).await.unwrap();
            assert!(store.is_banned(DEVICE, &conf("c"), Moment::at(99)).await.unwrap(), "{until:?}");
        }
        assert!(store.is_banned(DEVICE, &conf("c"), Moment::at(u64::MAX)).await.unwrap(), "the ban stands");
    }

    pub const ON_BOTH: Promises = promises![
        a_kick_bars_for_its_time_in_its_conference_alone,
        an_accounts_bar_is_no_browsers_whatever_they_are_called,
        a_later_kick_shortens_no_bar,
    ];
}
