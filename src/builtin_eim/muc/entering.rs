//! How a member of a browser comes into the room and out of it.

use super::super::mirror::NativeChange;
use super::names::{nick, unknown};
use super::own::{OwnOccupant, Stage, TRIES_MAX};
use super::room::{MucRoom, RoomEvent, Sender, Who};
use super::stanzas::{self, Occupancy, status};
use crate::ids::UserId;
use crate::xmpp::xml::Stanza;

impl MucRoom {
    /// Takes a member of a browser out of the room, and off the list of one that was there before.
    pub fn withdraw(&self, to: &mut Sender<'_>, user: &UserId, own: &OwnOccupant) {
        to.send(stanzas::leave(&to.settings.own(user), &self.jid, &own.nick));
        if self.adopted && own.is_listed {
            self.affiliate(to, &to.settings.own_bare(user), "none");
        }
    }

    /// Takes what the room tells a member of a browser of themselves.
    pub fn take_own(&mut self, to: &mut Sender<'_>, user: &UserId, presence: &Stanza) -> Vec<RoomEvent> {
        let (now, deadline, is_admin) = (to.now, to.deadline(), self.is_admin);
        let Some(own) = self.own.get_mut(user) else { return Vec::new() };
        let occupancy = Occupancy::of(presence);
        let from = presence.attr("from").and_then(|from| from.split_once('/')).map_or("", |(_, nick)| nick);
        match presence.attr("type") {
            Some("error") if own.stage == Stage::In => own.refuse(now),
            Some("error") if !stanzas::is_of_join(presence) => {}
            Some("error") if stanzas::condition(presence) == "registration-required" && !own.is_listed && is_admin => {
                own.is_listed = true;
                own.stage = Stage::Joining { until: deadline };
                let (own, bare) = (own.clone(), to.settings.own_bare(user));
                self.affiliate(to, &bare, "member");
                self.join_own(to, user, &own);
            }
            Some("error") if stanzas::condition(presence) == "conflict" && own.tries < TRIES_MAX => {
                own.tries += 1;
                own.nick = nick(&own.name, user, own.tries);
                own.stage = Stage::Joining { until: deadline };
                let own = own.clone();
                self.join_own(to, user, &own);
                // Who has that nickname is somebody else.
                self.reidentify(from);
            }
            Some("error") => own.refuse(now),
            Some("unavailable") if occupancy.has(status::RENAMED) => {}
            Some("unavailable") if occupancy.has(status::SELF) && own.stage == Stage::In => {
                own.refuse(now);
                own.stage = Stage::Refused { retry: now };
                let expelled = occupancy.expelled().filter(|_| !occupancy.is_destroyed);
                let expelled = expelled.map(|banned| NativeChange::Expelled { banned });
                return expelled.map(|change| RoomEvent::Native(user.clone(), change)).into_iter().collect();
            }
            None if occupancy.has(status::SELF) => {
                own.stage = Stage::In;
                from.clone_into(&mut own.nick);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Enters the room for a member of a browser.
    pub fn join_own(&self, to: &mut Sender<'_>, user: &UserId, own: &OwnOccupant) {
        let password = self.config.as_ref().map_or("", |config| &config.password);
        let address = to.settings.own(user);
        to.send(stanzas::join(&address, &self.jid, &own.nick, password, Some(own.state.clone())));
    }

    fn reidentify(&mut self, nick: &str) {
        let native = Who::Native { user: unknown(&self.jid, nick), bare: None };
        if let Some(occupant) = self.occupants.get_mut(nick).filter(|occupant| matches!(occupant.who, Who::Own(_))) {
            occupant.who = native;
        }
    }
}
