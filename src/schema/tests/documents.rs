//! The two documents for front-end developers.

use std::collections::BTreeSet;
use std::path::Path;

use jsonschema::Draft;
use serde_json::{Value, json};

use super::{built_in, object};
use crate::event::{Change, Event, Left, LeftReason, Roster, WaitingReason, WaitingRemoved};

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
    let schema = built_in();
    let errors: Vec<String> =
        meta.iter_errors(schema.openrpc()).map(|e| format!("{}: {}", e.instance_path(), e.masked())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(!meta.is_valid(&json!({"openrpc": "1.3.2", "info": {}, "methods": [{"name": 1}]})), "it says nothing");
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
        let name = change.name();
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
    ]
}
