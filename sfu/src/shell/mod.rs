//! Threads, sockets and clocks around the workers.

mod node;
mod tcp;
mod thread;
mod udp;

pub use node::{Full, Node};
