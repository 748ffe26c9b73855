//! The common parts of the benchmarks: load over TLS, medians, and what others took of the machine.
#![allow(dead_code, reason = "each benchmark needs a part of it")]

pub mod load;
pub mod others;

use std::time::Duration;

/// The middle one of the values; of an even number the upper of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The latency that so many percent of them don't exceed, in milliseconds.
pub fn percentile_ms(latencies: &[Duration], percent: usize) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3
}

/// The gateway's side of some number beside the plain one's, round by round.
pub struct Compared {
    gateway: f64,
    plain: f64,
    /// Of the rounds' own ratios: what slows the machine down for a while slows down both sides of a round.
    ratio: f64,
    /// Where the middle half of them lies.
    low: f64,
    high: f64,
}

impl Compared {
    /// Of `[gateway, plain]` for each round.
    pub fn of(rounds: impl IntoIterator<Item = [f64; 2]>) -> Self {
        let rounds: Vec<[f64; 2]> = rounds.into_iter().collect();
        let mut ratios: Vec<f64> = rounds.iter().map(|[gateway, plain]| gateway / plain).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |quarters: usize| ratios[(ratios.len() - 1) * quarters / 4];
        let [gateway, plain] = [0, 1].map(|side| median(rounds.iter().map(|round| round[side])));
        Self { gateway, plain, ratio: at(2), low: at(1), high: at(3) }
    }

    /// A line of a table with that title.
    pub fn print(&self, title: &str) {
        let Self { gateway, plain, ratio, low, high } = self;
        println!("{title:<34}{gateway:>12.1}{plain:>12.1}{ratio:>8.2}{:>16}", format!("{low:.2}-{high:.2}"));
    }

    /// The median of the rounds' ratios.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// The heading of those lines.
    pub fn head([gateway, plain]: [&str; 2]) {
        println!("{:<34}{gateway:>12}{plain:>12}{:>8}{:>16}", "", "ratio", "(middle half)");
    }
}
