//! Whether a file's rules can give the data of the types that it names. What a type's data are is known from the
//! documents for front-end developers, `openrpc.json` and `asyncapi.json`.

use serde_json::{Map, Value, json};

use super::x_event::{Errors, EventRules, is_call};
use crate::event::OWN_PREFIX;
use crate::schema::compile::compile;
use crate::schema::value::{ValueForm, ValuePath, ValueRule, ValueSource};

/// The member of an own type's data that is the whole.
const WHOLE: &str = "$";
const SCHEMAS: &str = "#/components/schemas/";

/// The shapes by name, and what each rule is checked against.
pub(super) struct Vocabulary<'v> {
    schemas: &'v Map<String, Value>,
}

/// The name of the shape that a type's data have. `None`: of the EIM's own.
fn shape_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        _ if kind.starts_with(OWN_PREFIX) => return None,
        _ if kind.starts_with("conference.") => "Conference",
        "member.left" => "Left",
        "waiting.removed" => "WaitingRemoved",
        "message" => "Message",
        _ if is_call(kind) => "Call",
        _ => "Member",
    })
}

/// The shapes of the values beside the data.
fn common_shape(member: &str) -> &'static str {
    match member {
        "confId" => "ConfId",
        "epoch" => "Epoch",
        "seq" => "Seq",
        "time" => "Time",
        _ => "UserId",
    }
}

impl<'v> Vocabulary<'v> {
    pub fn new(schemas: &'v Map<String, Value>) -> Self {
        Self { schemas }
    }

    /// Each rule against what it gives.
    pub fn check<P: ValuePath>(&self, rules: &EventRules<P>, errors: &mut Errors<'_>) {
        for (member, rule) in rules.common() {
            let shape = json!({"$ref": format!("{SCHEMAS}{}", common_shape(member))});
            self.rule(rule, &shape, member, errors);
        }
        for (i, event) in rules.events.iter().enumerate() {
            let mut errors = errors.below(&format!("events[{i}].data"));
            for kind in event.kind.kinds() {
                match shape_of(kind) {
                    Some(shape) => {
                        let shape = json!({"$ref": format!("{SCHEMAS}{shape}")});
                        self.members(&event.data, &shape, kind, &mut errors);
                    }
                    None if event.data.len() > 1 && event.data.iter().any(|(name, _)| name == WHOLE) => {
                        errors.push(WHOLE, "is the whole, and has nothing beside it");
                    }
                    None => {}
                }
            }
        }
    }

    fn members<P: ValuePath>(
        &self,
        rules: &[(String, ValueRule<P>)],
        shape: &Value,
        of: &str,
        errors: &mut Errors<'_>,
    ) {
        let Some(shape) = self.resolved(shape) else { return };
        let required = shape.get("required").and_then(Value::as_array).into_iter().flatten();
        for member in required.filter_map(Value::as_str) {
            if !rules.iter().any(|(name, _)| name == member) {
                errors.push(member, format!("is required of {of}"));
            }
        }
        for (name, rule) in rules {
            match shape.get("properties").and_then(|properties| properties.get(name)) {
                Some(property) => self.rule(rule, property, name, errors),
                None => errors.push(name, format!("{of} has no such member")),
            }
        }
    }

    fn rule<P: ValuePath>(&self, rule: &ValueRule<P>, shape: &Value, place: &str, errors: &mut Errors<'_>) {
        let constant = match &rule.source {
            ValueSource::Const(value) => Some(value),
            _ => None,
        };
        for value in constant.into_iter().chain(&rule.default) {
            self.value(value, shape, place, errors);
        }
        if constant.is_some() {
            return;
        }
        let entry = if rule.list {
            if !self.accepts(shape, "array") {
                return errors.push(place, "is no list");
            }
            self.resolved(shape).and_then(|list| list.get("items")).cloned().unwrap_or(Value::Bool(true))
        } else {
            shape.clone()
        };
        let given = match &rule.form {
            ValueForm::Words(words) => {
                let place = format!("{place}.map");
                return words.values().for_each(|value| self.value(value, &entry, &place, errors));
            }
            ValueForm::Object(members) if self.accepts(&entry, "object") => {
                return self.members(members, &entry, place, &mut errors.below(place));
            }
            ValueForm::Json | ValueForm::Base64Json => return,
            ValueForm::Object(_) => "object",
            ValueForm::Boolean => "boolean",
            ValueForm::Integer | ValueForm::Seconds | ValueForm::DateTime => "integer",
            ValueForm::String | ValueForm::Name | ValueForm::Xml | ValueForm::User => "string",
        };
        if !self.accepts(&entry, given) {
            errors.push(place, format!("the rule gives {given}, which it is not"));
        }
    }

    /// A value that the file itself names.
    fn value(&self, value: &Value, shape: &Value, place: &str, errors: &mut Errors<'_>) {
        let alone = json!({"allOf": [shape], "components": {"schemas": self.schemas}});
        match compile(&alone) {
            Ok(validator) if validator.is_valid(value) => {}
            Ok(_) => errors.push(place, format!("{value} is none of its values")),
            Err(why) => errors.push(place, why),
        }
    }

    /// What a reference leads to.
    fn resolved<'a>(&'a self, shape: &'a Value) -> Option<&'a Value> {
        let only = shape.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1);
        let shape = only.and_then(|all| all.first()).unwrap_or(shape);
        match shape.get("$ref").and_then(Value::as_str) {
            Some(target) => self.schemas.get(target.strip_prefix(SCHEMAS)?),
            None => Some(shape),
        }
    }

    /// Whether a value of that JSON type may be what the shape says.
    fn accepts(&self, shape: &Value, kind: &str) -> bool {
        let Some(shape) = self.resolved(shape) else { return true };
        let any = |name: &str| shape.get(name).and_then(Value::as_array);
        if let Some(branches) = any("anyOf").or(any("oneOf")) {
            return branches.iter().any(|branch| self.accepts(branch, kind));
        }
        match shape.get("type") {
            Some(Value::String(is)) => is == kind || (is == "number" && kind == "integer"),
            Some(Value::Array(are)) => are.iter().any(|is| is == kind),
            _ => true,
        }
    }
}
