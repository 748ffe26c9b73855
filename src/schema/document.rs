//! The two documents for front-end developers, put together from the files, in a form that generators of clients take.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::files::Files;
use super::titles::{Titles, joined};

/// The prefix of an entry's name that is not for clients.
pub(super) const INTERNAL: &str = "eim.";
/// The format of a name to show: the gateway's own, checked by `names::given`.
pub(super) const NAME_FORMAT: &str = "name";
/// The shapes of an event, and of one whose type is the EIM's own.
const CONFERENCE_EVENT: &str = "ConferenceEvent";
const ANY_OWN_EVENT: &str = "EimEvent";
const SCHEMAS: &str = "#/components/schemas/";
/// Where the document's servers stand: behind `openrpc` and `info`.
const BEFORE_METHODS: usize = 2;

/// The head with all methods that clients may name.
pub(super) fn openrpc(files: &Files) -> Value {
    let mut document = files.head.clone();
    let methods = files.methods.iter().filter(|(name, _)| !name.starts_with(INTERNAL));
    let mut methods: Vec<Value> = methods.map(|(_, file)| file.value.clone()).collect();
    if let Some(document) = document.as_object_mut() {
        let mut titles = Titles::default();
        methods.iter().for_each(|method| titles.reserve(joined("", name(method))));
        // Before the components, where a reader looks first.
        let mut components = document.shift_remove("components");
        components.iter_mut().for_each(drop_own_format);
        give_all(&mut titles, components.as_mut().and_then(|c| c.get_mut("schemas")));
        methods.iter_mut().for_each(|method| finish(&mut titles, method));
        document.insert("methods".to_owned(), Value::Array(methods));
        document.extend(components.map(|c| ("components".to_owned(), c)));
    }
    document
}

/// Takes out the format that only this gateway knows: other validators refuse a schema with a format that they don't.
fn drop_own_format(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|keyword, value| keyword != "format" || value != NAME_FORMAT);
            members.values_mut().for_each(drop_own_format);
        }
        Value::Array(entries) => entries.iter_mut().for_each(drop_own_format),
        _ => {}
    }
}

/// Named types for the method's params and result; and of each param, whether it is required: generators differ in what
/// they take for the default.
fn finish(titles: &mut Titles, method: &mut Value) {
    let prefix = joined("", name(method));
    for param in method.get_mut("params").and_then(Value::as_array_mut).into_iter().flatten() {
        let title = joined(&prefix, name(param));
        param.get_mut("schema").into_iter().for_each(|schema| titles.give(schema, &title));
        param.as_object_mut().into_iter().for_each(|param| {
            param.entry("required").or_insert(Value::Bool(false));
        });
    }
    let result = method.get_mut("result").and_then(|result| result.get_mut("schema"));
    result.into_iter().for_each(|schema| titles.give(schema, &joined(&prefix, "result")));
}

fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Titles for schemas under names of their own.
fn give_all(titles: &mut Titles, schemas: Option<&mut Value>) {
    let schemas = schemas.and_then(Value::as_object_mut);
    schemas.into_iter().flatten().for_each(|(name, schema)| titles.give(schema, name));
}

/// Says in both documents where they are served, save where a file of the integrator's does.
pub(super) fn serve_at(openrpc: &mut Value, asyncapi: &mut Value, web_address: &str) {
    if let Some(document) = openrpc.as_object_mut()
        && !document.contains_key("servers")
    {
        let summary = "JSON-RPC over HTTPS, POST";
        let servers = json!([{"name": "gateway", "summary": summary, "url": format!("{web_address}/jsonrpc")}]);
        document.shift_insert(BEFORE_METHODS.min(document.len()), "servers".to_owned(), servers);
    }
    let authority = web_address.split_once("://").map_or(web_address, |(_, authority)| authority);
    let (host, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
    let servers = asyncapi.get_mut("servers").and_then(Value::as_object_mut);
    for server in servers.into_iter().flatten().filter_map(|(_, server)| server.as_object_mut()) {
        if !server.contains_key("host") {
            server.shift_insert(0, "host".to_owned(), host.into());
            server.entry("pathname").or_insert(path.into());
        }
    }
}

/// A type of the EIM's own, as its file describes it.
pub(super) struct DescribedType<'t> {
    pub name: &'t str,
    pub summary: &'t str,
    /// JSON Schema of the data.
    pub schema: &'t Value,
}

/// The event socket's document, with the shapes that it shares with the methods.
pub(super) fn asyncapi(files: &Files, types: &[DescribedType<'_>], errors: &mut Vec<String>) -> Value {
    let mut document = files.asyncapi.clone();
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        add_own_types(schemas, types);
    }
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
    drop_own_format(&mut document);
    let mut titles = Titles::default();
    give_all(&mut titles, document.pointer_mut("/components/schemas"));
    let messages = document.pointer_mut("/components/messages").and_then(Value::as_object_mut);
    for (name, message) in messages.into_iter().flatten() {
        let payload = message.get_mut("payload");
        payload.into_iter().for_each(|payload| titles.give(payload, &joined(&joined("", name), "message")));
    }
    document
}

/// An event's shape for each type of the EIM's own that is described; the others have the shape that says nothing of
/// their data.
fn add_own_types(schemas: &mut Map<String, Value>, types: &[DescribedType<'_>]) {
    let Some(any) = schemas.get(ANY_OWN_EVENT).cloned() else { return };
    let mut references = Vec::new();
    for own in types {
        let mut name = format!("{}Event", joined("", own.name));
        while schemas.contains_key(&name) {
            name.push('_');
        }
        let mut event = any.clone();
        event["description"] = own.summary.into();
        event["properties"]["type"] = json!({"type": "string", "enum": [own.name]});
        event["properties"]["data"] = own.schema.clone();
        references.push(json!({"$ref": format!("{SCHEMAS}{name}")}));
        schemas.insert(name, event);
    }
    if references.is_empty() {
        return;
    }
    let names: Vec<&str> = types.iter().map(|own| own.name).collect();
    schemas[ANY_OWN_EVENT]["properties"]["type"]["not"] = json!({"enum": names});
    let all = schemas.get_mut(CONFERENCE_EVENT).and_then(|event| event.get_mut("oneOf")?.as_array_mut());
    all.into_iter().for_each(|all| all.append(&mut references));
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
