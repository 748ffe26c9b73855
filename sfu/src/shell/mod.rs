//! Threads, sockets and clocks around the workers.

mod gauges;
mod mailbox;
mod node;
mod per_endpoint_sockets;
mod report;
mod slots;
mod tcp;
mod thread;
mod udp;

pub use node::{Full, Node};
