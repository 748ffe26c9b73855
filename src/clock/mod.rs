//! The two clocks, and which is for what.
//!
//! *Dates* are for others: a token's end, a conference's beginning, when something was written. They come from the wall
//! clock, which may be set at any moment; where several nodes share a database server, from that server's, so that they
//! have one. *Durations* are ours: limits, leases, graces, kept seats, back-offs, health.
//! They come from the monotonic clock, which nobody sets, also where the store keeps them: see [`TimeLine`]. The two are
//! different types, and nothing else in the program reads either.

pub mod backoff;
pub mod stall;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Where the date is not this machine's but the database server's: that date less the process's age, in ms. All nodes
/// of one server have one date then, however their machines' clocks are set.
static SERVER_DATE_BEGINS_MS: AtomicI64 = AtomicI64::new(i64::MIN);

/// Milliseconds since 1970: by the wall clock, or by the clock of the server that [`follow_server`] was told of.
pub fn date_ms() -> u64 {
    match SERVER_DATE_BEGINS_MS.load(Ordering::Relaxed) {
        i64::MIN => wall_ms(),
        begins => begins.saturating_add_unsigned(since_start_ms()).max(0) as u64,
    }
}

/// Lets [`date_ms`] go by the server's clock, which shows that date now. Returns how far this machine's is ahead, in ms.
pub fn follow_server(date: u64) -> i64 {
    let begins = i64::try_from(date).unwrap_or_default().saturating_sub_unsigned(since_start_ms());
    SERVER_DATE_BEGINS_MS.store(begins, Ordering::Relaxed);
    i64::try_from(wall_ms()).unwrap_or_default().saturating_sub_unsigned(date)
}

#[expect(clippy::disallowed_methods, reason = "the only place where the program reads the wall clock")]
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A moment of this process, by the monotonic clock. It can't be made of a date, nor a date of it. As it is kept in the
/// store, it means the same after a restart, since the time line goes on: see [`TimeLine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

/// Where the time line of moments was when the process began. The first moment is an hour after [`Moment::NEVER`], so
/// that nothing looks recent that never was.
static LINE_BEGINS_MS: AtomicU64 = AtomicU64::new(3_600_000);

/// The two clocks at one instant, as the store keeps them: by it the next process goes on with the time line. Only the
/// time between the two processes is taken from the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLine {
    moment: Moment,
    date: u64,
}

impl TimeLine {
    /// Both clocks now.
    pub fn now() -> Self {
        let Now { date, moment } = Now::read();
        Self { moment, date }
    }

    /// Where the line is at that date. A clock that was set back meanwhile takes nothing back.
    fn at(self, date: u64) -> u64 {
        self.moment.0.saturating_add(date.saturating_sub(self.date))
    }

    /// Lets this process's moments go on from there; without an earlier process, from the date, so that the dates that
    /// were once kept in their place are read as what they were. To be called once, before moments are kept; those of
    /// before are long ago then.
    pub fn resume(before: Option<Self>) {
        let date = date_ms();
        let here = before.map_or(date, |line| line.at(date));
        LINE_BEGINS_MS.fetch_max(here.saturating_sub(since_start_ms()), Ordering::Relaxed);
    }

    /// Lets this process's moments catch up with another's, which has kept this line, where they are behind it by more
    /// than reading a clock over the network errs.
    pub fn catch_up(self) {
        let here = self.at(date_ms());
        if here > Moment::now().0 + CATCH_UP_MS {
            LINE_BEGINS_MS.fetch_max(here.saturating_sub(since_start_ms()), Ordering::Relaxed);
        }
    }
}

/// How far moments of two processes may be apart.
const CATCH_UP_MS: u64 = 1000;

fn since_start_ms() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed().as_millis() as u64
}

impl Moment {
    /// Long before any moment that [`Moment::now`] answers: as if it had never been.
    pub const NEVER: Self = Self(0);

    /// The present moment.
    pub fn now() -> Self {
        Self(LINE_BEGINS_MS.load(Ordering::Relaxed) + since_start_ms())
    }

    /// A moment of a test's or of a pure core's own time line.
    pub const fn at(ms: u64) -> Self {
        Self(ms)
    }

    /// Its place on the time line.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// So many milliseconds later.
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long ago `earlier` was; zero where it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;
    fn add(self, later: Duration) -> Self {
        self.plus_ms(later.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// Both clocks at one instant, for a core that needs dates and durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Ms since 1970.
    pub date: u64,
    /// The monotonic moment.
    pub moment: Moment,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { date: date_ms(), moment: Moment::now() }
    }

    /// Whether it was no longer ago than that by one of the clocks at least.
    pub fn is_within(self, past: Duration, now: Self) -> bool {
        now.date < self.date.saturating_add(past.as_millis() as u64) || now.moment.since(self.moment) < past
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

    #[test]
    fn the_line_goes_on_after_a_restart_however_the_wall_clock_was_set() {
        let line = TimeLine { moment: Moment::at(5000), date: 90_000 };
        assert_eq!(line.at(90_400), 5400, "the time between the processes is the wall clock's");
        assert_eq!(line.at(80_000), 5000, "set back");
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"moment":5000,"date":90000}"#);

        let earlier = Moment::now();
        TimeLine::resume(None);
        let resumed = Moment::now();
        assert!(resumed.ms() >= date_ms() - 1000 && resumed.since(earlier) > Duration::from_secs(3600));
        TimeLine::resume(Some(TimeLine { moment: resumed.plus_ms(7_200_000), date: date_ms() }));
        assert!(Moment::now() >= resumed.plus_ms(7_200_000), "ahead of the date, as the clock was set back");
    }
}
