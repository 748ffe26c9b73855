//! The two kinds of failure: a refusal, which the client can act on, and a fault, which is ours.

mod kind;
mod reason;
pub mod request_id;

use std::borrow::Cow;

pub use kind::Kind;
pub use reason::Reason;

use serde_json::{Map, Value, json};

/// A refusal instead of a result: `{code, message, data: {key, ...}}`. `key` is stable and is translated by pages;
/// `message` is English for developers.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The kind.
    pub kind: Kind,
    key: Cow<'static, str>,
    message: Cow<'static, str>,
    /// Further members of `data` (`retryAfterMs`, `state`, `errors`, ...).
    pub data: Map<String, Value>,
}

impl Refusal {
    /// The refusal for that reason.
    pub fn of(reason: Reason) -> Self {
        let (key, message) = (Cow::Borrowed(reason.key()), Cow::Borrowed(reason.text()));
        Self { kind: reason.kind(), key, message, data: Map::new() }
    }

    /// With a key and a text that are the EIM's.
    pub fn by_eim(kind: Kind, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, key: Cow::Owned(key.into()), message: Cow::Owned(message.into()), data: Map::new() }
    }

    /// Whether it is for this reason, whoever gave it.
    pub fn is(&self, reason: Reason) -> bool {
        self.key == reason.key()
    }

    /// A reason's in the table, or one of the EIM's own.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// English for developers.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// In other words, for developers.
    pub fn saying(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Adds a member to `data`.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.data.insert(member.to_owned(), value.into());
        self
    }

    /// No valid login.
    pub fn unauthenticated() -> Self {
        Self::of(Reason::AuthRequired)
    }

    /// For a refresh token that was good until its session ended: by logout, kick, the conference's end, or because its
    /// guest had not been there for long.
    pub fn session_ended() -> Self {
        Self::of(Reason::SessionEnded)
    }

    /// The access token is over.
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

    /// A param that doesn't fit.
    pub fn invalid_params(path: &str, message: &str) -> Self {
        Self::of(Reason::InvalidParams).with("errors", json!([{"path": path, "message": message}]))
    }

    /// `retry_after_ms`: when the same may go well.
    pub fn too_many(reason: Reason, retry_after_ms: u64) -> Self {
        Self::of(reason).with("retryAfterMs", retry_after_ms)
    }

    /// The EIM can't be reached; `sent`: the request may have been carried out.
    pub fn eim_unreachable(sent: bool) -> Self {
        Self::of(Reason::EimUnreachable).with("sent", sent)
    }

    /// The EIM doesn't answer in time.
    pub fn eim_timeout() -> Self {
        Self::of(Reason::EimTimeout)
    }

    /// The token is good, but the user's session at the XMPP server, over which they speak, can't be opened again.
    pub fn session_lost() -> Self {
        Self::of(Reason::SessionLost)
    }

    /// Whether the same request may go well later, without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            Kind::EimUnreachable | Kind::EimTimeout | Kind::TooMany | Kind::Internal => true,
            Kind::EimRefused => self.data.get("type").and_then(Value::as_str) == Some("wait"),
            _ => false,
        }
    }

    /// Whether what was refused may have been carried out all the same: it was sent, and no answer came.
    pub fn is_uncertain(&self) -> bool {
        match self.kind {
            Kind::EimTimeout => true,
            Kind::EimUnreachable => self.data.get("sent") == Some(&Value::Bool(true)),
            _ => false,
        }
    }

    /// As clients get it: `{code, message, data: {key, traceId, ...}}`. The trace id is the request's.
    pub fn to_json(&self) -> Value {
        let mut data = Map::new();
        data.insert("key".into(), self.key().into());
        data.insert("traceId".into(), request_id::id().into());
        data.extend(self.data.iter().map(|(k, v)| (k.clone(), v.clone())));
        json!({"code": self.kind.code(), "message": self.message, "data": data})
    }

    /// A fault of ours: logged here, once, with what happened; the client learns the request's id only.
    pub fn fault(what: impl std::fmt::Display) -> Self {
        let incident = request_id::id();
        tracing::error!(incident, error = %what, "fault");
        Self::of(Reason::Internal).with("traceId", incident)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_and_not_answered_may_have_been_carried_out() {
        assert!(Refusal::eim_unreachable(true).is_uncertain());
        assert!(Refusal::eim_timeout().is_uncertain());
        assert!(!Refusal::eim_unreachable(false).is_uncertain());
        assert!(!Refusal::of(Reason::NotMember).is_uncertain());
    }
}
