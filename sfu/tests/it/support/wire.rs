//! Clients over loopback: real sockets, the machine's clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use confgate_sfu::protocol::{Command, EndpointId, Notice, StreamId};
use confgate_sfu::{Config, Node};
use str0m::net::{Protocol, Receive};
use str0m::{Input, Output};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::{Client, Media, member, room};

/// For what takes milliseconds; so long only that a busy machine doesn't fail a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Site {
    pub node: Node,
    pub notices: mpsc::Receiver<Notice>,
    next_endpoint: u64,
}

enum Transport {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A client with a socket of its own.
pub struct Peer {
    pub endpoint: EndpointId,
    pub client: Client,
    transport: Transport,
    /// A frame of TCP that is incomplete.
    partial: Vec<u8>,
}

pub fn loopback() -> Config {
    Config { udp: "127.0.0.1:0".parse().unwrap(), threads: 2, ..Config::default() }
}

impl Site {
    pub fn start(config: Config) -> Site {
        let (node, notices) = Node::start(config).unwrap();
        Site { node, notices, next_endpoint: 1 }
    }

    pub async fn notice(&mut self, wanted: impl Fn(&Notice) -> bool) -> Notice {
        let found = async {
            loop {
                let notice = self.notices.recv().await.expect("a node that runs");
                if wanted(&notice) {
                    return notice;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the notice in time")
    }

    async fn answer(&mut self, of: EndpointId) -> String {
        let notice = self.notice(|notice| matches!(notice, Notice::Answer { endpoint, .. } if *endpoint == of)).await;
        let Notice::Answer { answer, .. } = notice else { unreachable!("as just matched") };
        answer
    }

    pub async fn publish(&mut self, stream: StreamId) -> Peer {
        self.publish_media(stream, Media::SENDS).await
    }

    pub async fn publish_media(&mut self, stream: StreamId, media: Media) -> Peer {
        let mut peer = self.peer(media, false).await;
        let (endpoint, offer) = (peer.endpoint, peer.client.offer.clone());
        self.node.send(Command::Publish { room: room(), endpoint, stream, offer }).unwrap();
        peer.client.answered(&self.answer(endpoint).await);
        peer
    }

    pub async fn watch(&mut self, viewer: &str, stream: StreamId, over_tcp: bool) -> Peer {
        let mut peer = self.peer(Media::WATCHES, over_tcp).await;
        let (endpoint, offer) = (peer.endpoint, peer.client.offer.clone());
        self.node.send(Command::Subscribe { room: room(), endpoint, viewer: member(viewer), stream, offer }).unwrap();
        peer.client.answered(&self.answer(endpoint).await);
        peer
    }

    async fn peer(&mut self, media: Media, over_tcp: bool) -> Peer {
        let endpoint = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        let now = Instant::now();
        let (transport, address, proto) = if over_tcp {
            let stream = TcpStream::connect(self.node.tcp().expect("a node that takes TCP")).await.unwrap();
            let address = stream.local_addr().unwrap();
            (Transport::Tcp(stream), address, Protocol::Tcp)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            (Transport::Udp(socket), address, Protocol::Udp)
        };
        Peer { endpoint, client: Client::new(media, address, proto, now), transport, partial: Vec::new() }
    }
}

impl Peer {
    /// Serves the connection until `done`, or fails after [`PATIENCE`].
    pub async fn until(&mut self, done: impl Fn(&Client) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.client) {
            assert!(
                Instant::now() < end,
                "{} packets, connected: {}",
                self.client.received.len(),
                self.client.connected
            );
            self.turn().await;
        }
    }

    /// Sends what there is and takes what comes, for some milliseconds.
    pub async fn turn(&mut self) {
        self.poll();
        let mut buffer = vec![0; 4_096];
        let wait = Duration::from_millis(5);
        match &mut self.transport {
            Transport::Udp(socket) => {
                let Ok(Ok((length, source))) = tokio::time::timeout(wait, socket.recv_from(&mut buffer)).await else {
                    return;
                };
                self.take(Protocol::Udp, source, &buffer[..length]);
            }
            Transport::Tcp(stream) => {
                let Ok(Ok(length)) = tokio::time::timeout(wait, stream.read(&mut buffer)).await else { return };
                let source = stream.peer_addr().unwrap();
                self.partial.extend(&buffer[..length]);
                while let Some(frame) = frame(&mut self.partial) {
                    self.take(Protocol::Tcp, source, &frame);
                }
            }
        }
    }

    /// Like [`Peer::turn`], for UDP, but waits for nothing.
    pub fn poll(&mut self) {
        let now = Instant::now();
        self.client.rtc.handle_input(Input::Timeout(now)).unwrap();
        while let Some(event) = self.next_event() {
            self.client.event(event, now);
        }
        let mut buffer = [0; 2_048];
        while let Transport::Udp(socket) = &self.transport
            && let Ok((length, source)) = socket.try_recv_from(&mut buffer)
        {
            self.take(Protocol::Udp, source, &buffer[..length]);
        }
    }

    fn take(&mut self, proto: Protocol, source: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let Ok(receive) = Receive::new(proto, source, self.client.address, bytes) else { return };
        self.client.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        while let Some(event) = self.next_event() {
            self.client.event(event, now);
        }
    }

    fn next_event(&mut self) -> Option<str0m::Event> {
        loop {
            match self.client.rtc.poll_output().unwrap() {
                Output::Event(event) => return Some(event),
                Output::Transmit(transmit) => self.outbox(transmit.proto, transmit.destination, &transmit.contents),
                Output::Timeout(_) => return None,
            }
        }
    }

    fn outbox(&mut self, proto: Protocol, to: SocketAddr, bytes: &[u8]) {
        match &mut self.transport {
            Transport::Udp(socket) if proto == Protocol::Udp => {
                let _ = socket.try_send_to(bytes, to);
            }
            Transport::Tcp(stream) if proto == Protocol::Tcp => {
                let mut frame = (bytes.len() as u16).to_be_bytes().to_vec();
                frame.extend(bytes);
                assert_eq!(stream.try_write(&frame).unwrap(), frame.len(), "a frame goes into the buffer");
            }
            _ => {}
        }
    }
}

fn frame(partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*partial.first()?, *partial.get(1)?]));
    if partial.len() < 2 + length {
        return None;
    }
    let frame = partial[2..2 + length].to_vec();
    partial.drain(..2 + length);
    Some(frame)
}
