//! The common properties of every JSON-RPC reply.

use serde_json::Value;

use crate::support::gateway::Gateway;

/// `{code, message, data: {key, traceId, ...}}` in an envelope of JSON-RPC 2.0.
#[track_caller]
pub fn assert_error_shape(reply: &Value) {
    let members = |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut envelope = members(reply);
    envelope.sort();
    assert_eq!(envelope, ["error", "id", "jsonrpc"], "{reply}");
    assert_eq!(reply["jsonrpc"], "2.0", "{reply}");
    assert_error(&reply["error"]);
}

/// `{code, message, data: {key, traceId, ...}}`.
#[track_caller]
pub fn assert_error(error: &Value) {
    let mut members: Vec<&String> = error.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    members.sort();
    assert_eq!(members, ["code", "data", "message"], "{error}");
    assert!(error["code"].is_i64() && error["message"].as_str().is_some_and(|m| !m.is_empty()), "{error}");
    for member in ["key", "traceId"] {
        assert!(error["data"][member].as_str().is_some_and(|text| !text.is_empty()), "data.{member}: {error}");
    }
}

/// The gateway still answers, and nothing in it panicked.
pub async fn assert_unharmed(gateway: &Gateway) {
    let answer = gateway.client().rpc("config.getProperties", serde_json::json!({ "keys": ["serverName"] })).await;
    assert_eq!(answer.result()["serverName"], "ips3000");
    assert!(!gateway.logs().contains("panicked"), "something panicked");
}
