//! A stream that another node sends.

use confgate_sfu::protocol::{EndpointId, StreamId};

/// A link to another node; numbered as they are begun, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// A stream of another node that is received here.
pub(super) struct Remote {
    pub stream: StreamId,
    pub link: LinkId,
    pub endpoint: EndpointId,
    /// An offer waits for its answer.
    pub offered: bool,
    /// The nodes that it has come through; `None`: the other node hasn't answered yet.
    pub route: Option<Vec<String>>,
}

impl Remote {
    /// Whether the members were told of it.
    pub fn is_known(&self) -> bool {
        self.route.is_some()
    }
}
