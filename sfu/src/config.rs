//! A media node's settings and bounds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How a node listens and what it takes at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where media comes in: the first thread's port; further threads take free ports of the same address.
    pub udp: SocketAddr,
    /// Where media comes in over TCP (RFC 6544), for clients whose network lets no UDP out; for all threads.
    pub tcp: Option<SocketAddr>,
    /// The node's addresses as clients see them. Empty: those it listens at.
    pub announce: Vec<IpAddr>,
    /// Over UDP the loopback address is announced before those, for clients on the node's own machine.
    pub announce_loopback: bool,
    /// Media threads. A room is on one of them.
    pub threads: usize,
    /// Commands that wait for a thread; more are refused with `Full`.
    pub commands_max: usize,
    /// Notices that wait for signalling.
    pub notices_max: usize,
    /// Rooms at a time.
    pub rooms_max: usize,
    /// TCP connections at a time, over all threads. Those of one block of addresses (an IPv4 address, an IPv6 /64) are a
    /// quarter of it at most.
    pub tcp_connections_max: usize,
    /// TCP connections that one block opens in a minute: as many at once, and as many again spread over it.
    pub tcp_connects_per_minute: u32,
    /// How long a TCP connection may take to say whose it is.
    pub tcp_first_timeout: Duration,
    /// A TCP connection on which nothing came for this long is closed. ICE checks come every few seconds.
    pub tcp_idle_timeout: Duration,
    /// Bounds of each media thread.
    pub limits: Limits,
}

/// The bounds of one media thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Packets to forward in a second; measured, see the crate's documentation of load. The default leaves a thread a
    /// third of its time even when all viewers' paths are estimated (23 us for each packet, 9 us without).
    pub packets_per_s_max: u64,
    /// Packets that one publisher may send in a second; more are dropped. A screen in 1080p at 8 Mbit/s takes 900, and
    /// what a publisher sends is multiplied by their viewers.
    pub publisher_packets_per_s_max: u64,
    /// Peer connections at a time. Each holds about 200 KiB with its packets for resending.
    pub endpoints_max: usize,
    /// Streams of one room that are held back: beyond it, nothing is forwarded of those without a word on them.
    pub permits_max: usize,
    /// A connection that isn't up after this long is given up.
    pub connect_timeout: Duration,
    /// A connection whose path was lost for this long is given up.
    pub reconnect_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            udp: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            tcp: None,
            announce: Vec::new(),
            announce_loopback: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            commands_max: 4_096,
            notices_max: 4_096,
            rooms_max: 10_000,
            tcp_connections_max: 1_024,
            tcp_connects_per_minute: 6_000,
            tcp_first_timeout: Duration::from_secs(5),
            tcp_idle_timeout: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            packets_per_s_max: 30_000,
            publisher_packets_per_s_max: 3_000,
            endpoints_max: 4_000,
            permits_max: 2_000,
            connect_timeout: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(10),
        }
    }
}
