//! How long to wait before something is tried again. Pure.

use std::time::Duration;

/// The pause before the next attempt to connect: doubles from `min` to `max`, with jitter, so that a server that
/// comes back is not met by everybody at once.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    /// Pauses from `min`, doubled up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), tries: 0 }
    }

    /// `lasting`: only an operator can help, so the longest pause at once. `chance` in 0..1 places the pause between
    /// half of it and all of it.
    pub fn pause(&mut self, lasting: bool, chance: f64) -> Duration {
        let doubled = self.min.saturating_mul(1u32.checked_shl(self.tries.min(31)).unwrap_or(u32::MAX));
        self.tries = self.tries.saturating_add(1);
        let whole = if lasting { self.max } else { doubled.min(self.max) };
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// The attempt has succeeded: the next pause is the shortest.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn pauses_double_to_the_bound_and_start_over() {
        let mut backoff = Backoff::new(second(1), second(5));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause(false, 1.0)).collect();
        assert_eq!(pauses, [second(1), second(2), second(4), second(5)]);
        assert_eq!(backoff.pause(false, 0.0), Duration::from_millis(2500));
        backoff.reset();
        assert_eq!(backoff.pause(false, 1.0), second(1));
        assert_eq!(backoff.pause(true, 1.0), second(5));
        (0..100).for_each(|_| assert!(backoff.pause(false, 1.0) <= second(5)));
    }
}
