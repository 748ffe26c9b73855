//! Promises of the built-in EIM, kept through its stanzas alone.

mod accounts;
mod admission;
mod call_histories;
mod calls;
mod control;
mod dialect;
mod histories;
mod presence;
mod publications;
mod recent_events;
mod world;
