//! Comparing with the EIM's roster: when, and what becomes of a difference.

use std::collections::BTreeSet;

use super::super::log::Log;
use super::difference::{Subject, difference};
use super::seats::Presence;
use super::{Numbering, Order, Orders};
use crate::event::{Change, ENDED, Roster, SNAPSHOT_MESSAGES};
use crate::ids::UserId;

/// Between a comparison and the next, however many doubts there are.
const PAUSE_MS: u64 = 1000;
/// How long until a request that failed is made again.
const RETRY_MS: u64 = 2000;
/// The number that stands for how the conference was found: [`crate::conference::core`] takes it for that of its creation.
const FIRST: u64 = 1;

/// When the EIM's roster is read, and what has changed since the request.
pub(super) struct Compare {
    every_ms: u64,
    due: u64,
    asked_at: Option<u64>,
    /// While a request is under way: what has changed meanwhile.
    touched: BTreeSet<Subject>,
    under_way: bool,
}

impl Compare {
    pub fn new(every_ms: u64) -> Self {
        Self { every_ms, due: 0, asked_at: None, touched: BTreeSet::new(), under_way: false }
    }

    /// Something may be wrong: not at the next interval, but soon.
    pub fn hasten(&mut self, now: u64) {
        let soon = self.asked_at.map_or(now, |at| now.max(at + PAUSE_MS));
        self.due = self.due.min(soon);
    }

    pub fn touch(&mut self, subject: &Subject) {
        if self.under_way {
            self.touched.insert(subject.clone());
        }
    }
}

/// How the EIM's roster could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoster {
    /// It may work later.
    NotNow,
    /// The EIM has no such conference.
    NoConference,
}

impl Numbering {
    /// The link to the EIM was down, or a change was lost: its roster is read soon.
    pub fn doubt(&mut self, now: u64) {
        self.compare.hasten(now);
    }

    /// Time passes: the EIM's roster is read, seats end.
    pub fn tick(&mut self, now: u64, out: &mut Orders) {
        if !self.compare.under_way && self.compare.due <= now && !self.is_over() {
            self.compare.under_way = true;
            (self.compare.asked_at, self.compare.due) = (Some(now), now + self.compare.every_ms);
            self.compare.touched.clear();
            out.push(Order::ReadRoster);
        }
        self.end_seats(now, out);
    }

    /// The EIM's roster could not be read.
    pub fn on_no_roster(&mut self, why: NoRoster, now: u64, date: u64, out: &mut Orders) {
        self.compare.under_way = false;
        match (why, self.roster()) {
            (NoRoster::NoConference, Some(roster)) if !self.is_over() => {
                let mut conference = roster.conference.clone();
                conference.state = ENDED;
                self.give_number(Change::Ended(conference), date, None, out);
            }
            _ => self.compare.due = now + RETRY_MS,
        }
    }

    /// The EIM's roster. Answers how many differences there were. `epoch`: text that no other numbering has.
    pub fn on_roster(&mut self, theirs: Roster, epoch: String, now: u64, date: u64, out: &mut Orders) -> usize {
        self.compare.under_way = false;
        let touched = std::mem::take(&mut self.compare.touched);
        if theirs.conference.conf_id != self.conf_id {
            // Another conference's: the EIM's answer is of no use.
            self.compare.due = now + RETRY_MS;
            return 0;
        }
        if !touched.is_empty() {
            self.compare.hasten(now);
        }
        self.settle_seats(&theirs, &touched);
        let seen = self.as_seen(theirs);
        let Some(ours) = self.roster() else {
            for message in &seen.messages {
                self.is_new_message(&message.message_id);
            }
            self.log = Some(Log::new(Roster { epoch, seq: FIRST, ..seen }, self.keep));
            return 0;
        };
        if self.is_over() {
            return 0;
        }
        let mut changes = difference(ours, &seen, &touched);
        let surplus = seen.messages.len().saturating_sub(SNAPSHOT_MESSAGES);
        let messages: Vec<_> = seen.messages.into_iter().skip(surplus).collect();
        let is_over = matches!(changes.last(), Some(Change::Ended(_)));
        for message in messages.into_iter().filter(|_| !is_over) {
            if self.is_new_message(&message.message_id) {
                changes.push(Change::Message(message));
            }
        }
        let count = changes.len();
        for change in changes {
            self.give_number(change, date, None, out);
        }
        count
    }

    /// The EIM's roster as clients are to see it.
    pub(in crate::conference) fn as_seen(&self, mut theirs: Roster) -> Roster {
        theirs.members.retain(|m| self.seats.hidden(&m.user_id).is_none());
        theirs.waiting.retain(|m| self.seats.hidden(&m.user_id).is_none());
        theirs.members = theirs.members.into_iter().map(|m| self.seats.seen(m)).collect();
        theirs.members.sort_by(|a, b| (a.joined_at, &a.user_id).cmp(&(b.joined_at, &b.user_id)));
        theirs.waiting.sort_by(|a, b| (a.joined_at, &a.user_id).cmp(&(b.joined_at, &b.user_id)));
        if theirs.conference.state == ENDED {
            theirs.members.clear();
            theirs.waiting.clear();
        }
        theirs
    }

    /// What the EIM's roster says of those whose grace is over.
    fn settle_seats(&mut self, theirs: &Roster, touched: &BTreeSet<Subject>) {
        let is_hidden = |user: &&UserId| self.seats.hidden(user).is_some();
        let hidden: Vec<UserId> = self.seats.iter().map(|(user, _)| user).filter(is_hidden).cloned().collect();
        for user in hidden {
            if touched.contains(&Subject::User(user.clone())) {
                continue;
            }
            let found = theirs.member(&user).or_else(|| theirs.waiter(&user));
            let is_done =
                matches!(self.seats.get(&user).map(|s| &s.presence), Some(Presence::Leaving { done: true, .. }));
            match found {
                // The EIM has not let them go: then they are there.
                Some(_) if is_done => drop(self.seats.take(&user)),
                Some(member) => self.seats.update_hidden(member),
                None => drop(self.seats.take(&user)),
            }
        }
    }
}
