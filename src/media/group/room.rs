//! A room: who is in it, coming and going.

use confgate_sfu::vocabulary::{Command, MemberId, RoomId, Source, StreamId};

use super::admission::{Admitted, Barred, Token};
use super::feeds::Remote;
use super::sessions::Viewer;
use super::streams::Streams;
use super::waiting::Wanted;
use super::{Group, Output, Seat, Shown, SocketId};
use crate::http::ws::send_queue::Close;
use crate::ids::UserId;
use crate::media::message::{Code, Reply};

/// What follows a member's name in the name of their shared screen. No conference's member can be called so.
const SCREEN: &str = "/screen";

/// Who sends the one stream of a flat name.
pub const FLAT: &str = "stream";

/// Rooms of different spaces share nothing, whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// By token: the room is a conference's.
    Conference,
    /// Without a token: only where `callgw.open` is on.
    Open,
    /// An operator's: one stream, outside conferences.
    Flat,
}

impl Space {
    /// The room's name on this node.
    pub fn room(self, name: &str) -> RoomId {
        let space = match self {
            Space::Conference => "conf",
            Space::Open => "open",
            Space::Flat => "flat",
        };
        format!("{space}/{name}").into()
    }

    /// As a token says it.
    pub(super) fn of_token(flat: bool) -> Self {
        if flat { Space::Flat } else { Space::Conference }
    }

    /// Of a room that other nodes' streams are in.
    pub(super) fn of_pulled(room: &RoomId) -> Self {
        Self::of_token(room.starts_with("flat/"))
    }

    /// Which stream that name is. An open room's members have no screens, and any name.
    pub fn stream(self, name: &str) -> StreamId {
        match name.strip_suffix(SCREEN).filter(|_| self == Space::Conference) {
            Some(member) => StreamId { member: member.into(), source: Source::Screen },
            None => StreamId { member: name.into(), source: Source::Camera },
        }
    }
}

/// Which of a conference's streams that name is, if it can be one's.
pub fn stream_named(name: &str) -> Option<StreamId> {
    let stream = Space::Conference.stream(name);
    UserId::parse(&stream.member).map(|_| stream)
}

/// What clients call the stream.
pub fn name_of(stream: &StreamId) -> String {
    match stream.source {
        Source::Camera => stream.member.to_string(),
        Source::Screen => format!("{}{SCREEN}", stream.member),
    }
}

pub(super) struct Room {
    pub space: Space,
    /// In the order in which they came.
    pub members: Vec<Member>,
    /// Who only watches one stream: there are none without it.
    pub viewers: Vec<Viewer>,
    /// Streams of members who are at other nodes.
    pub remotes: Vec<Remote>,
    /// As the members were told.
    pub speaker: Option<MemberId>,
    /// Whether the two members' media goes straight; once it doesn't, it does not again.
    pub straight: bool,
}

pub(super) struct Member {
    pub name: MemberId,
    pub socket: SocketId,
    /// What admitted them.
    pub token: Option<Token>,
    /// Whether the others were told of their camera: of who publishes over HTTP, once the media has taken the offer.
    pub camera: bool,
    /// Whether the others were told of their shared screen.
    pub screen: bool,
}

impl Member {
    /// Whether the others were told of what they send.
    pub fn is_known(&self, source: Source) -> bool {
        match source {
            Source::Camera => self.camera,
            Source::Screen => self.screen,
        }
    }

    /// The names under which the others know what they send.
    fn names(&self) -> impl Iterator<Item = StreamId> + use<> {
        let stream = |source| StreamId { member: self.name.clone(), source };
        let known = [Source::Camera, Source::Screen].map(|source| self.is_known(source).then(|| stream(source)));
        known.into_iter().flatten()
    }
}

impl Room {
    pub fn new(space: Space, straight: bool) -> Self {
        Self { space, members: Vec::new(), viewers: Vec::new(), remotes: Vec::new(), speaker: None, straight }
    }

    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| *member.name == *name)
    }

    pub fn member_mut(&mut self, name: &str) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| *member.name == *name)
    }

    /// The sockets of all but one.
    pub fn others(&self, name: &str) -> Vec<SocketId> {
        self.members.iter().filter(|member| *member.name != *name).map(|member| member.socket).collect()
    }

    /// The sockets of members and viewers.
    pub fn sockets(&self) -> impl Iterator<Item = SocketId> {
        let viewers = self.viewers.iter().map(|viewer| viewer.socket);
        self.members.iter().map(|member| member.socket).chain(viewers)
    }

    /// Whether somebody was admitted by the token with this nonce.
    pub fn holds(&self, nonce: &str) -> bool {
        let members = self.members.iter().filter_map(|member| member.token.as_ref());
        members.chain(self.viewers.iter().map(|viewer| &viewer.token)).any(|held| held.nonce == nonce)
    }

    /// The sockets that the user's tokens issued until then have admitted. The member's last: with it goes whoever
    /// watches it, themselves too.
    pub fn of_user(&self, name: &str, issued_until: u64) -> Vec<SocketId> {
        let barred = |token: &Token| token.is_issued_until(issued_until);
        let member = self.member(name).filter(|member| member.token.as_ref().is_some_and(barred));
        let viewers = self.viewers.iter().filter(|viewer| *viewer.name == *name && barred(&viewer.token));
        viewers.map(|viewer| viewer.socket).chain(member.map(|member| member.socket)).collect()
    }

    /// The sockets of members and viewers that such tokens have admitted.
    pub fn admitted_by(&self, is_it: impl Fn(&Token) -> bool) -> Vec<SocketId> {
        let viewers = self.viewers.iter().filter(|viewer| is_it(&viewer.token)).map(|viewer| viewer.socket);
        let members = self.members.iter().filter(|member| member.token.as_ref().is_some_and(&is_it));
        viewers.chain(members.map(|member| member.socket)).collect()
    }

    /// Kurento's pages, which have no such message, are in open rooms.
    pub fn has_speakers(&self) -> bool {
        self.space == Space::Conference
    }

    /// Whether the members know of a stream under that name.
    pub fn knows(&self, stream: &StreamId) -> bool {
        self.sends(stream) || self.remote(stream).is_some_and(Remote::is_known)
    }

    /// Whether a member who is here sends it, as far as the others were told.
    pub fn sends(&self, stream: &StreamId) -> bool {
        self.member(&stream.member).is_some_and(|member| member.is_known(stream.source))
    }

    /// The streams that members here send.
    pub fn sent(&self) -> impl Iterator<Item = StreamId> {
        self.members.iter().flat_map(Member::names)
    }

    pub fn remote(&self, stream: &StreamId) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.stream == *stream)
    }
}

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
        self.give_way(&id, &name);
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
        if space == Space::Conference && !(audio && video) {
            self.send(socket, Reply::Enforce { audio, video });
        }
        if is_first {
            self.settle_all(&id);
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
            self.settle_all(id);
        } else {
            self.settle_member(id, name);
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
        let (is_there, room) = (room.is_some(), room.unwrap_or_else(|| Room::new(Space::Conference, false)));
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
