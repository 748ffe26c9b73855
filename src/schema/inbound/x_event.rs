//! `x-event`, parsed: which messages a file takes, and where in them the values of events stand.
//! The text form is pinned by `rpc-schema/x-event.schema.json`; what comes here has passed it.

use serde_json::{Map, Value};

use crate::event::{CallStep, Change, Custom, OWN_PREFIX};
use crate::schema::routing_key::KeyPattern;
use crate::schema::value::{Pointer, ValueForm, ValuePath, ValueRule, ValueSource, Where, Words};

/// A type of the EIM's own under its own name.
pub const OWN_TYPE: &str = "eim.*";

/// A file's rules.
#[derive(Debug)]
pub struct XEvent {
    /// The file's name.
    pub name: String,
    /// Where it comes from, for messages.
    pub(super) origin: String,
    /// Whether it takes message stanzas.
    pub xmpp: bool,
    /// Whether it takes deliveries of the broker.
    pub amqp: bool,
    /// The stanza's child, or the root of an XML body.
    pub element: Option<QName>,
    /// The senders over XMPP, with `{domain}` in them; empty: the addresses at which the EIM is asked.
    pub from: Vec<String>,
    /// The routing keys over AMQP.
    pub keys: Vec<KeyPattern>,
    /// The body.
    pub body: EventBody,
}

/// The name of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QName {
    /// The namespace; empty for none.
    pub ns: String,
    /// The local name.
    pub name: String,
}

/// The form of a body, and how it is read.
#[derive(Debug)]
pub enum EventBody {
    /// JSON of the vocabulary.
    Vocabulary,
    /// XML.
    Xml(EventRules<Where>),
    /// JSON.
    Json(EventRules<Pointer>),
}

/// Where in a body events and their values stand.
#[derive(Debug)]
pub struct EventRules<P> {
    /// What the body must hold.
    pub matches: Vec<Condition<P>>,
    /// The entries of which each is an event.
    pub each: Option<P>,
    /// The conference; `None`: it stands in the routing key.
    pub conf_id: Option<ValueRule<P>>,
    /// The numbering.
    pub epoch: Option<ValueRule<P>>,
    /// The number.
    pub seq: Option<ValueRule<P>>,
    /// The time; `None`: that of the arrival.
    pub time: Option<ValueRule<P>>,
    /// The user that caused it.
    pub actor: Option<ValueRule<P>>,
    /// The user that it is for; `None`: it stands in the routing key, or in the stanza's `to`.
    pub to: Option<ValueRule<P>>,
    /// The alternatives.
    pub events: Vec<EventRule<P>>,
}

/// One alternative.
#[derive(Debug)]
pub struct EventRule<P> {
    /// What the entry must hold.
    pub matches: Vec<Condition<P>>,
    /// The type.
    pub kind: KindRule<P>,
    /// The data, by its members; the one member `$` is the whole.
    pub data: Vec<(String, ValueRule<P>)>,
}

/// The type of an event.
#[derive(Debug)]
pub enum KindRule<P> {
    /// It is ever that.
    Const(String),
    /// Where the EIM's word for it stands, and what each means. Another word is none of this alternative's.
    Words(ValueRule<P>, Words),
    /// Where the EIM's own name of it stands.
    Own(ValueRule<P>),
}

/// A demand on what stands at a place.
#[derive(Debug)]
pub struct Condition<P> {
    /// The path as it stands in the file.
    pub path: String,
    /// The place.
    pub place: P,
    /// The demand.
    pub demand: Demand,
}

/// See [`Condition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Something stands there.
    Present,
    /// Nothing does.
    Absent,
    /// One of these does.
    OneOf(Vec<String>),
}

impl<P> KindRule<P> {
    /// The types that it may give; [`OWN_TYPE`] for those of the EIM's own.
    pub fn kinds(&self) -> Vec<&str> {
        match self {
            Self::Const(kind) => vec![kind],
            Self::Words(_, words) => words.values().filter_map(Value::as_str).collect(),
            Self::Own(_) => vec![OWN_TYPE],
        }
    }
}

/// Whether a type is a call's: such events have no number.
pub(super) fn is_call(kind: &str) -> bool {
    CallStep::of_name(kind).is_some()
}

/// Collects what is wrong with a file, each with its place.
pub(super) struct Errors<'e> {
    /// The file.
    pub origin: &'e str,
    /// Within it.
    pub place: String,
    pub found: &'e mut Vec<String>,
}

impl Errors<'_> {
    pub fn push(&mut self, place: &str, why: impl std::fmt::Display) {
        let place = self.joined(place);
        self.found.push(format!("{}: {place}: {why}", self.origin));
    }

    fn take<T>(&mut self, place: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|why| self.push(place, why)).ok()
    }

    /// The same errors, below that place.
    pub fn below(&mut self, place: &str) -> Errors<'_> {
        Errors { place: self.joined(place), origin: self.origin, found: self.found }
    }

    fn joined(&self, place: &str) -> String {
        let dot = if self.place.is_empty() || place.is_empty() { "" } else { "." };
        format!("{}{dot}{place}", self.place)
    }
}

impl XEvent {
    /// What is wrong goes into the errors.
    pub(super) fn read(name: &str, origin: &str, value: &Map<String, Value>, errors: &mut Errors<'_>) -> Option<Self> {
        let list = |member: &str| value.get(member).and_then(Value::as_array).into_iter().flatten();
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let over: Vec<&str> = list("over").filter_map(Value::as_str).collect();
        let keys = list("keys").filter_map(Value::as_str).enumerate();
        let keys: Vec<_> =
            keys.filter_map(|(i, key)| errors.take(&format!("keys[{i}]"), KeyPattern::parse(key))).collect();
        let element = match (text("ns"), text("element")) {
            (Some(ns), Some(name)) => Some(QName { ns: ns.to_owned(), name: name.to_owned() }),
            (None, None) => None,
            _ => return errors.take("element", Err("`ns` and `element` go together".to_owned())),
        };
        let body = match text("body")? {
            "event" => {
                let rules = ["match", "each", "confId", "epoch", "seq", "time", "actor", "to", "events"];
                for rule in rules.into_iter().filter(|rule| value.contains_key(*rule)) {
                    errors.push(rule, "a body of the vocabulary is read without rules");
                }
                EventBody::Vocabulary
            }
            "xml" => EventBody::Xml(EventRules::read(value, errors)?),
            _ => EventBody::Json(EventRules::read(value, errors)?),
        };
        let from = list("from").filter_map(Value::as_str).map(str::to_owned).collect();
        let (xmpp, amqp) = (over.contains(&"xmpp"), over.contains(&"amqp"));
        let (name, origin) = (name.to_owned(), origin.to_owned());
        let event = Self { name, origin, xmpp, amqp, element, from, keys, body };
        event.transport(value, errors);
        Some(event)
    }

    /// Where the file is, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it takes types of the EIM's own that no other file takes.
    pub fn takes_rest(&self) -> bool {
        fn any<P>(rules: &EventRules<P>) -> bool {
            rules.each.is_none() && rules.events.iter().any(|event| matches!(event.kind, KindRule::Own(_)))
        }
        match &self.body {
            EventBody::Vocabulary => false,
            EventBody::Xml(rules) => any(rules),
            EventBody::Json(rules) => any(rules),
        }
    }

    /// The types that its events may have; `None`: any.
    pub(super) fn kinds(&self) -> Option<Vec<&str>> {
        fn all<P>(rules: &EventRules<P>) -> Vec<&str> {
            rules.events.iter().flat_map(|event| event.kind.kinds()).collect()
        }
        match &self.body {
            EventBody::Vocabulary => None,
            EventBody::Xml(rules) => Some(all(rules)),
            EventBody::Json(rules) => Some(all(rules)),
        }
    }

    /// What belongs to a transport goes with it.
    fn transport(&self, value: &Map<String, Value>, errors: &mut Errors<'_>) {
        let is_xml = matches!(self.body, EventBody::Xml(_));
        match &self.element {
            None if self.xmpp || is_xml => {
                errors.push("element", "is required: the stanza's child, or the body's root")
            }
            Some(_) if !self.xmpp && !is_xml => errors.push("element", "JSON from a broker has none"),
            _ => {}
        }
        if self.amqp != value.contains_key("keys") {
            let why = if self.amqp { "is required over amqp" } else { "are of amqp" };
            errors.push("keys", why);
        }
        if !self.xmpp && value.contains_key("from") {
            errors.push("from", "is of xmpp");
        }
    }
}

impl<P: ValuePath> EventRules<P> {
    fn read(value: &Map<String, Value>, errors: &mut Errors<'_>) -> Option<Self> {
        let each = match value.get("each").and_then(Value::as_str) {
            Some(path) => {
                let place = errors.take("each", P::parse(path))?;
                if !place.holds_object() || !place.holds_list() {
                    return errors.take("each", Err("is no path of several elements".to_owned()));
                }
                Some(place)
            }
            None => None,
        };
        let mut rule = |member: &str| -> Option<ValueRule<P>> {
            let rule = value.get(member)?;
            errors.take(member, ValueRule::read(rule.clone()))
        };
        let [conf_id, epoch, seq, time, actor, to] = ["confId", "epoch", "seq", "time", "actor", "to"].map(&mut rule);
        let matches = conditions(value.get("match"), errors);
        let Some(alternatives) = value.get("events").and_then(Value::as_array) else {
            return errors.take("events", Err("is required".to_owned()));
        };
        let mut events = Vec::new();
        for (i, alternative) in alternatives.iter().enumerate() {
            let mut errors = errors.below(&format!("events[{i}]"));
            events.extend(alternative.as_object().and_then(|value| EventRule::read(value, &mut errors)));
        }
        Some(Self { matches, each, conf_id, epoch, seq, time, actor, to, events })
    }

    /// All its rules but those of the data.
    pub(super) fn common(&self) -> impl Iterator<Item = (&'static str, &ValueRule<P>)> {
        let rules = [
            ("confId", &self.conf_id),
            ("epoch", &self.epoch),
            ("seq", &self.seq),
            ("time", &self.time),
            ("actor", &self.actor),
            ("to", &self.to),
        ];
        rules.into_iter().filter_map(|(name, rule)| Some((name, rule.as_ref()?)))
    }
}

impl<P: ValuePath> EventRule<P> {
    fn read(value: &Map<String, Value>, errors: &mut Errors<'_>) -> Option<Self> {
        let kind = KindRule::read(value.get("type")?.clone(), errors);
        let mut data = Vec::new();
        for (name, rule) in value.get("data").and_then(Value::as_object)? {
            data.extend(errors.take(&format!("data.{name}"), ValueRule::read(rule.clone())).map(|r| (name.clone(), r)));
        }
        Some(Self { matches: conditions(value.get("match"), errors), kind: kind?, data })
    }
}

impl<P: ValuePath> KindRule<P> {
    fn read(value: Value, errors: &mut Errors<'_>) -> Option<Self> {
        let rule: ValueRule<P> = errors.take("type", ValueRule::read(value))?;
        if rule.list || rule.default.is_some() {
            return errors.take("type", Err("has neither `list` nor `default`".to_owned()));
        }
        if let ValueSource::Const(kind) = &rule.source {
            return errors.take("type.const", known(kind)).map(Self::Const);
        }
        let ValueForm::Words(words) = rule.form else {
            return errors.take("type", Err("is a `const`, or has a `map`".to_owned()));
        };
        let rule = ValueRule { form: ValueForm::String, ..rule };
        if words.known.is_empty() && words.others.as_ref().is_some_and(|others| others == OWN_TYPE) {
            return Some(Self::Own(rule));
        }
        if words.others.is_some() {
            return errors.take("type.map", Err(format!("* stands alone, as {{\"*\": \"{OWN_TYPE}\"}}")));
        }
        let before = errors.found.len();
        for (word, kind) in &words.known {
            errors.take(&format!("type.map.{word}"), known(kind));
        }
        (errors.found.len() == before).then_some(Self::Words(rule, words))
    }
}

/// A type of the vocabulary, or one of the EIM's own.
fn known(kind: &Value) -> Result<String, String> {
    let kind = kind.as_str().ok_or("is no type")?;
    let is_own = kind.starts_with(OWN_PREFIX) && Custom::new(kind, Value::Null).is_some();
    if Change::NAMES.contains(&kind) || is_call(kind) || is_own {
        return Ok(kind.to_owned());
    }
    Err(format!("{kind} is no type of the vocabulary; one of the EIM's own begins with {OWN_PREFIX}"))
}

fn conditions<P: ValuePath>(value: Option<&Value>, errors: &mut Errors<'_>) -> Vec<Condition<P>> {
    let mut conditions = Vec::new();
    for (path, demand) in value.and_then(Value::as_object).into_iter().flatten() {
        let demand = match demand {
            Value::Bool(true) => Demand::Present,
            Value::Bool(false) => Demand::Absent,
            values => {
                let values = values.as_array().into_iter().flatten();
                Demand::OneOf(values.filter_map(Value::as_str).map(str::to_owned).collect())
            }
        };
        if let Some(place) = errors.take(&format!("match.{path}"), P::parse(path)) {
            conditions.push(Condition { path: path.clone(), place, demand });
        }
    }
    conditions
}
