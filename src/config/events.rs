//! `[events]`: how the EIM's conference events arrive.

use std::path::PathBuf;
use std::time::Duration;

use lapin::uri::AMQPUri;
use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::eim::EimMode;
use super::{HOUR_MS, Range, values};
use crate::event::NumberedBy;
use crate::ids::Secret;

/// `events.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventsMode {
    /// From the built-in EIM, in this process.
    Inproc,
    /// Headlines on the XMPP link.
    Xmpp,
    /// From a topic exchange of RabbitMQ.
    Amqp,
}

/// The section `events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Where it isn't set: `inproc` with the built-in EIM, `xmpp` with an external one.
    pub mode: EventsMode,
    /// Who numbers them.
    pub numbered: NumberedBy,
    /// `amqp://` or `amqps://`, with user, password, host, port and vhost. A secret, because it has a password.
    pub url: Option<Secret>,
    /// The durable topic exchange that the EIM publishes to.
    pub exchange: String,
    /// PEM file of the authorities to trust for `amqps` instead of the system's.
    pub ca: Option<PathBuf>,
    /// Seconds between heartbeats; after two without one the connection is given up.
    #[serde(rename = "heartbeat_s", with = "values::seconds")]
    pub heartbeat: Duration,
    /// How long connecting, and each answer of the broker, may take.
    #[serde(rename = "timeout_ms", with = "values::millis")]
    pub timeout: Duration,
    /// The first pause before connecting again.
    #[serde(rename = "reconnect_min_ms", with = "values::millis")]
    pub reconnect_min: Duration,
    /// The longest pause.
    #[serde(rename = "reconnect_max_ms", with = "values::millis")]
    pub reconnect_max: Duration,
    /// Most events that the broker sends before the first of them is acknowledged.
    pub prefetch: u16,
    /// How long the broker keeps the queue of a node that is not connected.
    #[serde(rename = "queue_expires_s", with = "values::seconds")]
    pub queue_expires: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            mode: EventsMode::Inproc,
            numbered: NumberedBy::Eim,
            url: None,
            exchange: "eim.conference".to_owned(),
            ca: None,
            heartbeat: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(250),
            reconnect_max: Duration::from_secs(5),
            prefetch: 64,
            queue_expires: Duration::from_secs(3600),
        }
    }
}

impl Events {
    pub(super) const RANGES: &[Range] = &[
        ("events.heartbeat_s", 1, 3600),
        ("events.timeout_ms", 1, HOUR_MS),
        ("events.reconnect_min_ms", 1, HOUR_MS),
        ("events.reconnect_max_ms", 1, HOUR_MS),
        ("events.prefetch", 1, 65_535),
        ("events.queue_expires_s", 1, 30 * 24 * 3600),
    ];

    pub(super) fn check(&self, eim: EimMode, found: &mut Findings) {
        if self.mode == EventsMode::Inproc && !eim.is_embedded() {
            found.refuse("events.mode", "\"xmpp\" or \"amqp\", since eim.mode is not \"builtin\"");
        }
        if self.numbered == NumberedBy::Gateway && eim.is_embedded() {
            found.refuse(
                "events.numbered",
                &format!("\"eim\", since eim.mode is {:?}: the built-in EIM numbers its events", eim.name()),
            );
        }
        // The library's reader takes an IPv6 address for localhost.
        let is_url = |url: &Secret| !url.expose().contains('[') && url.expose().parse::<AMQPUri>().is_ok();
        if !self.url.as_ref().map_or(self.mode != EventsMode::Amqp, is_url) {
            found.refuse("events.url", "amqp://user:password@host:port/vhost or amqps://..., the host a name or an IPv4 address; mode \"amqp\" needs it");
        }
        if self.reconnect_min > self.reconnect_max {
            found.refuse("events.reconnect_min_ms", "at most events.reconnect_max_ms");
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if self.exchange.is_empty() || self.exchange.len() > 127 || !self.exchange.bytes().all(is_name) {
            found.refuse("events.exchange", "1 to 127 characters of A-Z a-z 0-9 . - _ :");
        }
    }

    /// The additional demand of a gateway: the EIM in its own process publishes nothing.
    pub(super) fn check_gateway(&self, eim: EimMode, found: &mut Findings) {
        if self.mode == EventsMode::Amqp && eim.is_embedded() {
            found.refuse("events.mode", &format!("\"inproc\" or \"xmpp\", since eim.mode is {:?}", eim.name()));
        }
    }
}
