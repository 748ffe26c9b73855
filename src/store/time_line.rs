//! The time line of moments, kept so that the next process goes on with it: see [`TimeLine`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::query::query_scalar;
use super::{Database, Store, StoreError};
use crate::clock;
use crate::clock::TimeLine;

/// Under this name among the settings.
const LINE: &str = "clock";
/// A date that took longer to come is not taken: it may be wrong by as much.
const DATE_WAIT: Duration = Duration::from_secs(1);
/// How far a machine's clock may be from the server's before the log has it, in ms.
const CLOCK_OFF_MS: u64 = 2000;

impl Store {
    /// Lets this process's moments go on from those that the process before it has kept here.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn resume_time_line(&self) -> Result<(), StoreError> {
        self.follow_clock().await?;
        TimeLine::resume(self.kept_line().await?);
        self.keep_time_line().await
    }

    /// To be called at intervals: what is lost by a crash is the time since the last one, and only where the wall clock
    /// was set back in it. With a server, the nodes keep to one date and one time line by it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn keep_time_line(&self) -> Result<(), StoreError> {
        self.follow_clock().await?;
        if let Database::MySql(_) = self.database
            && let Some(line) = self.kept_line().await?
        {
            line.catch_up();
        }
        let line = serde_json::to_string(&TimeLine::now()).expect("two numbers");
        self.set_setting(LINE, &line).await
    }

    async fn kept_line(&self) -> Result<Option<TimeLine>, StoreError> {
        let kept = self.setting(LINE).await?;
        kept.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Damaged("clock"))).transpose()
    }

    /// Sets the date by the server's clock, if there is a server.
    async fn follow_clock(&self) -> Result<(), StoreError> {
        static IS_OFF: AtomicBool = AtomicBool::new(false);
        let Database::MySql(_) = self.database else { return Ok(()) };
        let mut read = self.read().await?;
        let begun = Instant::now();
        let now = query_scalar("SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)");
        let date: i64 = now.fetch_one(read.on()).await?;
        let took = begun.elapsed();
        if took > DATE_WAIT {
            return Ok(());
        }
        let ahead_ms = clock::follow_server(super::to_u64(date).saturating_add(took.as_millis() as u64 / 2));
        let is_off = ahead_ms.unsigned_abs() > CLOCK_OFF_MS;
        if IS_OFF.swap(is_off, Ordering::Relaxed) != is_off {
            match is_off {
                true => tracing::warn!(
                    ahead_ms,
                    "this machine's clock differs from the database server's, which all nodes go by"
                ),
                false => tracing::info!("this machine's clock agrees with the database server's"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::store::tests::{Promises, after_a_crash, fresh, promises};

    #[tokio::test]
    async fn moments_that_are_kept_mean_the_same_in_the_next_process() {
        let (store, folder) = fresh().await;
        store.resume_time_line().await.unwrap();
        let seat_until = Moment::now().plus_ms(60_000);
        // As a process leaves it that crashed an hour ago.
        let kept = store.setting(LINE).await.unwrap().unwrap();
        let mut line: serde_json::Value = serde_json::from_str(&kept).unwrap();
        line["date"] = (line["date"].as_u64().unwrap() - 3_600_000).into();
        store.set_setting(LINE, &line.to_string()).await.unwrap();

        let (again, _copy) = after_a_crash(&folder).await;
        again.resume_time_line().await.unwrap();
        let past = Moment::now().since(seat_until).as_secs();
        assert!((3535..3600).contains(&past), "kept for a minute, an hour ago: over for {past} s");
        store.set_setting(LINE, "{}").await.unwrap();
        assert!(matches!(store.resume_time_line().await, Err(StoreError::Damaged("clock"))));
    }

    pub const ON_BOTH: Promises = promises![moments_that_are_kept_mean_the_same_in_the_next_process,];
}
