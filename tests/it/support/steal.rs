//! CPU time that the hypervisor gave to others meanwhile.

use std::fs;

/// A stretch of time on this machine.
pub struct Since([u64; 2]);

impl Since {
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("Linux");
        let all = stat.lines().next().expect("proc(5) begins with all cores");
        let ticks: Vec<u64> = all.split_whitespace().skip(1).take(8).map(|n| n.parse().expect("ticks")).collect();
        Self([ticks.iter().sum(), ticks[7]])
    }

    /// Percent of the cores' time that other virtual machines have had since ("steal"). With more than a few the
    /// figures say little: each process more that takes part waits once more for a core.
    pub fn stolen(&self) -> f64 {
        let Self([all, stolen]) = Self::now();
        100.0 * (stolen - self.0[1]) as f64 / (all - self.0[0]).max(1) as f64
    }
}
