//! What the EIM sends of its own accord, as the files of `events/` say it: parsed, and checked against the vocabulary
//! and against each other. It is read by these rules in `crate::eim`.

mod compile;
mod overlap;
mod own_type;
mod reason;
mod request;
mod vocabulary;
mod x_event;

use std::sync::Arc;

use crate::event::NumberedBy;

pub(super) use compile::InboundCompiler;
pub use own_type::OwnType;
pub use reason::XReason;
pub use request::XRequest;
pub use x_event::{Condition, Demand, EventBody, EventRule, EventRules, KindRule, OWN_TYPE, QName, XEvent};

/// The files of `events/`.
#[derive(Clone)]
pub struct InboundFiles {
    /// By name. At most one takes a message.
    pub events: Arc<[XEvent]>,
    /// The types of the EIM's own that are described.
    pub types: Arc<[OwnType]>,
    /// How the EIM asks for a conference's web address.
    pub web_address: Arc<XRequest>,
    /// Where the reason of a refusal stands.
    pub reason: Arc<XReason>,
    /// The messages of all files, and what becomes of them.
    pub examples: Arc<[InboundExample]>,
    /// Who numbers a conference's events.
    pub numbered: NumberedBy,
}

/// A message in a file, and what the file says becomes of it.
#[derive(Debug, Clone)]
pub struct InboundExample {
    /// The file's name.
    pub name: String,
    /// The file and the place in it, for messages.
    pub place: String,
    /// What is given and expected, as `event.schema.json` has it.
    pub value: serde_json::Value,
}
