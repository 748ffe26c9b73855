//! JSON <-> IQ by the schema's `x-iq`: pure functions, one pair for every method that the EIM answers.
//!
//! ```text
//! params --to_iq--> <iq type to><wrapper xmlns><operation ...>...</operation></wrapper></iq>
//! result <--from_iq-- <iq type="result"><wrapper xmlns><operation ...>...</operation></wrapper></iq>
//! refusal <--from_iq-- <iq type="error">...<error type><condition/><text/><reason/></error></iq>
//! ```

mod date_time;
mod read;
mod refused;
mod value;
mod write;

use std::sync::Arc;

use crate::schema::{Schema, XReason};

pub use read::from_iq;
pub(super) use refused::StanzaError;
pub(super) use value::{Scope, Tree, Unreadable};
pub use write::{to_iq, to_payload};

/// What holds for every answer of an EIM.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The EIM's domain, where users have their addresses.
    pub domain: Arc<str>,
    /// Where the reason of a refusal stands.
    pub reason: Arc<XReason>,
}

impl Dialect {
    /// Of the EIM of that domain, by that schema.
    pub fn new(schema: &Schema, domain: &str) -> Self {
        Self { domain: domain.into(), reason: schema.inbound().reason.clone() }
    }
}

#[cfg(test)]
mod tests;
