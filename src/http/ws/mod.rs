//! WebSockets: the loop from upgrade to end, and the queue of what is to be sent.

pub mod pump;
pub mod send_queue;
pub mod socket;
