//! One room: who is in it and how it is, as the server has occupancy.

use std::collections::{BTreeMap, BTreeSet};

use super::super::mirror::{MediaState, NativeChange, RoomChange};
use super::names::{MucSettings, observer_nick, shown_name, unknown};
use super::own::OwnOccupant;
use super::stanzas::{self, Occupancy, RoomConfig, status};
use crate::clock::Moment;
use crate::ids::{ConfId, UserId};
use crate::xmpp::xml::Stanza;

/// How long a room that could not be entered, or was lost, is left alone.
const RETRY_MS: u64 = 5000;
/// Nicknames that are tried for the observer.
const OBSERVER_TRIES_MAX: u32 = 8;

/// The way out of a turn.
pub(super) struct Sender<'a> {
    pub settings: &'a MucSettings,
    pub now: Moment,
    pub out: &'a mut Vec<Stanza>,
}

impl Sender<'_> {
    pub fn send(&mut self, stanza: Stanza) {
        self.out.push(stanza);
    }

    pub fn deadline(&self) -> Moment {
        self.now.plus_ms(self.settings.timeout_ms)
    }
}

/// How far the observer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in the room; to be tried after that time.
    Out {
        retry: Moment,
    },
    /// It is looked whether a room to be adopted is there.
    Looking {
        until: Moment,
    },
    Joining {
        until: Moment,
    },
    Configuring {
        until: Moment,
    },
    In,
}

/// Who an occupant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// A member of a browser.
    Own(UserId),
    /// Somebody with a client of their own; their bare address where the room tells it.
    Native { user: UserId, bare: Option<String> },
}

#[derive(Debug, Clone)]
pub(super) struct Occupant {
    pub who: Who,
    pub is_moderator: bool,
    pub state: MediaState,
    /// Sent out by us, which the room has not said yet; or, in an adopted room, passed over.
    pub is_kicked: bool,
    /// Whether they are on the room's list of members.
    pub is_listed: bool,
}

/// What follows from a stanza for the conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RoomEvent {
    Native(UserId, NativeChange),
    Room(RoomChange),
}

#[derive(Debug)]
pub(super) struct MucRoom {
    pub conf: ConfId,
    pub jid: String,
    pub phase: Phase,
    /// It was there before the conference.
    pub adopted: bool,
    /// The observer's nickname.
    pub nick: String,
    tries: u32,
    /// Whether the observer is an owner or admin of the room.
    pub is_admin: bool,
    pub subject: Option<String>,
    /// The conference's name when it was last compared with the subject.
    pub name: Option<String>,
    /// Whether the subject is to become the conference's name: in a room that is being adopted.
    pub takes_subject: bool,
    pub config: Option<RoomConfig>,
    /// Users whom the room was told to have as owners.
    pub owners: BTreeSet<UserId>,
    pub occupants: BTreeMap<String, Occupant>,
    pub own: BTreeMap<UserId, OwnOccupant>,
    /// Nicknames of ours before the room was lost: the server may still have them in it.
    pub left_behind: BTreeMap<UserId, String>,
    /// Why it is not entered; empty: it is, or nothing is known.
    pub trouble: String,
}

impl MucRoom {
    pub fn new(conf: ConfId, adopted: bool, settings: &MucSettings) -> Self {
        Self {
            jid: settings.room(&conf),
            conf,
            phase: Phase::Out { retry: Moment::NEVER },
            adopted,
            nick: observer_nick(0),
            tries: 0,
            is_admin: false,
            subject: None,
            name: None,
            takes_subject: false,
            config: None,
            owners: BTreeSet::new(),
            occupants: BTreeMap::new(),
            own: BTreeMap::new(),
            left_behind: BTreeMap::new(),
            trouble: String::new(),
        }
    }

    /// Nothing is known of the room any more; it is tried again after that time.
    pub fn lose(&mut self, retry: Moment) {
        self.phase = Phase::Out { retry };
        (self.is_admin, self.subject, self.config) = (false, None, None);
        self.owners.clear();
        self.occupants.clear();
        self.left_behind.extend(std::mem::take(&mut self.own).into_iter().map(|(user, own)| (user, own.nick)));
    }

    /// Enters the room, or enters it again: what the server has of an earlier connection is left first.
    pub fn join(&mut self, to: &mut Sender<'_>, password: &str) {
        let observer = to.settings.observer();
        to.send(stanzas::leave(&observer, &self.jid, &self.nick));
        to.send(stanzas::join(&observer, &self.jid, &self.nick, password, None));
        self.phase = Phase::Joining { until: to.deadline() };
    }

    /// The observer is out of the room, and every member of a browser with it.
    pub fn leave(&mut self, to: &mut Sender<'_>) {
        for (user, own) in &self.own {
            self.withdraw(to, user, own);
        }
        to.send(stanzas::leave(&to.settings.observer(), &self.jid, &self.nick));
        self.lose(to.now);
    }

    /// Sends an occupant out.
    pub fn kick(&mut self, to: &mut Sender<'_>, nick: &str, why: &str) {
        let id = format!("admin:{}", self.conf);
        to.send(stanzas::iq("set", &id, &to.settings.observer(), &self.jid, stanzas::kick(nick, why)));
        if let Some(occupant) = self.occupants.get_mut(nick) {
            occupant.is_kicked = true;
        }
    }

    /// Gives an affiliation to a bare address. One for each IQ: of several, Prosody takes the first.
    pub fn affiliate(&self, to: &mut Sender<'_>, bare: &str, affiliation: &str) {
        let (id, content) = (format!("admin:{}", self.conf), stanzas::affiliation(bare, affiliation));
        to.send(stanzas::iq("set", &id, &to.settings.observer(), &self.jid, content));
    }

    /// Leaves those who may not be in the conference in their room, and out of the conference.
    pub fn pass_over(&mut self, user: &UserId) {
        let is_theirs = |who: &Who| matches!(who, Who::Native { user: u, .. } if u == user);
        for occupant in self.occupants.values_mut().filter(|occupant| is_theirs(&occupant.who)) {
            occupant.is_kicked = true;
        }
    }

    /// The natives that are in the room, each with the nickname of one of their clients.
    pub fn natives(&self) -> BTreeMap<&UserId, &str> {
        self.occupants
            .iter()
            .filter_map(|(nick, occupant)| match &occupant.who {
                Who::Native { user, .. } if !occupant.is_kicked => Some((user, nick.as_str())),
                _ => None,
            })
            .collect()
    }

    /// Takes what the room tells the observer of an occupant.
    pub fn take_presence(&mut self, to: &mut Sender<'_>, nick: &str, presence: &Stanza) -> Vec<RoomEvent> {
        let occupancy = Occupancy::of(presence);
        let is_self = occupancy.has(status::SELF) || nick == self.nick;
        match presence.attr("type") {
            Some("error") if !stanzas::is_of_join(presence) => Vec::new(),
            Some("error") => {
                self.refused(to, stanzas::condition(presence));
                Vec::new()
            }
            Some("unavailable") if is_self && !occupancy.has(status::RENAMED) => self.put_out(to, &occupancy),
            Some("unavailable") => self.gone(nick, &occupancy),
            None if nick.is_empty() => Vec::new(),
            None if is_self => {
                self.entered(to, nick, &occupancy);
                Vec::new()
            }
            None => self.occupied(to, nick, &occupancy, presence),
            Some(_) => Vec::new(),
        }
    }

    fn refused(&mut self, to: &mut Sender<'_>, condition: &str) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        if condition == "conflict" && self.tries < OBSERVER_TRIES_MAX {
            self.tries += 1;
            self.nick = observer_nick(self.tries);
            let password = self.config.as_ref().map(|config| config.password.clone()).unwrap_or_default();
            return self.join(to, &password);
        }
        self.trouble = condition.chars().take(64).collect();
        self.lose(to.now.plus_ms(RETRY_MS));
    }

    fn entered(&mut self, to: &mut Sender<'_>, nick: &str, occupancy: &Occupancy<'_>) {
        self.is_admin = occupancy.is_admin();
        nick.clone_into(&mut self.nick);
        if !matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        self.trouble.clear();
        if self.adopted && occupancy.has(status::CREATED) {
            // It was there a moment ago: it is not ours to make.
            self.destroy(to);
            self.trouble = "item-not-found".to_owned();
            return self.lose(to.now.plus_ms(RETRY_MS));
        }
        if occupancy.has(status::CREATED) {
            self.subject = Some(String::new());
        }
        self.phase = if self.adopted { Phase::In } else { Phase::Configuring { until: to.deadline() } };
    }

    /// Sends the room's settings.
    pub fn configure(&mut self, to: &mut Sender<'_>, config: RoomConfig) {
        let id = format!("config:{}", self.conf);
        to.send(stanzas::iq("set", &id, &to.settings.observer(), &self.jid, stanzas::config(&config)));
        self.config = Some(config);
    }

    /// Takes the answer to the settings.
    pub fn configured(&mut self, to: &Sender<'_>, condition: Option<&str>) {
        if !matches!(self.phase, Phase::Configuring { .. }) {
            return;
        }
        match condition {
            None => self.phase = Phase::In,
            Some(condition) => {
                self.trouble = format!("its settings are refused: {condition}");
                self.lose(to.now.plus_ms(RETRY_MS));
            }
        }
    }

    pub fn destroy(&self, to: &mut Sender<'_>) {
        let id = format!("destroy:{}", self.conf);
        to.send(stanzas::iq("set", &id, &to.settings.observer(), &self.jid, stanzas::destroy()));
    }

    fn put_out(&mut self, to: &Sender<'_>, occupancy: &Occupancy<'_>) -> Vec<RoomEvent> {
        if matches!(self.phase, Phase::Joining { .. } | Phase::Out { .. }) {
            // The answer to leaving what an earlier connection had.
            return Vec::new();
        }
        self.lose(to.now.plus_ms(RETRY_MS));
        if occupancy.is_destroyed { vec![RoomEvent::Room(RoomChange::Destroyed)] } else { Vec::new() }
    }

    fn gone(&mut self, nick: &str, occupancy: &Occupancy<'_>) -> Vec<RoomEvent> {
        let Some(mut occupant) = self.occupants.remove(nick) else { return Vec::new() };
        if occupancy.has(status::RENAMED) {
            let Some(new) = occupancy.new_nick else { return Vec::new() };
            let mut events = Vec::new();
            if let Who::Native { user, bare } = &mut occupant.who {
                if bare.is_none() {
                    *user = unknown(&self.jid, new);
                }
                events.push(RoomEvent::Native(user.clone(), NativeChange::Renamed(shown_name(new, user))));
            }
            self.occupants.insert(new.to_owned(), occupant);
            return events;
        }
        match (occupant.who, occupancy.expelled()) {
            (Who::Native { user, .. }, Some(banned)) if !occupant.is_kicked => {
                vec![RoomEvent::Native(user, NativeChange::Expelled { banned })]
            }
            _ => Vec::new(),
        }
    }

    fn occupied(
        &mut self,
        to: &mut Sender<'_>,
        nick: &str,
        occupancy: &Occupancy<'_>,
        presence: &Stanza,
    ) -> Vec<RoomEvent> {
        let who = self.identify(to.settings, nick, occupancy);
        // Those of one conference, as many of the server's, and a few more that are on their way out.
        let bound = to.settings.members.saturating_mul(2).saturating_add(64);
        if self.occupants.len() >= bound && !self.occupants.contains_key(nick) {
            metrics::counter!("confgate_muc_dropped_total", "why" => "occupants").increment(1);
            if !self.adopted {
                self.kick(to, nick, "the conference is full");
            }
            return Vec::new();
        }
        let is_moderator = occupancy.role == "moderator";
        let state = stanzas::media_state(presence);
        let is_listed = !matches!(occupancy.affiliation, "" | "none");
        let now = Occupant { who: who.clone(), is_moderator, state, is_kicked: false, is_listed };
        let before = self.occupants.insert(nick.to_owned(), now);
        let (Who::Native { user, .. }, Some(before)) = (who, before.filter(|before| !before.is_kicked)) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if before.is_moderator != is_moderator {
            events.push(RoomEvent::Native(user.clone(), NativeChange::Moderator(is_moderator)));
        }
        if before.state != state && state != MediaState::default() {
            events.push(RoomEvent::Native(user, NativeChange::State(state)));
        }
        events
    }

    /// Where the room hides addresses, an occupant with the nickname of ours is taken for ours: nobody else can have it.
    fn identify(&self, settings: &MucSettings, nick: &str, occupancy: &Occupancy<'_>) -> Who {
        if let Some(jid) = &occupancy.jid {
            return match settings.own_user(jid) {
                Some(user) => Who::Own(user),
                None => {
                    let bare = format!("{}@{}", jid.prepared_local(), jid.prepared_domain());
                    Who::Native { user: settings.native(jid), bare: Some(bare) }
                }
            };
        }
        let own = self.own.iter().find(|(_, own)| own.nick == nick).map(|(user, _)| user);
        match own.or_else(|| self.left_behind.iter().find(|(_, known)| *known == nick).map(|(user, _)| user)) {
            Some(user) => Who::Own(user.clone()),
            None => Who::Native { user: unknown(&self.jid, nick), bare: None },
        }
    }
}
