//! The built-in EIM: conferences, accounts and the address book behind XMPP addresses.
//!
//! [`Eim`] is a pure handler of stanzas: time and randomness are arguments, what is to be kept and what is to be sent
//! are results. [`runtime`] gives it streams, a clock and a disk.
//!
//! A stanza's way: `core` asks `address` who speaks, an operation of `conference`, `call`, `sessions`, `org` or `contacts`
//! checks it and changes a `room`, which says who is told of it; `calls` draws the conclusions for a call from its
//! conference's roster; `events` writes the stanzas or publications, `recent_events` has the newest once more for who comes
//! later, `persistence` what is kept, `outbox` the publications that the broker doesn't have yet.

mod account;
mod accounts;
mod address;
mod address_book;
mod admission;
mod call;
mod call_subscriptions;
mod calls;
mod claim;
mod conference;
mod contacts;
mod control;
mod core;
mod dialect;
mod directory;
mod events;
mod lifetime;
mod menu;
mod mirror;
mod muc;
mod mute;
mod org;
mod outbox;
mod password;
mod persistence;
mod presence;
mod recent_events;
mod room;
pub mod runtime;
mod service;
mod sessions;
mod settings;
mod stanza_error;
mod work;

#[cfg(test)]
mod tests;

pub use self::core::{Done, Eim, Job, Output};
pub use muc::MucSettings;
pub use persistence::{LoadError, Write};
pub use settings::{ConfiguredUser, EventDelivery, Limits, Settings};
