//! Clients of a call gateway node: Kurento's group call over wss, and WebRTC peers with sockets of their own.

// The same peer that calls the media node without signalling.
#[path = "../../../sfu/tests/it/support/client.rs"]
mod peer;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as StdInstant};

use confgate::event::Role;
use confgate::ids::{ConfId, Secret, UserId};
use confgate::token::{CallGatewayClaims, ControlClaims, Kind, KindKeys};
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde_json::{Value, json};
use str0m::media::Direction;
use str0m::net::{Protocol, Receive};
use str0m::{Input, Output};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::client::{BASE, Client, Reply};
use super::event_socket::{Opened, Stream};
use super::wait::PATIENCE;

pub use self::peer::Media;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The node's secret in the tests' configurations.
pub const NODE_SECRET: &str = "the secret that signs the node's tokens";
/// Between two frames that a peer sends.
const FRAME: Duration = Duration::from_millis(20);

/// The section of a node of that name in this process, or in `confgate media`.
pub fn builtin_node(id: &str) -> String {
    format!("[[callgw.nodes]]\nid = \"{id}\"\nkind = \"builtin\"\nsecret = \"{NODE_SECRET}\"\n")
}

pub fn claims(node: &str, room: &str, name: &str) -> CallGatewayClaims {
    let (room, name) = (ConfId::parse(room).expect("an id"), UserId::parse(name).expect("an id"));
    CallGatewayClaims::new(node, room, name, Role::Guest, Duration::from_secs(60))
}

pub fn signed(claims: &CallGatewayClaims) -> String {
    KindKeys::new(&[(claims.gateway_id.clone(), Secret::new(NODE_SECRET))], Kind::CallGateway).sign(claims)
}

/// The token that admits to the room under that name.
pub fn token(node: &str, room: &str, name: &str) -> String {
    signed(&claims(node, room, name))
}

/// The token that opens a control link.
pub fn control_token(node: &str) -> String {
    let claims = ControlClaims::new(node, "gateway1", Duration::from_secs(60));
    KindKeys::new(&[(node.to_owned(), Secret::new(NODE_SECRET))], Kind::Control).sign(&claims)
}

/// A socket that speaks JSON text frames told apart by `id`.
pub struct CallSocket {
    socket: WebSocketStream<Box<dyn Stream>>,
    pub headers: HeaderMap,
    /// The members that the client was told of so far.
    present: BTreeSet<String>,
}

impl Client {
    /// Opens a client's socket; the token, if any, in the subprotocol.
    pub async fn call_socket(&self, token: Option<&str>) -> Result<CallSocket, Reply> {
        self.call_socket_at(&format!("{BASE}/callgw"), token).await
    }

    pub async fn call_socket_at(&self, path: &str, token: Option<&str>) -> Result<CallSocket, Reply> {
        let protocols = token.map(|token| format!("confgate, bearer.{token}"));
        let headers = protocols.as_ref().map(|protocols| ("sec-websocket-protocol", protocols.as_str()));
        self.websocket(path, headers.as_slice()).await.map(CallSocket::new)
    }

    /// Opens a gateway's control link.
    pub async fn control_link(&self, token: &str) -> Result<CallSocket, Reply> {
        self.call_socket_at(&format!("{BASE}/callgw/control"), Some(token)).await
    }

    /// Says to the node, as a gateway does, that these are members of the conference and send what they like.
    pub async fn has_members(&self, node: &str, room: &str, names: &[&str]) {
        let mut link = self.control_link(&control_token(node)).await.expect("a gateway's token opens");
        for name in names {
            link.send(json!({ "id": "permit", "room": room, "name": name, "audio": true, "video": true })).await;
        }
        link.end().await;
    }

    /// In the room, by a token signed for that.
    pub async fn joined(&self, node: &str, room: &str, name: &str) -> CallSocket {
        let mut socket = self.call_socket(Some(&token(node, room, name))).await.expect("a good token opens");
        socket.join(room, name).await;
        socket
    }

    /// The call gateways that this member is told of.
    pub async fn offered_gateways(&self) -> String {
        let known = self.rpc("config.getProperties", json!({ "keys": ["webrtcAddress"] })).await.result();
        known["webrtcAddress"].as_str().unwrap_or_default().to_owned()
    }
}

/// Enough that media flows, few enough that it takes no second.
pub const SOME: usize = 20;

/// Waits until so much more of what the one sends is seen and heard by the other.
pub async fn flows(sends: &mut Peer, sees: &mut Peer) {
    let (frames, sounds) = (sees.frames(), sees.sounds());
    call(&mut [sends, sees], "picture and sound", |peers| {
        peers[1].frames() >= frames + SOME && peers[1].sounds() >= sounds + SOME
    })
    .await;
}

impl CallSocket {
    pub fn new((socket, headers): Opened) -> Self {
        Self { socket, headers, present: BTreeSet::new() }
    }

    pub async fn send(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    /// Sends that text, whatever it is.
    pub async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    /// As [`CallSocket::text`], without waiting that it goes out: a flood. `false` where the socket is closed.
    pub async fn pour(&mut self, text: &str) -> bool {
        self.socket.send(Message::text(text)).await.is_ok()
    }

    /// Closes the socket, once everything that was sent is read.
    pub async fn end(mut self) {
        self.socket.close(None).await.expect("the socket is open");
        while let Ok(Some(Ok(_))) = timeout_at(Instant::now() + PATIENCE, self.socket.next()).await {}
    }

    /// Asks to join, and hears who is there.
    pub async fn join(&mut self, room: &str, name: &str) -> Vec<String> {
        self.send(json!({ "id": "joinRoom", "room": room, "name": name })).await;
        let existing = self.expect("existingParticipants").await;
        serde_json::from_value(existing["data"].clone()).expect("a list of names")
    }

    /// The next message, which must be of this kind.
    pub async fn expect(&mut self, id: &str) -> Value {
        match self.next(PATIENCE).await {
            Some(message) if message["id"] == id => message,
            other => panic!("expected {id}, came: {other:?}"),
        }
    }

    /// The next error, which must have this code.
    pub async fn refused(&mut self, code: &str) -> Value {
        let error = self.expect("error").await;
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        error
    }

    /// The next message of this kind; others before it are passed over.
    pub async fn wait_for(&mut self, id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await {
                Some(message) if message["id"] == id => return message,
                Some(_) => {}
                None => panic!("not within {PATIENCE:?}: {id}"),
            }
        }
    }

    /// The next message; `None` where none came within that time. Fails the test where the socket is closed.
    pub async fn next(&mut self, within: Duration) -> Option<Value> {
        let deadline = Instant::now() + within;
        loop {
            match timeout_at(deadline, self.socket.next()).await.ok()? {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
                    self.remember(&message);
                    return Some(message);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the socket is closed: {other:?}"),
            }
        }
    }

    fn remember(&mut self, message: &Value) {
        let name = || message["name"].as_str().expect("a name").to_owned();
        match message["id"].as_str() {
            Some("existingParticipants") => {
                self.present = serde_json::from_value(message["data"].clone()).expect("a list of names");
            }
            Some("newParticipantArrived") => drop(self.present.insert(name())),
            Some("participantLeft") => drop(self.present.remove(&name())),
            _ => {}
        }
    }

    /// Until the client is told of that one.
    pub async fn knows(&mut self, name: &str) {
        while !self.present.contains(name) {
            self.wait_for("newParticipantArrived").await;
        }
    }

    /// Until the client is told that they are gone.
    pub async fn misses(&mut self, name: &str) {
        while self.present.contains(name) {
            self.wait_for("participantLeft").await;
        }
    }

    /// Reads until the server closes: the errors' codes on the way, and the close code; 1006 (RFC 6455 section 7.4.1)
    /// where it went without one.
    pub async fn closed(&mut self) -> (Vec<String>, u16) {
        let deadline = Instant::now() + PATIENCE;
        let mut errors = Vec::new();
        loop {
            let frame = timeout_at(deadline, self.socket.next()).await;
            match frame.unwrap_or_else(|_| panic!("not closed within {PATIENCE:?}")) {
                Some(Ok(Message::Close(frame))) => {
                    return (errors, frame.map_or(1005, |CloseFrame { code, .. }| code.into()));
                }
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
                    errors.extend(message["code"].as_str().map(str::to_owned));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return (errors, 1006),
            }
        }
    }

    /// Nothing but who speaks is said before a question of the client's own is answered.
    pub async fn hears_nothing(&mut self) {
        self.text("no JSON").await;
        loop {
            match self.next(PATIENCE).await {
                Some(message) if message["id"] == "speaker" => {}
                Some(message) if message["code"] == "badMessage" => return,
                other => panic!("nothing was to be heard, came: {other:?}"),
            }
        }
    }

    /// Sends the camera and the microphone, or the screen.
    pub async fn publish(&mut self, stream: &str) -> Peer {
        self.publish_from(LOOPBACK, stream).await
    }

    /// The same for a media server that isn't at loopback.
    pub async fn publish_from(&mut self, here: IpAddr, stream: &str) -> Peer {
        self.connect(here, stream, Media::SENDS).await
    }

    /// Receives that stream.
    pub async fn watch(&mut self, stream: &str) -> Peer {
        self.watch_from(LOOPBACK, stream).await
    }

    /// The same for a media server that isn't at loopback.
    pub async fn watch_from(&mut self, here: IpAddr, stream: &str) -> Peer {
        self.connect(here, stream, Media::WATCHES).await
    }

    /// Sends the stream with that media, or receives it.
    pub async fn publish_as(&mut self, stream: &str, media: Media) -> Peer {
        self.connect(LOOPBACK, stream, media).await
    }

    pub async fn watch_as(&mut self, stream: &str, media: Media) -> Peer {
        self.connect(LOOPBACK, stream, media).await
    }

    /// Receives the stream by answering the gateway's offer.
    pub async fn answer_from(&mut self, here: IpAddr, stream: &str) -> Peer {
        let mut peer = Peer::new(here, Media::WATCHES).await;
        self.send(json!({ "id": "receiveVideoFrom", "sender": stream })).await;
        let offer = self.wait_for("receiveVideoOffer").await;
        assert_eq!(offer["name"], stream);
        let answer = peer.client.answers(offer["sdpOffer"].as_str().expect("the offer is SDP"));
        self.send(json!({ "id": "receiveVideoAnswer", "sender": stream, "sdpAnswer": answer })).await;
        peer
    }

    /// Offers to receive with payload types that no stream here has.
    pub async fn watch_by_other_numbers(&mut self, stream: &str) {
        let offer = Peer::offer(Media::WATCHES);
        let offer =
            offer.replace(" 111", " 109").replace(":111 ", ":109 ").replace(" 96", " 120").replace(":96 ", ":120 ");
        let offer = offer.replace("apt=96", "apt=120");
        self.send(json!({ "id": "receiveVideoFrom", "sender": stream, "sdpOffer": offer })).await;
    }

    /// The same by an offer that names another certificate than the peer's.
    pub async fn connect_falsely(&mut self, stream: &str, media: Media) -> Peer {
        let mut peer = Peer::new(LOOPBACK, media).await;
        peer.client.offer = with_another_fingerprint(&peer.client.offer);
        self.offer(peer, stream).await
    }

    async fn connect(&mut self, here: IpAddr, stream: &str, media: Media) -> Peer {
        self.offer(Peer::new(here, media).await, stream).await
    }

    async fn offer(&mut self, mut peer: Peer, stream: &str) -> Peer {
        self.send(json!({ "id": "receiveVideoFrom", "sender": stream, "sdpOffer": peer.client.offer })).await;
        let answer = self.wait_for("receiveVideoAnswer").await;
        assert_eq!(answer["name"], stream);
        peer.answered(answer["sdpAnswer"].as_str().expect("the answer is SDP"));
        peer
    }
}

/// The offer with the fingerprint of another certificate.
pub fn with_another_fingerprint(offer: &str) -> String {
    let lines = offer.lines().map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(value) => format!("a=fingerprint:sha-256 {}\r\n", value.replace(['1', '2', '3'], "4")),
        None => format!("{line}\r\n"),
    });
    lines.collect()
}

/// A WebRTC peer over UDP.
pub struct Peer {
    client: peer::Client,
    socket: UdpSocket,
    sends: bool,
    sends_next: StdInstant,
}

impl Peer {
    pub(super) async fn new(here: IpAddr, media: Media) -> Self {
        let socket = UdpSocket::bind((here, 0)).await.expect("a free port");
        let sends = media.direction != Direction::RecvOnly;
        let (address, now) = (socket.local_addr().expect("it is bound"), StdInstant::now());
        Self { client: peer::Client::new(media, address, Protocol::Udp, now), socket, sends, sends_next: now }
    }

    pub fn offer(media: Media) -> String {
        let nowhere = "127.0.0.1:9".parse().expect("an address");
        peer::Client::new(media, nowhere, Protocol::Udp, StdInstant::now()).offer
    }

    /// One that sends and receives on one connection, as in a call between two.
    pub async fn of_pair() -> Self {
        Self::new(LOOPBACK, Media::EXCHANGES).await
    }

    /// The peer's offer.
    pub fn offered(&self) -> &str {
        &self.client.offer
    }

    pub fn answered(&mut self, answer: &str) {
        self.client.answered(answer);
        // A refused section is not sent.
        self.client.audio = self.client.audio.filter(|_| !answer.contains("m=audio 0 "));
    }

    /// The peer's offer with new ICE credentials.
    pub fn restart_ice(&mut self) -> String {
        self.client.restart_ice()
    }

    pub fn frames(&self) -> usize {
        self.client.frames().len()
    }

    pub fn sounds(&self) -> usize {
        self.client.sounds().len()
    }

    /// How many frames, and as many packets of sound, it has sent by itself.
    pub fn frames_sent(&self) -> usize {
        self.client.picture.into()
    }

    pub fn is_connected(&self) -> bool {
        self.client.connected
    }

    pub fn is_over(&self) -> bool {
        self.client.closed
    }

    /// Sends what is due, also made-up picture and sound from one that may send, and takes what comes.
    fn turn(&mut self) {
        let now = StdInstant::now();
        if now >= self.sends_next {
            self.sends_next = now + FRAME;
            if self.sends {
                self.client.send_frames(now);
                self.client.send_audio(-30, now);
            }
        }
        self.poll();
    }

    /// Sends one packet of sound.
    pub fn sound(&mut self) {
        self.client.send_audio(-30, StdInstant::now());
    }

    /// Sends what is due, and takes what comes.
    pub fn poll(&mut self) {
        let now = StdInstant::now();
        self.client.rtc.handle_input(Input::Timeout(now)).expect("the peer is well");
        self.let_out(now);
        let mut buffer = [0; 2048];
        while let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
            let Ok(receive) = Receive::new(Protocol::Udp, source, self.client.address, &buffer[..length]) else {
                continue;
            };
            self.client.rtc.handle_input(Input::Receive(now, receive)).expect("the peer is well");
            self.let_out(now);
        }
    }

    fn let_out(&mut self, now: StdInstant) {
        loop {
            match self.client.rtc.poll_output().expect("the peer is well") {
                Output::Event(event) => self.client.event(event, now),
                Output::Transmit(transmit) => {
                    // As lossy as the network is.
                    self.socket.try_send_to(&transmit.contents, transmit.destination).ok();
                }
                Output::Timeout(_) => return,
            }
        }
    }
}

/// Lets the peer try to connect for as long as the test runs, though it may fail.
pub fn tries_to_connect(mut peer: Peer) {
    tokio::spawn(async move {
        loop {
            peer.poll();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

/// Lets them all send and receive until it is so, and fails the test where it is not within [`PATIENCE`].
pub async fn call(peers: &mut [&mut Peer], what: &str, is_so: impl Fn(&[&mut Peer]) -> bool) {
    let end = StdInstant::now() + PATIENCE;
    while !is_so(peers) {
        assert!(StdInstant::now() < end, "not within {PATIENCE:?}: {what}");
        for peer in peers.iter_mut() {
            peer.turn();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
