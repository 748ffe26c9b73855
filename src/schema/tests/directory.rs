//! Files of an integrator over the built-in ones.

use std::path::Path;

use serde_json::{Value, json};

use super::paths;
use crate::schema::Schema;

/// A schema directory with these files.
pub(super) fn directory(files: &[(&str, Value)]) -> tempfile::TempDir {
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
fn files_of_the_integrator_override_and_add_by_name() {
    let mut create = added("conference.create");
    create["x-access"] = json!("scope:conference.create");
    let mut find = added("eim.conference.find");
    find.as_object_mut().expect("an object").remove("x-access");
    let mut flat = added("org.hello.say");
    flat["params"][0]["schema"] = json!({"$ref": "#/components/schemas/Greeting"});
    let greeting = json!({"type": "string", "maxLength": 3});
    let servers = json!([{"name": "ours", "url": "https://ours.example/rpc"}]);
    let openrpc = json!({"components": {"schemas": {"Greeting": greeting}}, "servers": servers});
    let dir = directory(&[
        ("methods/conference.create.json", create),
        ("eim/any-name.json", find),
        ("org.hello.say.json", flat),
        ("openrpc.json", openrpc),
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
    assert_eq!(schema.openrpc()["components"]["schemas"]["Greeting"]["title"], "Greeting");
    assert!(schema.openrpc()["components"]["schemas"].get("Member").is_some());
    assert_eq!(schema.served_at("https://h.example/gz").openrpc()["servers"], servers, "theirs stay");
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

/// What the EIM is asked for that method, by the files over the built-in ones.
#[track_caller]
fn asked(files: &[(&str, Value)], method: &str) -> (String, String, bool) {
    let dir = directory(files);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let method = schema.method(method).or_else(|| schema.internal(method)).expect("it is built in");
    let x_iq = method.x_iq.as_ref().expect("the EIM answers it");
    (x_iq.address("d"), x_iq.ns.clone(), x_iq.wrapper.is_some())
}

#[test]
fn a_dialect_names_other_addresses_and_namespaces_for_all_built_in_files() {
    let dialect =
        json!({"ns": {"je:x:client:conference": "urn:acme"}, "to": {"jeconference.{domain}": "acme.{domain}"}});
    let acme = || ("acme.d".to_owned(), "urn:acme".to_owned(), true);
    assert_eq!(asked(&[("dialect.json", dialect.clone())], "conference.get"), acme());
    assert_eq!(asked(&[("dialect.json", dialect.clone())], "eim.snapshot"), acme());
    let contacts = asked(&[("dialect.json", dialect.clone())], "org.contacts.users");
    assert_eq!(contacts, ("jecontacts.d".to_owned(), "je:x:client:contacts".to_owned(), true));
    let without = asked(&[("dialect.json", json!({"wrapper": null}))], "conference.get");
    assert!(!without.2);
    // A file of their own says all of it itself.
    let mut get = added("conference.get");
    get["x-iq"]["ns"] = "je:x:client:conference".into();
    let own = asked(&[("dialect.json", dialect), ("methods/conference.get.json", get)], "conference.get");
    assert_eq!(own, ("hello.d".to_owned(), "je:x:client:conference".to_owned(), false));
}

#[test]
fn a_patch_changes_a_part_of_a_built_in_file() {
    let dialect = json!({"to": {"jeconference.{domain}": "acme.{domain}"}});
    let patch = json!({"name": "conference.get", "x-iq": {"ns": "urn:acme", "wrapper": null}});
    let files = [("dialect.json", dialect), ("methods/conference.get.patch.json", patch)];
    assert_eq!(asked(&files, "conference.get"), ("acme.d".to_owned(), "urn:acme".to_owned(), false));
    let dir = directory(&files);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let built_in = Schema::load(None).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let params = |schema: &Schema| paths(schema, "conference.get", json!({"confId": 7}));
    assert_eq!(params(&schema), params(&built_in), "what the patch doesn't name is as it was");
    let reason = json!({"name": "reason", "x-reason": {"map": {"full": "conference.full"}}});
    let dir = directory(&[("events/reason.patch.json", reason)]);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    assert_eq!(schema.inbound().reason.ns, built_in.inbound().reason.ns);
}

#[test]
fn a_dialect_or_a_patch_that_changes_nothing_is_told() {
    let told = |files: &[(&str, Value)]| {
        let dir = directory(files);
        let errors = Schema::load(Some(dir.path())).err().unwrap_or_default();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.concat()
    };
    let why = told(&[("dialect.json", json!({"ns": {"je:x:client:confrence": "urn:acme"}}))]);
    assert!(why.contains("dialect.json: ns.je:x:client:confrence: no built-in file has it"), "{why}");
    let why = told(&[("dialect.json", json!({"namespaces": {}}))]);
    assert!(why.contains("dialect.json: unknown field `namespaces`"), "{why}");
    let why = told(&[("methods/a.b.patch.json", json!({"name": "a.b", "summary": "s"}))]);
    assert!(why.contains("a.b.patch.json: name: a.b is no built-in file's"), "{why}");
    let mut whole = added("conference.get");
    whole["x-access"] = "token".into();
    let both =
        [("methods/conference.get.json", whole), ("conference.get.patch.json", json!({"name": "conference.get"}))];
    let why = told(&both);
    assert!(why.contains("conference.get is declared in"), "{why}");
}
