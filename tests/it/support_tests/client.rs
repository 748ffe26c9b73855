//! The HTTPS client, against a server that says what it received.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::any;
use serde_json::{Value, json};

use super::tls_server::TlsServer;
use crate::support::certificate::Certificate;
use crate::support::client::Client;

/// Answers a login with a token and any other call with its params and the caller's `Authorization`.
async fn server() -> TlsServer {
    let answer = |headers: HeaderMap, body: String| async move {
        let Ok(request) = serde_json::from_str::<Value>(&body) else {
            let refusal = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "no JSON" } });
            return refusal.to_string();
        };
        let bearer = headers.get("authorization").map(|v| v.to_str().unwrap_or_default().to_owned());
        let result = match request["params"]["grantType"].as_str() {
            Some(_) => json!({ "accessToken": "t1", "refreshToken": "r1", "userId": "u1" }),
            None => json!({ "params": request["params"], "bearer": bearer }),
        };
        json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()
    };
    TlsServer::start(Router::new().route("/gzbwclient/jsonrpc", any(answer))).await
}

#[tokio::test]
async fn a_call_carries_the_token_of_the_login_and_nobodys_without_one() {
    let server = server().await;
    let nobody = Client::new(server.address, &server.certificate());
    let result = nobody.rpc("x", json!({ "a": 1 })).await.result();
    assert_eq!(result, json!({ "params": { "a": 1 }, "bearer": null }));

    let guest = nobody.login_link("code", "Anna").await;
    assert_eq!((guest.token(), guest.user_id()), (Some("t1"), "u1"));
    assert_eq!(guest.rpc("x", json!({})).await.result()["bearer"], "Bearer t1");
    assert_eq!(nobody.bearing("t2").rpc("x", json!({})).await.result()["bearer"], "Bearer t2");
    assert_eq!(guest.stranger().rpc("x", json!({})).await.result()["bearer"], json!(null));
}

#[tokio::test]
async fn bytes_that_are_no_json_are_posted_as_they_are() {
    let server = server().await;
    let client = Client::new(server.address, &server.certificate());
    let reply = client.raw(&b"\xff{"[..], &[("content-type", "text/plain")]).await;
    assert_eq!(reply.status, 400, "axum takes no text that is no UTF-8");
    let reply = client.raw("{", &[]).await;
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    reply.answer().refused(-32700);
}

#[tokio::test]
async fn another_certificate_than_the_gateways_is_not_trusted() {
    let server = server().await;
    let other = tempfile::tempdir().expect("a directory can be made");
    Certificate::for_names(&["localhost", "127.0.0.1"]).write(other.path());
    let client = Client::new(server.address, &other.path().join("cert.pem"));
    let request = http::Request::get("/").body(http_body_util::Full::default()).expect("the request is well-formed");
    assert!(client.exchange(request).await.is_err());
}
