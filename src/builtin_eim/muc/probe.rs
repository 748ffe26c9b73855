//! A trial of a MUC service: what it is, and whether a room can be made there, configured and destroyed.

use super::names::{MucSettings, observer_nick};
use super::stanzas::{self, Occupancy, RoomConfig, status};
use crate::xmpp::jid::{Jid, same_domain};
use crate::xmpp::xml::{Element, Stanza};

const INFO_NS: &str = "http://jabber.org/protocol/disco#info";
const MUC_FEATURE: &str = "http://jabber.org/protocol/muc";

/// What to do next.
pub(in super::super) enum Step {
    Send(Vec<Stanza>),
    End(Result<String, String>),
}

/// See the module.
pub(in super::super) struct Probe {
    settings: MucSettings,
    room: String,
}

impl Probe {
    /// `room`: the local part of the room that is made.
    pub fn new(settings: MucSettings, room: &str) -> Self {
        let room = format!("{room}@{}", settings.service);
        Self { settings, room }
    }

    pub fn begin(&self) -> Vec<Stanza> {
        let query = Element::new("query", INFO_NS);
        vec![stanzas::iq("get", "service", &self.settings.observer(), &self.settings.service, query)]
    }

    pub fn take(&self, stanza: &Stanza) -> Step {
        let from = stanza.attr("from").and_then(Jid::parse);
        if !from.is_some_and(|from| same_domain(from.domain, &self.settings.service)) {
            return Step::Send(Vec::new());
        }
        let failed = stanza.attr("type") == Some("error");
        let refused = |what: &str| Step::End(Err(format!("{what}: {}", stanzas::condition(stanza))));
        match (stanza.name.as_str(), stanza.attr("id").unwrap_or_default()) {
            ("iq", "service") if failed => refused("there is no MUC service"),
            ("iq", "service") => self.enter(stanza),
            ("presence", _) if failed => refused("a room can't be made"),
            ("presence", _) => self.entered(stanza),
            ("iq", "config") if failed => refused("a room can't be configured"),
            ("iq", "config") => Step::Send(vec![self.iq("destroy", stanzas::destroy())]),
            ("iq", "destroy") if failed => refused("a room can't be destroyed"),
            ("iq", "destroy") => Step::End(Ok("a room was made, configured and destroyed".to_owned())),
            _ => Step::Send(Vec::new()),
        }
    }

    fn enter(&self, info: &Stanza) -> Step {
        let query = info.payload();
        let is_muc = |query: &Element| query.children().any(|child| child.attr("var") == Some(MUC_FEATURE));
        if !query.is_some_and(is_muc) {
            return Step::End(Err("it is no MUC service (XEP-0045)".to_owned()));
        }
        Step::Send(vec![stanzas::join(&self.settings.observer(), &self.room, &observer_nick(0), "", None)])
    }

    fn entered(&self, presence: &Stanza) -> Step {
        let occupancy = Occupancy::of(presence);
        if !occupancy.has(status::SELF) || presence.attr("type").is_some() {
            return Step::Send(Vec::new());
        }
        if !occupancy.is_admin() {
            return Step::End(Err("who makes a room doesn't own it".to_owned()));
        }
        let config = RoomConfig { name: "confgate check".into(), password: "trial".into(), members_only: true };
        Step::Send(vec![self.iq("config", stanzas::config(&config))])
    }

    fn iq(&self, id: &str, payload: Element) -> Stanza {
        stanzas::iq("set", id, &self.settings.observer(), &self.room, payload)
    }
}
