//! The stanza that tells an event.

use super::room::Posted;
use crate::xmpp::xml::{Element, Stanza};

/// Namespace of the element whose text is the event's JSON.
const EVENT_NS: &str = "je:x:client:event";

/// `<message type="headline"><event>JSON</event></message>`, one for each address.
pub(super) fn stanzas(from: &str, posted: Posted) -> impl Iterator<Item = Stanza> {
    let json = serde_json::to_string(&posted.event).expect("an event is plain data");
    let message = message_stanza(from, json);
    posted.to.into_iter().map(move |to| message.clone().with("to", to))
}

/// A message without an address.
pub(super) fn message_stanza(from: &str, json: String) -> Stanza {
    let message = Stanza::new("message").with("type", "headline").with("from", from);
    message.with_child(Element::new("event", EVENT_NS).with_text(json))
}
