//! Places given to a node a moment ago, which its reports don't show yet. Pure: time is an argument.

use std::collections::VecDeque;

/// How long after a place was given a report may still not show it: joining, ICE, DTLS and the first packets.
const SETTLE_MS: u64 = 3000;

/// Longest that a place is remembered where no report ever comes.
const KEEP_MS: u64 = 60_000;

/// Places within one slot are counted together: so many slots at most, however many places.
const SLOT_MS: u64 = 250;

/// Counts by slot of time, oldest first; bounded by [`KEEP_MS`] over [`SLOT_MS`].
#[derive(Debug, Default)]
pub struct Recent(VecDeque<(u64, u64)>);

impl Recent {
    pub fn add(&mut self, places: u64, now: u64) {
        self.forget(now);
        let slot = now / SLOT_MS;
        match self.0.back_mut() {
            Some((last, count)) if *last >= slot => *count += places,
            _ => self.0.push_back((slot, places)),
        }
    }

    /// Places given since the report, and those too young for it.
    pub fn since(&self, report: u64, now: u64) -> u64 {
        let from = report.min(now.saturating_sub(SETTLE_MS)).max(now.saturating_sub(KEEP_MS)) / SLOT_MS;
        self.0.iter().filter(|(slot, _)| *slot >= from).map(|(_, count)| count).sum()
    }

    fn forget(&mut self, now: u64) {
        let oldest = now.saturating_sub(KEEP_MS) / SLOT_MS;
        while self.0.front().is_some_and(|(slot, _)| *slot < oldest) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_until_a_report_can_show_it() {
        let mut recent = Recent::default();
        recent.add(2, 10_000);
        recent.add(1, 12_000);
        assert_eq!(recent.since(9_000, 12_000), 3, "the report is from before");
        assert_eq!(recent.since(11_900, 12_000), 3, "the report came too soon to show them");
        assert_eq!(recent.since(14_500, 14_500), 1);
        assert_eq!(recent.since(20_000, 20_000), 0);
        assert_eq!(recent.since(5_000, 20_000), 3, "no report came in between");
    }

    #[test]
    fn without_reports_places_are_forgotten_and_memory_is_bounded() {
        let mut recent = Recent::default();
        for now in (0..600_000).step_by(10) {
            recent.add(1, now);
        }
        assert!(recent.0.len() as u64 <= KEEP_MS / SLOT_MS + 1, "{}", recent.0.len());
        assert_eq!(recent.since(0, 2_000_000), 0);
    }
}
