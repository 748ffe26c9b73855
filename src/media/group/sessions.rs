//! Sessions over HTTP: a publisher (WHIP) is a member as any other; a viewer (WHEP) watches one stream of a room, and
//! its members are told nothing of them. Either ends with its one connection.

use confgate_sfu::protocol::{Command, MemberId, RoomId, Source, StreamId};
use confgate_sfu::sdp::{VideoCodecs, without_video};

use super::admission::AdmissionError;
use super::names::name_of;
use super::remote::Remote;
use super::roster::Room;
use super::streams::Streams;
use super::viewer::Purpose;
use super::viewer::Session;
use super::viewer::Viewer;
use super::waiting::Wanted;
use super::{ClientCredentials, Group, Membership, Output, Socket, SocketId};
use crate::http::ws::send_queue::Close;
use crate::media::message::Code;

impl Group {
    pub(super) fn begin(&mut self, now: u64, socket: SocketId, session: Session) {
        let Session { claims, purpose, offer } = session;
        let open = Socket {
            credentials: ClientCredentials::Claims(claims),
            idle_since: now,
            session: true,
            membership: None,
            wanted: None,
        };
        self.sockets.insert(socket, open);
        self.begin_session(now, socket, purpose, offer);
    }

    pub(super) fn begin_session(&mut self, now: u64, socket: SocketId, purpose: Purpose, offer: String) {
        let ClientCredentials::Claims(claims) = self.presented(socket, ClientCredentials::Nothing) else { return };
        let (room, name) = (claims.conf_id.to_string(), claims.user_id.to_string());
        if matches!(self.admit(&room, &name, ClientCredentials::Claims(claims)), Err(AdmissionError::NotYet)) {
            return self.wait(now, socket, (&room, &name), Wanted::Session { purpose, offer });
        }
        match purpose {
            Purpose::Publish => {
                self.join(now, socket, &room, &name, ClientCredentials::Nothing);
                if self.membership(socket).is_some() {
                    self.offered(socket, &name, offer);
                }
            }
            Purpose::Watch(stream) => self.watch(now, socket, (&room, &name), stream.as_deref(), offer),
        }
    }

    fn watch(&mut self, now: u64, socket: SocketId, at: (&str, &str), stream: Option<&str>, offer: String) {
        let credentials = self.presented(socket, ClientCredentials::Nothing);
        let admitted = match self.admit(at.0, at.1, credentials) {
            Ok(admitted) => admitted,
            Err(barred) => return self.ban(now, socket, barred),
        };
        let (id, name) = (admitted.room, admitted.name);
        let (Some(stream), Some(token)) = (self.live(&id, stream), admitted.token) else {
            return self.end_session(socket, Code::NotLive, Close::Later);
        };
        let Some(offer) = self.answerable(&id, &stream, offer) else {
            return self.end_session(socket, Code::NoCommonCodec, Close::Later);
        };
        let viewers = &self.rooms[&id].viewers;
        let full = viewers.len() >= self.limits.members;
        let older = viewers.iter().find(|viewer| viewer.name == name && viewer.stream == stream);
        match older.map(|viewer| viewer.socket) {
            Some(older) => self.end_session(older, Code::Replaced, Close::TakenOver),
            None if full => {
                return self.end_session(socket, Code::Overloaded, Close::Later);
            }
            None => {}
        }
        let watched = name_of(&stream);
        let viewer = Viewer { name: name.clone(), socket, token, stream: stream.clone() };
        self.rooms.get_mut(&id).expect("it has a live stream").viewers.push(viewer);
        if let Some(open) = self.sockets.get_mut(&socket) {
            open.membership =
                Some(Membership { room: id, name, streams: Streams::default(), watches: Some(stream), pulls: false });
        }
        self.offered(socket, &watched, offer);
    }

    /// The offer that can be answered: without its picture, where no codec of the stream's is in it. `None`: nothing of it
    /// can be had.
    fn answerable(&self, id: &RoomId, stream: &StreamId, offer: String) -> Option<String> {
        let offered = VideoCodecs::of(&offer);
        if offered.is_empty() || self.can_show(id, stream, &offered) { Some(offer) } else { without_video(&offer) }
    }

    /// The stream of that name, or the room's main one, if it is sent now.
    fn live(&self, id: &RoomId, wanted: Option<&str>) -> Option<StreamId> {
        let room = self.rooms.get(id)?;
        if let Some(name) = wanted {
            return Some(room.space.stream(name)).filter(|stream| self.is_sent(room, stream));
        }
        let camera = |member: &MemberId| StreamId { member: member.clone(), source: Source::Camera };
        let sent: Vec<_> = room.members.iter().filter(|member| self.is_sent(room, &camera(&member.name))).collect();
        let by_session = sent.iter().find(|member| self.is_session(member.socket));
        let speaking = sent.iter().find(|member| room.speaker.as_ref() == Some(&member.name));
        by_session.or(speaking).or(sent.first()).map(|member| camera(&member.name))
    }

    fn is_sent(&self, room: &Room, stream: &StreamId) -> bool {
        if room.remote(stream).is_some_and(Remote::is_known) {
            return true;
        }
        let sender = room.member(&stream.member).and_then(|member| self.membership(member.socket));
        let endpoint = sender.and_then(|membership| self.endpoints.get(&membership.streams.of(stream)?));
        endpoint.is_some_and(|endpoint| endpoint.answered)
    }

    pub(super) fn is_session(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|open| open.session)
    }

    /// Offers the session's connection anew, with other ICE credentials.
    pub(super) fn restart(&mut self, socket: SocketId, offer: String) {
        let connection = self.membership(socket).and_then(|membership| membership.streams.endpoints().next());
        let Some(id) = connection else { return };
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.restarts = true;
            // A picture that was refused stays so.
            let refused = if endpoint.watches_no_picture() { without_video(&offer) } else { None };
            let offer = refused.unwrap_or(offer);
            self.media(Command::Renegotiate { endpoint: id, offer });
        }
    }

    /// Nobody sends the stream any more: whoever watches it is to ask again.
    pub(super) fn end_viewers(&mut self, room: &RoomId, stream: &StreamId) {
        let viewers = self.rooms.get(room).map(|room| room.viewers.as_slice()).unwrap_or_default();
        let over: Vec<SocketId> =
            viewers.iter().filter(|viewer| viewer.stream == *stream).map(|viewer| viewer.socket).collect();
        for socket in over {
            self.end_session(socket, Code::NotLive, Close::Later);
        }
    }

    pub(super) fn end_session(&mut self, socket: SocketId, code: Code, close: Close) {
        self.error(socket, code, None);
        self.out.push(Output::Close(socket, close));
        self.vacate(socket);
        self.sockets.remove(&socket);
    }
}
