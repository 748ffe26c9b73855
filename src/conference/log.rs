//! One conference's ordered log: the roster after the newest event, and the events that led there, for resuming.
//! Pure: no clock, no socket.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Change, Conference, Event, Member, Message, Roster};
use crate::ids::{ConfId, UserId};

/// Where a client stands: the last event that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The numbering of `seq`.
    pub epoch: String,
    /// The last event's number.
    pub seq: u64,
}

/// The reason why a client gets a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It is new here, or has just been admitted.
    Join,
    /// Events between its position and now are not to be had.
    Gap,
    /// The EIM has started counting anew.
    Epoch,
    /// Its position is older than what is kept.
    Expired,
}

/// The result of applying an event from the EIM.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    New,
    /// Seen before; dropped.
    Repeat,
    /// Events before it are missing, or the epoch is another: a fresh roster is needed.
    Gap,
}

/// An event with the text that every socket is sent, written once.
#[derive(Debug, Clone)]
pub struct Entry {
    pub event: Arc<Event>,
    pub frame: crate::http::ws::Frame,
}

impl Entry {
    fn new(event: Event) -> Self {
        let frame = notification("conference.event", &event).into();
        Self { event: Arc::new(event), frame }
    }
}

pub struct Log {
    roster: Roster,
    entries: VecDeque<Entry>,
    /// Most entries kept.
    keep: usize,
    /// Whether entries were dropped because there were more than `keep`.
    trimmed: bool,
}

impl Log {
    pub fn new(roster: Roster, keep: usize) -> Self {
        Self { roster, entries: VecDeque::new(), keep, trimmed: false }
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether the event follows what is known.
    pub fn is_next(&self, event: &Event) -> bool {
        event.epoch == self.roster.epoch && event.seq.checked_sub(1) == Some(self.roster.seq)
    }

    /// Puts the event in its place, or says why it has none.
    pub fn apply(&mut self, event: Event) -> Applied {
        if !self.follows(&event) {
            return Applied::Gap;
        }
        if event.seq <= self.roster.seq {
            return Applied::Repeat;
        }
        self.roster.apply(&event.change);
        self.roster.seq = event.seq;
        self.entries.push_back(Entry::new(event));
        if self.entries.len() > self.keep {
            self.entries.pop_front();
            self.trimmed = true;
        }
        Applied::New
    }

    /// Puts events of the past, which follow each other, before the oldest that is kept, where they lead up to it.
    /// Answers those that lead on from the newest.
    pub fn recall(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        let (oldest, newest) = (self.oldest(), self.roster.seq);
        let touches = |first: &Event, last: &Event| {
            last.epoch == self.roster.epoch && first.seq.saturating_sub(1) <= newest && oldest <= last.seq
        };
        if !events.first().zip(events.last()).is_some_and(|(first, last)| touches(first, last)) {
            return Vec::new();
        }
        let newer = events.split_off(events.partition_point(|event| event.seq <= newest));
        events.truncate(events.partition_point(|event| event.seq <= oldest));
        for event in events.into_iter().rev().take(self.keep.saturating_sub(self.entries.len())) {
            self.entries.push_front(Entry::new(event));
        }
        newer
    }

    /// The number of the event before the oldest entry.
    fn oldest(&self) -> u64 {
        self.entries.front().map_or(self.roster.seq, |e| e.event.seq - 1)
    }

    /// Where the log ends.
    pub fn end(&self) -> Position {
        Position { epoch: self.roster.epoch.clone(), seq: self.roster.seq }
    }

    /// Whether the log begins after the position, yet by no more events than are replayed.
    pub fn is_before(&self, position: &Position, replay: usize) -> bool {
        let missed = self.roster.seq.saturating_sub(position.seq);
        position.epoch == self.roster.epoch && position.seq < self.oldest() && missed <= replay as u64
    }

    /// Whether the log ends before the position.
    pub fn is_behind(&self, position: &Position) -> bool {
        position.epoch == self.roster.epoch && position.seq > self.roster.seq
    }

    /// Whether the roster is what it is after the event, or a later one.
    pub fn has(&self, event: &Event) -> bool {
        event.epoch == self.roster.epoch && event.seq <= self.roster.seq
    }

    /// Whether nothing is missing before the event.
    pub fn follows(&self, event: &Event) -> bool {
        self.has(event) || event.epoch == self.roster.epoch && self.is_next(event)
    }

    /// The events kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().map(|entry| &*entry.event)
    }

    /// The newest entry.
    pub fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// Takes a fresh roster from the EIM in place of what is known, unless ours is at least as new.
    /// The reason is what clients are to be told; `None` where nothing changed.
    pub fn renew(&mut self, roster: Roster) -> Option<Reason> {
        let reason = if roster.epoch != self.roster.epoch {
            Reason::Epoch
        } else if roster.seq > self.roster.seq {
            Reason::Gap
        } else {
            return None;
        };
        self.roster = roster;
        self.entries.clear();
        self.trimmed = false;
        Some(reason)
    }

    /// The events after `position`, oldest first; or why only a snapshot serves.
    pub fn since(&self, position: &Position) -> Result<impl Iterator<Item = &Entry> + Clone, Reason> {
        if position.epoch != self.roster.epoch {
            return Err(Reason::Epoch);
        }
        let oldest = self.oldest();
        if position.seq < oldest {
            return Err(if self.trimmed { Reason::Expired } else { Reason::Gap });
        }
        if position.seq > self.roster.seq {
            return Err(Reason::Gap);
        }
        Ok(self.entries.iter().skip((position.seq - oldest) as usize))
    }

    /// The events after `position` for one who was in then: who was not yet a member at their position has a
    /// restricted snapshot only, which events can't be replayed over.
    pub fn since_for(
        &self,
        user: &UserId,
        position: &Position,
    ) -> Result<impl Iterator<Item = &Entry> + Clone, Reason> {
        let entries = self.since(position)?;
        let first = entries.clone().find_map(|e| match &e.event.change {
            Change::MemberJoined(m) if m.user_id == *user => Some(true),
            Change::MemberLeft(l) if l.user_id == *user => Some(false),
            _ => None,
        });
        let always = self.roster.conference.chair == *user;
        if first == Some(true) && !always { Err(Reason::Join) } else { Ok(entries) }
    }
}

/// The params of `conference.snapshot`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    conf_id: &'a ConfId,
    epoch: &'a str,
    seq: u64,
    reason: Reason,
    conference: &'a Conference,
    members: &'a [Member],
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a [Member]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a [Message]>,
}

/// A snapshot notification with everything in it.
pub fn full_snapshot(roster: &Roster, reason: Reason) -> String {
    snapshot(roster, reason, &roster.members, Some((&roster.waiting, &roster.messages)))
}

/// A snapshot notification for one who is not admitted: the conference, and themselves where they wait.
pub fn outside_snapshot(roster: &Roster, user: &UserId, reason: Reason) -> String {
    let own: Vec<Member> = roster.waiter(user).cloned().into_iter().collect();
    snapshot(roster, reason, &own, None)
}

/// `inside`: who waits and what was said, for those who are in.
fn snapshot(roster: &Roster, reason: Reason, members: &[Member], inside: Option<(&[Member], &[Message])>) -> String {
    let snapshot = Snapshot {
        conf_id: &roster.conference.conf_id,
        epoch: &roster.epoch,
        seq: roster.seq,
        reason,
        conference: &roster.conference,
        members,
        waiting: inside.map(|(waiting, _)| waiting),
        messages: inside.map(|(_, messages)| messages),
    };
    notification("conference.snapshot", &snapshot)
}

/// A JSON-RPC notification's text.
pub fn notification(method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a P,
    }
    serde_json::to_string(&Notification { jsonrpc: "2.0", method, params })
        .expect("the vocabulary has string keys only")
}
