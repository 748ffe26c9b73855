//! Values made once and kept: a generated signing key, the demo conference.

use super::query::{query, query_scalar};
use super::{Store, StoreError, check_len};

impl Store {
    /// # Errors
    /// A fault of the store.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut read = self.read().await?;
        let value = query_scalar("SELECT value FROM settings WHERE name = ?").bind(name);
        value.fetch_optional(read.on()).await
    }

    /// Sets it, whatever it was.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let set = query("REPLACE INTO settings (name, value) VALUES (?, ?)").bind(name).bind(value);
        set.execute(write.on()).await?;
        write.commit().await
    }

    /// The first of a block of numbers greater than any that was ever answered under the name, and than `at_least`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn next_block(&self, name: &str, at_least: u64, block: u64) -> Result<u64, StoreError> {
        let mut write = self.write_in(name).await?;
        let last: Option<String> =
            query_scalar("SELECT value FROM settings WHERE name = ?").bind(name).fetch_optional(write.on()).await?;
        let last = last.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let first = at_least.max(last.saturating_add(block));
        let set = query("REPLACE INTO settings (name, value) VALUES (?, ?)").bind(name).bind(first.to_string());
        set.execute(write.on()).await?;
        write.commit().await?;
        Ok(first)
    }

    /// The value kept under the name (up to 64 bytes); where there is none, `make`'s is kept first. All callers, in
    /// whatever process, get the same.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn get_or_create(&self, name: &str, make: impl FnOnce() -> String + Send) -> Result<String, StoreError> {
        check_len("a setting's name", name, 64)?;
        let mut write = self.write_in(name).await?;
        let kept: Option<String> =
            query_scalar("SELECT value FROM settings WHERE name = ?").bind(name).fetch_optional(write.on()).await?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let made = make();
        query("INSERT INTO settings (name, value) VALUES (?, ?)").bind(name).bind(&made).execute(write.on()).await?;
        write.commit().await?;
        Ok(made)
    }
}
