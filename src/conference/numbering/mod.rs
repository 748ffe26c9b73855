//! Numbers for the events of an EIM that gives none (`events.numbered = "gateway"`), and what such an EIM doesn't keep:
//! which members have a socket, their grace and their seats.
//!
//! # Pure core
//!
//! [`Numbering`] is one conference as the gateway numbers it. It takes the EIM's changes, the EIM's roster
//! (`eim.snapshot`), and reports of sockets; it gives numbered events, and [`Order`]s for its shell
//! ([`super::owner`]). Time is an argument.
//!
//! # What holds
//!
//! - The EIM's changes may come twice, late, in another order or not at all: they only make clients see a change soon. What
//!   is true is the EIM's roster, which is compared at intervals and after every doubt; each difference becomes an event.
//! - A change that is older, by its own time, than the last one about the same member or the conference is not applied.
//! - What changed while the EIM's roster was on its way is left out of that comparison, and compared once more.
//! - The roster that the numbered events give is the EIM's, with these exceptions: a member's `state` is what the gateway
//!   knows of their sockets, where they ever had one; a member whose grace is over is out of it. When the seat is over too
//!   the gateway has them leave at the EIM.
//! - Messages stand in the order in which they came.

mod compare;
mod difference;
#[cfg(test)]
mod histories;
mod presence;
mod request;
mod seats;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::compare::Compare;
use self::difference::{Subject, of_conference};
use self::seats::Seats;
use super::log::{Applied, Log};
use crate::event::{
    Change, Conference, ConferenceEvent, ENDED, Event, Left, LeftReason, Member, MemberState, Roster, WaitingReason,
    WaitingRemoved,
};
use crate::ids::{ConfId, UserId};

pub use self::compare::NoRoster;
pub use self::presence::NoSubscription;
pub use self::request::{Answer, OwnerRequest};
pub use self::seats::Claim;

/// Most subjects whose last time is remembered; at more all are forgotten, and the next comparison finds what is wrong.
const TIMES_MAX: usize = 4096;
/// Most messages that are known not to be new: five times those of a roster.
const MESSAGES_MAX: usize = 1000;
/// Most users who are kept from listening, since they were removed.
const BARRED_MAX: usize = 1024;

/// An order of the core to its shell.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Give this to clients, once it is kept.
    Deliver(Event),
    /// Read the EIM's roster.
    ReadRoster,
    /// Have the user leave at the EIM.
    Leave(UserId),
}

/// What the next process needs beside the events, as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept(Seats);

/// See the module. Owns the numbers of one conference.
pub struct Numbering {
    conf_id: ConfId,
    /// `None` until the EIM's roster is known.
    log: Option<Log>,
    /// Most events kept.
    keep: usize,
    seats: Seats,
    compare: Compare,
    /// Users that were removed, until they are let in again.
    barred: BTreeSet<UserId>,
    /// The newest time of each subject's changes.
    times: HashMap<Subject, u64>,
    /// Messages that had their event.
    messages: VecDeque<String>,
    known_messages: HashSet<String>,
}

type Orders = Vec<Order>;

impl Numbering {
    /// Nothing is known yet. `keep`: most events kept; `every_ms`: how often it is compared with the EIM.
    pub fn new(conf_id: ConfId, keep: usize, every_ms: u64) -> Self {
        Self {
            conf_id,
            log: None,
            keep,
            seats: Seats::default(),
            compare: Compare::new(every_ms),
            barred: BTreeSet::new(),
            times: HashMap::new(),
            messages: VecDeque::new(),
            known_messages: HashSet::new(),
        }
    }

    /// Goes on from what an earlier owner has kept: a roster, and the events from about then on.
    pub fn resume(&mut self, roster: Roster, events: Vec<Event>, kept: Kept) {
        if roster.conference.state == ENDED {
            // The EIM may use the conference's id once more.
            return;
        }
        let at = roster.seq;
        let mut log = Log::new(roster, self.keep);
        let later = events.partition_point(|event| event.seq <= at);
        let (mut before, after) = (events, Vec::new());
        let after = [after, before.split_off(later)].concat();
        log.recall(before);
        for event in after {
            if log.apply(event) != Applied::New {
                break;
            }
        }
        let is_over = log.roster().conference.state == ENDED;
        let known: Vec<String> = log.entries().filter_map(|event| message_id(&event.change)).collect();
        let newest: Vec<String> = log.roster().messages.iter().map(|m| m.message_id.clone()).collect();
        for id in known.into_iter().chain(newest) {
            self.is_new_message(&id);
        }
        (self.log, self.seats) = ((!is_over).then_some(log), kept.0.resumed());
    }

    /// The roster as clients have it.
    pub fn roster(&self) -> Option<&Roster> {
        self.log.as_ref().map(Log::roster)
    }

    /// The log, with the newest events.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// What the next process needs beside the events.
    pub fn kept(&self) -> Kept {
        Kept(self.seats.clone())
    }

    /// Whether nothing of it has changed since.
    pub fn has_kept(&self, kept: &Kept) -> bool {
        self.seats == kept.0
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.roster().is_some_and(|roster| roster.conference.state == ENDED)
    }

    /// Whether there is nobody to be followed.
    pub fn is_unused(&self) -> bool {
        self.seats.is_empty()
    }

    /// A change from the EIM. Answers whether it was applied; where it wasn't, the EIM's roster is read.
    pub fn change(&mut self, event: ConferenceEvent, now: u64, out: &mut Orders) -> bool {
        let subject = Subject::of(&event.change);
        if let Some(subject) = &subject {
            self.compare.touch(subject);
        }
        if self.log.is_none() || self.is_over() {
            self.compare.hasten(now);
            return false;
        }
        let is_late = subject.as_ref().and_then(|s| self.times.get(s)).is_some_and(|last| event.time < *last);
        let changes = if is_late { Vec::new() } else { self.read(&event) };
        if changes.is_empty() {
            self.compare.hasten(now);
            return false;
        }
        if let Some(subject) = subject {
            if self.times.len() >= TIMES_MAX {
                self.times.clear();
            }
            self.times.insert(subject, event.time);
        }
        for change in changes {
            self.give_number(change, event.time, event.actor.clone(), out);
        }
        true
    }

    /// The change as it fits the roster; nothing where it says nothing new, or nothing that can be.
    fn read(&mut self, event: &ConferenceEvent) -> Vec<Change> {
        let Some(log) = &self.log else { return Vec::new() };
        let roster = log.roster();
        match &event.change {
            Change::Created(c)
            | Change::Started(c)
            | Change::Updated(c)
            | Change::Locked(c)
            | Change::Unlocked(c)
            | Change::MainVideo(c)
            | Change::Ended(c) => self.conference(c, matches!(event.change, Change::Ended(_))),
            Change::MemberJoined(m) => self.member(m, true),
            Change::MemberUpdated(m) => self.member(m, false),
            Change::WaitingAdded(m) => {
                let hidden = self.seats.hidden(&m.user_id);
                if hidden.is_some_and(|hidden| hidden.joined_at == m.joined_at) {
                    self.seats.update_hidden(m);
                    return Vec::new();
                }
                let is_new = roster.waiter(&m.user_id) != Some(m) && roster.member(&m.user_id).is_none();
                is_new.then(|| event.change.clone()).into_iter().collect()
            }
            Change::MemberLeft(Left { user_id, .. }) | Change::WaitingRemoved(WaitingRemoved { user_id, .. }) => {
                let is_here = match &event.change {
                    Change::MemberLeft(_) => roster.member(user_id).is_some(),
                    _ => roster.waiter(user_id).is_some(),
                };
                if self.seats.hidden(user_id).is_some() {
                    self.seats.take(user_id);
                }
                is_here.then(|| event.change.clone()).into_iter().collect()
            }
            Change::Message(message) => {
                let is_new = self.is_new_message(&message.message_id);
                is_new.then(|| event.change.clone()).into_iter().collect()
            }
            Change::Custom(_) => {
                let is_same =
                    |old: &Event| old.time == event.time && old.actor == event.actor && old.change == event.change;
                let is_new = !log.entries().any(is_same);
                is_new.then(|| event.change.clone()).into_iter().collect()
            }
        }
    }

    fn conference(&self, theirs: &Conference, is_end: bool) -> Vec<Change> {
        let Some(ours) = self.roster().map(|roster| &roster.conference) else { return Vec::new() };
        if theirs.conf_id != self.conf_id {
            return Vec::new();
        }
        let mut theirs = theirs.clone();
        if is_end {
            theirs.state = ENDED;
        }
        of_conference(ours, &theirs).into_iter().collect()
    }

    fn member(&mut self, theirs: &Member, joins: bool) -> Vec<Change> {
        if let Some(hidden) = self.seats.hidden(&theirs.user_id) {
            if !joins || hidden.joined_at == theirs.joined_at {
                self.seats.update_hidden(theirs);
                return Vec::new();
            }
            // They came in anew, by another way than the gateway.
            self.seats.take(&theirs.user_id);
        }
        let Some(roster) = self.log.as_ref().map(Log::roster) else { return Vec::new() };
        let seen = self.seats.seen(theirs.clone());
        match roster.member(&theirs.user_id) {
            Some(ours) if *ours == seen => Vec::new(),
            Some(_) => vec![Change::MemberUpdated(seen)],
            None if !joins || theirs.state == MemberState::Waiting => Vec::new(),
            None => {
                let user_id = theirs.user_id.clone();
                let admitted = roster.waiter(&user_id).is_some();
                let admitted = admitted.then_some(WaitingRemoved { user_id, reason: WaitingReason::Admitted });
                admitted.map(Change::WaitingRemoved).into_iter().chain([Change::MemberJoined(seen)]).collect()
            }
        }
    }

    /// Whether the message had no event yet; it has now.
    fn is_new_message(&mut self, message_id: &str) -> bool {
        if !self.known_messages.insert(message_id.to_owned()) {
            return false;
        }
        self.messages.push_back(message_id.to_owned());
        if self.messages.len() > MESSAGES_MAX
            && let Some(oldest) = self.messages.pop_front()
        {
            self.known_messages.remove(&oldest);
        }
        true
    }

    /// Makes the change, under the next number.
    fn give_number(&mut self, change: Change, time: u64, actor: Option<UserId>, out: &mut Orders) {
        let Some(log) = &mut self.log else { return };
        let (epoch, seq) = (log.roster().epoch.clone(), log.roster().seq + 1);
        self.follow(&change);
        let event = Event { epoch, seq, conf_id: self.conf_id.clone(), time, change, actor };
        let Some(log) = &mut self.log else { return };
        log.apply(event.clone());
        out.push(Order::Deliver(event));
    }

    /// What follows from the change beside the roster.
    fn follow(&mut self, change: &Change) {
        match change {
            Change::MemberLeft(left) => {
                if matches!(left.reason, LeftReason::Kicked | LeftReason::Banned) {
                    self.bar(&left.user_id);
                }
            }
            Change::WaitingRemoved(gone) if gone.reason == WaitingReason::Denied => self.bar(&gone.user_id),
            Change::MemberJoined(m) | Change::WaitingAdded(m) => {
                self.barred.remove(&m.user_id);
            }
            Change::Ended(_) => self.seats.clear(),
            _ => {}
        }
    }

    fn bar(&mut self, user: &UserId) {
        self.seats.take(user);
        if self.barred.len() < BARRED_MAX {
            self.barred.insert(user.clone());
        }
    }
}

fn message_id(change: &Change) -> Option<String> {
    match change {
        Change::Message(message) => Some(message.message_id.clone()),
        _ => None,
    }
}
