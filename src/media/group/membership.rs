//! A room: who is in it, coming and going.

use confgate_sfu::protocol::{Command, MemberId, RoomId, Source, StreamId};

use super::admission::{Admitted, Barred};
use super::names::RoomNamespace;
use super::names::name_of;
use super::roster::Member;
use super::roster::Room;
use super::streams::Streams;
use super::waiting::Wanted;
use super::{Group, Output, Seat, Shown, SocketId};
use crate::http::ws::send_queue::Close;
use crate::media::message::{Code, Reply};

impl Group {
    pub(super) fn join(&mut self, now: u64, socket: SocketId, room: &str, name: &str, shown: Shown) {
        if self.seat(socket).is_some() {
            return self.error(socket, Code::BadMessage, None);
        }
        self.forget_wanted(socket);
        let shown = self.presented(socket, shown);
        if let Shown::Pull(claims) = shown {
            return self.welcome_puller(now, socket, room, &claims);
        }
        let admitted = match self.admit(room, name, shown.clone()) {
            Ok(admitted) => admitted,
            Err(Barred::NotYet) => {
                let wanted = Wanted::Join { room: room.to_owned(), name: name.to_owned(), shown };
                return self.wait(now, socket, (room, name), wanted);
            }
            Err(barred) => return self.bar(now, socket, barred),
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

    pub(super) fn bar(&mut self, now: u64, socket: SocketId, barred: Barred) {
        match &barred {
            Barred::NotYet | Barred::Unauthorized => self.error(socket, Code::Unauthorized, None),
            Barred::Expelled => self.error(socket, Code::Expelled, None),
            Barred::Ended => self.error(socket, Code::Ended, None),
            Barred::Moved(url) => self.send(socket, Reply::Moved { url: url.clone() }),
        }
        self.end(now, socket, barred.close());
    }

    /// The others hear of the newcomer, then the newcomer of the others: in Kurento's order. Who comes by a session may
    /// yet be refused by the media: the others hear of them when they are not.
    fn enter(&mut self, socket: SocketId, admitted: Admitted) {
        let by_session = self.is_session(socket);
        let Admitted { space, room: id, name, token, straight } = admitted;
        self.yield_streams(&id, &name);
        let room = self.rooms.entry(id.clone()).or_insert_with(|| Room::new(space, straight));
        let elsewhere = room.remotes.iter().filter(|remote| remote.is_known()).map(|remote| remote.stream.clone());
        let existing = room.sent().chain(elsewhere).map(|stream| name_of(&stream)).collect();
        let speaker = room.speaker.clone();
        let is_first = room.members.is_empty();
        room.members.push(Member { name: name.clone(), socket, token, camera: !by_session, screen: false });
        if !by_session {
            let own = StreamId { member: name.clone(), source: Source::Camera };
            let others = self.listeners(&id, &own, true);
            self.tell(&others, &Reply::NewParticipantArrived { name: name.to_string() });
        }
        self.send(socket, Reply::ExistingParticipants { data: existing });
        if let Some(open) = self.sockets.get_mut(&socket) {
            let streams = Streams::default();
            let (room, name) = (id.clone(), name.clone());
            open.seat = Some(Seat { room, name, streams, watches: None, pulls: false });
        }
        if !by_session {
            self.enter_straight(socket, &id, straight);
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
        let Some(open) = self.sockets.get_mut(&socket).filter(|open| open.seat.is_some()) else { return };
        open.idle_since = now;
        self.vacate(socket);
    }

    pub(super) fn vacate(&mut self, socket: SocketId) {
        let seat = self.sockets.get_mut(&socket).and_then(|open| open.seat.take());
        let Some(Seat { room: id, name, streams, watches, pulls }) = seat else { return };
        let mut watched: Vec<StreamId> = Vec::new();
        for endpoint in streams.endpoints() {
            watched.extend(self.endpoints.remove(&endpoint).map(|endpoint| endpoint.stream));
            self.media(Command::Close { endpoint });
        }
        self.unseat(socket, &id, &name, watches.is_some(), pulls);
        // Who stays may all decode something else.
        watched.iter().for_each(|stream| self.settle_codec(&id, stream));
    }

    fn unseat(&mut self, socket: SocketId, id: &RoomId, name: &MemberId, watches: bool, pulls: bool) {
        if pulls {
            return self.forget_puller(id, socket);
        }
        let room = self.rooms.get_mut(id).expect("a seat is in a room");
        if watches {
            return room.viewers.retain(|viewer| viewer.socket != socket);
        }
        let at = room.members.iter().position(|member| member.name == *name).expect("a seat is a member's");
        let left = room.members.remove(at);
        let stayed = room.others(name);
        let spoke = room.speaker.take_if(|speaker| **speaker == **name).is_some();
        let mut gone: Vec<StreamId> = left.names().collect();
        // The screen first: it is the member's.
        gone.reverse();
        for stream in &gone {
            let told = self.listeners(id, stream, true);
            self.unannounce(&told, stream);
            self.end_viewers(id, stream);
        }
        if spoke {
            self.tell(&stayed, &Reply::Speaker { name: None });
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
        let pullers = self.pullers.remove(id).unwrap_or_default();
        let room = self.rooms.remove(id);
        let (is_there, room) = (room.is_some(), room.unwrap_or_else(|| Room::new(RoomNamespace::Conference, false)));
        self.forget_remotes(&room.remotes);
        for socket in room.sockets().chain(pullers.into_iter().map(|puller| puller.socket)) {
            if let Some(code) = code {
                self.error(socket, code, None);
            }
            self.out.push(Output::Close(socket, close));
            let seat = self.sockets.remove(&socket).and_then(|open| open.seat);
            for endpoint in seat.iter().flat_map(|seat| seat.streams.endpoints()) {
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

    pub(super) fn tell(&mut self, to: &[SocketId], reply: &Reply) {
        for socket in to {
            self.send(*socket, reply.clone());
        }
    }

    pub(super) fn seat(&self, socket: SocketId) -> Option<&Seat> {
        self.sockets.get(&socket)?.seat.as_ref()
    }

    pub(super) fn seat_mut(&mut self, socket: SocketId) -> Option<&mut Seat> {
        self.sockets.get_mut(&socket)?.seat.as_mut()
    }
}
