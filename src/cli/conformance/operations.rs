//! The operations of an EIM in the order in which `confgate check --eim` plays them: how much each is needed, and what
//! clients lose without it. The one source of that: `docs/integration.md` has the same table, which a test compares.

/// How much an operation is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it guests can't take part.
    Must,
    /// Without it a function of the page is missing.
    Should,
    /// The gateway does without.
    May,
}

impl Need {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
        }
    }
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// A name of the schema, in most rows with what is special about this request; or `event` and a type.
    pub name: &'static str,
    /// How much it is needed.
    pub need: Need,
    /// The effect of its refusal or absence.
    pub effect: &'static str,
}

impl Operation {
    const fn must(name: &'static str, effect: &'static str) -> Self {
        Self { name, need: Need::Must, effect }
    }

    const fn should(name: &'static str, effect: &'static str) -> Self {
        Self { name, need: Need::Should, effect }
    }

    const fn may(name: &'static str, effect: &'static str) -> Self {
        Self { name, need: Need::May, effect }
    }

    /// The row of that name.
    pub fn of(name: &str) -> &'static Self {
        OPERATIONS.iter().find(|operation| operation.name == name).unwrap_or_else(|| panic!("{name} is no operation"))
    }

    /// The entry of the schema that the row is about: the name's first word. An event has none.
    pub fn entry(&self) -> Option<&'static str> {
        self.name.split(' ').next().filter(|word| word.contains('.'))
    }
}

/// The whole conversation.
pub const OPERATIONS: &[Operation] = &[
    Operation::must("link", "Nothing works: no request reaches the EIM, and `readyz` names `eim`."),
    Operation::must("ping", "The address counts as away: requests to it are refused."),
    Operation::may("disco", "None: the gateway does not ask for it. Other tools of XMPP do."),
    Operation::must("password (wrong)", "Anybody can sign in as anybody by `auth.http.login`."),
    Operation::may(
        "eim.account.verify",
        "None: only the embedded EIM is asked for it. Passwords are verified by SASL.",
    ),
    Operation::must(
        "eim.resetNode",
        "After a restart of a node, members that it held stay in conferences as ghosts. It is asked again until it is answered.",
    ),
    Operation::may(
        "eim.user.subscribe",
        "Users are not told of their calls, nor of conferences that are made for them.",
    ),
    Operation::must("conference.create", "No conference can be made through the gateway."),
    Operation::may(
        "event conference.created",
        "A new conference appears at its chair's other sockets only after they connect again.",
    ),
    Operation::must("eim.conference.find", "Links that hold the password lead nowhere."),
    Operation::must(
        "eim.conference.find (unknown)",
        "A wrong link is answered with a fault in place of \"does not exist\".",
    ),
    Operation::must("eim.conference.get", "Signed links lead nowhere, and no link can be made."),
    Operation::must("eim.conference.get (unknown)", "A link to a conference that is gone is answered with a fault."),
    Operation::must("conference.list", "A user's event socket follows none of the conferences that they are in."),
    Operation::should("conference.get", "A page can't show a conference's properties before it joins."),
    Operation::must("conference.join (chair)", "The chair can't enter by the gateway."),
    Operation::must(
        "eim.subscribe (chair)",
        "The chair's page stays empty; its socket is told `degraded {part: \"events\"}`.",
    ),
    Operation::must(
        "account (XEP-0133)",
        "With `eim.mode = \"c2s\"` a guest gets no account, and can't sign in. Other modes don't ask.",
    ),
    Operation::must("eim.account.create", "Guests can't sign in by a link."),
    Operation::must("conference.join", "Guests can't enter."),
    Operation::must("event member.joined", "Members don't see who comes in, until a snapshot."),
    Operation::must("conference.join (unknown)", "A guest gets into a conference that there is not."),
    Operation::must("eim.subscribe", "A guest's page stays empty; its socket is told `degraded {part: \"events\"}`."),
    Operation::should(
        "eim.subscribe (older generation)",
        "A socket that was replaced takes the place of the newer one.",
    ),
    Operation::must("eim.snapshot", "A gap in the events is never filled: pages show an old state."),
    Operation::should("conference.members", "Clients without an event socket can't list the members."),
    Operation::should("conference.control raiseHand", "Guests can't raise their hand."),
    Operation::must("event member.updated", "Members' microphones, cameras and hands are shown as they were."),
    Operation::must("conference.control unmuteSelf", "A guest's microphone stays closed."),
    Operation::must("conference.control muteSelf", "A guest's microphone can't be closed."),
    Operation::must("conference.control openCamera", "A guest's camera stays closed."),
    Operation::should("conference.control setMainVideo", "The chair can't choose the main video."),
    Operation::should("event conference.mainVideo", "The main video stays as it was, until a snapshot."),
    Operation::must("conference.control closeCamera", "A guest's camera can't be closed."),
    Operation::should("conference.control lowerHand", "Guests can't lower their hand."),
    Operation::should("conference.control mute", "The chair can't mute a member."),
    Operation::must("conference.control (not the chair)", "Any guest can lead the conference."),
    Operation::should("conference.sendMessage", "There is no chat."),
    Operation::should("event message", "Messages of the chat are not shown, until a snapshot."),
    Operation::should("conference.messages", "Older messages of the chat can't be read."),
    Operation::should("conference.update", "The chair can't change name, password, lobby and mute policy."),
    Operation::should("event conference.updated", "Changed properties are shown only after a snapshot."),
    Operation::should("event waiting.added", "The chair does not see who waits in the lobby."),
    Operation::should("conference.control admit", "Nobody gets out of the lobby."),
    Operation::should("event waiting.removed", "Pages go on showing as waiting those who were admitted."),
    Operation::must("conference.control kick", "The chair can't remove a member."),
    Operation::must(
        "event member.left",
        "Members who left are still shown, and a kicked guest keeps their token and their media.",
    ),
    Operation::should("conference.control lock", "The chair can't lock the conference."),
    Operation::should("event conference.locked", "The lock is shown only after a snapshot."),
    Operation::should("conference.control unlock", "A locked conference stays locked."),
    Operation::should("event conference.unlocked", "The lock is shown until a snapshot."),
    Operation::must("eim.unsubscribe", "Members whose page is closed are shown as present."),
    Operation::may(
        "eim.subscribe (sinceEpoch, sinceSeq)",
        "A client that comes back to another node gets a snapshot in place of the events that it missed.",
    ),
    Operation::must("eim.presence", "Members whose page is closed never leave."),
    Operation::must("conference.leave", "A guest who leaves stays in the list until their page's grace is over."),
    Operation::must("conference.end (not the chair)", "Any guest can end the conference."),
    Operation::may("org.contacts.departments", "The address book shows no departments."),
    Operation::may("org.contacts.users", "The address book is empty."),
    Operation::may("org.contacts.search", "The address book can't be searched."),
    Operation::may(
        "call.start",
        "Users can't call each other by the gateway; so for `call.accept`, `call.decline`, `call.cancel`, `call.hangup`.",
    ),
    Operation::must("conference.end", "The chair can't end the conference by the gateway."),
    Operation::must(
        "event conference.ended",
        "Guests of a conference that is over keep their page, their tokens and their account.",
    ),
    Operation::should("conference.join (ended)", "Guests get into a conference that is over."),
    Operation::may("org.user.createUser", "No user can be made by the gateway."),
    Operation::must(
        "eim.account.delete",
        "Temporary accounts pile up at the EIM. It is asked again until it is answered.",
    ),
    Operation::may("eim.user.unsubscribe", "News of a user go on to a node where they have no socket."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema::Schema;

    /// They come with `call.start`, whose row says so.
    const CALLS: [&str; 4] = ["call.accept", "call.decline", "call.cancel", "call.hangup"];

    #[test]
    fn every_request_of_the_schema_has_a_row_and_every_row_a_request() {
        let schema = Schema::load(None).expect("the built-in schema is right");
        let entries = schema.methods().chain(schema.internals()).filter(|entry| entry.x_iq.is_some());
        let entries: BTreeSet<&str> = entries.map(|entry| entry.name.as_str()).collect();
        let rows = OPERATIONS.iter().filter(|operation| !operation.name.starts_with("event "));
        let rows: BTreeSet<&str> = rows.filter_map(Operation::entry).chain(CALLS).collect();
        assert_eq!(rows, entries);
    }

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), OPERATIONS.len());
    }
}
