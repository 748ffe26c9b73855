//! All rooms: which stanza is for which, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::super::core::{Eim, Output};
use super::super::mirror::{NativeChange, RoomChange, has_muc_room};
use super::super::room::Room;
use super::meetings::Meetings;
use super::names::MucSettings;
use super::room::{MucRoom, Phase, RoomEvent, Sender};
use super::stanzas;
use super::sync::{conf_in, config_of};
use crate::clock::Now;
use crate::event::{Change, Event, Message};
use crate::ids::{ConfId, UserId};
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::refusal::Reason;
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::Stanza;

/// Messages and other changes of one native in one room: quicker than anybody types.
const CHANGES: Rate = Rate { count: 60, window_ms: 60_000 };
/// How often one native may enter one room: each time is two numbered events for everybody.
const ENTRIES: Rate = Rate { count: 10, window_ms: 60_000 };
/// Natives whose rates are known.
const RATED_MAX: usize = 10_000;
/// Rounds of comparing after one batch; what is left then is done with the next.
const ROUNDS: usize = 4;
/// A room of a conference that has ended so long ago at most is destroyed again when the server comes back.
const DESTROYED_AGAIN_MS: u64 = 3600 * 1000;

/// Conditions with which a server refuses a room for reasons of its own.
const SERVICE_CONDITIONS: [&str; 5] =
    ["not-allowed", "remote-server-not-found", "remote-server-timeout", "resource-constraint", "service-unavailable"];

/// What the bridge works on for a moment.
pub(in super::super) struct Turn<'a> {
    pub eim: &'a mut Eim,
    pub now: Now,
    pub rng: &'a mut dyn Rng,
    /// Whether changes can be kept now. What can't be done is done later, but for messages.
    pub may_change: bool,
    /// What the EIM gave.
    pub output: Output,
}

/// See the module. Owned by the worker, as the EIM is.
pub(in super::super) struct Bridge {
    pub(super) settings: MucSettings,
    pub(super) rooms: BTreeMap<ConfId, MucRoom>,
    is_up: bool,
    /// Rooms to be compared with their conferences.
    dirty: BTreeSet<ConfId>,
    changes: Limiter<(ConfId, UserId)>,
    entries: Limiter<(ConfId, UserId)>,
    pub(super) meetings: Meetings,
    pub(super) out: Vec<Stanza>,
}

impl Bridge {
    pub fn new(settings: MucSettings) -> Self {
        Self {
            settings,
            rooms: BTreeMap::new(),
            is_up: false,
            dirty: BTreeSet::new(),
            changes: Limiter::new(CHANGES, RATED_MAX),
            entries: Limiter::new(ENTRIES, RATED_MAX),
            meetings: Meetings::default(),
            out: Vec::new(),
        }
    }

    /// The stanzas for the server since the last time, in order.
    pub fn take_out(&mut self) -> Vec<Stanza> {
        std::mem::take(&mut self.out)
    }

    /// Why no room can be used, for operators. A single room may be closed to us by its owner, which concerns nobody else.
    pub fn trouble(&self) -> Option<String> {
        if self.rooms.values().any(|room| room.phase == Phase::In) {
            return None;
        }
        let of_service = |room: &&MucRoom| SERVICE_CONDITIONS.contains(&room.trouble.as_str());
        let first = self.rooms.values().find(of_service)?;
        Some(format!("no room can be entered, {} for one: {}", first.jid, first.trouble))
    }

    /// Rooms that are entered, and occupants of all rooms.
    pub fn counts(&self) -> (usize, usize) {
        let entered = self.rooms.values().filter(|room| room.phase == Phase::In);
        (entered.count(), self.rooms.values().map(|room| room.occupants.len()).sum())
    }

    pub(super) fn sender<'a>(settings: &'a MucSettings, out: &'a mut Vec<Stanza>, now: Now) -> Sender<'a> {
        Sender { settings, now: now.moment, out }
    }

    /// The server is there: every room is entered anew and compared.
    pub fn up(&mut self, turn: &mut Turn<'_>) {
        self.is_up = true;
        self.restart(turn);
        for conf in turn.eim.lately_ended(turn.now.moment, DESTROYED_AGAIN_MS) {
            let room = MucRoom::new(conf, false, &self.settings);
            room.destroy(&mut Self::sender(&self.settings, &mut self.out, turn.now));
        }
    }

    /// The server is away: nothing is known of any room.
    pub fn down(&mut self, now: Now) {
        self.is_up = false;
        self.out.clear();
        self.rooms.values_mut().for_each(|room| room.lose(now.moment));
    }

    /// Begins anew with what the EIM has.
    pub fn restart(&mut self, turn: &mut Turn<'_>) {
        self.out.clear();
        self.rooms.values_mut().for_each(|room| room.lose(turn.now.moment));
        self.dirty.extend(self.rooms.keys().cloned());
        self.dirty.extend(turn.eim.mirrored_rooms().cloned());
    }

    /// Takes the events of conferences that others than the bridge have caused.
    pub fn note(&mut self, events: &[Event], turn: &Turn<'_>) {
        for event in events {
            match &event.change {
                Change::Message(message) => self.relay(&event.conf_id, message, turn),
                _ => drop(self.dirty.insert(event.conf_id.clone())),
            }
        }
    }

    fn relay(&mut self, conf: &ConfId, message: &Message, turn: &Turn<'_>) {
        let (Some(muc), Some(room)) = (self.rooms.get(conf), turn.eim.room(conf)) else { return };
        let name = room.roster.member(&message.user_id).map_or("?", |member| &member.name);
        let mut to = Self::sender(&self.settings, &mut self.out, turn.now);
        muc.relay(&mut to, &message.message_id, &message.user_id, name, &message.text);
    }

    /// Takes a stanza of the server.
    pub fn take(&mut self, stanza: &Stanza, turn: &mut Turn<'_>) {
        let (Some(from), Some(to)) = (address(stanza, "from"), address(stanza, "to")) else { return };
        match (stanza.name.as_str(), stanza.attr("type")) {
            ("iq", Some("result" | "error")) => self.take_answer(&from, stanza, turn),
            ("iq", _) => self.take_request(&from, stanza, turn),
            _ => self.take_from_room(&from, &to, stanza, turn),
        }
    }

    /// Takes a stanza of which only the head was read. Nobody is in a room unseen: who enters with a presence that can't be
    /// read is sent out.
    pub fn take_skipped(&mut self, stanza: &Stanza, turn: &mut Turn<'_>) {
        let (Some(from), Some(to)) = (address(stanza, "from"), address(stanza, "to")) else { return };
        metrics::counter!("confgate_muc_dropped_total", "why" => "unreadable").increment(1);
        let is_read = stanza.name == "iq" || stanza.attr("type") == Some("unavailable");
        if is_read {
            return self.take(stanza, turn);
        }
        let is_entry = stanza.name == "presence" && stanza.attr("type").is_none() && self.settings.is_observer(&to);
        let Some(room) = self.settings.conf_of(&from).and_then(|conf| self.rooms.get_mut(&conf)) else { return };
        if is_entry && !room.adopted && !room.occupants.contains_key(from.resource) && from.resource != room.nick {
            let mut sender = Self::sender(&self.settings, &mut self.out, turn.now);
            room.kick(&mut sender, from.resource, "a presence that can't be read");
        }
    }

    fn take_answer(&mut self, from: &Jid<'_>, answer: &Stanza, turn: &mut Turn<'_>) {
        let Some((kind, conf)) = answer.attr("id").and_then(conf_in) else { return };
        if self.settings.conf_of(from).as_ref() != Some(&conf) {
            return;
        }
        let failed = (answer.attr("type") == Some("error")).then(|| stanzas::condition(answer));
        let Some(room) = self.rooms.get_mut(&conf) else { return };
        match (kind, failed) {
            ("config", failed) => room.configured(&Self::sender(&self.settings, &mut self.out, turn.now), failed),
            ("disco", None) => {
                if matches!(room.phase, Phase::Looking { .. }) {
                    room.join(&mut Self::sender(&self.settings, &mut self.out, turn.now), "");
                }
            }
            ("disco", Some(condition)) => condition.clone_into(&mut room.trouble),
            (_, Some(condition)) => tracing::debug!(%conf, kind, condition, "a room refuses a request"),
            (_, None) => return,
        }
        self.dirty.insert(conf);
    }

    fn take_from_room(&mut self, from: &Jid<'_>, to: &Jid<'_>, stanza: &Stanza, turn: &mut Turn<'_>) {
        let Some(conf) = self.settings.conf_of(from) else { return };
        let Some(room) = self.rooms.get_mut(&conf) else { return };
        let mut sender = Self::sender(&self.settings, &mut self.out, turn.now);
        let events = match (stanza.name.as_str(), self.settings.own_user(to)) {
            ("presence", None) if self.settings.is_observer(to) => {
                room.take_presence(&mut sender, from.resource, stanza)
            }
            ("message", None) if self.settings.is_observer(to) => {
                room.take_message(from.resource, stanza).into_iter().collect()
            }
            ("presence", Some(user)) => room.take_own(&mut sender, &user, stanza),
            _ => return,
        };
        if stanza.name == "presence" {
            self.dirty.insert(conf.clone());
        }
        for event in events {
            match event {
                RoomEvent::Native(user, change) => self.apply(&conf, &user, change, turn),
                RoomEvent::Room(change) => self.apply_to_room(&conf, change, turn),
            }
        }
    }

    fn apply_to_room(&mut self, conf: &ConfId, change: RoomChange, turn: &mut Turn<'_>) {
        self.dirty.insert(conf.clone());
        if turn.may_change {
            let output = turn.eim.take_room_change(conf, change, turn.now, turn.rng);
            self.absorb(output, turn);
        }
    }

    fn apply(&mut self, conf: &ConfId, user: &UserId, change: NativeChange, turn: &mut Turn<'_>) {
        let key = (conf.clone(), user.clone());
        let is_entry = matches!(change, NativeChange::Entered { .. });
        let within = match change {
            NativeChange::Left | NativeChange::Expelled { .. } => Ok(()),
            NativeChange::Entered { .. } if turn.may_change => self.entries.allow(&key, turn.now.moment),
            _ => self.changes.allow(&key, turn.now.moment),
        };
        if !turn.may_change {
            self.dirty.insert(conf.clone());
            return;
        }
        if within.is_err() {
            metrics::counter!("confgate_muc_dropped_total", "why" => "rate").increment(1);
            if is_entry {
                self.expel(conf, user, None, turn.now);
            }
            return;
        }
        let (outcome, output) = turn.eim.take_native(conf, user, change, turn.now, turn.rng);
        self.absorb(output, turn);
        match outcome {
            Ok(()) if is_entry => {
                if let Some(state) = self.rooms.get(conf).and_then(|room| room.state_of(user)) {
                    self.apply(conf, user, state, turn);
                }
            }
            Err(refused) if is_entry => self.expel(conf, user, Some(refused.reason), turn.now),
            _ => {}
        }
    }

    /// Sends a native out of the room. `why`: `None` where they come too often. A room that was there before is left with
    /// its people, but for those whom the chair has sent out.
    fn expel(&mut self, conf: &ConfId, user: &UserId, why: Option<Reason>, now: Now) {
        let Some(room) = self.rooms.get_mut(conf) else { return };
        if room.adopted && why != Some(Reason::ConferenceBanned) {
            return room.pass_over(user);
        }
        let why = why.map_or("too often", |reason| reason.key());
        room.expel(&mut Self::sender(&self.settings, &mut self.out, now), user, why);
    }

    /// Takes what the EIM did for the bridge. Messages among it came from the room.
    pub(super) fn absorb(&mut self, mut output: Output, turn: &mut Turn<'_>) {
        self.dirty.extend(std::mem::take(&mut output.mirrored).into_iter().map(|event| event.conf_id));
        turn.output.add(output);
    }

    /// Compares what has changed, or is to be tried again.
    pub fn reconcile(&mut self, turn: &mut Turn<'_>) {
        if !self.is_up {
            return;
        }
        self.drop_late_meetings(turn.now);
        let due = self.rooms.iter().filter(|(_, room)| room.is_due(turn.now.moment)).map(|(conf, _)| conf.clone());
        self.dirty.extend(due.collect::<Vec<_>>());
        for _ in 0..ROUNDS {
            for conf in std::mem::take(&mut self.dirty) {
                self.reconcile_room(&conf, turn);
            }
            if self.dirty.is_empty() || !turn.may_change {
                break;
            }
        }
    }

    fn reconcile_room(&mut self, conf: &ConfId, turn: &mut Turn<'_>) {
        let Some(room) = turn.eim.room(conf) else { return self.consider_candidate(conf, turn) };
        if !has_muc_room(room) {
            return self.close(conf, turn.now);
        }
        let muc = self.rooms.entry(conf.clone());
        let muc = muc.or_insert_with(|| MucRoom::new(conf.clone(), room.adopted, &self.settings));
        let mut to = Self::sender(&self.settings, &mut self.out, turn.now);
        let changes = match muc.phase {
            Phase::In => muc.sync(&mut to, room, &|user| turn.eim.is_guest(user)),
            Phase::Configuring { .. } if muc.config.is_none() => {
                muc.configure(&mut to, config_of(room));
                Vec::new()
            }
            _ => {
                if muc.is_due(turn.now.moment) {
                    enter(muc, &mut to, room);
                }
                Vec::new()
            }
        };
        for (user, change) in changes {
            self.apply(conf, &user, change, turn);
        }
    }

    /// The conference is over, or not open: it has no room.
    fn close(&mut self, conf: &ConfId, now: Now) {
        let Some(mut muc) = self.rooms.remove(conf) else { return };
        let mut to = Self::sender(&self.settings, &mut self.out, now);
        if muc.adopted {
            muc.leave(&mut to);
        } else {
            muc.destroy(&mut to);
        }
    }
}

/// Enters a room of a conference: with its password, which a room of before has.
fn enter(muc: &mut MucRoom, to: &mut Sender<'_>, room: &Room) {
    let password = if muc.adopted { "" } else { room.password.expose() };
    muc.join(to, password);
}

fn address<'a>(stanza: &'a Stanza, end: &str) -> Option<Jid<'a>> {
    stanza.attr(end).and_then(Jid::parse)
}
