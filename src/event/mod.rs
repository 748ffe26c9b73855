//! The vocabulary of a conference: what a snapshot and its numbered events say, and how one follows from the other.

mod call;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ConfId, UserId};
use crate::precis::display_name;

pub use call::{CallData, CallEvent, CallMode, CallNews, CallOf};

/// `state` of a conference that is open.
pub const OPEN: u8 = 0;
/// `state` of a conference that has not started.
pub const NOT_STARTED: u8 = 30;
/// `state` of a conference that has ended.
pub const ENDED: u8 = 31;
/// `state` of a conference that does not exist.
pub const UNKNOWN: u8 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Chair,
    Member,
    Guest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    Joined,
    Reconnecting,
    Waiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Audio {
    On,
    Off,
    ForcedOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Video {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MutePolicy {
    Free,
    JoinMuted,
    Locked,
}

/// One person of a conference, admitted or waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub user_id: UserId,
    #[serde(deserialize_with = "display_name::deserialize")]
    pub name: String,
    pub role: Role,
    pub state: MemberState,
    pub audio: Audio,
    pub video: Video,
    pub hand: bool,
    /// A chair asks for the microphone, and its owner has not answered: only they open it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmute_asked: bool,
    /// Milliseconds since 1970; a roster's order.
    pub joined_at: u64,
}

/// The properties of the conference as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conference {
    pub conf_id: ConfId,
    #[serde(deserialize_with = "display_name::deserialize")]
    pub conf_name: String,
    /// [`OPEN`], [`NOT_STARTED`] or [`ENDED`].
    pub state: u8,
    /// Milliseconds since 1970.
    pub start_at: Option<u64>,
    pub chair: UserId,
    pub locked: bool,
    pub lobby: bool,
    pub mute_policy: MutePolicy,
    pub main_video: Option<UserId>,
    /// Of a call's own conference: which call it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallOf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub message_id: String,
    pub user_id: UserId,
    pub text: String,
    pub time: u64,
}

/// Everything that is true of a conference after the event numbered `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roster {
    /// Changes when the EIM starts counting anew; sequence numbers of different epochs don't compare.
    pub epoch: String,
    pub seq: u64,
    pub conference: Conference,
    #[serde(default)]
    pub members: Vec<Member>,
    #[serde(default)]
    pub waiting: Vec<Member>,
    #[serde(default)]
    pub messages: Vec<Message>,
}

/// Most messages that a snapshot carries: the newest; older ones by `conference.messages`.
pub const SNAPSHOT_MESSAGES: usize = 200;

/// A numbered event as the EIM sends it, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub epoch: String,
    pub seq: u64,
    pub conf_id: ConfId,
    /// Milliseconds since 1970.
    pub time: u64,
    #[serde(flatten)]
    pub change: Change,
    pub actor: Option<UserId>,
}

/// A change of a conference. Serialized as `type` and `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Change {
    #[serde(rename = "conference.created")]
    Created(Conference),
    #[serde(rename = "conference.started")]
    Started(Conference),
    #[serde(rename = "conference.updated")]
    Updated(Conference),
    #[serde(rename = "conference.locked")]
    Locked(Conference),
    #[serde(rename = "conference.unlocked")]
    Unlocked(Conference),
    #[serde(rename = "conference.mainVideo")]
    MainVideo(Conference),
    #[serde(rename = "conference.ended")]
    Ended(Conference),
    #[serde(rename = "member.joined")]
    MemberJoined(Member),
    #[serde(rename = "member.updated")]
    MemberUpdated(Member),
    #[serde(rename = "member.left")]
    MemberLeft(Left),
    #[serde(rename = "waiting.added")]
    WaitingAdded(Member),
    #[serde(rename = "waiting.removed")]
    WaitingRemoved(WaitingRemoved),
    #[serde(rename = "message")]
    Message(Message),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    pub user_id: UserId,
    pub reason: LeftReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftReason {
    Left,
    Kicked,
    Banned,
    Timeout,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingRemoved {
    pub user_id: UserId,
    pub reason: WaitingReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitingReason {
    Admitted,
    Denied,
    Left,
}

impl Change {
    /// The event's `type`, as it stands in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Change::Created(_) => "conference.created",
            Change::Started(_) => "conference.started",
            Change::Updated(_) => "conference.updated",
            Change::Locked(_) => "conference.locked",
            Change::Unlocked(_) => "conference.unlocked",
            Change::MainVideo(_) => "conference.mainVideo",
            Change::Ended(_) => "conference.ended",
            Change::MemberJoined(_) => "member.joined",
            Change::MemberUpdated(_) => "member.updated",
            Change::MemberLeft(_) => "member.left",
            Change::WaitingAdded(_) => "waiting.added",
            Change::WaitingRemoved(_) => "waiting.removed",
            Change::Message(_) => "message",
        }
    }

    /// The change as the JSON value of `data`.
    pub fn data(&self) -> Value {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut both)) => both.remove("data").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }
}

impl Roster {
    /// Makes the change; `seq` and `epoch` are the caller's business. Replaying a conference's changes over its
    /// snapshot this way always gives the EIM's roster: the EIM itself changes its state by this function.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Created(c)
            | Change::Started(c)
            | Change::Updated(c)
            | Change::Locked(c)
            | Change::Unlocked(c)
            | Change::MainVideo(c) => self.conference = c.clone(),
            Change::Ended(c) => {
                self.conference = c.clone();
                self.members.clear();
                self.waiting.clear();
            }
            Change::MemberJoined(m) | Change::MemberUpdated(m) => put(&mut self.members, m),
            Change::MemberLeft(left) => self.members.retain(|m| m.user_id != left.user_id),
            Change::WaitingAdded(m) => put(&mut self.waiting, m),
            Change::WaitingRemoved(gone) => self.waiting.retain(|m| m.user_id != gone.user_id),
            Change::Message(m) => {
                self.messages.push(m.clone());
                let surplus = self.messages.len().saturating_sub(SNAPSHOT_MESSAGES);
                self.messages.drain(..surplus);
            }
        }
    }

    pub fn member(&self, user: &UserId) -> Option<&Member> {
        self.members.iter().find(|m| m.user_id == *user)
    }

    pub fn waiter(&self, user: &UserId) -> Option<&Member> {
        self.waiting.iter().find(|m| m.user_id == *user)
    }
}

/// Puts the member in the place that their time of joining gives them, instead of what was there under their id.
fn put(list: &mut Vec<Member>, member: &Member) {
    list.retain(|m| m.user_id != member.user_id);
    let at = list.partition_point(|m| (m.joined_at, &m.user_id) < (member.joined_at, &member.user_id));
    list.insert(at, member.clone());
}
