//! One thing at a time: what was said, then exactly what came of it.

mod admission;
mod codecs;
mod control;
mod p2p;
mod pulls;
mod rooms;
mod sessions;
mod streams;

use confgate_sfu::protocol::{Command, EndpointId, Notice};

use super::names::RoomNamespace;
use super::*;
use crate::event::{CallMode, Role};
use crate::ids::{ConfId, UserId};
use crate::node_protocol::Closed;

const T0: u64 = 1_000_000;

fn limits() -> Limits {
    let node = "n1".to_owned();
    Limits {
        node,
        rooms: 3,
        members: 3,
        streams: 3,
        join_ms: 5000,
        messages_per_minute: 200,
        open: true,
        holds_tracks: true,
        changes_codecs: true,
    }
}

pub(super) fn claims(room: &str, name: &str, issued_ms: u64, nonce: &str) -> ClientCredentials {
    let (room, name) = (ConfId::parse(room).unwrap(), UserId::parse(name).unwrap());
    let mut claims = CallGatewayClaims::new("n1", room, name, Role::Guest, std::time::Duration::from_secs(60));
    (claims.issued_ms, claims.nonce) = (issued_ms, nonce.to_owned());
    ClientCredentials::Claims(Box::new(claims))
}

pub(super) fn between_two(credentials: ClientCredentials) -> ClientCredentials {
    let ClientCredentials::Claims(claims) = credentials else { return credentials };
    ClientCredentials::Claims(Box::new(claims.in_mode(CallMode::P2p)))
}

struct Node {
    group: Group,
    now: u64,
}

impl Node {
    fn new() -> Self {
        Self { group: Group::new(limits()), now: T0 }
    }

    /// All that came of it but what the media is told of permits.
    fn take(&mut self, input: Input) -> Vec<Output> {
        let is_permit = |output: &Output| matches!(output, Output::Media(Command::SetForwarding { .. }));
        self.group.handle(self.now, input).into_iter().filter(|output| !is_permit(output)).collect()
    }

    fn send(&mut self, socket: u64, message: &str) -> Vec<Output> {
        self.take(Input::Message(SocketId(socket), Message::read(message), ClientCredentials::Nothing))
    }

    /// The roster has the token's bearer, unless something was said of them before.
    fn known(&mut self, credentials: &ClientCredentials) {
        let ClientCredentials::Claims(claims) = credentials else { return };
        let room = RoomNamespace::Conference.room(claims.conf_id.as_str());
        if self.group.permits.get(&room, claims.user_id.as_str()).is_none() {
            self.order(permit(&claims.conf_id, &claims.user_id, true));
        }
    }

    fn join_with(&mut self, socket: u64, room: &str, name: &str, credentials: ClientCredentials) -> Vec<Output> {
        self.known(&credentials);
        self.join_unknown(socket, room, name, credentials)
    }

    fn join_unknown(&mut self, socket: u64, room: &str, name: &str, credentials: ClientCredentials) -> Vec<Output> {
        self.take(Input::Opened(SocketId(socket), ClientCredentials::Nothing));
        let message = Message::JoinRoom { room: room.into(), name: name.into(), token: None };
        self.take(Input::Message(SocketId(socket), Ok(message), credentials))
    }

    /// By a token that was issued now.
    fn join(&mut self, socket: u64, room: &str, name: &str) -> Vec<Output> {
        let credentials = claims(room, name, self.now, &format!("nonce{socket}"));
        self.join_with(socket, room, name, credentials)
    }

    fn offer(&mut self, socket: u64, sender: &str) -> Vec<Output> {
        self.take(Input::Message(SocketId(socket), Message::read(&offer_text(sender)), ClientCredentials::Nothing))
    }

    /// An offer, with the permissions that the media is told.
    fn offer_and_permits(&mut self, socket: u64, sender: &str) -> Vec<Output> {
        let input = Input::Message(SocketId(socket), Message::read(&offer_text(sender)), ClientCredentials::Nothing);
        self.group.handle(self.now, input)
    }

    fn candidate(&mut self, socket: u64, name: &str, text: &str) -> Vec<Output> {
        self.send(socket, &format!(r#"{{"id":"onIceCandidate","name":"{name}","candidate":{{"candidate":"{text}"}}}}"#))
    }

    fn notice(&mut self, notice: Notice) -> Vec<Output> {
        self.take(Input::Notice(notice))
    }

    fn answer(&mut self, endpoint: u64) -> Vec<Output> {
        self.notice(Notice::Answer { endpoint: EndpointId(endpoint), answer: "a".into() })
    }

    /// A session over HTTP, by a token that was issued now.
    fn begin(&mut self, socket: u64, name: &str, purpose: Purpose) -> Vec<Output> {
        let credentials = claims("c", name, self.now, &format!("nonce{socket}"));
        self.known(&credentials);
        let ClientCredentials::Claims(claims) = credentials else { unreachable!() };
        self.take(Input::Began(SocketId(socket), Session { claims, purpose, offer: "o".into() }))
    }

    fn order(&mut self, order: ToNode) -> Vec<Output> {
        self.group.handle(self.now, Input::Control(order))
    }
}

fn offer_text(sender: &str) -> String {
    format!(r#"{{"id":"receiveVideoFrom","sender":"{sender}","sdpOffer":"o"}}"#)
}

/// In the roster, the microphone held back or not.
fn permit(room: &ConfId, name: &UserId, audio: bool) -> ToNode {
    let (room, name, closed) = (room.clone(), name.clone(), Closed::default());
    ToNode::Permit { room, name, audio, video: true, closed, role: None }
}

/// The command that tells the media which tracks are forwarded.
fn forwarded(name: &str, audio: bool, video: bool) -> Output {
    let stream = RoomNamespace::Conference.stream(name);
    Output::Media(Command::SetForwarding { room: "conf/c".into(), stream, audio, video })
}

fn conf(text: &str) -> ConfId {
    ConfId::parse(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn arrived(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::NewParticipantArrived { name: name.into() })
}

fn left(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::ParticipantLeft { name: name.into() })
}

fn existing(socket: u64, names: &[&str]) -> Output {
    let data = names.iter().map(|name| (*name).to_owned()).collect();
    Output::Send(SocketId(socket), Reply::ExistingParticipants { data })
}

fn close(socket: u64, why: Close) -> Output {
    Output::Close(SocketId(socket), why)
}

fn ended(endpoint: u64) -> Output {
    Output::Media(Command::Close { endpoint: EndpointId(endpoint) })
}

fn room_closed(room: &str) -> Output {
    Output::Media(Command::CloseRoom { room: room.into() })
}

/// The errors' codes and streams, and everything else as it is.
fn errors(outputs: &[Output]) -> Vec<(u64, Code, Option<String>)> {
    let error = |output: &Output| match output {
        Output::Send(socket, Reply::Error { code, name, .. }) => Some((socket.0, *code, name.clone())),
        _ => None,
    };
    outputs.iter().filter_map(error).collect()
}

fn answered(socket: u64, name: &str) -> Output {
    Output::Send(SocketId(socket), Reply::ReceiveVideoAnswer { name: name.into(), sdp_answer: "a".into() })
}
