//! The two documents for front-end developers, put together from the files.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::files::Files;

/// What begins the name of an entry that is not for clients.
pub(super) const INTERNAL: &str = "eim.";
const SCHEMAS: &str = "#/components/schemas/";

/// The head with all methods that clients may name.
pub(super) fn openrpc(files: &Files) -> Value {
    let mut document = files.head.clone();
    let methods = files.methods.iter().filter(|(name, _)| !name.starts_with(INTERNAL));
    let methods: Vec<Value> = methods.map(|(_, file)| file.value.clone()).collect();
    if let Some(document) = document.as_object_mut() {
        // Before the components, where a reader looks first.
        let components = document.shift_remove("components");
        document.insert("methods".to_owned(), Value::Array(methods));
        document.extend(components.map(|c| ("components".to_owned(), c)));
    }
    document
}

/// The event socket's document, with the shapes that it shares with the methods.
pub(super) fn asyncapi(files: &Files, errors: &mut Vec<String>) -> Value {
    let mut document = files.asyncapi.clone();
    let none = Map::new();
    let (shared, missing) = reachable(&document, files.components("schemas").unwrap_or(&none));
    let own = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    match own {
        Some(own) => {
            let unknown = missing.into_iter().filter(|name| !own.contains_key(name));
            errors.extend(unknown.map(|name| format!("asyncapi.json: {SCHEMAS}{name}: no such schema")));
            for (name, schema) in shared {
                own.entry(name).or_insert(schema);
            }
        }
        None => errors.push("asyncapi.json: components.schemas: is required".to_owned()),
    }
    document
}

/// The schemas that a document refers to, directly or through one another, and the names that none has.
pub(super) fn reachable(document: &Value, schemas: &Map<String, Value>) -> (Map<String, Value>, BTreeSet<String>) {
    let (mut found, mut missing) = (Map::new(), BTreeSet::new());
    let mut names = BTreeSet::new();
    collect(document, &mut names);
    while let Some(name) = names.pop_first() {
        match schemas.get(&name) {
            Some(_) if found.contains_key(&name) => {}
            Some(schema) => {
                collect(schema, &mut names);
                found.insert(name, schema.clone());
            }
            None => {
                missing.insert(name);
            }
        }
    }
    (found, missing)
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(SCHEMAS));
            names.extend(target.map(|path| path.split('/').next().unwrap_or(path).to_owned()));
            members.values().for_each(|inner| collect(inner, names));
        }
        Value::Array(entries) => entries.iter().for_each(|inner| collect(inner, names)),
        _ => {}
    }
}
