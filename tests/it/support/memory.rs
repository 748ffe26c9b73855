//! Memory of a process.

/// Resident memory, in bytes: proc(5), `status`.
pub fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}
