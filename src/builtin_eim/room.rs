//! One conference: its roster and what the roster doesn't tell (password, bans, kept seats, who listens).
//!
//! Owned by the [`Directory`](super::directory::Directory). The roster changes through [`Room::emit`] only, so that
//! every change is a numbered event and replaying the events over a snapshot gives the roster.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::address::gateway_of;
use super::claim::Presence;
use super::settings::Limits;
use crate::clock::{Moment, Now};
use crate::event::{Change, Conference, ENDED, Event, Member, Message, OPEN, Roster, SNAPSHOT_MESSAGES};
use crate::ids::{ConfId, Secret, UserId};

/// The cause of a change: its actor, its time and the bounds that hold.
#[derive(Clone, Copy)]
pub(super) struct Cause<'a> {
    pub now: Now,
    /// `None`: nobody's hand, but time or a lost connection.
    pub actor: Option<&'a UserId>,
    pub limits: &'a Limits,
}

/// The place that somebody who is away comes back to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seat {
    pub member: Member,
    /// Kept until then.
    pub until: Moment,
}

/// Where in the roster a user stands. Mirrors the roster's lists, which have no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RosterList {
    Member,
    Waiting,
}

/// An event and the addresses that it goes to as a headline: often none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Posted {
    pub event: Event,
    pub to: Vec<String>,
}

/// The changes of the operation under way that nobody has taken yet.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pending {
    pub events: Vec<Posted>,
    /// The conference's own record has changed.
    pub head: bool,
    /// Users whose record or whose relation to the conference may have changed.
    pub people: BTreeSet<UserId>,
    /// Messages by number: added, or dropped for age.
    pub messages: Vec<(u64, Option<Message>)>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Room {
    pub roster: Roster,
    pub password: Secret,
    pub created: Moment,
    pub banned: BTreeSet<UserId>,
    /// Chairs beside the one whom the conference names: who came by a chair's link, and whose conference one of those has
    /// handed on.
    pub chairs: BTreeSet<UserId>,
    /// Users that were removed lately, and until when they stay out.
    pub kicked: BTreeMap<UserId, Moment>,
    /// Those who left while they were forced to be silent: leaving and coming back lifts nothing.
    pub silenced: BTreeSet<UserId>,
    pub seats: BTreeMap<UserId, Seat>,
    pub presence: BTreeMap<UserId, Presence>,
    /// Messages that are too old for the roster, oldest first.
    pub older: VecDeque<Message>,
    pub ended_at: Option<Moment>,
    /// Since when an open conference has no members.
    pub empty_since: Option<Moment>,
    /// Its MUC room was there before it, and stays when it is over (`eim.mode = "muc"`).
    pub adopted: bool,
    pub pending: Pending,
    places: HashMap<UserId, RosterList>,
}

impl Room {
    /// `epoch`: random text that no other conference has.
    pub fn new(conference: Conference, password: Secret, epoch: String, cause: &Cause<'_>) -> Self {
        let roster = Roster {
            epoch,
            seq: 0,
            conference: conference.clone(),
            members: Vec::new(),
            waiting: Vec::new(),
            messages: Vec::new(),
        };
        let mut room = Self::bare(roster, password, cause.now.moment);
        room.pending.people.insert(conference.chair.clone());
        room.emit(cause, Change::Created(conference));
        room
    }

    /// A room with nobody in it and nothing to tell.
    pub fn bare(roster: Roster, password: Secret, created: Moment) -> Self {
        Self {
            roster,
            password,
            created,
            banned: BTreeSet::new(),
            chairs: BTreeSet::new(),
            kicked: BTreeMap::new(),
            silenced: BTreeSet::new(),
            seats: BTreeMap::new(),
            presence: BTreeMap::new(),
            older: VecDeque::new(),
            ended_at: None,
            empty_since: None,
            adopted: false,
            pending: Pending::default(),
            places: HashMap::new(),
        }
    }

    pub fn id(&self) -> &ConfId {
        &self.roster.conference.conf_id
    }

    pub fn chair(&self) -> &UserId {
        &self.roster.conference.chair
    }

    /// Whether the conference is the user's to rule: theirs by name, or as one of its further chairs.
    pub fn is_chair(&self, user: &UserId) -> bool {
        self.chair() == user || self.chairs.contains(user)
    }

    pub fn add_chair(&mut self, user: UserId) {
        self.pending.people.insert(user.clone());
        self.pending.head |= self.chairs.insert(user);
    }

    pub fn drop_chair(&mut self, user: &UserId) {
        if self.chairs.remove(user) {
            self.pending.people.insert(user.clone());
            self.pending.head = true;
        }
    }

    pub fn is_member(&self, user: &UserId) -> bool {
        self.places.get(user) == Some(&RosterList::Member)
    }

    pub fn is_waiting(&self, user: &UserId) -> bool {
        self.places.get(user) == Some(&RosterList::Waiting)
    }

    /// Whether the user sees the roster, the events and the messages.
    pub fn sees_all(&self, user: &UserId) -> bool {
        self.is_chair(user) || self.is_member(user)
    }

    /// Whether the conference is one of the user's: they chair it, are in it or wait for it.
    pub fn concerns(&self, user: &UserId) -> bool {
        self.is_chair(user) || self.places.contains_key(user)
    }

    pub fn is_open(&self) -> bool {
        self.roster.conference.state == OPEN
    }

    pub fn is_over(&self) -> bool {
        self.roster.conference.state == ENDED
    }

    /// Numbers the change, makes it, and notes who is to be told of it.
    pub fn emit(&mut self, cause: &Cause<'_>, change: Change) {
        if let Change::Ended(_) = change {
            let everybody = self.places.keys().chain(self.seats.keys()).chain(self.presence.keys());
            self.pending.people.extend(everybody.cloned());
            self.pending.people.insert(self.chair().clone());
            self.pending.people.extend(self.chairs.iter().cloned());
        }
        if let Change::Message(_) = change {
            self.make_room_for_message(cause.limits);
        }
        self.roster.seq += 1;
        self.apply(&change);
        self.pending.head = true;
        self.pending.people.extend(subject(&change).cloned());
        if let Change::Message(message) = &change {
            self.pending.messages.push((self.roster.seq, Some(message.clone())));
        }
        let empty = self.is_open() && self.roster.members.is_empty();
        self.empty_since = empty.then(|| self.empty_since.unwrap_or(cause.now.moment));
        let to = self.audience(&change, cause.now.moment);
        let event = Event {
            epoch: self.roster.epoch.clone(),
            seq: self.roster.seq,
            conf_id: self.id().clone(),
            time: cause.now.date,
            change,
            actor: cause.actor.cloned(),
        };
        self.pending.events.push(Posted { event, to });
    }

    /// Makes the change in the roster and in its mirror, unnumbered.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::MemberJoined(m) | Change::MemberUpdated(m) => {
                self.places.insert(m.user_id.clone(), RosterList::Member);
            }
            Change::WaitingAdded(m) => {
                self.places.insert(m.user_id.clone(), RosterList::Waiting);
            }
            Change::MemberLeft(left) => {
                self.places.remove(&left.user_id);
            }
            Change::WaitingRemoved(gone) => {
                self.places.remove(&gone.user_id);
            }
            Change::Ended(_) => self.places.clear(),
            _ => {}
        }
        self.roster.apply(change);
    }

    /// The roster would drop its oldest message: keeps that for those who read back, as far as the bound goes.
    fn make_room_for_message(&mut self, limits: &Limits) {
        if self.roster.messages.len() >= SNAPSHOT_MESSAGES {
            self.older.push_back(self.roster.messages.remove(0));
        }
        while self.older.len() + SNAPSHOT_MESSAGES > limits.messages.max(SNAPSHOT_MESSAGES) {
            let Some(dropped) = self.older.pop_front() else { return };
            self.pending.messages.extend(message_number(&dropped.message_id).map(|number| (number, None)));
        }
    }

    /// Messages before the one of that number, newest first.
    pub fn messages_before(&self, number: u64) -> impl Iterator<Item = &Message> {
        let is_before = move |m: &&Message| message_number(&m.message_id).is_some_and(|n| n < number);
        self.roster.messages.iter().rev().chain(self.older.iter().rev()).skip_while(move |m| !is_before(m))
    }

    /// Changes one member and tells it, if `change` makes a difference.
    pub fn update_member(&mut self, cause: &Cause<'_>, user: &UserId, change: impl FnOnce(&mut Member)) {
        let Some(before) = self.roster.member(user) else { return };
        let mut after = before.clone();
        change(&mut after);
        if after != *before {
            self.emit(cause, Change::MemberUpdated(after));
        }
    }

    /// The conference with one thing changed.
    pub fn conference_with(&self, change: impl FnOnce(&mut Conference)) -> Conference {
        let mut conference = self.roster.conference.clone();
        change(&mut conference);
        conference
    }
}

/// The number in a message's id, which is that of its event.
pub(super) fn message_number(message_id: &str) -> Option<u64> {
    message_id.strip_prefix('m')?.parse().ok()
}

impl Room {
    /// The addresses that are told of a change just made.
    ///
    /// A session is told what its user may see: members and the chair everything, others what concerns themselves, and
    /// everybody the end. A gateway gets one copy for all its users, at the address that subscribed last, as soon as one
    /// of them is in the conference or waits for it: it is the gateway's part to show each of them what they may see.
    fn audience(&self, change: &Change, now: Moment) -> Vec<String> {
        let subject = subject(change);
        let over = matches!(change, Change::Ended(_));
        let mut gateways: BTreeMap<&str, (Moment, &str, bool)> = BTreeMap::new();
        let mut sessions = Vec::new();
        for (user, presence) in &self.presence {
            let Some(address) = presence.address.as_deref() else { continue };
            if presence.lingers_until.is_some_and(|until| until <= now) {
                continue;
            }
            let wanted = over || self.sees_all(user) || subject == Some(user);
            match gateway_of(address) {
                None if wanted => sessions.push(address.to_owned()),
                None => {}
                Some(gateway) => {
                    let wanted = wanted || self.is_waiting(user);
                    let entry = gateways.entry(gateway).or_insert((presence.since, address, false));
                    let latest = (entry.0, entry.1).max((presence.since, address));
                    *entry = (latest.0, latest.1, entry.2 || wanted);
                }
            }
        }
        let copies = gateways.into_values().filter(|(.., wanted)| *wanted).map(|(_, address, _)| address.to_owned());
        sessions.extend(copies);
        sessions
    }
}

/// The person that an event is about.
fn subject(change: &Change) -> Option<&UserId> {
    match change {
        Change::MemberJoined(m) | Change::MemberUpdated(m) | Change::WaitingAdded(m) => Some(&m.user_id),
        Change::MemberLeft(left) => Some(&left.user_id),
        Change::WaitingRemoved(gone) => Some(&gone.user_id),
        _ => None,
    }
}
