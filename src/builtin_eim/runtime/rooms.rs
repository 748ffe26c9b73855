//! What the worker has where conferences are MUC rooms.

use tokio::sync::watch;

use super::super::muc::Bridge;
use crate::health::Health;

/// The bridge, and who is told how it is.
pub(super) struct Mirror {
    pub bridge: Bridge,
    pub health: watch::Sender<Health>,
}
