//! Operators' view: the same by `check` as by `serve`, in metrics, in the log, of call gateways, of certificates.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::call_gateway::Trust;
use crate::support::gateway::Gateway;
use crate::support::media::{NODE_SECRET, builtin_node, flows};
use crate::support::ports::Port;
use crate::support::wait::until_true;
use crate::xmpp::check;

/// `[http]` and `[admin]` at free ports, with the embedded default's own certificate.
fn listeners(http: &Port, admin: &Port) -> String {
    format!("[http]\nlisten = \"{}\"\n[admin]\nlisten = \"{}\"\n", http.address(), admin.address())
}

#[tokio::test]
async fn check_refuses_what_serve_refuses() {
    let (http, admin) = (Port::claim(), Port::claim());
    let (code, said) = check(&listeners(&http, &admin)).await;
    assert_eq!(code, Some(0), "{said}");
    for (taken, key) in [(&http, "http.listen"), (&admin, "admin.listen")] {
        let _taken = TcpListener::bind(taken.address()).expect("the port is free");
        let (code, said) = check(&listeners(&http, &admin)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.lines().any(|line| line.starts_with(&format!("FAILED {key}: "))), "{said}");
        let (status, said) = Gateway::with(&listeners(&http, &admin)).fail().await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(key) && said.contains("in use"), "{said}");
    }
    for (config, key) in [
        ("[events]\nmode = \"amqp\"\nurl = \"amqp://127.0.0.1\"\n", "events.mode"),
        ("[store]\nurl = \"postgres://127.0.0.1/confgate\"\n", "store.url"),
        ("[live]\ncallback_listen = \"127.0.0.1:0\"\n", "live is not available in this version"),
        (
            "[events]\nnumbered = \"gateway\"\n",
            "events.numbered = \"gateway\"; allowed: \"eim\", since eim.mode is \"builtin\": the built-in EIM numbers its events",
        ),
    ] {
        let (code, said) = check(config).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(key), "{said}");
        let (status, said) = Gateway::with(config).fail().await;
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(key), "{said}");
    }
}

#[tokio::test]
async fn every_metric_says_what_it_is_and_requests_are_timed() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    guest.rpc("no.such.method", json!({})).await.refused(-32601);
    let (_, text) = fixture.gateway.admin_get("/metrics").await;
    let named = |prefix: &str| -> BTreeSet<String> {
        let of = text.lines().filter_map(|line| line.strip_prefix(prefix)?.split(' ').next().map(str::to_owned));
        of.collect()
    };
    let (types, helps) = (named("# TYPE "), named("# HELP "));
    assert_eq!(types.difference(&helps).collect::<Vec<_>>(), Vec::<&String>::new(), "without HELP");
    assert!(types.len() > 20, "{types:?}");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        assert_eq!(kind == "histogram", name.ends_with("_seconds"), "{line}");
    }
    let bucket = |method: &str| format!("confgate_rpc_request_seconds_bucket{{method=\"{method}\",le=\"");
    assert!(text.contains(&bucket("conference.join")), "{text}");
    assert!(!text.contains("no.such.method"), "a label is the client's choice");
}

#[tokio::test]
async fn a_refusals_trace_id_is_in_the_log() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let refused = chair.rpc("conference.get", json!({ "confId": "none" })).await.refused(-32004);
    let id = refused["data"]["traceId"].as_str().expect("a trace id").to_owned();
    let line = fixture.gateway.logged(&id).await;
    assert!(line.contains("conference.get") && line.contains("conference.notFound"), "{line}");
    // Each of a batch has its own.
    let batch = json!([
        { "id": 1, "method": "conference.get", "params": { "confId": "none" } },
        { "id": 2, "method": "conference.get", "params": { "confId": "none" } },
    ]);
    let replies = chair.post(&batch).await.json();
    let ids: BTreeSet<&str> = replies.as_array().expect("a list").iter().filter_map(trace_id).collect();
    assert_eq!(ids.len(), 2, "{replies}");
    for id in ids {
        fixture.gateway.logged(id).await;
    }
}

fn trace_id(reply: &Value) -> Option<&str> {
    reply["error"]["data"]["traceId"].as_str()
}

#[tokio::test]
async fn a_failed_login_is_logged_with_block_and_id_and_nothing_secret() {
    let fixture = Fixture::embedded().await;
    let client = fixture.gateway.client();
    for params in [
        json!({ "grantType": "password", "userId": "somebody", "password": "hush-1" }),
        json!({ "grantType": "client_credentials", "clientId": "someone", "clientSecret": "hush-2" }),
        json!({ "grantType": "conference_link", "link": "hush-3", "name": "x" }),
    ] {
        assert!(client.try_login(params).await.is_err());
    }
    for word in ["somebody", "someone"] {
        let line = fixture.gateway.logged(word).await;
        assert!(line.contains("a login failed") && line.contains("127.0.0.0/24"), "{line}");
    }
    fixture.gateway.logged("conference_link").await;
    assert!(!fixture.gateway.logs().contains("hush"), "{}", fixture.gateway.logs());
}

#[tokio::test]
async fn a_flood_of_failed_logins_does_not_fill_the_log() {
    let gateway = Gateway::with("[limits]\nlogin_failures_per_minute = 100000\n").start().await;
    let client = gateway.client();
    for _ in 0..10 {
        let batch: Vec<Value> = (0..20)
            .map(|i| json!({ "id": i, "method": "auth.http.login", "params": { "grantType": "password", "userId": "a", "password": "b" } }))
            .collect();
        client.post(&json!(batch)).await;
    }
    assert_eq!(gateway.metric("confgate_logins_failed_total").await, Some(200.0));
    let lines = gateway.logs().lines().filter(|line| line.contains("a login failed")).count();
    // As many as may be at once, and one more each second.
    assert!((1..120).contains(&lines), "{lines}");
}

/// A media node, and the section with which a gateway has it under that address.
async fn media(trust: &Trust, more: &str) -> (Gateway, String) {
    let [cert, key] = trust.files();
    let secret = "the secret that the node shares";
    let node = Gateway::media(&format!(
        "[http]\ncert = {cert:?}\nkey = {key:?}\n[node]\nid = \"m1\"\n[callgw]\n{more}\n\
         [[callgw.nodes]]\nid = \"m1\"\nkind = \"builtin\"\nsecret = \"{secret}\"\n"
    ));
    let node = node.start().await;
    let section = format!("[[callgw.nodes]]\nid = \"m1\"\nkind = \"confgate\"\nsecret = \"{secret}\"\n");
    (node, section)
}

#[tokio::test]
async fn a_bare_address_of_a_node_leads_to_where_it_serves_and_a_wrong_one_is_no_health() {
    let trust = Trust::new();
    let (node, section) = media(&trust, "").await;
    let authority = node.http();
    let gateway = |path: &str| {
        let config = format!("{}{section}url = \"wss://{authority}{path}\"\n", trust.hasty_section());
        async move { Gateway::with(&config).start().await }
    };
    let healthy = gateway("").await;
    let told = async |gateway: &Gateway| {
        let readyz = gateway.readyz().await;
        let parts = readyz["parts"].as_array().expect("parts").clone();
        parts.into_iter().find(|part| part["part"] == "callgw.m1").expect("the node is a part")
    };
    until_true("the node is healthy", async || told(&healthy).await["state"] == "up").await;
    let (code, said) = check(&format!("{}{section}url = \"wss://{authority}\"\n", trust.section())).await;
    assert!(said.contains("ok     callgw m1: "), "{code:?} {said}");

    let wrong = gateway("/elsewhere").await;
    until_true("a node that answers 404 is down", async || {
        let part = told(&wrong).await;
        part["state"] == "down" && part["reason"].as_str().is_some_and(|why| why.contains("404"))
    })
    .await;
    let (_, said) = check(&format!("{}{section}url = \"wss://{authority}/elsewhere\"\n", trust.section())).await;
    assert!(said.contains("FAILED callgw m1: it answers 404"), "{said}");
}

#[tokio::test]
async fn a_certificate_that_is_not_taken_is_told_in_words() {
    let trust = Trust::new();
    let (node, section) = media(&trust, "").await;
    let config = format!("{section}url = \"wss://{}\"\n", node.http());
    let (_, said) = check(&config).await;
    let line = said.lines().find(|line| line.starts_with("FAILED callgw m1: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("its certificate is signed by nobody who is trusted here"), "{line}");
    let config = format!("{}{section}url = \"wss://localhost:{}\"\n", trust.section(), node.http().port());
    let (_, said) = check(&config).await;
    let line = said.lines().find(|line| line.starts_with("FAILED callgw m1: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("its certificate isn't for localhost but for"), "{line}");
}

#[tokio::test]
async fn a_node_full_of_connections_says_so_and_the_next_one_is_taken() {
    let trust = Trust::new();
    let node = async |id: &str| {
        let [cert, key] = trust.files();
        let http = format!("[http]\ncert = {cert:?}\nkey = {key:?}\n[node]\nid = \"{id}\"\n");
        let callgw = "[callgw]\nthreads = 1\nconnections = 2\nreport_interval_ms = 200\n";
        Gateway::media(&format!("{http}{}{callgw}", builtin_node(id))).start().await
    };
    let nodes = [("m1", node("m1").await), ("m2", node("m2").await)];
    let entry = |(id, node): &(&str, Gateway)| {
        let url = format!("wss://{}", node.http());
        format!("[[callgw.nodes]]\nid = {id:?}\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n")
    };
    let entries: String = nodes.iter().map(entry).collect();
    let fixture = Fixture::with(&format!("{entries}{}", trust.hasty_section())).await;
    let operator = fixture.operator().await;
    let load = async |id: &str| {
        let listed = operator.rpc("callgw.list", json!({})).await.result();
        let nodes = listed["nodes"].as_array().expect("a list").clone();
        nodes.iter().find(|node| node["gatewayId"] == id).and_then(|node| node["load"].as_f64())
    };
    until_true("both report", async || load("m1").await.is_some() && load("m2").await.is_some()).await;

    let full = nodes[0].1.client();
    full.has_members("m1", "noise", &["sender", "viewer"]).await;
    let mut sender = full.joined("m1", "noise", "sender").await;
    let mut viewer = full.joined("m1", "noise", "viewer").await;
    let (mut sends, mut sees) = (sender.publish("sender").await, viewer.watch("sender").await);
    flows(&mut sends, &mut sees).await;
    until_true("it is said to be full", async || load("m1").await.is_some_and(|load| load >= 1.0)).await;
    let chair = fixture.chair().await;
    for _ in 0..10 {
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let guest = fixture.guest(&code, "Guest").await;
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
        let given = guest.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
        assert_eq!(given["gatewayId"], "m2", "{given}");
    }
}
