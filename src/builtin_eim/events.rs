//! Who hears of an event, and the stanza that tells it.

use std::collections::BTreeMap;

use super::address::gateway_of;
use super::room::{Posted, Room};
use crate::clock::Moment;
use crate::event::Change;
use crate::ids::UserId;
use crate::xmpp::xml::{Element, Stanza};

/// Namespace of the element whose text is the event's JSON.
const EVENT_NS: &str = "je:x:client:event";

/// The person that an event is about.
pub(super) fn subject(change: &Change) -> Option<&UserId> {
    match change {
        Change::MemberJoined(m) | Change::MemberUpdated(m) | Change::WaitingAdded(m) => Some(&m.user_id),
        Change::MemberLeft(left) => Some(&left.user_id),
        Change::WaitingRemoved(gone) => Some(&gone.user_id),
        _ => None,
    }
}

/// The addresses that hear of a change just made.
///
/// A session hears what its user may see: members and the chair everything, others what concerns themselves, and
/// everybody the end. A gateway gets one copy for all its users, at the address that subscribed last, as soon as one
/// of them is in the conference or waits for it: it is the gateway's part to show each of them what they may see.
pub(super) fn audience(room: &Room, change: &Change, now: Moment) -> Vec<String> {
    let subject = subject(change);
    let over = matches!(change, Change::Ended(_));
    let mut gateways: BTreeMap<&str, (Moment, &str, bool)> = BTreeMap::new();
    let mut sessions = Vec::new();
    for (user, presence) in &room.presence {
        let Some(address) = presence.address.as_deref() else { continue };
        if presence.lingers_until.is_some_and(|until| until <= now) {
            continue;
        }
        let wanted = over || room.sees_all(user) || subject == Some(user);
        match gateway_of(address) {
            None if wanted => sessions.push(address.to_owned()),
            None => {}
            Some(gateway) => {
                let wanted = wanted || room.is_waiting(user);
                let entry = gateways.entry(gateway).or_insert((presence.since, address, false));
                let latest = (entry.0, entry.1).max((presence.since, address));
                *entry = (latest.0, latest.1, entry.2 || wanted);
            }
        }
    }
    let copies = gateways.into_values().filter(|(.., wanted)| *wanted).map(|(_, address, _)| address.to_owned());
    sessions.extend(copies);
    sessions
}

/// `<message type="headline"><event>JSON</event></message>`, one for each address.
pub(super) fn stanzas(from: &str, posted: Posted) -> impl Iterator<Item = Stanza> {
    let json = serde_json::to_string(&posted.event).expect("an event is plain data");
    let message = headline(from, json);
    posted.to.into_iter().map(move |to| message.clone().with("to", to))
}

/// A message without an address.
pub(super) fn headline(from: &str, json: String) -> Stanza {
    let message = Stanza::new("message").with("type", "headline").with("from", from);
    message.with_child(Element::new("event", EVENT_NS).with_text(json))
}
