//! CPU time of a process, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Kernel ticks in a second, as `/proc` shows them to programs: 100 on every architecture that Linux has now.
const TICKS_PER_S: u64 = 100;

/// CPU time that the process and its threads, ended ones too, have used until now: utime and stime of proc(5), to 10
/// ms.
pub fn used(pid: u32) -> Duration {
    times(pid, 2).expect("a measured process runs")
}

/// The same with that of its children that have ended. `None` where the process has ended itself.
#[allow(dead_code, reason = "the media node's benchmark, which has this file too, has no use for it")]
pub fn used_with_children(pid: u32) -> Option<Duration> {
    times(pid, 4)
}

/// The sum of the first so many of utime, stime, cutime and cstime.
fn times(pid: u32, count: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; utime is the 12th field after it.
    let (_, fields) = stat.rsplit_once(')').expect("proc(5) has the name in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(count).map(|n| n.parse::<u64>().expect("ticks")).sum();
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}
