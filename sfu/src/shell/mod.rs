//! Threads, sockets and clocks around the workers.

mod gauges;
mod mailbox;
mod node;
mod own;
mod report;
mod slots;
mod tcp;
mod thread;
mod udp;

pub use node::{Full, Node};
