//! Janus's rooms as the driver knows them: one for each of ours, its streams and its permissions.

use std::collections::HashMap;

use confgate_sfu::protocol::{EndpointId, MemberId, StreamId};

use super::rtp_forward::Sent;

/// A room of ours as Janus knows it.
pub struct Room {
    /// Its number at Janus.
    pub number: u64,
    pub state: RoomState,
    pub feeds: HashMap<StreamId, Feed>,
    pub permits: HashMap<StreamId, Forwarding>,
    pub speaker: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomState {
    /// Asked for; those who need it wait.
    Asked,
    Made,
}

/// A stream that is published.
#[derive(Debug, Clone)]
pub struct Feed {
    pub id: u64,
    pub endpoint: EndpointId,
    /// Media flows: only now may others subscribe (Janus refuses with 428 before).
    pub up: bool,
    pub tracks: Vec<Track>,
    /// The tracks that another Janus would be sent.
    pub sent: Vec<Sent>,
}

/// One track of a feed, as Janus numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub mid: String,
    pub is_video: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarding {
    pub audio: bool,
    pub video: bool,
}

impl Forwarding {
    pub fn of(self, track: &Track) -> bool {
        if track.is_video { self.video } else { self.audio }
    }
}

impl Room {
    pub fn requested(number: u64) -> Self {
        Self { number, state: RoomState::Asked, feeds: HashMap::new(), permits: HashMap::new(), speaker: None }
    }

    /// The stream's feed, once others may subscribe to it.
    pub fn live(&self, stream: &StreamId) -> Option<&Feed> {
        self.feeds.get(stream).filter(|feed| feed.up)
    }
}

/// A stream's name in Janus's own pages.
pub(super) fn display(stream: &StreamId) -> String {
    format!("{}/{:?}", stream.member, stream.source).to_ascii_lowercase()
}
