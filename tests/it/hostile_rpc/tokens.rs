//! Access tokens: forged, foreign, expired, of another kind, ended.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use confgate::ids::Secret;
use confgate::token::{Access, Keys, Kind, KindKeys};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::rpc_shape::{assert_error_shape, assert_unharmed};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::until_true;

const KEY: &str = "the key that signs in this test, 32 bytes or more";
/// Within which an ended token is refused and its socket closed.
const PROMISED: Duration = Duration::from_secs(1);
/// For a machine that does much else.
const ALLOWANCE: Duration = Duration::from_secs(2);

/// A gateway whose signing key the test knows.
async fn fixture() -> Fixture {
    Fixture::with(&format!("[[auth.keys]]\nid = \"k1\"\nsecret = \"{KEY}\"\n")).await
}

fn keys(id: &str, secret: &str) -> Keys {
    Keys::new(&[(id.to_owned(), Secret::new(secret))])
}

/// The gateway's own key for tokens of that kind.
fn of_kind(kind: Kind) -> KindKeys {
    KindKeys::new(&[("k1".to_owned(), Secret::new(KEY))], kind)
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("a token has three parts");
    serde_json::from_slice(&BASE64.decode(part).expect("a token is base64url")).expect("a token's parts are JSON")
}

fn with_header(token: &str, header: &Value) -> (String, String) {
    let mut parts = token.splitn(3, '.').skip(1);
    let (claims, signature) = (parts.next().expect("claims"), parts.next().expect("a signature"));
    let head = format!("{}.{claims}", BASE64.encode(header.to_string()));
    (format!("{head}.{signature}"), format!("{head}."))
}

/// The token is refused, over HTTP and for the event socket alike, with that code.
async fn is_refused(client: &Client, token: &str, code: i64) {
    let bearing = client.bearing(token);
    let answer = bearing.rpc("conference.list", json!({})).await;
    assert_error_shape(&answer.0);
    answer.refused(code);
    let protocols = format!("confgate, bearer.{token}");
    let ways: [(&str, Vec<(&str, &str)>); 2] =
        [("", vec![("sec-websocket-protocol", protocols.as_str())]), (&format!("token={token}"), vec![])];
    for (query, headers) in ways {
        let Err(reply) = bearing.upgrade(query, &headers).await else { panic!("the upgrade is not refused") };
        assert_eq!(reply.status, 401, "{reply:?}");
        crate::rpc_shape::assert_error(&reply.json());
        assert_eq!(reply.json()["code"], code);
    }
}

#[tokio::test]
async fn a_token_that_is_not_signed_by_us_for_this_purpose_is_refused() {
    let fixture = fixture().await;
    let chair = fixture.chair().await;
    let nobody = fixture.gateway.client();
    let token = chair.token().expect("the chair has logged in");
    assert_eq!(part(token, 0)["alg"], "HS256");
    let claims: Access = serde_json::from_value(part(token, 1)).expect("the claims of an access token");
    let (none, unsigned) = with_header(token, &json!({ "alg": "none", "typ": "JWT" }));
    let (hs512, _) = with_header(token, &json!({ "alg": "HS512", "typ": "JWT", "kid": "k1" }));
    let (rs256, _) = with_header(token, &json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    let own = keys("k1", KEY);
    let mut promoted = part(token, 1);
    promoted["scope"] = "operator".into();
    let promoted = BASE64.encode(promoted.to_string());
    let promoted = token.split('.').enumerate().map(|(n, p)| if n == 1 { promoted.as_str() } else { p });
    let promoted = promoted.collect::<Vec<_>>().join(".");
    let forged = [
        none,
        unsigned,
        hs512,
        rs256,
        promoted,
        keys("k1", "another key, which is as long as the first").access.sign(&claims),
        of_kind(Kind::Link).sign(&claims),
        own.access.sign(&Access { typ: "link".into(), ..claims.clone() }),
        own.access.sign(&Access { aud: "elsewhere".into(), ..claims.clone() }),
        "a.b.c".to_owned(),
        "x".to_owned(),
        format!("{token}x"),
        "A".repeat(5000),
    ];
    for token in &forged {
        is_refused(&nobody, token, -32001).await;
    }
    let past = own.access.sign(&Access { deadline: 1, exp: 0, ..claims.clone() });
    is_refused(&nobody, &past, -32002).await;
    // The key that forged them is the gateway's own: with nothing wrong, such a token is good.
    let good = nobody.bearing(&own.access.sign(&claims));
    good.rpc("conference.list", json!({})).await.result();
    assert_unharmed(&fixture.gateway).await;
}

/// Signed by the gateway's own key for access tokens, whatever the header and the claims are.
fn signed(head: &str, claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &confgate::token::derive(KEY, "access"));
    let signed = format!("{}.{}", BASE64.encode(head), BASE64.encode(claims));
    format!("{signed}.{}", BASE64.encode(hmac::sign(&key, signed.as_bytes())))
}

#[tokio::test]
async fn a_well_signed_token_that_we_would_not_have_written_is_refused() {
    let fixture = fixture().await;
    let chair = fixture.chair().await;
    let nobody = fixture.gateway.client();
    let claims = part(chair.token().expect("a token"), 1);
    let head = r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#;
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        signed(head, &claims.to_string())
    };
    let headed =
        |more: &str| signed(&format!(r#"{{"alg":"HS256","typ":"JWT","kid":"k1",{more}}}"#), &claims.to_string());
    let ahead = confgate::clock::date_ms() / 1000 + 3600;
    let twice = claims.to_string().replacen('{', r#"{"userId":"admin","#, 1);
    let odd = [
        headed(r#""crit":["exp"]"#),
        headed(r#""b64":false,"crit":["b64"]"#),
        headed(r#""b64":false"#),
        headed(r#""cty":"JWT""#),
        headed(r#""jwk":{"kty":"oct","k":"AAAA"}"#),
        headed(r#""alg":"HS256""#),
        signed(r#"{"alg":"HS256","kid":"k9"}"#, &claims.to_string()),
        with("nbf", json!(ahead)),
        with("iat", json!(ahead)),
        with("exp", json!(1.5e300)),
        with("exp", Value::Null),
        with("aud", json!(["elsewhere"])),
        with("typ", json!("call gateway")),
        signed(head, &twice),
        signed(head, &format!("{claims} true")),
        format!("{}=", with("x", json!(1))),
    ];
    for token in &odd {
        is_refused(&nobody, token, -32001).await;
    }
    is_refused(&nobody, &with("exp", json!(1)), -32002).await;
    let good = nobody.bearing(&with("nbf", json!(ahead - 7200)));
    good.rpc("conference.list", json!({})).await.result();
}

#[tokio::test]
async fn a_token_of_one_kind_does_not_pass_for_another() {
    let fixture = fixture().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let nobody = fixture.gateway.client();
    let link = code.strip_prefix('~').expect("links are signed");
    is_refused(&nobody, link, -32001).await;

    // As links were signed before.
    let claims = json!({ "typ": "link", "aud": "confgate", "jti": "no-such-link", "cid": conf, "role": "chair" });
    let own = keys("k1", KEY);
    let former = of_kind(Kind::Link).sign(&claims);
    let links = [chair.token().expect("a token").to_owned(), own.access.sign(&claims), former];
    for link in links {
        let params = json!({ "grantType": "conference_link", "link": format!("~{link}"), "name": "x" });
        let answer = nobody.rpc("auth.http.login", params).await;
        assert_error_shape(&answer.0);
        answer.refused(-32004);
    }
    let for_gateways = of_kind(Kind::CallGateway);
    let claims: Access = serde_json::from_value(part(chair.token().expect("a token"), 1)).expect("claims");
    is_refused(&nobody, &for_gateways.sign(&claims), -32001).await;
    let params = json!({ "grantType": "refresh_token", "refreshToken": chair.token() });
    nobody.rpc("auth.http.login", params).await.refused(-32001);
    is_refused(&nobody, chair.login()["refreshToken"].as_str().expect("a refresh token"), -32001).await;
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn an_expired_token_is_told_from_a_wrong_one_and_its_socket_closes() {
    let fixture = Fixture::with("[auth]\naccess_ttl_s = 1\n").await;
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    socket.expect("auth.expiring").await;
    assert_eq!(socket.close_code().await, 4001);
    is_refused(&chair, chair.token().expect("a token"), -32002).await;
    chair.refreshed().await.rpc("config.getProperties", json!({ "keys": [] })).await.result();
}

/// From now on the caller is refused, and their socket is closed with that code in time.
async fn ends(client: &Client, mut socket: EventSocket, since: Instant, code: u16) {
    client.rpc("config.getProperties", json!({ "keys": [] })).await.refused(-32001);
    assert!(since.elapsed() < PROMISED + ALLOWANCE, "refused after {:?}", since.elapsed());
    assert_eq!(socket.close_code().await, code);
    assert!(since.elapsed() < PROMISED + ALLOWANCE, "closed after {:?}", since.elapsed());
    let params = json!({ "grantType": "refresh_token", "refreshToken": client.login()["refreshToken"] });
    client.stranger().rpc("auth.http.login", params).await.refused(-32001);
}

async fn in_conference(client: &Client, conf: &str) -> EventSocket {
    let mut socket = client.open_socket().await;
    socket.expect("hello").await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket
}

#[tokio::test]
async fn a_logout_ends_the_token_its_refresh_token_and_its_socket() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let guest = fixture.guest(&code, "张三").await;
    for client in [&guest, &chair] {
        let socket = in_conference(client, &conf).await;
        let since = Instant::now();
        assert_eq!(client.rpc("auth.http.logout", json!({})).await.result(), json!({}));
        ends(client, socket, since, 4001).await;
    }
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn a_kick_and_a_ban_end_the_guests_token_and_socket() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let _watching = in_conference(&chair, &conf).await;
    for action in ["kick", "ban"] {
        let guest = fixture.guest(&code, "张三").await;
        let socket = in_conference(&guest, &conf).await;
        let since = Instant::now();
        let params = json!({ "confId": conf, "action": action, "userId": guest.user_id() });
        chair.rpc("conference.control", params).await.result();
        ends(&guest, socket, since, 4003).await;
    }
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn a_refresh_token_serves_once_and_a_second_use_ends_its_family() {
    let fixture = Fixture::embedded().await;
    let first = fixture.chair().await;
    let second = first.refreshed().await;
    assert_ne!(first.login()["refreshToken"], second.login()["refreshToken"]);
    assert_eq!(first.user_id(), second.user_id());
    let other_login = fixture.chair().await;
    let mut socket = second.open_socket().await;
    socket.expect("hello").await;

    let since = Instant::now();
    let params = json!({ "grantType": "refresh_token", "refreshToken": first.login()["refreshToken"] });
    first.stranger().rpc("auth.http.login", params).await.refused(-32001);
    first.rpc("conference.list", json!({})).await.refused(-32001);
    ends(&second, socket, since, 4001).await;
    // Another login of the same user is another family.
    other_login.rpc("conference.list", json!({})).await.result();
    other_login.refreshed().await;
    assert_unharmed(&fixture.gateway).await;
}

#[tokio::test]
async fn a_refresh_on_the_socket_keeps_it_open_beyond_the_first_token() {
    let fixture = Fixture::with("[auth]\naccess_ttl_s = 2\n").await;
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    let params = json!({ "grantType": "refresh_token", "refreshToken": chair.login()["refreshToken"] });
    let old_deadline = chair.login()["deadline"].as_u64().expect("a time");
    // Not at once: the new deadline has to be another one.
    until_true("a second has passed", async || confgate::clock::date_ms() + 1000 > old_deadline).await;
    let renewed = socket.call("auth.http.login", params).await.result();
    assert!(renewed["deadline"].as_u64() > Some(old_deadline));
    until_true("the first token has expired", async || confgate::clock::date_ms() > old_deadline).await;
    socket.call("config.getProperties", json!({ "keys": [] })).await.result();
}
