//! Our dialect: how operations, conferences, members and messages stand in XML.
//!
//! `<jeExtension xmlns="je:x:client:<module>"><operation .../></jeExtension>`; the answer is the same operation with
//! the result as its content. Values are attributes; an absent one means null. Times are milliseconds since 1970.

use super::stanza_error::StanzaError;
use crate::event::{Audio, Conference, Member, MemberState, Message, MutePolicy, Role, Roster, Video};
use crate::ids::{CallId, ConfId, ID_MAX, Secret, UserId};
use crate::precis::display_name;
use crate::xmpp::xml::{Element, SENT_MAX};

/// Longest display name, conference name or password, in characters.
pub(super) const NAME_MAX: usize = display_name::MAX;
/// Longest message, in characters.
pub(super) const TEXT_MAX: usize = 4000;
/// Most entries of one page.
pub(super) const PAGE_MAX: usize = 200;
/// Latest time that is accepted: the end of the year 9999.
const TIME_MAX: u64 = 253_402_300_799_999;
/// The bytes of a stanza that an answer's entries may fill; the rest is for the elements around them.
pub(super) const ANSWER_MAX: usize = SENT_MAX - 4 * 1024;

/// The EIM's modules. Each has a namespace and an address of its own, yet answers at any address of the EIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Conference,
    Contacts,
    Org,
    Config,
    Call,
}

impl Module {
    pub const ALL: [Self; 5] = [Self::Conference, Self::Contacts, Self::Org, Self::Config, Self::Call];

    pub fn ns(self) -> &'static str {
        match self {
            Self::Conference => "je:x:client:conference",
            Self::Contacts => "je:x:client:contacts",
            Self::Org => "je:x:client:org",
            Self::Config => "je:x:client:config",
            Self::Call => "je:x:client:call",
        }
    }

    pub fn of_ns(ns: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.ns() == ns)
    }

    /// The first part of the module's address; module `config` lives at `jeprivacy`, as in the seed's sample.
    pub fn host(self) -> &'static str {
        match self {
            Self::Conference => "jeconference",
            Self::Contacts => "jecontacts",
            Self::Org => "jeorg",
            Self::Config => "jeprivacy",
            Self::Call => "jecall",
        }
    }
}

/// The arguments of an operation, read strictly: what is there must be well-formed.
#[derive(Clone, Copy)]
pub(super) struct Args<'a>(pub &'a Element);

impl<'a> Args<'a> {
    /// A text of 1 to `max` characters, not blank, without control characters.
    pub fn text(self, name: &'static str, max: usize) -> Result<Option<&'a str>, StanzaError> {
        match self.0.attr(name) {
            None => Ok(None),
            Some(text)
                if !text.trim().is_empty() && is_length_allowed(text, max) && !text.contains(char::is_control) =>
            {
                Ok(Some(text))
            }
            Some(_) => Err(StanzaError::argument(name)),
        }
    }

    pub fn need_text(self, name: &'static str, max: usize) -> Result<&'a str, StanzaError> {
        self.text(name, max)?.ok_or(StanzaError::argument(name))
    }

    /// A name to show, of at most `max` characters.
    pub fn name(self, name: &'static str, max: usize) -> Result<Option<String>, StanzaError> {
        self.read(name, |text| display_name::checked(text, max))
    }

    pub fn need_name(self, name: &'static str, max: usize) -> Result<String, StanzaError> {
        self.name(name, max)?.ok_or(StanzaError::argument(name))
    }

    /// Text that may be empty.
    pub fn free(self, name: &'static str, max: usize) -> Result<Option<&'a str>, StanzaError> {
        match self.0.attr(name) {
            Some(text) if !is_length_allowed(text, max) => Err(StanzaError::argument(name)),
            text => Ok(text),
        }
    }

    fn read<T>(self, name: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, StanzaError> {
        self.0.attr(name).map(|text| read(text).ok_or(StanzaError::argument(name))).transpose()
    }

    pub fn flag(self, name: &'static str) -> Result<Option<bool>, StanzaError> {
        self.read(name, |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    pub fn number(self, name: &'static str) -> Result<Option<u64>, StanzaError> {
        self.read(name, |text| text.parse().ok())
    }

    pub fn need_number(self, name: &'static str) -> Result<u64, StanzaError> {
        self.number(name)?.ok_or(StanzaError::argument(name))
    }

    pub fn time(self, name: &'static str) -> Result<Option<u64>, StanzaError> {
        match self.number(name)? {
            Some(ms) if ms > TIME_MAX => Err(StanzaError::argument(name)),
            ms => Ok(ms),
        }
    }

    /// A page's length, brought between 1 and [`PAGE_MAX`].
    pub fn limit(self, default: usize) -> Result<usize, StanzaError> {
        let asked = self.number("limit")?.map_or(default, |n| usize::try_from(n).unwrap_or(PAGE_MAX));
        Ok(asked.clamp(1, PAGE_MAX))
    }

    pub fn offset(self) -> Result<usize, StanzaError> {
        Ok(self.number("offset")?.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    pub fn conf_id(self) -> Result<ConfId, StanzaError> {
        self.read("confId", ConfId::parse)?.ok_or(StanzaError::argument("confId"))
    }

    pub fn call_id(self) -> Result<CallId, StanzaError> {
        self.read("callId", CallId::parse)?.ok_or(StanzaError::argument("callId"))
    }

    pub fn user_id(self) -> Result<Option<UserId>, StanzaError> {
        self.read("userId", UserId::parse)
    }

    pub fn need_user_id(self) -> Result<UserId, StanzaError> {
        self.user_id()?.ok_or(StanzaError::argument("userId"))
    }

    /// Where a subscriber left off: the epoch and the number of their last event. One without the other is nothing.
    pub fn since(self) -> Result<Option<(&'a str, u64)>, StanzaError> {
        Ok(self.text("sinceEpoch", ID_MAX)?.zip(self.number("sinceSeq")?))
    }

    pub fn mute_policy(self) -> Result<Option<MutePolicy>, StanzaError> {
        self.read("mutePolicy", |text| match text {
            "free" => Some(MutePolicy::Free),
            "joinMuted" => Some(MutePolicy::JoinMuted),
            "locked" => Some(MutePolicy::Locked),
            _ => None,
        })
    }

    pub fn role(self) -> Result<Option<Role>, StanzaError> {
        self.read("role", |text| match text {
            "guest" => Some(Role::Guest),
            "member" => Some(Role::Member),
            "chair" => Some(Role::Chair),
            _ => None,
        })
    }

    /// The id of a gateway node: printable ASCII, as it becomes a key of what is kept.
    pub fn node(self) -> Result<&'a str, StanzaError> {
        let node = self.need_text("node", ID_MAX)?;
        if node.bytes().all(|b| b.is_ascii_graphic()) { Ok(node) } else { Err(StanzaError::argument("node")) }
    }
}

fn is_length_allowed(text: &str, max: usize) -> bool {
    text.len() <= max || (text.len() <= max * 4 && text.chars().count() <= max)
}

/// An element of the module conference, in its namespace.
pub(super) fn element(name: &str) -> Element {
    Element::new(name, Module::Conference.ns())
}

fn set_some(element: &mut Element, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        element.set(name, value.to_string());
    }
}

/// `password`: for those only who may know it.
pub(super) fn conference(c: &Conference, password: Option<&Secret>) -> Element {
    let mut e = element("conference")
        .with("confId", c.conf_id.as_str())
        .with("confName", c.conf_name.as_str())
        .with("state", c.state.to_string());
    set_some(&mut e, "startAt", c.start_at);
    e.set("chair", c.chair.as_str());
    e.set("locked", c.locked.to_string());
    e.set("lobby", c.lobby.to_string());
    e.set("mutePolicy", mute_policy(c.mute_policy));
    set_some(&mut e, "mainVideo", c.main_video.as_ref());
    set_some(&mut e, "password", password.map(Secret::expose).filter(|password| !password.is_empty()));
    match &c.call {
        None => e,
        Some(call) => {
            e.with_child(element("call").with("callId", call.call_id.as_str()).with("mode", call.mode.as_str()))
        }
    }
}

fn mute_policy(policy: MutePolicy) -> &'static str {
    match policy {
        MutePolicy::Free => "free",
        MutePolicy::JoinMuted => "joinMuted",
        MutePolicy::Locked => "locked",
    }
}

pub(super) fn member(m: &Member) -> Element {
    let role = match m.role {
        Role::Chair => "chair",
        Role::Member => "member",
        Role::Guest => "guest",
    };
    let state = match m.state {
        MemberState::Joined => "joined",
        MemberState::Reconnecting => "reconnecting",
        MemberState::Waiting => "waiting",
    };
    let audio = match m.audio {
        Audio::On => "on",
        Audio::Off => "off",
        Audio::ForcedOff => "forcedOff",
    };
    let video = match m.video {
        Video::On => "on",
        Video::Off => "off",
    };
    let mut e = element("member")
        .with("userId", m.user_id.as_str())
        .with("name", m.name.as_str())
        .with("role", role)
        .with("state", state)
        .with("audio", audio)
        .with("video", video)
        .with("hand", m.hand.to_string())
        .with("joinedAt", m.joined_at.to_string());
    set_some(&mut e, "unmuteAsked", m.unmute_asked.then_some(true));
    e
}

pub(super) fn message(m: &Message) -> Element {
    element("message")
        .with("messageId", m.message_id.as_str())
        .with("userId", m.user_id.as_str())
        .with("time", m.time.to_string())
        .with_text(m.text.as_str())
}

/// How much of a conference an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View<'a> {
    Full,
    /// The conference and, while they wait, the user's own entry: for those who were not admitted yet.
    Own(&'a UserId),
}

/// `<name epoch seq>`, conference, members, waiting, messages. A restricted answer carries `restricted="true"`: it
/// is no ground to replay events on. Of the messages so many of the newest are told as the stanza holds.
pub(super) fn state(name: &str, roster: &Roster, view: View<'_>) -> Element {
    let mut answer = element(name).with("epoch", roster.epoch.as_str()).with("seq", roster.seq.to_string());
    if view != View::Full {
        answer.set("restricted", "true");
    }
    answer = answer.with_child(conference(&roster.conference, None));
    let (members, waiting): (&[Member], Vec<&Member>) = match view {
        View::Full => (&roster.members, roster.waiting.iter().collect()),
        View::Own(user) => (&[], roster.waiter(user).into_iter().collect()),
    };
    let mut used: usize = members.iter().chain(waiting.iter().copied()).map(member_size).sum();
    answer = answer
        .with_child(members.iter().fold(element("members"), |all, m| all.with_child(member(m))))
        .with_child(waiting.into_iter().fold(element("waiting"), |all, m| all.with_child(member(m))));
    let mut messages = element("messages");
    if view == View::Full {
        let newest = roster.messages.iter().rev().take_while(|m| {
            used += message_size(m);
            used <= ANSWER_MAX
        });
        let from = roster.messages.len() - newest.count();
        messages = roster.messages[from..].iter().fold(messages, |all, m| all.with_child(message(m)));
    }
    answer.with_child(messages)
}

/// The answer with those events' JSON, if one stanza holds them all.
pub(super) fn with_events<'a>(answer: Element, events: impl Iterator<Item = &'a str>) -> Element {
    let list = events.fold(element("events"), |all, json| all.with_child(element("event").with_text(json)));
    let mut answer = answer.with_child(list);
    if !answer.fits(ANSWER_MAX) {
        answer.nodes.pop();
    }
    answer
}

/// The newest of the page that one stanza holds, oldest first.
pub(super) fn page<'a>(name: &str, newest_first: impl Iterator<Item = &'a Message>) -> Element {
    let mut used = 0;
    let fitting = newest_first.take_while(|m| {
        used += message_size(m);
        used <= ANSWER_MAX
    });
    let mut page: Vec<Element> = fitting.map(message).collect();
    page.reverse();
    page.into_iter().fold(element(name), Element::with_child)
}

/// At most so many bytes as the member's element takes.
fn member_size(m: &Member) -> usize {
    240 + escaped(&m.name)
}

fn message_size(m: &Message) -> usize {
    180 + escaped(&m.text)
}

/// An upper bound of the escaped length: `&quot;` is the longest escape.
fn escaped(text: &str) -> usize {
    text.bytes()
        .map(|b| if matches!(b, b'&' | b'<' | b'>' | b'"' | b'\'' | b'\r' | b'\n' | b'\t') { 6 } else { 1 })
        .sum()
}
