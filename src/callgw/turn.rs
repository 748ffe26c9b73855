//! The ICE servers of members: STUN and TURN, with time-limited credentials.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::config;
use crate::ids::UserId;

/// A server of STUN or TURN as `RTCPeerConnection` takes it (RTCIceServer).
#[derive(Debug, Clone, Serialize)]
pub struct IceServer {
    /// The server's addresses.
    pub urls: Vec<String>,
    /// The user name; `None` for STUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password; `None` for STUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl IceServer {
    /// For the user, from `now` (ms since 1970) on: credentials as coturn's `use-auth-secret` takes them
    /// (draft-uberti-behave-turn-rest).
    pub fn new(turn: &config::Turn, user: &UserId, now: u64) -> Self {
        let expiry = now / 1000 + turn.ttl.as_secs();
        let username = format!("{expiry}:{user}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, turn.secret.expose().as_bytes());
        let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        Self { urls: turn.urls.clone(), username: Some(username), credential: Some(credential) }
    }
}
