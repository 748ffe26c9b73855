//! The messages between gateways and call gateway nodes on a node's control link: JSON text frames over wss, or the
//! same values over channels where the node is in the same process. A link that is silent for longer than two report
//! intervals is dead, and so is its node.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::event::Role;
use crate::ids::{ConfId, UserId};

/// Frames that may wait on a control link, each way.
pub const QUEUE: usize = 1024;

/// From a gateway to a node. All are idempotent; a gateway repeats what holds when a link opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum ToNode {
    /// The roster has the member: their tokens of that role admit, and so much of their microphone and camera is
    /// forwarded. Nobody is admitted, and nothing forwarded, without that word.
    Permit {
        /// The room.
        room: ConfId,
        /// The name.
        name: UserId,
        /// The audio.
        audio: bool,
        /// The video.
        video: bool,
        /// The tracks that the member has closed.
        #[serde(default)]
        closed: Closed,
        /// `None`: of a gateway that doesn't say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<Role>,
    },
    /// Ends the member's connections, and refuses their tokens that were issued up to then (ms since 1970).
    Expel { room: ConfId, name: UserId, issued_until: u64 },
    /// Ends what the tokens of these logins (refresh families) admitted, and refuses those tokens. The clients are told
    /// by what their login ended: so it doesn't matter whether this or [`ToNode::Expel`] comes first.
    Revoke {
        /// Ids of refresh token families.
        families: Vec<String>,
        /// The reason of the end.
        #[serde(default)]
        by: EndedBy,
    },
    /// The room's members go to another node: they are told its address, and new ones aren't let in.
    Move { room: ConfId, url: String },
    /// The conference is at these nodes too: their members' streams are pulled from there. None: it is here only.
    Cascade { room: ConfId, peers: Vec<RemoteNode> },
    /// The conference is over.
    CloseRoom { room: ConfId },
}

/// The reason for a login's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndedBy {
    /// Its own end: a logout, a token used twice, a guest who was idle. Also of a gateway that doesn't say it.
    #[default]
    Itself,
    /// A guest was sent out of the conference that it was for.
    Kick,
    /// The conference that it was for is over.
    Conference,
}

/// The tracks that a member has closed of their own choice. Any other track that isn't forwarded is held back by an
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Closed {
    /// The audio.
    pub audio: bool,
    /// The video.
    pub video: bool,
}

/// Another node of a conference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteNode {
    /// The call gateway node's id.
    pub gateway_id: String,
    /// Its ws(s) address.
    pub url: String,
    /// Of kind `pull`, for all streams of the conference's members there; a new one comes before it expires.
    pub token: String,
    /// When the token expires, in ms since 1970.
    pub serves_until: u64,
    /// The SHA-256 of certificates by which the node is known besides those that the puller trusts: 64 hexadecimal
    /// digits each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
}

/// The method by which nodes of one conference send each other its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CascadeMethod {
    /// WebRTC, over a link between the nodes.
    Webrtc,
    /// Plain RTP, as one Janus takes it from another only.
    Janus,
}

/// `true` is how a node said it that knew of one way; what this gateway doesn't know is none.
fn cascade_method<'de, D: Deserializer<'de>>(value: D) -> Result<Option<CascadeMethod>, D::Error> {
    let method = Value::deserialize(value)?;
    Ok(if method == true { Some(CascadeMethod::Webrtc) } else { CascadeMethod::deserialize(method).ok() })
}

/// From a node to each gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum FromNode {
    /// How busy the node is; said at least once in each `callgw.report_interval_ms`.
    Load {
        /// Forwarded in the last second.
        packets_per_s: u64,
        /// Its bound, in packets a second.
        packets_per_s_max: u64,
        /// The largest share of any bound that the node enforces (packets, connections, rooms); from 1 on it refuses.
        busiest: f64,
        /// Open rooms.
        rooms: u64,
        /// Open connections.
        endpoints: u64,
        /// Whether it is drained.
        draining: bool,
        /// How it pulls streams from other nodes, so that a conference may be at it and at others that do it so too.
        #[serde(default, deserialize_with = "cascade_method")]
        cascades: Option<CascadeMethod>,
    },
    /// Its media can't be reached, for that reason: its calls go elsewhere. Said as often as a load.
    Unserving { why: String },
    /// The node stops at that time (ms since 1970).
    Draining { deadline_ms: u64 },
}
