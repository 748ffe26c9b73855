//! What is said to a room and what is read of it (XEP-0045).

use super::super::mirror::MediaState;
use crate::event::{Audio, Member, Role, Video};
use crate::xmpp::jid::Jid;
use crate::xmpp::xml::{Element, Stanza};

const MUC_NS: &str = "http://jabber.org/protocol/muc";
const USER_NS: &str = "http://jabber.org/protocol/muc#user";
const ADMIN_NS: &str = "http://jabber.org/protocol/muc#admin";
const OWNER_NS: &str = "http://jabber.org/protocol/muc#owner";
const CONFIG_FORM: &str = "http://jabber.org/protocol/muc#roomconfig";
const DATA_NS: &str = "jabber:x:data";
const DELAY_NS: &str = "urn:xmpp:delay";
const LEGACY_DELAY_NS: &str = "jabber:x:delay";
/// The namespace of a member's state in their presence: see docs/integration.md.
pub(super) const STATE_NS: &str = "urn:confgate:member:0";

/// The id of a presence that enters a room: an error without it answers another one.
const JOIN_ID: &str = "join";

/// The status codes that matter (XEP-0045 section 15.6).
pub(super) mod status {
    /// It is about the receiver.
    pub const SELF: u16 = 110;
    /// The room was made by this.
    pub const CREATED: u16 = 201;
    /// Sent out for good.
    pub const BANNED: u16 = 301;
    /// Another nickname.
    pub const RENAMED: u16 = 303;
    /// Sent out.
    pub const KICKED: u16 = 307;
    /// Out because of another affiliation.
    pub const UNAFFILIATED: u16 = 321;
    /// Out because their connection failed.
    pub const FAILED: u16 = 333;
}

/// The settings of a room of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct RoomConfig {
    /// The room's name.
    pub name: String,
    /// Empty: none.
    pub password: String,
    /// Whether only those on its list may enter.
    pub members_only: bool,
}

/// What a presence tells of an occupant.
#[derive(Debug, Default)]
pub(super) struct Occupancy<'a> {
    pub affiliation: &'a str,
    pub role: &'a str,
    /// The occupant's real address, where the room tells it.
    pub jid: Option<Jid<'a>>,
    /// With [`status::RENAMED`].
    pub new_nick: Option<&'a str>,
    statuses: Vec<u16>,
    pub is_destroyed: bool,
}

impl<'a> Occupancy<'a> {
    pub fn of(presence: &'a Stanza) -> Self {
        let Some(x) = presence.children().find(|x| x.name == "x" && x.ns == USER_NS) else { return Self::default() };
        let code = |status: &Element| status.attr("code")?.parse().ok();
        let item = x.child("item");
        let attr = |name| item.and_then(|item| item.attr(name));
        Self {
            affiliation: attr("affiliation").unwrap_or_default(),
            role: attr("role").unwrap_or_default(),
            jid: attr("jid").and_then(Jid::parse),
            new_nick: attr("nick"),
            statuses: x.children().filter(|child| child.name == "status").filter_map(code).collect(),
            is_destroyed: x.child("destroy").is_some(),
        }
    }

    pub fn has(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Whether a moderator has sent the occupant out; and for good.
    pub fn expelled(&self) -> Option<bool> {
        let sent_out = self.has(status::KICKED) || self.has(status::UNAFFILIATED);
        match self.has(status::BANNED) {
            true => Some(true),
            false => (sent_out && !self.has(status::FAILED)).then_some(false),
        }
    }

    pub fn is_admin(&self) -> bool {
        matches!(self.affiliation, "owner" | "admin")
    }
}

/// The condition of an error stanza (RFC 6120 section 8.3); empty where it has none.
pub(super) fn condition(stanza: &Stanza) -> &str {
    let error = stanza.child("error");
    error.and_then(|error| error.children().find(|c| c.name != "text")).map_or("", |c| c.name.as_str())
}

/// Whether an error answers [`join`].
pub(super) fn is_of_join(error: &Stanza) -> bool {
    error.attr("id") == Some(JOIN_ID)
}

/// Whether a message is of the past.
pub(super) fn is_delayed(message: &Stanza) -> bool {
    message.children().any(|child| matches!(child.ns.as_str(), DELAY_NS | LEGACY_DELAY_NS))
}

/// What a foreign client tells of its microphone, camera and hand. A server may strip it.
pub(super) fn media_state(presence: &Stanza) -> MediaState {
    let Some(state) = presence.children().find(|child| child.name == "state" && child.ns == STATE_NS) else {
        return MediaState::default();
    };
    let flag = |name: &str, yes: &str, no: &str| match state.attr(name) {
        Some(value) if value == yes => Some(true),
        Some(value) if value == no => Some(false),
        _ => None,
    };
    let (audio, video) = (flag("audio", "on", "off"), flag("video", "on", "off"));
    MediaState { audio, video, hand: flag("hand", "true", "false") }
}

/// `<state>` of a member.
pub(super) fn state(member: &Member) -> Element {
    let audio = match member.audio {
        Audio::On => "on",
        Audio::Off => "off",
        Audio::ForcedOff => "forcedOff",
    };
    let role = match member.role {
        Role::Chair => "chair",
        Role::Member => "member",
        Role::Guest => "guest",
    };
    Element::new("state", STATE_NS)
        .with("audio", audio)
        .with("video", if member.video == Video::On { "on" } else { "off" })
        .with("hand", if member.hand { "true" } else { "false" })
        .with("role", role)
}

/// Enters a room. The past is not wanted.
pub(super) fn join(from: &str, room: &str, nick: &str, password: &str, state: Option<Element>) -> Stanza {
    let history = Element::new("history", MUC_NS).with("maxstanzas", "0").with("maxchars", "0");
    let mut x = Element::new("x", MUC_NS).with_child(history);
    if !password.is_empty() {
        x = x.with_child(Element::new("password", MUC_NS).with_text(password));
    }
    presence(from, room, nick, Some(x), state).with("id", JOIN_ID)
}

/// Tells a state in a room.
pub(super) fn update(from: &str, room: &str, nick: &str, state: Element) -> Stanza {
    presence(from, room, nick, None, Some(state))
}

fn presence(from: &str, room: &str, nick: &str, x: Option<Element>, state: Option<Element>) -> Stanza {
    let presence = Stanza::new("presence").with("from", from).with("to", format!("{room}/{nick}"));
    x.into_iter().chain(state).fold(presence, Stanza::with_child)
}

/// Leaves a room.
pub(super) fn leave(from: &str, room: &str, nick: &str) -> Stanza {
    Stanza::new("presence").with("type", "unavailable").with("from", from).with("to", format!("{room}/{nick}"))
}

fn element(name: &str, ns: &str, text: &str) -> Element {
    Element::new(name, ns).with_text(text)
}

/// A message to everybody.
pub(super) fn groupchat(from: &str, room: &str, id: &str, body: &str) -> Stanza {
    let message = Stanza::new("message").with("type", "groupchat").with("from", from).with("to", room).with("id", id);
    message.with_child(element("body", crate::xmpp::xml::CONTENT_NS, body))
}

/// Gives a room a subject.
pub(super) fn subject(from: &str, room: &str, text: &str) -> Stanza {
    let message = Stanza::new("message").with("type", "groupchat").with("from", from).with("to", room);
    message.with_child(element("subject", crate::xmpp::xml::CONTENT_NS, text))
}

/// An IQ to a room or its service.
pub(super) fn iq(kind: &str, id: &str, from: &str, to: &str, payload: Element) -> Stanza {
    Stanza::iq(kind, payload).with("id", id).with("from", from).with("to", to)
}

/// The content of an IQ that configures a room of ours: not listed, kept until it is destroyed, addresses for its
/// moderators only.
pub(super) fn config(config: &RoomConfig) -> Element {
    let flag = |on: bool| if on { "1" } else { "0" };
    let fields = [
        ("FORM_TYPE", CONFIG_FORM),
        ("muc#roomconfig_roomname", &config.name),
        ("muc#roomconfig_publicroom", "0"),
        ("muc#roomconfig_persistentroom", "1"),
        ("muc#roomconfig_whois", "moderators"),
        ("muc#roomconfig_moderatedroom", "0"),
        ("muc#roomconfig_changesubject", "0"),
        ("muc#roomconfig_membersonly", flag(config.members_only)),
        ("muc#roomconfig_passwordprotectedroom", flag(!config.password.is_empty())),
        ("muc#roomconfig_roomsecret", &config.password),
    ];
    let form = fields.into_iter().fold(Element::new("x", DATA_NS).with("type", "submit"), |form, (var, value)| {
        let value = Element::new("value", DATA_NS).with_text(value);
        form.with_child(Element::new("field", DATA_NS).with("var", var).with_child(value))
    });
    Element::new("query", OWNER_NS).with_child(form)
}

/// The content of an IQ that gives an affiliation to a bare address.
pub(super) fn affiliation(jid: &str, affiliation: &str) -> Element {
    let item = Element::new("item", ADMIN_NS).with("affiliation", affiliation).with("jid", jid);
    Element::new("query", ADMIN_NS).with_child(item)
}

/// The content of an IQ that sends an occupant out.
pub(super) fn kick(nick: &str, why: &str) -> Element {
    let item = Element::new("item", ADMIN_NS).with("role", "none").with("nick", nick);
    Element::new("query", ADMIN_NS).with_child(item.with_child(element("reason", ADMIN_NS, why)))
}

/// The content of an IQ that destroys a room.
pub(super) fn destroy() -> Element {
    Element::new("query", OWNER_NS).with_child(Element::new("destroy", OWNER_NS))
}
