//! The program: reads the command line and does what it says.

use std::process::ExitCode;

/// A request is read on one thread and its answer made on another: glibc's arenas then wait for each other's locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    confgate::cli::run()
}
