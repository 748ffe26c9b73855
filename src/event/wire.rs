//! Events as JSON: the vocabulary's own form, in which the built-in EIM sends them and clients get them.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{CallData, CallEvent, CallStep, Change};
use crate::ids::{ConfId, UserId};

/// A numbered event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Which numbering `seq` belongs to.
    pub epoch: String,
    /// The event's number, from 1.
    pub seq: u64,
    /// The conference.
    pub conf_id: ConfId,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// The user that caused it; `None`: the server.
    pub actor: Option<UserId>,
}

/// Who numbers a conference's events: one alone does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberedBy {
    /// The EIM.
    #[default]
    Eim,
    /// The gateway, for an EIM that has no numbers.
    Gateway,
}

/// The place of an event in its conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbering {
    /// Which numbering `seq` belongs to.
    pub epoch: String,
    /// The event's number, from 1.
    pub seq: u64,
}

/// A conference's event that may not have its number yet.
#[derive(Debug, Clone, PartialEq)]
pub struct ConferenceEvent {
    /// `None`: its sender numbers no events.
    pub numbering: Option<Numbering>,
    /// The conference.
    pub conf_id: ConfId,
    /// Milliseconds since 1970.
    pub time: u64,
    /// The change.
    pub change: Change,
    /// The user that caused it; `None`: the server.
    pub actor: Option<UserId>,
}

impl ConferenceEvent {
    /// The event with its number. `None` where it has none.
    pub fn numbered(self) -> Option<Event> {
        let Self { numbering, conf_id, time, change, actor } = self;
        let Numbering { epoch, seq } = numbering?;
        Some(Event { epoch, seq, conf_id, time, change, actor })
    }
}

/// An event of a conference or of a call: `type` says which.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyEvent {
    /// Of a conference, or of a type of the EIM's own.
    Conference(ConferenceEvent),
    /// Of a call.
    Call(CallEvent),
}

/// The members of an event. `data` stays text until the type is known, and then is read into its form at once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    epoch: Option<String>,
    seq: Option<u64>,
    conf_id: ConfId,
    time: u64,
    #[serde(rename = "type")]
    kind: String,
    actor: Option<UserId>,
    data: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for AnyEvent {
    /// From JSON only.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Members { epoch, seq, conf_id, time, kind, actor, data } = Members::deserialize(deserializer)?;
        if let Some(step) = CallStep::of_name(&kind) {
            let data: CallData = read_data(data)?;
            return Ok(Self::Call(CallEvent { conf_id, time, step, actor, data }));
        }
        let numbering = match (epoch, seq) {
            (Some(epoch), Some(seq)) => Some(Numbering { epoch, seq }),
            (None, None) => None,
            (None, Some(_)) => return Err(D::Error::missing_field("epoch")),
            (Some(_), None) => return Err(D::Error::missing_field("seq")),
        };
        let change = match &data {
            Some(data) => Change::read(&kind, &mut serde_json::Deserializer::from_str(data.get())),
            None if Change::NAMES.contains(&kind.as_str()) => return Err(D::Error::missing_field("data")),
            None => Change::read(&kind, Value::Null),
        };
        let change = change.map_err(D::Error::custom)?;
        Ok(Self::Conference(ConferenceEvent { numbering, conf_id, time, change, actor }))
    }
}

fn read_data<T: serde::de::DeserializeOwned, E: Error>(data: Option<Box<RawValue>>) -> Result<T, E> {
    let data = data.ok_or_else(|| E::missing_field("data"))?;
    serde_json::from_str(data.get()).map_err(E::custom)
}

impl<'de> Deserialize<'de> for Event {
    /// From JSON only.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match AnyEvent::deserialize(deserializer)? {
            AnyEvent::Conference(event) => event.numbered().ok_or_else(|| D::Error::missing_field("seq")),
            AnyEvent::Call(_) => Err(D::Error::custom("the event is a call's")),
        }
    }
}
