//! A media thread's core: rooms, their peer connections, and the way of a packet from one to others. Pure: datagrams,
//! commands and the time go in, transmits, notices and the time of the next call come out. No socket, no clock.

mod commands;
mod events;
mod media;
mod offers;
mod quality;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::net::{Protocol, Receive};
use str0m::{Input, Output};

use crate::admission::Admission;
use crate::config::Limits;
use crate::demux::{Demux, Remote};
use crate::endpoint::{Endpoint, Endpoints, Factory};
use crate::protocol::{EndpointId, Notice, Reason, RoomId};
use crate::rate_counter::RateCounter;
use crate::room::{Room, Stream, StreamKey};

/// The interval of decisions that aren't made for each packet.
const TICK: Duration = Duration::from_millis(100);
/// Calls in a row that one connection may ask for at once; then it waits [`YIELD`], so that none starves the others.
const ROUNDS_MAX: usize = 256;
const YIELD: Duration = Duration::from_millis(1);

/// The socket that a datagram came from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The thread's own, or a TCP connection taken by its listener.
    Shared,
    /// The endpoint's alone: see [`Worker::pull`].
    Of(EndpointId),
}

/// A datagram that came in. Of a TCP connection: what one frame of RFC 4571 holds.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The socket.
    pub socket: Socket,
    /// UDP or TCP.
    pub proto: Protocol,
    /// The sender's address.
    pub source: SocketAddr,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmit {
    /// The socket.
    pub socket: Socket,
    /// UDP or TCP.
    pub proto: Protocol,
    /// The receiver's address.
    pub destination: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// A change that the router of commands to workers must know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Routing {
    /// The endpoint's connections begin with this ICE user fragment.
    Named { endpoint: EndpointId, fragment: String },
    /// The endpoint is no more.
    Ended { endpoint: EndpointId },
}

/// Counts since the worker began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets received.
    pub received: u64,
    /// Packets forwarded.
    pub forwarded: u64,
    /// Datagrams that belong to no connection.
    pub stray: u64,
    /// Key frames asked for.
    pub keyframe_requests: u64,
    /// Packets of publishers that send more, or larger ones, than they may.
    pub excess: u64,
}

/// Owned by one media thread, which alone calls it: nothing here is shared or locked.
pub struct Worker {
    limits: Limits,
    factory: Factory,
    /// Where clients reach the thread: candidates of each answer.
    locals: Vec<(Protocol, SocketAddr)>,
    endpoints: Endpoints,
    streams: HashMap<StreamKey, Stream>,
    rooms: HashMap<RoomId, Room>,
    next_stream: u64,
    demux: Demux,
    timers: BTreeSet<(Instant, EndpointId)>,
    next_tick: Instant,
    ticks: u64,
    dirty: Vec<EndpointId>,
    transmits: Vec<Transmit>,
    notices: VecDeque<Notice>,
    routing: Vec<Routing>,
    counts: Counts,
    forwarded: RateCounter,
    admission: Admission,
}

impl Worker {
    /// `locals`: the addresses at which clients reach this thread, as they see them.
    ///
    /// # Errors
    /// When the system gives no randomness for a certificate.
    pub fn new(limits: Limits, locals: Vec<(Protocol, SocketAddr)>, now: Instant) -> std::io::Result<Worker> {
        Ok(Worker {
            limits,
            factory: Factory::new()?,
            locals,
            endpoints: Endpoints::default(),
            streams: HashMap::new(),
            rooms: HashMap::new(),
            next_stream: 0,
            demux: Demux::default(),
            timers: BTreeSet::new(),
            next_tick: now + TICK,
            ticks: 0,
            dirty: Vec::new(),
            transmits: Vec::new(),
            notices: VecDeque::new(),
            routing: Vec::new(),
            counts: Counts::default(),
            forwarded: RateCounter::new(now),
            admission: Admission::new(limits.packets_per_s_max),
        })
    }

    /// Takes a datagram. The resulting transmits are complete only after [`Worker::flush`]: call that once for all
    /// datagrams that came together.
    pub fn datagram(&mut self, datagram: Datagram<'_>, now: Instant) {
        self.counts.received += 1;
        let remote = Remote { proto: datagram.proto, address: datagram.source };
        let endpoint = match datagram.socket {
            Socket::Shared => self.demux.endpoint(remote, datagram.bytes),
            Socket::Of(endpoint) => Some(endpoint),
        };
        if endpoint.and_then(|id| self.deliver(id, remote, datagram, now)).is_none() {
            self.counts.stray += 1;
        }
    }

    fn deliver(&mut self, id: EndpointId, remote: Remote, datagram: Datagram<'_>, now: Instant) -> Option<()> {
        let endpoint = self.endpoints.get_mut(&id)?;
        let destination = match endpoint.own_socket {
            Some(own) => own,
            None => local_towards(&self.locals, remote)?,
        };
        let receive = Receive::new(datagram.proto, datagram.source, destination, datagram.bytes).ok()?;
        let input = Input::Receive(now, receive);
        if endpoint.own_socket.is_none() && !self.demux.knows(id, remote) {
            // The first from this address: only who knows the connection's password may have it.
            if !endpoint.rtc.accepts(&input) {
                return None;
            }
            self.demux.learn(id, remote);
        }
        if let Err(error) = endpoint.rtc.handle_input(input) {
            // Anybody can forge a datagram with a client's address: it ends nothing by itself.
            tracing::debug!(endpoint = id.0, %error, "a datagram that a connection can't take");
        }
        self.drain(id, now);
        Some(())
    }

    /// Calls the connections whose time has come, and does what is done at intervals.
    pub fn timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.timer = None;
                mark(&mut self.dirty, endpoint);
            }
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        self.flush(now);
    }

    /// Lets each connection that was written to make its packets.
    pub fn flush(&mut self, now: Instant) {
        while let Some(id) = self.dirty.pop() {
            let Some(endpoint) = self.endpoints.get_mut(&id) else { continue };
            endpoint.dirty = false;
            if let Err(error) = endpoint.rtc.handle_input(Input::Timeout(now)) {
                tracing::debug!(endpoint = id.0, %error, "a connection failed");
                self.remove(id, Some(Reason::Hangup));
                continue;
            }
            self.drain(id, now);
        }
    }

    /// Takes out all that a connection has to say. After every change to it: str0m holds one received packet only.
    fn drain(&mut self, id: EndpointId, now: Instant) {
        for _ in 0..ROUNDS_MAX {
            let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
            match endpoint.rtc.poll_output() {
                Ok(Output::Transmit(transmit)) => {
                    if let Some(resends) = &mut endpoint.resends {
                        resends.note(&transmit.contents, (transmit.proto, transmit.destination), now);
                    }
                    self.transmits.push(outgoing(endpoint, transmit));
                }
                Ok(Output::Event(event)) => self.event(id, event, now),
                Ok(Output::Timeout(_)) if !endpoint.rtc.is_alive() => return self.remove(id, Some(Reason::Hangup)),
                Ok(Output::Timeout(at)) if at <= now => {
                    if endpoint.rtc.handle_input(Input::Timeout(now)).is_err() {
                        return self.remove(id, Some(Reason::Hangup));
                    }
                }
                Ok(Output::Timeout(at)) => return self.schedule(id, at),
                Err(error) => {
                    tracing::debug!(endpoint = id.0, %error, "a connection failed");
                    return self.remove(id, Some(Reason::Hangup));
                }
            }
        }
        self.schedule(id, now + YIELD);
    }

    fn schedule(&mut self, id: EndpointId, at: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if endpoint.timer == Some(at) {
            return;
        }
        if let Some(old) = endpoint.timer.replace(at) {
            self.timers.remove(&(old, id));
        }
        self.timers.insert((at, id));
    }

    /// When [`Worker::timeout`] is to be called at the latest.
    pub fn next_timeout(&self) -> Instant {
        self.timers.first().map_or(self.next_tick, |(at, _)| (*at).min(self.next_tick))
    }

    /// The datagrams to send, in order; the caller empties the list.
    pub fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.transmits
    }

    /// News for signalling, oldest first.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// News for whoever routes commands, oldest first.
    pub fn take_routing(&mut self) -> Vec<Routing> {
        std::mem::take(&mut self.routing)
    }

    /// The counts since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Packets forwarded in the last second.
    pub fn packets_per_s(&self) -> u64 {
        self.forwarded.per_s()
    }

    /// The largest share of any bound at which connections are refused; from 1 on they are.
    pub fn fullness(&self) -> f64 {
        let connections = self.endpoints.len() as f64 / self.limits.endpoints_max.max(1) as f64;
        connections.max(self.admission.fullness())
    }

    /// Open connections.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Open rooms.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }
}

/// Notes that the endpoint is to be drained by [`Worker::flush`].
fn mark(dirty: &mut Vec<EndpointId>, endpoint: &mut Endpoint) {
    if !endpoint.dirty {
        endpoint.dirty = true;
        dirty.push(endpoint.id);
    }
}

fn outgoing(endpoint: &Endpoint, transmit: str0m::net::Transmit) -> Transmit {
    Transmit {
        socket: endpoint.own_socket.map_or(Socket::Shared, |_| Socket::Of(endpoint.id)),
        proto: transmit.proto,
        destination: transmit.destination,
        bytes: transmit.contents.into(),
    }
}

/// The thread's candidate that a datagram from `remote` came to. With several of a family the first stands for all:
/// which it was says nothing, they are one socket.
fn local_towards(locals: &[(Protocol, SocketAddr)], remote: Remote) -> Option<SocketAddr> {
    locals
        .iter()
        .find(|(proto, local)| *proto == remote.proto && local.is_ipv4() == remote.address.is_ipv4())
        .map(|(_, local)| *local)
}
