//! What the benchmarks share: CPU time of a process, load over TLS, medians.

pub mod cpu;
pub mod load;
pub mod steal;

/// The middle one of the values; of an even number the upper of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The smallest and the largest of the values: how far the rounds lie apart.
pub fn spread(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    values.into_iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
}
