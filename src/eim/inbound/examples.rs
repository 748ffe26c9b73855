//! The examples of the files, read at every start: a file whose examples come out otherwise is refused.

use serde_json::{Value, json};

use super::request::Question;
use super::{InboundEvent, InboundSchema, Message, Outcome};
use crate::eim::convert::StanzaError;
use crate::event::Role;
use crate::schema::{InboundExample, Schema};
use crate::xmpp::xml::Stanza;

/// The EIM's domain in examples.
const DOMAIN: &str = "ips3000";

/// Reads the examples of all files.
///
/// # Errors
/// Each that comes out otherwise than its file says: file, place in the file, what came of it.
pub fn check_examples(schema: &Schema) -> Result<(), Vec<String>> {
    let inbound = InboundSchema::new(schema, DOMAIN);
    let mut errors: Vec<String> =
        schema.inbound().examples.iter().filter_map(|example| inbound.check(example).err()).collect();
    errors.extend(inbound.without_example(&schema.inbound().examples));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

impl InboundSchema {
    fn check(&self, example: &InboundExample) -> Result<(), String> {
        let place = &example.place;
        let text = |member: &str| example.value.get(member).and_then(Value::as_str);
        let stanza = match text("stanza") {
            Some(stanza) => Some(Stanza::parse(stanza).map_err(|error| format!("{place}.stanza: {error}"))?),
            None => None,
        };
        let outcome = match (&stanza, text("key"), text("body")) {
            (Some(stanza), None, None) if *example.name == *"reason" => {
                return equal(place, "reason", &example.value, &json!(StanzaError::of(stanza, &self.reason).reason));
            }
            (Some(stanza), None, None) if *example.name == *"getWebAddress" => {
                return self.check_question(example, stanza);
            }
            (Some(stanza), None, None) => self.read(Message::Xmpp(stanza), 0),
            (None, Some(key), Some(body)) => self.read(Message::Amqp { key, body: body.as_bytes() }, 0),
            _ => return Err(format!("{place}: a `stanza`, or `key` and `body`")),
        };
        match outcome {
            Outcome::Events(events) => {
                equal(place, "events", &example.value, &events.iter().map(as_json).collect::<Vec<_>>().into())
            }
            Outcome::NotOurs => Err(format!("{place}: no file takes it")),
            Outcome::Bad(why) => Err(format!("{place}: {why}")),
        }
    }

    fn check_question(&self, example: &InboundExample, stanza: &Stanza) -> Result<(), String> {
        let place = &example.place;
        let asked = match self.question(stanza) {
            Some(Question::WebAddress { conf_id, role, valid_ms }) => {
                let mut read = json!({"confId": conf_id, "role": if role == Role::Chair { "chair" } else { "guest" }});
                if let Some(ms) = valid_ms {
                    read["validMs"] = ms.into();
                }
                read
            }
            Some(Question::Bad) => return Err(format!("{place}: it can't be read")),
            None => return Err(format!("{place}: it is another question, or from an address that isn't the EIM's")),
        };
        equal(place, "params", &example.value, &asked)?;
        let value =
            |name: &str| example.value.pointer(&format!("/result/{name}")).and_then(Value::as_str).unwrap_or_default();
        let answer = self.web_address(value("url"), value("code")).map(|answer| answer.to_xml());
        equal(place, "answer", &example.value, &json!(answer))
    }

    /// Each way in which a file takes messages has an example.
    fn without_example(&self, examples: &[InboundExample]) -> Vec<String> {
        let has = |name: &str, member: &str| examples.iter().any(|e| e.name == name && e.value.get(member).is_some());
        let missing = self.events.iter().flat_map(|event| {
            let ways = [("xmpp", event.xmpp, "stanza"), ("amqp", event.amqp, "key")];
            ways.into_iter()
                .filter(|(_, takes, member)| *takes && !has(&event.name, member))
                .map(|(way, ..)| format!("{}: examples: none is over {way}", event.origin()))
        });
        missing.collect()
    }
}

fn equal(place: &str, member: &str, example: &Value, is: &Value) -> Result<(), String> {
    let expected = example.get(member).unwrap_or(&Value::Null);
    if expected == is { Ok(()) } else { Err(format!("{place}.{member}: it becomes {is}")) }
}

/// As `event.schema.json` has it.
fn as_json(event: &InboundEvent) -> Value {
    let (to, mut value) = match event {
        InboundEvent::Call { to, event } => (Some(to), json!(event)),
        InboundEvent::Conference { to, event } => {
            let mut value = json!({"confId": event.conf_id, "time": event.time, "type": event.change.name(),
                "data": event.change.data(), "actor": event.actor});
            if let Some(numbering) = &event.numbering {
                value["epoch"] = numbering.epoch.as_str().into();
                value["seq"] = numbering.seq.into();
            }
            (to.as_ref(), value)
        }
    };
    if let Some(to) = to {
        value["to"] = to.as_str().into();
    }
    value
}
