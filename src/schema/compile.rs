//! From a method's file to a [`Method`]: shape, access, conversion, schemas, examples. Everything that is wrong is
//! of_file, not only the first.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

use crate::precis::display_name;

use super::document::{INTERNAL, NAME_FORMAT, reachable};
use super::files::{Files, MethodFile};
use super::method::Param;
use super::param_error::explain;
use super::{Access, Method, ParamError, Speaker, XIq};

/// Longest name of a method, in bytes. Also what bounds the label of its metrics.
const NAME_MAX: usize = 64;

/// The components of a head that has none.
static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

pub(super) struct Compiler<'a> {
    schemas: &'a Map<String, Value>,
    errors: &'a Map<String, Value>,
    /// By the schema's text: most params are one of a few components.
    compiled: RefCell<HashMap<String, Arc<Validator>>>,
    /// The schema of a method's file; `None` where that itself could not be read.
    shape: Option<Validator>,
}

impl<'a> Compiler<'a> {
    /// Checks the components too.
    pub fn new(files: &'a Files, errors: &mut Vec<String>) -> Self {
        let mut shape = files.method_schema.clone();
        // The two rules are files of their own, for editors; here they are one schema.
        if let Some(definitions) = shape.get_mut("definitions").and_then(Value::as_object_mut) {
            definitions.insert("x-iq".to_owned(), files.x_iq_schema.clone());
        }
        let shape = compile(&shape).map_err(|e| errors.push(format!("method.schema.json: {e}"))).ok();
        let this = Self {
            schemas: files.components("schemas").unwrap_or(&NONE),
            errors: files.components("errors").unwrap_or(&NONE),
            compiled: RefCell::default(),
            shape,
        };
        for name in this.schemas.keys() {
            let reference = json!({"$ref": format!("#/components/schemas/{name}")});
            this.schema(&reference, &format!("openrpc.json: components.schemas.{name}"), errors);
        }
        this
    }

    /// `None` where something is wrong; it was of_file then.
    pub fn method(&self, file: &MethodFile, errors: &mut Vec<String>) -> Option<Method> {
        let before = errors.len();
        let shape = self.shape.as_ref()?;
        let wrong = explain("", shape.iter_errors(&file.value));
        errors.extend(wrong.into_iter().map(|e| format!("{}: {}", file.origin, at("", e))));
        if errors.len() > before {
            return None;
        }
        let mut of_file = Vec::new();
        let method = self.build(&file.value, &mut of_file);
        if let Some(method) = &method {
            rules(method, file.built_in, &mut of_file);
            examples(method, &file.value, &mut of_file);
        }
        errors.extend(of_file.into_iter().map(|e| format!("{}: {e}", file.origin)));
        method.filter(|_| errors.len() == before)
    }

    fn build(&self, file: &Value, errors: &mut Vec<String>) -> Option<Method> {
        let name = file["name"].as_str()?.to_owned();
        let access = match file.get("x-access").and_then(Value::as_str) {
            None => Access::Internal,
            Some(text) => Access::parse(text)?,
        };
        let x_iq = file.get("x-iq").and_then(|value| {
            serde_json::from_value::<XIq>(value.clone()).map_err(|e| errors.push(format!("x-iq: {e}"))).ok()
        });
        let params = entries(file, "params").enumerate().filter_map(|(i, descriptor)| {
            // One that is wrong was of_file; what refers to the param is still looked at.
            let validator = self
                .schema(&descriptor["schema"], &format!("params[{i}].schema"), errors)
                .or_else(|| compile(&Value::Bool(true)).ok().map(Arc::new))?;
            let required = descriptor.get("required").and_then(Value::as_bool).unwrap_or(false);
            Some(Param { name: descriptor["name"].as_str()?.to_owned(), required, validator })
        });
        let params = params.collect();
        let together = file.get("x-params").and_then(|schema| self.schema(schema, "x-params", errors));
        let result = file.pointer("/result/schema").and_then(|schema| self.schema(schema, "result.schema", errors));
        for (i, error) in entries(file, "errors").enumerate() {
            self.error_reference(error, i, errors);
        }
        Some(Method { name, access, x_iq, params, together, result })
    }

    /// Compiles one schema together with the components that it needs.
    fn schema(&self, schema: &Value, place: &str, errors: &mut Vec<String>) -> Option<Arc<Validator>> {
        let text = schema.to_string();
        if let Some(known) = self.compiled.borrow().get(&text) {
            return Some(known.clone());
        }
        let (components, missing) = reachable(schema, self.schemas);
        let before = errors.len();
        errors.extend(missing.into_iter().map(|name| format!("{place}: #/components/schemas/{name}: no such schema")));
        if errors.len() > before {
            return None;
        }
        let alone = json!({"allOf": [schema], "components": {"schemas": components}});
        let validator = compile(&alone).map_err(|e| errors.push(format!("{place}: {e}"))).ok().map(Arc::new)?;
        self.compiled.borrow_mut().insert(text, validator.clone());
        Some(validator)
    }

    fn error_reference(&self, error: &Value, index: usize, errors: &mut Vec<String>) {
        let Some(target) = error.get("$ref").and_then(Value::as_str) else { return };
        let known = target.strip_prefix("#/components/errors/").is_some_and(|name| self.errors.contains_key(name));
        if !known {
            errors.push(format!("errors[{index}]: {target}: no such error"));
        }
    }
}

pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    // Draft 7 is OpenRPC's. Patterns run on hostile text: only the engine that is linear in its length is allowed.
    let options = jsonschema::options().with_draft(Draft::Draft7).offline();
    let options = options.with_format(NAME_FORMAT, |text: &str| display_name::checked(text, usize::MAX).is_some());
    options.should_validate_formats(true).with_pattern_options(PatternOptions::regex()).build(schema).map_err(|e| {
        let place = e.instance_path().as_str().trim_start_matches("/allOf/0");
        format!("{place}: {e}").trim_start_matches(": ").to_owned()
    })
}

/// The demands of a method's parts on each other.
fn rules(method: &Method, built_in: bool, errors: &mut Vec<String>) {
    let name = &method.name;
    if name.len() > NAME_MAX {
        errors.push(format!("name: longer than {NAME_MAX} bytes"));
    }
    let internal = name.starts_with(INTERNAL);
    if internal != (method.access == Access::Internal) {
        let rule = if internal { "an entry of the gateway's own has none" } else { "is required" };
        errors.push(format!("x-access: {rule}"));
    }
    if method.access.names_conference() && !method.params.iter().any(|p| p.name == "confId" && p.required) {
        errors.push("x-access: needs the required param confId".to_owned());
    }
    let Some(x_iq) = &method.x_iq else {
        if !built_in {
            errors.push(format!("x-iq: is required: the gateway itself doesn't answer {name}"));
        }
        return;
    };
    if method.access == Access::Open && x_iq.speaker == Speaker::User {
        errors.push("x-iq.as: a method without a token has no user to speak for".to_owned());
    }
    for rule in &x_iq.params {
        if !method.params.iter().any(|p| p.name == rule.name) {
            errors.push(format!("x-iq.params.{}: no such param", rule.name));
        }
    }
}

fn examples(method: &Method, file: &Value, errors: &mut Vec<String>) {
    for (i, example) in entries(file, "examples").enumerate() {
        let params =
            entries(example, "params").filter_map(|p| Some((p["name"].as_str()?.to_owned(), p["value"].clone())));
        let params: Map<String, Value> = params.collect();
        for name in params.keys().filter(|name| !method.params.iter().any(|p| p.name == **name)) {
            errors.push(format!("examples[{i}].params.{name}: no such param"));
        }
        let wrong = method.validate_params(&params).err().unwrap_or_default();
        errors.extend(wrong.into_iter().map(|e| at(&format!("examples[{i}].params"), e)));
        if let Some(result) = example.pointer("/result/value") {
            let wrong = method.validate_result(result).err().unwrap_or_default();
            errors.extend(wrong.into_iter().map(|e| at(&format!("examples[{i}].result"), e)));
        }
    }
}

/// The error as a line, its path below `root`.
pub(super) fn at(root: &str, error: ParamError) -> String {
    let dot = if root.is_empty() || error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
    format!("{root}{dot}{}: {}", error.path, error.message)
}

/// The entries of a list member; none where it is absent.
fn entries<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}
