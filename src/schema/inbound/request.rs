//! `x-request`: how the EIM asks the gateway, and what it is answered.

use serde::Deserialize;

use super::x_event::Errors;
use crate::schema::value::{ValueForm, ValueRule, named};
use crate::schema::x_iq::{IqKind, Wrapper, WriteRule};

/// The params of a question for a web address, of which the first is required.
const PARAMS: [&str; 3] = ["confId", "role", "validMs"];
/// Whom the address makes of those who use it.
const ROLES: [&str; 2] = ["chair", "guest"];
/// The values of the answer.
const RESULT: [&str; 2] = ["url", "code"];

/// See the module.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XRequest {
    /// The type of the IQ.
    #[serde(rename = "type", default = "get")]
    pub kind: IqKind,
    /// The namespace of the operation element.
    pub ns: String,
    /// The name of the operation element.
    pub element: String,
    /// The element around it.
    pub wrapper: Option<Wrapper>,
    /// What is asked, relative to the operation element.
    #[serde(deserialize_with = "named")]
    pub params: Vec<(String, ValueRule)>,
    /// What is answered, in the operation element.
    #[serde(deserialize_with = "named")]
    pub result: Vec<WriteRule>,
}

fn get() -> IqKind {
    IqKind::Get
}

impl XRequest {
    /// Whether it asks what the gateway can answer.
    pub(super) fn check(&self, errors: &mut Errors<'_>) {
        for (name, rule) in &self.params {
            let place = format!("params.{name}");
            if !PARAMS.contains(&name.as_str()) {
                errors.push(&place, "no such param");
            }
            let (ValueForm::Words(words), true) = (&rule.form, name == PARAMS[1]) else { continue };
            let values = words.values().chain(&rule.default);
            for value in values.filter(|value| !value.as_str().is_some_and(|role| ROLES.contains(&role))) {
                errors.push(&place, format!("{value} is no role: chair or guest"));
            }
        }
        if !self.params.iter().any(|(name, _)| name == PARAMS[0]) {
            errors.push("params.confId", "is required");
        }
        for rule in self.result.iter().filter(|rule| !RESULT.contains(&rule.name.as_str())) {
            errors.push(&format!("result.{}", rule.name), "no such value");
        }
    }
}
