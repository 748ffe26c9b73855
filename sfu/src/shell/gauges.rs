//! A media thread's load, as others see it.

use std::sync::atomic::AtomicU64;

/// The load that a thread publishes; written by it alone.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) packets_per_s: AtomicU64,
    pub(crate) endpoints: AtomicU64,
    /// The largest share of any of its bounds, in thousandths.
    pub(crate) full_permille: AtomicU64,
    pub(crate) forwarded: AtomicU64,
}
