//! The HTTPS door of the real binary: who may come, from where, with what, and what every answer carries.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::fixture::Fixture;
use crate::support::certificate::Certificate;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::wait::until_true;

const SERVER_NAME: &str = r#"{"id":1,"method":"config.getProperties","params":{"keys":["serverName"]}}"#;

#[tokio::test]
async fn a_foreign_page_is_refused_for_calls_and_sockets_alike() {
    let config =
        "[http]\nallowed_origins = [\"https://intranet.example.org\"]\npublic_url = \"https://meet.example.org\"";
    let fixture = Fixture::with(config).await;
    let chair = fixture.chair().await;
    let own = format!("https://{}", fixture.gateway.http());
    let offer = format!("confgate, bearer.{}", chair.token().unwrap());
    for (origin, allowed) in [
        (own.as_str(), true),
        ("https://meet.example.org", true),
        ("https://intranet.example.org", true),
        ("http://intranet.example.org", false),
        ("https://intranet.example.org.evil.example", false),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let called = chair.raw(SERVER_NAME, &[("origin", origin)]).await;
        assert_eq!(called.status, if allowed { 200 } else { 403 }, "{origin}");
        let cors = called.header("access-control-allow-origin");
        assert_eq!(cors, if origin.starts_with("https://intranet") && allowed { origin } else { "" });
        assert_eq!(called.header("access-control-allow-credentials"), "");
        let opened = chair.upgrade("", &[("sec-websocket-protocol", &offer), ("origin", origin)]).await;
        assert_eq!(opened.as_ref().err().map(|refused| refused.status.as_u16()), (!allowed).then_some(403), "{origin}");
        let page = chair.request(Method::POST, &format!("{BASE}/conference/x"), &[("origin", origin)], "").await;
        assert_eq!(page.status, if allowed { 200 } else { 403 }, "{origin}");
    }
    let preflight = [("origin", "https://intranet.example.org"), ("access-control-request-method", "POST")];
    let reply = chair.request(Method::OPTIONS, &format!("{BASE}/jsonrpc"), &preflight, "").await;
    assert_eq!(reply.header("access-control-allow-origin"), "https://intranet.example.org");
    assert!(reply.header("access-control-allow-headers").contains("authorization"), "{reply:?}");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let fixture = Fixture::with("[http]\nallowed_origins = [\"https://intranet.example.org\"]").await;
    let client = fixture.gateway.client();
    for path in ["/", "/docs", "/openrpc.json", "/asyncapi.json", "/conference/x", "/assets/base.css", "/nothing"] {
        let reply = client.get(&format!("{BASE}{path}")).await;
        assert_eq!(reply.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        assert!(reply.header("strict-transport-security").starts_with("max-age="), "{path}");
        assert_eq!(
            (reply.header("referrer-policy"), reply.header("x-content-type-options")),
            ("no-referrer", "nosniff")
        );
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors https://intranet.example.org"), "{path}: {policy}");
    }
    let rpc = client.raw(SERVER_NAME, &[]).await;
    assert_eq!((rpc.header("x-content-type-options"), rpc.header("content-type")), ("nosniff", "application/json"));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let fixture = Fixture::with("[limits]\nbody_bytes = 2048").await;
    let client = fixture.gateway.client();
    let padded = |bytes: usize| format!("{SERVER_NAME}{}", " ".repeat(bytes - SERVER_NAME.len()));
    assert_eq!(client.raw(padded(2048), &[]).await.status, 200);
    assert_eq!(client.raw(padded(2049), &[]).await.status, 413);
    assert_eq!(client.stranger().raw(SERVER_NAME, &[]).await.status, 200, "and the door stays open");
}

#[tokio::test]
async fn a_certificate_that_changes_is_served_without_a_restart() {
    let fixture = Fixture::embedded().await;
    fixture.gateway.client().raw(SERVER_NAME, &[]).await;
    Certificate::for_names(&["localhost", "127.0.0.1"]).write(&fixture.gateway.directory().join("certs"));
    until_true("the new certificate is served", async || {
        let request = http::Request::post(format!("{BASE}/jsonrpc")).header("host", fixture.gateway.http().to_string());
        let request = request.body(http_body_util::Full::from(SERVER_NAME)).unwrap();
        // A client of its own trusts the file as it is now.
        fixture.gateway.client().exchange(request).await.is_ok()
    })
    .await;
    // One half of a pair is no certificate: what was good stays.
    std::fs::write(fixture.gateway.directory().join("certs/key.pem"), "nonsense").unwrap();
    fixture.gateway.logged("certificate").await;
    assert_eq!(fixture.gateway.client().raw(SERVER_NAME, &[]).await.status, 200);
}

async fn is_let_in(client: &Client) -> bool {
    let request = http::Request::post(format!("{BASE}/jsonrpc")).header("host", "localhost");
    let request = request.body(http_body_util::Full::from(SERVER_NAME)).unwrap();
    client.exchange(request).await.is_ok_and(|reply| reply.status == 200)
}

#[tokio::test]
async fn networks_are_checked_before_anything_is_said() {
    for (config, let_in) in [
        ("[http]\ndenied_networks = [\"127.0.0.0/8\"]", false),
        ("[http]\nallowed_networks = [\"192.0.2.0/24\"]", false),
        ("[http]\nallowed_networks = [\"127.0.0.0/8\"]", true),
        ("[http]\nallowed_networks = [\"127.0.0.0/8\"]\ndenied_networks = [\"127.0.0.1\"]", false),
    ] {
        let gateway = Gateway::with(config).start().await;
        assert_eq!(is_let_in(&gateway.client()).await, let_in, "{config}");
    }
}

/// Whether a wrong guess in the name of that address is answered, and not put off.
async fn may_guess(client: &Client, forwarded: &str) -> bool {
    let path = format!("{BASE}/conference/wrong-one");
    let reply = client.request(Method::POST, &path, &[("x-forwarded-for", forwarded)], "").await;
    reply.status == 200
}

#[tokio::test]
async fn a_clients_address_is_believed_from_a_trusted_proxy_only() {
    let limits = "[limits]\nguesses_per_minute = 2\n";
    let trusting = Fixture::with(&format!("[http]\ntrusted_proxies = [\"127.0.0.1\"]\n{limits}")).await;
    let client = trusting.gateway.client();
    for (address, answered) in [("192.0.2.1", true), ("192.0.2.1", true), ("192.0.2.1", false), ("198.51.100.1", true)]
    {
        assert_eq!(may_guess(&client, address).await, answered, "{address}");
    }
    // An entry that a client writes in front of the proxy's own entry is not believed.
    assert!(!may_guess(&client, "203.0.113.9, 192.0.2.1").await);

    let plain = Fixture::with(limits).await;
    let client = plain.gateway.client();
    let addresses = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];
    let mut answered = Vec::new();
    for address in addresses {
        answered.push(may_guess(&client, address).await);
    }
    assert_eq!(answered, [true, true, false], "all are the same one who really connected");
}

#[tokio::test]
async fn an_address_over_its_budget_is_told_when_to_come_back() {
    let fixture = Fixture::with("[limits]\nrequests_per_minute = 5").await;
    let client = fixture.gateway.client();
    let mut last = client.raw(SERVER_NAME, &[]).await;
    for _ in 0..5 {
        last = client.raw(SERVER_NAME, &[]).await;
    }
    assert_eq!(last.status, 429);
    assert!(last.header("retry-after").parse::<u64>().is_ok_and(|s| (1..=60).contains(&s)), "{last:?}");
    assert_eq!(last.json()["code"], -32029);
    assert!(last.json()["data"]["traceId"].as_str().is_some_and(|id| !id.is_empty()), "{last:?}");
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let fixture = Fixture::with("[log]\nfilter = \"trace\"").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "password": "very-secret-word" })).await;
    let guest = fixture.guest(&code, "Guest").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    guest.rpc("conference.sendMessage", json!({ "confId": conf, "text": "between-us-only" })).await.result();
    let token = guest.token().unwrap();
    let mut socket =
        guest.upgrade(&format!("token={token}"), &[]).await.unwrap_or_else(|refused| panic!("{refused:?}"));
    socket.expect("hello").await;
    socket.next_notification(Duration::from_secs(5)).await.expect("a snapshot comes");
    fixture.gateway.client().request(Method::POST, &format!("{BASE}/conference/{code}"), &[], "").await;
    let logs = fixture.gateway.logs();
    let refresh = guest.login()["refreshToken"].as_str().unwrap();
    for secret in ["very-secret-word", "between-us-only", token, refresh, &code, "the chair's secret"] {
        let line = logs.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
