//! An event on its way from the EIM to the broker.

use serde::{Deserialize, Serialize};

/// One message for the broker's exchange.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Publications leave in the order of their numbers.
    pub number: u64,
    /// `conf.<confId>.<type>` or `user.<userId>.<type>`.
    pub routing_key: String,
    /// `<confId>/<epoch>/<seq>` for a numbered event, unique text for a call's.
    pub message_id: String,
    /// The event as JSON.
    pub body: String,
}

impl std::fmt::Debug for Publication {
    /// Without the body, which may hold somebody's message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.number, self.routing_key, self.message_id)
    }
}
