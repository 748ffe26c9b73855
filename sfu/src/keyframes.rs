//! How often a publisher is asked for a key frame. Each costs as much as a second of ordinary frames, and many viewers
//! ask at once.

use std::time::{Duration, Instant};

/// At most one request to a stream's encoder in this time.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);

/// Owned by the publisher's track, one for each of its layers.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    asked: Option<Instant>,
    wanted: bool,
}

impl Throttle {
    /// A viewer needs a key frame.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame came.
    pub(crate) fn came(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask the encoder now. A request that comes too early is sent later, not forgotten.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        let rested = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= INTERVAL);
        let due = self.wanted && rested;
        if due {
            self.asked = Some(now);
            self.wanted = false;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_is_asked_once_in_an_interval_and_nothing_is_forgotten() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        assert!(!throttle.due(start), "nobody asked");
        throttle.want();
        assert!(throttle.due(start));
        throttle.want();
        throttle.want();
        assert!(!throttle.due(start + INTERVAL / 2));
        assert!(throttle.due(start + INTERVAL), "the early wish is granted when its time comes");
        assert!(!throttle.due(start + 3 * INTERVAL), "and once");
    }

    #[test]
    fn a_key_frame_that_came_serves_all_who_wait() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        throttle.want();
        throttle.came();
        assert!(!throttle.due(start));
    }
}
