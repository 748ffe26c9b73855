//! The two kinds of failure: a refusal, which the client can act on, and a fault, which is ours.

pub mod request_id;

use serde_json::{Map, Value, json};

/// The stable error codes of the JSON-RPC interface. Each has exactly one meaning.
pub mod code {
    pub const PARSE_ERROR: i32 = -32700;
    pub const INVALID_REQUEST: i32 = -32600;
    pub const METHOD_NOT_FOUND: i32 = -32601;
    pub const INVALID_PARAMS: i32 = -32602;
    pub const INTERNAL: i32 = -32603;
    pub const UNAUTHENTICATED: i32 = -32001;
    pub const TOKEN_EXPIRED: i32 = -32002;
    pub const FORBIDDEN: i32 = -32003;
    pub const NOT_FOUND: i32 = -32004;
    pub const CONFLICT: i32 = -32005;
    pub const NOT_OPEN: i32 = -32006;
    pub const EIM_UNREACHABLE: i32 = -32010;
    pub const EIM_TIMEOUT: i32 = -32011;
    pub const EIM_REFUSED: i32 = -32012;
    pub const NO_CALL_GATEWAY: i32 = -32020;
    pub const TOO_MANY: i32 = -32029;
}

/// What a client is told instead of a result: `{code, message, data: {key, ...}}`.
/// `key` is stable and is what a page translates; `message` is English for developers.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: i32,
    pub key: String,
    pub message: String,
    /// Further members of `data` (`retryAfterMs`, `state`, `errors`, ...).
    pub data: Map<String, Value>,
}

impl Refusal {
    pub fn new(code: i32, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, key: key.into(), message: message.into(), data: Map::new() }
    }

    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.data.insert(member.to_owned(), value.into());
        self
    }

    pub fn unauthenticated() -> Self {
        Self::new(code::UNAUTHENTICATED, "auth.required", "a valid access token is required")
    }

    /// For a refresh token that was good until its session ended: by logout, kick, the conference's end, or because its
    /// guest had not been there for long.
    pub fn session_ended() -> Self {
        Self::new(code::UNAUTHENTICATED, "auth.ended", "the session has ended: log in again")
    }

    pub fn token_expired() -> Self {
        Self::new(code::TOKEN_EXPIRED, "auth.expired", "the access token has expired")
    }

    pub fn forbidden(key: &str, message: &str) -> Self {
        Self::new(code::FORBIDDEN, key, message)
    }

    /// One answer for what does not exist and for what the caller may not know of.
    pub fn not_found(what: &str) -> Self {
        Self::new(code::NOT_FOUND, format!("{what}.notFound"), format!("no such {what}"))
    }

    pub fn conflict(key: &str, message: &str) -> Self {
        Self::new(code::CONFLICT, key, message)
    }

    /// `state`: 30 not started, 31 ended, 32 does not exist.
    pub fn not_open(state: u8) -> Self {
        let key = match state {
            30 => "conference.notStarted",
            31 => "conference.ended",
            _ => "conference.unknown",
        };
        Self::new(code::NOT_OPEN, key, "the conference is not open").with("state", state)
    }

    pub fn invalid_params(path: &str, message: &str) -> Self {
        Self::new(code::INVALID_PARAMS, "rpc.invalidParams", "invalid params")
            .with("errors", json!([{"path": path, "message": message}]))
    }

    pub fn too_many(key: &str, retry_after_ms: u64) -> Self {
        Self::new(code::TOO_MANY, key, "too many requests").with("retryAfterMs", retry_after_ms)
    }

    pub fn eim_unreachable(sent: bool) -> Self {
        Self::new(code::EIM_UNREACHABLE, "eim.unreachable", "the EIM cannot be reached").with("sent", sent)
    }

    pub fn eim_timeout() -> Self {
        Self::new(code::EIM_TIMEOUT, "eim.timeout", "the EIM did not answer in time")
    }

    /// The token is good, but the user's session at the XMPP server, over which they speak, can't be opened again.
    pub fn session_lost() -> Self {
        Self::new(code::UNAUTHENTICATED, "auth.sessionLost", "the session at the XMPP server is lost: log in again")
    }

    /// Whether the same request may go well later, without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        match self.code {
            code::EIM_UNREACHABLE | code::EIM_TIMEOUT | code::TOO_MANY | code::INTERNAL => true,
            code::EIM_REFUSED => self.data.get("type").and_then(Value::as_str) == Some("wait"),
            _ => false,
        }
    }

    /// As clients get it: `{code, message, data: {key, traceId, ...}}`. The trace id is the request's.
    pub fn to_json(&self) -> Value {
        let mut data = Map::new();
        data.insert("key".into(), self.key.clone().into());
        data.insert("traceId".into(), request_id::id().into());
        data.extend(self.data.iter().map(|(k, v)| (k.clone(), v.clone())));
        json!({"code": self.code, "message": self.message, "data": data})
    }

    /// A fault of ours: logged here, once, with what happened; the client learns the request's id only.
    pub fn fault(what: impl std::fmt::Display) -> Self {
        let incident = request_id::id();
        tracing::error!(incident, error = %what, "fault");
        Self::new(code::INTERNAL, "internal", "internal error").with("traceId", incident)
    }
}
