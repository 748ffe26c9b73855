//! The changes of a conference: what a numbered event says happened. In JSON `type` and `data`.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Conference, Member, Message};
use crate::ids::UserId;

/// What the types of the EIM's own begin with, towards clients.
pub const OWN_PREFIX: &str = "eim.";
/// Longest name of such a type without it, in bytes.
const NAME_MAX: usize = 64;

/// A change of a conference. Serialized as `type` and `data`.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// `conference.created`
    Created(Conference),
    /// `conference.started`
    Started(Conference),
    /// `conference.updated`
    Updated(Conference),
    /// `conference.locked`
    Locked(Conference),
    /// `conference.unlocked`
    Unlocked(Conference),
    /// `conference.mainVideo`
    MainVideo(Conference),
    /// `conference.ended`
    Ended(Conference),
    /// `member.joined`
    MemberJoined(Member),
    /// `member.updated`
    MemberUpdated(Member),
    /// `member.left`
    MemberLeft(Left),
    /// `waiting.added`
    WaitingAdded(Member),
    /// `waiting.removed`
    WaitingRemoved(WaitingRemoved),
    /// `message`
    Message(Message),
    /// `eim.<type>`: of a type that only the EIM and its clients know. It changes no roster.
    Custom(Custom),
}

/// An event of a type of the EIM's own, handed on as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Custom {
    /// The type as clients have it, with [`OWN_PREFIX`].
    name: Box<str>,
    /// The content, whatever it is.
    pub data: Value,
}

impl Custom {
    /// The type is given with or without [`OWN_PREFIX`]. `None` where the rest is not `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    pub fn new(name: &str, data: Value) -> Option<Self> {
        let bare = name.strip_prefix(OWN_PREFIX).unwrap_or(name);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = bare.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        let fits = begins && bare.len() <= NAME_MAX && bare.bytes().all(allowed);
        fits.then(|| Self { name: format!("{OWN_PREFIX}{bare}").into(), data })
    }

    /// The type as clients have it, with [`OWN_PREFIX`].
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The data of `member.left`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The user.
    pub user_id: UserId,
    /// The reason.
    pub reason: LeftReason,
}

/// The reason of `member.left`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftReason {
    /// By the member's own request.
    Left,
    /// By a kick.
    Kicked,
    /// By a ban.
    Banned,
    /// Without a socket for longer than the grace.
    Timeout,
    /// With the conference.
    Ended,
}

/// The data of `waiting.removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingRemoved {
    /// The user.
    pub user_id: UserId,
    /// The reason.
    pub reason: WaitingReason,
}

/// The reason of `waiting.removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitingReason {
    /// Admitted by the chair.
    Admitted,
    /// Denied by the chair.
    Denied,
    /// By the member's own request, or its socket's loss.
    Left,
}

impl Change {
    /// The types that the gateway itself knows.
    pub const NAMES: [&str; 13] = [
        "conference.created",
        "conference.started",
        "conference.updated",
        "conference.locked",
        "conference.unlocked",
        "conference.mainVideo",
        "conference.ended",
        "member.joined",
        "member.updated",
        "member.left",
        "waiting.added",
        "waiting.removed",
        "message",
    ];

    /// The change of that `type`; a type that is not among [`Change::NAMES`] is the EIM's own.
    ///
    /// # Errors
    /// Where the data has not the type's form, or the type is no name.
    pub fn read<'de, D: Deserializer<'de>>(kind: &str, data: D) -> Result<Self, D::Error> {
        Ok(match kind {
            "conference.created" => Self::Created(Conference::deserialize(data)?),
            "conference.started" => Self::Started(Conference::deserialize(data)?),
            "conference.updated" => Self::Updated(Conference::deserialize(data)?),
            "conference.locked" => Self::Locked(Conference::deserialize(data)?),
            "conference.unlocked" => Self::Unlocked(Conference::deserialize(data)?),
            "conference.mainVideo" => Self::MainVideo(Conference::deserialize(data)?),
            "conference.ended" => Self::Ended(Conference::deserialize(data)?),
            "member.joined" => Self::MemberJoined(Member::deserialize(data)?),
            "member.updated" => Self::MemberUpdated(Member::deserialize(data)?),
            "member.left" => Self::MemberLeft(Left::deserialize(data)?),
            "waiting.added" => Self::WaitingAdded(Member::deserialize(data)?),
            "waiting.removed" => Self::WaitingRemoved(WaitingRemoved::deserialize(data)?),
            "message" => Self::Message(Message::deserialize(data)?),
            own => {
                let custom = Custom::new(own, Value::deserialize(data)?);
                Self::Custom(custom.ok_or_else(|| de::Error::custom("the type is no name"))?)
            }
        })
    }

    /// The event's `type`, as it stands in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::Created(_) => "conference.created",
            Self::Started(_) => "conference.started",
            Self::Updated(_) => "conference.updated",
            Self::Locked(_) => "conference.locked",
            Self::Unlocked(_) => "conference.unlocked",
            Self::MainVideo(_) => "conference.mainVideo",
            Self::Ended(_) => "conference.ended",
            Self::MemberJoined(_) => "member.joined",
            Self::MemberUpdated(_) => "member.updated",
            Self::MemberLeft(_) => "member.left",
            Self::WaitingAdded(_) => "waiting.added",
            Self::WaitingRemoved(_) => "waiting.removed",
            Self::Message(_) => "message",
            Self::Custom(custom) => custom.name(),
        }
    }

    /// The change as the JSON value of `data`.
    pub fn data(&self) -> Value {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut both)) => both.remove("data").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }

    /// The conference as a whole, where the change says it.
    pub fn conference(&self) -> Option<&Conference> {
        match self {
            Self::Created(c)
            | Self::Started(c)
            | Self::Updated(c)
            | Self::Locked(c)
            | Self::Unlocked(c)
            | Self::MainVideo(c)
            | Self::Ended(c) => Some(c),
            _ => None,
        }
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut both = serializer.serialize_struct("Change", 2)?;
        both.serialize_field("type", self.name())?;
        match self {
            Self::Created(c)
            | Self::Started(c)
            | Self::Updated(c)
            | Self::Locked(c)
            | Self::Unlocked(c)
            | Self::MainVideo(c)
            | Self::Ended(c) => both.serialize_field("data", c)?,
            Self::MemberJoined(m) | Self::MemberUpdated(m) | Self::WaitingAdded(m) => {
                both.serialize_field("data", m)?;
            }
            Self::MemberLeft(left) => both.serialize_field("data", left)?,
            Self::WaitingRemoved(removed) => both.serialize_field("data", removed)?,
            Self::Message(message) => both.serialize_field("data", message)?,
            Self::Custom(custom) => both.serialize_field("data", &custom.data)?,
        }
        both.end()
    }
}
