//! Logins: guesses at passwords and secrets, open clients from elsewhere.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::rpc_shape::{assert_error_shape, assert_unharmed};
use crate::support::client::Client;
use crate::support::gateway::Gateway;

/// Each request says where it comes from, as a proxy that the gateway trusts would.
const WORLD: &str = r#"
[http]
trusted_proxies = ["127.0.0.1/32"]

[limits]
slow_login_ms = 400

[eim]
users = [{ user_id = "u1", name = "王五", password = "battery staple" }, { user_id = "u2", name = "赵六", password = "right" }]

[[auth.clients]]
id = "near"
open = true
networks = ["192.0.2.0/24"]

[[auth.clients]]
id = "closed"
secret = "the secret of the closed one"
"#;

struct Elsewhere<G> {
    gateway: G,
    client: Client,
}

impl Elsewhere<Gateway> {
    async fn start() -> Self {
        let gateway = Gateway::with(WORLD).start().await;
        let client = gateway.client();
        Self { gateway, client }
    }
}

impl<G> Elsewhere<G> {
    /// The result of a login from that address: 0, or the error's code.
    async fn login(&self, address: &str, params: Value) -> i64 {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "auth.http.login", "params": params });
        let reply = self.client.raw(request.to_string(), &[("x-forwarded-for", address)]).await.json();
        let Some(code) = reply["error"]["code"].as_i64() else { return 0 };
        assert_error_shape(&reply);
        let retry = reply["error"]["data"]["retryAfterMs"].as_u64();
        assert_eq!(retry.is_some_and(|ms| ms > 0), code == -32029, "{reply}");
        code
    }

    async fn password(&self, address: &str, user: &str, password: &str) -> i64 {
        self.login(address, json!({ "grantType": "password", "userId": user, "password": password })).await
    }
}

#[tokio::test]
async fn failed_logins_are_limited_for_each_address_whatever_the_id() {
    let world = Elsewhere::start().await;
    for n in 0..10 {
        assert_eq!(world.password("198.51.100.1", &format!("nobody{n}"), "guess").await, -32001);
    }
    assert_eq!(world.password("198.51.100.1", "u1", "battery staple").await, -32029, "right, but not now");
    let client = json!({ "grantType": "client_credentials", "clientId": "closed", "clientSecret": "guess" });
    assert_eq!(world.login("198.51.100.1", client).await, -32029);
    assert_eq!(world.password("198.51.100.2", "u1", "battery staple").await, 0, "others are not concerned");
    assert_unharmed(&world.gateway).await;
}

#[tokio::test]
async fn an_id_that_is_tried_from_everywhere_is_slowed_and_its_owner_is_never_locked_out() {
    let world = Elsewhere::start().await;
    let secret =
        |secret: &str| json!({ "grantType": "client_credentials", "clientId": "closed", "clientSecret": secret });
    let password = |password: &str| json!({ "grantType": "password", "userId": "u1", "password": password });
    for (wrong, right) in
        [(password("guess"), password("battery staple")), (secret("guess"), secret("the secret of the closed one"))]
    {
        let guess = |n: u32| {
            let (gateway, wrong) = (&world.gateway, wrong.clone());
            async move {
                let elsewhere = Elsewhere { client: gateway.client(), gateway };
                elsewhere.login(&format!("198.51.{n}.1"), wrong).await
            }
        };
        assert!(join_all((0..40).map(guess)).await.into_iter().all(|code| code == -32001));
        // While more come from anywhere.
        let began = Instant::now();
        let login = async { (world.login("203.0.113.1", right.clone()).await, began.elapsed()) };
        let ((owner, after), more) = tokio::join!(login, join_all((40..50).map(guess)));
        assert_eq!((owner, more), (0, vec![-32001; 10]));
        assert!(after >= Duration::from_millis(400), "held for a moment: {after:?}");
    }
    assert_eq!(world.password("203.0.113.1", "u2", "right").await, 0, "other ids are not concerned");
    assert_unharmed(&world.gateway).await;
}

#[tokio::test]
async fn ten_wrong_tries_at_an_id_from_one_address_are_enough_there() {
    let world = Elsewhere::start().await;
    assert_eq!(world.password("198.51.100.1", "u1", "battery staple").await, 0);
    for _ in 0..10 {
        assert_eq!(world.password("198.51.100.1", "u1", "guess").await, -32001);
    }
    assert_eq!(world.password("198.51.100.1", "u1", "guess").await, -32029);
    assert_eq!(world.password("203.0.113.1", "u1", "battery staple").await, 0, "its owner elsewhere");
}

#[tokio::test]
async fn right_logins_are_not_counted() {
    let world = Elsewhere::start().await;
    for _ in 0..25 {
        assert_eq!(world.password("198.51.100.1", "u1", "battery staple").await, 0);
    }
}

#[tokio::test]
async fn refresh_tokens_that_are_none_are_counted_as_failures() {
    let world = Elsewhere::start().await;
    let guess = |n: u32| {
        // Each of another family: it is the address that is held back.
        let digits = format!("{n:016x}{:024x}", 0);
        let token = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digits);
        json!({ "grantType": "refresh_token", "refreshToken": token })
    };
    for n in 0..10 {
        assert_eq!(world.login("198.51.100.1", guess(n)).await, -32001);
    }
    assert_eq!(world.login("198.51.100.1", guess(10)).await, -32029);
    assert_eq!(world.login("198.51.100.2", guess(11)).await, -32001);
}

#[tokio::test]
async fn an_open_client_is_let_in_without_a_secret_from_its_networks_only() {
    let world = Elsewhere::start().await;
    let login = |client: &str, secret: Option<&str>| match secret {
        Some(secret) => json!({ "grantType": "client_credentials", "clientId": client, "clientSecret": secret }),
        None => json!({ "grantType": "client_credentials", "clientId": client }),
    };
    assert_eq!(world.login("192.0.2.9", login("near", None)).await, 0);
    assert_eq!(world.login("198.51.100.9", login("near", None)).await, -32001);
    assert_eq!(world.login("192.0.2.9", login("near", Some("made up"))).await, -32001);
    assert_eq!(world.login("192.0.2.9", login("closed", None)).await, -32001);
    assert_eq!(world.login("192.0.2.9", login("closed", Some("wrong"))).await, -32001);
    assert_eq!(world.login("192.0.2.9", login("no-such-client", None)).await, -32001);
    assert_eq!(world.login("198.51.100.9", login("closed", Some("the secret of the closed one"))).await, 0);
}

#[tokio::test]
async fn a_login_has_the_members_and_types_of_the_original_interface() {
    let world = Elsewhere::start().await;
    let login = world.client.login_password("u1", "battery staple").await;
    let login = login.login();
    let members: Vec<&String> = login.as_object().expect("an object").keys().collect();
    let expected = ["accessToken", "clientType", "corpId", "deadline", "name", "refreshToken", "userId"];
    let mut sorted = members.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!((&login["clientType"], &login["corpId"]), (&json!("password"), &Value::Null));
    let in_77_minutes = confgate::clock::date_ms() + 4_620_000;
    assert!(login["deadline"].as_u64().is_some_and(|at| at.abs_diff(in_77_minutes) < 60_000), "{login}");
    assert_eq!(login["refreshToken"].as_str().map(str::len), Some(56), "base64 of 40 digits");
}
