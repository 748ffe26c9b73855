//! The documents on disk: JSON, each under a kind and a key, and how a conference becomes one again.
//!
//! | kind | key | document |
//! |---|---|---|
//! | `conference` | confId | what is true of the whole, with the number of the last event |
//! | `person` | confId/userId | a member, waiting person, kept seat or subscriber |
//! | `message` | confId/number | one message; the number has 16 digits, so that keys sort by age |
//! | `user` | userId | an account |
//! | `node` | node | how often a gateway node has been reset |
//! | `call` | callId | a call that is not over |
//! | `listener` | userId | where news of a user's calls go |
//! | `outbox` | number | a publication that the broker hasn't confirmed; the number has 16 digits |

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::claim::Presence;
use super::room::{Room, Seat, message_number};
use crate::clock::Moment;
use crate::event::{Change, Conference, Member, MemberState, Message, Roster, SNAPSHOT_MESSAGES};
use crate::ids::{ConfId, Secret, UserId};

pub(super) const CONFERENCE: &str = "conference";
pub(super) const PERSON: &str = "person";
pub(super) const MESSAGE: &str = "message";
pub(super) const USER: &str = "user";
pub(super) const NODE: &str = "node";
pub(super) const CALL: &str = "call";
pub(super) const LISTENER: &str = "listener";
pub(super) const OUTBOX: &str = "outbox";

/// One change to what is kept. All writes of one answer belong into one transaction, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The kind of the document: see the table above.
    pub kind: &'static str,
    /// Unique within its kind, at most 160 bytes.
    pub key: String,
    /// The document as JSON, instead of what was there. `None`: it is deleted.
    pub body: Option<String>,
}

impl std::fmt::Debug for Write {
    /// Without the document, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.body.is_some() { "put" } else { "delete" };
        write!(f, "{verb} {}/{}", self.kind, self.key)
    }
}

impl Write {
    pub(super) fn put(kind: &'static str, key: String, document: &impl Serialize) -> Self {
        let body = serde_json::to_string(document).expect("a document is plain data");
        Self { kind, key, body: Some(body) }
    }

    pub(super) fn delete(kind: &'static str, key: String) -> Self {
        Self { kind, key, body: None }
    }
}

/// A stored document that can't be what the EIM wrote.
#[derive(Debug, thiserror::Error)]
#[error("the stored {kind} {key:?} can't be read: {why}")]
pub struct LoadError {
    /// The document's kind.
    pub kind: String,
    /// The document's key.
    pub key: String,
    /// The reason.
    pub why: String,
}

pub(super) fn read<T: DeserializeOwned>(kind: &str, key: &str, body: &str) -> Result<T, LoadError> {
    serde_json::from_str(body).map_err(|e| LoadError { kind: kind.into(), key: key.into(), why: e.to_string() })
}

/// The part of a key before the first slash.
pub(super) fn conf_of(kind: &str, key: &str) -> Result<ConfId, LoadError> {
    let conf = key.split_once('/').and_then(|(conf, _)| ConfId::parse(conf));
    conf.ok_or_else(|| LoadError { kind: kind.into(), key: key.into(), why: "a key without a conference".into() })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadRecord {
    epoch: String,
    seq: u64,
    conference: Conference,
    password: Secret,
    created: Moment,
    banned: BTreeSet<UserId>,
    #[serde(default)]
    chairs: BTreeSet<UserId>,
    #[serde(default)]
    kicked: BTreeMap<UserId, Moment>,
    silenced: BTreeSet<UserId>,
    ended_at: Option<Moment>,
    empty_since: Option<Moment>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersonRecord {
    user_id: UserId,
    /// In state `waiting`: not admitted.
    member: Option<Member>,
    seat: Option<Seat>,
    presence: Option<Presence>,
}

fn person_key(conf: &ConfId, user: &UserId) -> String {
    format!("{conf}/{user}")
}

fn message_key(conf: &ConfId, number: u64) -> String {
    format!("{conf}/{number:016}")
}

impl Room {
    pub fn from_record(head: HeadRecord) -> Self {
        let roster = Roster {
            epoch: head.epoch,
            seq: head.seq,
            conference: head.conference,
            members: Vec::new(),
            waiting: Vec::new(),
            messages: Vec::new(),
        };
        let mut room = Self::bare(roster, head.password, head.created);
        room.banned = head.banned;
        room.pending.people.extend(head.chairs.iter().cloned());
        room.chairs = head.chairs;
        room.kicked = head.kicked;
        room.silenced = head.silenced;
        room.ended_at = head.ended_at;
        room.empty_since = head.empty_since;
        room.adopted = head.adopted;
        room.pending.people.insert(room.chair().clone());
        room
    }

    pub fn restore_person(&mut self, person: PersonRecord) {
        let user = person.user_id;
        if let Some(member) = person.member {
            let waits = member.state == MemberState::Waiting;
            self.apply(&if waits { Change::WaitingAdded(member) } else { Change::MemberJoined(member) });
        }
        if let Some(seat) = person.seat {
            self.seats.insert(user.clone(), seat);
        }
        if let Some(presence) = person.presence {
            self.presence.insert(user.clone(), presence);
        }
        self.pending.people.insert(user);
    }

    /// Messages come in their order.
    pub fn restore_message(&mut self, message: Message) {
        if self.roster.messages.len() >= SNAPSHOT_MESSAGES {
            self.older.push_back(self.roster.messages.remove(0));
        }
        self.apply(&Change::Message(message));
    }

    fn head_record(&self) -> HeadRecord {
        HeadRecord {
            epoch: self.roster.epoch.clone(),
            seq: self.roster.seq,
            conference: self.roster.conference.clone(),
            password: self.password.clone(),
            created: self.created,
            banned: self.banned.clone(),
            chairs: self.chairs.clone(),
            kicked: self.kicked.clone(),
            silenced: self.silenced.clone(),
            ended_at: self.ended_at,
            empty_since: self.empty_since,
            adopted: self.adopted,
        }
    }

    fn write_person(&self, user: &UserId) -> Write {
        let key = person_key(self.id(), user);
        let person = PersonRecord {
            user_id: user.clone(),
            member: self.roster.member(user).or_else(|| self.roster.waiter(user)).cloned(),
            seat: self.seats.get(user).cloned(),
            presence: self.presence.get(user).cloned(),
        };
        let nothing = person.member.is_none() && person.seat.is_none() && person.presence.is_none();
        if nothing { Write::delete(PERSON, key) } else { Write::put(PERSON, key, &person) }
    }

    /// The writes for what has changed since they were last taken. The users stay noted, for the indexes.
    pub fn take_writes(&mut self, writes: &mut Vec<Write>) {
        if std::mem::take(&mut self.pending.head) {
            writes.push(Write::put(CONFERENCE, self.id().to_string(), &self.head_record()));
        }
        writes.extend(self.pending.people.iter().map(|user| self.write_person(user)));
        for (number, message) in std::mem::take(&mut self.pending.messages) {
            let key = message_key(self.id(), number);
            writes.push(
                message.map_or_else(|| Write::delete(MESSAGE, key.clone()), |m| Write::put(MESSAGE, key.clone(), &m)),
            );
        }
    }

    /// Deletes everything that is kept of the conference.
    pub fn erase(&self, writes: &mut Vec<Write>) {
        writes.push(Write::delete(CONFERENCE, self.id().to_string()));
        let people = self.roster.members.iter().chain(&self.roster.waiting).map(|m| &m.user_id);
        for user in people.chain(self.seats.keys()).chain(self.presence.keys()) {
            writes.push(Write::delete(PERSON, person_key(self.id(), user)));
        }
        for message in self.older.iter().chain(&self.roster.messages) {
            let number = message_number(&message.message_id);
            writes.extend(number.map(|n| Write::delete(MESSAGE, message_key(self.id(), n))));
        }
    }
}
