//! Messages by the built-in file, and by files of other EIMs.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::eim::events::Inbound;
use crate::event::Change;
use crate::xmpp::xml::Element;

const DOMAIN: &str = "ips3000";
const LEFT: &str = r#"{"epoch":"e","seq":7,"confId":"11234","type":"member.left","time":1,"actor":null,"data":{"userId":"u1","reason":"timeout"}}"#;
const CALL: &str = r#"{"confId":"c1","time":1,"type":"call.ended","actor":null,"data":{"callId":"k1","confId":"c1","from":"u1","to":["u2"],"mode":"p2p"}}"#;

fn built_in() -> InboundSchema {
    of_directory(None)
}

fn of_directory(dir: Option<&Path>) -> InboundSchema {
    numbered_by(NumberedBy::Eim, dir)
}

fn numbered_by(numbered: NumberedBy, dir: Option<&Path>) -> InboundSchema {
    let schema = Schema::load_for(dir, numbered).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    check_examples(&schema).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    InboundSchema::new(&schema, DOMAIN)
}

fn with_files(files: &[Value]) -> InboundSchema {
    with_files_of(NumberedBy::Eim, files)
}

fn with_files_of(numbered: NumberedBy, files: &[Value]) -> InboundSchema {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("events")).expect("a folder");
    for file in files {
        let name = format!("events/{}.json", file["name"].as_str().expect("a name"));
        std::fs::write(dir.path().join(name), file.to_string()).expect("a file");
    }
    numbered_by(numbered, Some(dir.path()))
}

fn delivered(inbound: &InboundSchema, key: &str, body: &str) -> Outcome {
    inbound.read(Message::Amqp { key, body: body.as_bytes() }, 9)
}

fn sent(inbound: &InboundSchema, text: &str) -> Outcome {
    inbound.read(Message::Xmpp(&Stanza::parse(text).expect("a stanza")), 9)
}

fn headline(from: &str, to: &str, kind: &str, body: &str) -> String {
    let event = Element::new("event", "je:x:client:event").with_text(body);
    Stanza::new("message").with("type", kind).with("from", from).with("to", to).with_child(event).to_xml()
}

#[track_caller]
fn only(outcome: Outcome) -> InboundEvent {
    match outcome {
        Outcome::Events(mut events) if events.len() == 1 => events.remove(0),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn of_conference(outcome: Outcome) -> (Option<String>, ConferenceEvent) {
    match only(outcome) {
        InboundEvent::Conference { to, event } => (to.map(|to| to.to_string()), event),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Bad(why) => why.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_built_in_files_examples_come_out_as_they_say() {
    check_examples(&Schema::load(None).expect("the built-in schema is right")).expect("its examples");
}

#[test]
fn a_headline_is_an_event_of_a_conference_or_of_a_call() {
    let inbound = built_in();
    let (to, event) =
        of_conference(sent(&inbound, &headline(DOMAIN, "u1%ips3000@webconf.ips3000/uc", "headline", LEFT)));
    assert_eq!((to.as_deref(), event.numbered().map(|event| event.seq)), (Some("u1"), Some(7)));
    assert_eq!(of_conference(sent(&inbound, &headline(DOMAIN, "webconf.ips3000", "headline", LEFT))).0, None);
    let call = only(sent(&inbound, &headline(DOMAIN, "u1@ips3000", "headline", CALL)));
    assert!(matches!(call, InboundEvent::Call { to, event } if to.as_str() == "u1" && event.is_last()));
    assert!(why(sent(&inbound, &headline(DOMAIN, "webconf.ips3000", "headline", CALL))).contains("for a user"));
}

#[test]
fn events_are_believed_from_the_eim_only() {
    let inbound = built_in();
    for from in ["jeconference.ips3000", "ips3000", "JeConference.IPS3000/x"] {
        assert!(
            matches!(sent(&inbound, &headline(from, "u1@ips3000", "headline", LEFT)), Outcome::Events(_)),
            "{from}"
        );
    }
    for from in ["u1@ips3000/x", "jeconference.evil", "rooms.ips3000", "u1%ips3000@webconf.ips3000"] {
        assert_eq!(sent(&inbound, &headline(from, "u1@ips3000", "headline", LEFT)), Outcome::NotOurs, "{from}");
    }
    assert_eq!(sent(&inbound, &headline(DOMAIN, "u1@ips3000", "error", LEFT)), Outcome::NotOurs);
    for other in [
        "<message to='u1@ips3000'><event xmlns='je:x:client:event'>{}</event></message>",
        "<message from='ips3000'><event xmlns='urn:other'>{}</event></message>",
        "<message from='ips3000'><body>hello</body></message>",
        "<message from='ips3000'/>",
    ] {
        assert_eq!(sent(&inbound, other), Outcome::NotOurs, "{other}");
    }
}

#[test]
fn a_delivery_is_taken_under_its_own_key_only() {
    let inbound = built_in();
    assert_eq!(of_conference(delivered(&inbound, "conf.11234.member.left", LEFT)).0, None);
    assert_eq!(of_conference(delivered(&inbound, "user.anna.b.member.left", LEFT)).0.as_deref(), Some("anna.b"));
    for key in [
        "conf.11235.member.left",
        "conf.11234.member.joined",
        "conf.11234",
        "11234.member.left",
        "user.member.left",
        "user.ANNA.member.left",
        "",
    ] {
        why(delivered(&inbound, key, LEFT));
    }
    let call = only(delivered(&inbound, "user.u2.call.ended", CALL));
    assert!(matches!(call, InboundEvent::Call { to, .. } if to.as_str() == "u2"));
    assert!(why(delivered(&inbound, "conf.c1.call.ended", CALL)).contains("for a user"));
}

#[test]
fn an_unreadable_body_says_why_and_repeats_nothing() {
    let inbound = built_in();
    let large = format!("{LEFT}{}", " ".repeat(BODY_MAX));
    let changed = |from: &str, to: &str| LEFT.replace(from, to);
    let deep = format!("{}1{}", "[".repeat(33), "]".repeat(33));
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"type":"member.left"}"#.to_owned(),
        "\u{FEFF}{}".to_owned(),
        large,
        changed("\"seq\":7", "\"seq\":0"),
        changed("\"seq\":7", "\"seq\":9007199254740992"),
        changed("\"seq\":7", "\"seq\":-7"),
        changed("\"seq\":7", "\"seq\":\"7\""),
        changed("\"seq\":7,", ""),
        changed("\"epoch\":\"e\",", ""),
        changed("\"e\"", "\"\""),
        changed("\"e\"", &format!("\"{}\"", "secret".repeat(11))),
        changed("\"time\":1", "\"time\":1e30"),
        changed("\"time\":1", "\"time\":253402300800000"),
        changed("11234", "1 1234"),
        changed("\"actor\":null", "\"actor\":\"SECRET\""),
        changed("\"timeout\"", "\"secret\""),
        changed("{\"userId\":\"u1\",\"reason\":\"timeout\"}", "\"secret\""),
        changed(",\"data\":{\"userId\":\"u1\",\"reason\":\"timeout\"}", ""),
        changed("\"time\":1", "\"time\":1,\"time\":1"),
        changed("member.left", "message"),
        changed("member.left", "secret type"),
        changed("member.left", "x").replace("{\"userId\":\"u1\",\"reason\":\"timeout\"}", &deep),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    ];
    for body in bodies {
        let kind = if body.contains("\"x\"") { "x" } else { "member.left" };
        let why = why(delivered(&inbound, &format!("conf.11234.{kind}"), &body));
        assert!(!why.to_lowercase().contains("secret"), "{why}: {body:.80}");
    }
    assert!(why(inbound.read(Message::Amqp { key: "conf.11234.x", body: b"\"\xff\"" }, 0)).contains("not JSON"));
}

#[test]
fn an_event_without_a_number_has_none() {
    let unnumbered = LEFT.replace("\"epoch\":\"e\",\"seq\":7,", "");
    let event = of_conference(delivered(&built_in(), "conf.11234.member.left", &unnumbered)).1;
    assert_eq!((event.numbering.clone(), event.numbered()), (None, None));
}

#[test]
fn a_type_of_the_eims_own_is_passed_on_at_its_number() {
    let inbound = built_in();
    for (kind, key) in [("poll.opened", "conf.11234.poll.opened"), ("eim.poll.opened", "conf.11234.eim.poll.opened")] {
        let body = LEFT.replace("member.left", kind);
        let event = of_conference(delivered(&inbound, key, &body)).1.numbered().expect("it has a number");
        let Change::Custom(custom) = &event.change else { panic!("{event:?}") };
        assert_eq!((custom.name(), &custom.data), ("eim.poll.opened", &json!({"userId": "u1", "reason": "timeout"})));
        let told = serde_json::to_value(&event).expect("JSON");
        assert_eq!(told["type"], "eim.poll.opened");
        assert_eq!(serde_json::from_value::<crate::event::Event>(told).expect("an event"), event);
    }
    let without_data = r#"{"epoch":"e","seq":7,"confId":"11234","type":"x","time":1}"#;
    let event = of_conference(delivered(&inbound, "conf.11234.x", without_data)).1;
    assert_eq!(event.change.data(), Value::Null);
    assert!(
        why(delivered(&inbound, "conf.11234.x y", &LEFT.replace("member.left", "x y"))).contains("not of its type")
    );
}

#[test]
fn another_conferences_data_are_refused() {
    let conference = json!({"confId": "other", "confName": "n", "state": 0, "startAt": null, "chair": "u1",
        "locked": false, "lobby": false, "mutePolicy": "free", "mainVideo": null});
    let body = json!({"epoch": "e", "seq": 7, "confId": "11234", "type": "conference.updated", "time": 1,
        "actor": null, "data": conference});
    assert_eq!(
        why(delivered(&built_in(), "conf.11234.conference.updated", &body.to_string())),
        "data.confId: another conference's"
    );
}

/// Members of a room of a foreign EIM: one XML document, with several changes in it.
fn foreign_members() -> Value {
    let member = json!({
        "userId": {"path": "@jid", "type": "user"},
        "name": {"path": "nick", "type": "name", "default": "?"},
        "role": {"path": "@affiliation", "map": {"owner": "chair", "outcast": "guest", "*": "member"}},
        "state": {"const": "joined"},
        "audio": {"path": "@mic", "map": {"1": "on", "0": "off"}, "default": "off"},
        "video": {"const": "off"},
        "hand": {"path": "@hand", "type": "boolean", "default": false},
        "joinedAt": {"path": "@since", "type": "dateTime"}
    });
    json!({
        "name": "acme.members", "summary": "Who comes, goes and changes.",
        "x-event": {
            "over": ["xmpp", "amqp"], "body": "xml", "ns": "urn:acme:room", "element": "occupants",
            "from": ["rooms.{domain}"], "keys": ["rooms.{confId}.occupants"],
            "match": {"@version": ["2"]},
            "each": "change",
            "confId": {"path": "@room", "root": true, "type": "string"},
            "epoch": {"path": "@boot", "root": true, "type": "string"},
            "seq": {"path": "@n", "type": "integer"},
            "time": {"path": "@at", "type": "seconds"},
            "actor": {"path": "@by", "type": "user"},
            "events": [
                {"type": {"path": "@kind", "map": {"enter": "member.joined", "change": "member.updated"}}, "data": member},
                {"type": {"path": "@kind", "map": {"exit": "member.left"}}, "data": {
                    "userId": {"path": "@jid", "type": "user"},
                    "reason": {"path": "@why", "map": {"thrown-out": "kicked", "*": "left"}, "default": "left"}}},
                {"type": {"path": "@kind", "map": {"*": "eim.*"}}, "data": {"$": {"path": ".", "type": "xml"}}}
            ]
        },
        "examples": [
            {"key": "rooms.r1.occupants",
             "body": "<?xml version='1.0'?><occupants xmlns='urn:acme:room' room='r1' boot='b1' version='2'><change n='4' kind='exit' at='5' jid='u1@ips3000'/></occupants>",
             "events": [{"confId": "r1", "epoch": "b1", "seq": 4, "time": 5000, "type": "member.left", "actor": null, "data": {"userId": "u1", "reason": "left"}}]},
            {"stanza": "<message from='rooms.ips3000' to='u9@ips3000'><occupants xmlns='urn:acme:room' room='r1' boot='b1' version='2'/></message>",
             "events": []}
        ]
    })
}

fn occupants(inner: &str) -> String {
    format!("<occupants xmlns='urn:acme:room' room='r1' boot='b1' version='2'>{inner}</occupants>")
}

const ENTER: &str = "<change n='5' kind='enter' at='7.5' by='U2@ips3000/x' jid='u1@ips3000/phone' affiliation='owner' mic='1' \
    since='2019-05-07T10:55:09Z'><nick> Anna\u{202E} </nick></change>";

#[test]
fn a_foreign_document_with_several_changes_becomes_as_many_events() {
    let inbound = with_files(&[foreign_members()]);
    let body = occupants(&format!(
        "{ENTER}<change n='6' kind='exit' at='8' jid='u1' why='thrown-out'/><change n='7' kind='bell' at='9'/>"
    ));
    let Outcome::Events(events) = delivered(&inbound, "rooms.r1.occupants", &body) else { panic!("no events") };
    let told: Vec<Value> = events
        .into_iter()
        .map(|event| match event {
            InboundEvent::Conference { event, .. } => json!(event.numbered().expect("it has a number")),
            InboundEvent::Call { event, .. } => panic!("{event:?}"),
        })
        .collect();
    let bell = "<change xmlns=\"urn:acme:room\" n=\"7\" kind=\"bell\" at=\"9\"/>";
    assert_eq!(
        json!(told),
        json!([
            {"epoch": "b1", "seq": 5, "confId": "r1", "time": 7500, "type": "member.joined", "actor": "u2", "data": {
                "userId": "u1", "name": "Anna", "role": "chair", "state": "joined", "audio": "on", "video": "off",
                "hand": false, "joinedAt": 1_557_226_509_000_u64}},
            {"epoch": "b1", "seq": 6, "confId": "r1", "time": 8000, "type": "member.left", "actor": null,
                "data": {"userId": "u1", "reason": "kicked"}},
            {"epoch": "b1", "seq": 7, "confId": "r1", "time": 9000, "type": "eim.bell", "actor": null, "data": bell}
        ])
    );
}

#[test]
fn a_foreign_document_is_taken_from_its_own_sender_and_as_its_own_element_only() {
    let inbound = with_files(&[foreign_members()]);
    let message = |from: &str, body: &str| format!("<message from='{from}' to='u9@ips3000'>{body}</message>");
    let (to, _) = of_conference(sent(&inbound, &message("rooms.ips3000/x", &occupants(ENTER))));
    assert_eq!(to.as_deref(), Some("u9"));
    for from in ["ips3000", "jeconference.ips3000", "rooms.evil", "u1@rooms.ips3000"] {
        assert_eq!(sent(&inbound, &message(from, &occupants(ENTER))), Outcome::NotOurs, "{from}");
    }
    let key = "rooms.r1.occupants";
    for other in [
        occupants(ENTER).replace("version='2'", "version='1'"),
        occupants(ENTER).replace(" version='2'", ""),
        occupants(ENTER).replace("occupants", "subject"),
        occupants(ENTER).replace("urn:acme:room", "urn:acme:rooms"),
    ] {
        assert_eq!(delivered(&inbound, key, &other), Outcome::NotOurs, "{other}");
    }
    assert!(why(delivered(&inbound, key, "{}")).contains("neither JSON nor XML that"));
    assert!(why(delivered(&inbound, "rooms.r1", &occupants(ENTER))).contains("no file has this routing key"));
    assert!(why(delivered(&inbound, "conf.r1.member.joined", &occupants(ENTER))).contains("neither JSON nor XML that"));
}

#[test]
fn a_foreign_document_is_read_whole_or_not_at_all() {
    let inbound = with_files(&[foreign_members()]);
    let bad = |from: &str, to: &str, what: &str| {
        let body = occupants(&format!("<change n='4' kind='exit' at='5' jid='u1'/>{}", ENTER.replace(from, to)));
        let why = why(delivered(&inbound, "rooms.r1.occupants", &body));
        assert!(why.starts_with(what), "{why}");
    };
    bad("u1@ips3000", "u1@elsewhere", "event 1: data: userId: not a user of the EIM's");
    bad("U2@ips3000/x", "secret@elsewhere", "event 1: actor: not a user of the EIM's");
    bad("mic='1'", "mic='loud'", "event 1: data: audio: not in the map");
    bad("affiliation='owner'", "", "event 1: data: missing field `role`");
    bad("n='5'", "n='five'", "event 1: seq: not an integer");
    bad("n='5'", "n='-5'", "event 1: seq: not a number");
    bad("n='5'", "", "event 1: seq: absent");
    bad("at='7.5'", "", "event 1: time: not a time");
    bad("at='7.5'", "at='999999999999999'", "event 1: time: not seconds");
    bad("since='2019-05-07T10:55:09Z'", "since='yesterday'", "event 1: data: joinedAt: not a date");
    bad("enter", "two words", "type: no name");
    let key = "rooms.r1.occupants";
    let whole = |body: &str| why(delivered(&inbound, key, body));
    assert!(whole(&occupants(ENTER).replace("r1", "r2")).contains("another conference"));
    assert!(whole(&occupants(ENTER).replace("boot='b1'", &format!("boot='{}'", "b".repeat(65)))).contains("epoch"));
    assert_eq!(whole(&occupants(&ENTER.repeat(257))), "more than 256 events");
    assert!(whole("<occupants xmlns='urn:acme:room'").contains("ill-formed"));
    assert!(whole("<!DOCTYPE x><occupants xmlns='urn:acme:room'/>").contains("document type"));
    assert!(whole(&"<a>".repeat(40)).contains("too deep"));
}

/// A chat of a foreign EIM in JSON, on a key without a conference, told apart by its type.
fn foreign_chat() -> Value {
    json!({
        "name": "acme.chat", "summary": "What is said.",
        "x-event": {
            "over": ["amqp"], "body": "json", "keys": ["chat"],
            "match": {"/v": ["1"], "/deleted": false},
            "confId": {"path": "/room/id", "type": "string"},
            "epoch": {"const": "acme"},
            "seq": {"path": "/room/counter", "type": "integer"},
            "actor": {"path": "/from", "type": "user"},
            "events": [
                {"type": {"path": "/kind", "map": {"say": "message"}}, "data": {
                    "messageId": {"path": "/id", "type": "string"},
                    "userId": {"path": "/from", "type": "user"},
                    "text": {"path": "/parts/0/text", "type": "string"},
                    "time": {"path": "/at", "type": "integer"}}},
                {"type": {"path": "/kind", "map": {"*": "eim.*"}}, "data": {"$": {"path": "/parts", "type": "json"}}}
            ]
        },
        "examples": [{"key": "chat", "body": "{\"v\":1,\"kind\":\"bell\",\"room\":{\"id\":5,\"counter\":1},\"parts\":[]}",
            "events": [{"confId": "5", "epoch": "acme", "seq": 1, "time": 0, "type": "eim.bell", "actor": null, "data": []}]}]
    })
}

#[test]
fn foreign_json_is_read_by_pointers_and_numbers_are_texts_where_texts_are_wanted() {
    let inbound = with_files(&[foreign_chat(), foreign_members()]);
    let body = json!({"v": "1", "kind": "say", "id": 77, "from": "Anna@ips3000", "at": 8, "deleted": null,
        "room": {"id": 11234, "counter": 3}, "parts": [{"text": "hi"}]});
    let event = of_conference(delivered(&inbound, "chat", &body.to_string())).1;
    let told = json!(event.numbered().expect("it has a number"));
    assert_eq!(
        told,
        json!({"epoch": "acme", "seq": 3, "confId": "11234", "time": 9, "type": "message", "actor": "anna",
            "data": {"messageId": "77", "userId": "anna", "text": "hi", "time": 8}})
    );
    let changed = |pointer: &str, value: Value| {
        let mut body = body.clone();
        *body.pointer_mut(pointer).expect("a place") = value;
        delivered(&inbound, "chat", &body.to_string())
    };
    assert_eq!(changed("/deleted", json!(true)), Outcome::NotOurs);
    assert_eq!(changed("/v", json!([1])), Outcome::NotOurs);
    assert_eq!(changed("/kind", Value::Null), Outcome::NotOurs);
    for (pointer, value, what) in [
        ("/room/id", json!({"a": 1}), "confId: not a single value"),
        ("/room/id", json!("a b"), "confId: not 1 to 64"),
        ("/room", json!(1), "confId: absent"),
        ("/room/counter", json!(3.5), "seq: not an integer"),
        ("/room/counter", json!(true), "seq: not an integer"),
        ("/id", json!("x".repeat(65)), "data.messageId: not 1 to 64"),
        ("/parts", json!("hi"), "data: missing field `text`"),
        ("/at", json!(u64::MAX), "data.time: after the year 9999"),
    ] {
        let why = why(changed(pointer, value));
        assert!(why.starts_with(what), "{why}");
    }
    assert!(why(delivered(&inbound, "chat", "not JSON")).starts_with("not JSON"));
}

/// An EIM whose routing keys say all but the data, and whose calls are for a user in the body.
fn by_key() -> [Value; 3] {
    let file = |name: &str, keys: Value, rules: Value, key: &str, body: Value, events: Value| {
        let mut file = json!({"name": name, "summary": "s", "x-event": {"over": ["amqp"], "body": "json", "keys": keys},
            "examples": [{"key": key, "body": body.to_string(), "events": events}]});
        file["x-event"].as_object_mut().expect("an object").extend(rules.as_object().expect("an object").clone());
        file
    };
    let numbered =
        |event: Value| json!({"epoch": {"const": "e"}, "seq": {"path": "/0", "type": "integer"}, "events": [event]});
    let left = numbered(json!({"type": {"key": "type", "map": {"gone.away": "member.left"}},
        "data": {"userId": {"path": "/1", "type": "user"}, "reason": {"const": "left"}}}));
    let rest = numbered(json!({"type": {"key": "type", "map": {"*": "eim.*"}},
        "data": {"$": {"path": "/1", "type": "json", "default": {}}}}));
    let call = json!({"confId": {"path": "/room", "type": "string"}, "to": {"path": "/for", "type": "user"},
        "events": [{"type": {"path": "/call", "map": {"ring": "call.incoming", "over": "call.ended"}}, "data": {
            "callId": {"path": "/id", "type": "string"}, "confId": {"path": "/room", "type": "string"},
            "from": {"path": "/by", "type": "user"}, "to": {"path": "/ringing", "type": "user", "list": true},
            "mode": {"path": "/pair", "map": {"true": "p2p", "*": "group"}}}}]});
    let event = |kind: &str, data: Value| json!([{"confId": "r1", "epoch": "e", "seq": 1, "time": 0, "type": kind, "actor": null, "data": data}]);
    let ring = json!({"call": "ring", "id": "k1", "room": "c1", "for": "u2", "by": "u1", "ringing": ["U2@ips3000", "u3"],
        "pair": false});
    let rung = json!([{"to": "u2", "confId": "c1", "time": 0, "type": "call.incoming", "actor": null, "data":
        {"callId": "k1", "confId": "c1", "from": "u1", "to": ["u2", "u3"], "mode": "group"}}]);
    let away = event("member.left", json!({"userId": "u1", "reason": "left"}));
    [
        file("k.left", json!(["k.{confId}.{type}"]), left, "k.r1.gone.away", json!([1, "u1"]), away),
        file("k.rest", json!(["k.{confId}.{type}"]), rest, "k.r1.x.y", json!([1]), event("eim.x.y", json!({}))),
        file("k.call", json!(["calls"]), call, "calls", ring, rung),
    ]
}

#[test]
fn events_need_no_numbers_where_the_gateway_gives_them_and_numbers_that_they_have_are_ignored() {
    let mut unnumbered = foreign_chat();
    for member in ["epoch", "seq"] {
        unnumbered["x-event"].as_object_mut().expect("an object").remove(member);
        unnumbered["examples"][0]["events"][0].as_object_mut().expect("an object").remove(member);
    }
    let body = r#"{"v":1,"kind":"bell","room":{"id":5,"counter":1},"parts":[]}"#;
    for file in [unnumbered, foreign_chat()] {
        let inbound = with_files_of(NumberedBy::Gateway, &[file]);
        let read = Inbound::read(&inbound, Message::Amqp { key: "chat", body: body.as_bytes() });
        let Ok(Some(events)) = read else { panic!("{read:?}") };
        let [Inbound::Unnumbered { event, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&event.numbering, event.change.name()), (&None, "eim.bell"));
    }
    let plain = LEFT.replace("\"epoch\":\"e\",\"seq\":7,", "");
    let message = Message::Amqp { key: "conf.11234.member.left", body: plain.as_bytes() };
    assert!(Inbound::read(&built_in(), message).expect_err("no number").contains("epoch, seq: absent"));
    let taken = Inbound::read(&numbered_by(NumberedBy::Gateway, None), message);
    assert!(matches!(taken.expect("it can be read").as_deref(), Some([Inbound::Unnumbered { .. }])));
}

#[test]
fn a_type_in_the_key_is_the_files_that_names_it_and_every_other_that_takes_the_rest() {
    let inbound = with_files(&by_key());
    let kind = |key: &str| of_conference(delivered(&inbound, key, r#"[7,"u1"]"#)).1.change.name().to_owned();
    assert_eq!(kind("k.r1.gone.away"), "member.left");
    assert_eq!(kind("k.r1.gone"), "eim.gone");
    assert_eq!(kind("k.r1.member.left"), "eim.member.left", "their word, which happens to be one of ours");
    assert!(why(delivered(&inbound, "k.r1.gone.away", "[7]")).contains("missing field `userId`"));
    assert!(why(delivered(&inbound, "k.r 1.gone", "[7]")).contains("confId"));
    assert!(why(delivered(&inbound, "k.r1.no name", "[7]")).contains("type: no name"));
}

#[test]
fn a_foreign_calls_event_is_for_the_user_in_its_body() {
    let inbound = with_files(&by_key());
    let body =
        json!({"call": "over", "id": "k1", "room": "c1", "for": "u2", "by": "u1", "ringing": ["u2"], "pair": "true"});
    let InboundEvent::Call { to, event } = only(delivered(&inbound, "calls", &body.to_string())) else {
        panic!("a call's")
    };
    assert!(to.as_str() == "u2" && event.is_last() && event.time == 9, "{event:?}");
    let mut nobodys = body.clone();
    nobodys["for"] = Value::Null;
    assert!(why(delivered(&inbound, "calls", &nobodys.to_string())).contains("for a user"));
    let mut one = body.clone();
    one["ringing"] = "u2".into();
    assert!(why(delivered(&inbound, "calls", &one.to_string())).contains("data: to: not a list"));
    assert_eq!(delivered(&inbound, "calls", &body.to_string().replace("over", "noted")), Outcome::NotOurs);
}

#[test]
fn a_queue_is_bound_by_the_keys_of_all_files() {
    let inbound = with_files(&[foreign_chat(), foreign_members()]);
    let (conf, user) = (ConfId::parse("r1").unwrap(), UserId::parse("u1").unwrap());
    assert_eq!(inbound.keys_of_conference(&conf), ["conf.r1.#", "rooms.r1.occupants"]);
    assert_eq!(inbound.keys_of_user(&user), ["user.u1.#"]);
    assert_eq!(inbound.keys_of_all(), ["chat"]);
}

proptest! {
    #[test]
    fn no_delivery_makes_the_reader_fail(key in "(conf|user|rooms|chat)(\\.[a-z0-9{}*#]{0,8}){0,4}", body in any::<Vec<u8>>(),
        json in "[\\[\\]{}\",:0-9a-z]{0,60}", xml in "[<>/='\" a-z0-9&;]{0,80}") {
        static INBOUND: std::sync::LazyLock<InboundSchema> =
            std::sync::LazyLock::new(|| with_files(&[foreign_chat(), foreign_members()]));
        for body in [&body[..], json.as_bytes(), xml.as_bytes(), occupants(&xml).as_bytes()] {
            let _ = INBOUND.read(Message::Amqp { key: &key, body }, 0);
        }
    }

    #[test]
    fn every_event_that_is_read_can_be_written_and_read_again(seq in 1..=(1_u64 << 53) - 1, kind in "[a-z][a-zA-Z.]{0,20}",
        text in ".{0,40}") {
        let body = json!({"epoch": "e", "seq": seq, "confId": "c", "type": &kind, "time": 1, "actor": null, "data": {"text": text}});
        static INBOUND: std::sync::LazyLock<InboundSchema> = std::sync::LazyLock::new(built_in);
        let outcome = delivered(&INBOUND, &format!("conf.c.{kind}"), &body.to_string());
        if let Outcome::Events(events) = outcome {
            for event in events {
                let InboundEvent::Conference { event, .. } = event else { continue };
                let event = event.numbered().expect("it has a number");
                prop_assert_eq!(&serde_json::from_str::<crate::event::Event>(&json!(event).to_string()).unwrap(), &event);
            }
        }
    }
}
