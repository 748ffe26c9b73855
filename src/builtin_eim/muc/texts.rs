//! What is written in a room, and its subject.

use super::super::dialect::TEXT_MAX;
use super::super::mirror::{NativeChange, RoomChange};
use super::room::{MucRoom, RoomEvent, Who};
use super::stanzas;
use crate::precis::display_name;
use crate::xmpp::xml::Stanza;

impl MucRoom {
    /// Takes a message to everybody.
    pub fn take_message(&mut self, nick: &str, message: &Stanza) -> Option<RoomEvent> {
        if message.attr("type") != Some("groupchat") {
            return None;
        }
        let body = message.children().find(|c| c.name == "body" && c.ns == message.ns);
        match (message.child("subject"), body) {
            (Some(subject), None) => self.take_subject(nick, &subject.text()),
            (_, Some(_)) if stanzas::is_delayed(message) => None,
            (_, Some(body)) => {
                let Who::Native { user, .. } = &self.occupants.get(nick)?.who else { return None };
                let text = shortened(body.text());
                (!text.trim().is_empty()).then(|| RoomEvent::Native(user.clone(), NativeChange::Text(text)))
            }
            (None, None) => None,
        }
    }

    fn take_subject(&mut self, nick: &str, subject: &str) -> Option<RoomEvent> {
        let known = self.subject.replace(subject.to_owned());
        if nick == self.nick || known.as_deref() == Some(subject) {
            return None;
        }
        // The first after entering is news only where it was changed meanwhile.
        let is_taken = std::mem::take(&mut self.takes_subject);
        if known.is_none() && !is_taken && self.name.as_deref().is_none_or(|name| name == subject) {
            return None;
        }
        subject_name(subject).map(|name| RoomEvent::Room(RoomChange::Subject(name)))
    }

    /// The subject as a conference's name, if it can be one.
    pub fn subject_name(&self) -> Option<String> {
        subject_name(self.subject.as_deref()?)
    }
}

fn subject_name(subject: &str) -> Option<String> {
    let name = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let name: String = name.chars().take(display_name::MAX).collect();
    display_name::checked(&name, display_name::MAX)
}

fn shortened(text: String) -> String {
    if text.chars().count() <= TEXT_MAX {
        return text;
    }
    text.chars().take(TEXT_MAX - 1).chain(['…']).collect()
}
