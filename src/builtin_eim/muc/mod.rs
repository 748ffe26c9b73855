//! The conferences as MUC rooms (XEP-0045) of a standard XMPP server: `eim.mode = "muc"`.
//!
//! The built-in EIM owns each conference; [`Bridge`] mirrors it into a room and what happens there back. It is pure: it
//! takes stanzas, events and the time, changes the EIM, and gives stanzas to send. Most of it compares: `room` knows what
//! the server has told of the room, and after each batch `sync` sends what makes the room as the roster is, and gives
//! what makes the roster as the room is. So a lost connection, a restart and a change that could not be kept all end in
//! the same comparison. Messages alone are passed on one by one.
//!
//! A stanza's way: `bridge` finds the room, `stanzas` reads it, `room`, `entering` and `texts` take it. `requests` answers
//! users who want a link (XEP-0483), with the forms of `meetings`. `names` says which address is whose.

mod bridge;
mod entering;
mod meetings;
mod names;
mod own;
pub(super) mod probe;
mod requests;
mod room;
mod stanzas;
mod sync;
mod texts;

#[cfg(test)]
mod tests;

pub(super) use bridge::{Bridge, Turn};
pub use names::MucSettings;
