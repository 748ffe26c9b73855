//! A media thread's UDP socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use tokio::io::Interest;

/// Bytes that the kernel keeps for the thread while it is busy: 100 ms at 45 000 packets a second of 1 KB each. The
/// kernel may grant less (`net.core.rmem_max`).
const BUFFER: usize = 4 * 1024 * 1024;
/// Datagrams handed to the kernel at once.
const BATCH: usize = 64;

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

/// A datagram and where to.
pub(crate) type Parcel = (Vec<u8>, SocketAddr);

/// Sends the datagrams, many with one system call: that call is half the cost of a packet. Gives how many the kernel
/// didn't take: they are lost, as on any network, and their receivers ask again.
pub(crate) fn send_all(socket: &tokio::net::UdpSocket, parcels: &[Parcel]) -> usize {
    let mut lost = 0;
    for batch in parcels.chunks(BATCH) {
        let mut rest = batch;
        while !rest.is_empty() {
            match socket.try_io(Interest::WRITABLE, || send_batch(socket, rest)) {
                Ok(sent) => rest = &rest[sent.clamp(1, rest.len())..],
                // The buffer is full: what comes after would be too late.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    lost += rest.len();
                    break;
                }
                // An address that can't be sent to, now or ever.
                Err(_) => {
                    lost += 1;
                    rest = &rest[1..];
                }
            }
        }
    }
    lost
}

fn send_batch(socket: &tokio::net::UdpSocket, parcels: &[Parcel]) -> io::Result<usize> {
    let addresses: Vec<SocketAddrAny> = parcels.iter().map(|(_, to)| SocketAddrAny::from(*to)).collect();
    let slices: Vec<[IoSlice<'_>; 1]> = parcels.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        parcels.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = addresses
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control))
        .collect();
    Ok(sendmmsg(socket, &mut messages, SendFlags::empty())?)
}
