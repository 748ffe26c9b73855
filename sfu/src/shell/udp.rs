//! A media thread's UDP socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sockopt};
use socket2::{MsgHdr, SockAddr, SockRef};
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

/// The address as the worker knows it: a socket for both families shows IPv4 addresses mapped into IPv6 (RFC 4291,
/// section 2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The address as the socket takes it.
pub(crate) fn mapped(address: SocketAddr, socket_is_ipv6: bool) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) if socket_is_ipv6 => SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), address.port()),
        _ => address,
    }
}

/// A datagram and where to.
pub(crate) type OutgoingDatagram = (Vec<u8>, SocketAddr);

/// Sends a socket's datagrams. Owned by the socket's thread.
pub(crate) struct GsoSender {
    segmentation: Segmentation,
}

/// Whether the kernel cuts what goes to one address into datagrams itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segmentation {
    Untried,
    /// It did once. Where it refuses, that is for one path's sake.
    Works,
    Refused,
}

impl GsoSender {
    pub(crate) fn new() -> GsoSender {
        GsoSender { segmentation: Segmentation::Untried }
    }

    /// Sends the datagrams, many with one system call: that call is half the cost of a packet. Those that follow each
    /// other to one address go as one, to be cut by the kernel (UDP_SEGMENT, udp(7)): they pass it once. Gives how many
    /// the kernel didn't take: they are lost, as on any network, and their receivers ask again.
    pub(crate) fn send_all(&mut self, socket: &tokio::net::UdpSocket, datagrams: &[OutgoingDatagram]) -> usize {
        let (mut lost, mut single, mut at) = (0, 0, 0);
        while at < datagrams.len() {
            let run = if self.segmentation == Segmentation::Refused { 1 } else { run_length(&datagrams[at..]) };
            if run > 1 {
                // To one address they go in order.
                if single < at && datagrams[at - 1].1 == datagrams[at].1 {
                    lost += send_single(socket, &datagrams[single..at]);
                    single = at;
                }
                match socket.try_io(Interest::WRITABLE, || send_run(socket, &datagrams[at..at + run])) {
                    Ok(()) => {
                        lost += send_single(socket, &datagrams[single..at]);
                        single = at + run;
                        self.segmentation = Segmentation::Works;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return lost + datagrams.len() - single,
                    // These go one by one; on a kernel or an interface that can't, all from now on.
                    Err(error) if self.segmentation == Segmentation::Untried && is_unable(&error) => {
                        self.segmentation = Segmentation::Refused;
                    }
                    Err(_) => {}
                }
            }
            at += run;
        }
        lost + send_single(socket, &datagrams[single..])
    }
}

/// Not for the address's sake.
fn is_unable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::INVAL | Errno::NOPROTOOPT | Errno::OPNOTSUPP))
}

/// Datagrams that the kernel cuts from one: it takes 64 (UDP_MAX_SEGMENTS), 64 KiB in all.
const RUN_MAX: usize = 40;
const RUN_BYTES_MAX: usize = 60_000;

/// How many of the first datagrams can be one to the kernel: to one address and of one size, the last may be smaller.
fn run_length(datagrams: &[OutgoingDatagram]) -> usize {
    let Some((first, to)) = datagrams.first() else { return 0 };
    let most = RUN_MAX.min(RUN_BYTES_MAX / first.len().max(1));
    let mut length = 1;
    for (bytes, next) in datagrams.iter().take(most).skip(1) {
        if next != to || bytes.len() > first.len() || bytes.is_empty() {
            break;
        }
        length += 1;
        if bytes.len() < first.len() {
            break;
        }
    }
    length
}

fn send_run(socket: &tokio::net::UdpSocket, datagrams: &[OutgoingDatagram]) -> io::Result<()> {
    let (first, to) = &datagrams[0];
    let slices: Vec<IoSlice<'_>> = datagrams.iter().map(|(bytes, _)| IoSlice::new(bytes)).collect();
    let (address, control) = (SockAddr::from(*to), segment_control(first.len() as u16));
    let message = MsgHdr::new().with_addr(&address).with_buffers(&slices).with_control(&control);
    SockRef::from(socket).sendmsg(&message, 0).map(|_| ())
}

/// A control message's header, cmsg(3): its length, SOL_UDP, UDP_SEGMENT; then the size.
const CONTROL: usize = size_of::<usize>() + 2 * size_of::<i32>();
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;

fn segment_control(size: u16) -> [u8; CONTROL + size_of::<usize>()] {
    let length = CONTROL + size_of::<u16>();
    let mut control = [0; CONTROL + size_of::<usize>()];
    let parts: [&[u8]; 4] =
        [&length.to_ne_bytes(), &SOL_UDP.to_ne_bytes(), &UDP_SEGMENT.to_ne_bytes(), &size.to_ne_bytes()];
    let mut at = 0;
    for part in parts {
        control[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    control
}

fn send_single(socket: &tokio::net::UdpSocket, datagrams: &[OutgoingDatagram]) -> usize {
    let mut lost = 0;
    for batch in datagrams.chunks(BATCH) {
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

fn send_batch(socket: &tokio::net::UdpSocket, datagrams: &[OutgoingDatagram]) -> io::Result<usize> {
    let addresses: Vec<SocketAddrAny> = datagrams.iter().map(|(_, to)| SocketAddrAny::from(*to)).collect();
    let slices: Vec<[IoSlice<'_>; 1]> = datagrams.iter().map(|(bytes, _)| [IoSlice::new(bytes)]).collect();
    let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        datagrams.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = addresses
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control))
        .collect();
    Ok(sendmmsg(socket, &mut messages, SendFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(bytes: usize, port: u16) -> OutgoingDatagram {
        (vec![7; bytes], SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn gso_segments_reach_the_receiver_as_the_same_datagrams() {
        let run = |sizes: &[usize]| run_length(&sizes.iter().map(|bytes| datagram(*bytes, 9)).collect::<Vec<_>>());
        assert_eq!(run(&[]), 0);
        assert_eq!(run(&[100]), 1);
        assert_eq!(run(&[100, 100, 40, 100]), 3, "a smaller one is the last");
        assert_eq!(run(&[40, 100]), 1, "a larger one is none of it");
        assert_eq!(run(&[1_200; 100]), RUN_MAX);
        assert_eq!(run(&[2_000; 100]), RUN_BYTES_MAX / 2_000);
        assert_eq!(run_length(&[datagram(100, 9), datagram(100, 8)]), 1, "to another address");
    }

    #[tokio::test]
    async fn datagrams_arrive_one_by_one_and_in_order_whichever_way_they_leave() {
        let (to, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let [port, other_port] = [&to, &other].map(|socket| socket.local_addr().unwrap().port());
        let sizes = [50, 900, 900, 900, 80, 900, 900, 60, 70];
        let mut datagrams: Vec<OutgoingDatagram> = sizes.iter().map(|bytes| datagram(*bytes, port)).collect();
        datagrams.insert(4, datagram(500, other_port));
        for mut gso_sender in
            [GsoSender { segmentation: Segmentation::Untried }, GsoSender { segmentation: Segmentation::Refused }]
        {
            let socket = tokio::net::UdpSocket::from_std(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
            socket.writable().await.unwrap();
            assert_eq!(gso_sender.send_all(&socket, &datagrams), 0);
            let mut buffer = [0; 2_000];
            let got = sizes.map(|_| to.recv(&mut buffer).unwrap());
            assert_eq!(got, sizes);
            assert_eq!(other.recv(&mut buffer).unwrap(), 500);
            assert_ne!(gso_sender.segmentation, Segmentation::Untried);
        }
    }
}
