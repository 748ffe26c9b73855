//! Files of `events/`: what is refused of them, and in which words.

use serde_json::{Value, json};

use super::directory::directory;
use crate::event::NumberedBy;
use crate::schema::Schema;

/// A file of an integrator that is right.
fn poll() -> Value {
    json!({
        "name": "acme.poll", "summary": "A poll.",
        "x-event": {
            "over": ["amqp"], "body": "json", "keys": ["polls.{confId}"],
            "epoch": {"path": "/boot", "type": "string"}, "seq": {"path": "/n", "type": "integer"},
            "events": [{"type": {"const": "eim.poll"}, "data": {"question": {"path": "/q", "type": "string"}}}]
        },
        "examples": [{"key": "polls.1", "body": "{\"boot\":\"b\",\"n\":1}",
            "events": [{"confId": "1", "epoch": "b", "seq": 1, "time": 0, "type": "eim.poll", "actor": null, "data": {}}]}]
    })
}

/// That file under another name and key, changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> (String, Value) {
    let mut file = poll();
    file["name"] = name.into();
    file["x-event"]["keys"] = json!([format!("{name}.{{confId}}")]);
    change(&mut file);
    (format!("events/{name}.json"), file)
}

/// What is wrong with those files, one line each.
fn wrong(files: &[(String, Value)]) -> Vec<String> {
    let files: Vec<(&str, Value)> = files.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
    let dir = directory(&files);
    Schema::load(Some(dir.path())).err().unwrap_or_default()
}

#[track_caller]
fn assert_told(errors: &[String], expected: &[(&str, &str)]) {
    let all = errors.join("\n");
    for (file, what) in expected {
        let found = errors.iter().any(|e| e.contains(&format!("{file}.json: ")) && e.contains(what));
        assert!(found, "{file}: {what} is not told in\n{all}");
    }
    assert_eq!(errors.len(), expected.len(), "{all}");
}

#[test]
fn files_of_events_add_and_override_by_name_in_their_folder_or_beside_it() {
    let mut event = poll();
    event["name"] = "event".into();
    let dir = directory(&[("acme.poll.json", poll()), ("events/own-event.json", event)]);
    let schema = Schema::load(Some(dir.path()));
    assert_eq!(schema.err().map(|errors| errors.len()), Some(1), "both have the same keys");
    let dir = directory(&[("acme.poll.json", poll())]);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let names: Vec<&str> = schema.inbound().events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["acme.poll", "event"]);
}

#[test]
fn an_event_has_both_halves_of_its_number_or_none_where_the_gateway_numbers() {
    let errors = |removed: &[&str]| {
        let file = changed("a.event", |file| {
            removed.iter().for_each(|member| drop(file["x-event"].as_object_mut().expect("an object").remove(*member)));
        });
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("events")).expect("a folder");
        std::fs::write(dir.path().join("events/a.event.json"), file.1.to_string()).expect("a file");
        Schema::load_for(Some(dir.path()), NumberedBy::Gateway).err().unwrap_or_default()
    };
    assert_eq!((errors(&[]), errors(&["epoch", "seq"])), (vec![], vec![]));
    assert!(errors(&["seq"]).concat().contains("x-event.seq: is required beside its other half"));
    assert!(errors(&["epoch"]).concat().contains("x-event.epoch: is required beside its other half"));
}

#[test]
fn everything_wrong_with_files_of_events_is_told_at_once() {
    let x = |name: &str, member: &'static str, value: Value| changed(name, |file| file["x-event"][member] = value);
    let event = |name: &str, member: &'static str, value: Value| {
        changed(name, |file| file["x-event"]["events"][0][member] = value)
    };
    let without = |name: &str, member: &'static str| {
        changed(name, |file| drop(file["x-event"].as_object_mut().expect("an object").remove(member)))
    };
    let files = [
        x("a.over", "over", json!([])),
        x("a.unknown", "confID", json!({"const": "1"})),
        x("a.key", "keys", json!(["a.key.#.x"])),
        x("a.keys", "over", json!(["amqp", "xmpp"])),
        x("a.element", "element", json!("event")),
        x("a.from", "from", json!(["ips3000"])),
        x("a.both", "seq", json!({"path": "/n", "const": 1})),
        x("a.pointer", "seq", json!({"path": "n", "type": "integer"})),
        x("a.form", "seq", json!({"path": "/n", "type": "string"})),
        x("a.each", "each", json!("changes")),
        x("a.where", "keys", json!(["a.where"])),
        without("a.seq", "seq"),
        without("a.epoch", "epoch"),
        without("a.events", "events"),
        changed("a.nothing", |file| file["x-event"] = json!({"over": ["amqp"], "body": "xml", "keys": ["a.nothing"]})),
        changed("a.rules", |file| file["x-event"]["body"] = "event".into()),
        event("a.type", "type", json!({"const": "member.changed"})),
        event("a.claim", "type", json!({"const": "degraded"})),
        event("a.star", "type", json!({"path": "/k", "map": {"*": "member.left"}})),
        event("a.mixed", "type", json!({"path": "/k", "map": {"x": "eim.x", "*": "eim.*"}})),
        event("a.text", "type", json!({"path": "/k", "type": "string"})),
        event("a.member", "data", json!({"$": {"path": "", "type": "json"}, "x": {"const": 1}})),
        changed("a.claims", |file| {
            file["x-event"]["events"][0] = json!({"type": {"const": "member.left"}, "data": {
                "userID": {"path": "/u", "type": "user"},
                "reason": {"path": "/r", "map": {"gone": "vanished"}},
            }});
        }),
        changed("a.forms", |file| {
            file["x-event"]["events"][0] = json!({"type": {"const": "message"}, "data": {
                "messageId": {"const": "not an id"}, "userId": {"path": "/u", "type": "boolean"},
                "text": {"path": "/t", "type": "string", "default": 7}, "time": {"path": "/at", "type": "dateTime"},
            }});
        }),
        changed("a.call", |file| {
            file["x-event"]["events"][0] = json!({"type": {"const": "call.ended"}, "data": {
                "callId": {"path": "/c", "type": "string"}, "confId": {"key": "confId", "type": "string"},
                "from": {"path": "/f", "type": "user"}, "to": {"path": "/t", "type": "user", "list": true},
                "mode": {"const": "p2p"},
            }});
        }),
        event("a.keyless", "type", json!({"key": "type", "map": {"x": "eim.x"}})),
        changed("a.user", |file| {
            file["x-event"]["keys"] = json!(["a.user.{userId}.{type}"]);
            file["x-event"]["confId"] = json!({"path": "/c", "type": "string"});
            file["x-event"]["events"][0]["type"] = json!({"key": "type", "map": {"x": "eim.x"}});
        }),
        changed("a.examples", |file| file["examples"] = json!([])),
        changed("a.kind", |file| file["x-reason"] = json!({"ns": "urn:x"})),
    ];
    let name = |name: &'static str, what: &'static str| (name, what);
    assert_told(
        &wrong(&files),
        &[
            name("a.over", "x-event.over"),
            name("a.unknown", "x-event"),
            name("a.key", "x-event.keys[0]: {type} and # stand at the end"),
            name("a.keys", "x-event.element: is required"),
            name("a.element", "x-event.element: `ns` and `element` go together"),
            name("a.from", "x-event.from: is of xmpp"),
            name("a.both", "x-event.seq: exactly one of `path`, `key` and `const`"),
            name("a.pointer", "x-event.seq: not a JSON pointer: n"),
            name("a.form", "x-event.seq: the rule gives string"),
            name("a.each", "x-event.each: not a JSON pointer: changes"),
            name("a.where", "x-event.confId: is required"),
            name("a.seq", "x-event.seq: is required: the EIM numbers"),
            name("a.epoch", "x-event.epoch: is required: the EIM numbers"),
            name("a.events", "x-event.events: is required"),
            name("a.nothing", "x-event.events: is required"),
            name("a.rules", "x-event.epoch: a body of the vocabulary"),
            name("a.rules", "x-event.seq: a body of the vocabulary"),
            name("a.rules", "x-event.events: a body of the vocabulary"),
            name("a.type", "x-event.events[0].type.const: member.changed is no type of the vocabulary"),
            name("a.claim", "x-event.events[0].type.const: degraded is no type"),
            name("a.star", "x-event.events[0].type.map: * stands alone"),
            name("a.mixed", "x-event.events[0].type.map: * stands alone"),
            name("a.text", "x-event.events[0].type: is a `const`, or has a `map`"),
            name("a.member", "x-event.events[0].data.$: is the whole"),
            name("a.claims", "x-event.events[0].data.userId: is required of member.left"),
            name("a.claims", "x-event.events[0].data.userID: member.left has no such member"),
            name("a.claims", "x-event.events[0].data.reason.map: \"vanished\" is none of its values"),
            name("a.forms", "x-event.events[0].data.messageId: \"not an id\" is none of its values"),
            name("a.forms", "x-event.events[0].data.userId: the rule gives boolean"),
            name("a.forms", "x-event.events[0].data.text: 7 is none of its values"),
            name("a.call", "x-event.to: is required: a call's event is for a user"),
            name("a.keyless", "x-event.events: their type stands in the key: each key needs {type}"),
            name("a.user", "x-event.events: their type stands in the key, where nobody knows"),
            name("a.examples", "examples"),
            name("a.kind", "more than one of the schemas"),
        ],
    );
}

#[test]
fn files_that_take_the_same_message_are_refused_with_both_names() {
    let with_key = |name: &str, key: &str| changed(name, |file| file["x-event"]["keys"] = json!([key]));
    let overlapping = wrong(&[with_key("a", "x.{confId}.#"), with_key("b", "x.{confId}.y")]);
    assert_told(&overlapping, &[("b", "x-event: overlaps")]);
    assert!(
        overlapping[0].contains("a.json: the key x.{confId}.# over amqp, which x.{confId}.y takes too"),
        "{overlapping:?}"
    );
    assert_told(&wrong(&[with_key("a", "conf.{confId}.poll")]), &[("event", "x-event: overlaps")]);

    let by = |name: &str, rules: Value| {
        changed(name, |file| {
            file["x-event"]["keys"] = json!(["x.{confId}"]);
            file["x-event"].as_object_mut().expect("an object").extend(rules.as_object().expect("an object").clone());
        })
    };
    let of_type =
        |name: &str, map: Value| by(name, json!({"events": [{"type": {"path": "/k", "map": map}, "data": {}}]}));
    let apart = [
        [of_type("a", json!({"x": "eim.x"})), of_type("b", json!({"y": "eim.y"}))],
        [of_type("a", json!({"x": "eim.x"})), of_type("b", json!({"*": "eim.*"}))],
        [of_type("a", json!({"x": "eim.x"})), by("b", json!({"match": {"/k": ["z", "y"]}}))],
        [by("a", json!({"match": {"/k": false}})), by("b", json!({"match": {"/k": true}}))],
    ];
    for files in apart {
        assert_eq!(wrong(&files), Vec::<String>::new());
    }
    let together = [
        [of_type("a", json!({"x": "eim.x", "y": "eim.x"})), of_type("b", json!({"y": "eim.y"}))],
        [of_type("a", json!({"*": "eim.*"})), of_type("b", json!({"*": "eim.*"}))],
        [by("a", json!({"match": {"/k": true}})), by("b", json!({"match": {"/k": ["x"]}}))],
        [by("a", json!({"match": {"/k": ["x"]}})), by("b", json!({"match": {"/l": ["x"]}}))],
    ];
    for files in together {
        assert_told(&wrong(&files), &[("b", "x-event: overlaps")]);
    }
}

#[test]
fn stanzas_are_told_apart_by_element_sender_or_content() {
    let stanza = |name: &str, element: &str, from: Value| {
        changed(name, |file| {
            file["x-event"] = json!({"over": ["xmpp"], "body": "xml", "ns": "urn:acme", "element": element, "from": from,
                "confId": {"path": "@c", "type": "string"}, "epoch": {"path": "@e", "type": "string"},
                "seq": {"path": "@n", "type": "integer"},
                "events": [{"type": {"const": "eim.x"}, "data": {}}]});
        })
    };
    let here = json!(["a.{domain}"]);
    assert_eq!(wrong(&[stanza("a", "x", here.clone()), stanza("b", "y", here.clone())]), Vec::<String>::new());
    assert_eq!(wrong(&[stanza("a", "x", here.clone()), stanza("b", "x", json!(["b.{domain}"]))]), Vec::<String>::new());
    assert_told(
        &wrong(&[stanza("a", "x", here.clone()), stanza("b", "x", here)]),
        &[("b", "<x xmlns='urn:acme'> over xmpp")],
    );
}

#[test]
fn files_that_take_nothing_or_everything_are_refused() {
    let keys = |name: &str, key: &str| changed(name, |file| file["x-event"]["keys"] = json!([key]));
    let everything = [("a", "x-event.keys: takes every message"), ("event", "x-event: overlaps")];
    assert_told(&wrong(&[keys("a", "{confId}.#")]), &everything);
    let nothing = changed("a", |file| {
        file["x-event"]["match"] = json!({"/k": ["y"]});
        file["x-event"]["events"][0]["type"] = json!({"path": "/k", "map": {"x": "eim.x"}});
    });
    assert_told(&wrong(&[nothing]), &[("a", "x-event.events[0]: takes nothing")]);
    let nothing = changed("a", |file| {
        file["x-event"]["events"][0]["match"] = json!({"/k": false});
        file["x-event"]["events"][0]["type"] = json!({"path": "/k", "map": {"x": "eim.x"}});
    });
    assert_told(&wrong(&[nothing]), &[("a", "x-event.events[0]: takes nothing")]);
    let twice = changed("a", |file| {
        let first = file["x-event"]["events"][0].clone();
        file["x-event"]["events"].as_array_mut().expect("a list").push(first);
    });
    assert_told(&wrong(&[twice]), &[("a", "x-event.events[1]: overlaps events[0]")]);
}

#[test]
fn files_of_events_have_a_bound_in_number_and_size() {
    let many: Vec<_> = (0..65).map(|i| changed(&format!("a{i}"), |_| {})).collect();
    let errors = wrong(&many);
    assert_eq!(errors, ["events: 66 files have an x-event; at most 64 may"]);
    let long = changed("a", |file| {
        let alternatives =
            (0..33).map(|i| json!({"type": {"path": "/k", "map": {format!("{i}"): "eim.x"}}, "data": {}}));
        file["x-event"]["events"] = alternatives.collect();
    });
    assert_told(&wrong(&[long]), &[("a", "x-event.events")]);
}

#[test]
fn there_is_one_file_of_reasons_and_one_of_web_addresses() {
    let reason = |name: &str| {
        json!({"name": name, "summary": "s", "x-reason": {"ns": "urn:acme:errors", "map": {"full": "conference.full"}},
            "examples": [{"stanza": "<iq/>", "reason": null}]})
    };
    let files = [("events/a.json".to_owned(), reason("a"))];
    assert_told(&wrong(&files), &[("a", "name: a is no x-reason; there is reason only")]);
    let files = [("events/reason.json".to_owned(), reason("reason"))];
    assert_eq!(wrong(&files), Vec::<String>::new());
    let event = changed("reason", |_| {});
    assert_told(&wrong(&[event]), &[("reason", "name: reason is no x-event")]);
    let request = |params: Value| {
        vec![(
            "events/getWebAddress.json".to_owned(),
            json!({"name": "getWebAddress", "summary": "s", "x-request": {
            "ns": "urn:acme", "element": "link", "params": params, "result": {"url": {"attr": "href", "type": "string"}}},
            "examples": [{"stanza": "<iq/>"}]}),
        )]
    };
    assert_told(
        &wrong(&request(json!({"role": {"path": "@r", "map": {"o": "owner"}}, "x": {"path": "@x", "type": "string"}}))),
        &[
            ("getWebAddress", "x-request.params.confId: is required"),
            ("getWebAddress", "x-request.params.role: \"owner\" is no role"),
            ("getWebAddress", "x-request.params.x: no such param"),
        ],
    );
}

#[test]
fn an_own_type_that_is_described_is_in_the_document_of_the_event_socket() {
    let described = changed("a", |file| {
        file["x-event"]["types"] = json!({"eim.poll": {"summary": "A poll.", "schema": {"type": "object",
            "properties": {"question": {"type": "string"}, "by": {"$ref": "#/components/schemas/UserId"}}}}});
    });
    let dir = directory(&[(described.0.as_str(), described.1)]);
    let schema = Schema::load(Some(dir.path())).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let shapes = &schema.asyncapi()["components"]["schemas"];
    let event = &shapes["EimPollEvent"];
    assert_eq!(
        (&event["description"], &event["properties"]["type"]["enum"]),
        (&json!("A poll."), &json!(["eim.poll"]))
    );
    assert_eq!(event["properties"]["data"]["properties"]["by"]["$ref"], "#/components/schemas/UserId");
    assert_eq!(
        shapes["EimEvent"]["properties"]["type"]["not"],
        json!({"enum": ["eim.poll"]}),
        "one shape for each event"
    );
    let all = shapes["ConferenceEvent"]["oneOf"].as_array().expect("a list");
    assert!(all.contains(&json!({"$ref": "#/components/schemas/EimPollEvent"})), "{all:?}");
}

#[test]
fn descriptions_of_own_types_are_of_types_that_the_file_has_and_stand_once() {
    let types = |name: &str, types: Value| changed(name, |file| file["x-event"]["types"] = types);
    let of = |schema: Value| json!({"eim.poll": {"summary": "s", "schema": schema}});
    assert_told(
        &wrong(&[types("a", json!({"eim.other": {"summary": "s", "schema": {}}}))]),
        &[("a", "x-event.types.eim.other: none of the file's events is of that type")],
    );
    assert_told(&wrong(&[types("a", json!({"poll": {"summary": "s", "schema": {}}}))]), &[("a", "x-event.types")]);
    assert_told(&wrong(&[types("a", of(json!({"type": "strnig"})))]), &[("a", "x-event.types.eim.poll.schema: ")]);
    let twice = [types("a", of(json!({}))), types("b", of(json!({})))];
    assert_told(&wrong(&twice), &[("b", "x-event.types.eim.poll: ")]);
}
