//! Streams that are pulled from other nodes: one for each of their members that isn't here, shown to the members here
//! as any other participant's. Each comes over one connection, however many watch it, and from one link, however many
//! links have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use confgate_sfu::protocol::{Command, EndpointId, MemberId, RoomId, Source, StreamId};

use super::names::{RoomNamespace, name_of};
use super::remote::LinkId;
use super::remote::Remote;
use super::roster::Room;
use super::{Group, Output};
use crate::ids::ConfId;
use crate::media::message::{Relayed, Reply};

/// Nodes that a stream may have come through: by hand, one node after the other.
const ROUTE_MAX: usize = 16;

/// A link's report about the other node's streams. They have their local names.
#[derive(Debug, Clone)]
pub enum LinkEvent {
    /// `by_hand`: what it has is pulled even while nobody is here.
    Opened {
        /// The room namespace.
        space: RoomNamespace,
        /// The room.
        room: ConfId,
        /// Whether an operator asked for it.
        by_hand: bool,
    },
    /// The other node has the stream.
    Has(StreamId),
    /// The other node has the stream no more.
    Lacks(StreamId),
    /// To [`LinkCommand::Offer`]; `route`: the nodes that the stream has come through.
    Answered {
        /// The stream's name as the client knows it.
        stream: StreamId,
        /// The SDP answer.
        answer: String,
        /// The nodes that the stream has come through.
        route: Vec<String>,
    },
    /// The link is gone.
    Closed,
}

/// A request to a link, or a report to it.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkCommand {
    /// An offer to receive the stream.
    Offer {
        /// The stream.
        stream: StreamId,
        /// The SDP offer.
        offer: String,
    },
    /// The stream isn't received any more.
    Cancel(StreamId),
    /// Its media flows.
    Flows(StreamId),
    /// It can't be received now: [`LinkEvent::Has`] some time later begins it anew.
    Failed(StreamId),
    /// It comes from this node itself.
    Loops(StreamId),
    /// The room is over.
    End,
}

#[derive(Default)]
pub(super) struct PulledStreams {
    /// By room; each with what it has.
    links: HashMap<RoomId, BTreeMap<LinkId, Link>>,
    rooms: HashMap<LinkId, RoomId>,
    endpoints: HashMap<EndpointId, (RoomId, StreamId)>,
}

struct Link {
    by_hand: bool,
    has: BTreeSet<StreamId>,
}

impl PulledStreams {
    pub fn has(&self, endpoint: EndpointId) -> bool {
        self.endpoints.contains_key(&endpoint)
    }

    fn link_mut(&mut self, link: LinkId) -> Option<(RoomId, &mut Link)> {
        let room = self.rooms.get(&link)?.clone();
        let link = self.links.get_mut(&room)?.get_mut(&link)?;
        Some((room, link))
    }

    fn remove(&mut self, link: LinkId) -> Option<(RoomId, Link)> {
        let room = self.rooms.remove(&link)?;
        let links = self.links.get_mut(&room)?;
        let gone = links.remove(&link)?;
        if links.is_empty() {
            self.links.remove(&room);
        }
        Some((room, gone))
    }

    /// The streams that the room's links have, of that member or of all.
    fn streams(&self, room: &RoomId, member: Option<&MemberId>) -> BTreeSet<StreamId> {
        let all = self.links.get(room).into_iter().flat_map(BTreeMap::values).flat_map(|link| &link.has);
        all.filter(|stream| member.is_none_or(|member| stream.member == *member)).cloned().collect()
    }

    /// The link that is to bring the stream: the one that does, while it can.
    fn source(&self, room: &RoomId, stream: &StreamId, now: Option<LinkId>, is_empty: bool) -> Option<LinkId> {
        let links = self.links.get(room)?;
        let serves = |link: &Link| link.has.contains(stream) && (link.by_hand || !is_empty);
        now.filter(|link| links.get(link).is_some_and(serves))
            .or_else(|| links.iter().find(|(_, link)| serves(link)).map(|(id, _)| *id))
    }
}

impl Group {
    pub(super) fn linked(&mut self, id: LinkId, event: LinkEvent) {
        let most = self.streams_of_a_room();
        match event {
            LinkEvent::Opened { space, room, by_hand } => {
                let room = space.room(room.as_str());
                self.pulled_streams.rooms.insert(id, room.clone());
                self.pulled_streams.links.entry(room).or_default().insert(id, Link { by_hand, has: BTreeSet::new() });
            }
            LinkEvent::Has(stream) => {
                let Some((room, link)) = self.pulled_streams.link_mut(id) else { return };
                if link.has.len() < most && link.has.insert(stream.clone()) {
                    self.reconcile(&room, &stream);
                }
            }
            LinkEvent::Lacks(stream) => self.lacks(id, &stream),
            LinkEvent::Answered { stream, answer, route } => self.feed_answered(id, &stream, answer, route),
            LinkEvent::Closed => {
                let Some((room, gone)) = self.pulled_streams.remove(id) else { return };
                for stream in gone.has {
                    self.reconcile(&room, &stream);
                }
            }
        }
    }

    fn lacks(&mut self, id: LinkId, stream: &StreamId) {
        let Some((room, link)) = self.pulled_streams.link_mut(id) else { return };
        link.has.remove(stream);
        self.reconcile(&room, stream);
    }

    /// The room has its first member, or none any more.
    pub(super) fn reconcile_all(&mut self, id: &RoomId) {
        for stream in self.pulled_streams.streams(id, None) {
            self.reconcile(id, &stream);
        }
    }

    /// The member is no longer here, and may be elsewhere.
    pub(super) fn reconcile_member(&mut self, id: &RoomId, member: &MemberId) {
        for stream in self.pulled_streams.streams(id, Some(member)) {
            self.reconcile(id, &stream);
        }
    }

    /// A member that is here isn't elsewhere.
    pub(super) fn yield_streams(&mut self, id: &RoomId, member: &MemberId) {
        let Some(room) = self.rooms.get(id) else { return };
        let theirs = room.remotes.iter().map(|remote| &remote.stream).filter(|stream| stream.member == *member);
        let mut theirs: Vec<StreamId> = theirs.cloned().collect();
        // The screen first: it is the member's.
        theirs.sort_by(|a, b| b.cmp(a));
        for stream in theirs {
            self.end_remote(id, &stream, true);
        }
    }

    /// Begins or ends what is to be received of that stream, by what is so now.
    fn reconcile(&mut self, id: &RoomId, stream: &StreamId) {
        let room = self.rooms.get(id);
        let now = room.and_then(|room| room.remote(stream)).map(|remote| remote.link);
        let is_here = room.is_some_and(|room| room.member(&stream.member).is_some());
        let is_empty = room.is_none_or(|room| room.members.is_empty());
        let wanted = if is_here { None } else { self.pulled_streams.source(id, stream, now, is_empty) };
        if now == wanted {
            return;
        }
        if now.is_some() {
            self.end_remote(id, stream, true);
        }
        if let Some(link) = wanted {
            self.begin_remote(link, id, stream);
        }
        self.dissolve(id);
    }

    fn begin_remote(&mut self, link: LinkId, id: &RoomId, stream: &StreamId) {
        if !self.rooms.contains_key(id) && (self.draining || self.rooms.len() >= self.limits.rooms) {
            return self.failed(link, stream);
        }
        let endpoint = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        let room = self.rooms.entry(id.clone()).or_insert_with(|| Room::new(RoomNamespace::of_pulled(id), false));
        room.remotes.push(Remote { stream: stream.clone(), link, endpoint, offered: true, route: None });
        self.pulled_streams.endpoints.insert(endpoint, (id.clone(), stream.clone()));
        // The other node enforces it; so does this one, should the other not have heard yet.
        self.notify_forwarded(id, stream.clone());
        self.media(Command::Pull { room: id.clone(), endpoint, stream: stream.clone() });
    }

    /// `close`: the media doesn't know yet.
    fn end_remote(&mut self, id: &RoomId, stream: &StreamId, close: bool) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(at) = room.remotes.iter().position(|remote| remote.stream == *stream) else { return };
        let gone = room.remotes.remove(at);
        let spoke = stream.source == Source::Camera && room.speaker.take_if(|name| *name == stream.member).is_some();
        let members: Vec<_> = room.members.iter().map(|member| member.socket).collect();
        self.pulled_streams.endpoints.remove(&gone.endpoint);
        if gone.is_known() {
            let sockets = self.notified_sockets(id, stream, false);
            self.unannounce(&sockets, stream);
            self.end_viewers(id, stream);
        }
        if spoke {
            self.send_to(&members, &Reply::Speaker { name: None });
        }
        if close {
            self.media(Command::Close { endpoint: gone.endpoint });
        }
        if self.pulled_streams.rooms.contains_key(&gone.link) {
            self.out.push(Output::Link(gone.link, LinkCommand::Cancel(stream.clone())));
        }
    }

    /// Whether an operator has it pulled: then it needs no member of the roster's.
    pub(super) fn is_by_hand(&self, id: &RoomId, stream: &StreamId) -> bool {
        let link = self.rooms.get(id).and_then(|room| room.remote(stream)).map(|remote| remote.link);
        let links = self.pulled_streams.links.get(id);
        link.and_then(|link| links?.get(&link)).is_some_and(|link| link.by_hand)
    }

    /// The link says later whether it still has it.
    fn failed(&mut self, link: LinkId, stream: &StreamId) {
        if let Some((_, known)) = self.pulled_streams.link_mut(link) {
            known.has.remove(stream);
            self.out.push(Output::Link(link, LinkCommand::Failed(stream.clone())));
        }
    }

    pub(super) fn feed_offers(&mut self, endpoint: EndpointId, offer: String) {
        let Some((room, stream)) = self.pulled_streams.endpoints.get(&endpoint).cloned() else { return };
        let remotes = self.rooms.get_mut(&room).map(|room| &mut room.remotes);
        let Some(remote) = remotes.and_then(|all| all.iter_mut().find(|remote| remote.stream == stream)) else {
            return;
        };
        remote.offered = true;
        let link = remote.link;
        self.out.push(Output::Link(link, LinkCommand::Offer { stream, offer }));
    }

    pub(super) fn feed_flows(&mut self, endpoint: EndpointId) {
        if let Some((link, stream)) = self.feed(endpoint) {
            self.out.push(Output::Link(link, LinkCommand::Flows(stream)));
        }
    }

    /// The media has ended the connection, or never begun it.
    pub(super) fn feed_lost(&mut self, endpoint: EndpointId) {
        let Some((room, stream)) = self.pulled_streams.endpoints.get(&endpoint).cloned() else { return };
        let Some((link, _)) = self.feed(endpoint) else { return };
        self.end_remote(&room, &stream, false);
        self.failed(link, &stream);
        self.reconcile(&room, &stream);
        self.dissolve(&room);
    }

    fn feed(&self, endpoint: EndpointId) -> Option<(LinkId, StreamId)> {
        let (room, stream) = self.pulled_streams.endpoints.get(&endpoint)?;
        let remote = self.rooms.get(room)?.remote(stream)?;
        Some((remote.link, stream.clone()))
    }

    fn feed_answered(&mut self, link: LinkId, stream: &StreamId, answer: String, route: Vec<String>) {
        let Some((id, _)) = self.pulled_streams.link_mut(link) else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let waits = |remote: &&mut Remote| remote.stream == *stream && remote.link == link && remote.offered;
        let Some(remote) = room.remotes.iter_mut().find(waits) else { return };
        if route.len() > ROUTE_MAX || route.contains(&self.limits.node) {
            self.lacks(link, stream);
            return self.out.push(Output::Link(link, LinkCommand::Loops(stream.clone())));
        }
        remote.offered = false;
        let was_known = remote.route.replace(route).is_some();
        let endpoint = remote.endpoint;
        self.media(Command::Answered { endpoint, answer });
        if was_known {
            return;
        }
        // Nobody carries signalling from node to node.
        self.relay_room(&id, Relayed::Unable);
        let sockets = self.notified_sockets(&id, stream, false);
        self.send_to(&sockets, &Reply::NewParticipantArrived { name: name_of(stream) });
    }

    /// The room is gone, and with it all that was received for it.
    pub(super) fn forget_remotes(&mut self, remotes: &[Remote]) {
        for Remote { endpoint, stream, link, .. } in remotes {
            self.pulled_streams.endpoints.remove(endpoint);
            if self.pulled_streams.rooms.contains_key(link) {
                self.failed(*link, stream);
            }
        }
    }

    pub(super) fn end_links(&mut self, id: &RoomId) {
        for link in self.pulled_streams.links.remove(id).unwrap_or_default().into_keys() {
            self.pulled_streams.rooms.remove(&link);
            self.out.push(Output::Link(link, LinkCommand::End));
        }
    }
}

#[cfg(test)]
impl PulledStreams {
    pub fn connections(&self) -> impl Iterator<Item = EndpointId> {
        self.endpoints.keys().copied()
    }
}
