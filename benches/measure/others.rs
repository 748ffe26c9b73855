//! What others took of the machine while something was measured: other processes, and other virtual machines.
//!
//! The processes are added up one by one: the sums of `/proc/stat` are samples, and a load that comes in bursts at timers'
//! times was seen in them with up to 4 % of the machine too little.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::cpu;
use crate::support::steal::Since;

/// From so many percent of the machine on, a measurement says nothing about what was measured.
const TOO_MUCH_PERCENT: f64 = 3.0;

/// A stretch of time in which only certain processes are to be busy.
pub struct Others {
    begun: Instant,
    steal: Since,
    /// CPU time of all other processes until then.
    used: Duration,
    processes: Vec<u32>,
}

impl Others {
    /// Others than those and this process.
    pub fn than(processes: &[u32]) -> Self {
        let processes: Vec<u32> = processes.iter().copied().chain([std::process::id()]).collect();
        Self { begun: Instant::now(), steal: Since::now(), used: used_but(&processes), processes }
    }

    /// Percent of the cores' time that everybody else has had since.
    pub fn percent(&self) -> f64 {
        let used = used_but(&self.processes).saturating_sub(self.used);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        100.0 * used.as_secs_f64() / self.begun.elapsed().as_secs_f64() / cores + self.steal.stolen()
    }

    /// Prints it, and whether what was measured meanwhile is a figure.
    pub fn report(&self) {
        let percent = self.percent();
        println!("\nothers took {percent:.1} % of the machine");
        if percent >= TOO_MUCH_PERCENT {
            println!("no figure: that is {TOO_MUCH_PERCENT} % or more, and what follows says little");
        }
    }
}

/// Of all processes but those. One that has ended is in the sum by its parent, which had it as a child.
fn used_but(processes: &[u32]) -> Duration {
    let all = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| !processes.contains(pid)).filter_map(cpu::used_with_children).sum()
}
