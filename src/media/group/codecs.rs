//! The codec of a picture that not every viewer decodes. The node transcodes nothing: it asks the sender for one that all
//! who watch now decode. Nothing is asked where there is none, and one viewer causes one change of a sender's codec at
//! most: whoever takes something exotic changes it for the others once.

use confgate_sfu::protocol::{EndpointId, MemberId, RoomId, StreamId};
use confgate_sfu::sdp::VideoCodecs;

use super::names::name_of;
use super::streams::{Endpoint, Sendable};
use super::{Group, SocketId};
use crate::media::message::{Code, Reply};

/// Viewers for whom one sender's codec is changed, as long as the sender is in the room.
const VIEWERS_MAX: usize = 8;

impl Sendable {
    /// Another offer: who lacks its codec is yet to be said.
    pub fn offered(&mut self, codecs: VideoCodecs) {
        self.codecs.add(codecs);
        self.lacking.clear();
    }
}

impl Group {
    /// Both are told of it; the rest of the stream goes on. For a pulled stream, the other node tells.
    pub(super) fn no_common_codec(&mut self, viewer: EndpointId, publisher: EndpointId) {
        for endpoint in [viewer, publisher] {
            let Some(Endpoint { socket, stream, .. }) = self.endpoints.get(&endpoint) else { continue };
            let (socket, name) = (*socket, name_of(stream));
            self.error(socket, Code::NoCommonCodec, Some(name));
        }
        let Some(Endpoint { socket, stream, .. }) = self.endpoints.get(&publisher) else { return };
        let (socket, stream) = (*socket, stream.clone());
        let Some(membership) = self.membership_mut(socket) else { return };
        let room = membership.room.clone();
        if let Some(sendable) = membership.streams.sendable.get_mut(&stream)
            && !sendable.lacking.contains(&viewer)
        {
            sendable.lacking.push(viewer);
        }
        self.settle_codec(&room, &stream);
    }

    /// Asks the stream's sender for another codec, if somebody who watches lacks what is sent and all decode that one.
    pub(super) fn settle_codec(&mut self, id: &RoomId, stream: &StreamId) {
        let Some(sender) = self.rooms.get(id).and_then(|room| room.member(&stream.member)) else { return };
        let socket = sender.socket;
        if !self.limits.changes_codecs || self.is_session(socket) {
            return;
        }
        let Some(sendable) = self.membership(socket).and_then(|membership| membership.streams.sendable.get(stream))
        else {
            return;
        };
        if sendable.lacking.is_empty() {
            return;
        }
        let viewers = self.viewers(id, stream, socket);
        let is_new = |name: &MemberId| !sendable.asked_for.contains(name);
        let lacking = viewers.iter().filter(|(_, endpoint, _)| sendable.lacking.contains(endpoint));
        let lacking: Vec<MemberId> = lacking.map(|(name, ..)| name.clone()).filter(is_new).collect();
        if lacking.is_empty() || sendable.asked_for.len() >= VIEWERS_MAX {
            return;
        }
        let taken = viewers.iter().map(|(.., codecs)| *codecs).filter(|codecs| !codecs.is_empty());
        let Some(codec) = sendable.codecs.taken_by_all(taken) else { return };
        let membership = self.membership_mut(socket).expect("it was looked at");
        if let Some(sendable) = membership.streams.sendable.get_mut(stream) {
            sendable.asked_for.extend(lacking);
            sendable.lacking.clear();
        }
        self.send(socket, Reply::PreferCodec { name: name_of(stream), codec });
    }

    /// The stream's viewers, with the connection and the codecs of each.
    fn viewers(&self, id: &RoomId, stream: &StreamId, sender: SocketId) -> Vec<(MemberId, EndpointId, &VideoCodecs)> {
        let room = self.rooms.get(id).into_iter().flat_map(|room| room.sockets());
        let pipe_consumers =
            self.pipe_consumers.get(id).into_iter().flatten().map(|pipe_consumer| pipe_consumer.socket);
        let of = |socket: SocketId| {
            let membership = self.membership(socket)?;
            let endpoint = membership.streams.of(stream)?;
            Some((membership.name.clone(), endpoint, &self.endpoints.get(&endpoint)?.codecs))
        };
        room.chain(pipe_consumers).filter(|socket| *socket != sender).filter_map(of).collect()
    }

    /// Whether who watches can have the picture: `offered` is what they decode. A member's page can be asked for another
    /// codec, a session's publisher can't.
    pub(super) fn can_show(&self, id: &RoomId, stream: &StreamId, offered: &VideoCodecs) -> bool {
        let sender = self.rooms.get(id).and_then(|room| room.member(&stream.member)).map(|sender| sender.socket);
        let sendable = sender.and_then(|socket| Some((socket, self.membership(socket)?.streams.sendable.get(stream)?)));
        let Some((socket, sendable)) = sendable.filter(|(_, sendable)| !sendable.codecs.is_empty()) else {
            return true;
        };
        let is_asked = self.limits.changes_codecs && !self.is_session(socket);
        match is_asked {
            true => sendable.codecs.has_common(offered),
            false => sendable.codecs.sent().has_common(offered),
        }
    }
}
