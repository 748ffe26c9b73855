//! The most memory of this process that one address block can take, computed from the limits.

use crate::config::Limits;
use crate::http::{CONNECTION_WINDOW_BYTES, MAX_BUFFER_BYTES, MAX_HEAD_BYTES};

/// A TLS connection's buffers and keys, and the connection's task. rustls keeps 64 KiB for a peer that doesn't read, and
/// one record of 16 KiB that isn't whole.
const TLS_BYTES: usize = 112 * 1024;

/// A socket besides the message that it is reading: its task, its queue's slots, what it reads at once.
const SOCKET_BYTES: usize = 16 * 1024;

/// The bytes that the protocol itself may buffer for one connection: HTTP/1.1 a read and a write buffer, HTTP/2 an
/// incomplete head and unread sent data.
const fn protocol_bytes() -> usize {
    let (http1, http2) = (2 * MAX_BUFFER_BYTES, MAX_HEAD_BYTES + CONNECTION_WINDOW_BYTES as usize);
    if http1 > http2 { http1 } else { http2 }
}

/// One connection, without what is counted as held.
const CONNECTION_BYTES: usize = TLS_BYTES + protocol_bytes();

fn socket_bytes(limits: &Limits) -> usize {
    SOCKET_BYTES + limits.body_bytes
}

/// The most that connections, sockets, requests, answers and events of one address block take.
pub fn block_bytes(limits: &Limits) -> usize {
    limits.connections_of_a_block() * CONNECTION_BYTES
        + limits.sockets_per_block * socket_bytes(limits)
        + limits.held_bytes_per_block
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATION: &str = include_str!("../../docs/operation.md");

    #[test]
    fn the_documented_figure_is_computed_from_the_default_limits() {
        let limits = Limits::default();
        let (connections, sockets) = (limits.connections_of_a_block(), limits.sockets_per_block);
        let kib = |bytes: usize| format!("{} KiB", bytes.div_ceil(1024));
        let mib = |bytes: usize| format!("{} MiB", bytes.div_ceil(1024 * 1024));
        let (each_connection, each_socket) = (CONNECTION_BYTES, socket_bytes(&limits));
        for cells in [
            vec![connections.to_string(), kib(each_connection), mib(connections * each_connection)],
            vec![sockets.to_string(), kib(each_socket), mib(sockets * each_socket)],
            vec![mib(limits.held_bytes_per_block)],
            vec![mib(block_bytes(&limits))],
        ] {
            let row = |line: &str| cells.iter().all(|cell| line.split('|').any(|it| it.trim() == *cell));
            assert!(OPERATION.lines().any(row), "no row of docs/operation.md has {cells:?}");
        }
    }
}
