//! A room: which endpoint sends each of its streams, which receive it, and what its members may send.

use std::collections::HashMap;

use crate::speaker::Ears;
use crate::vocabulary::{EndpointId, MemberId, RoomId, StreamId};

/// A stream's place in the worker's table, so that a packet's way to its viewers is one look-up by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamKey(pub(crate) u64);

/// What of a member's media is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

impl Default for Allowed {
    fn default() -> Allowed {
        Allowed { audio: true, video: true }
    }
}

/// Lives while anybody sends or awaits it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) room: RoomId,
    pub(crate) publisher: Option<EndpointId>,
    pub(crate) subscribers: Vec<EndpointId>,
    /// The permit of the stream's member, kept here so that no packet asks the room.
    pub(crate) allowed: Allowed,
}

impl Stream {
    pub(crate) fn is_idle(&self) -> bool {
        self.publisher.is_none() && self.subscribers.is_empty()
    }
}

/// Owned by the worker; lives while it has streams or permits.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) streams: HashMap<StreamId, StreamKey>,
    permits: HashMap<MemberId, Allowed>,
    pub(crate) ears: Ears,
}

impl Room {
    pub(crate) fn allowed(&self, member: &MemberId) -> Allowed {
        self.permits.get(member).copied().unwrap_or_default()
    }

    /// Remembered whether or not the member has streams already.
    pub(crate) fn permit(&mut self, member: MemberId, allowed: Allowed) {
        if allowed == Allowed::default() {
            self.permits.remove(&member);
        } else {
            self.permits.insert(member, allowed);
        }
    }

    pub(crate) fn permits(&self) -> usize {
        self.permits.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.permits.is_empty()
    }
}
