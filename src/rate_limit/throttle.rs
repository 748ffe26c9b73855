//! A bound on how many log lines of one kind are written.

use std::sync::Mutex;

use super::limiter::{Limiter, Rate};
use crate::clock::Moment;
use crate::sync;

/// How many lines of one kind are written, where a flood of what they tell of must not flood the log.
pub struct Throttle(Mutex<Lines>);

struct Lines {
    limiter: Limiter<()>,
    suppressed: u64,
}

impl Throttle {
    /// A bound of that rate.
    pub fn new(rate: Rate) -> Self {
        Self(Mutex::new(Lines { limiter: Limiter::new(rate, 1), suppressed: 0 }))
    }

    /// Whether one more may be written: then how many were not since the last one.
    pub fn permit_line(&self) -> Option<u64> {
        let mut lines = sync::lock(&self.0);
        if lines.limiter.allow(&(), Moment::now()).is_err() {
            lines.suppressed += 1;
            return None;
        }
        Some(std::mem::take(&mut lines.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_counted_instead_of_written() {
        let throttle = Throttle::new(Rate { count: 2, window_ms: 3_600_000 });
        assert_eq!((throttle.permit_line(), throttle.permit_line()), (Some(0), Some(0)));
        assert_eq!((throttle.permit_line(), throttle.permit_line()), (None, None));
        assert_eq!(throttle.0.lock().unwrap().suppressed, 2);
    }
}
