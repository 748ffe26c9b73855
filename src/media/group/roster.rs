//! A room: who is in it, and what they send.

use confgate_sfu::protocol::{MemberId, Source, StreamId};

use super::SocketId;
use super::admission::Token;
use super::names::RoomNamespace;
use super::remote::Remote;
use super::viewer::Viewer;

pub(super) struct Room {
    pub space: RoomNamespace,
    /// In the order in which they came.
    pub members: Vec<Member>,
    /// Clients that watch one stream only. Without that stream they are gone.
    pub viewers: Vec<Viewer>,
    /// Streams of members who are at other nodes.
    pub remotes: Vec<Remote>,
    /// As the members were told.
    pub speaker: Option<MemberId>,
    /// Whether the two members' media goes straight; once it doesn't, it does not again.
    pub p2p: bool,
}

pub(super) struct Member {
    pub name: MemberId,
    pub socket: SocketId,
    /// The token that admitted them.
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
    pub fn names(&self) -> impl Iterator<Item = StreamId> + use<> {
        let stream = |source| StreamId { member: self.name.clone(), source };
        let known = [Source::Camera, Source::Screen].map(|source| self.is_known(source).then(|| stream(source)));
        known.into_iter().flatten()
    }
}

impl Room {
    pub fn new(space: RoomNamespace, p2p: bool) -> Self {
        Self { space, members: Vec::new(), viewers: Vec::new(), remotes: Vec::new(), speaker: None, p2p }
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
        self.space == RoomNamespace::Conference
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
