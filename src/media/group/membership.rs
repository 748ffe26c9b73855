//! A room: who is in it, coming and going.

use confgate_sfu::protocol::{Command, MemberId, RoomId, Source, StreamId};

use super::admission::{AdmissionError, Admitted};
use super::names::RoomNamespace;
use super::names::name_of;
use super::roster::Member;
use super::roster::Room;
use super::streams::Streams;
use super::waiting::Wanted;
use super::{ClientCredentials, Group, Membership, Output, SocketId};
use crate::http::ws::send_queue::Close;
use crate::media::message::{Code, Reply};

impl Group {
    pub(super) fn join(&mut self, now: u64, socket: SocketId, room: &str, name: &str, credentials: ClientCredentials) {
        if self.membership(socket).is_some() {
            return self.error(socket, Code::BadMessage, None);
        }
        self.forget_wanted(socket);
        let credentials = self.presented(socket, credentials);
        if let ClientCredentials::Pull(claims) = credentials {
            return self.welcome_puller(now, socket, room, &claims);
        }
        let admitted = match self.admit(room, name, credentials.clone()) {
            Ok(admitted) => admitted,
            Err(AdmissionError::NotYet) => {
                let wanted = Wanted::Join { room: room.to_owned(), name: name.to_owned(), credentials };
                return self.wait(now, socket, (room, name), wanted);
            }
            Err(barred) => return self.ban(now, socket, barred),
        };
        let (known, full, seated) = match self.rooms.get(&admitted.room) {
            Some(room) => {
                let seated = room.member(&admitted.name).map(|member| member.socket);
                (true, room.members.len() >= self.limits.members, seated)
            }
            None => (false, self.rooms.len() >= self.limits.rooms, None),
        };
        if self.draining && !known {
            return self.dismiss(now, socket, Code::Unavailable, Close::GoingAway);
        }
        if full && seated.is_none() {
            return self.dismiss(now, socket, Code::Overloaded, Close::Later);
        }
        if let Some(older) = seated {
            self.dismiss(now, older, Code::Replaced, Close::TakenOver);
        }
        self.enter(socket, admitted);
    }

    pub(super) fn ban(&mut self, now: u64, socket: SocketId, barred: AdmissionError) {
        match &barred {
            AdmissionError::NotYet | AdmissionError::Unauthorized => self.error(socket, Code::Unauthorized, None),
            AdmissionError::Expelled => self.error(socket, Code::Expelled, None),
            AdmissionError::Ended => self.error(socket, Code::Ended, None),
            AdmissionError::Moved(url) => self.send(socket, Reply::Moved { url: url.clone() }),
        }
        self.end(now, socket, barred.close());
    }

    /// The others are told of the newcomer, then the newcomer of the others: in Kurento's order. A member with a session
    /// over HTTP may yet be refused by the media: the others are told of them when they are not.
    fn enter(&mut self, socket: SocketId, admitted: Admitted) {
        let by_session = self.is_session(socket);
        let Admitted { space, room: id, name, token, p2p } = admitted;
        self.yield_streams(&id, &name);
        let room = self.rooms.entry(id.clone()).or_insert_with(|| Room::new(space, p2p));
        let elsewhere = room.remotes.iter().filter(|remote| remote.is_known()).map(|remote| remote.stream.clone());
        let existing = room.sent().chain(elsewhere).map(|stream| name_of(&stream)).collect();
        let speaker = room.speaker.clone();
        let is_first = room.members.is_empty();
        room.members.push(Member { name: name.clone(), socket, token, camera: !by_session, screen: false });
        if !by_session {
            let own = StreamId { member: name.clone(), source: Source::Camera };
            let others = self.notified_sockets(&id, &own, true);
            self.send_to(&others, &Reply::NewParticipantArrived { name: name.to_string() });
        }
        self.send(socket, Reply::ExistingParticipants { data: existing });
        if let Some(open) = self.sockets.get_mut(&socket) {
            let streams = Streams::default();
            let (room, name) = (id.clone(), name.clone());
            open.membership = Some(Membership { room, name, streams, watches: None, pulls: false });
        }
        if !by_session {
            self.enter_p2p(socket, &id, p2p);
        }
        if let Some(speaker) = speaker {
            self.send(socket, Reply::Speaker { name: Some(speaker.to_string()) });
        }
        let (audio, video) = self.permits.unheld(&id, &name);
        if space == RoomNamespace::Conference && !(audio && video) {
            self.send(socket, Reply::Enforce { audio, video });
        }
        if is_first {
            self.reconcile_all(&id);
        }
    }

    /// Takes the socket out of its room, if it is in one.
    pub(super) fn leave(&mut self, now: u64, socket: SocketId) {
        self.forget_wanted(socket);
        let Some(open) = self.sockets.get_mut(&socket).filter(|open| open.membership.is_some()) else { return };
        open.idle_since = now;
        self.vacate(socket);
    }

    pub(super) fn vacate(&mut self, socket: SocketId) {
        let membership = self.sockets.get_mut(&socket).and_then(|open| open.membership.take());
        let Some(Membership { room: id, name, streams, watches, pulls }) = membership else { return };
        let mut watched: Vec<StreamId> = Vec::new();
        for endpoint in streams.endpoints() {
            watched.extend(self.endpoints.remove(&endpoint).map(|endpoint| endpoint.stream));
            self.media(Command::Close { endpoint });
        }
        self.unseat(socket, &id, &name, watches.is_some(), pulls);
        // The members that stay may all decode another codec.
        watched.iter().for_each(|stream| self.settle_codec(&id, stream));
    }

    fn unseat(&mut self, socket: SocketId, id: &RoomId, name: &MemberId, watches: bool, pulls: bool) {
        if pulls {
            return self.forget_puller(id, socket);
        }
        let room = self.rooms.get_mut(id).expect("a membership is in a room");
        if watches {
            return room.viewers.retain(|viewer| viewer.socket != socket);
        }
        let at = room.members.iter().position(|member| member.name == *name).expect("a membership is a member's");
        let left = room.members.remove(at);
        let stayed = room.others(name);
        let spoke = room.speaker.take_if(|speaker| **speaker == **name).is_some();
        let mut gone: Vec<StreamId> = left.names().collect();
        // The screen first: it is the member's.
        gone.reverse();
        for stream in &gone {
            let sockets = self.notified_sockets(id, stream, true);
            self.unannounce(&sockets, stream);
            self.end_viewers(id, stream);
        }
        if spoke {
            self.send_to(&stayed, &Reply::Speaker { name: None });
        }
        if stayed.is_empty() {
            self.reconcile_all(id);
        } else {
            self.reconcile_member(id, name);
        }
        self.dissolve(id);
    }

    /// A room without anybody is none.
    pub(super) fn dissolve(&mut self, id: &RoomId) {
        if self.rooms.get(id).is_some_and(|room| room.members.is_empty() && room.remotes.is_empty()) {
            self.rooms.remove(id);
            self.media(Command::CloseRoom { room: id.clone() });
        }
    }

    /// Ends the sockets of all members at once: nobody is told who left, since nobody stays.
    pub(super) fn disband(&mut self, id: &RoomId, code: Option<Code>, close: Close) {
        let pipe_consumers = self.pipe_consumers.remove(id).unwrap_or_default();
        let room = self.rooms.remove(id);
        let (is_there, room) = (room.is_some(), room.unwrap_or_else(|| Room::new(RoomNamespace::Conference, false)));
        self.forget_remotes(&room.remotes);
        for socket in room.sockets().chain(pipe_consumers.into_iter().map(|pipe_consumer| pipe_consumer.socket)) {
            if let Some(code) = code {
                self.error(socket, code, None);
            }
            self.out.push(Output::Close(socket, close));
            let membership = self.sockets.remove(&socket).and_then(|open| open.membership);
            for endpoint in membership.iter().flat_map(|membership| membership.streams.endpoints()) {
                self.endpoints.remove(&endpoint);
            }
        }
        if is_there {
            self.media(Command::CloseRoom { room: id.clone() });
        }
    }

    /// A stream's name means nothing to them any more; nor do their connections for it.
    pub(super) fn unannounce(&mut self, to: &[SocketId], stream: &StreamId) {
        for socket in to {
            self.forget_stream(*socket, stream);
            self.send(*socket, Reply::ParticipantLeft { name: name_of(stream) });
        }
    }

    pub(super) fn send_to(&mut self, to: &[SocketId], reply: &Reply) {
        for socket in to {
            self.send(*socket, reply.clone());
        }
    }

    pub(super) fn membership(&self, socket: SocketId) -> Option<&Membership> {
        self.sockets.get(&socket)?.membership.as_ref()
    }

    pub(super) fn membership_mut(&mut self, socket: SocketId) -> Option<&mut Membership> {
        self.sockets.get_mut(&socket)?.membership.as_mut()
    }
}
