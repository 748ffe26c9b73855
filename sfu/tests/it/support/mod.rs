//! Clients, and the network between them and a worker.

mod client;
pub mod fuzz;
mod network;
pub mod wire;

pub use client::{Client, LAYERS, Media};
pub use network::{Link, Network, camera, member, room};
