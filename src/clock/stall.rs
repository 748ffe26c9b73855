//! Whether this process itself was stalled: stopped by a signal, starved of processor time, its machine suspended. Nothing
//! that others said meanwhile was heard, so their silence says nothing of them.

use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

/// A timer that fires later than this, or than half of its own time, was not run when it should have been: a busy machine
/// is late by some tens of milliseconds.
pub const LATE: Duration = Duration::from_secs(1);

/// Whether what was to take so long has taken so much longer that this process can't have been running.
pub fn is_stall(meant: Duration, took: Duration) -> bool {
    took > meant + LATE.min(meant / 2)
}

/// As [`timeout`], for what another process is to do: the time in which this one was stalled isn't counted, a fresh limit
/// is given.
///
/// # Errors
/// It was not done within the limit.
pub async fn patience<F: Future>(limit: Duration, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    loop {
        let began = Instant::now();
        match timeout(limit, &mut work).await {
            Err(_) if is_stall(limit, began.elapsed()) => tracing::info!("this process was stalled"),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[test]
    fn a_little_lateness_is_no_stall() {
        assert!(!is_stall(LIMIT, LIMIT * 3 / 2) && is_stall(LIMIT, LIMIT * 2));
        let long = Duration::from_secs(60);
        assert!(!is_stall(long, long + LATE) && is_stall(long, long + LATE * 2));
    }

    #[tokio::test]
    async fn the_time_of_a_stall_is_not_counted_as_another_ones_silence() {
        // Ready well after the limit, and well within a fresh one.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(patience(LIMIT, receiver));
        tokio::task::yield_now().await;
        // The one thread of this test's runtime is kept from everything else.
        std::thread::sleep(LIMIT * 3);
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender.send(7).expect("it still listens");
        assert_eq!(waiting.await.expect("no panic"), Ok(Ok(7)));
        assert!(patience(LIMIT, std::future::pending::<()>()).await.is_err(), "silence without a stall");
    }
}
