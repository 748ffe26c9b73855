//! The vocabulary of a conference: what a snapshot and its numbered events say, and how one follows from the other.

mod call;
mod change;
mod publication;
mod wire;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ConfId, UserId};
use crate::precis::display_name;

pub use call::{CallData, CallEvent, CallMode, CallOf, CallStep};
pub use change::{Change, Custom, Left, LeftReason, OWN_PREFIX, WaitingReason, WaitingRemoved};
pub use publication::Publication;
pub use wire::{AnyEvent, ConferenceEvent, Event, NumberedBy, Numbering};

/// `state` of a conference that is open.
pub const OPEN: u8 = 0;
/// `state` of a conference that has not started.
pub const NOT_STARTED: u8 = 30;
/// `state` of a conference that has ended.
pub const ENDED: u8 = 31;
/// `state` of a conference that does not exist.
pub const UNKNOWN: u8 = 32;

/// The role of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Leads the conference.
    Chair,
    /// A user of the EIM.
    Member,
    /// Came by a link.
    Guest,
}

/// Whether a member is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// In the conference.
    Joined,
    /// In, without a socket for now.
    Reconnecting,
    /// In the lobby.
    Waiting,
}

/// A member's microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Audio {
    /// On, and forwarded.
    On,
    /// Off, by the member's own choice.
    Off,
    /// Off, by the chair or the policy.
    ForcedOff,
}

/// A member's camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Video {
    /// On, and forwarded.
    On,
    /// Off.
    Off,
}

/// The microphones of new members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MutePolicy {
    /// Members speak when they like.
    Free,
    /// New members are muted; they may unmute themselves.
    JoinMuted,
    /// Only the chair lets members speak.
    Locked,
}

/// One person of a conference, admitted or waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The user.
    pub user_id: UserId,
    /// The name.
    #[serde(deserialize_with = "display_name::deserialize")]
    pub name: String,
    /// The role.
    pub role: Role,
    /// The state.
    pub state: MemberState,
    /// The audio.
    pub audio: Audio,
    /// The video.
    pub video: Video,
    /// Whether the hand is raised.
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
    /// The conference.
    pub conf_id: ConfId,
    /// The conference's name.
    #[serde(deserialize_with = "display_name::deserialize")]
    pub conf_name: String,
    /// [`OPEN`], [`NOT_STARTED`] or [`ENDED`].
    pub state: u8,
    /// Milliseconds since 1970.
    pub start_at: Option<u64>,
    /// The user that leads it.
    pub chair: UserId,
    /// Whether nobody may join any more.
    pub locked: bool,
    /// Whether guests wait for admission.
    pub lobby: bool,
    /// The microphones of new members.
    pub mute_policy: MutePolicy,
    /// The member that everybody is shown large.
    pub main_video: Option<UserId>,
    /// Of a call's own conference: which call it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallOf>,
}

/// A message of the conference's chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The message's id.
    pub message_id: String,
    /// The user.
    pub user_id: UserId,
    /// The text.
    pub text: String,
    /// When it was sent, in ms since 1970.
    pub time: u64,
}

/// Everything that is true of a conference after the event numbered `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roster {
    /// Changes when the EIM starts counting anew; sequence numbers of different epochs don't compare.
    pub epoch: String,
    /// The number of the last event in it.
    pub seq: u64,
    /// The conference.
    pub conference: Conference,
    /// Members that are in.
    #[serde(default)]
    pub members: Vec<Member>,
    /// Members in the lobby.
    #[serde(default)]
    pub waiting: Vec<Member>,
    /// The newest messages, oldest first.
    #[serde(default)]
    pub messages: Vec<Message>,
}

/// Most messages that a snapshot carries: the newest; older ones by `conference.messages`.
pub const SNAPSHOT_MESSAGES: usize = 200;

impl Roster {
    /// Of the result of `eim.snapshot`. Where the gateway numbers, the EIM's epoch is "" and its number 0, whatever it says.
    ///
    /// # Errors
    /// What is missing, or has another form.
    pub fn read(mut result: Value, numbered: NumberedBy) -> Result<Self, serde_json::Error> {
        if let (NumberedBy::Gateway, Some(members)) = (numbered, result.as_object_mut()) {
            members.insert("epoch".to_owned(), "".into());
            members.insert("seq".to_owned(), 0.into());
        }
        serde_json::from_value(result)
    }

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
            // What it changes is known to the EIM and its clients only.
            Change::Custom(_) => {}
        }
    }

    /// The member of that user id.
    pub fn member(&self, user: &UserId) -> Option<&Member> {
        self.members.iter().find(|m| m.user_id == *user)
    }

    /// The waiting member of that user id.
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
