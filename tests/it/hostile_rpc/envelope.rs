//! Bodies: ill-formed JSON, batches, ids, versions, params, sizes.

use http::StatusCode;
use serde_json::{Value, json};

use crate::rpc_shape::{assert_error_shape, assert_unharmed};
use crate::support::client::Client;
use crate::support::gateway::Gateway;

/// Where nothing else is needed than a running gateway.
async fn gateway() -> Gateway {
    Gateway::with("").start().await
}

/// Posts those bytes: the JSON that comes back, by HTTP 200.
async fn said(client: &Client, body: impl Into<bytes::Bytes>) -> Value {
    let reply = client.raw(body, &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

async fn refused(client: &Client, body: impl Into<bytes::Bytes>, code: i64) -> Value {
    let reply = said(client, body).await;
    assert_error_shape(&reply);
    assert_eq!(reply["error"]["code"], code, "{reply}");
    reply
}

#[tokio::test]
async fn text_that_is_no_json_is_a_parse_error_without_an_id() {
    let gateway = gateway().await;
    let client = gateway.client();
    let deep = "[".repeat(100_000);
    let texts: [&[u8]; 12] = [
        b"",
        b" ",
        b"{",
        b"nothing of the kind",
        br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover""#,
        br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}}"#,
        br#"{"jsonrpc":"2.0","id":01,"method":"rpc.discover"}"#,
        br#"{'id':1,'method':'rpc.discover'}"#,
        b"{\"id\":1,\"method\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{\"id\":1,\"method\":\"rpc.discover\"}",
        br#"[{"id":1,"method":"rpc.discover"},"#,
        deep.as_bytes(),
    ];
    for text in texts {
        let reply = refused(&client, text.to_vec(), -32700).await;
        assert_eq!(reply["id"], Value::Null, "{reply}");
    }
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request() {
    let gateway = gateway().await;
    let client = gateway.client();
    let long = "m".repeat(1000);
    let bodies = [
        json!(1),
        json!("rpc.discover"),
        Value::Null,
        json!(true),
        json!({}),
        json!({ "id": 1 }),
        json!({ "id": 1, "method": 5 }),
        json!({ "id": 1, "method": null }),
        json!({ "id": 1, "method": ["rpc.discover"] }),
        json!({ "id": 1, "method": long }),
        json!({ "id": 1, "method": "rpc.discover", "params": 5 }),
        json!({ "id": 1, "method": "rpc.discover", "params": "x" }),
        json!({ "id": 1, "method": "rpc.discover", "params": null }),
        json!({ "jsonrpc": "1.0", "id": 1, "method": "rpc.discover" }),
        json!({ "jsonrpc": 2.0, "id": 1, "method": "rpc.discover" }),
        json!({ "jsonrpc": "2.00", "id": 1, "method": "rpc.discover" }),
        json!({ "jsonrpc": null, "id": 1, "method": "rpc.discover" }),
    ];
    for body in bodies {
        let reply = refused(&client, body.to_string(), -32600).await;
        assert_eq!(reply["id"], body.get("id").cloned().unwrap_or_default(), "{body}");
    }
    refused(&client, r#"{"id":1,"id":2,"method":"rpc.discover"}"#, -32600).await;
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn an_id_comes_back_to_the_letter_and_one_that_is_none_as_null() {
    let gateway = gateway().await;
    let client = gateway.client();
    let digits = "9".repeat(1000);
    let longest = format!("\"{}\"", "x".repeat(256));
    for id in [r#""xxx""#, r#""""#, r#""\u00e9 会""#, "0", "-7", "18446744073709551616", &digits, "null", &longest] {
        let request = format!(r#"{{"id":{id},"method":"config.getProperties","params":{{"keys":[]}}}}"#);
        let reply = client.raw(request, &[]).await;
        let text = String::from_utf8(reply.body.to_vec()).expect("a reply is UTF-8");
        assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","result":{{}},"id":{id}}}"#));
    }
    let too_long = format!("\"{}\"", "会".repeat(86));
    for id in ["1.5", "1.0", "1e3", "true", "{}", "[]", "[1]", r#"{"a":1}"#, &too_long] {
        let request = format!(r#"{{"id":{id},"method":"config.getProperties","params":{{"keys":[]}}}}"#);
        assert_eq!(refused(&client, request, -32600).await["id"], Value::Null, "{id}");
    }
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn a_request_without_a_version_and_of_any_content_type_is_answered() {
    let gateway = gateway().await;
    let client = gateway.client();
    let request = r#"{"id": "xxx", "method": "config.getProperties", "params": {"keys": ["serverName"]}}"#;
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""] {
        let reply = client.raw(request, &[("content-type", content_type)]).await;
        let expected = json!({ "jsonrpc": "2.0", "result": { "serverName": "ips3000" }, "id": "xxx" });
        assert_eq!(reply.json(), expected, "{content_type}");
    }
    let strict = Gateway::with("[auth]\nstrict_jsonrpc = true\n").start().await;
    assert_eq!(refused(&strict.client(), request, -32600).await["id"], "xxx");
}

#[tokio::test]
async fn params_have_names_and_what_is_wrong_with_them_is_said_by_path() {
    let gateway = gateway().await;
    let client = gateway.client();
    let nested = format!("{}1{}", "[".repeat(300), "]".repeat(300));
    let nested: &str = &format!(r#"{{"keys":{nested}}}"#);
    let cases = [
        ("config.getProperties", r#"[["serverName"]]"#, vec![""]),
        ("config.getProperties", "[]", vec![""]),
        ("config.getProperties", "{}", vec!["keys"]),
        ("config.getProperties", r#"{"keys":"serverName"}"#, vec!["keys"]),
        ("config.getProperties", r#"{"keys":["a",1,"b",null]}"#, vec!["keys[1]", "keys[3]"]),
        ("config.getProperties", nested, vec![""]),
        ("auth.http.login", "{}", vec!["grantType"]),
        ("auth.http.login", r#"{"grantType":"sesame"}"#, vec!["grantType"]),
        ("auth.http.login", r#"{"grantType":"password","userId":"u1"}"#, vec!["password"]),
        ("auth.http.login", r#"{"grantType":"password","userId":{},"password":1}"#, vec!["userId", "password"]),
        ("auth.http.login", r#"{"grantType":"conference_link","name":"x"}"#, vec!["link"]),
    ];
    for (method, params, paths) in cases {
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let reply = refused(&client, request, -32602).await;
        let errors = reply["error"]["data"]["errors"].as_array().unwrap_or_else(|| panic!("no errors: {reply}"));
        let told: Vec<&str> = errors.iter().filter_map(|error| error["path"].as_str()).collect();
        assert_eq!(told, paths, "{method} {params}: {reply}");
        assert!(errors.iter().all(|error| error["message"].as_str().is_some_and(|m| !m.is_empty())), "{reply}");
    }
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn a_batch_is_bounded_and_each_entry_stands_for_itself() {
    let gateway = gateway().await;
    let client = gateway.client();
    let call = |id: Value| json!({ "id": id, "method": "config.getProperties", "params": { "keys": ["serverName"] } });
    let note = json!({ "method": "config.getProperties", "params": { "keys": [] } });

    assert_eq!(refused(&client, "[]", -32600).await["id"], Value::Null);
    refused(&client, " [ ] ", -32600).await;
    let full: Value = (0..50).map(|n| call(json!(n))).collect();
    let replies = said(&client, full.to_string()).await;
    let ids: Vec<u64> = replies.as_array().expect("a batch").iter().filter_map(|r| r["id"].as_u64()).collect();
    assert_eq!(ids, (0..50).collect::<Vec<u64>>());
    let over: Value = (0..51).map(|n| call(json!(n))).collect();
    assert_eq!(refused(&client, over.to_string(), -32600).await["id"], Value::Null);

    let mixed = json!([call(json!("a")), note, 5, [], { "id": 7, "method": "no.such" }, { "id": 1.5, "method": "x" }]);
    let replies = said(&client, mixed.to_string()).await;
    let replies = replies.as_array().expect("a batch");
    assert_eq!(replies[0]["result"], json!({ "serverName": "ips3000" }));
    let rest: Vec<_> = replies[1..].iter().map(|r| (r["error"]["code"].as_i64(), r["id"].clone())).collect();
    let invalid = (Some(-32600), Value::Null);
    assert_eq!(rest, [invalid.clone(), invalid.clone(), (Some(-32601), json!(7)), invalid]);
    replies[1..].iter().for_each(assert_error_shape);
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn a_notification_is_not_answered_whatever_becomes_of_it() {
    let gateway = gateway().await;
    let client = gateway.client();
    let notes = [
        json!({ "method": "config.getProperties", "params": { "keys": [] } }),
        json!({ "jsonrpc": "2.0", "method": "no.such.method" }),
        json!({ "jsonrpc": "2.0", "method": "conference.list", "params": {} }),
        json!({ "jsonrpc": "2.0", "method": "config.getProperties", "params": [1] }),
    ];
    for body in notes.iter().cloned().chain([Value::from(notes.to_vec())]) {
        let reply = client.raw(body.to_string(), &[]).await;
        assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::NO_CONTENT, &b""[..]), "{body}");
    }
    // Without a method it is no notification but an ill-formed request.
    refused(&client, r#"{"jsonrpc":"2.0"}"#, -32600).await;
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_one_at_the_limit_is_read() {
    let gateway = gateway().await;
    let client = gateway.client();
    let limit = 256 * 1024;
    let mut request = json!({ "id": 1, "method": "config.getProperties", "params": { "keys": [] } }).to_string();
    request.push_str(&" ".repeat(limit - request.len()));
    assert_eq!(client.raw(request.clone(), &[]).await.json()["result"], json!({}));
    request.push(' ');
    assert_eq!(client.raw(request, &[]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(gateway.client().raw("x".repeat(3_000_000), &[]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_unharmed(&gateway).await;
}

#[tokio::test]
async fn the_methods_are_told_the_same_by_discover_and_by_the_document() {
    let gateway = gateway().await;
    let client = gateway.client();
    let told = client.rpc("rpc.discover", json!({})).await.result();
    let document = client.get("/gzbwclient/openrpc.json").await;
    assert_eq!(document.status, StatusCode::OK);
    assert_eq!(document.json(), told);
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_confgate")).arg("openrpc").output();
    let printed = printed.expect("the binary runs").stdout;
    let mut printed: Value = serde_json::from_slice(&printed).expect("it prints JSON");
    // That command knows the configuration's port, not the one that this gateway was given.
    printed["servers"] = told["servers"].clone();
    assert!(printed == told, "the command prints another document");
}
