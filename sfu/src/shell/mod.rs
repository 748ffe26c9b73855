//! Threads, sockets and clocks around the workers.

mod node;
mod own;
mod report;
mod tcp;
mod thread;
mod udp;

pub use node::{Full, Node};
