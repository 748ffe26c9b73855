//! The node's promises, kept against real WebRTC peers: over a simulated network in virtual time, and over loopback.

mod calls;
mod descriptions;
mod fuzz;
mod hostile;
mod nodes;
mod overload;
mod pull;
mod quality;
mod support;
