//! CPU time of a process, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Kernel ticks in a second, as `/proc` shows them to programs: 100 on every architecture that Linux has now.
const TICKS_PER_S: u64 = 100;

/// What the process and its threads, ended ones too, have used until now: utime and stime of proc(5), to 10 ms.
pub fn used(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a measured process runs");
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').expect("proc(5) has the name in parentheses");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_S)
}

/// What all processes of the machine together have used until now, the kernel and stolen time included: proc(5).
pub fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let all = stat.lines().next().expect("proc(5) begins with all cores");
    let ticks: Vec<u64> = all.split_whitespace().skip(1).map(|n| n.parse().expect("ticks")).collect();
    // user, nice, system, irq, softirq, steal; idle and iowait are the 4th and 5th.
    let busy: u64 = ticks[..3].iter().chain(&ticks[5..8]).sum();
    Duration::from_millis(busy * 1000 / TICKS_PER_S)
}
