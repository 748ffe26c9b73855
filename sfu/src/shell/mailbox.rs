//! The inputs of a media thread that don't come by its own socket.

use std::net::SocketAddr;

use str0m::net::Protocol;

use super::slots::Slot;
use crate::protocol::{Command, EndpointId, Refusal};
use crate::worker::Socket;

/// The largest datagram: more than any path's MTU.
pub(crate) const DATAGRAM_MAX: usize = 2_048;

/// A task for a media thread.
pub(crate) enum Task {
    Do(Command),
    Refuse {
        endpoint: EndpointId,
        refusal: Refusal,
    },
    /// A TCP connection whose first packet was for a connection of this thread.
    Tcp(Handover),
}

/// A datagram that came by another way than the thread's own socket.
pub(crate) struct Incoming {
    pub(crate) socket: Socket,
    pub(crate) proto: Protocol,
    pub(crate) source: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// A connection on its way to the thread it is for.
pub(crate) struct Handover {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) source: SocketAddr,
    /// Its first packet.
    pub(crate) first: Vec<u8>,
    pub(crate) slot: Slot,
}
