//! Whether anybody new is let in.

use tokio_util::sync::CancellationToken;

use crate::refusal::{Reason, Refusal};

/// When to try again, at another node or at this one after its restart.
const GOING_AWAY_RETRY_MS: u64 = 2000;

/// Ends at the soft stop.
#[derive(Clone)]
pub(super) struct Admission(pub(super) CancellationToken);

impl Admission {
    /// Refuses who would come in while the node goes away.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.0.is_cancelled() { Err(Refusal::too_many(Reason::GoingAway, GOING_AWAY_RETRY_MS)) } else { Ok(()) }
    }
}
