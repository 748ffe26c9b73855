//! The group call, pure: rooms, who is in them, and which connection carries which stream to whom. Told what happened
//! and when; answers what is to be done, in order.
//!
//! Everybody in a room knows the names of all others and of their shared screens, because each change is told before
//! the next thing happens: nothing is ever said to a client about a name that it wasn't told, or was told is gone.

mod admission;
mod codecs;
mod control;
mod membership;
mod names;
mod p2p;
mod permits;
mod pipe_consumers;
mod pulled_streams;
mod remote;
mod roster;
mod sessions;
mod streams;
mod viewer;
mod waiting;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use confgate_sfu::protocol::{Command, EndpointId, MemberId, Notice, RoomId, StreamId};

pub(in crate::media) use self::admission::{AdmissionError, Bans, Token, is_name_allowed};
pub(in crate::media) use self::control::dismissal;
pub use self::names::RoomNamespace;
pub(in crate::media) use self::permits::{Forwarded, MemberPermissions, NOTHING_FORWARDED, Permits};
use self::pipe_consumers::PipeConsumer;
use self::pulled_streams::PulledStreams;
use self::roster::Room;
use self::streams::{Endpoint, Streams};
pub use self::viewer::{Purpose, Session};
use self::waiting::Wanted;
use super::message::{Code, Message, Relayed, Reply, Signal, Unreadable};
use crate::clock::{Moment, Now};
use crate::event::CallMode;
use crate::http::ws::send_queue::Close;
use crate::ids::ConfId;
use crate::node_protocol::{RemoteNode, ToNode};
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::token::{CallGatewayClaims, PullClaims};

pub use self::names::FLAT;
pub(super) use self::names::{name_of, stream_named};
pub use self::pulled_streams::{LinkCommand, LinkEvent};
pub use self::remote::LinkId;

/// Sockets whose message budget is remembered; more can't be open by far (`limits.connections`).
const BUDGETS: usize = 1 << 20;
/// The cost of an offer, in messages: each makes a peer connection, and the media thread that makes it forwards others'
/// packets meanwhile. An offer for another browser is as long.
const OFFER_COST: u32 = 10;

/// A client's socket; numbered as they open, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// The credentials of a client.
#[derive(Debug, Clone)]
pub enum ClientCredentials {
    /// No token.
    Nothing,
    /// A token that isn't one of this node's, or has expired.
    Refused,
    /// A valid token of a client.
    Claims(Box<CallGatewayClaims>),
    /// Another node's, that pulls.
    Pull(Box<PullClaims>),
}

/// An input of the group calls.
#[derive(Debug, Clone)]
pub enum Input {
    /// A socket has opened.
    Opened(SocketId, ClientCredentials),
    /// A message, and what its token says if it has one.
    Message(SocketId, Result<Message, Unreadable>, ClientCredentials),
    /// A socket has closed.
    Closed(SocketId),
    /// The client has answered a ping.
    Alive(SocketId),
    /// A session over HTTP has begun: it has no socket, but a socket's number.
    Began(SocketId, Session),
    /// A session's offer with new ICE credentials.
    Restarted(SocketId, String),
    /// A notice of the media.
    Notice(Notice),
    /// An order of a gateway.
    Control(ToNode),
    /// A link to another node says something.
    Linked(LinkId, LinkEvent),
    /// The node is going to stop: no new rooms.
    Drain,
    /// The node stops.
    Stop,
    /// Time has passed.
    Tick,
}

/// An effect of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Sends a message.
    Send(SocketId, Reply),
    /// After all that was sent before. The socket is forgotten: it may be closed without [`Input::Closed`].
    Close(SocketId, Close),
    /// Asks for a sign of life: [`Input::Alive`], if there is any.
    Probe(SocketId),
    /// A command for the media.
    Media(Command),
    /// A command for a link to another node.
    Link(LinkId, LinkCommand),
    /// The conference is at those nodes too, and at no others.
    Cascade(ConfId, Vec<RemoteNode>),
}

/// The section `limits`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The node's own id: what comes from here isn't pulled from elsewhere.
    pub node: String,
    /// Rooms at once.
    pub rooms: usize,
    /// Members of one room.
    pub members: usize,
    /// Connections of one socket: what it sends, and what it receives.
    pub streams: usize,
    /// How long a socket may be open without being in a room, in milliseconds.
    pub join_ms: u64,
    /// Messages a minute of one socket.
    pub messages_per_minute: u32,
    /// Whether clients without a token are admitted, to rooms apart.
    pub open: bool,
    /// Whether the media can hold back one track of a connection and let it through again.
    pub holds_tracks: bool,
    /// Whether a sender may offer another codec while others watch, who see it over the connections that they have.
    pub changes_codecs: bool,
}

/// How many there are now; other nodes' sockets aren't counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomCounts {
    /// Open sockets.
    pub sockets: usize,
    /// Open rooms.
    pub rooms: usize,
    /// Members in rooms.
    pub members: usize,
}

struct Socket {
    credentials: ClientCredentials,
    /// Since when it is open, or in no room any more.
    idle_since: u64,
    /// It is a session over HTTP, for one connection: that ends with it, and it with that.
    session: bool,
    membership: Option<Membership>,
    /// The request that is carried out when the roster is known to have the member.
    wanted: Option<Wanted>,
}

/// A socket's place in a room.
#[derive(Debug, Clone)]
struct Membership {
    room: RoomId,
    name: MemberId,
    streams: Streams,
    /// The stream of a viewer that only watches. It is no member: the others don't know of it.
    watches: Option<StreamId>,
    /// Another node's: nobody in the room knows of it.
    pulls: bool,
}

/// The whole state of a node's group calls. Owned by the node's task.
pub struct Group {
    /// Of the input that is being handled, ms since 1970.
    date: u64,
    limits: Limits,
    sockets: HashMap<SocketId, Socket>,
    rooms: HashMap<RoomId, Room>,
    endpoints: HashMap<EndpointId, Endpoint>,
    next_endpoint: u64,
    bans: Bans,
    permits: Permits,
    /// For whose place each socket waits.
    waiting: Vec<(RoomId, MemberId, SocketId)>,
    /// Other nodes that pull from here.
    pipe_consumers: HashMap<RoomId, Vec<PipeConsumer>>,
    /// Streams that are pulled from other nodes.
    pulled_streams: PulledStreams,
    budget: Limiter<SocketId>,
    draining: bool,
    out: Vec<Output>,
}

impl Group {
    /// No rooms yet.
    pub fn new(limits: Limits) -> Self {
        let rate = Rate::per_minute(limits.messages_per_minute);
        Self {
            date: 0,
            limits,
            sockets: HashMap::new(),
            rooms: HashMap::new(),
            endpoints: HashMap::new(),
            next_endpoint: 0,
            bans: Bans::default(),
            permits: Permits::default(),
            waiting: Vec::new(),
            pipe_consumers: HashMap::new(),
            pulled_streams: PulledStreams::default(),
            budget: Limiter::new(rate, BUDGETS),
            draining: false,
            out: Vec::new(),
        }
    }

    /// Takes one input. Within, `now` is of the monotonic clock; the date is for what tokens say.
    pub fn handle(&mut self, now: impl Into<Now>, input: Input) -> Vec<Output> {
        let Now { date, moment } = now.into();
        self.date = date;
        let now = moment.ms();
        match input {
            Input::Opened(socket, credentials) => {
                let open = Socket { credentials, idle_since: now, session: false, membership: None, wanted: None };
                self.sockets.insert(socket, open);
            }
            Input::Message(socket, message, credentials) => self.on_message(now, socket, message, credentials),
            Input::Closed(socket) => {
                self.leave(now, socket);
                self.sockets.remove(&socket);
            }
            Input::Began(socket, session) => self.begin(now, socket, session),
            Input::Restarted(socket, offer) => self.restart(socket, offer),
            Input::Notice(notice) => self.notice(notice),
            Input::Control(order) => self.order(now, order),
            Input::Alive(_) => {}
            Input::Linked(link, event) => self.linked(link, event),
            Input::Drain => self.draining = true,
            Input::Stop => self.stop(),
            Input::Tick => self.tick(now),
        }
        std::mem::take(&mut self.out)
    }

    /// The counts now.
    pub fn counts(&self) -> RoomCounts {
        let members = self.rooms.values().map(|room| room.members.len()).sum();
        let pulls = |socket: &&Socket| socket.membership.as_ref().is_some_and(|membership| membership.pulls);
        let sockets = self.sockets.len() - self.sockets.values().filter(pulls).count();
        RoomCounts { sockets, rooms: self.rooms.len(), members }
    }

    /// Whether a stream of that name is in the room.
    pub fn knows(&self, space: RoomNamespace, conf: &ConfId, stream: &StreamId) -> bool {
        self.rooms.get(&space.room(conf.as_str())).is_some_and(|room| room.knows(stream))
    }

    fn on_message(
        &mut self,
        now: u64,
        socket: SocketId,
        message: Result<Message, Unreadable>,
        credentials: ClientCredentials,
    ) {
        if !self.sockets.contains_key(&socket) {
            // The client sent this before it learned that its socket is closed.
            return;
        }
        let described = |signal: &Signal| matches!(signal, Signal::Description(_));
        let pulls = self.membership(socket).is_some_and(|membership| membership.pulls);
        let cost = match &message {
            Ok(Message::ReceiveVideoFrom { .. } | Message::ReceiveVideoAnswer { .. }) if !pulls => OFFER_COST,
            Ok(Message::Signal { signal, .. }) if described(signal) => OFFER_COST,
            _ => 1,
        };
        if (0..cost).any(|_| self.budget.allow(&socket, Moment::at(now)).is_err()) {
            return self.dismiss(now, socket, Code::TooMany, Close::TooMany);
        }
        match message {
            Ok(Message::JoinRoom { room, name, .. }) => self.join(now, socket, &room, &name, credentials),
            Ok(Message::ReceiveVideoFrom { sender, sdp_offer }) => self.offered(socket, &sender, sdp_offer),
            Ok(Message::ReceiveVideoAnswer { sender, sdp_answer }) => self.client_answered(socket, &sender, sdp_answer),
            Ok(Message::OnIceCandidate { name: Some(name), candidate }) => {
                self.candidate(socket, &name, candidate.map(|c| c.candidate).unwrap_or_default());
            }
            Ok(Message::CancelVideoFrom { sender }) => self.cancel(socket, &sender),
            Ok(Message::View { sender, width, height }) => self.view(socket, &sender, width, height),
            Ok(Message::Signal { to, signal }) => self.signal(socket, &to, signal),
            Ok(Message::Mode { mode: CallMode::Group, reason }) => {
                self.relay(socket, reason.unwrap_or(Relayed::Unable));
            }
            Ok(Message::LeaveRoom) => self.leave(now, socket),
            Ok(Message::Unknown) => {}
            // Of the one-to-one call, for which the socket left this one unless it is in a room; or else no member's
            // to say.
            Ok(_) | Err(Unreadable) => self.error(socket, Code::BadMessage, None),
        }
    }

    /// Lets a socket go that is in no room: it holds calls of another kind. Gives what it showed when it opened.
    pub fn release(&mut self, socket: SocketId) -> Option<ClientCredentials> {
        self.sockets.get(&socket).filter(|socket| socket.membership.is_none())?;
        self.sockets.remove(&socket).map(|socket| socket.credentials)
    }

    fn tick(&mut self, now: u64) {
        self.bans.forget(self.date);
        self.forget_waiting();
        let due = |socket: &Socket| {
            let is_free = self.limits.open && matches!(socket.credentials, ClientCredentials::Nothing);
            let waits_for_a_person = is_free && socket.wanted.is_none();
            socket.membership.is_none()
                && !waits_for_a_person
                && now.saturating_sub(socket.idle_since) >= self.limits.join_ms
        };
        let late: Vec<SocketId> = self.sockets.iter().filter(|(_, socket)| due(socket)).map(|(id, _)| *id).collect();
        for socket in late {
            self.dismiss(now, socket, Code::Unauthorized, Close::Unauthorized);
        }
    }

    fn stop(&mut self) {
        self.draining = true;
        let rooms: Vec<RoomId> = self.rooms.keys().chain(self.pipe_consumers.keys()).cloned().collect();
        for room in rooms {
            self.disband(&room, None, Close::GoingAway);
        }
        let rest = std::mem::take(&mut self.sockets);
        self.out.extend(rest.into_keys().map(|socket| Output::Close(socket, Close::GoingAway)));
    }

    /// Says why, and ends the socket.
    fn dismiss(&mut self, now: u64, socket: SocketId, code: Code, close: Close) {
        self.error(socket, code, None);
        self.end(now, socket, close);
    }

    fn end(&mut self, now: u64, socket: SocketId, close: Close) {
        self.out.push(Output::Close(socket, close));
        self.leave(now, socket);
        self.sockets.remove(&socket);
    }

    fn error(&mut self, socket: SocketId, code: Code, name: Option<String>) {
        self.send(socket, Reply::Error { code, message: code.words(), name });
    }

    fn send(&mut self, socket: SocketId, reply: Reply) {
        self.out.push(Output::Send(socket, reply));
    }

    fn media(&mut self, command: Command) {
        self.out.push(Output::Media(command));
    }
}
