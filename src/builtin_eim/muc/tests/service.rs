//! A MUC service: as much of XEP-0045 as the bridge uses, done as ejabberd and Prosody do it.

use std::collections::BTreeMap;

use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{CONTENT_NS, Element, Stanza};

const USER_NS: &str = "http://jabber.org/protocol/muc#user";
const STANZAS_NS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

#[derive(Debug, Clone)]
pub struct Occupant {
    pub jid: String,
    pub role: &'static str,
    pub state: Option<Element>,
}

#[derive(Debug, Default)]
pub struct Room {
    pub occupants: BTreeMap<String, Occupant>,
    /// By bare address.
    pub affiliations: BTreeMap<String, String>,
    pub password: String,
    pub members_only: bool,
    pub subject: String,
    pub is_configured: bool,
}

#[derive(Debug, Default)]
pub struct Service {
    pub rooms: BTreeMap<String, Room>,
    /// Removes what it doesn't know from presence.
    pub strips: bool,
    /// Tells nobody's address.
    pub hides: bool,
    /// The new nickname of the occupant whose leaving is told.
    renaming: Option<String>,
    /// Stanzas to whoever.
    out: Vec<Stanza>,
}

fn bare(jid: &str) -> String {
    jid.split('/').next().unwrap_or_default().to_owned()
}

impl Service {
    /// The stanzas that it has sent to addresses of that domain.
    pub fn take_for(&mut self, domain: &str) -> Vec<Stanza> {
        let out = std::mem::take(&mut self.out);
        let is_for =
            |stanza: &Stanza| Jid::parse(stanza.attr("to").unwrap_or_default()).is_some_and(|to| to.is_at(domain));
        out.into_iter().filter(is_for).collect()
    }

    pub fn take(&mut self, stanza: &Stanza) {
        let (from, to) = (stanza.attr("from").unwrap().to_owned(), stanza.attr("to").unwrap().to_owned());
        let (room, nick) = to.split_once('/').unwrap_or((&to, ""));
        match (stanza.name.as_str(), stanza.attr("type")) {
            ("presence", Some("unavailable")) => self.leave(room, nick, &from, &[110]),
            ("presence", None) => self.enter(room, nick, &from, stanza),
            ("message", Some("groupchat")) => self.message(room, &from, stanza),
            ("iq", Some("set" | "get")) => self.iq(room, &from, stanza),
            _ => {}
        }
    }

    fn error(&mut self, stanza: &Stanza, condition: &str) {
        let mut error = Stanza::new(&stanza.name).with("type", "error");
        error.set("from", stanza.attr("to").unwrap());
        error.set("to", stanza.attr("from").unwrap());
        if let Some(id) = stanza.attr("id") {
            error.set("id", id);
        }
        let condition = Element::new(condition, STANZAS_NS);
        let content = Element::new("error", CONTENT_NS).with("type", "cancel").with_child(condition);
        self.out.push(error.with_child(content));
    }

    fn enter(&mut self, name: &str, nick: &str, from: &str, presence: &Stanza) {
        let x = presence.children().find(|child| child.ns == "http://jabber.org/protocol/muc").cloned();
        let state = presence.child("state").cloned().filter(|_| !self.strips);
        let is_new = !self.rooms.contains_key(name);
        if x.is_none() && (is_new || !self.rooms[name].occupants.contains_key(nick)) {
            return;
        }
        let room = self.rooms.entry(name.to_owned()).or_default();
        if is_new {
            room.affiliations.insert(bare(from), "owner".into());
        }
        let affiliation = room.affiliations.get(&bare(from)).cloned().unwrap_or_else(|| "none".into());
        let password = x.as_ref().and_then(|x| x.child("password")).map(Element::text).unwrap_or_default();
        let is_in = room.occupants.get(nick).is_some_and(|known| known.jid == from);
        let refused = match () {
            () if is_in => None,
            () if room.occupants.contains_key(nick) => Some("conflict"),
            () if affiliation == "outcast" => Some("forbidden"),
            () if affiliation != "owner" && !room.password.is_empty() && room.password != password => {
                Some("not-authorized")
            }
            () if room.members_only && affiliation == "none" => Some("registration-required"),
            () => None,
        };
        if let Some(condition) = refused {
            return self.error(presence, condition);
        }
        let role = if affiliation == "owner" { "moderator" } else { "participant" };
        // An occupant that enters again under another nickname changes it.
        let before = self.rooms[name].occupants.iter().find(|(known, o)| o.jid == from && *known != nick);
        if let Some(before) = before.map(|(known, _)| known.clone()) {
            self.renaming = Some(nick.to_owned());
            self.leave(name, &before, from, &[303]);
        }
        if !is_in {
            for (nick, occupant) in self.rooms[name].occupants.clone() {
                self.tell(name, &nick, &occupant, from, None, &[]);
            }
        }
        let occupant = Occupant { jid: from.to_owned(), role, state };
        self.rooms.get_mut(name).unwrap().occupants.insert(nick.to_owned(), occupant.clone());
        self.tell_all(name, nick, &occupant, None, if is_new { &[201] } else { &[] });
        if x.is_some() {
            let subject = Element::new("subject", CONTENT_NS).with_text(self.rooms[name].subject.clone());
            let message = Stanza::new("message").with("type", "groupchat").with("from", name).with("to", from);
            self.out.push(message.with_child(subject));
        }
    }

    fn tell_all(&mut self, name: &str, nick: &str, about: &Occupant, kind: Option<&str>, statuses: &[u16]) {
        let everybody: Vec<String> = self.rooms[name].occupants.values().map(|o| o.jid.clone()).collect();
        let own = Some(about.jid.clone()).filter(|jid| !everybody.contains(jid));
        for to in everybody.into_iter().chain(own) {
            let mut statuses = statuses.to_vec();
            if to == about.jid && !statuses.contains(&110) {
                statuses.push(110);
            }
            self.tell(name, nick, about, &to, kind, &statuses);
        }
    }

    fn tell(&mut self, name: &str, nick: &str, about: &Occupant, to: &str, kind: Option<&str>, statuses: &[u16]) {
        let affiliation = self.rooms[name].affiliations.get(&bare(&about.jid)).map_or("none", String::as_str);
        let role = if kind.is_some() { "none" } else { about.role };
        let mut item = Element::new("item", USER_NS).with("affiliation", affiliation).with("role", role);
        if let Some(nick) = self.renaming.as_ref().filter(|_| statuses.contains(&303)) {
            item.set("nick", nick.as_str());
        }
        if !self.hides {
            item.set("jid", about.jid.as_str());
        }
        let status = |code: &u16| Element::new("status", USER_NS).with("code", code.to_string());
        let x = statuses.iter().map(status).fold(Element::new("x", USER_NS).with_child(item), Element::with_child);
        let mut presence = Stanza::new("presence").with("from", format!("{name}/{nick}")).with("to", to);
        if let Some(kind) = kind {
            presence.set("type", kind);
        }
        let presence = about.state.iter().cloned().fold(presence, Stanza::with_child);
        self.out.push(presence.with_child(x));
    }

    fn leave(&mut self, name: &str, nick: &str, from: &str, statuses: &[u16]) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.occupants.get(nick).is_none_or(|occupant| occupant.jid != from) {
            return;
        }
        let gone = room.occupants.remove(nick).unwrap();
        let others: Vec<u16> = statuses.iter().copied().filter(|code| *code != 110).collect();
        self.tell_all(name, nick, &gone, Some("unavailable"), &others);
    }

    fn message(&mut self, name: &str, from: &str, message: &Stanza) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(nick) = room.occupants.iter().find(|(_, o)| o.jid == from).map(|(nick, _)| nick.clone()) else {
            return self.error(message, "not-acceptable");
        };
        if let (Some(subject), None) = (message.child("subject"), message.child("body")) {
            room.subject = subject.text();
        }
        for to in room.occupants.values().map(|o| o.jid.clone()).collect::<Vec<_>>() {
            let mut copy = message.clone();
            copy.set("from", format!("{name}/{nick}"));
            copy.set("to", to);
            self.out.push(copy);
        }
    }

    fn iq(&mut self, name: &str, from: &str, iq: &Stanza) {
        let payload = iq.payload().unwrap();
        let may =
            self.rooms.get(name).and_then(|room| room.affiliations.get(&bare(from))).is_some_and(|a| a == "owner");
        match payload.ns.as_str() {
            "http://jabber.org/protocol/disco#info" if self.rooms.contains_key(name) => {}
            _ if !self.rooms.contains_key(name) => return self.error(iq, "item-not-found"),
            _ if !may => return self.error(iq, "forbidden"),
            "http://jabber.org/protocol/muc#admin" => self.administrate(name, payload),
            _ if payload.child("destroy").is_some() => self.destroy(name),
            _ => self.configure(name, payload),
        }
        let answer = Stanza::new("iq").with("type", "result").with("id", iq.attr("id").unwrap());
        self.out.push(answer.with("from", name).with("to", from));
    }

    fn configure(&mut self, name: &str, query: &Element) {
        let value = |var: &str| {
            let field = query.child("x").unwrap().children().find(|field| field.attr("var") == Some(var));
            field.and_then(|field| field.child("value")).map(Element::text).unwrap_or_default()
        };
        let room = self.rooms.get_mut(name).unwrap();
        room.is_configured = true;
        room.password = value("muc#roomconfig_roomsecret");
        room.members_only = value("muc#roomconfig_membersonly") == "1";
        if room.members_only {
            let is_out = |o: &Occupant| !room.affiliations.contains_key(&bare(&o.jid));
            let out: Vec<_> = room.occupants.iter().filter(|(_, o)| is_out(o)).collect();
            let out: Vec<_> = out.into_iter().map(|(nick, o)| (nick.clone(), o.jid.clone())).collect();
            out.iter().for_each(|(nick, jid)| self.leave(name, nick, jid, &[322]));
        }
    }

    fn administrate(&mut self, name: &str, query: &Element) {
        for item in query.children() {
            if let Some(nick) = item.attr("nick") {
                let jid = self.rooms[name].occupants.get(nick).map(|o| o.jid.clone());
                jid.iter().for_each(|jid| self.leave(name, nick, jid, &[307]));
                continue;
            }
            let (jid, affiliation) = (item.attr("jid").unwrap().to_owned(), item.attr("affiliation").unwrap());
            let room = self.rooms.get_mut(name).unwrap();
            room.affiliations.insert(jid.clone(), affiliation.to_owned());
            let role = if affiliation == "owner" { "moderator" } else { "participant" };
            for (nick, mut occupant) in room.occupants.clone().into_iter().filter(|(_, o)| bare(&o.jid) == jid) {
                if affiliation == "outcast" {
                    self.leave(name, &nick, &occupant.jid, &[301]);
                } else if occupant.role != role {
                    occupant.role = role;
                    self.rooms.get_mut(name).unwrap().occupants.insert(nick.clone(), occupant.clone());
                    self.tell_all(name, &nick, &occupant, None, &[]);
                }
            }
        }
    }

    pub fn destroy(&mut self, name: &str) {
        let Some(room) = self.rooms.remove(name) else { return };
        for (nick, occupant) in room.occupants {
            let x = Element::new("x", USER_NS).with_child(Element::new("destroy", USER_NS));
            let x = x.with_child(Element::new("status", USER_NS).with("code", "110"));
            let presence = Stanza::new("presence").with("type", "unavailable").with("to", occupant.jid);
            self.out.push(presence.with("from", format!("{name}/{nick}")).with_child(x));
        }
    }

    /// As a moderator's client does.
    pub fn kick(&mut self, name: &str, nick: &str, status: u16) {
        if let Some(jid) = self.rooms.get(name).and_then(|room| room.occupants.get(nick)).map(|o| o.jid.clone()) {
            self.leave(name, nick, &jid, &[status]);
        }
    }
}
