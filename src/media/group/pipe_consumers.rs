//! Other nodes that pull streams from here: each on a socket of its own, in no room's list, told of the streams that its
//! token is for as members are told of each other.

use confgate_sfu::protocol::{MemberId, RoomId, StreamId};

use super::names::{RoomNamespace, name_of};
use super::streams::Streams;
use super::{Group, Membership, SocketId};
use crate::http::ws::send_queue::Close;
use crate::media::message::{Code, Reply};
use crate::token::PullClaims;

/// Sockets of other nodes for one room: each node has one for the conference, or one for each stream by hand.
const PULLERS: usize = 1024;

pub(super) struct PipeConsumer {
    pub socket: SocketId,
    /// Of the token that admitted it: it serves once.
    nonce: String,
    /// The only stream that it may have; else all that are sent here.
    only: Option<StreamId>,
}

impl Group {
    /// The node comes in whether or not the stream is there: it is told when it comes.
    pub(super) fn welcome_puller(&mut self, now: u64, socket: SocketId, room: &str, claims: &PullClaims) {
        let is_over = !claims.flat && self.bans.is_over(&claims.conf_id);
        if claims.conf_id.as_str() != room || is_over {
            return self.dismiss(now, socket, Code::Unauthorized, Close::Unauthorized);
        }
        let id = RoomNamespace::of_token(claims.flat).room(room);
        let pipe_consumers = self.pipe_consumers.entry(id.clone()).or_default();
        if pipe_consumers.iter().any(|pipe_consumer| pipe_consumer.nonce == claims.nonce) {
            return self.dismiss(now, socket, Code::Unauthorized, Close::Unauthorized);
        }
        if pipe_consumers.len() >= PULLERS {
            return self.dismiss(now, socket, Code::Overloaded, Close::Later);
        }
        let only = claims.stream.as_deref().map(|name| RoomNamespace::Conference.stream(name));
        pipe_consumers.push(PipeConsumer { socket, nonce: claims.nonce.clone(), only: only.clone() });
        if let Some(open) = self.sockets.get_mut(&socket) {
            let name = MemberId::from(format!("pull/{}", claims.nonce));
            open.membership =
                Some(Membership { room: id.clone(), name, streams: Streams::default(), watches: None, pulls: true });
        }
        let data = self.rooms.get(&id).map_or_else(Vec::new, |room| match only {
            Some(stream) => room.knows(&stream).then(|| name_of(&stream)).into_iter().collect(),
            None => room.sent().map(|stream| name_of(&stream)).collect(),
        });
        self.send(socket, Reply::ExistingParticipants { data });
    }

    pub(super) fn forget_puller(&mut self, id: &RoomId, socket: SocketId) {
        let Some(pipe_consumers) = self.pipe_consumers.get_mut(id) else { return };
        pipe_consumers.retain(|pipe_consumer| pipe_consumer.socket != socket);
        if pipe_consumers.is_empty() {
            self.pipe_consumers.remove(id);
        }
    }

    pub(super) fn is_pulled(&self, id: &RoomId, socket: SocketId, stream: &StreamId) -> bool {
        let is_sent_here = self.rooms.get(id).is_some_and(|room| room.sends(stream));
        let pipe_consumers = self.pipe_consumers.get(id).map(Vec::as_slice).unwrap_or_default();
        pipe_consumers
            .iter()
            .any(|pipe_consumer| pipe_consumer.socket == socket && pipe_consumer.takes(stream, is_sent_here))
    }

    /// The sockets that are told of the stream: the other members, and the nodes that pull it.
    pub(super) fn notified_sockets(&self, id: &RoomId, stream: &StreamId, is_sent_here: bool) -> Vec<SocketId> {
        let members = self.rooms.get(id).map(|room| room.others(&stream.member)).unwrap_or_default();
        let pipe_consumers = self.pipe_consumers.get(id).map(Vec::as_slice).unwrap_or_default();
        let takers = pipe_consumers.iter().filter(|pipe_consumer| pipe_consumer.takes(stream, is_sent_here));
        members.into_iter().chain(takers.map(|pipe_consumer| pipe_consumer.socket)).collect()
    }

    /// Streams that there can be in a room: each member's camera and screen.
    pub(super) fn streams_of_a_room(&self) -> usize {
        2 * self.limits.members
    }

    /// Says to a node that pulls through which nodes the stream has come.
    pub(super) fn notify_route(&mut self, socket: SocketId, stream: &StreamId) {
        let Some(membership) = self.membership(socket).filter(|membership| membership.pulls) else { return };
        let remote = self.rooms.get(&membership.room).and_then(|room| room.remote(stream));
        let before = remote.and_then(|remote| remote.route.as_deref()).unwrap_or_default();
        let nodes = before.iter().chain([&self.limits.node]).cloned().collect();
        self.send(socket, Reply::Route { name: name_of(stream), nodes });
    }
}

impl PipeConsumer {
    /// A node of the same conference has what its members send only: what is pulled here it pulls from there itself.
    fn takes(&self, stream: &StreamId, is_sent_here: bool) -> bool {
        self.only.as_ref().map_or(is_sent_here, |only| only == stream)
    }
}
