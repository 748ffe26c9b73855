//! The state of RTP forwards between one Janus and another.

use confgate_sfu::protocol::EndpointId;

use super::rtp_forward::{Address, Sent};

/// A stream that another Janus has.
#[derive(Default)]
pub(super) struct Pull {
    /// The tracks that it announced; empty: it was asked.
    pub sent: Vec<Sent>,
    pub feed: Option<u64>,
    /// Janus has opened ports for it.
    pub added: bool,
}

/// A stream that another Janus is to have.
pub(super) struct Forward {
    /// `None`: the other asks what there is.
    pub to: Option<Address>,
    /// The feed that is sent there, and the endpoint that brings it.
    pub feed: Option<(u64, EndpointId)>,
    /// Janus has said that it sends it.
    pub sends: bool,
}

/// A room whose remote publishers are being changed. With the room, Janus would forget such a one's thread and ports:
/// it is destroyed after that.
#[derive(Default)]
pub(super) struct Busy {
    pub requests: usize,
    pub destroy: bool,
}

/// A room that was left behind when the link ended.
pub(super) struct Left {
    pub number: u64,
    pub remotes: Vec<u64>,
}

impl Forward {
    pub fn new(to: Option<Address>) -> Self {
        Self { to, feed: None, sends: false }
    }

    pub fn is_from(&self, publisher: EndpointId) -> bool {
        self.feed.is_some_and(|(_, endpoint)| endpoint == publisher)
    }
}
