//! A room: which endpoint sends each of its streams, which receive it, and what its members may send.

use std::collections::HashMap;

use crate::active_speaker::ActiveSpeakerObserver;
use crate::protocol::{EndpointId, RoomId, StreamId};

/// A stream's place in the worker's table, so that a packet's way to its viewers is one look-up by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamKey(pub(crate) u64);

/// The tracks of a member's media that are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

impl Allowed {
    const NOTHING: Allowed = Allowed { audio: false, video: false };
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
    /// The stream's permit, kept here so that no packet asks the room.
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
    permits: HashMap<StreamId, Allowed>,
    /// More are held back than may be remembered: of streams without a permit nothing is forwarded.
    overflowed: bool,
    pub(crate) speaker: ActiveSpeakerObserver,
}

impl Room {
    pub(crate) fn allowed(&self, stream: &StreamId) -> Allowed {
        let unset = if self.overflowed { Allowed::NOTHING } else { Allowed::default() };
        self.permits.get(stream).copied().unwrap_or(unset)
    }

    /// Remembered whether or not the stream is there already. Answers what is allowed then.
    pub(crate) fn permit(&mut self, stream: &StreamId, allowed: Allowed, most: usize) -> Allowed {
        if allowed == Allowed::default() && !self.overflowed {
            self.permits.remove(stream);
        } else if self.permits.len() < most || self.permits.contains_key(stream) {
            self.permits.insert(stream.clone(), allowed);
        } else {
            self.overflowed = true;
        }
        self.allowed(stream)
    }

    /// The next sender of the stream is permitted anew. Returns the permissions until then.
    pub(crate) fn forget_permit(&mut self, stream: &StreamId) -> Allowed {
        self.permits.remove(stream);
        self.allowed(stream)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.permits.is_empty()
    }
}
