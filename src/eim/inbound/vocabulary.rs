//! A body that is the vocabulary's own JSON, read straight into its types.

use super::Outcome;
use super::body::words_of;
use super::bounds;
use super::reader::{Envelope, addressed};
use crate::event::{AnyEvent, Event, OWN_PREFIX};

/// A conference's event with its number, of the text of its JSON. `None` for anything else, and for what an event that comes
/// by itself may not hold either.
pub fn numbered_event(text: &str) -> Option<Event> {
    let event: AnyEvent = serde_json::from_str(text).ok()?;
    bounds::check(&event).ok()?;
    match event {
        AnyEvent::Conference(event) => event.numbered(),
        AnyEvent::Call(_) => None,
    }
}

pub(super) fn read(body: &[u8], envelope: Envelope<'_>) -> Outcome {
    let event: AnyEvent = match serde_json::from_slice(body) {
        Ok(event) => event,
        Err(error) => return Outcome::Bad(words_of(&error)),
    };
    let (kind, conf) = match &event {
        AnyEvent::Conference(event) => (event.change.name(), &event.conf_id),
        AnyEvent::Call(event) => (event.step.name(), &event.conf_id),
    };
    // A type of the EIM's own has its prefix from us.
    let values = envelope.values(Some(kind)).or_else(|why| match kind.strip_prefix(OWN_PREFIX) {
        Some(own) => envelope.values(Some(own)),
        None => Err(why),
    });
    let to = values.and_then(|values| match values.conf_id {
        Some(of_key) if of_key != conf.as_str() => Err("the key is of another conference".into()),
        _ => envelope.receiver(None, &values),
    });
    match to.and_then(|to| bounds::check(&event).and_then(|()| addressed(to, event))) {
        Ok(event) => Outcome::Events(vec![event]),
        Err(why) => Outcome::Bad(why),
    }
}
