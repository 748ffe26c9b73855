//! The two kinds of failure: a refusal, which the client can act on, and a fault, which is ours.

mod reason;
pub mod request_id;

pub use reason::Reason;

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
    pub fn of(reason: Reason) -> Self {
        Self::by_eim(reason.code(), reason.key(), reason.text())
    }

    /// With a key and a text that are the EIM's.
    pub fn by_eim(code: i32, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, key: key.into(), message: message.into(), data: Map::new() }
    }

    /// In other words, for developers.
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.data.insert(member.to_owned(), value.into());
        self
    }

    pub fn unauthenticated() -> Self {
        Self::of(Reason::AuthRequired)
    }

    /// For a refresh token that was good until its session ended: by logout, kick, the conference's end, or because its
    /// guest had not been there for long.
    pub fn session_ended() -> Self {
        Self::of(Reason::SessionEnded)
    }

    pub fn token_expired() -> Self {
        Self::of(Reason::TokenExpired)
    }

    /// `state`: 30 not started, 31 ended, 32 does not exist.
    pub fn not_open(state: u8) -> Self {
        let reason = match state {
            30 => Reason::NotStarted,
            31 => Reason::ConferenceEnded,
            _ => Reason::ConferenceUnknown,
        };
        Self::of(reason).with("state", state)
    }

    pub fn invalid_params(path: &str, message: &str) -> Self {
        Self::of(Reason::InvalidParams).with("errors", json!([{"path": path, "message": message}]))
    }

    /// `retry_after_ms`: when the same may go well.
    pub fn too_many(reason: Reason, retry_after_ms: u64) -> Self {
        Self::of(reason).with("retryAfterMs", retry_after_ms)
    }

    pub fn eim_unreachable(sent: bool) -> Self {
        Self::of(Reason::EimUnreachable).with("sent", sent)
    }

    pub fn eim_timeout() -> Self {
        Self::of(Reason::EimTimeout)
    }

    /// The token is good, but the user's session at the XMPP server, over which they speak, can't be opened again.
    pub fn session_lost() -> Self {
        Self::of(Reason::SessionLost)
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
        Self::of(Reason::Internal).with("traceId", incident)
    }
}
