//! `[limits]`: every bound that an operator may move.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{millis, seconds};
use super::{DAY_S, HOUR_MS, Range};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub batch: usize,
    pub body_bytes: usize,
    pub connections: usize,
    #[serde(rename = "header_timeout_ms", with = "millis")]
    pub header_timeout: Duration,
    pub requests_per_minute: u32,
    pub guests_per_link: u32,
    #[serde(rename = "guest_idle_ms", with = "millis")]
    pub guest_idle: Duration,
    pub joins_per_minute: u32,
    pub guesses_per_minute: u32,
    pub guesses_total_per_minute: u32,
    pub login_failures_per_minute: u32,
    #[serde(rename = "kick_s", with = "seconds")]
    pub kick: Duration,
    #[serde(rename = "grace_ms", with = "millis")]
    pub grace: Duration,
    #[serde(rename = "resume_window_ms", with = "millis")]
    pub resume_window: Duration,
    #[serde(rename = "heartbeat_ms", with = "millis")]
    pub heartbeat: Duration,
    #[serde(rename = "drain_s", with = "seconds")]
    pub drain: Duration,
    pub socket_queue_frames: usize,
    pub socket_queue_bytes: usize,
    pub socket_requests: usize,
    pub event_log: usize,
    pub conference_members: usize,
    pub conferences: usize,
    pub sockets_per_user: usize,
    #[serde(rename = "ring_ms", with = "millis")]
    pub ring: Duration,
    pub calls: usize,
    pub calls_per_user: usize,
    pub call_callees: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: 50,
            body_bytes: 262_144,
            connections: 10_000,
            header_timeout: Duration::from_secs(10),
            requests_per_minute: 600_000,
            guests_per_link: 200,
            guest_idle: Duration::from_secs(60),
            joins_per_minute: 120,
            guesses_per_minute: 20,
            guesses_total_per_minute: 600,
            login_failures_per_minute: 10,
            kick: Duration::from_secs(600),
            grace: Duration::from_secs(20),
            resume_window: Duration::from_secs(60),
            heartbeat: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            socket_queue_frames: 512,
            socket_queue_bytes: 1_048_576,
            socket_requests: 32,
            event_log: 1024,
            conference_members: 500,
            conferences: 10_000,
            sockets_per_user: 1,
            ring: Duration::from_secs(45),
            calls: 10_000,
            calls_per_user: 8,
            call_callees: 32,
        }
    }
}

/// Largest count that any limit may be set to: beyond it the memory behind the limit is not bounded in earnest.
const COUNT: u64 = 10_000_000;

impl Limits {
    pub(super) const RANGES: &[Range] = &[
        ("limits.batch", 1, 10_000),
        ("limits.body_bytes", 1024, 16 * 1024 * 1024),
        ("limits.connections", 1, COUNT),
        ("limits.header_timeout_ms", 1, HOUR_MS),
        ("limits.requests_per_minute", 1, COUNT),
        ("limits.guests_per_link", 1, COUNT),
        ("limits.guest_idle_ms", 100, HOUR_MS),
        ("limits.joins_per_minute", 1, COUNT),
        ("limits.guesses_per_minute", 1, COUNT),
        ("limits.guesses_total_per_minute", 1, COUNT),
        ("limits.login_failures_per_minute", 1, COUNT),
        ("limits.kick_s", 0, 365 * DAY_S),
        ("limits.grace_ms", 0, HOUR_MS),
        ("limits.resume_window_ms", 0, HOUR_MS),
        ("limits.heartbeat_ms", 10, HOUR_MS),
        ("limits.drain_s", 0, DAY_S),
        ("limits.socket_queue_frames", 1, COUNT),
        ("limits.socket_queue_bytes", 1024, 1024 * 1024 * 1024),
        ("limits.socket_requests", 1, 10_000),
        ("limits.event_log", 1, COUNT),
        ("limits.conference_members", 1, 100_000),
        ("limits.conferences", 1, COUNT),
        ("limits.sockets_per_user", 1, 1000),
        ("limits.ring_ms", 100, HOUR_MS),
        ("limits.calls", 1, COUNT),
        ("limits.calls_per_user", 1, 1000),
        ("limits.call_callees", 1, 100),
    ];
}
