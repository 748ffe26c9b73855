//! The built-in EIM: conferences, accounts and the address book behind XMPP addresses.
//!
//! [`Eim`] is a pure handler of stanzas: time and randomness are arguments, what is to be kept and what is to be sent
//! are results. [`shell`] gives it streams, a clock and a disk.
//!
//! A stanza's way: `core` asks `address` who speaks, an operation of `conference`, `call`, `sessions`, `org` or `book`
//! checks it and changes a `room`; `calls` draws the conclusions for a call from its conference's roster; `events` says
//! who hears of it, `record` what is kept.

mod account;
mod address;
mod admission;
mod book;
mod call;
mod calls;
mod claim;
mod conference;
mod contacts;
mod control;
mod core;
mod deny;
mod dialect;
mod directory;
mod events;
mod lifetime;
mod listeners;
mod mute;
mod org;
mod password;
mod people;
mod presence;
mod record;
mod room;
mod service;
mod sessions;
mod settings;
pub mod shell;
mod tabs;
mod work;

#[cfg(test)]
mod tests;

pub use self::core::{Done, Eim, Job, Output};
pub use record::{LoadError, Write};
pub use settings::{ConfiguredUser, Limits, Settings};
