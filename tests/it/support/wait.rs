//! Waiting for what another process does: by asking again until a deadline.

use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for one thing to happen before it fails. Generous, since two cores may carry two servers, a
/// browser and a compiler; a test that passes never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks until there is an answer; `None` where there is none within that time.
pub async fn until<T>(within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks until it is so, and fails the test where it is not within [`PATIENCE`].
pub async fn until_true(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let became_true = until(PATIENCE, async || ask().await.then_some(())).await;
    assert!(became_true.is_some(), "not within {PATIENCE:?}: {what}");
}
