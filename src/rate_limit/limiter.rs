//! How often somebody may do something: a keyed rate limiter (GCRA) with a bounded number of keys.
//!
//! Pure: no clock, no lock, no task. A user that shares one puts it behind a lock of its own and passes the time in.

use std::collections::HashMap;
use std::hash::Hash;

use crate::clock::Moment;

const NS_PER_MS: u64 = 1_000_000;

/// Keys looked at when one must make room: enough that a busy key is hardly ever the one to go, few enough to be cheap.
const EVICTION_SAMPLE: usize = 8;

/// The rate of each key: `count` at once, and then as many again spread over `window_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Uses at once.
    pub count: u32,
    /// Time in which as many again are given, in milliseconds.
    pub window_ms: u64,
}

impl Rate {
    /// So many uses a minute.
    pub fn per_minute(count: u32) -> Self {
        Self { count, window_ms: 60_000 }
    }
}

/// For each key one number, its theoretical arrival time (ns): how far ahead of the clock it has already spent.
///
/// At most `capacity` keys are kept. A new key at a full table takes the place of the one that has spent least of
/// `EVICTION_SAMPLE`: a flood of fresh addresses pushes out idle callers, not those who are being held back.
pub struct Limiter<K> {
    window_ms: u64,
    /// The price of one use. 0 where the rate is 0: then nothing is ever allowed.
    price_ns: u64,
    /// How far ahead of the clock a key may be: the burst.
    ahead_ns: u64,
    capacity: usize,
    slots: Vec<(K, u64)>,
    index: HashMap<K, usize>,
    /// The next slot to be looked at for eviction.
    hand: usize,
}

impl<K: Clone + Eq + Hash> Limiter<K> {
    /// `capacity` of 0 is taken as 1.
    pub fn new(rate: Rate, capacity: usize) -> Self {
        let window_ns = rate.window_ms.max(1).saturating_mul(NS_PER_MS);
        let price_ns = window_ns.checked_div(u64::from(rate.count)).map_or(0, |price| price.max(1));
        Self {
            window_ms: rate.window_ms,
            price_ns,
            ahead_ns: price_ns.saturating_mul(u64::from(rate.count)),
            capacity: capacity.max(1),
            slots: Vec::new(),
            index: HashMap::new(),
            hand: 0,
        }
    }

    /// Counts one use by `key` at `now`. `Err` is how many ms it must wait; then nothing was counted.
    pub fn allow(&mut self, key: &K, now: Moment) -> Result<(), u64> {
        if self.price_ns == 0 {
            return Err(self.window_ms);
        }
        let now = now.ms().saturating_mul(NS_PER_MS);
        let slot = self.index.get(key).copied();
        let spent = slot.map_or(now, |at| self.slots[at].1.max(now)).saturating_add(self.price_ns);
        let earliest = spent.saturating_sub(self.ahead_ns);
        if earliest > now {
            return Err((earliest - now).div_ceil(NS_PER_MS));
        }
        match slot {
            Some(at) => self.slots[at].1 = spent,
            None => self.insert(key.clone(), spent, now),
        }
        Ok(())
    }

    /// Gives one use back, for a limit that counts failures only: taken before the attempt (so that attempts at the
    /// same time can't slip past), given back when it went well.
    pub fn refund(&mut self, key: &K) {
        if let Some(&at) = self.index.get(key) {
            self.slots[at].1 = self.slots[at].1.saturating_sub(self.price_ns);
        }
    }

    /// Keys kept now.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn insert(&mut self, key: K, spent: u64, now: u64) {
        self.sweep(now);
        self.index.insert(key.clone(), self.slots.len());
        self.slots.push((key, spent));
    }

    /// Looks at a few slots: forgets those with nothing spent, and, where the table is full, the least spent one.
    fn sweep(&mut self, now: u64) {
        for _ in 0..EVICTION_SAMPLE.min(self.slots.len()) {
            if self.slots.is_empty() {
                return;
            }
            self.hand %= self.slots.len();
            if self.slots[self.hand].1 <= now {
                self.forget(self.hand);
            } else {
                self.hand += 1;
            }
        }
        if self.slots.len() >= self.capacity {
            let sample = (0..EVICTION_SAMPLE.min(self.slots.len())).map(|i| (self.hand + i) % self.slots.len());
            let least = sample.min_by_key(|&at| self.slots[at].1).expect("a full table has a slot");
            self.forget(least);
        }
    }

    fn forget(&mut self, at: usize) {
        let (key, _) = self.slots.swap_remove(at);
        self.index.remove(&key);
        if let Some((moved, _)) = self.slots.get(at) {
            *self.index.get_mut(moved).expect("every slot is indexed") = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut limiter = Limiter::new(Rate::per_minute(20), 10);
        for _ in 0..20 {
            assert_eq!(limiter.allow(&"a", Moment::at(1000)), Ok(()));
        }
        assert_eq!(limiter.allow(&"a", Moment::at(1000)), Err(3000));
        assert_eq!(limiter.allow(&"b", Moment::at(1000)), Ok(()));
        assert_eq!(limiter.allow(&"a", Moment::at(3999)), Err(1));
        assert_eq!(limiter.allow(&"a", Moment::at(4000)), Ok(()));
        assert_eq!(limiter.allow(&"a", Moment::at(4000)), Err(3000));
    }

    #[test]
    fn waiting_as_long_as_told_is_enough() {
        let mut limiter = Limiter::new(Rate { count: 7, window_ms: 1000 }, 10);
        let mut now = 5;
        for _ in 0..100 {
            if let Err(wait) = limiter.allow(&0, Moment::at(now)) {
                now += wait;
                assert_eq!(limiter.allow(&0, Moment::at(now)), Ok(()));
            }
        }
        assert!(now >= 13_000, "100 uses, 7 of them at once, took {now} ms");
    }

    #[test]
    fn a_rate_of_zero_allows_nothing() {
        assert!(Limiter::new(Rate::per_minute(0), 10).allow(&1, Moment::at(1000)).is_err());
    }

    #[test]
    fn an_attempt_that_went_well_costs_nothing() {
        let mut limiter = Limiter::new(Rate::per_minute(1), 10);
        for _ in 0..5 {
            assert_eq!(limiter.allow(&1, Moment::at(1000)), Ok(()));
            limiter.refund(&1);
        }
        assert_eq!(limiter.allow(&1, Moment::at(1000)), Ok(()));
        assert!(limiter.allow(&1, Moment::at(1000)).is_err());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut limiter = Limiter::new(Rate::per_minute(5), 100);
        for key in 0..10_000 {
            assert_eq!(limiter.allow(&key, Moment::at(1000)), Ok(()));
            assert!(limiter.len() <= 100);
        }
    }

    #[test]
    fn a_flood_of_new_keys_does_not_free_one_that_is_held_back() {
        let mut limiter = Limiter::new(Rate::per_minute(5), 100);
        while limiter.allow(&0, Moment::at(1000)).is_ok() {}
        for key in 1..10_000 {
            assert_eq!(limiter.allow(&key, Moment::at(1000)), Ok(()));
        }
        assert!(limiter.allow(&0, Moment::at(1000)).is_err());
    }

    #[test]
    fn idle_keys_are_forgotten_as_new_ones_come() {
        let mut limiter = Limiter::new(Rate { count: 1, window_ms: 10 }, 1000);
        for key in 0..500 {
            assert_eq!(limiter.allow(&key, Moment::at(0)), Ok(()));
        }
        for key in 500..600 {
            assert_eq!(limiter.allow(&key, Moment::at(60_000 + u64::from(key as u32) * 20)), Ok(()));
        }
        assert!(limiter.len() < 100, "{} keys", limiter.len());
    }
}
