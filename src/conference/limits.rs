//! A conference's bounds, from the configuration.

use super::core::Limits;
use crate::config::Config;

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            grace_ms: config.limits.grace.as_millis() as u64,
            window_ms: config.limits.resume_window.as_millis() as u64,
            log: config.limits.event_log,
            // Half of the queue: events go on while the other half is replayed.
            replay: config.limits.socket_queue_frames / 2,
            replay_bytes: config.limits.socket_queue_bytes / 2,
            look_ms: config.eim.snapshot_interval.as_millis() as u64,
        }
    }
}
