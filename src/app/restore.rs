//! What was before the start goes on: users' sessions, and seats whose people may come back.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::demo;
use crate::app::lifecycle::Failure;
use crate::rpc::Door;

/// Between attempts to learn from the EIM what was before the start.
const RETRY: Duration = Duration::from_secs(2);

/// What can only be done once everything runs; then there is nothing more to do until the end.
pub(super) async fn after_start(door: Arc<Door>, demonstrate: bool, hard: CancellationToken) -> Result<(), Failure> {
    let generation = door.conferences.next_generation();
    let restoring = async {
        restore(&door, generation).await;
        if demonstrate {
            demo::prepare(&door).await?;
        }
        Ok::<(), Failure>(())
    };
    if let Some(outcome) = hard.run_until_cancelled(restoring).await {
        outcome?;
    }
    hard.cancelled().await;
    Ok(())
}

/// What was before the start goes on: sessions, and seats whose people may come back. The EIM may come up later. Seats
/// don't wait for sessions: each moment later, more have come for whom the EIM must be told again.
async fn restore(door: &Door, generation: u64) {
    tokio::join!(restore_sessions(door), restore_seats(door, generation));
}

async fn restore_sessions(door: &Door) {
    while let Err(refusal) = door.entry.restore_sessions().await {
        tracing::info!(key = refusal.key(), "users' sessions can't be opened again yet");
        tokio::time::sleep(RETRY).await;
    }
}

async fn restore_seats(door: &Door, generation: u64) {
    loop {
        match door.conferences.restore(generation).await {
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
