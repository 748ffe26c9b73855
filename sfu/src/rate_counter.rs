//! How many in the last second.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A bucket's length. The last second is read with this precision.
const BUCKET: Duration = Duration::from_millis(100);
const BUCKETS: usize = 10;

/// Owned by what it counts for; [`RateCounter::tick`] is to be called about every [`BUCKET`].
#[derive(Debug)]
pub(crate) struct RateCounter {
    full: VecDeque<u64>,
    sum: u64,
    current: u64,
    began: Instant,
}

impl RateCounter {
    pub(crate) fn new(now: Instant) -> RateCounter {
        RateCounter { full: VecDeque::with_capacity(BUCKETS + 1), sum: 0, current: 0, began: now }
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.current += count;
    }

    /// Closes the buckets whose time is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        let over = now.saturating_duration_since(self.began).as_millis() / BUCKET.as_millis();
        for _ in 0..over.min(BUCKETS as u128 + 1) {
            let count = std::mem::take(&mut self.current);
            self.sum += count;
            self.full.push_back(count);
            if self.full.len() > BUCKETS {
                self.sum -= self.full.pop_front().unwrap_or(0);
            }
        }
        if over > 0 {
            self.began = now;
        }
    }

    /// The count of the last full second.
    pub(crate) fn per_s(&self) -> u64 {
        self.sum
    }
}

/// So many in a second, and some at once. Owned by whoever is held to it.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_s: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    /// The burst that is let through at once: half a second's worth, as a large key frame is.
    const BURST_S: f64 = 0.5;

    pub(crate) fn new(per_s: u64, now: Instant) -> Allowance {
        let per_s = per_s as f64;
        Allowance { per_s, left: per_s * Allowance::BURST_S, at: now }
    }

    /// Whether one more is allowed.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_s).min(self.per_s * Allowance::BURST_S);
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_lets_a_burst_through_and_then_its_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::new(100, start);
        let mut taken = |count: u32, from: Instant| {
            (0..count).filter(|n| allowance.take(from + Duration::from_millis(1) * *n)).count()
        };
        assert_eq!(taken(40, start), 40);
        let second = taken(1_000, start + Duration::from_secs(1));
        assert!((145..=151).contains(&second), "{second}");
    }

    #[test]
    fn the_last_second_counts_and_no_longer() {
        let start = Instant::now();
        let mut counter = RateCounter::new(start);
        for step in 1..=20 {
            counter.add(5);
            counter.tick(start + BUCKET * step);
        }
        assert_eq!(counter.per_s(), 50);
        counter.tick(start + BUCKET * 20 + Duration::from_secs(5));
        assert_eq!(counter.per_s(), 0, "a pause empties it");
    }
}
