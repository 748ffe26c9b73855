//! The time line of moments, kept so that the next process goes on with it: see [`TimeLine`].

use super::{Store, StoreError};
use crate::clock::TimeLine;

/// Under this name among the settings.
const LINE: &str = "clock";

impl Store {
    /// Lets this process's moments go on from those that the process before it has kept here.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn resume_time_line(&self) -> Result<(), StoreError> {
        let kept = self.setting(LINE).await?;
        let line =
            kept.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Damaged("clock"))).transpose()?;
        TimeLine::resume(line);
        self.keep_time_line().await
    }

    /// To be called at intervals: what is lost by a crash is the time since the last one, and only where the wall clock
    /// was set back in it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn keep_time_line(&self) -> Result<(), StoreError> {
        let line = serde_json::to_string(&TimeLine::now()).expect("two numbers");
        self.set_setting(LINE, &line).await
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
