//! The two clocks, and which is for what.
//!
//! *Dates* are for others: a token's end, a conference's beginning, what a row in the store says. They come from the wall
//! clock, which may be set at any moment. *Durations* are ours: limits, leases, graces, back-offs, health. They come from
//! the monotonic clock, which nobody sets. The two are different types, and nothing else in the program reads either.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the wall clock.
#[expect(clippy::disallowed_methods, reason = "the only place where the program reads the wall clock")]
pub fn date_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A moment of this process, by the monotonic clock. It can't be made of a date, nor a date of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Long before any moment that [`Moment::now`] answers: as if it had never been.
    pub const NEVER: Self = Self(0);

    /// The first moment is an hour after [`Moment::NEVER`], so that nothing looks recent that never was.
    const FIRST_MS: u64 = 3_600_000;

    pub fn now() -> Self {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        Self(Self::FIRST_MS + BEGUN.get_or_init(Instant::now).elapsed().as_millis() as u64)
    }

    /// A moment of a test's or of a pure core's own time line.
    pub const fn at(ms: u64) -> Self {
        Self(ms)
    }

    /// Its place on the time line.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero where it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later.as_millis().try_into().unwrap_or(u64::MAX)))
    }
}

/// Both clocks at one instant, for a core that needs dates and durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub date: u64,
    pub moment: Moment,
}

impl Now {
    pub fn read() -> Self {
        Self { date: date_ms(), moment: Moment::now() }
    }
}

impl From<u64> for Now {
    /// For tests, whose one time line serves as both.
    fn from(ms: u64) -> Self {
        Self { date: ms, moment: Moment::at(ms) }
    }
}

/// A date as RFC 3339 has it, to the second: `2026-01-31T09:05:00Z`.
pub fn utc(date_ms: u64) -> String {
    let (days, seconds) = (date_ms / 86_400_000, date_ms / 1000 % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_rfc_3339_has_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }

    #[test]
    fn moments_grow_and_never_was_is_long_ago() {
        let now = Moment::now();
        assert!(Moment::now() >= now);
        assert!(now.since(Moment::NEVER) >= Duration::from_secs(3600));
        assert_eq!(Moment::at(5).since(Moment::at(7)), Duration::ZERO);
        assert_eq!(Moment::at(5) + Duration::from_millis(2), Moment::at(7));
    }
}
