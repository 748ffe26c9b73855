//! The answer of `/readyz`: each part, its state, since when.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

/// Where the program is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Parts are still starting.
    Starting,
    /// Requests are served.
    Serving,
    /// The process is stopping.
    Draining,
}

/// The state of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// It has not worked yet.
    Starting,
    /// It works.
    Up,
    /// It doesn't work now.
    Down,
}

/// One part in `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `store`, `eim`, `events`, `callgw`, ...
    pub name: String,
    /// The state.
    pub state: PartState,
    /// Since when it is in that state, ms since 1970.
    pub since: u64,
    /// True for what nothing can be served without: the store.
    pub vital: bool,
    /// The reason why it isn't up, or what it lacks; empty for nothing.
    pub reason: String,
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The process's phase.
    pub phase: Phase,
    /// All parts.
    pub parts: Vec<Part>,
}

/// Asked for each `/readyz`; must not block.
pub type ReadinessSource = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// 503 only while starting, draining, or without what nothing can be served without.
pub fn readyz(readiness: &Readiness) -> Response {
    let vital_is_up = readiness.parts.iter().all(|part| !part.vital || part.state == PartState::Up);
    let (status, state) = match readiness.phase {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Phase::Serving if !vital_is_up => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Phase::Serving => (StatusCode::OK, "ready"),
    };
    let parts: Vec<Value> = readiness.parts.iter().map(part_json).collect();
    let body = json!({"state": state, "parts": parts}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

fn part_json(part: &Part) -> Value {
    let state = match part.state {
        PartState::Starting => "starting",
        PartState::Up => "up",
        PartState::Down => "down",
    };
    let mut entry = json!({"part": part.name, "state": state, "since": part.since});
    if !part.reason.is_empty() {
        entry["reason"] = part.reason.as_str().into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn part(name: &str, state: PartState, vital: bool) -> Part {
        let reason = if state == PartState::Down { "it was cut".to_owned() } else { String::new() };
        Part { name: name.to_owned(), state, since: 1_700_000_000_000, vital, reason }
    }

    fn ready(phase: Phase, store: PartState, eim: PartState) -> Readiness {
        Readiness { phase, parts: vec![part("store", store, true), part("eim", eim, false)] }
    }

    #[tokio::test]
    async fn readyz_names_each_part_with_its_state_and_since_when() {
        let response = readyz(&ready(Phase::Serving, PartState::Up, PartState::Down));
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let expected = json!({"state": "ready", "parts": [
            {"part": "store", "state": "up", "since": 1_700_000_000_000_u64},
            {"part": "eim", "state": "down", "since": 1_700_000_000_000_u64, "reason": "it was cut"},
        ]});
        assert_eq!(body, expected);
    }

    #[test]
    fn readyz_fails_only_while_starting_or_draining_or_without_the_store() {
        let status = |phase, store, eim| readyz(&ready(phase, store, eim)).status().as_u16();
        assert_eq!(status(Phase::Serving, PartState::Up, PartState::Starting), 200);
        assert_eq!(status(Phase::Serving, PartState::Down, PartState::Up), 503);
        assert_eq!(status(Phase::Starting, PartState::Up, PartState::Up), 503);
        assert_eq!(status(Phase::Draining, PartState::Up, PartState::Up), 503);
    }
}
