//! `POST {base}/rest`: an XML IQ over HTTP as Prosody's mod_rest has it, with the rights of `org.user.processIQ`.

use std::time::{Duration, Instant};

use confgate::xmpp::xml::Stanza;
use http::Method;
use serde_json::{Value, json};

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::{BASE, Client, Reply};
use crate::support::component::Component;
use crate::support::gateway::{Gateway, eim};
use crate::support::xmpp_server::{COMPONENT, MODULES, on_each_server};

const TYPE: (&str, &str) = ("content-type", "application/xmpp+xml");
/// The sample of the original interface.
const TABS: &str = "<jeExtension xmlns='je:x:client:config'><getMainTabs/></jeExtension>";

async fn post_with(client: &Client, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Reply {
    client.request(Method::POST, &format!("{BASE}/rest"), headers, body).await
}

async fn post(client: &Client, body: &str) -> Reply {
    post_with(client, &[TYPE], body.to_owned()).await
}

fn iq(attrs: &str, content: &str) -> String {
    format!("<iq {attrs}>{content}</iq>")
}

/// A get of the tabs.
fn tabs(attrs: &str) -> String {
    iq(&format!("to='jeprivacy.ips3000' type='get' {attrs}"), TABS)
}

/// The stanza of an answer.
fn answered(reply: &Reply) -> Stanza {
    let text = String::from_utf8(reply.body.to_vec()).expect("it is UTF-8");
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/xmpp+xml"), "{text}");
    Stanza::parse(&text).expect("it is a stanza")
}

/// The refusal, with that status and that key.
fn refused(reply: &Reply, status: u16, key: &str) -> Value {
    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
    let refusal = reply.json();
    assert_eq!(refusal["data"]["key"], key, "{refusal}");
    refusal
}

on_each_server! {
    async fn an_iq_is_answered_as_xml_on_every_server(server) {
        let _eim = eim(server).await;
        let gateway = Gateway::with(&format!("{CLIENTS}\n{}", server.component_section(COMPONENT))).start().await;
        let chair = gateway.client().login_client("chair", "the chair's secret").await;
        let answer = answered(&post(&chair, &tabs("id='01' from='chair@ips3000/desk'")).await);
        let attr = |name| answer.attr(name).unwrap_or_default().to_owned();
        assert_eq!(["type", "id", "from", "to"].map(attr), ["result", "01", "jeprivacy.ips3000", "chair@ips3000/desk"]);
        assert!(answer.child("jeExtension").is_some_and(|e| e.child("getMainTabs").is_some()), "{}", answer.to_xml());

        let without_id = answered(&post(&chair, &tabs("")).await);
        assert!(without_id.attr("id").is_some_and(|id| !id.is_empty()), "an IQ without an id gets one");

        // What the other side refuses is an answer, too.
        let error = answered(&post(&chair, &iq("to='nobody.ips3000' type='get' id='2'", "<x xmlns='x:y'/>")).await);
        assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("2")), "{}", error.to_xml());
        assert!(error.child("error").is_some());
    }

    async fn a_limit_in_the_header_is_kept_and_never_longer_than_the_gateways(server) {
        // It never answers.
        let mut silent = Component::of(server, MODULES[1]).await;
        let section = server.component_section(COMPONENT);
        let gateway = Gateway::with(&format!("{CLIENTS}\n{section}timeout_ms = 3000\n")).start().await;
        let chair = gateway.client().login_client("chair", "the chair's secret").await;
        let times = async {
            let mut took = Vec::new();
            for limit in ["0.3", "none", "3600"] {
                let began = Instant::now();
                let reply = post_with(&chair, &[TYPE, ("Prosody-Rest-Timeout", limit)], tabs("")).await;
                refused(&reply, 504, "eim.timeout");
                took.push(began.elapsed());
            }
            took
        };
        let took = tokio::select! {
            took = times => took,
            () = silent.live() => unreachable!("it lives on"),
        };
        let own = Duration::from_millis(3000);
        assert!(took[0] < own, "{took:?}");
        assert!(took[1..].iter().all(|took| (own..own * 3).contains(took)), "{took:?}");
    }
}

#[tokio::test]
async fn what_is_no_iq_is_refused_with_mod_rests_status() {
    let fixture = Fixture::embedded().await;
    let user = fixture.chair().await;
    let good = tabs("id='1'");
    let deep = format!("{}{}", "<x xmlns='x:y'>".repeat(40), "</x>".repeat(40));
    let malformed = [
        String::new(),
        " ".to_owned(),
        "no xml".to_owned(),
        format!("{good}{good}"),
        format!("{good}text"),
        format!("<?xml version='1.0'?>{good}"),
        format!("<!DOCTYPE iq [<!ENTITY a 'b'>]>{good}"),
        format!("<!-- c -->{good}"),
        iq("to='a' type='get'", &deep),
    ];
    for body in malformed {
        refused(&post(&user, &body).await, 400, "rpc.invalidParams");
    }
    let reply = post_with(&user, &[TYPE], vec![b'<', 0xff, b'>']).await;
    refused(&reply, 400, "rpc.invalidParams");
    let unsuitable = [
        "<message to='jeprivacy.ips3000'><body>x</body></message>".to_owned(),
        "<presence/>".to_owned(),
        iq("xmlns='jabber:server' to='a' type='get'", TABS),
        iq("to='a' type='result'", TABS),
        iq("to='a'", TABS),
        iq("to='a' type='get'", ""),
        iq("to='a' type='get'", "<x xmlns='x:y'/><x xmlns='x:y'/>"),
        iq("type='get'", TABS),
        iq("to='a b@c' type='get'", TABS),
    ];
    for body in unsuitable {
        refused(&post(&user, &body).await, 422, "rpc.invalidParams");
    }
    answered(&post(&user, &good).await);
}

#[tokio::test]
async fn size_type_and_method_of_a_request_are_bounded() {
    let fixture = Fixture::embedded().await;
    let user = fixture.chair().await;
    let padding =
        |bytes: usize| iq("to='jeprivacy.ips3000' type='get'", &format!("<x xmlns='x:y'>{}</x>", "y".repeat(bytes)));
    assert_eq!(post(&user, &padding(64 * 1024)).await.status, 413);
    assert_eq!(post(&user, &padding(2 * 1024 * 1024)).await.status, 413);
    assert_ne!(post(&user, &padding(60 * 1024)).await.status, 413);
    for media_type in ["application/json", "text/xml", "application/xml", ""] {
        assert_eq!(post_with(&user, &[("content-type", media_type)], tabs("")).await.status, 415, "{media_type}");
    }
    assert_eq!(post_with(&user, &[], tabs("")).await.status, 415);
    let with_parameter = ("content-type", "Application/XMPP+XML; charset=utf-8");
    answered(&post_with(&user, &[with_parameter], tabs("")).await);
    let path = format!("{BASE}/rest");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let reply = user.request(method.clone(), &path, &[TYPE], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"), "{method}");
    }
    assert_eq!(user.request(Method::POST, &format!("{path}/iq/get/x"), &[TYPE], tabs("")).await.status, 404);
}

#[tokio::test]
async fn rights_are_those_of_process_iq() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let nobody = post(&chair.stranger(), &tabs("")).await;
    assert_eq!((nobody.status.as_u16(), nobody.header("www-authenticate")), (401, "Bearer realm=\"confgate\""));
    refused(&post(&chair.bearing("no.token.of-ours"), &tabs("")).await, 403, "auth.required");
    let in_address = format!("{BASE}/rest?token={}", chair.token().expect("it is logged in"));
    assert_eq!(chair.stranger().request(Method::POST, &in_address, &[TYPE], tabs("")).await.status, 401);

    let refusal = refused(&post(&chair, &tabs("from='u1074304@ips3000/uc'")).await, 403, "iq.fromForbidden");
    let trace_id = refusal["data"]["traceId"].as_str().expect("a refusal has an id");
    assert!(fixture.gateway.logged(trace_id).await.contains("iq.fromForbidden"), "the log has the refusal's id");
    let command = iq("to='ips3000' type='set'", "<command xmlns='http://jabber.org/protocol/commands' node='x'/>");
    refused(&post(&chair, &command).await, 403, "iq.commandsForbidden");

    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let answer = answered(&post(&guest, &tabs("id='3'")).await);
    let to = answer.attr("to").unwrap_or_default();
    assert!(to.starts_with(&format!("{}@", guest.user_id())), "the sender is the caller: {to}");
    let org = iq("to='jeorg.ips3000' type='get'", "<jeExtension xmlns='je:x:client:org'><x/></jeExtension>");
    refused(&post(&guest, &org).await, 403, "iq.namespaceForbidden");
    let elsewhere = iq("to='jeorg.ips3000' type='get'", TABS);
    refused(&post(&guest, &elsewhere).await, 403, "iq.destinationForbidden");
    guest.rpc("auth.http.logout", json!({})).await.result();
    assert_eq!(post(&guest, &tabs("")).await.status, 403, "a token that is over");
}

#[tokio::test]
async fn a_user_who_sends_too_many_is_told_when_to_come_back() {
    let fixture = Fixture::with("[limits]\niq_sets_per_minute = 2\n").await;
    let user = fixture.chair().await;
    let set = iq("to='jeprivacy.ips3000' type='set' id='1'", TABS);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let reply = post(&user, &set).await;
        if reply.status == 429 {
            assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
            refused(&reply, 429, "rpc.tooFast");
        }
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
    // It is one rate for both ways.
    user.rpc("org.user.processIQ", json!({ "reqXml": set })).await.refused(-32029);
}

#[tokio::test]
async fn an_eim_that_is_away_is_unavailable() {
    let config = format!(
        "{CLIENTS}\n[eim]\nmode = \"component\"\nhost = \"127.0.0.1\"\nport = 1\nsecret = \"s\"\nwait_ms = 100\n"
    );
    let gateway = Gateway::with(&config).start().await;
    let chair = gateway.client().login_client("chair", "the chair's secret").await;
    let reply = post(&chair, &tabs("")).await;
    refused(&reply, 503, "eim.unreachable");
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_send_the_limit() {
    let fixture = Fixture::with("[http]\nallowed_origins = [\"https://app.example\"]\n").await;
    let client = fixture.gateway.client();
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "prosody-rest-timeout"),
    ];
    let reply = client.request(Method::OPTIONS, &format!("{BASE}/rest"), &preflight, "").await;
    assert!(reply.header("access-control-allow-headers").contains("prosody-rest-timeout"), "{reply:?}");
    let foreign = [TYPE, ("origin", "https://other.example")];
    assert_eq!(post_with(&fixture.chair().await, &foreign, tabs("")).await.status, 403);
}
