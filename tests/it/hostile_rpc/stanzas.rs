//! `org.user.processIQ`: what is refused before anything is sent, and what the answer looks like.

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::rpc_shape::{assert_error_shape, assert_unharmed};
use crate::support::client::{Answer, Client};

/// An `<iq>` with that attributes' text and that content.
fn iq(attrs: &str, content: &str) -> String {
    format!("<iq {attrs}>{content}</iq>")
}

/// A get of that child at that destination.
fn get(to: &str, child: &str) -> String {
    iq(&format!("to='{to}' type='get' id='1'"), child)
}

async fn ask(client: &Client, req_xml: &str) -> Answer {
    let answer = client.rpc("org.user.processIQ", json!({ "reqXml": req_xml })).await;
    if answer.0.get("error").is_some() {
        assert_error_shape(&answer.0);
    }
    answer
}

async fn xml(client: &Client, req_xml: &str) -> String {
    ask(client, req_xml).await.result()["xml"].as_str().expect("the result is XML").to_owned()
}

#[tokio::test]
async fn anything_but_one_well_formed_iq_is_refused_by_path() {
    let fixture = Fixture::embedded().await;
    let user = fixture.chair().await;
    let to = "to='jeprivacy.ips3000' type='get' id='1'";
    let child = "<x xmlns='urn:x'/>";
    let good = iq(to, child);
    let bad = [
        " ".to_owned(),
        "no xml".to_owned(),
        "<iq".to_owned(),
        format!("{good}{good}"),
        format!("{good}<x/>"),
        format!("{good}text"),
        format!("text{good}"),
        format!("<!-- c -->{good}"),
        format!("{good}<!-- c -->"),
        format!("<?pi x?>{good}"),
        format!("<?xml version='1.0'?>{good}"),
        format!("<!DOCTYPE iq>{good}"),
        format!("<!DOCTYPE iq [<!ENTITY a 'b'>]>{}", iq(to, "<x xmlns='urn:x'>&a;</x>")),
        iq(to, "<x xmlns='urn:x'>&nbsp;</x>"),
        iq(to, "<x xmlns='urn:x' a='&undeclared;'/>"),
        iq(to, "<x xmlns='urn:x'>&#0;</x>"),
        iq(to, "<x xmlns='urn:x'>&#xFFFE;</x>"),
        iq(to, "<x xmlns='urn:x'><!-- c --></x>"),
        iq(to, "<x xmlns='urn:x'><?pi x?></x>"),
        iq(to, "<x xmlns='urn:x' a='1' a='2'/>"),
        iq(to, "<p:x/>"),
        iq(to, "<x xmlns='urn:x'></y>"),
        iq(to, "<x xmlns='urn:x'>\u{1}</x>"),
        iq(to, "</iq><iq>"),
        iq(to, ""),
        iq(to, "text"),
        iq(to, &format!("text{child}")),
        iq(to, &format!("{child}{child}")),
        iq("type='get' id='1'", child),
        iq("to='' type='get' id='1'", child),
        iq("to='jeprivacy.ips3000' id='1'", child),
        iq("to='jeprivacy.ips3000' type='result' id='1'", child),
        iq("to='jeprivacy.ips3000' type='error' id='1'", child),
        iq("to='jeprivacy.ips3000' type='GET' id='1'", child),
        iq("xmlns='jabber:server' to='jeprivacy.ips3000' type='get' id='1'", child),
        format!("<message {to}>{child}</message>"),
        format!("<stream:stream {to}>{child}</stream:stream>"),
        format!("</stream:stream>{good}"),
        iq(to, &format!("{}{}", "<x xmlns='urn:x'>".repeat(32), "</x>".repeat(32))),
        iq(to, &format!("<x xmlns='urn:x'>{}</x>", "y".repeat(64 * 1024))),
    ];
    for req_xml in &bad {
        let error = ask(&user, req_xml).await.refused(-32602);
        assert_eq!(error["data"]["errors"][0]["path"], "reqXml", "{req_xml}: {error}");
    }
    for params in [json!({}), json!({ "reqXml": 5 }), json!({ "reqXml": null }), json!({ "reqXml": [good] })] {
        let error = user.rpc("org.user.processIQ", params).await.refused(-32602);
        assert_eq!(error["data"]["errors"][0]["path"], "reqXml", "{error}");
    }
    assert!(xml(&user, &good).await.starts_with("<iq "));
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn nobody_speaks_for_another_unless_they_may() {
    let fixture = Fixture::embedded().await;
    let (user, operator) = (fixture.chair().await, fixture.operator().await);
    let from = |from: &str| {
        let attrs = format!("from='{from}' to='jeprivacy.ips3000' type='get' id='1'");
        iq(&attrs, "<jeExtension xmlns='je:x:client:config'><getMainTabs/></jeExtension>")
    };
    for own in ["chair@ips3000", "chair@ips3000/uc", "chair@ips3000/any resource 会"] {
        let answer = xml(&user, &from(own)).await;
        assert!(answer.contains("type=\"result\"") && answer.contains(&format!("to=\"{own}\"")), "{answer}");
    }
    let foreign = [
        "u1074304@ips3000/uc",
        "chair@elsewhere/uc",
        "ips3000",
        "chair",
        "",
        "chair%ips3000@webconf.ips3000/uc",
        "webconf-admin.ips3000",
        "chair@ips3000@ips3000",
    ];
    for foreign in foreign {
        ask(&user, &from(foreign)).await.refused(-32003);
    }
    let answer = xml(&operator, &from("u1074304@ips3000/uc")).await;
    assert!(answer.contains("to=\"u1074304@ips3000/uc\""), "{answer}");
    ask(&operator, &from("chair@elsewhere/uc")).await.refused(-32003);
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn guests_reach_only_the_namespaces_and_destinations_that_are_theirs() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "张三").await;
    let tabs = "<jeExtension xmlns='je:x:client:config'><getMainTabs/></jeExtension>";
    let answer = xml(&guest, &get("jeprivacy.ips3000", tabs)).await;
    assert!(answer.contains("isNeedUpdate=\"true\""), "{answer}");
    for to in ["jeorg.ips3000", "ips3000", "u1074304@ips3000/uc", "jeprivacy.ips3000.evil", "webconf-admin.ips3000"] {
        ask(&guest, &get(to, tabs)).await.refused(-32003);
    }
    for ns in ["je:x:client:org", "je:x:client:conference", "http://jabber.org/protocol/commands", "", "vcard-temp"] {
        ask(&guest, &get("jeprivacy.ips3000", &format!("<jeExtension xmlns='{ns}'/>"))).await.refused(-32003);
    }
    // The prefix is a matter of taste; the namespace decides.
    let prefixed = "<c:command xmlns:c='http://jabber.org/protocol/commands' node='x'/>";
    ask(&chair, &get("jeprivacy.ips3000", prefixed)).await.refused(-32003);
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn an_error_of_the_eims_is_an_answer_under_the_callers_own_id() {
    let fixture = Fixture::embedded().await;
    let user = fixture.chair().await;
    let asked = iq("to='jeprivacy.ips3000' type='get' id='a&amp;&lt;b&apos;&#x4F1A;'", "<x xmlns='urn:nothing'/>");
    let answer = xml(&user, &asked).await;
    let stanza = confgate::xmpp::xml::Stanza::parse(&answer).expect("the answer is a stanza");
    let attr = |name: &str| stanza.attr(name).unwrap_or_default().to_owned();
    assert_eq!((attr("type"), attr("id")), ("error".to_owned(), "a&<b'会".to_owned()), "{answer}");
    assert_eq!(attr("from"), "jeprivacy.ips3000", "{answer}");
    assert!(answer.contains("urn:ietf:params:xml:ns:xmpp-stanzas"), "{answer}");
    for timeout in [json!(0), json!(-1), json!(1.5), json!("5"), json!(10_000_000)] {
        let params = json!({ "reqXml": asked, "timeoutMs": timeout });
        user.rpc("org.user.processIQ", params).await.refused(-32602);
    }
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn the_sample_of_the_original_interface_is_answered_as_it_is_printed_there() {
    let fixture = Fixture::embedded().await;
    let user = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let sample = "<iq from=\"u1074304@ips3000/uc\" to=\"jeprivacy.ips3000\" type=\"get\" id=\"01\">\
                  <jeExtension xmlns=\"je:x:client:config\"> <getMainTabs/></jeExtension></iq>";
    let stanza = confgate::xmpp::xml::Element::parse(&xml(&user, sample).await).expect("the answer is XML");
    let attrs = ["type", "id", "from", "to"].map(|name| stanza.attr(name).unwrap_or_default());
    assert_eq!(attrs, ["result", "01", "jeprivacy.ips3000", "u1074304@ips3000/uc"]);
    let extension = stanza.child("jeExtension").expect("the extension");
    assert_eq!(extension.ns, "je:x:client:config");
    let tabs = extension.child("getMainTabs").expect("the operation");
    assert_eq!(tabs.attr("isNeedUpdate"), Some("true"));
    let value = tabs.child("value").expect("a value").text();
    let decoded = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, value).expect("base64");
    assert!(serde_json::from_slice::<Value>(&decoded).expect("JSON").is_object());
}
