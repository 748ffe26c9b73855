//! `[limits]`: every bound that an operator may move.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{millis, seconds};
use super::{DAY_S, HOUR_MS, Range};

/// The section `limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests in one JSON-RPC batch.
    pub batch: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Connections of the HTTPS listener; more are refused.
    pub connections: usize,
    /// Those of one address block: an IPv4 address, or an IPv6 /64; where there are 64 connections or more, three
    /// quarters of them at most. More are refused before TLS. An office may stand behind one; each of its people has up
    /// to three.
    pub connections_per_block: usize,
    /// Connections that one address block may open in a minute, at the HTTPS listener and at callgw.tcp_listen each: as
    /// many at once, and as many again spread over a minute. More are refused before TLS.
    pub connects_per_minute: u32,
    /// WebSockets of one address block, over whatever connections.
    pub sockets_per_block: usize,
    /// Bytes that all clients together may hold: requests under way, answers and events that wait to be taken. Beyond
    /// it requests are answered with 429, and sockets closed.
    pub held_bytes: usize,
    /// The same for one address block.
    pub held_bytes_per_block: usize,
    /// The same for one connection.
    pub held_bytes_per_connection: usize,
    /// Bytes of the replies of one JSON-RPC batch together; entries beyond are refused with rpc.repliesTooLarge.
    pub reply_bytes: usize,
    /// Milliseconds that a request's headers may take.
    #[serde(rename = "header_timeout_ms", with = "millis")]
    pub header_timeout: Duration,
    /// Milliseconds in which a client must take something of what is written to it, or is cut.
    #[serde(rename = "write_timeout_ms", with = "millis")]
    pub write_timeout: Duration,
    /// Requests of one address in a minute, each entry of a batch one. An office, or all users of a proxy, may stand
    /// behind one.
    pub requests_per_minute: u32,
    /// Live guest accounts of one link.
    pub guests_per_link: u32,
    /// Milliseconds that a guest's account is kept while its guest is neither in the conference nor waits for it: from
    /// the login, or from the end of resume_window_ms.
    #[serde(rename = "guest_idle_ms", with = "millis")]
    pub guest_idle: Duration,
    /// Guests that one address lets join in a minute.
    pub joins_per_minute: u32,
    /// Failed look-ups of a conference by password, for one block of addresses in a minute.
    pub guesses_per_minute: u32,
    /// The same for the whole server; beyond it, blocks without a recent success have a quarter of theirs, and each
    /// look-up is held for slow_login_ms.
    pub guesses_total_per_minute: u32,
    /// Failed logins in a minute, for one address, and for one id from one address. Beyond as many for one id from
    /// anywhere, each login as that id is held for slow_login_ms, but where that id has logged in within the last hour.
    pub login_failures_per_minute: u32,
    /// Milliseconds that a login is held which may be one of too many guesses from everywhere.
    #[serde(rename = "slow_login_ms", with = "millis")]
    pub slow_login: Duration,
    /// Actions of one user on themselves in a minute in conferences and calls: their own microphone, camera and hand,
    /// coming and going.
    pub own_controls_per_minute: u32,
    /// Orders of one user in a minute as a chair: the other controls, changes, links.
    pub orders_per_minute: u32,
    /// Messages of one user in a minute.
    pub messages_per_minute: u32,
    /// Actions on themselves and messages of all members of one conference together in a minute.
    pub conference_acts_per_minute: u32,
    /// Conferences that one user makes in a minute.
    pub conference_creates_per_minute: u32,
    /// Conferences of one chair at a time, at the built-in EIM.
    pub conferences_per_user: usize,
    /// Calls that one user starts in a minute.
    pub calls_per_minute: u32,
    /// Requests of one user to the address book in a minute.
    pub searches_per_minute: u32,
    /// Allocations of a call gateway to one user in a minute, those by joining left out.
    pub allocations_per_minute: u32,
    /// Users that one client makes in a minute.
    pub user_creates_per_minute: u32,
    /// IQs of type set in one user's own words in a minute.
    pub iq_sets_per_minute: u32,
    /// Event sockets that one user opens in a minute.
    pub sockets_per_minute: u32,
    /// Seconds that a kick bars the account and its browsers from the conference.
    #[serde(rename = "kick_s", with = "seconds")]
    pub kick: Duration,
    /// Milliseconds after which a member whose socket closed has left.
    #[serde(rename = "grace_ms", with = "millis")]
    pub grace: Duration,
    /// Milliseconds from the break, grace_ms included, that such a member's seat is kept.
    #[serde(rename = "resume_window_ms", with = "millis")]
    pub resume_window: Duration,
    /// Milliseconds between two pings on an event socket; two missed close it.
    #[serde(rename = "heartbeat_ms", with = "millis")]
    pub heartbeat: Duration,
    /// Seconds that stopping may take.
    #[serde(rename = "drain_s", with = "seconds")]
    pub drain: Duration,
    /// Frames waiting for one event socket; beyond, it is closed with 4008.
    pub socket_queue_frames: usize,
    /// Bytes waiting for one event socket; beyond, it is closed with 4008.
    pub socket_queue_bytes: usize,
    /// Requests under way on one event socket. A batch takes all of them.
    pub socket_requests: usize,
    /// Pings that a client may send over one socket in a minute, and at once; beyond, it is closed with 4008.
    pub socket_pings_per_minute: u32,
    /// Events kept of each conference, for resuming.
    pub event_log: usize,
    /// Members of one conference.
    pub conference_members: usize,
    /// Conferences at a time.
    pub conferences: usize,
    /// Event sockets of one user; a further one takes over.
    pub sockets_per_user: usize,
    /// Milliseconds that a call rings before it is missed.
    #[serde(rename = "ring_ms", with = "millis")]
    pub ring: Duration,
    /// Calls at once.
    pub calls: usize,
    /// Calls that one user is in or that ring for them; who has as many is busy.
    pub calls_per_user: usize,
    /// Callees of one call.
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
