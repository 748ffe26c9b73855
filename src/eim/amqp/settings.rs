//! What the room needs of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::config;

/// The broker, and how patient we are with it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host, port, vhost, user and password.
    pub uri: AMQPUri,
    /// The durable topic exchange.
    pub exchange: String,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// For connecting, and for each answer of the broker.
    pub timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// Most deliveries that wait for their acknowledgement.
    pub prefetch: u16,
    /// How long the broker keeps the queue of a node that is not connected.
    pub queue_expires: Duration,
}

/// Largest frame that is asked for: what the library holds for a connection is a multiple of it.
const FRAME_MAX: u32 = 32 * 1024;

impl Settings {
    /// `None` where events come another way.
    pub fn of(events: &config::Events) -> Option<Self> {
        let url = events.url.as_ref().filter(|_| events.mode == config::EventsMode::Amqp)?;
        let mut uri: AMQPUri = url.expose().parse().ok()?;
        uri.query.heartbeat = Some(u16::try_from(events.heartbeat.as_secs()).unwrap_or(u16::MAX));
        uri.query.frame_max = Some(FRAME_MAX);
        Some(Self {
            uri,
            exchange: events.exchange.clone(),
            ca: events.ca.clone(),
            timeout: events.timeout,
            reconnect_min: events.reconnect_min,
            reconnect_max: events.reconnect_max,
            prefetch: events.prefetch,
            queue_expires: events.queue_expires,
        })
    }
}
