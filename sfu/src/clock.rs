//! When a publisher's picture and sound were captured, so that viewers can play them together: from the publisher's
//! sender reports (RFC 3550, 6.4.1). Times of arrival would not do: a key frame's many packets arrive later than the
//! sound of the same moment. Pure.

use std::time::{Duration, Instant, SystemTime};

/// A capture that seems this much before its arrival is a clock that was set, or a lie.
const AGE_MAX: Duration = Duration::from_secs(3);

/// A sender report: this RTP timestamp is this time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reported {
    pub(crate) time: SystemTime,
    pub(crate) timestamp: u32,
}

/// A publisher's clock in terms of the node's. One for all of its tracks: only then do they stay together. Owned by
/// the publisher's endpoint.
#[derive(Debug, Default)]
pub(crate) struct SenderClock {
    /// The same moment on both clocks, for the packet that came fastest.
    same: Option<(SystemTime, Instant)>,
}

impl SenderClock {
    /// When the packet with this timestamp was captured, at the latest on its arrival. Until the track's first report
    /// came, the arrival itself.
    pub(crate) fn captured(
        &mut self,
        reported: Option<Reported>,
        timestamp: u32,
        clock_rate: u32,
        arrival: Instant,
    ) -> Instant {
        let Some(reported) = reported else { return arrival };
        let ticks = timestamp.wrapping_sub(reported.timestamp) as i32;
        let since = Duration::from_secs_f64(f64::from(ticks.unsigned_abs()) / f64::from(clock_rate.max(1)));
        let theirs = if ticks >= 0 { reported.time.checked_add(since) } else { reported.time.checked_sub(since) };
        let Some(theirs) = theirs else { return arrival };
        let ours = self.same.and_then(|(then, here)| match theirs.duration_since(then) {
            Ok(later) => here.checked_add(later),
            Err(earlier) => here.checked_sub(earlier.duration()),
        });
        match ours {
            Some(ours) if ours <= arrival && arrival - ours <= AGE_MAX => ours,
            // The first packet, one that was faster than all before, or a clock that was set.
            _ => {
                self.same = Some((theirs, arrival));
                arrival
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_time_of_capture_doesnt_depend_on_the_way() {
        let (start, mut clock) = (Instant::now(), SenderClock::default());
        let reported = Some(Reported { time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), timestamp: 5 });
        let mut at = |frame: u32, delay: u64| {
            let arrival = start + ms(u64::from(frame) * 100 + delay);
            clock.captured(reported, 5 + frame * RATE / 10, RATE, arrival) - start
        };
        assert_eq!(at(0, 20), ms(20));
        assert_eq!(at(1, 90), ms(120), "delayed by its size");
        assert_eq!(at(2, 10), ms(210), "the fastest so far");
        assert_eq!(at(3, 50), ms(310));
    }

    #[test]
    fn sound_and_picture_of_a_moment_have_one_time() {
        let (start, mut clock) = (Instant::now(), SenderClock::default());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(50);
        let sound = clock.captured(Some(Reported { time, timestamp: 0 }), 48_000, 48_000, start + ms(10));
        let picture = clock.captured(Some(Reported { time, timestamp: 700 }), 700 + RATE, RATE, start + ms(130));
        assert_eq!(sound, picture);
    }

    #[test]
    fn clocks_that_are_set_and_lies_are_survived() {
        let (start, mut clock) = (Instant::now(), SenderClock::default());
        for (seconds, timestamp) in [(1_000, 0), (0, u32::MAX), (u32::MAX, 7), (5, i32::MAX as u32)] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
            let captured = clock.captured(Some(Reported { time, timestamp: 0 }), timestamp, 0, start);
            assert!(captured <= start && start - captured <= AGE_MAX);
        }
        assert_eq!(clock.captured(None, 1, RATE, start + ms(5)), start + ms(5));
    }
}
