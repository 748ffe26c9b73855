//! Messages of the EIM become events of our vocabulary by the files `rpc-schema/events/*.json`, and in no other way: the
//! built-in dialect is such a file too.
//!
//! # A file says
//!
//! | member of `x-event` | what |
//! |---|---|
//! | `over` | `xmpp` (a message stanza), `amqp` (a delivery), or both |
//! | `body` | `event`: JSON of our vocabulary, read straight into its types. `json`, `xml`: anything else, read by rules |
//! | `ns`, `element` | the element: a child of the stanza, whose text is the JSON; with `xml` it is the body itself, over AMQP too |
//! | `from` | over XMPP: the senders, where they are not the addresses at which the EIM is asked |
//! | `keys` | over AMQP: the routing keys, as `conf.{confId}.{type}`. The node's queue is bound by them |
//! | `match` | values that must stand in the body, or be absent |
//! | `each` | the path of the elements of which each is an event; without it the body is one |
//! | `confId`, `epoch`, `seq`, `time`, `actor`, `to` | where these stand; `confId` and `to` may stand in the routing key |
//! | `events` | alternatives: by `match`, and by a `type` that maps the EIM's words, the `data` of one of our types |
//!
//! A rule names a place (`path`, `key`) or a `const`, and a `type` or a `map` from the EIM's words to ours, as an `x-iq`
//! does for the values of an answer: the same code reads both. A type that isn't ours is `eim.<type>` to clients.
//!
//! # Pure core
//!
//! [`InboundSchema::read`] takes a [`Message`] and gives [`Outcome`]: the events, that the message is not ours, or why it
//! can't be read. It knows no socket and no clock, and its reasons never repeat what stood in the message. A message is
//! read whole or not at all. At most one file takes a message: files that overlap are refused at the start.
//!
//! An event may have no number ([`ConferenceEvent::numbering`]). What numbers it is not decided here.

mod body;
mod bounds;
mod examples;
mod reader;
mod request;
mod senders;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::borrow::Cow;
use std::sync::Arc;

use body::Bodies;
use reader::{Envelope, Reader};
use senders::Senders;

use crate::event::{CallEvent, Change, ConferenceEvent, NumberedBy};
use crate::ids::{ConfId, UserId};
use crate::schema::{EventBody, InboundFiles, KeyPattern, OwnType, Schema, XEvent, XReason, XRequest};
use crate::xmpp::xml::Stanza;

pub use examples::check_examples;
pub use request::Question;
pub use vocabulary::numbered_event;

/// Largest body of a delivery, in bytes: as much as a stanza may have.
const BODY_MAX: usize = crate::xmpp::xml::STANZA_MAX;

/// A message from the EIM, or from somebody who says so.
#[derive(Debug, Clone, Copy)]
pub enum Message<'m> {
    /// A message stanza.
    Xmpp(&'m Stanza),
    /// A broker's delivery.
    Amqp {
        /// The routing key.
        key: &'m str,
        /// The body.
        body: &'m [u8],
    },
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// Its events, in their order. There may be none.
    Events(Vec<InboundEvent>),
    /// No file takes it.
    NotOurs,
    /// A file takes it, and it can't be read. For operators: names places, and repeats nothing of the message.
    Bad(Cow<'static, str>),
}

/// An event, and whom it was sent to.
#[derive(Debug, Clone, PartialEq)]
pub enum InboundEvent {
    /// A conference's. `to`: the receiver, where it was sent to a user.
    Conference {
        /// The receiver.
        to: Option<UserId>,
        /// The event.
        event: ConferenceEvent,
    },
    /// A call's, which is for one user.
    Call {
        /// The receiver.
        to: UserId,
        /// The event.
        event: CallEvent,
    },
}

/// The files of `events/`, ready to read by. Immutable; shared as `Arc<InboundSchema>`.
#[derive(Debug)]
pub struct InboundSchema {
    events: Arc<[XEvent]>,
    types: Arc<[OwnType]>,
    senders: Senders,
    web_address: Arc<XRequest>,
    reason: Arc<XReason>,
    domain: String,
    numbered: NumberedBy,
}

impl InboundSchema {
    /// Of the EIM of that domain.
    pub fn new(schema: &Schema, domain: &str) -> Self {
        let InboundFiles { events, types, web_address, reason, numbered, .. } = schema.inbound().clone();
        let senders = Senders::new(domain, schema.addresses(domain), &events);
        Self { events, types, senders, web_address, reason, domain: domain.to_owned(), numbered }
    }

    /// Who numbers a conference's events.
    pub fn numbered_by(&self) -> NumberedBy {
        self.numbered
    }

    /// Where the reason of a refusal stands.
    pub fn reason(&self) -> Arc<XReason> {
        self.reason.clone()
    }

    /// What the message is. `now`: ms since 1970, the time of an event whose message says none.
    pub fn read(&self, message: Message<'_>, now: u64) -> Outcome {
        let outcome = match message {
            Message::Xmpp(stanza) => self.read_stanza(stanza, now),
            Message::Amqp { key, body } => self.read_delivery(key, body, now),
        };
        match outcome {
            Outcome::Events(events) => match events.iter().find_map(|event| self.not_as_described(event)) {
                Some(name) => Outcome::Bad(format!("data: not what the file's `types` say of {name}").into()),
                None => Outcome::Events(events),
            },
            outcome => outcome,
        }
    }

    /// The type, where its data are not as described.
    fn not_as_described(&self, event: &InboundEvent) -> Option<&str> {
        let InboundEvent::Conference { event, .. } = event else { return None };
        let Change::Custom(own) = &event.change else { return None };
        let described = self.types.iter().find(|described| described.name == own.name())?;
        (!described.holds(&own.data)).then_some(described.name.as_str())
    }

    fn read_stanza(&self, stanza: &Stanza, now: u64) -> Outcome {
        let (Some(from), false) = (stanza.attr("from"), stanza.attr("type") == Some("error")) else {
            return Outcome::NotOurs;
        };
        let envelope = Envelope { to: stanza.attr("to"), key: None, domain: &self.domain, now };
        for (event, is_last) in self.in_order() {
            let Some(name) = event.element.as_ref().filter(|_| event.xmpp) else { continue };
            let mut children = stanza.children();
            let Some(element) = children.find(|child| child.name == name.name && child.ns == name.ns) else { continue };
            if !self.senders.may_send(&event.name, from) {
                continue;
            }
            let outcome = match &event.body {
                EventBody::Vocabulary => vocabulary::read(element.text().as_bytes(), envelope),
                EventBody::Xml(rules) => Reader::new(rules, element, &name.ns, envelope).read(is_last),
                EventBody::Json(rules) => match body::json(element.text().as_bytes()) {
                    Ok(body) => Reader::new(rules, &body, "", envelope).read(is_last),
                    Err(why) => Outcome::Bad(why),
                },
            };
            if !matches!(outcome, Outcome::NotOurs) {
                return outcome;
            }
        }
        Outcome::NotOurs
    }

    fn read_delivery(&self, key: &str, body: &[u8], now: u64) -> Outcome {
        if body.len() > BODY_MAX {
            return Outcome::Bad("the body is too large".into());
        }
        let bodies = Bodies::new(body);
        let mut missed = Some("no file has this routing key");
        for (event, is_last) in self.in_order() {
            let Some(pattern) = event.keys.iter().find(|pattern| pattern.values(key, None).is_some()) else { continue };
            if matches!(event.body, EventBody::Xml(_)) != bodies.is_xml() {
                missed = missed.and(Some("the body is neither JSON nor XML that a file with this routing key reads"));
                continue;
            }
            missed = None;
            let envelope = Envelope { to: None, key: Some((pattern, key)), domain: &self.domain, now };
            let outcome = match &event.body {
                EventBody::Vocabulary => vocabulary::read(body, envelope),
                EventBody::Json(rules) => match bodies.json() {
                    Ok(root) => Reader::new(rules, root, "", envelope).read(is_last),
                    Err(why) => Outcome::Bad(why.clone()),
                },
                EventBody::Xml(rules) => match (bodies.xml(), &event.element) {
                    (Err(why), _) => Outcome::Bad((*why).into()),
                    (Ok(root), Some(name)) if root.name == name.name && root.ns == name.ns => {
                        Reader::new(rules, root, &name.ns, envelope).read(is_last)
                    }
                    _ => Outcome::NotOurs,
                },
            };
            if !matches!(outcome, Outcome::NotOurs) {
                return outcome;
            }
        }
        missed.map_or(Outcome::NotOurs, |why| Outcome::Bad(why.into()))
    }

    /// The files, and once more those that take what is left.
    fn in_order(&self) -> impl Iterator<Item = (&XEvent, bool)> {
        let last = self.events.iter().filter(|event| event.takes_rest()).map(|event| (event, true));
        self.events.iter().map(|event| (event, false)).chain(last)
    }

    /// The patterns by which a queue is bound for that conference, each once.
    pub fn keys_of_conference(&self, conf: &ConfId) -> Vec<String> {
        self.keys(|key| key.of_conference(conf))
    }

    /// The same for a user.
    pub fn keys_of_user(&self, user: &UserId) -> Vec<String> {
        self.keys(|key| key.of_user(user))
    }

    /// The patterns of keys that name neither.
    pub fn keys_of_all(&self) -> Vec<String> {
        self.keys(KeyPattern::of_all)
    }

    fn keys(&self, pattern: impl Fn(&KeyPattern) -> Option<String>) -> Vec<String> {
        let mut keys: Vec<String> = self.events.iter().flat_map(|event| &event.keys).filter_map(pattern).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}
