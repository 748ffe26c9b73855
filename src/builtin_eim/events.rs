//! How an event leaves: as a headline for each address, or as one publication for the broker.

use crate::event::Event;
use crate::ids::{ConfId, UserId};
use crate::xmpp::xml::{Element, Stanza};

/// Namespace of the element whose text is the event's JSON.
const EVENT_NS: &str = "je:x:client:event";

/// `<message type="headline"><event>JSON</event></message>`, one for each address.
pub(super) fn stanzas(from: &str, to: &[String], json: String) -> Vec<Stanza> {
    if to.is_empty() {
        return Vec::new();
    }
    let message = message_stanza(from, json);
    to.iter().map(|to| message.clone().with("to", to.as_str())).collect()
}

/// A message without an address.
pub(super) fn message_stanza(from: &str, json: String) -> Stanza {
    let message = Stanza::new("message").with("type", "headline").with("from", from);
    message.with_child(Element::new("event", EVENT_NS).with_text(json))
}

pub(super) fn json(event: &impl serde::Serialize) -> String {
    serde_json::to_string(event).expect("an event is plain data")
}

pub(super) fn conference_key(conf: &ConfId, kind: &str) -> String {
    format!("conf.{conf}.{kind}")
}

pub(super) fn user_key(user: &UserId, kind: &str) -> String {
    format!("user.{user}.{kind}")
}

pub(super) fn message_id(event: &Event) -> String {
    format!("{}/{}/{}", event.conf_id, event.epoch, event.seq)
}
