//! Connections: one for each stream that a client sends or receives.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use confgate_sfu::protocol::{Command, EndpointId, MemberId, Notice, Reason, Refusal, RoomId, Source, StreamId};
use confgate_sfu::sdp::VideoCodecs;

use super::names::{RoomNamespace, name_of};
use super::{Group, Membership, SocketId};
use crate::http::ws::send_queue::Close;
use crate::media::message::{Candidate, Code, Relayed, Reply};

/// Candidates of one connection, each way: a browser with many interfaces and several TURN servers has some 40.
pub(super) const CANDIDATES: usize = 128;
/// Longest name that is said back in an error, in bytes: a member's with their screen's ending is shorter.
const NAME_BACK: usize = 128;

/// The connections of one socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams {
    open: HashMap<StreamId, EndpointId>,
    /// Candidates that came before their offer.
    early: HashMap<StreamId, Vec<String>>,
    /// Streams that are sent here.
    pub sendable: HashMap<StreamId, Sendable>,
}

impl Streams {
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointId> + use<> {
        let mut all: Vec<EndpointId> = self.open.values().copied().collect();
        all.sort_unstable();
        all.into_iter()
    }

    pub fn of(&self, stream: &StreamId) -> Option<EndpointId> {
        self.open.get(stream).copied()
    }
}

/// A stream that a member can send while they are in the room.
#[derive(Debug, Clone, Default)]
pub(super) struct Sendable {
    /// Of all offers that they made: one that has a single codec was asked for.
    pub codecs: VideoCodecs,
    /// Connections of viewers who don't decode what is sent.
    pub lacking: Vec<EndpointId>,
    /// Viewers for whom another codec was asked for.
    pub asked_for: Vec<MemberId>,
}

/// One connection, between the offer and its end.
pub(super) struct Endpoint {
    pub socket: SocketId,
    pub stream: StreamId,
    publishes: bool,
    /// The client made no offer: the media is to.
    requests_offer: bool,
    pub answered: bool,
    /// A second offer waits for its answer.
    pub restarts: bool,
    /// The codecs that a viewer decodes.
    pub codecs: VideoCodecs,
    /// Candidates of the client that were passed on.
    candidates: usize,
    /// Candidates of the node that came before its answer.
    held: Vec<Reply>,
}

impl Endpoint {
    /// Of a viewer.
    pub fn watches_no_picture(&self) -> bool {
        !self.publishes && self.codecs.is_empty()
    }
}

/// A stream's name as a client says it, resolved in their room.
struct Named {
    room: RoomId,
    viewer: MemberId,
    stream: StreamId,
    own: bool,
    /// Whether the client was told of it.
    known: bool,
}

impl Group {
    fn named(&self, socket: SocketId, name: &str) -> Option<Named> {
        let Membership { room: id, name: viewer, watches, pulls, .. } = self.membership(socket)?;
        let room = self.rooms.get(id);
        let stream = room.map_or(RoomNamespace::Conference, |room| room.space).stream(name);
        let is_member = watches.is_none() && !pulls;
        let own = is_member && stream.member == *viewer;
        let known = match watches {
            Some(watched) => *watched == stream,
            None if *pulls => self.is_pulled(id, socket, &stream) && room.is_some_and(|room| room.knows(&stream)),
            None => !own && room.is_some_and(|room| room.knows(&stream)),
        };
        Some(Named { room: id.clone(), viewer: viewer.clone(), stream, own, known })
    }

    /// An offer takes the place of the connection that there was for the stream.
    pub(super) fn offered(&mut self, socket: SocketId, sender: &str, offer: String) {
        // One's own stream nobody else can offer.
        let fits = |named: &Named| if offer.is_empty() { named.known } else { named.own || named.known };
        let Some(named) = self.named(socket, sender).filter(fits) else {
            let name = (sender.len() <= NAME_BACK).then(|| sender.to_owned());
            return self.error(socket, Code::BadMessage, name);
        };
        let pulls = self.membership(socket).is_some_and(|membership| membership.pulls);
        let is_awaited = named.own && self.is_session(socket);
        if !pulls && !is_awaited {
            // A member that asks the node for a connection doesn't wait for another member's.
            self.relay_room(&named.room, Relayed::Unable);
        }
        let limit = if pulls { self.streams_of_a_room() } else { self.limits.streams };
        let (endpoint, mut codecs) = (EndpointId(self.next_endpoint), VideoCodecs::of(&offer));
        let membership = self.membership_mut(socket).expect("the name was looked at from there");
        if membership.streams.open.len() >= limit && !membership.streams.open.contains_key(&named.stream) {
            return self.error(socket, Code::TooMany, Some(name_of(&named.stream)));
        }
        if named.own {
            membership.streams.sendable.entry(named.stream.clone()).or_default().offered(std::mem::take(&mut codecs));
        }
        let early = membership.streams.early.remove(&named.stream).unwrap_or_default();
        let replaced = membership.streams.open.insert(named.stream.clone(), endpoint);
        self.next_endpoint += 1;
        if let Some(endpoint) = replaced {
            self.endpoints.remove(&endpoint);
            self.media(Command::Close { endpoint });
        }
        let (stream, publishes, candidates) = (named.stream.clone(), named.own, early.len());
        let (requests_offer, answered, restarts, held) = (offer.is_empty(), false, false, Vec::new());
        let opened =
            Endpoint { socket, stream, publishes, requests_offer, answered, restarts, codecs, candidates, held };
        self.endpoints.insert(endpoint, opened);
        self.connect(endpoint, named, pulls, offer);
        for candidate in early {
            self.media(Command::Candidate { endpoint, candidate });
        }
    }

    fn connect(&mut self, endpoint: EndpointId, named: Named, pulls: bool, offer: String) {
        let Named { room, viewer, stream, own, .. } = named;
        if pulls {
            return self.media(Command::Forward { room, endpoint, viewer, stream, offer });
        }
        if !own {
            return self.media(Command::Subscribe { room, endpoint, viewer, stream, offer });
        }
        // Said before anything can flow: the node forgets it with the room.
        if self.rooms.get(&room).is_some_and(|room| room.space == RoomNamespace::Conference) {
            self.notify_forwarded(&room, stream.clone());
        }
        self.media(Command::Publish { room, endpoint, stream, offer });
    }

    /// Passes the client's candidate on, or keeps it until the offer comes. Empty: there are no more.
    pub(super) fn candidate(&mut self, socket: SocketId, name: &str, candidate: String) {
        // Late ones for somebody who has left are usual, and of no use.
        let Some(named) = self.named(socket, name).filter(|named| named.own || named.known) else { return };
        let limit = self.limits.streams;
        let streams = &mut self.membership_mut(socket).expect("the name was looked at from there").streams;
        if let Some(endpoint) = streams.open.get(&named.stream).copied() {
            let counted = &mut self.endpoints.get_mut(&endpoint).expect("open ones are known").candidates;
            if *counted < CANDIDATES {
                *counted += 1;
                self.media(Command::Candidate { endpoint, candidate });
            }
            return;
        }
        let waiting = streams.early.len();
        match streams.early.entry(named.stream) {
            Entry::Occupied(mut early) if early.get().len() < CANDIDATES => early.get_mut().push(candidate),
            Entry::Vacant(early) if waiting < limit => drop(early.insert(vec![candidate])),
            Entry::Occupied(_) | Entry::Vacant(_) => {}
        }
    }

    /// Ends what the client receives, or sends, under that name. Nothing of that name: nothing to end.
    pub(super) fn cancel(&mut self, socket: SocketId, sender: &str) {
        let Some(named) = self.named(socket, sender) else { return };
        self.forget_stream(socket, &named.stream);
        if named.own && named.stream.source == Source::Screen {
            self.end_screen(&named.room, &named.viewer);
        }
    }

    pub(super) fn view(&mut self, socket: SocketId, sender: &str, width: u32, height: u32) {
        let Some(named) = self.named(socket, sender).filter(|named| named.known) else { return };
        let membership = self.membership(socket).expect("the name was looked at from there");
        if let Some(endpoint) = membership.streams.open.get(&named.stream).copied() {
            self.media(Command::View { endpoint, width, height });
        }
    }

    /// Ends the socket's connection for the stream, if there is one.
    pub(super) fn forget_stream(&mut self, socket: SocketId, stream: &StreamId) {
        let Some(membership) = self.membership_mut(socket) else { return };
        let room = membership.room.clone();
        membership.streams.early.remove(stream);
        if let Some(endpoint) = membership.streams.open.remove(stream) {
            self.endpoints.remove(&endpoint);
            self.media(Command::Close { endpoint });
            self.settle_codec(&room, stream);
        }
    }

    fn end_screen(&mut self, id: &RoomId, member: &MemberId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(sharing) = room.member_mut(member).filter(|member| member.screen) else { return };
        sharing.screen = false;
        let (id, screen) = (id.clone(), StreamId { member: member.clone(), source: Source::Screen });
        let others = self.notified_sockets(&id, &screen, true);
        self.unannounce(&others, &screen);
        self.end_viewers(&id, &screen);
    }

    /// Handles a notice of the media. Notices about connections that were ended meanwhile are dropped.
    pub(super) fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Connected { endpoint } if !self.pulled_streams.has(endpoint) => {}
            Notice::Offer { endpoint, offer } if self.pulled_streams.has(endpoint) => self.feed_offers(endpoint, offer),
            Notice::Offer { endpoint, offer } => self.offer(endpoint, offer),
            Notice::Connected { endpoint } => self.feed_flows(endpoint),
            Notice::Refused { endpoint, .. } | Notice::Closed { endpoint, .. } if self.pulled_streams.has(endpoint) => {
                self.feed_lost(endpoint);
            }
            Notice::Answer { endpoint, answer } => self.answer(endpoint, answer),
            Notice::Candidate { endpoint, candidate, mid, mline } => {
                let candidate = Candidate { candidate, sdp_mid: Some(mid), sdp_mline_index: Some(mline) };
                self.node_candidate(endpoint, candidate);
            }
            Notice::Refused { endpoint, refusal } => {
                let requests_offer = self.endpoints.get(&endpoint).is_some_and(|endpoint| endpoint.requests_offer);
                let code = match refusal {
                    // Where the media answers, an offer is what is missing.
                    Refusal::BadSdp if requests_offer => Code::BadMessage,
                    Refusal::BadSdp => Code::BadSdp,
                    Refusal::PayloadTypes => Code::PayloadTypes,
                    Refusal::Overloaded => Code::Overloaded,
                    Refusal::BadEndpoint | Refusal::Unavailable => Code::Unavailable,
                };
                self.lost(endpoint, Some(code));
            }
            Notice::NoCommonCodec { viewer, publisher } => self.no_common_codec(viewer, publisher),
            Notice::Closed { endpoint, reason } => {
                let code = match reason {
                    Reason::Overload => Some(Code::Overloaded),
                    Reason::DtlsFailed => Some(Code::DtlsFailed),
                    Reason::IceFailed => Some(Code::IceFailed),
                    Reason::Hangup | Reason::Replaced => None,
                };
                self.lost(endpoint, code);
            }
            Notice::Speaker { room, member } => self.speaker(&room, member),
        }
    }

    /// The media offers the stream to a client who asked for that.
    fn offer(&mut self, id: EndpointId, offer: String) {
        let Some(endpoint) = self.endpoints.get_mut(&id).filter(|endpoint| !endpoint.answered) else { return };
        endpoint.answered = true;
        let (socket, stream) = (endpoint.socket, endpoint.stream.clone());
        let held = std::mem::take(&mut endpoint.held);
        self.send(socket, Reply::ReceiveVideoOffer { name: name_of(&stream), sdp_offer: offer });
        for candidate in held {
            self.send(socket, candidate);
        }
    }

    /// The client answers the media's offer.
    pub(super) fn client_answered(&mut self, socket: SocketId, sender: &str, answer: String) {
        let Some(named) = self.named(socket, sender).filter(|named| named.known) else { return };
        let streams = self.membership(socket).map(|membership| &membership.streams);
        if let Some(endpoint) = streams.and_then(|streams| streams.of(&named.stream)) {
            self.media(Command::Answered { endpoint, answer });
        }
    }

    fn answer(&mut self, id: EndpointId, answer: String) {
        let awaited = |endpoint: &&mut Endpoint| !endpoint.answered || endpoint.restarts;
        let Some(endpoint) = self.endpoints.get_mut(&id).filter(awaited) else { return };
        (endpoint.answered, endpoint.restarts) = (true, false);
        let (socket, stream, publishes) = (endpoint.socket, endpoint.stream.clone(), endpoint.publishes);
        let held = std::mem::take(&mut endpoint.held);
        self.notify_route(socket, &stream);
        self.send(socket, Reply::ReceiveVideoAnswer { name: name_of(&stream), sdp_answer: answer });
        for candidate in held {
            self.send(socket, candidate);
        }
        if publishes {
            self.announce(socket, &stream);
        }
    }

    /// Tells the others of what is sent, unless they know: the media has taken it.
    fn announce(&mut self, socket: SocketId, stream: &StreamId) {
        let Some(Membership { room: id, .. }) = self.membership(socket).cloned() else { return };
        let room = self.rooms.get_mut(&id).expect("a membership is in a room");
        let Some(member) = room.member_mut(&stream.member).filter(|member| !member.is_known(stream.source)) else {
            return;
        };
        match stream.source {
            Source::Camera => member.camera = true,
            Source::Screen => member.screen = true,
        }
        // A session has no browser to go straight to.
        self.relay_room(&id, Relayed::Unable);
        let others = self.notified_sockets(&id, stream, true);
        self.send_to(&others, &Reply::NewParticipantArrived { name: name_of(stream) });
    }

    fn node_candidate(&mut self, id: EndpointId, candidate: Candidate) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let reply = Reply::IceCandidate { name: name_of(&endpoint.stream), candidate };
        if endpoint.answered {
            let socket = endpoint.socket;
            self.send(socket, reply);
        } else if endpoint.held.len() < CANDIDATES {
            endpoint.held.push(reply);
        }
    }

    /// A connection that the media has ended by itself, or never begun.
    fn lost(&mut self, id: EndpointId, code: Option<Code>) {
        let Some(endpoint) = self.endpoints.remove(&id) else { return };
        let session = self.is_session(endpoint.socket);
        let membership = self.membership_mut(endpoint.socket).expect("a connection is of somebody in a room");
        // A second offer that is refused leaves the connection as it was: it ends with its session.
        if !(session && endpoint.restarts) {
            membership.streams.open.remove(&endpoint.stream);
        }
        if session {
            return self.end_session(endpoint.socket, code.unwrap_or(Code::Unavailable), Close::Later);
        }
        let room = membership.room.clone();
        if let Some(code) = code {
            self.error(endpoint.socket, code, Some(name_of(&endpoint.stream)));
        }
        if endpoint.publishes && endpoint.stream.source == Source::Screen {
            self.end_screen(&room, &endpoint.stream.member);
        }
        if !endpoint.publishes {
            self.settle_codec(&room, &endpoint.stream);
        }
    }

    /// Somebody else speaks, or nobody. A member that has left meanwhile does not speak.
    fn speaker(&mut self, room: &RoomId, member: Option<MemberId>) {
        let Some(room) = self.rooms.get_mut(room).filter(|room| room.has_speakers()) else { return };
        let camera = |name: &MemberId| StreamId { member: name.clone(), source: Source::Camera };
        let speaker = member.filter(|name| room.knows(&camera(name)));
        if room.speaker == speaker {
            return;
        }
        room.speaker.clone_from(&speaker);
        let all: Vec<SocketId> = room.members.iter().map(|member| member.socket).collect();
        self.send_to(&all, &Reply::Speaker { name: speaker.map(|name| name.to_string()) });
    }
}
