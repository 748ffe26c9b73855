//! How busy the machine is, whoever keeps it so.

use std::fs;
use std::time::Duration;

/// Kernel ticks in a second, as `/proc` shows them to programs: 100 on every architecture that Linux has now.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that all processes together have used until now, the kernel and stolen time included: proc(5).
pub fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let all = stat.lines().next().expect("proc(5) begins with all cores");
    let ticks: Vec<u32> = all.split_whitespace().skip(1).map(|n| n.parse().expect("ticks")).collect();
    // user, nice, system, irq, softirq, steal; idle and iowait are the 4th and 5th.
    TICK * ticks[..3].iter().chain(&ticks[5..8]).sum()
}
