//! The holder of a user's presence in a conference, and the address of its events.

use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// A node's claim on a user's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub node: String,
    /// How often the node has been reset; generations of before a reset don't compare with those after it.
    pub resets: u64,
    pub generation: u64,
}

impl Claim {
    pub fn covers(&self, other: &Claim) -> bool {
        (&self.node, self.resets) == (&other.node, other.resets) && other.generation <= self.generation
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Presence {
    pub holder: Claim,
    /// Whether a socket is open, as far as the holder told.
    pub online: bool,
    /// Where events go; `None`: not subscribed.
    pub address: Option<String>,
    /// When the subscription was made.
    pub since: Moment,
    /// Until when events still go to the address of a closed socket, so that its gateway can give the one who comes
    /// back what they missed. `None`: as long as the socket is open.
    #[serde(default)]
    pub lingers_until: Option<Moment>,
    /// The claim that the holder took over from.
    pub superseded: Option<Claim>,
}
