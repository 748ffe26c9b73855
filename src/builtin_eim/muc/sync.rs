//! The comparison of a room with its conference: what the room is told, and what the conference is.

use std::collections::BTreeSet;

use super::super::mirror::NativeChange;
use super::super::room::Room;
use super::names::{nick, shown_name};
use super::own::{OwnOccupant, Stage, TRIES_MAX};
use super::room::{MucRoom, Occupant, Phase, Sender, Who};
use super::stanzas::{self, RoomConfig};
use crate::clock::Moment;
use crate::event::Member;
use crate::ids::{ConfId, UserId};
use crate::xmpp::xml::Element;

/// The settings that the conference's room ought to have.
pub(super) fn config_of(room: &Room) -> RoomConfig {
    let conference = &room.roster.conference;
    RoomConfig {
        name: conference.conf_name.clone(),
        password: room.password.expose().to_owned(),
        members_only: conference.locked || conference.lobby,
    }
}

impl MucRoom {
    /// Sends what makes the room as the conference is, and gives what makes the conference as the room is. Only in a
    /// room that is entered. `is_guest`: whether an account is a guest's.
    pub fn sync(
        &mut self,
        to: &mut Sender<'_>,
        room: &Room,
        is_guest: &dyn Fn(&UserId) -> bool,
    ) -> Vec<(UserId, NativeChange)> {
        if self.phase != Phase::In {
            return Vec::new();
        }
        if !self.adopted {
            self.sync_config(to, room);
            self.sync_owners(to, room, is_guest);
        }
        self.sync_subject(to, room);
        self.sync_own(to, room);
        self.missing_natives(to, room)
    }

    /// Before only those on the list may enter, everybody inside is put on it: a room sends out who is not.
    fn sync_config(&mut self, to: &mut Sender<'_>, room: &Room) {
        let wanted = config_of(room);
        let was = self.config.as_ref();
        if was == Some(&wanted) {
            return;
        }
        if wanted.members_only && was.is_none_or(|was| !was.members_only) {
            self.list_everybody(to);
        }
        self.configure(to, wanted);
    }

    fn list_everybody(&mut self, to: &mut Sender<'_>) {
        let mut items = BTreeSet::new();
        for occupant in self.occupants.values_mut().filter(|occupant| !occupant.is_listed) {
            let bare = match &occupant.who {
                Who::Own(user) => Some(to.settings.own_bare(user)),
                Who::Native { bare, .. } => bare.clone(),
            };
            occupant.is_listed = bare.is_some();
            items.extend(bare);
        }
        items.iter().for_each(|bare| self.affiliate(to, bare, "member"));
        self.own.values_mut().for_each(|own| own.is_listed |= own.stage == Stage::In);
    }

    /// The conference's chairs that are users of the server own its room.
    fn sync_owners(&mut self, to: &mut Sender<'_>, room: &Room, is_guest: &dyn Fn(&UserId) -> bool) {
        let chairs = room.chairs.iter().chain([room.chair()]);
        let wanted: BTreeSet<UserId> = chairs.filter(|chair| !is_guest(chair)).cloned().collect();
        if self.owners == wanted {
            return;
        }
        for user in wanted.difference(&self.owners) {
            self.affiliate(to, &to.settings.real(user), "owner");
        }
        for user in self.owners.difference(&wanted) {
            self.affiliate(to, &to.settings.real(user), "member");
        }
        self.owners = wanted;
    }

    /// The subject of a room that was there before is its own until the conference is renamed.
    fn sync_subject(&mut self, to: &mut Sender<'_>, room: &Room) {
        // The server says what it is after each entering.
        let (Some(subject), name) = (&self.subject, &room.roster.conference.conf_name) else { return };
        let before = self.name.replace(name.clone());
        let is_kept = self.adopted && before.is_none_or(|before| before == *name);
        if subject != name && !is_kept {
            to.send(stanzas::subject(&to.settings.observer(), &self.jid, name));
            self.subject = Some(name.clone());
        }
    }

    /// Members without a client of their own in the room are occupants by us.
    fn sync_own(&mut self, to: &mut Sender<'_>, room: &Room) {
        let wanted: Vec<&Member> = room.roster.members.iter().filter(|m| !room.is_native(&m.user_id)).collect();
        let ids: BTreeSet<&UserId> = wanted.iter().map(|member| &member.user_id).collect();
        let gone = self.own.keys().filter(|user| !ids.contains(*user)).cloned().collect::<Vec<_>>();
        for user in gone {
            if let Some(own) = self.own.remove(&user) {
                self.withdraw(to, &user, &own);
                self.occupants.retain(|_, occupant| occupant.who != Who::Own(user.clone()));
            }
        }
        for (user, nick) in std::mem::take(&mut self.left_behind) {
            if !ids.contains(&user) {
                to.send(stanzas::leave(&to.settings.own(&user), &self.jid, &nick));
                self.occupants.retain(|_, occupant| occupant.who != Who::Own(user.clone()));
            }
        }
        // What an earlier process of ours has left behind.
        let left_behind = |(nick, occupant): (&String, &Occupant)| match &occupant.who {
            Who::Own(user) if !ids.contains(user) => Some((nick.clone(), user.clone())),
            _ => None,
        };
        for (nick, user) in self.occupants.iter().filter_map(left_behind).collect::<Vec<_>>() {
            to.send(stanzas::leave(&to.settings.own(&user), &self.jid, &nick));
            self.occupants.remove(&nick);
        }
        for member in wanted {
            self.sync_member(to, member);
        }
    }

    fn sync_member(&mut self, to: &mut Sender<'_>, member: &Member) {
        let state = stanzas::state(member);
        let address = to.settings.own(&member.user_id);
        match self.own.get_mut(&member.user_id) {
            Some(own) if own.stage == Stage::In => {
                if own.state != state {
                    to.send(stanzas::update(&address, &self.jid, &own.nick, state.clone()));
                    own.state = state;
                }
            }
            Some(own) if !own.is_due(to.now) => own.state = state,
            _ => self.enter(to, member, state),
        }
    }

    fn enter(&mut self, to: &mut Sender<'_>, member: &Member, state: Element) {
        let user = &member.user_id;
        let is_free = |tried: &String| match self.occupants.get(tried) {
            Some(occupant) => occupant.who == Who::Own(user.clone()),
            None => *tried != self.nick,
        };
        // Where an earlier connection has left them, they stay who they are.
        let before = self.occupants.iter().find(|(_, occupant)| occupant.who == Who::Own(user.clone()));
        let before = before.map(|(nick, _)| nick.clone());
        let tries = (0..TRIES_MAX).find(|tries| is_free(&nick(&member.name, user, *tries))).unwrap_or(0);
        let nick = before.unwrap_or_else(|| nick(&member.name, user, tries));
        let is_listed = self.config.as_ref().is_some_and(|config| config.members_only);
        if is_listed {
            self.affiliate(to, &to.settings.own_bare(user), "member");
        }
        let stage = Stage::Joining { until: to.deadline() };
        let own = OwnOccupant { name: member.name.clone(), nick, tries, stage, state, is_listed };
        // An earlier process of ours may have left them in the room.
        to.send(stanzas::leave(&to.settings.own(user), &self.jid, &own.nick));
        self.join_own(to, user, &own);
        self.own.insert(user.clone(), own);
    }

    /// Natives that the conference doesn't have, or has and who are gone.
    fn missing_natives(&mut self, to: &mut Sender<'_>, room: &Room) -> Vec<(UserId, NativeChange)> {
        let mut changes = Vec::new();
        let natives = self.natives();
        for member in room.roster.members.iter().filter(|member| room.is_native(&member.user_id)) {
            if !natives.contains_key(&member.user_id) {
                changes.push((member.user_id.clone(), NativeChange::Left));
            }
        }
        for (user, nick) in &natives {
            if !room.is_member(user) {
                let of_user = |occupant: &&Occupant| matches!(&occupant.who, Who::Native { user: u, .. } if u == *user);
                let moderator = self.occupants.values().filter(of_user).any(|occupant| occupant.is_moderator);
                changes.push(((*user).clone(), NativeChange::Entered { name: shown_name(nick, user), moderator }));
            }
        }
        let banned = natives.iter().filter(|(user, _)| room.banned.contains(**user)).map(|(user, _)| (*user).clone());
        for user in banned.collect::<Vec<_>>() {
            self.ban(to, &user);
        }
        changes
    }

    /// Everybody with a client of that user's is sent out.
    pub fn expel(&mut self, to: &mut Sender<'_>, user: &UserId, why: &str) {
        let is_theirs = |occupant: &Occupant| matches!(&occupant.who, Who::Native { user: u, .. } if u == user);
        let nicks = self.occupants.iter().filter(|(_, occupant)| is_theirs(occupant)).map(|(nick, _)| nick.clone());
        for nick in nicks.collect::<Vec<_>>() {
            self.kick(to, &nick, why);
        }
    }

    /// The room keeps them out for good.
    fn ban(&mut self, to: &mut Sender<'_>, user: &UserId) {
        let is_theirs = |occupant: &&Occupant| matches!(&occupant.who, Who::Native { user: u, .. } if u == user);
        let bare = self.occupants.values().filter(is_theirs).find_map(|occupant| match &occupant.who {
            Who::Native { bare, .. } => bare.clone(),
            Who::Own(_) => None,
        });
        bare.iter().for_each(|bare| self.affiliate(to, bare, "outcast"));
    }

    /// What a native's client told before they were a member.
    pub fn state_of(&self, user: &UserId) -> Option<NativeChange> {
        let state = self.occupants.values().find_map(|occupant| match &occupant.who {
            Who::Native { user: u, .. } if u == user => Some(occupant.state),
            _ => None,
        })?;
        let is_any = state.audio == Some(true) || state.video == Some(true) || state.hand == Some(true);
        is_any.then_some(NativeChange::State(state))
    }

    /// Passes a member's message on, as from their occupant if they have one.
    pub fn relay(&self, to: &mut Sender<'_>, id: &str, member: &UserId, name: &str, text: &str) {
        if self.phase != Phase::In {
            metrics::counter!("confgate_muc_dropped_total", "why" => "not_entered").increment(1);
            return;
        }
        let (from, body) = match self.own.get(member).filter(|own| own.stage == Stage::In) {
            Some(_) => (to.settings.own(member), text.to_owned()),
            None => (to.settings.observer(), format!("{name}: {text}")),
        };
        to.send(stanzas::groupchat(&from, &self.jid, id, &body));
    }

    /// When something of it has to be tried again.
    pub fn is_due(&self, now: Moment) -> bool {
        match self.phase {
            Phase::Out { retry: until }
            | Phase::Looking { until }
            | Phase::Joining { until }
            | Phase::Configuring { until } => until <= now,
            Phase::In => self.own.values().any(|own| own.is_due(now)),
        }
    }
}

/// The conference's id as part of an IQ's id.
pub(super) fn conf_in(id: &str) -> Option<(&str, ConfId)> {
    let (kind, conf) = id.split_once(':')?;
    Some((kind, ConfId::parse(conf)?))
}
