//! A network with a delay and, if wanted, losses, between clients and one worker; its time is made, not waited for.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confgate_sfu::protocol::{Command, EndpointId, MemberId, Notice, RoomId, Source, StreamId};
use confgate_sfu::worker::{Datagram, Socket};
use confgate_sfu::{Limits, Worker};
use str0m::net::{Protocol, Receive};
use str0m::{Input, Output};

use super::{Client, Media};

const STEP: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(5);

/// The loss and delay of packets on the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// Of 1000 packets, how many are lost: the same ones in each run.
    pub lost_per_mille: u64,
    /// And only of those towards the clients.
    pub lost_towards_clients: bool,
    /// Bits that get through in a second; 0: any number.
    pub bits_per_s: u64,
    /// Nothing of DTLS gets through (RFC 7983: 20 to 63).
    pub no_dtls: bool,
}

struct Flight {
    due: Instant,
    to_worker: bool,
    client: SocketAddr,
    proto: Protocol,
    bytes: Vec<u8>,
}

pub struct Network {
    pub now: Instant,
    pub worker: Worker,
    pub clients: HashMap<EndpointId, Client>,
    pub notices: Vec<Notice>,
    pub link: Link,
    /// Somebody speaks in the clients' names while they connect: they may fail, and are gone then.
    pub spoofed: bool,
    /// A record of the datagrams that clients send from now on, where a test wants it.
    pub record: Option<Vec<(SocketAddr, Vec<u8>)>>,
    flights: VecDeque<Flight>,
    next_endpoint: u64,
    dice: u64,
    /// When the narrow link to each client is free again.
    busy: HashMap<SocketAddr, Instant>,
}

pub fn room() -> RoomId {
    Arc::from("room")
}

pub fn member(name: &str) -> MemberId {
    Arc::from(name)
}

pub fn camera(name: &str) -> StreamId {
    StreamId { member: member(name), source: Source::Camera }
}

impl Network {
    pub fn new() -> Network {
        Network::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Network {
        let now = Instant::now();
        let locals = vec![
            (Protocol::Udp, "192.0.2.1:4000".parse().unwrap()),
            (Protocol::Tcp, "192.0.2.1:4001".parse().unwrap()),
        ];
        Network {
            now,
            worker: Worker::new(limits, locals, now).unwrap(),
            clients: HashMap::new(),
            notices: Vec::new(),
            link: Link::default(),
            spoofed: false,
            record: None,
            flights: VecDeque::new(),
            next_endpoint: 1,
            dice: 88_172_645_463_325_252,
            busy: HashMap::new(),
        }
    }

    pub fn next_endpoint(&mut self) -> EndpointId {
        let id = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        id
    }

    /// A client that would publish or watch, not yet announced to the worker.
    pub fn client(&mut self, media: Media, proto: Protocol) -> EndpointId {
        let id = self.next_endpoint();
        self.clients.insert(id, Client::new(media, Network::address(id), proto, self.now));
        id
    }

    /// Where that client is, unless it moved.
    pub fn address(id: EndpointId) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], 10_000 + id.0 as u16))
    }

    pub fn publish(&mut self, name: &str) -> EndpointId {
        self.publish_as(camera(name), Media::SENDS)
    }

    pub fn publish_as(&mut self, stream: StreamId, media: Media) -> EndpointId {
        let endpoint = self.client(media, Protocol::Udp);
        let offer = self.clients[&endpoint].offer.clone();
        self.command(Command::Publish { room: room(), endpoint, stream, offer });
        endpoint
    }

    pub fn watch(&mut self, viewer: &str, name: &str) -> EndpointId {
        self.watch_as(viewer, camera(name), Media::WATCHES, Protocol::Udp)
    }

    pub fn watch_as(&mut self, viewer: &str, stream: StreamId, media: Media, proto: Protocol) -> EndpointId {
        let endpoint = self.client(media, proto);
        let offer = self.clients[&endpoint].offer.clone();
        self.command(Command::Subscribe { room: room(), endpoint, viewer: member(viewer), stream, offer });
        endpoint
    }

    /// Sends the one's stream and receives the other's on one connection.
    pub fn exchange(&mut self, name: &str, other: &str) -> EndpointId {
        let endpoint = self.client(Media::EXCHANGES, Protocol::Udp);
        let offer = self.clients[&endpoint].offer.clone();
        let (stream, other) = (camera(name), camera(other));
        self.command(Command::SendRecv { room: room(), endpoint, stream, other, offer });
        endpoint
    }

    pub fn command(&mut self, command: Command) {
        self.worker.command(command, self.now);
        self.collect();
    }

    /// A client whose machine was switched off.
    pub fn vanish(&mut self, id: EndpointId) {
        self.clients.remove(&id);
    }

    /// Bytes from somewhere.
    pub fn inject(&mut self, source: SocketAddr, bytes: &[u8]) {
        let datagram = Datagram { socket: Socket::Shared, proto: Protocol::Udp, source, bytes };
        self.worker.datagram(datagram, self.now);
        self.worker.flush(self.now);
        self.collect();
    }

    /// Lets the time pass; `each` is called every millisecond.
    pub fn run_with(&mut self, time: Duration, mut each: impl FnMut(&mut Network)) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            each(self);
            self.step();
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.run_with(time, |_| {});
    }

    /// Lets the time pass with each of the publishers sending a frame each 30 ms (a key frame when asked for one) and
    /// a sound each 20 ms.
    pub fn call(&mut self, publishers: &[EndpointId], time: Duration) {
        let mut passed = 0;
        let publishers = publishers.to_vec();
        self.run_with(time, move |network| {
            passed += 1;
            let now = network.now;
            for id in &publishers {
                let Some(client) = network.clients.get_mut(id) else { continue };
                if passed % 30 == 0 {
                    client.send_frames(now);
                }
                if passed % 20 == 0 {
                    client.send_audio(client.level, now);
                }
            }
        });
    }

    pub fn frames(&self, id: EndpointId) -> usize {
        self.clients[&id].frames().len()
    }

    fn step(&mut self) {
        while self.flights.front().is_some_and(|flight| flight.due <= self.now) {
            let flight = self.flights.pop_front().expect("a flight, as just seen");
            if flight.to_worker {
                let Flight { client: source, proto, bytes, .. } = &flight;
                let datagram = Datagram { socket: Socket::Shared, proto: *proto, source: *source, bytes };
                self.worker.datagram(datagram, self.now);
            } else {
                self.deliver(flight);
            }
        }
        self.worker.flush(self.now);
        if self.worker.next_timeout() <= self.now {
            self.worker.timeout(self.now);
        }
        self.collect();
        let due: Vec<EndpointId> =
            self.clients.iter().filter(|(_, client)| client.timeout <= self.now).map(|(id, _)| *id).collect();
        for id in due {
            self.drive(id);
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let client = self.clients.iter_mut().find(|(_, client)| client.address == flight.client);
        let Some((id, client)) = client.map(|(id, client)| (*id, client)) else { return };
        let port = if flight.proto == Protocol::Udp { 4000 } else { 4001 };
        let source = SocketAddr::from(([192, 0, 2, 1], port));
        let receive = Receive::new(flight.proto, source, client.address, &flight.bytes).expect("a datagram");
        let taken = client.rtc.handle_input(Input::Receive(self.now, receive));
        self.goes_on(id, taken);
    }

    fn drive(&mut self, id: EndpointId) {
        let client = self.clients.get_mut(&id).expect("a client");
        let taken = client.rtc.handle_input(Input::Timeout(self.now));
        self.goes_on(id, taken);
    }

    fn goes_on(&mut self, id: EndpointId, taken: Result<(), str0m::RtcError>) {
        match taken {
            Ok(()) => self.drain(id),
            Err(error) => self.fails(id, &error),
        }
    }

    fn fails(&mut self, id: EndpointId, error: &str0m::RtcError) {
        assert!(self.spoofed, "a client fails: {error}");
        self.clients.remove(&id);
    }

    fn drain(&mut self, id: EndpointId) {
        loop {
            let client = self.clients.get_mut(&id).expect("a client");
            let output = match client.rtc.poll_output() {
                Ok(output) => output,
                Err(error) => return self.fails(id, &error),
            };
            match output {
                Output::Transmit(transmit) => {
                    let (client, proto) = (client.address, transmit.proto);
                    if let Some(record) = &mut self.record {
                        record.push((client, transmit.contents.to_vec()));
                    }
                    self.fly(true, client, proto, transmit.contents.into());
                }
                Output::Event(event) => client.event(event, self.now),
                Output::Timeout(at) => {
                    client.timeout = at;
                    return;
                }
            }
        }
    }

    fn collect(&mut self) {
        for transmit in std::mem::take(self.worker.transmits()) {
            self.fly(false, transmit.destination, transmit.proto, transmit.bytes);
        }
        while let Some(notice) = self.worker.poll_notice() {
            if let Notice::Answer { endpoint, answer } = &notice
                && let Some(client) = self.clients.get_mut(endpoint)
            {
                assert_eq!(confgate_sfu::sdp::check(&client.offer, answer), Ok(()), "{answer}");
                client.answered(answer);
            }
            self.notices.push(notice);
        }
    }

    fn fly(&mut self, to_worker: bool, client: SocketAddr, proto: Protocol, bytes: Vec<u8>) {
        // xorshift64: the same losses in each run.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let is_dtls = bytes.first().is_some_and(|first| (20..64).contains(first));
        let loses = !(to_worker && self.link.lost_towards_clients);
        if (loses && self.dice % 1000 < self.link.lost_per_mille) || (self.link.no_dtls && is_dtls) {
            return;
        }
        let mut due = self.now + DELAY;
        if self.link.bits_per_s > 0 && !to_worker {
            const QUEUE_MAX: Duration = Duration::from_millis(200);
            let free = self.busy.entry(client).or_insert(self.now);
            let start = (*free).max(self.now);
            if start > self.now + QUEUE_MAX {
                return;
            }
            *free = start + Duration::from_micros(bytes.len() as u64 * 8_000_000 / self.link.bits_per_s);
            due = *free + DELAY;
        }
        let at = self.flights.partition_point(|flight| flight.due <= due);
        self.flights.insert(at, Flight { due, to_worker, client, proto, bytes });
    }
}
