//! Names of rooms and streams: those of clients, and those on this node.

use confgate_sfu::protocol::{RoomId, Source, StreamId};

use crate::ids::UserId;

/// The suffix of a member's name in the name of their shared screen. No conference's member can be called so.
const SCREEN: &str = "/screen";

/// The member name of the one stream of a flat name.
pub const FLAT: &str = "stream";

/// Rooms of different spaces share nothing, whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomNamespace {
    /// By token: the room is a conference's.
    Conference,
    /// Without a token: only where `callgw.open` is on.
    Open,
    /// An operator's: one stream, outside conferences.
    Flat,
}

impl RoomNamespace {
    /// The room's name on this node.
    pub fn room(self, name: &str) -> RoomId {
        let space = match self {
            RoomNamespace::Conference => "conf",
            RoomNamespace::Open => "open",
            RoomNamespace::Flat => "flat",
        };
        format!("{space}/{name}").into()
    }

    /// As a token says it.
    pub fn of_token(flat: bool) -> Self {
        if flat { RoomNamespace::Flat } else { RoomNamespace::Conference }
    }

    /// Of a room that other nodes' streams are in.
    pub fn of_pulled(room: &RoomId) -> Self {
        Self::of_token(room.starts_with("flat/"))
    }

    /// Which stream that name is. An open room's members have no screens, and any name.
    pub fn stream(self, name: &str) -> StreamId {
        match name.strip_suffix(SCREEN).filter(|_| self == RoomNamespace::Conference) {
            Some(member) => StreamId { member: member.into(), source: Source::Screen },
            None => StreamId { member: name.into(), source: Source::Camera },
        }
    }
}

/// Which of a conference's streams that name is, if it can be one's.
pub fn stream_named(name: &str) -> Option<StreamId> {
    let stream = RoomNamespace::Conference.stream(name);
    UserId::parse(&stream.member).map(|_| stream)
}

/// The stream's name as clients know it.
pub fn name_of(stream: &StreamId) -> String {
    match stream.source {
        Source::Camera => stream.member.to_string(),
        Source::Screen => format!("{}{SCREEN}", stream.member),
    }
}
