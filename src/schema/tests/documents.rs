//! The two documents for front-end developers.

use std::collections::BTreeSet;
use std::path::Path;

use jsonschema::Draft;
use serde_json::{Value, json};

use super::{built_in, object};
use crate::event::{Change, Custom, Event, Left, LeftReason, Roster, WaitingReason, WaitingRemoved};

#[test]
fn an_openrpc_document_is_what_the_published_meta_schema_says() {
    let fixture = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name);
        serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON")
    };
    let mut json_schema = fixture("json-schema-tools.meta-schema.json");
    let mut open_rpc = fixture("openrpc.meta-schema.json");
    // Both name a dialect of their own that no validator knows; it is draft 7 (its text says `definitions`, `if`).
    for schema in [&mut json_schema, &mut open_rpc] {
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    }
    let registry = jsonschema::Registry::new()
        .add("https://meta.json-schema.tools/", json_schema.clone())
        .and_then(|registry| registry.add("https://meta.json-schema.tools", json_schema))
        .and_then(jsonschema::RegistryBuilder::prepare)
        .expect("a registry");
    let options = jsonschema::options().with_draft(Draft::Draft7).with_registry(&registry);
    let meta = options.build(&open_rpc).expect("the meta-schema compiles");
    let schema = built_in().served_at("https://h.example:1/gz");
    let errors: Vec<String> =
        meta.iter_errors(schema.openrpc()).map(|e| format!("{}: {}", e.instance_path(), e.masked())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(!meta.is_valid(&json!({"openrpc": "1.3.2", "info": {}, "methods": [{"name": 1}]})), "it says nothing");
}

#[test]
fn both_documents_say_where_they_are_served() {
    let schema = built_in().served_at("https://meet.example.org/gz");
    assert_eq!(schema.openrpc()["servers"][0]["url"], "https://meet.example.org/gz/jsonrpc");
    let server = &schema.asyncapi()["servers"]["gateway"];
    assert_eq!((&server["host"], &server["pathname"]), (&json!("meet.example.org"), &json!("/gz")));
    let text = |bytes: bytes::Bytes| serde_json::from_slice::<Value>(&bytes).expect("JSON");
    assert_eq!(text(schema.openrpc_json()), *schema.openrpc());
    assert_eq!(text(schema.asyncapi_json()), *schema.asyncapi());
}

/// The demands of generators of types and clients, beyond those of the formats.
#[test]
fn generators_find_a_title_for_each_schema_items_for_each_array_and_required_params_first() {
    let schema = built_in();
    let (openrpc, asyncapi) = (schema.openrpc(), schema.asyncapi());
    let methods = openrpc["methods"].as_array().expect("methods");
    let mut params = methods.iter().flat_map(|method| method["params"].as_array().expect("params"));
    assert!(params.clone().all(|param| param["required"].is_boolean()));
    for method in methods {
        let required = method["params"].as_array().expect("params").iter().map(|param| param["required"] == true);
        assert!(required.is_sorted_by(|before, after| before >= after), "{}: the required ones first", method["name"]);
    }
    let of_methods = params.by_ref().chain(methods.iter().map(|method| &method["result"])).map(|of| &of["schema"]);
    check_for_generators("openrpc", named(openrpc, "schemas").chain(of_methods));
    let payloads = named(asyncapi, "messages").map(|message| &message["payload"]);
    check_for_generators("asyncapi", named(asyncapi, "schemas").chain(payloads.clone()));
    for payload in payloads {
        let name = payload["$ref"].as_str().and_then(|target| target.strip_prefix("#/components/schemas/"));
        assert!(name.is_some_and(|name| asyncapi["components"]["schemas"][name]["title"] == name), "{payload}");
    }
}

fn named<'a>(document: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> + Clone + use<'a> {
    document["components"][kind].as_object().expect("components").values()
}

fn check_for_generators<'a>(document: &str, roots: impl Iterator<Item = &'a Value>) {
    let mut all = Vec::new();
    roots.for_each(|root| subschemas(root, &mut all));
    assert!(all.len() > 50, "{document}: {}", all.len());
    let mut titles = BTreeSet::new();
    for schema in all {
        let title = schema["title"].as_str().unwrap_or_else(|| panic!("{document}: without a title: {schema}"));
        assert!(titles.insert(title), "{document}: two of {title}");
        let is_name = title.bytes().all(|b| b.is_ascii_alphanumeric()) && title.as_bytes()[0].is_ascii_uppercase();
        assert!(is_name, "{document}: {title}");
        let types = schema["type"].as_array().map_or(vec![&schema["type"]], |types| types.iter().collect());
        assert!(!types.contains(&&json!("array")) || schema.get("items").is_some(), "{document}: {title}: no items");
        assert!(
            schema.get("const").is_none() || schema.get("type").is_some(),
            "{document}: {title}: a const, but of which type?"
        );
        let known = ["date-time", "date", "time", "uri", "email", "ipv4", "ipv6", "hostname"];
        let format = schema.get("format").and_then(Value::as_str);
        assert!(format.is_none_or(|format| known.contains(&format)), "{document}: {title}: {format:?}");
    }
}

/// The schema and all within it, without references.
fn subschemas<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    let Some(members) = schema.as_object().filter(|members| !members.contains_key("$ref")) else { return };
    found.push(schema);
    for (keyword, inner) in members {
        match (keyword.as_str(), inner) {
            ("properties" | "patternProperties", Value::Object(inner)) => {
                inner.values().for_each(|i| subschemas(i, found))
            }
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(inner)) => {
                inner.iter().for_each(|i| subschemas(i, found))
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else" | "contains", inner) => {
                subschemas(inner, found)
            }
            _ => {}
        }
    }
}

#[test]
fn the_event_document_stands_alone() {
    let schema = built_in();
    let document = schema.asyncapi();
    let mut targets = BTreeSet::new();
    references(document, &mut targets);
    assert!(targets.contains("#/components/schemas/Member"));
    for target in targets {
        let found = target.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(found.is_some(), "{target}: nothing is there");
    }
    for (name, message) in document["components"]["messages"].as_object().expect("messages") {
        let payload = json!({"allOf": [message["payload"]], "components": document["components"]});
        let validator = jsonschema::options().with_draft(Draft::Draft7).build(&payload).expect("a schema");
        for example in message["examples"].as_array().expect("examples") {
            let errors: Vec<String> = validator.iter_errors(&example["payload"]).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }
}

fn references(value: &Value, targets: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            targets.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|inner| references(inner, targets));
        }
        Value::Array(entries) => entries.iter().for_each(|inner| references(inner, targets)),
        _ => {}
    }
}

#[test]
fn every_numbered_event_has_the_declared_shape() {
    let schema = built_in();
    let components = &schema.asyncapi()["components"];
    let wrapper = |name: &str| json!({"$ref": format!("#/components/schemas/{name}"), "components": components});
    let shape = |name| jsonschema::options().with_draft(Draft::Draft7).build(&wrapper(name)).expect("a schema");
    let (event, snapshot) = (shape("ConferenceEvent"), shape("Snapshot"));
    let example = &schema.internal("eim.snapshot").map(|_| example_roster()).expect("an entry");
    let roster: Roster = serde_json::from_value(example.clone()).expect("a roster");
    for change in changes(&roster) {
        let name = change.name().to_owned();
        let told = Event {
            epoch: "e1".into(),
            seq: 1,
            conf_id: roster.conference.conf_id.clone(),
            time: 1,
            change,
            actor: None,
        };
        let told = serde_json::to_value(told).expect("JSON");
        assert!(event.is_valid(&told), "{name}: {told}");
    }
    let mut told = object(example.clone());
    told.insert("confId".into(), json!("11234"));
    told.insert("reason".into(), json!("join"));
    assert!(snapshot.is_valid(&Value::Object(told)));
    let mixed = json!({"confId": "1", "epoch": "e", "seq": 1, "time": 1, "actor": null, "type": "message",
        "data": example["conference"]});
    assert!(!event.is_valid(&mixed), "the data of another type passes");
}

fn example_roster() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/eim/eim.snapshot.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    file["examples"][0]["result"]["value"].clone()
}

fn changes(roster: &Roster) -> Vec<Change> {
    let (c, m) = (roster.conference.clone(), roster.members[0].clone());
    let user_id = m.user_id.clone();
    let left = |reason| Change::MemberLeft(Left { user_id: user_id.clone(), reason });
    let removed = |reason| Change::WaitingRemoved(WaitingRemoved { user_id: user_id.clone(), reason });
    vec![
        Change::Created(c.clone()),
        Change::Started(c.clone()),
        Change::Updated(c.clone()),
        Change::Locked(c.clone()),
        Change::Unlocked(c.clone()),
        Change::MainVideo(c.clone()),
        Change::Ended(c),
        Change::MemberJoined(m.clone()),
        Change::MemberUpdated(m.clone()),
        Change::WaitingAdded(m),
        left(LeftReason::Left),
        left(LeftReason::Kicked),
        left(LeftReason::Banned),
        left(LeftReason::Timeout),
        left(LeftReason::Ended),
        removed(WaitingReason::Admitted),
        removed(WaitingReason::Denied),
        removed(WaitingReason::Left),
        Change::Message(roster.messages[0].clone()),
        Change::Custom(Custom::new("poll.opened", json!({"question": "Lunch?"})).expect("a name")),
    ]
}
