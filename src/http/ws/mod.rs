//! WebSockets: the loop from upgrade to end, and the queue of what is to be sent.

mod frame;
pub mod pump;
pub mod send_queue;

pub use frame::Frame;
pub mod socket;
