use std::collections::BTreeSet;

use jsonschema::Draft;
use serde_json::{Map, json};

use super::*;
use crate::event::{Change, Event, Roster};

fn built_in() -> Schema {
    Schema::load(None).unwrap_or_else(|errors| panic!("{}", errors.join("\n")))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

/// The paths that are told for the params, and nothing of the values.
fn paths(schema: &Schema, method: &str, params: Value) -> Vec<String> {
    let method = schema.method(method).expect("a method");
    let errors = method.validate_params(&object(params)).err().unwrap_or_default();
    errors.into_iter().map(|e| e.path).collect()
}

/// A schema directory with these files.
fn directory(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (path, value) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, value.to_string()).expect("a file");
    }
    dir
}

/// A method of an integrator, as small as one may be.
fn added(name: &str) -> Value {
    json!({"name": name, "summary": "Says hello.", "paramStructure": "by-name", "x-access": "user",
        "params": [{"name": "to", "required": true, "schema": {"type": "string", "maxLength": 9}}],
        "result": {"name": "answer", "schema": {"type": "object"}}, "errors": [],
        "examples": [{"name": "e", "params": [{"name": "to", "value": "x"}], "result": {"name": "r", "value": {}}}],
        "x-iq": {"to": "hello.{domain}", "type": "get", "ns": "urn:hello", "element": "hello",
            "params": {"to": {"attr": "to", "type": "string"}}}})
}

#[test]
fn the_built_in_schema_holds_every_method_of_its_stage() {
    let schema = built_in();
    let names: Vec<&str> = schema.methods().map(|m| m.name.as_str()).collect();
    let expected = "auth.http.login auth.http.logout callgw.allocate callgw.list callgw.release callgw.report \
        conference.control conference.create conference.createLink conference.end conference.get conference.join \
        conference.leave conference.list conference.listLinks conference.members conference.messages \
        conference.revokeLink conference.sendMessage conference.update config.getProperties events.resume \
        org.contacts.departments org.contacts.search org.contacts.users org.user.createUser org.user.processIQ \
        rpc.discover";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    let internals: Vec<&str> = schema.internals().map(|m| m.name.as_str()).collect();
    let expected = "eim.account.create eim.account.delete eim.account.verify eim.conference.find eim.conference.get \
        eim.presence eim.resetNode eim.snapshot eim.subscribe eim.unsubscribe";
    assert_eq!(internals, expected.split_whitespace().collect::<Vec<_>>());
    for name in internals {
        assert!(schema.method(name).is_none(), "{name} is callable");
        assert!(!schema.openrpc().to_string().contains(&format!("\"{name}\"")), "{name} is told");
    }
}

#[test]
fn a_file_is_named_like_its_method() {
    for folder in ["methods", "eim"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema").join(folder);
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let text = std::fs::read(entry.path()).expect("a file");
            let method: Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(format!("{}.json", method["name"].as_str().unwrap_or_default()).as_str(), entry.file_name());
        }
    }
}

#[test]
fn every_text_list_and_number_that_a_client_sends_is_bounded() {
    let schema = built_in();
    let components = &schema.openrpc()["components"]["schemas"];
    for method in schema.openrpc()["methods"].as_array().expect("methods") {
        for param in method["params"].as_array().expect("params") {
            let place = format!("{}: {}", method["name"], param["name"]);
            assert_bounded(&param["schema"], components, &place);
        }
    }
}

fn assert_bounded(schema: &Value, components: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return assert_bounded(&components[name], components, place);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let has = |member: &str| schema.get(member).is_some();
    let pattern_bounds = schema["pattern"].as_str().is_some_and(|p| p.ends_with("{1,64}$"));
    for kind in types {
        match kind {
            "string" => assert!(has("maxLength") || has("enum") || pattern_bounds, "{place}: text without bound"),
            "integer" | "number" => assert!((has("minimum") && has("maximum")) || has("enum"), "{place}: number"),
            "array" => assert!(has("maxItems"), "{place}: list without bound"),
            _ => {}
        }
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|member| schema.get(member)) {
        assert_bounded(inner, components, place);
    }
    for (_, inner) in schema["properties"].as_object().into_iter().flatten() {
        assert_bounded(inner, components, place);
    }
}

#[test]
fn the_four_methods_of_the_original_interface_take_its_samples() {
    let schema = built_in();
    let samples = [
        ("auth.http.login", json!({"clientId": "u1074304", "grantType": "client_credentials"})),
        ("config.getProperties", json!({"keys": ["serverName", "webrtcAddress"]})),
        ("org.user.processIQ", json!({"reqXml": "<iq/>"})),
        ("org.user.createUser", json!({"name": "张三"})),
        (
            "org.user.createUser",
            json!({"name": "张三", "birthday": null, "tenements": [], "gender": "0", "isLoggedIn": false,
                "creationDate": 1557226578658u64, "properties": {"custom.isClientLoginEnable": "true"},
                "deleteDate": null, "status": "normal", "clientEnabled": true, "customId": ""}),
        ),
    ];
    for (method, params) in samples {
        assert_eq!(paths(&schema, method, params), Vec::<String>::new(), "{method}");
    }
}

#[test]
fn a_wrong_param_is_told_by_its_path() {
    let schema = built_in();
    let told = |method, params| paths(&schema, method, params).join(" ");
    assert_eq!(told("config.getProperties", json!({})), "keys");
    assert_eq!(told("config.getProperties", json!({"keys": "x"})), "keys");
    assert_eq!(told("config.getProperties", json!({"keys": [1, "a", null]})), "keys[0] keys[2]");
    assert_eq!(told("org.user.processIQ", json!({"reqXml": 1, "timeoutMs": "2"})), "reqXml timeoutMs");
    assert_eq!(told("conference.control", json!({"confId": "a b", "action": "fly"})), "confId action");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "kick"})), "userId");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "kick", "userId": null})), "userId");
    assert_eq!(told("conference.control", json!({"confId": "1", "action": "admit", "value": "all"})), "");
    let position = json!({"confId": "1", "epoch": "e"});
    assert_eq!(told("events.resume", json!({"positions": [position]})), "positions[0].seq");
    assert_eq!(told("conference.create", json!({"name": " \t"})), "name");
    assert_eq!(told("conference.create", json!({"name": "x", "startAt": -1, "lobby": 1})), "startAt lobby");
}

#[test]
fn a_login_is_told_what_its_grant_needs() {
    let schema = built_in();
    let told = |params| paths(&schema, "auth.http.login", params).join(" ");
    assert_eq!(told(json!({})), "grantType");
    assert_eq!(told(json!({"grantType": "magic"})), "grantType");
    assert_eq!(told(json!({"grantType": "client_credentials"})), "clientId");
    assert_eq!(told(json!({"grantType": "password"})), "userId password");
    assert_eq!(told(json!({"grantType": "conference_link", "link": "x", "userId": "u1"})), "name");
    assert_eq!(told(json!({"grantType": "refresh_token"})), "refreshToken");
    assert_eq!(told(json!({"grantType": "password", "userId": "U1", "password": "x"})), "userId");
}

#[test]
fn a_params_error_never_repeats_the_value_and_stays_small() {
    let schema = built_in();
    let login = schema.method("auth.http.login").expect("a method");
    let secret = "s3cret".repeat(200);
    let params = json!({"grantType": "password", "userId": &secret, "password": &secret, "refreshToken": [&secret]});
    for error in login.validate_params(&object(params)).expect_err("wrong") {
        assert!(!error.message.contains("s3cret"), "{}", error.message);
    }
    let many = json!({"keys": vec![json!(1); 60]});
    let errors = schema.method("config.getProperties").expect("a method").validate_params(&object(many));
    assert!(errors.expect_err("wrong").len() <= 20);
}

#[test]
fn unknown_params_are_ignored() {
    let schema = built_in();
    let params = json!({"keys": [], "further": {"x": 1}, "grantType": 1});
    assert_eq!(paths(&schema, "config.getProperties", params), Vec::<String>::new());
    let login = json!({"grantType": "refresh_token", "refreshToken": "r", "further": 1});
    assert_eq!(paths(&schema, "auth.http.login", login), Vec::<String>::new());
}

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
    use crate::event::{Left, LeftReason, WaitingReason, WaitingRemoved};
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

#[test]
fn files_of_the_integrator_override_and_add_by_name() {
    let mut create = added("conference.create");
    create["x-access"] = json!("scope:conference.create");
    let mut find = added("eim.conference.find");
    find.as_object_mut().expect("an object").remove("x-access");
    let mut flat = added("org.hello.say");
    flat["params"][0]["schema"] = json!({"$ref": "#/components/schemas/Greeting"});
    let dir = directory(&[
        ("methods/conference.create.json", create),
        ("eim/any-name.json", find),
        ("org.hello.say.json", flat),
        ("openrpc.json", json!({"components": {"schemas": {"Greeting": {"type": "string", "maxLength": 3}}}})),
        ("dialogues/x.json", json!("not a schema file")),
        (".hidden.json", json!(0)),
    ]);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let told = |method: &str| schema.method(method).and_then(|m| m.x_iq.as_ref()).map(|x| x.address("d"));
    assert_eq!(told("conference.create").as_deref(), Some("hello.d"));
    assert_eq!(told("org.hello.say").as_deref(), Some("hello.d"));
    assert_eq!(told("conference.get").as_deref(), Some("jeconference.d"));
    assert_eq!(
        schema.internal("eim.conference.find").and_then(|m| m.x_iq.as_ref()).map(|x| x.ns.as_str()),
        Some("urn:hello")
    );
    assert_eq!(paths(&schema, "org.hello.say", json!({"to": "four"})), ["to"]);
    assert!(schema.openrpc()["components"]["schemas"].get("Greeting").is_some());
    assert!(schema.openrpc()["components"]["schemas"].get("Member").is_some());
}

#[test]
fn everything_wrong_in_a_schema_directory_is_told_at_once() {
    let change = |name: &str, pointer: &str, value: Value| {
        let mut method = added(name);
        *method.pointer_mut(pointer).expect("a place") = value;
        method
    };
    let mut without_iq = added("a.noIq");
    without_iq.as_object_mut().expect("an object").remove("x-iq");
    let mut nameless = added("x.y");
    nameless.as_object_mut().expect("an object").remove("name");
    let dir = directory(&[
        ("a.path.json", change("a.path", "/x-iq/params/to", json!({"attr": "1bad", "type": "string"}))),
        ("a.both.json", change("a.both", "/x-iq/params/to", json!({"attr": "a", "child": "b", "type": "string"}))),
        ("a.type.json", change("a.type", "/params/0/schema", json!({"type": "strnig"}))),
        ("a.ref.json", change("a.ref", "/params/0/schema", json!({"$ref": "#/components/schemas/Nowhere"}))),
        ("a.regex.json", change("a.regex", "/params/0/schema", json!({"type": "string", "pattern": "(?=x)"}))),
        ("a.remote.json", change("a.remote", "/params/0/schema", json!({"$ref": "https://example.com/s.json"}))),
        ("a.example.json", change("a.example", "/examples/0/params/0/value", json!("much too long"))),
        ("a.result.json", change("a.result", "/examples/0/result/value", json!([]))),
        ("a.access.json", change("a.access", "/x-access", json!("everybody"))),
        ("a.open.json", change("a.open", "/x-access", json!("open"))),
        ("a.chair.json", change("a.chair", "/x-access", json!("chair"))),
        ("a.error.json", change("a.error", "/errors", json!([{"$ref": "#/components/errors/Nowhere"}]))),
        ("a.param.json", change("a.param", "/x-iq/params", json!({"other": {"attr": "a", "type": "string"}}))),
        ("a.noIq.json", without_iq),
        ("a.twice.json", added("a.twice")),
        ("methods/a.twice.json", added("a.twice")),
        ("nameless.json", nameless),
        ("eim.open.json", added("eim.open")),
    ]);
    std::fs::write(dir.path().join("broken.json"), "{").expect("a file");
    let errors = Schema::load(Some(dir.path())).err().expect("wrong");
    let all = errors.join("\n");
    let expected = [
        ("a.path.json", "x-iq.params.to.attr"),
        ("a.both.json", "x-iq.params.to"),
        ("a.type.json", "params[0].schema: /type"),
        ("a.ref.json", "params[0].schema: #/components/schemas/Nowhere: no such schema"),
        ("a.regex.json", "params[0].schema"),
        ("a.remote.json", "params[0].schema"),
        ("a.example.json", "examples[0].params.to"),
        ("a.result.json", "examples[0].result"),
        ("a.access.json", "x-access"),
        ("a.open.json", "x-iq.as"),
        ("a.chair.json", "x-access: needs the required param confId"),
        ("a.error.json", "errors[0]: #/components/errors/Nowhere: no such error"),
        ("a.param.json", "x-iq.params.other: no such param"),
        ("a.noIq.json", "x-iq: is required"),
        ("a.twice.json", "is declared in"),
        ("nameless.json", "name"),
        ("eim.open.json", "x-access"),
        ("broken.json", "not JSON"),
    ];
    for (file, what) in expected {
        let found = errors.iter().any(|e| e.contains(file) && e.contains(what));
        assert!(found, "{file}: {what} is not told in\n{all}");
    }
    assert_eq!(errors.len(), expected.len(), "{all}");
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let errors = Schema::load(Some(Path::new("/nowhere/at/all"))).err().expect("wrong");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("/nowhere/at/all: cannot be read"), "{}", errors[0]);
}

#[test]
fn every_method_has_a_dialogue_and_every_dialogue_can_be_read() {
    let schema = built_in();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/dialogues");
    for method in schema.methods() {
        assert!(dir.join(format!("{}.dialogue", method.name)).is_file(), "{} has none", method.name);
    }
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a file");
        if !name.ends_with(".dialogue") {
            continue;
        }
        assert!(text.starts_with("// "), "{name} does not say why it is there");
        let marks: String =
            text.lines().filter_map(|line| line.get(..2)).filter(|m| matches!(*m, ">>" | "<<")).collect();
        assert_eq!(marks, ">><<".repeat(marks.len() / 4), "{name}: each request has one reply");
        for reply in text.lines().filter_map(|line| line.strip_prefix("<<")).filter(|reply| !reply.is_empty()) {
            assert!(serde_json::from_str::<Value>(reply).is_ok(), "{name}: {reply}");
        }
    }
}

#[test]
fn every_successful_request_of_a_dialogue_is_what_its_method_takes() {
    let schema = built_in();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/dialogues");
    for method in schema.methods() {
        let text = std::fs::read_to_string(dir.join(format!("{}.dialogue", method.name))).expect("a file");
        let steps: Vec<&str> = text.lines().filter(|l| l.starts_with(">>") || l.starts_with("<<")).collect();
        let mut called = false;
        for pair in steps.chunks(2).filter(|pair| pair[1].contains("\"result\"")) {
            // Captured values are texts of the form of an id.
            let plain: String = pair[0][2..]
                .split("${")
                .enumerate()
                .map(|(i, part)| match part.split_once('}') {
                    Some((_, rest)) if i > 0 => format!("captured{rest}"),
                    _ => part.to_owned(),
                })
                .collect();
            let request: Value = serde_json::from_str(&plain).expect("JSON");
            let name = request["method"].as_str().unwrap_or_default();
            let params = request["params"].as_object().cloned().unwrap_or_default();
            let known = schema.method(name).unwrap_or_else(|| panic!("{}: no such method: {name}", method.name));
            assert_eq!(known.validate_params(&params), Ok(()), "{}: {plain}", method.name);
            called |= name == method.name;
        }
        // Going on behind an event is for the event socket; a dialogue speaks HTTP.
        assert!(called || method.name == "events.resume", "{} is not called with success", method.name);
    }
}
