//! Types of the EIM's own, as their files describe them: for front-end developers, and as a demand on the data.

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::x_event::{Errors, OWN_TYPE, XEvent};
use crate::schema::compile::compile;

/// A type whose data are described.
#[derive(Debug)]
pub struct OwnType {
    /// `eim.` and the EIM's name of it.
    pub name: String,
    /// What it tells, in a sentence.
    pub summary: String,
    /// JSON Schema of the data.
    pub schema: Value,
    /// The file, for messages.
    pub(super) origin: String,
    validator: Validator,
}

impl OwnType {
    /// The types that the file describes. `schemas`: what a schema may refer to as `#/components/schemas/NAME`.
    pub(super) fn read(
        event: &XEvent,
        value: &Map<String, Value>,
        schemas: &Map<String, Value>,
        errors: &mut Errors<'_>,
    ) -> Vec<Self> {
        let mut types = Vec::new();
        let kinds = event.kinds();
        for (name, of_type) in value.get("types").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("types.{name}");
            if !kinds.as_ref().is_none_or(|kinds| kinds.contains(&name.as_str()) || kinds.contains(&OWN_TYPE)) {
                errors.push(&place, "none of the file's events is of that type");
            }
            let schema = of_type.get("schema").cloned().unwrap_or(Value::Bool(true));
            let alone = json!({"allOf": [schema], "components": {"schemas": schemas}});
            match compile(&alone) {
                Ok(validator) => types.push(Self {
                    name: name.clone(),
                    summary: of_type.get("summary").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    schema,
                    origin: event.origin().to_owned(),
                    validator,
                }),
                Err(why) => errors.push(&format!("{place}.schema"), why),
            }
        }
        types
    }

    /// Whether the data are as described.
    pub fn holds(&self, data: &Value) -> bool {
        self.validator.is_valid(data)
    }
}

/// A type is described once.
pub(super) fn check_together(types: &[OwnType], errors: &mut Vec<String>) {
    for (i, own) in types.iter().enumerate() {
        if let Some(other) = types[..i].iter().find(|other| other.name == own.name) {
            errors.push(format!("{}: x-event.types.{}: {} describes it too", own.origin, own.name, other.origin));
        }
    }
}
