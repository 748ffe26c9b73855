//! The wire format: the sample of the original interface, the standard's requests, and everything ill-formed.

use proptest::prelude::*;

use super::world::{CONF, GATEWAY, ORG, World, in_module, refused, via};
use crate::xmpp::xml::{Element, Stanza};

fn iq(kind: &str, from: &str, to: &str, payload: &str) -> Stanza {
    let text = format!("<iq type='{kind}' from='{from}' to='{to}' id='01'>{payload}</iq>");
    Stanza::parse(&text).unwrap()
}

fn error(world: &mut World, request: &Stanza) -> String {
    let answer = world.send(request).expect("every request is answered");
    assert_eq!(answer.attr("type"), Some("error"), "{}", answer.to_xml());
    assert_eq!(answer.attr("id"), request.attr("id"));
    let (condition, reason) = refused(answer.payload().unwrap());
    format!("{condition} {reason}")
}

#[test]
fn the_seeds_own_sample_is_answered_as_in_the_seed() {
    let mut world = World::new();
    let request = Stanza::parse(
        r#"<iq from="u1074808@ips3000/uc" to="jeprivacy.ips3000" type="get" id="01"><jeExtension xmlns="je:x:client:config"> <getMainTabs/></jeExtension></iq>"#,
    );
    let answer = world.send(&request.unwrap()).unwrap();
    let attrs = ["type", "id", "from", "to"].map(|name| answer.attr(name).unwrap().to_owned());
    assert_eq!(attrs, ["result", "01", "jeprivacy.ips3000", "u1074808@ips3000/uc"]);
    let start = r#"<jeExtension xmlns="je:x:client:config"><getMainTabs isNeedUpdate="true"><value>eyJ0YWJz"#;
    let content = answer.payload().unwrap().to_xml();
    assert!(content.starts_with(start), "{content}");
    assert!(content.ends_with("</value></getMainTabs></jeExtension>"));
}

#[test]
fn a_module_answers_by_namespace_at_any_address_of_the_eim() {
    let mut world = World::new();
    for to in ["jeorg.ips3000", "jeprivacy.ips3000", "ips3000", "jeconference.ips3000/x"] {
        let request = iq("get", &via("ann"), to, &format!("<jeExtension xmlns='{CONF}'><list/></jeExtension>"));
        let answer = world.send(&request).unwrap();
        assert_eq!((answer.attr("type"), answer.attr("from")), (Some("result"), Some(to)));
    }
    assert!(world.eim.is_at("JeConference.IPS3000/x") && world.eim.is_at("ips3000"));
    assert!(!world.eim.is_at("webconf.ips3000") && !world.eim.is_at("else.where"));
}

#[test]
fn the_standards_questions_are_answered() {
    let mut world = World::new();
    let mut ask = |payload: &str| {
        let answer = world.send(&iq("get", "anybody@else.where/x", "ips3000", payload)).unwrap();
        assert_eq!(answer.attr("type"), Some("result"));
        answer.payload().cloned()
    };
    assert_eq!(ask("<ping xmlns='urn:xmpp:ping'/>"), None);
    let info = ask("<query xmlns='http://jabber.org/protocol/disco#info'/>").unwrap();
    assert_eq!(info.child("identity").unwrap().attr("category"), Some("component"));
    assert!(info.children().any(|f| f.attr("var") == Some("urn:xmpp:ping")));
    let items = ask("<query xmlns='http://jabber.org/protocol/disco#items'/>").unwrap();
    let addresses: Vec<_> = items.children().filter_map(|item| item.attr("jid")).collect();
    let modules = ["jeconference", "jecontacts", "jeorg", "jeprivacy", "jecall"];
    assert_eq!(addresses, modules.map(|module| format!("{module}.ips3000")));
    let version = ask("<query xmlns='jabber:iq:version'/>").unwrap();
    assert_eq!(version.child("name").unwrap().text(), "confgate EIM");
    let node = iq("get", "x@y", "ips3000", "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>");
    assert_eq!(error(&mut world, &node), "item-not-found disco.node");
}

#[test]
fn foreign_iq_is_unavailable_and_malformed_iq_is_refused() {
    let mut world = World::new();
    let ann = via("ann");
    let ext = |content: &str| format!("<jeExtension xmlns='{CONF}'>{content}</jeExtension>");
    let table = [
        ("get", "<query xmlns='jabber:iq:roster'/>".to_owned(), "service-unavailable service.unknown"),
        ("set", "<ping xmlns='urn:xmpp:ping'/>".into(), "service-unavailable service.unknown"),
        ("get", "<other xmlns='je:x:client:conference'/>".into(), "service-unavailable service.unknown"),
        (
            "get",
            "<jeExtension xmlns='je:x:client:other'><list/></jeExtension>".into(),
            "service-unavailable service.unknown",
        ),
        ("get", "<jeExtension><list/></jeExtension>".into(), "service-unavailable service.unknown"),
        ("get", ext("<conquer/>"), "service-unavailable operation.unknown"),
        ("set", ext("<list/>"), "service-unavailable operation.unknown"),
        ("get", ext("<join confId='x'/>"), "service-unavailable operation.unknown"),
        ("get", ext("<getWebAddress confId='x'/>"), "service-unavailable operation.unknown"),
        ("get", ext(""), "bad-request argument.invalid"),
        ("get", ext("<list/><list/>"), "bad-request argument.invalid"),
        ("get", String::new(), "bad-request argument.invalid"),
        ("get", ext("<list/>") + &ext("<list/>"), "bad-request argument.invalid"),
        ("put", ext("<list/>"), "bad-request argument.invalid"),
        ("set", ext("<create/>"), "bad-request argument.invalid"),
        ("set", ext("<create name=''/>"), "bad-request argument.invalid"),
        ("set", ext(&format!("<create name='{}'/>", "长".repeat(129))), "bad-request argument.invalid"),
        ("set", ext("<create name='a' password=' '/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a&#10;b'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' startAt='tomorrow'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' startAt='-1'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' startAt='99999999999999999999'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' startAt='253402300800000'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' lobby='yes'/>"), "bad-request argument.invalid"),
        ("set", ext("<create name='a' mutePolicy='loud'/>"), "bad-request argument.invalid"),
        ("set", ext("<join/>"), "bad-request argument.invalid"),
        ("set", ext("<join confId='../x'/>"), "bad-request argument.invalid"),
        ("set", ext("<subscribe confId='x' node='n'/>"), "item-not-found conference.notFound"),
        ("get", ext("<list limit='many'/>"), "bad-request argument.invalid"),
        ("get", ext("<find password='x'/>"), "forbidden operation.gatewayOnly"),
        ("get", ext("<snapshot confId='x'/>"), "forbidden operation.gatewayOnly"),
        ("set", ext("<presence confId='x'/>"), "forbidden operation.gatewayOnly"),
        ("set", ext("<resetNode node='n' generation='1'/>"), "forbidden operation.gatewayOnly"),
        (
            "set",
            format!("<jeExtension xmlns='{ORG}'><createUser name='x'/></jeExtension>"),
            "forbidden operation.gatewayOnly",
        ),
        (
            "get",
            format!("<jeExtension xmlns='{ORG}'><getUser userId='ann'/></jeExtension>"),
            "forbidden operation.gatewayOnly",
        ),
    ];
    for (kind, payload, expected) in table {
        assert_eq!(error(&mut world, &iq(kind, &ann, "jeconference.ips3000", &payload)), expected, "{payload}");
    }
    for name in ["create", "join", "leave", "control", "sendMessage", "subscribe", "unsubscribe", "update", "end"] {
        let request = iq("set", GATEWAY, "jeconference.ips3000", &ext(&format!("<{name} confId='x' name='x'/>")));
        assert_eq!(error(&mut world, &request), "forbidden operation.userOnly", "{name}");
    }
    for from in ["evil@else.where", "x%ips3000@evil.ips3000", "x%evil@webconf.ips3000", "evil.ips3000", ""] {
        let request = iq("get", from, "jeconference.ips3000", &ext("<list/>"));
        assert_eq!(error(&mut world, &request), "forbidden caller.unknown", "{from}");
    }
    assert!(world.disk().is_empty());
}

#[test]
fn stanza_that_is_no_request_is_not_answered() {
    let mut world = World::new();
    for text in [
        "<iq type='result' id='1' from='webconf.ips3000' to='jeconference.ips3000'/>",
        "<iq type='error' id='1' from='webconf.ips3000' to='jeconference.ips3000'/>",
        "<message type='error' from='webconf.ips3000' to='jeconference.ips3000'><body>x</body></message>",
        "<message from='x@ips3000' to='jeconference.ips3000'><body>hello</body></message>",
        "<presence from='x@ips3000' to='jeconference.ips3000' type='subscribe'/>",
        "<presence/>",
    ] {
        assert_eq!(world.send(&Stanza::parse(text).unwrap()), None, "{text}");
    }
}

#[test]
fn an_answer_or_a_state_never_outgrows_a_stanza() {
    let mut world = World::new();
    world.eim.settings.limits.conference_members = 1000;
    let conf = world.conference(&[]);
    let name = "\"".repeat(128);
    for i in 0..100 {
        let from = via(&format!("m{i}"));
        world.set(&from, "join", &[("confId", &conf), ("name", &name)]).unwrap();
    }
    for _ in 0..200 {
        world.send_message("m0", &conf, &"&".repeat(4000)).unwrap();
    }
    let state = world.get(GATEWAY, "snapshot", &[("confId", &conf)]).unwrap();
    let size = state.to_xml().len();
    assert!((200_000..256 * 1024).contains(&size), "{size}");
    let kept = super::world::roster(&state);
    assert_eq!(kept.members.len(), 100);
    assert_eq!(kept.messages.last().unwrap().message_id, format!("m{}", kept.seq), "the newest are told");
    for i in 100..400 {
        let from = via(&format!("m{i}"));
        world.set(&from, "join", &[("confId", &conf), ("name", &name)]).unwrap();
    }
    let too_large = world.get(GATEWAY, "snapshot", &[("confId", &conf)]);
    assert_eq!(super::world::refusal(too_large), "resource-constraint answer.tooLarge");
}

#[test]
fn a_stored_document_that_cannot_be_read_is_named() {
    let load = |kind: &str, key: &str, body: &str| {
        let document = (kind.to_owned(), key.to_owned(), body.to_owned());
        let error = crate::builtin_eim::Eim::load(super::world::settings(), [document]).unwrap_err();
        (error.kind, error.key)
    };
    for (kind, key, body) in [
        ("conference", "a", "{}"),
        ("person", "a/b", "{"),
        ("person", "no slash", r#"{"userId":"b","member":null,"seat":null,"presence":null}"#),
        ("message", "a/1", r#"{"messageId":"m1","userId":"b","text":"x","time":1}"#),
        ("user", "u", "[]"),
        ("node", "n", "x"),
        ("surprise", "s", "{}"),
    ] {
        assert_eq!(load(kind, key, body), (kind.to_owned(), key.to_owned()));
    }
}

fn names() -> impl Strategy<Value = String> {
    let operations = [
        "create",
        "get",
        "list",
        "update",
        "end",
        "find",
        "join",
        "leave",
        "members",
        "control",
        "sendMessage",
        "messages",
        "subscribe",
        "unsubscribe",
        "presence",
        "snapshot",
        "resetNode",
        "createUser",
        "deleteUser",
        "getUser",
        "departments",
        "users",
        "search",
        "getMainTabs",
    ];
    proptest::sample::select(operations.map(str::to_owned).to_vec())
}

fn attributes() -> impl Strategy<Value = Vec<(String, String)>> {
    let names = [
        "confId",
        "userId",
        "name",
        "password",
        "action",
        "value",
        "node",
        "generation",
        "state",
        "keepMs",
        "limit",
        "offset",
        "before",
        "startAt",
        "lobby",
        "mutePolicy",
        "temporary",
        "properties",
        "query",
        "departmentId",
    ];
    let value = prop_oneof![
        3 => Just("CONF".to_owned()),
        2 => proptest::sample::select(vec!["ann", "ben", "kick", "admit", "setChair", "end", "all", "gone", "true", "m1"])
            .prop_map(str::to_owned),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => "\\PC{0,20}",
        1 => Just("9".repeat(5000)),
    ];
    proptest::collection::vec((proptest::sample::select(names.map(str::to_owned).to_vec()), value), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any input: an answer for each request, no panic, and a disk that gives the same EIM.
    #[test]
    fn nothing_from_outside_upsets_the_eim(
        requests in proptest::collection::vec((any::<bool>(), 0..5usize, names(), attributes()), 1..40)
    ) {
        let mut world = World::new();
        let conf = world.conference(&[]);
        for (set, from, name, attrs) in requests {
            let from = [via("ann"), via("ben"), GATEWAY.into(), via("g1"), "x@evil".into()][from].clone();
            let operation = attrs.into_iter().fold(Element::new(&name, ""), |e, (name, value)| {
                e.with(&name, if value == "CONF" { conf.clone() } else { value })
            });
            for ns in [CONF, ORG, super::world::CONTACTS, "je:x:client:config"] {
                let request = Stanza::iq(if set { "set" } else { "get" }, in_module(ns, operation.clone()));
                let request = request.with("from", from.as_str()).with("to", "jeconference.ips3000").with("id", "1");
                let answer = world.send(&request);
                prop_assert!(answer.is_some_and(|a| a.attr("id") == Some("1") && a.attr("to") == Some(&from)));
            }
        }
        prop_assert_eq!(&world.reloaded(), &world.eim);
    }
}
