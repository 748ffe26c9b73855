use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Dialect, from_iq, to_iq};
use crate::eim::requests::object;
use crate::event::Roster;
use crate::refusal::{Kind, Refusal};
use crate::schema::{Method, Schema, XIq};
use crate::xmpp::xml::{Element, Node, Stanza};

const DOMAIN: &str = "ips3000";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::load(None).expect("the built-in schema is right"));
static DIALECT: LazyLock<Dialect> = LazyLock::new(|| Dialect::new(&SCHEMA, DOMAIN));

fn entries() -> impl Iterator<Item = (&'static Method, &'static XIq)> {
    let all = SCHEMA.methods().chain(SCHEMA.internals());
    all.filter_map(|method| Some((method, method.x_iq.as_ref()?)))
}

fn x_iq(json: Value) -> XIq {
    serde_json::from_value(json).expect("an x-iq")
}

/// One exchange of `rpc-schema/iq/*.iq`.
struct IqExchange {
    place: String,
    params: Map<String, Value>,
    request: String,
    answer: String,
    outcome: Result<Value, Value>,
}

fn exchanges(name: &str) -> Vec<IqExchange> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("rpc-schema/iq/{name}.iq"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.split("\n\n").map(|block| exchange(name, block)).collect()
}

fn exchange(name: &str, block: &str) -> IqExchange {
    let line = |mark: &str| block.lines().find_map(|line| line.strip_prefix(mark)).map(str::trim);
    let need = |mark: &str| line(mark).unwrap_or_else(|| panic!("{name}: no `{mark}` in\n{block}"));
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}: {text}"));
    IqExchange {
        place: format!("{name}: {}", line("//").unwrap_or_default()),
        params: object(read(need("params"))),
        request: need(">>").to_owned(),
        answer: need("<<").to_owned(),
        outcome: line("result").map(read).ok_or_else(|| read(need("refusal"))),
    }
}

/// The same for all texts that mean the same XML, white space between elements apart.
fn canonical(xml: &str) -> Element {
    fn sort(element: &mut Element) {
        element.attrs.sort();
        element.nodes.retain(|node| !matches!(node, Node::Text(text) if text.trim().is_empty()));
        for node in &mut element.nodes {
            if let Node::Element(child) = node {
                sort(child);
            }
        }
    }
    let mut element = Element::parse(xml).unwrap_or_else(|e| panic!("{e}: {xml}"));
    sort(&mut element);
    element
}

fn told(refusal: &Refusal) -> Value {
    json!({"code": refusal.kind.code(), "key": refusal.key(), "data": refusal.data})
}

#[test]
fn every_entry_speaks_the_dialect_that_its_hand_written_exchanges_pin() {
    for (method, x_iq) in entries() {
        for IqExchange { place, params, request, answer, outcome } in exchanges(&method.name) {
            assert_eq!(method.validate_params(&params), Ok(()), "{place}");
            let asked = to_iq(x_iq, &params, DOMAIN).unwrap_or_else(|e| panic!("{place}: {e:?}"));
            assert_eq!(canonical(&asked.to_xml()), canonical(&request), "{place}");
            let answer = Stanza::parse(&answer).unwrap_or_else(|e| panic!("{place}: {e}"));
            match (from_iq(x_iq, &answer, &DIALECT), outcome) {
                (Ok(result), Ok(expected)) => assert_eq!(result, expected, "{place}"),
                (Err(refusal), Err(expected)) => assert_eq!(told(&refusal), expected, "{place}"),
                (came, expected) => panic!("{place}: {came:?}, not {expected:?}"),
            }
        }
    }
}

#[test]
fn there_is_no_exchange_without_an_entry() {
    let known: BTreeSet<String> = entries().map(|(method, _)| format!("{}.iq", method.name)).collect();
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/iq")).expect("a folder");
    let files: BTreeSet<String> = files.flatten().map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(files, known);
}

#[test]
fn snapshot_of_the_eim_is_a_roster() {
    for name in ["eim.subscribe", "eim.snapshot"] {
        let method = SCHEMA.internal(name).expect("an entry");
        for exchange in exchanges(name).into_iter().filter(|e| e.outcome.is_ok()) {
            let answer = Stanza::parse(&exchange.answer).expect("a stanza");
            let result = from_iq(method.x_iq.as_ref().expect("an x-iq"), &answer, &DIALECT).expect("a result");
            assert_eq!(method.validate_result(&result), Ok(()));
            let roster: Roster = serde_json::from_value(result).expect("a roster");
            assert_eq!((roster.seq, roster.epoch.as_str()), (41, "e1"));
        }
    }
}

#[test]
fn a_value_that_xml_cannot_carry_is_refused_with_the_param_that_holds_it() {
    let send = SCHEMA.method("conference.sendMessage").and_then(|m| m.x_iq.as_ref()).expect("an x-iq");
    for text in ["\u{0}", "a\u{1}b", "\u{FFFE}", "\u{FFFF}", "\u{1B}[0m"] {
        let refusal = to_iq(send, &object(json!({"confId": "1", "text": text})), DOMAIN).expect_err(text);
        assert_eq!(refusal.kind, Kind::InvalidParams);
        assert_eq!(refusal.data["errors"][0]["path"], "text");
    }
    for text in ["\t\r\n", "😀", "<![CDATA[", "]]>", "&#0;", "\u{7F}\u{85}\u{2028}"] {
        let params = object(json!({"confId": "1", "text": text}));
        let asked = to_iq(send, &params, DOMAIN).expect("a stanza");
        let payload = asked.payload().expect("a payload");
        assert_eq!(payload.child("sendMessage").expect("the operation").text(), text);
    }
}

#[test]
fn a_value_of_another_type_than_declared_is_refused() {
    let rule = x_iq(json!({"to": "x.{domain}", "type": "set", "ns": "n", "element": "op", "params": {
        "i": {"attr": "i", "type": "integer"}, "b": {"attr": "b", "type": "boolean"},
        "s": {"attr": "s", "type": "string"}, "l": {"child": "l", "type": "list"}}}));
    let bad = [
        json!({"i": "1"}),
        json!({"i": 1.5}),
        json!({"i": 1e300}),
        json!({"i": true}),
        json!({"b": "true"}),
        json!({"b": 1}),
        json!({"s": {}}),
        json!({"s": []}),
        json!({"l": "x"}),
        json!({"l": [[]]}),
        json!({"l": [null]}),
    ];
    for params in bad {
        let refusal = to_iq(&rule, &object(params.clone()), DOMAIN).expect_err(&params.to_string());
        assert_eq!(refusal.kind, Kind::InvalidParams, "{params}");
    }
    let whole = to_iq(&rule, &object(json!({"i": 3.0})), DOMAIN).expect("JSON has one kind of number");
    assert_eq!(whole.payload().expect("a payload").to_xml(), r#"<op xmlns="n" i="3"/>"#);
}

#[test]
fn every_place_of_the_dialect_is_written_and_read_back() {
    let rule = x_iq(json!({
        "to": "service.{domain}", "type": "set", "ns": "urn:a", "element": "op",
        "wrapper": {"element": "envelope", "ns": "urn:b"},
        "params": {
            "a": {"attr": "a", "type": "string"}, "deep": {"attr": "x/{urn:c}y/at", "type": "integer"},
            "under": {"child": "x/{urn:c}y", "type": "string"}, "own": {"text": true, "type": "string"},
            "tags": {"child": "tags/tag", "type": "list"}, "any": {"child": "any", "type": "json"},
            "lang": {"attr": "xml:lang", "type": "string"}},
        "result": {
            "a": {"path": "@a", "type": "string"}, "deep": {"path": "x/{urn:c}y@at", "type": "integer"},
            "under": {"path": "x/{urn:c}y", "type": "string"}, "own": {"path": ".", "type": "string"},
            "tags": {"path": "tags/tag", "type": "string", "list": true}, "any": {"path": "any", "type": "json"},
            "lang": {"path": "@xml:lang", "type": "string"}}}));
    let params = json!({"a": "1", "deep": -7, "under": "u", "own": "o", "tags": ["p", "", "q"], "any": {"k": [1, null]},
        "lang": "zh"});
    let asked = to_iq(&rule, &object(params.clone()), DOMAIN).expect("a stanza");
    assert_eq!(asked.attr("to"), Some("service.ips3000"));
    assert_eq!(
        canonical(&asked.payload().expect("a payload").to_xml()),
        canonical(
            r#"<envelope xmlns="urn:b"><op xmlns="urn:a" a="1" xml:lang="zh"><x><y xmlns="urn:c" at="-7">u</y></x>o<tags><tag>p</tag><tag></tag><tag>q</tag></tags><any>{"k":[1,null]}</any></op></envelope>"#
        )
    );
    assert_eq!(from_iq(&rule, &answered(&asked), &DIALECT), Ok(params));
}

/// The request sent back as its own answer.
fn answered(request: &Stanza) -> Stanza {
    request.clone().with("type", "result")
}

#[test]
fn a_whole_result_and_encoded_json_are_read() {
    let rule = |result: Value| x_iq(json!({"to": "x", "type": "get", "ns": "n", "element": "op", "result": result}));
    let whole = rule(json!({"$": {"path": "v", "type": "base64json"}}));
    let answer =
        |inner: &str| Stanza::parse(&format!(r#"<iq type="result"><op xmlns="n">{inner}</op></iq>"#)).expect("XML");
    assert_eq!(from_iq(&whole, &answer("<v>eyJ0\n YWJzIjpbXX0=</v>"), &DIALECT), Ok(json!({"tabs": []})));
    assert_eq!(from_iq(&whole, &answer(""), &DIALECT), Ok(Value::Null));
    assert!(from_iq(&whole, &answer("<v>eyJ0YWJz</v>"), &DIALECT).is_err(), "JSON cut short");
    assert!(from_iq(&whole, &answer("<v>*</v>"), &DIALECT).is_err());
    let list = rule(json!({"$": {"path": "v", "type": "boolean", "list": true, "default": []}}));
    assert_eq!(from_iq(&list, &answer("<v>1</v><v>false</v>"), &DIALECT), Ok(json!([true, false])));
    assert_eq!(from_iq(&list, &answer(""), &DIALECT), Ok(json!([])));
    let null =
        rule(json!({"v": {"path": "v", "type": "integer", "default": null}, "w": {"path": "@w", "type": "string"}}));
    assert_eq!(from_iq(&null, &answer(""), &DIALECT), Ok(json!({"v": null})));
}

#[test]
fn a_hostile_answer_is_told_as_the_eims_fault() {
    let members = SCHEMA.method("conference.members").and_then(|m| m.x_iq.as_ref()).expect("an x-iq");
    let wrap = |inner: &str| {
        format!(r#"<iq type="result"><jeExtension xmlns="je:x:client:conference">{inner}</jeExtension></iq>"#)
    };
    let hostile = [
        wrap("<other/>"),
        wrap(r#"<members xmlns="urn:foreign"/>"#),
        wrap(r#"<members><member joinedAt="soon"/></members>"#),
        wrap(r#"<members><member joinedAt="99999999999999999999"/></members>"#),
        wrap(r#"<members><member hand="perhaps"/></members>"#),
        wrap(&format!("<members>{}</members>", "<member/>".repeat(10_000))),
        r#"<iq type="result"><members xmlns="je:x:client:conference"/></iq>"#.to_owned(),
        r#"<iq type="get"/>"#.to_owned(),
        "<iq/>".to_owned(),
        r#"<message type="result&#xA;"/>"#.to_owned(),
    ];
    for text in hostile {
        let refusal =
            from_iq(members, &Stanza::parse(&text).expect("XML"), &DIALECT).expect_err(&text[..text.len().min(200)]);
        assert_eq!((refusal.kind, refusal.key()), (Kind::EimRefused, "eim.badAnswer"));
        assert_eq!(refusal.data["condition"], "undefined-condition");
    }
    let foreign = wrap(r#"<members><member xmlns="urn:foreign" joinedAt="soon"/></members>"#);
    assert_eq!(from_iq(members, &Stanza::parse(&foreign).expect("XML"), &DIALECT), Ok(json!({"members": []})));
}

#[test]
fn a_hostile_error_is_still_a_refusal() {
    let members = SCHEMA.method("conference.members").and_then(|m| m.x_iq.as_ref()).expect("an x-iq");
    let long = "x".repeat(5000);
    for inner in [
        String::new(),
        "<error/>".to_owned(),
        "<error type=''><reason xmlns='je:x:client:error'>not a key!</reason></error>".to_owned(),
        format!(
            "<error><reason xmlns='je:x:client:error'>{long}</reason><{long} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        ),
        format!("<error><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{long}</text></error>"),
    ] {
        let answer = Stanza::parse(&format!("<iq type='error'>{inner}</iq>")).expect("XML");
        let refusal = from_iq(members, &answer, &DIALECT).expect_err("an error");
        assert_eq!((refusal.kind, refusal.key()), (Kind::EimRefused, "eim.refused"));
        assert!(Value::from(refusal.data).to_string().len() < 1500);
    }
}

/// Text of any script, with everything that XML has to escape.
fn any_text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just('<'),
            Just('&'),
            Just('"'),
            Just('\''),
            Just('\n'),
            Just('\r'),
            Just('\t'),
            Just(']'),
            any::<char>()
        ],
        0..40,
    )
    .prop_map(|chars| chars.into_iter().filter(|c| crate::xmpp::xml::is_xml_char(*c)).collect())
}

proptest! {
    #[test]
    fn written_value_is_read_back(a in any_text(), own in any_text(), n in any::<i64>(), u in any::<u64>(),
                                    flag in any::<bool>(), tags in prop::collection::vec(any_text(), 0..5)) {
        let rule = x_iq(json!({
            "to": "s.{domain}", "type": "set", "ns": "urn:a", "element": "op", "wrapper": {"element": "je"},
            "params": {"a": {"attr": "a", "type": "string"}, "own": {"text": true, "type": "string"},
                "n": {"attr": "c/n", "type": "integer"}, "u": {"child": "c/u", "type": "integer"},
                "flag": {"attr": "flag", "type": "boolean"}, "tags": {"child": "t/tag", "type": "list"},
                "all": {"attr": "all", "type": "json"}},
            "result": {"a": {"path": "@a", "type": "string"}, "own": {"path": ".", "type": "string"},
                "n": {"path": "c@n", "type": "integer"}, "u": {"path": "c/u", "type": "integer"},
                "flag": {"path": "@flag", "type": "boolean"},
                "tags": {"path": "t/tag", "type": "string", "list": true, "default": []},
                "all": {"path": "@all", "type": "json"}}}));
        let params = json!({"a": a, "own": own, "n": n, "u": u, "flag": flag, "tags": tags, "all": {"a": a, "n": n}});
        let asked = to_iq(&rule, &object(params.clone()), DOMAIN).unwrap();
        let read = Stanza::parse(&asked.to_xml()).unwrap();
        prop_assert_eq!(from_iq(&rule, &answered(&read), &DIALECT).unwrap(), params);
    }

    #[test]
    fn no_params_and_no_answer_make_an_entry_panic(which in 0usize..64, text in any_text(), number in any::<f64>(),
                                                   names in prop::collection::vec(any_text(), 0..8)) {
        let all: Vec<_> = entries().collect();
        let (method, x_iq) = all[which % all.len()];
        let values = [json!(text), json!(number), json!(names), json!({"x": text}), Value::Null];
        let params = method.param_names().enumerate().map(|(i, name)| (name.to_owned(), values[(which + i) % 5].clone()));
        let params: Map<String, Value> = params.collect();
        let _ = method.validate_params(&params);
        if let Ok(asked) = to_iq(x_iq, &params, DOMAIN) {
            prop_assert!(Stanza::parse(&asked.to_xml()).is_ok());
            let _ = from_iq(x_iq, &answered(&asked), &DIALECT);
        }
        let mut payload = Element::new(&x_iq.element, &x_iq.ns);
        for (i, name) in ["conference", "member", "members", "user", "seat", "message"].iter().enumerate() {
            let child = Element::new(name, &x_iq.ns).with("state", text.as_str()).with("joinedAt", number.to_string());
            payload = if i % 2 == which % 2 { payload.with_child(child) } else { payload.with(name, text.as_str()) };
        }
        let wrapped = Element::new("jeExtension", &x_iq.ns).with_child(payload);
        let _ = from_iq(x_iq, &Stanza::iq("result", wrapped), &DIALECT);
    }
}
