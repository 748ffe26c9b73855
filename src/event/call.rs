//! The vocabulary of calls: what a call is to its conference, and what is told to those whom it concerns.

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, ConfId, UserId};

/// Whether media goes between two people or through a call gateway's room: known before anybody is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallMode {
    /// Between two, media may go peer to peer.
    P2p,
    /// Media goes through the call gateway.
    Group,
}

impl CallMode {
    /// As JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P2p => "p2p",
            Self::Group => "group",
        }
    }
}

/// The call that a conference belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallOf {
    /// The call.
    pub call_id: CallId,
    /// How media goes.
    pub mode: CallMode,
}

/// A step of a call. In JSON the event's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallStep {
    /// The user is called.
    #[serde(rename = "call.incoming")]
    Incoming,
    /// A callee has accepted.
    #[serde(rename = "call.answered")]
    Answered,
    /// A callee has declined.
    #[serde(rename = "call.declined")]
    Declined,
    /// The caller has given up.
    #[serde(rename = "call.cancelled")]
    Cancelled,
    /// A callee didn't answer in time.
    #[serde(rename = "call.missed")]
    Missed,
    /// The call is over.
    #[serde(rename = "call.ended")]
    Ended,
}

impl CallStep {
    const ALL: [Self; 6] = [Self::Incoming, Self::Answered, Self::Declined, Self::Cancelled, Self::Missed, Self::Ended];

    /// The step of that `type`; `None`: the type is no call's.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incoming => "call.incoming",
            Self::Answered => "call.answered",
            Self::Declined => "call.declined",
            Self::Cancelled => "call.cancelled",
            Self::Missed => "call.missed",
            Self::Ended => "call.ended",
        }
    }
}

/// A call's event as the EIM sends it to a user, as JSON. It has no number: a call is short, and what it leaves behind
/// is its conference's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallEvent {
    /// The conference.
    pub conf_id: ConfId,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The step.
    #[serde(rename = "type")]
    pub step: CallStep,
    /// The user whose request it follows from; `None`: time, or a lost connection.
    pub actor: Option<UserId>,
    /// The call's data.
    pub data: CallData,
}

/// The data of a call's event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallData {
    /// The call.
    pub call_id: CallId,
    /// The conference.
    pub conf_id: ConfId,
    /// The caller.
    pub from: UserId,
    /// The callees.
    pub to: Vec<UserId>,
    /// How media goes.
    pub mode: CallMode,
    /// The name of a group call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user that answered, declined or missed it, or whose leaving ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The callee's own words, or `busy`, `unanswered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How much longer it rings, of an incoming one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_ms: Option<u64>,
}

impl CallEvent {
    /// Whether the call is over with it.
    pub fn is_last(&self) -> bool {
        match self.step {
            CallStep::Incoming | CallStep::Answered => false,
            CallStep::Declined | CallStep::Missed => self.data.mode == CallMode::P2p,
            CallStep::Cancelled | CallStep::Ended => true,
        }
    }
}
