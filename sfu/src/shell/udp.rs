//! A media thread's UDP socket.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::net::sockopt;

/// Bytes that the kernel keeps for the thread while it is busy: 100 ms at 45 000 packets a second of 1 KB each. The
/// kernel may grant less (`net.core.rmem_max`).
const BUFFER: usize = 4 * 1024 * 1024;

/// # Errors
/// When the address can't be listened at.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // A smaller buffer than wished for is no reason not to serve.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, BUFFER);
    Ok(socket)
}

/// The address as the worker knows it: a socket for both families shows IPv4 in IPv6's clothes.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The address as the socket takes it.
pub(crate) fn dressed(address: SocketAddr, socket_is_ipv6: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) if socket_is_ipv6 => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port()),
        _ => address,
    }
}
