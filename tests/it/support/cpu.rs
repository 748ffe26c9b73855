//! CPU time of a process, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Kernel ticks in a second, as `/proc` shows them to programs: 100 on every architecture that Linux has now.
const TICKS_PER_S: u64 = 100;

/// CPU time that the process and its threads, ended ones too, have used until now: utime and stime of proc(5), to 10
/// ms.
pub fn used(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a measured process runs");
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').expect("proc(5) has the name in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_S)
}
