//! Temporary accounts of guests at the EIM: kept here until they are deleted there, also over a crash.

use super::query::{query, query_scalar};
use super::{Store, StoreError, Write, check_len, to_i64, to_ms, to_u64};
use crate::clock::{Moment, Now};
use crate::ids::{ConfId, ID_MAX, UserId};

/// A guest's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user_id: UserId,
    /// The conference.
    pub conf_id: ConfId,
    /// The link it was made through; legacy links may be named as the caller wishes, up to 64 bytes.
    pub link_id: Option<String>,
    /// The guest's name.
    pub name: String,
    /// The browser's id, which a kick bars.
    pub device: Option<String>,
    /// Over from then on (ms since 1970), whatever its guest does.
    pub expires_at: u64,
    /// Kept until then although its guest is not in the conference; moved by [`Store::keep_accounts`].
    pub idle_until: Moment,
    /// Sealed by [`super::encryption_at_rest::Sealer`], so that another node can go on with it.
    pub sealed_password: Option<String>,
}

/// A query for whole accounts, in the order of [`Row`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, conf_id, link_id, name, device, expires_at, idle_until, sealed_password FROM accounts ",
            $rest
        )
    };
}

type Row = (String, String, Option<String>, String, Option<String>, i64, i64, Option<String>);

impl Store {
    /// Keeps an account, over an earlier one of the same user. With `per_link`, `false` where the link has that many
    /// other live accounts: however many try at once, never more are kept.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn put_account(&self, account: &Account, per_link: Option<u32>, now: u64) -> Result<bool, StoreError> {
        check_len("a link's id", account.link_id.as_deref().unwrap_or_default(), ID_MAX)?;
        check_len("a device's id", account.device.as_deref().unwrap_or_default(), ID_MAX)?;
        check_len("a guest's name", &account.name, 65_535)?;
        let mut write = self.write_in(account.link_id.as_deref().unwrap_or_default()).await?;
        if let (Some(most), Some(link_id)) = (per_link, &account.link_id) {
            let others: i64 =
                query_scalar("SELECT COUNT(*) FROM accounts WHERE link_id = ? AND expires_at > ? AND user_id <> ?")
                    .bind(link_id)
                    .bind(to_i64(now))
                    .bind(account.user_id.as_str())
                    .fetch_one(write.on())
                    .await?;
            if others >= i64::from(most) {
                return Ok(false);
            }
        }
        insert(&mut write, account).await?;
        write.commit().await?;
        Ok(true)
    }

    /// # Errors
    /// A fault of the store.
    pub async fn account(&self, user: &UserId) -> Result<Option<Account>, StoreError> {
        let mut read = self.read().await?;
        let row: Option<Row> =
            query(select!("WHERE user_id = ?")).bind(user.as_str()).fetch_optional(read.on()).await?;
        row.map(from_row).transpose()
    }

    /// A conference's live accounts.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn accounts_of(&self, conf: &ConfId, now: u64) -> Result<Vec<Account>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(select!("WHERE conf_id = ? AND expires_at > ? ORDER BY user_id"))
            .bind(conf.as_str())
            .bind(to_i64(now))
            .fetch_all(read.on())
            .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// How many live accounts came through a link.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn guests_of_link(&self, link_id: &str, now: u64) -> Result<u64, StoreError> {
        let mut read = self.read().await?;
        let count: i64 = query_scalar("SELECT COUNT(*) FROM accounts WHERE link_id = ? AND expires_at > ?")
            .bind(link_id)
            .bind(to_i64(now))
            .fetch_one(read.on())
            .await?;
        Ok(to_u64(count))
    }

    /// Moves an account's deadline; one that is over stays over. `false` where there is no live one.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn extend_account(&self, user: &UserId, expires_at: u64, now: u64) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = query("UPDATE accounts SET expires_at = ? WHERE user_id = ? AND expires_at > ?")
            .bind(to_i64(expires_at))
            .bind(user.as_str())
            .bind(to_i64(now))
            .execute(write.on())
            .await?;
        write.commit().await?;
        Ok(done == 1)
    }

    /// Accounts to delete at the EIM now: expired, or over with their conference or by [`Store::end_account`]. They stay
    /// until [`Store::delete_account`], so a crash in between loses none. The longest due first, at most `most`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn due_accounts(&self, now: u64, kept_ms: u64, most: u32) -> Result<Vec<Account>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(select!("WHERE expires_at + ? <= ? ORDER BY expires_at LIMIT ?"))
            .bind(to_i64(kept_ms))
            .bind(to_i64(now))
            .bind(i64::from(most))
            .fetch_all(read.on())
            .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// All accounts that live, for the sessions that they need after a start.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn live_accounts(&self, now: u64) -> Result<Vec<Account>, StoreError> {
        let mut read = self.read().await?;
        let rows: Vec<Row> = query(select!("WHERE expires_at > ?")).bind(to_i64(now)).fetch_all(read.on()).await?;
        rows.into_iter().map(from_row).collect()
    }

    /// The conferences that live accounts are for.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn conferences_with_accounts(&self, now: u64) -> Result<Vec<ConfId>, StoreError> {
        let mut read = self.read().await?;
        let ids: Vec<String> = query_scalar("SELECT DISTINCT conf_id FROM accounts WHERE expires_at > ?")
            .bind(to_i64(now))
            .fetch_all(read.on())
            .await?;
        Ok(ids.iter().filter_map(|id| ConfId::parse(id)).collect())
    }

    /// The users, as far as they have accounts, are in their conference: their accounts are kept until then at least.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn keep_accounts(&self, users: &[UserId], idle_until: Moment) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        for user in users {
            query("UPDATE accounts SET idle_until = ? WHERE user_id = ? AND idle_until < ?")
                .bind(to_ms(idle_until))
                .bind(user.as_str())
                .bind(to_ms(idle_until))
                .execute(write.on())
                .await?;
        }
        write.commit().await
    }

    /// A conference's live accounts whose guests have not been in it for as long as an account is kept.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn idle_accounts(&self, conf: &ConfId, now: impl Into<Now>) -> Result<Vec<UserId>, StoreError> {
        let now = now.into();
        let mut read = self.read().await?;
        let ids: Vec<String> =
            query_scalar("SELECT user_id FROM accounts WHERE conf_id = ? AND expires_at > ? AND idle_until <= ?")
                .bind(conf.as_str())
                .bind(to_i64(now.date))
                .bind(to_ms(now.moment))
                .fetch_all(read.on())
                .await?;
        Ok(ids.iter().filter_map(|id| UserId::parse(id)).collect())
    }

    /// Ends an account as of `at`, a date that isn't later than now; `false` where there is no live one.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_account(&self, user: &UserId, now: u64, at: u64) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = query("UPDATE accounts SET expires_at = ? WHERE user_id = ? AND expires_at > ?")
            .bind(to_i64(at))
            .bind(user.as_str())
            .bind(to_i64(now))
            .execute(write.on())
            .await?;
        write.commit().await?;
        Ok(done == 1)
    }

    /// Forgets an account that the EIM no longer has.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn delete_account(&self, user: &UserId) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = query("DELETE FROM accounts WHERE user_id = ?").bind(user.as_str()).execute(write.on()).await?;
        write.commit().await?;
        Ok(done == 1)
    }
}

/// Makes every account of the conference due.
pub(super) async fn end_of_conference(write: &mut Write, conf: &ConfId, now: u64) -> Result<(), StoreError> {
    query("UPDATE accounts SET expires_at = 0 WHERE conf_id = ? AND expires_at > ?")
        .bind(conf.as_str())
        .bind(to_i64(now))
        .execute(write.on())
        .await?;
    Ok(())
}

async fn insert(write: &mut Write, account: &Account) -> Result<(), StoreError> {
    query(
        "REPLACE INTO accounts (user_id, conf_id, link_id, name, device, expires_at, idle_until, sealed_password) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(account.user_id.as_str())
    .bind(account.conf_id.as_str())
    .bind(&account.link_id)
    .bind(&account.name)
    .bind(&account.device)
    .bind(to_i64(account.expires_at))
    .bind(to_ms(account.idle_until))
    .bind(&account.sealed_password)
    .execute(write.on())
    .await?;
    Ok(())
}

fn from_row(row: Row) -> Result<Account, StoreError> {
    let (user_id, conf_id, link_id, name, device, expires_at, idle_until, sealed_password) = row;
    Ok(Account {
        user_id: UserId::parse(&user_id).ok_or(StoreError::Damaged("account"))?,
        conf_id: ConfId::parse(&conf_id).ok_or(StoreError::Damaged("account"))?,
        link_id,
        name,
        device,
        expires_at: to_u64(expires_at),
        idle_until: Moment::at(to_u64(idle_until)),
        sealed_password,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::tests::{Promises, after_a_crash, conf, fresh, promises, user};

    pub fn account(user_id: &str, conf_id: &str, link_id: &str, expires_at: u64) -> Account {
        Account {
            user_id: user(user_id),
            conf_id: conf(conf_id),
            link_id: Some(link_id.to_owned()),
            name: "Anna".to_owned(),
            device: Some("browser".to_owned()),
            expires_at,
            idle_until: Moment::at(expires_at),
            sealed_password: Some("sealed".to_owned()),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_link_has_no_more_live_guests_than_its_limit_however_many_come_at_once() {
        let (store, _folder) = fresh().await;
        let tasks: Vec<_> = (0..50)
            .map(|i| {
                let store = store.clone();
                let account = account(&format!("u{i}"), "c", "l", 1000);
                tokio::spawn(async move { store.put_account(&account, Some(7), 10).await.unwrap() })
            })
            .collect();
        let mut kept = 0;
        for task in tasks {
            kept += usize::from(task.await.unwrap());
        }
        assert_eq!(kept, 7);
        assert_eq!(store.guests_of_link("l", 10).await.unwrap(), 7);
        assert!(
            store.put_account(&account("later", "c", "l", 2000), Some(7), 1000).await.unwrap(),
            "the others expired"
        );
        assert!(
            store.put_account(&account("later", "c", "l", 3000), Some(1), 1000).await.unwrap(),
            "it is not another"
        );
    }

    #[tokio::test]
    async fn an_account_is_due_until_it_is_deleted_also_after_a_crash() {
        let (store, folder) = fresh().await;
        let expiring = account("u1", "c", "l", 100);
        let living = account("u2", "c", "l", 900);
        store.put_account(&expiring, None, 1).await.unwrap();
        store.put_account(&living, None, 1).await.unwrap();
        assert!(store.due_accounts(99, 0, 10).await.unwrap().is_empty());
        let (again, _copy) = after_a_crash(&folder).await;
        assert_eq!(again.due_accounts(100, 0, 10).await.unwrap(), [expiring]);
        assert_eq!(again.accounts_of(&conf("c"), 100).await.unwrap(), [living]);
        assert!(again.delete_account(&user("u1")).await.unwrap());
        assert!(!again.delete_account(&user("u1")).await.unwrap());
        assert!(again.due_accounts(100, 0, 10).await.unwrap().is_empty());
        assert!(again.account(&user("u1")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_account_is_idle_when_its_guest_has_not_been_seen_for_long_also_after_a_crash() {
        let (store, folder) = fresh().await;
        for id in ["seen", "never-came", "over"] {
            let account = Account { idle_until: Moment::at(100), ..account(id, "c", "l", 900) };
            store.put_account(&account, None, 1).await.unwrap();
        }
        store.end_account(&user("over"), 50, 0).await.unwrap();
        assert!(store.idle_accounts(&conf("c"), 99).await.unwrap().is_empty());
        store.keep_accounts(&[user("seen"), user("no-account")], Moment::at(200)).await.unwrap();
        store.keep_accounts(&[user("seen")], Moment::at(150)).await.unwrap();
        let (again, _copy) = after_a_crash(&folder).await;
        assert_eq!(again.idle_accounts(&conf("c"), 100).await.unwrap(), [user("never-came")]);
        assert_eq!(again.idle_accounts(&conf("c"), 199).await.unwrap(), [user("never-came")]);
        assert_eq!(again.idle_accounts(&conf("c"), 200).await.unwrap().len(), 2);
        assert!(again.idle_accounts(&conf("d"), 200).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_account_that_is_over_cannot_be_extended() {
        let (store, _folder) = fresh().await;
        store.put_account(&account("u1", "c", "l", 100), None, 1).await.unwrap();
        assert!(store.extend_account(&user("u1"), 200, 50).await.unwrap());
        assert_eq!(store.account(&user("u1")).await.unwrap().unwrap().expires_at, 200);
        assert!(store.end_account(&user("u1"), 60, 60).await.unwrap());
        assert!(store.due_accounts(59, 0, 10).await.unwrap().is_empty());
        assert_eq!(store.due_accounts(60, 0, 10).await.unwrap().len(), 1);
        assert!(!store.end_account(&user("u1"), 61, 0).await.unwrap());
        assert!(!store.extend_account(&user("u1"), 300, 70).await.unwrap());
        assert_eq!(store.due_accounts(70, 0, 10).await.unwrap().len(), 1);
    }

    pub const ON_BOTH: Promises = promises![
        a_link_has_no_more_live_guests_than_its_limit_however_many_come_at_once,
        an_account_is_due_until_it_is_deleted_also_after_a_crash,
        an_account_is_idle_when_its_guest_has_not_been_seen_for_long_also_after_a_crash,
        an_account_that_is_over_cannot_be_extended,
    ];
}
