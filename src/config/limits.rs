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
    pub connections_per_block: usize,
    pub connects_per_minute: u32,
    pub sockets_per_block: usize,
    pub held_bytes: usize,
    pub held_bytes_per_block: usize,
    pub held_bytes_per_connection: usize,
    pub reply_bytes: usize,
    #[serde(rename = "header_timeout_ms", with = "millis")]
    pub header_timeout: Duration,
    #[serde(rename = "write_timeout_ms", with = "millis")]
    pub write_timeout: Duration,
    pub requests_per_minute: u32,
    pub guests_per_link: u32,
    #[serde(rename = "guest_idle_ms", with = "millis")]
    pub guest_idle: Duration,
    pub joins_per_minute: u32,
    pub guesses_per_minute: u32,
    pub guesses_total_per_minute: u32,
    pub login_failures_per_minute: u32,
    #[serde(rename = "slow_login_ms", with = "millis")]
    pub slow_login: Duration,
    pub own_controls_per_minute: u32,
    pub orders_per_minute: u32,
    pub messages_per_minute: u32,
    pub conference_acts_per_minute: u32,
    pub conference_creates_per_minute: u32,
    pub conferences_per_user: usize,
    pub calls_per_minute: u32,
    pub searches_per_minute: u32,
    pub allocations_per_minute: u32,
    pub user_creates_per_minute: u32,
    pub iq_sets_per_minute: u32,
    pub sockets_per_minute: u32,
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
    pub socket_pings_per_minute: u32,
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
            connections_per_block: 1000,
            connects_per_minute: 6000,
            sockets_per_block: 1000,
            held_bytes: 512 * MIB,
            held_bytes_per_block: 64 * MIB,
            held_bytes_per_connection: 4 * MIB,
            reply_bytes: MIB,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            requests_per_minute: 600_000,
            guests_per_link: 200,
            guest_idle: Duration::from_secs(60),
            joins_per_minute: 120,
            guesses_per_minute: 20,
            guesses_total_per_minute: 600,
            login_failures_per_minute: 10,
            slow_login: Duration::from_secs(2),
            own_controls_per_minute: 120,
            orders_per_minute: 600,
            messages_per_minute: 120,
            conference_acts_per_minute: 3000,
            conference_creates_per_minute: 120,
            conferences_per_user: 500,
            calls_per_minute: 60,
            searches_per_minute: 600,
            allocations_per_minute: 120,
            user_creates_per_minute: 600,
            iq_sets_per_minute: 1200,
            sockets_per_minute: 120,
            kick: Duration::from_secs(600),
            grace: Duration::from_secs(20),
            resume_window: Duration::from_secs(60),
            heartbeat: Duration::from_secs(10),
            drain: Duration::from_secs(30),
            socket_queue_frames: 512,
            socket_queue_bytes: MIB,
            socket_requests: 32,
            socket_pings_per_minute: 600,
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

const MIB: usize = 1024 * 1024;

/// Most bytes that any limit may be set to.
const BYTES: u64 = 1024 * 1024 * 1024 * 1024;

/// With fewer connections than that there is nothing to share out between address blocks.
const SHARED_CONNECTIONS: usize = 64;

/// Largest count that any limit may be set to: beyond it the memory behind the limit is not bounded in earnest.
const COUNT: u64 = 10_000_000;

impl Limits {
    /// Connections that one address block may have: `connections_per_block`, and never so many that a quarter of all
    /// isn't left to the others.
    pub fn connections_of_a_block(&self) -> usize {
        let all = self.connections;
        let share = if all < SHARED_CONNECTIONS { all } else { all - all / 4 };
        self.connections_per_block.min(share)
    }

    pub(super) const RANGES: &[Range] = &[
        ("limits.batch", 1, 10_000),
        ("limits.body_bytes", 1024, 16 * 1024 * 1024),
        ("limits.connections", 1, COUNT),
        ("limits.connections_per_block", 1, COUNT),
        ("limits.connects_per_minute", 1, COUNT),
        ("limits.sockets_per_block", 1, COUNT),
        ("limits.held_bytes", 1024 * 1024, BYTES),
        ("limits.held_bytes_per_block", 1024 * 1024, BYTES),
        ("limits.held_bytes_per_connection", 64 * 1024, BYTES),
        ("limits.reply_bytes", 1024, BYTES),
        ("limits.header_timeout_ms", 1, HOUR_MS),
        ("limits.write_timeout_ms", 1, HOUR_MS),
        ("limits.requests_per_minute", 1, COUNT),
        ("limits.guests_per_link", 1, COUNT),
        ("limits.guest_idle_ms", 100, HOUR_MS),
        ("limits.joins_per_minute", 1, COUNT),
        ("limits.guesses_per_minute", 1, COUNT),
        ("limits.guesses_total_per_minute", 1, COUNT),
        ("limits.login_failures_per_minute", 1, COUNT),
        ("limits.slow_login_ms", 0, HOUR_MS),
        ("limits.own_controls_per_minute", 1, COUNT),
        ("limits.orders_per_minute", 1, COUNT),
        ("limits.messages_per_minute", 1, COUNT),
        ("limits.conference_acts_per_minute", 1, COUNT),
        ("limits.conference_creates_per_minute", 1, COUNT),
        ("limits.conferences_per_user", 1, COUNT),
        ("limits.calls_per_minute", 1, COUNT),
        ("limits.searches_per_minute", 1, COUNT),
        ("limits.allocations_per_minute", 1, COUNT),
        ("limits.user_creates_per_minute", 1, COUNT),
        ("limits.iq_sets_per_minute", 1, COUNT),
        ("limits.sockets_per_minute", 1, COUNT),
        ("limits.kick_s", 0, 365 * DAY_S),
        ("limits.grace_ms", 0, HOUR_MS),
        ("limits.resume_window_ms", 0, HOUR_MS),
        ("limits.heartbeat_ms", 10, HOUR_MS),
        ("limits.drain_s", 0, DAY_S),
        ("limits.socket_queue_frames", 1, COUNT),
        ("limits.socket_queue_bytes", 1024, 1024 * 1024 * 1024),
        ("limits.socket_requests", 1, 10_000),
        ("limits.socket_pings_per_minute", 1, COUNT),
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
