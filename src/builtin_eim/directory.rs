//! All conferences, and the indexes that find one without looking at the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::persistence::{self, HeadRecord, LoadError, PersonRecord, Write};
use super::room::{Posted, Room};
use super::settings::Limits;
use super::stanza_error::StanzaError;
use crate::clock::{Moment, Now};
use crate::event::Message;
use crate::ids::{ConfId, UserId};
use crate::precis::password::opaque;
use crate::refusal::Reason;

/// Stands for the node of those of whom no node has told anything; no node's name is empty.
pub(super) const UNCLAIMED: &str = "";

/// The index entries of one room, so that they can be taken back.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    password: Option<String>,
    ended: Option<Moment>,
    starts: Option<u64>,
    due: Option<Moment>,
    /// The node that holds each user's presence, or [`UNCLAIMED`].
    nodes: HashMap<UserId, String>,
}

/// Owns the rooms. After each operation on one, [`Directory::commit`] takes what it did and brings the indexes up to
/// date.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Directory {
    rooms: HashMap<ConfId, Room>,
    entries: HashMap<ConfId, Entry>,
    /// Conferences that a user chairs, is in or waits for, and that are not over; the newest first.
    by_user: HashMap<UserId, BTreeSet<(Reverse<Moment>, ConfId)>>,
    by_password: HashMap<String, ConfId>,
    /// Those that are over, by the time of their end.
    ended_by_password: HashMap<String, BTreeSet<(Moment, ConfId)>>,
    by_node: BTreeMap<String, BTreeSet<(ConfId, UserId)>>,
    /// By the date (ms since 1970) at which they start.
    starts: BTreeSet<(u64, ConfId)>,
    due: BTreeSet<(Moment, ConfId)>,
    ended: BTreeSet<(Moment, ConfId)>,
    /// The same by chair.
    ended_of: HashMap<UserId, BTreeSet<(Moment, ConfId)>>,
}

impl Directory {
    pub fn get(&self, id: &ConfId) -> Result<&Room, StanzaError> {
        self.rooms.get(id).ok_or(StanzaError::of(Reason::ConferenceNotFound))
    }

    /// The caller calls [`Directory::commit`] after changing the room.
    pub fn get_mut(&mut self, id: &ConfId) -> Result<&mut Room, StanzaError> {
        self.rooms.get_mut(id).ok_or(StanzaError::of(Reason::ConferenceNotFound))
    }

    /// All of them.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values()
    }

    pub fn insert(&mut self, room: Room) {
        self.rooms.insert(room.id().clone(), room);
    }

    /// Conferences that are not over.
    pub fn open_count(&self) -> usize {
        self.rooms.len() - self.ended.len()
    }

    /// The user's conferences that are not over, the newest first.
    pub fn of_user(&self, user: &UserId) -> impl Iterator<Item = &Room> {
        self.by_user.get(user).into_iter().flatten().filter_map(|(_, id)| self.rooms.get(id))
    }

    /// The conference that is not over with this password.
    pub fn holder_of(&self, password: &str) -> Option<&ConfId> {
        self.by_password.get(&*opaque(password))
    }

    /// The conference with this password; one that is over, the latest, only if no other matches.
    pub fn find(&self, password: &str) -> Option<&Room> {
        let password = opaque(password);
        let ended = || self.ended_by_password.get(&*password)?.last().map(|(_, id)| id);
        self.by_password.get(&*password).or_else(ended).and_then(|id| self.rooms.get(id))
    }

    /// The users whose presence the node holds.
    pub fn held_by(&self, node: &str) -> Vec<(ConfId, UserId)> {
        self.by_node.get(node).into_iter().flatten().cloned().collect()
    }

    /// The date (ms since 1970) at which the next conference starts.
    pub fn next_start(&self) -> Option<u64> {
        self.starts.first().map(|(at, _)| *at)
    }

    /// When the next conference has something else to do.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    pub fn pop_due(&mut self, now: Now) -> Option<ConfId> {
        if self.starts.first().is_some_and(|(at, _)| *at <= now.date) {
            let (_, id) = self.starts.pop_first()?;
            self.entries.get_mut(&id)?.starts = None;
            return Some(id);
        }
        if self.due.first().is_some_and(|(at, _)| *at <= now.moment) {
            let (_, id) = self.due.pop_first()?;
            self.entries.get_mut(&id)?.due = None;
            return Some(id);
        }
        None
    }

    /// Takes the room's news and brings the indexes up to date.
    pub fn commit(&mut self, id: &ConfId, limits: &Limits, writes: &mut Vec<Write>) -> Vec<Posted> {
        let Some(room) = self.rooms.get_mut(id) else { return Vec::new() };
        room.take_writes(writes);
        let events = std::mem::take(&mut room.pending.events);
        self.index(id, limits);
        self.forget_surplus(id, limits, writes);
        events
    }

    /// Takes the conference out of everything, and its documents off the disk.
    pub fn forget(&mut self, id: &ConfId, writes: &mut Vec<Write>) {
        let (Some(room), Some(entry)) = (self.rooms.remove(id), self.entries.remove(id)) else { return };
        room.erase(writes);
        for (user, node) in &entry.nodes {
            drop_from(&mut self.by_node, node, &(id.clone(), user.clone()));
        }
        for user in entry.nodes.keys().chain([room.chair()]).chain(&room.chairs) {
            drop_from_user(&mut self.by_user, user, &(Reverse(room.created), id.clone()));
        }
        if let Some(password) = &entry.password {
            self.drop_password(password, entry.ended, id);
        }
        take_out(&mut self.starts, entry.starts.map(|at| (at, id.clone())));
        take_out(&mut self.due, entry.due.map(|at| (at, id.clone())));
        take_out(&mut self.ended, entry.ended.map(|at| (at, id.clone())));
        if let (Some(at), Some(all)) = (entry.ended, self.ended_of.get_mut(room.chair())) {
            all.remove(&(at, id.clone()));
            if all.is_empty() {
                self.ended_of.remove(room.chair());
            }
        }
    }

    /// Of the conferences that are over so many are kept, the latest: of each chair as many as they may have open.
    fn forget_surplus(&mut self, id: &ConfId, limits: &Limits, writes: &mut Vec<Write>) {
        let chair = self.rooms.get(id).filter(|room| room.is_over()).map(|room| room.chair().clone());
        let of_chair = chair.and_then(|chair| self.ended_of.get(&chair));
        if let Some((_, oldest)) =
            of_chair.filter(|all| all.len() > limits.conferences_per_user).and_then(BTreeSet::first)
        {
            let oldest = oldest.clone();
            self.forget(&oldest, writes);
        }
        while self.ended.len() > limits.ended_kept {
            let Some((_, oldest)) = self.ended.first().cloned() else { return };
            self.forget(&oldest, writes);
        }
    }

    fn index(&mut self, id: &ConfId, limits: &Limits) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let entry = self.entries.entry(id.clone()).or_default();
        for user in std::mem::take(&mut room.pending.people) {
            let listing = (Reverse(room.created), id.clone());
            if room.concerns(&user) && !room.is_over() {
                self.by_user.entry(user.clone()).or_default().insert(listing);
            } else {
                drop_from_user(&mut self.by_user, &user, &listing);
            }
            let held = (id.clone(), user);
            if let Some(node) = entry.nodes.remove(&held.1) {
                drop_from(&mut self.by_node, &node, &held);
            }
            if let Some(node) = room.node_of(&held.1) {
                entry.nodes.insert(held.1.clone(), node.to_owned());
                self.by_node.entry(node.to_owned()).or_default().insert(held);
            }
        }
        move_to(&mut self.starts, &mut entry.starts, room.starts_on(), id);
        move_to(&mut self.due, &mut entry.due, room.due(limits), id);
        self.index_password(id);
    }

    fn index_password(&mut self, id: &ConfId) {
        let (Some(room), Some(entry)) = (self.rooms.get(id), self.entries.get_mut(id)) else { return };
        let (password, ended) = (opaque(room.password.expose()).into_owned(), room.ended_at);
        if entry.password.as_ref() == Some(&password) && entry.ended == ended {
            return;
        }
        let old_ended = std::mem::replace(&mut entry.ended, ended);
        let old_password = entry.password.replace(password.clone());
        if let Some(at) = ended {
            self.ended.insert((at, id.clone()));
            self.ended_of.entry(room.chair().clone()).or_default().insert((at, id.clone()));
        }
        if let Some(old) = old_password {
            self.drop_password(&old, old_ended, id);
        }
        // A call's conference has no password: nobody comes in by one.
        if password.is_empty() {
            return;
        }
        match ended {
            Some(at) => {
                self.ended_by_password.entry(password).or_default().insert((at, id.clone()));
            }
            None => {
                self.by_password.insert(password, id.clone());
            }
        }
    }

    fn drop_password(&mut self, password: &str, ended: Option<Moment>, id: &ConfId) {
        match ended {
            None => {
                self.by_password.remove(password);
            }
            Some(at) => {
                if let Some(set) = self.ended_by_password.get_mut(password) {
                    set.remove(&(at, id.clone()));
                    if set.is_empty() {
                        self.ended_by_password.remove(password);
                    }
                }
            }
        }
    }

    /// Builds the directory from stored documents, each with its key.
    pub fn load(stored: Stored, limits: &Limits) -> Result<Self, LoadError> {
        let mut directory = Self::default();
        for (key, body) in &stored.conferences {
            let head: HeadRecord = persistence::read(persistence::CONFERENCE, key, body)?;
            directory.insert(Room::from_record(head));
        }
        for (key, body) in &stored.people {
            let person: PersonRecord = persistence::read(persistence::PERSON, key, body)?;
            directory.stored_room(persistence::PERSON, key)?.restore_person(person);
        }
        for (key, body) in &stored.messages {
            let message: Message = persistence::read(persistence::MESSAGE, key, body)?;
            directory.stored_room(persistence::MESSAGE, key)?.restore_message(message);
        }
        for id in directory.rooms.keys().cloned().collect::<Vec<_>>() {
            directory.index(&id, limits);
        }
        Ok(directory)
    }

    fn stored_room(&mut self, kind: &str, key: &str) -> Result<&mut Room, LoadError> {
        let orphan = || LoadError { kind: kind.into(), key: key.into(), why: "its conference is missing".into() };
        self.rooms.get_mut(&persistence::conf_of(kind, key)?).ok_or_else(orphan)
    }
}

/// Stored documents by key, so that messages come in their order.
#[derive(Default)]
pub(super) struct Stored {
    pub conferences: BTreeMap<String, String>,
    pub people: BTreeMap<String, String>,
    pub messages: BTreeMap<String, String>,
}

impl Room {
    /// The node that answers for the user; [`UNCLAIMED`] for somebody in the conference of whose socket nobody told.
    fn node_of(&self, user: &UserId) -> Option<&str> {
        let unclaimed = self.has_place(user).then_some(UNCLAIMED);
        self.presence.get(user).map(|p| p.holder.node.as_str()).or(unclaimed)
    }
}

fn drop_from(index: &mut BTreeMap<String, BTreeSet<(ConfId, UserId)>>, node: &str, held: &(ConfId, UserId)) {
    if let Some(set) = index.get_mut(node) {
        set.remove(held);
        if set.is_empty() {
            index.remove(node);
        }
    }
}

fn drop_from_user(
    index: &mut HashMap<UserId, BTreeSet<(Reverse<Moment>, ConfId)>>,
    user: &UserId,
    listing: &(Reverse<Moment>, ConfId),
) {
    if let Some(set) = index.get_mut(user) {
        set.remove(listing);
        if set.is_empty() {
            index.remove(user);
        }
    }
}

/// Brings the index of a room, and what it says of that room, up to date.
fn move_to<T: Ord + Copy>(set: &mut BTreeSet<(T, ConfId)>, known: &mut Option<T>, at: Option<T>, id: &ConfId) {
    if at != *known {
        take_out(set, known.map(|at| (at, id.clone())));
        set.extend(at.map(|at| (at, id.clone())));
        *known = at;
    }
}

fn take_out<T: Ord>(set: &mut BTreeSet<T>, gone: Option<T>) {
    if let Some(gone) = gone {
        set.remove(&gone);
    }
}
