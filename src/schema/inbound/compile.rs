//! From the files of `events/` to [`InboundFiles`]: shape, rules, vocabulary, and the files against each other.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::overlap::{check_alone, overlap};
use super::own_type::{self, OwnType};
use super::vocabulary::Vocabulary;
use super::x_event::{Errors, EventBody, EventRule, EventRules, KindRule, XEvent, is_call};
use super::{InboundExample, InboundFiles, XReason, XRequest};
use crate::event::NumberedBy;
use crate::schema::compile::{at, compile};
use crate::schema::files::{EventFile, Files};
use crate::schema::param_error::explain;
use crate::schema::routing_key::KeyPattern;
use crate::schema::value::{KeyPart, ValueSource};

/// The files that there is one of each, in this order: how the EIM asks for a web address, and reasons.
const NAMES: [&str; 2] = ["getWebAddress", "reason"];
/// Most files with an `x-event`: each is compared with each, and each has its keys bound.
const EVENTS_MAX: usize = 64;

/// See the module.
pub(in crate::schema) struct InboundCompiler<'f> {
    files: &'f Files,
    shape: Option<Validator>,
    vocabulary: Vocabulary<'f>,
    /// What a description of an own type may refer to: an integrator's shapes too.
    shapes: Map<String, Value>,
    numbered: NumberedBy,
}

impl<'f> InboundCompiler<'f> {
    /// Compiles the files' own schema. `numbered`: who numbers a conference's events.
    pub fn new(files: &'f Files, numbered: NumberedBy, errors: &mut Vec<String>) -> Self {
        let mut shape = files.event_schema.clone();
        // The three are files of their own, for editors; here they are one schema.
        if let Some(definitions) = shape.get_mut("definitions").and_then(Value::as_object_mut) {
            definitions.insert("x-iq".to_owned(), files.x_iq_schema.clone());
            definitions.insert("x-event".to_owned(), files.x_event_schema.clone());
        }
        let shape = compile(&shape).map_err(|e| errors.push(format!("event.schema.json: {e}"))).ok();
        let mut shapes = files.vocabulary.clone();
        shapes.extend(files.components("schemas").cloned().unwrap_or_default());
        Self { files, shape, vocabulary: Vocabulary::new(&files.vocabulary), shapes, numbered }
    }

    /// `None` where something is wrong; it was told then.
    pub fn compile(&self, errors: &mut Vec<String>) -> Option<InboundFiles> {
        let before = errors.len();
        let (mut events, mut types, mut examples) = (Vec::new(), Vec::new(), Vec::new());
        let (mut web_address, mut reason) = (None, None);
        for (name, file) in &self.files.events {
            if !self.has_shape(file, errors) {
                continue;
            }
            let mut errors = Errors { origin: &file.origin, place: String::new(), found: errors };
            if let Some(value) = file.value.get("x-event").and_then(Value::as_object) {
                if let Some(event) = self.event(name, file, value, &mut errors) {
                    types.extend(OwnType::read(&event, value, &self.shapes, &mut errors.below("x-event")));
                    events.push(event);
                }
            } else if let Some(value) = file.value.get("x-request") {
                web_address = only::<XRequest>(name, NAMES[0], value, "x-request", &mut errors);
                web_address.iter().for_each(|request| request.check(&mut errors.below("x-request")));
            } else if let Some(value) = file.value.get("x-reason") {
                reason = only::<XReason>(name, NAMES[1], value, "x-reason", &mut errors);
            }
            examples.extend(examples_of(name, file));
        }
        check_together(&events, errors);
        own_type::check_together(&types, errors);
        if errors.len() > before {
            return None;
        }
        let (web_address, reason) = (Arc::new(web_address?), Arc::new(reason?));
        let (events, types, examples) = (events.into(), types.into(), examples.into());
        Some(InboundFiles { events, types, web_address, reason, examples, numbered: self.numbered })
    }

    fn has_shape(&self, file: &EventFile, errors: &mut Vec<String>) -> bool {
        let Some(shape) = &self.shape else { return false };
        let wrong = explain("", shape.iter_errors(&file.value));
        let is_right = wrong.is_empty();
        errors.extend(wrong.into_iter().map(|e| format!("{}: {}", file.origin, at("", e))));
        is_right
    }

    fn event(
        &self,
        name: &str,
        file: &EventFile,
        value: &Map<String, Value>,
        errors: &mut Errors<'_>,
    ) -> Option<XEvent> {
        if NAMES.contains(&name) {
            errors.push("name", format!("{name} is no x-event"));
        }
        let mut errors = errors.below("x-event");
        let before = errors.found.len();
        let event = XEvent::read(name, &file.origin, value, &mut errors)?;
        if errors.found.len() > before {
            return None;
        }
        match &event.body {
            EventBody::Vocabulary => {}
            EventBody::Xml(rules) => {
                self.vocabulary.check(rules, &mut errors);
                check_places(&event, rules, &mut errors);
                self.check_numbers(rules, &mut errors);
            }
            EventBody::Json(rules) => {
                self.vocabulary.check(rules, &mut errors);
                check_places(&event, rules, &mut errors);
                self.check_numbers(rules, &mut errors);
            }
        }
        check_alone(&event, &mut errors);
        Some(event)
    }

    /// Whether a conference's events have their numbers, where the EIM gives them.
    fn check_numbers<P>(&self, rules: &EventRules<P>, errors: &mut Errors<'_>) {
        let mut kinds = rules.events.iter().flat_map(|event| event.kind.kinds());
        if kinds.all(is_call) {
            return;
        }
        let members = [("epoch", rules.epoch.is_some()), ("seq", rules.seq.is_some())];
        for (member, _) in members.iter().filter(|(_, is_there)| !is_there) {
            match self.numbered {
                NumberedBy::Eim => errors.push(
                    member,
                    "is required: the EIM numbers a conference's events, unless events.numbered is \"gateway\"",
                ),
                NumberedBy::Gateway if members.iter().any(|(_, is_there)| *is_there) => {
                    errors.push(member, "is required beside its other half: an event has both or none");
                }
                NumberedBy::Gateway => {}
            }
        }
    }
}

/// What there is one of, under its name.
fn only<T: serde::de::DeserializeOwned>(
    name: &str,
    expected: &str,
    value: &Value,
    member: &str,
    errors: &mut Errors<'_>,
) -> Option<T> {
    if name != expected {
        errors.push("name", format!("{name} is no {member}; there is {expected} only"));
    }
    serde_json::from_value(value.clone()).map_err(|why| errors.push(member, why)).ok()
}

/// Whether conference and receiver are to be had however the message comes.
fn check_places<P>(event: &XEvent, rules: &EventRules<P>, errors: &mut Errors<'_>) {
    let kinds: Vec<&str> = rules.events.iter().flat_map(|event| event.kind.kinds()).collect();
    let in_all_keys = |part| !event.xmpp && event.keys.iter().all(|key: &KeyPattern| key.has(part));
    if rules.conf_id.is_none() && !in_all_keys(KeyPart::ConfId) {
        errors.push("confId", "is required: not every key has {confId}, and a stanza has none");
    }
    let has_to = rules.to.is_some() || event.keys.iter().all(|key| key.has(KeyPart::UserId));
    if kinds.iter().any(|kind| is_call(kind)) && !has_to {
        errors.push("to", "is required: a call's event is for a user, and not every key has {userId}");
    }
    let typed_by_key = |event: &EventRule<P>| {
        let (KindRule::Words(rule, _) | KindRule::Own(rule)) = &event.kind else { return false };
        matches!(rule.source, ValueSource::Key(_))
    };
    if rules.events.iter().any(typed_by_key) {
        if !in_all_keys(KeyPart::Type) {
            errors.push("events", "their type stands in the key: each key needs {type}");
        } else if event.keys.iter().any(|key| key.has(KeyPart::UserId)) {
            errors.push("events", "their type stands in the key, where nobody knows where {userId} ends");
        }
    }
}

/// The files against each other.
fn check_together(events: &[XEvent], errors: &mut Vec<String>) {
    if events.len() > EVENTS_MAX {
        errors.push(format!("events: {} files have an x-event; at most {EVENTS_MAX} may", events.len()));
        return;
    }
    for (i, event) in events.iter().enumerate() {
        for before in &events[..i] {
            if let Some(way) = overlap(before, event) {
                errors.push(format!(
                    "{}: x-event: overlaps {}: {way}; other keys, another element, or a `match` on a place that both name must tell them apart",
                    event.origin, before.origin
                ));
            }
        }
    }
}

fn examples_of(name: &str, file: &EventFile) -> Vec<InboundExample> {
    let examples = file.value.get("examples").and_then(Value::as_array).into_iter().flatten().enumerate();
    let example = |(i, value): (usize, &Value)| InboundExample {
        name: name.to_owned(),
        place: format!("{}: examples[{i}]", file.origin),
        value: value.clone(),
    };
    examples.map(example).collect()
}
