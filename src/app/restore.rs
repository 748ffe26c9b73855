//! Restores the state from before the start: users' sessions, and seats whose members may come back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::demo::{self, Demo};
use crate::app::lifecycle::Failure;
use crate::app::parts::Parts;
use crate::auth::AuthService;
use crate::conference::Conferences;

/// Between attempts to learn from the EIM what was before the start.
const RETRY: Duration = Duration::from_secs(2);

/// The work that needs all parts running; then there is nothing more to do until the end.
pub(super) async fn after_start(
    parts: Parts,
    demonstrate: bool,
    soft: CancellationToken,
    hard: CancellationToken,
) -> Result<(), Failure> {
    let Parts { conferences, auth, store, calls, .. } = parts;
    let restoring = async {
        // Seats don't wait for sessions: each moment later, more have come for whom the EIM must be told again.
        tokio::join!(restore_sessions(&auth), restore_seats(&conferences));
        if demonstrate {
            demo::prepare(&Demo { store, auth, calls }).await?;
        }
        Ok::<(), Failure>(())
    };
    match hard.run_until_cancelled(restoring).await {
        // What it asks ends with the stop, maybe a moment before this does.
        Some(Err(why)) if soft.is_cancelled() => tracing::debug!(%why, "stopped before all was prepared"),
        Some(outcome) => outcome?,
        None => {}
    }
    hard.cancelled().await;
    Ok(())
}

/// The EIM may come up later.
async fn restore_sessions(auth: &AuthService) {
    while let Err(refusal) = auth.restore_sessions().await {
        tracing::info!(key = refusal.key(), "users' sessions can't be opened again yet");
        tokio::time::sleep(RETRY).await;
    }
}

async fn restore_seats(conferences: &Conferences) {
    loop {
        match conferences.restore().await {
            Ok(0) => return,
            Ok(seats) => return tracing::info!(seats, "waiting for who was here before the start"),
            Err(refusal) => {
                tracing::info!(key = refusal.key(), "the EIM can't say who was here before the start");
                if !refusal.is_retryable() {
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
