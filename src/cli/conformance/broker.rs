//! The broker, where the EIM publishes its events: a queue of the check's own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::eim::Inbound;
use crate::eim::amqp::Settings;
use crate::eim::amqp::bindings::{Binding, Bindings, Subject};
use crate::eim::amqp::consumer::{Consumer, NOT_YET};
use crate::eim::inbound::InboundSchema;
use crate::health::Health;
use crate::schema::Schema;

/// How long the broker keeps the queue after the check.
const QUEUE_EXPIRES: Duration = Duration::from_secs(10);
/// Events that may wait.
const DELIVERED_MAX: usize = 64;

/// See the module.
pub struct Broker {
    health: watch::Receiver<Health>,
    bindings: Bindings,
    held: Vec<Binding>,
}

impl Broker {
    /// Starts to consume as that node, and what is delivered. `None`: events come over XMPP.
    pub fn start(
        config: &Config,
        schema: &Schema,
        node: &str,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) -> Option<(Self, mpsc::Receiver<Inbound>)> {
        let settings = Settings { queue_expires: QUEUE_EXPIRES, ..Settings::of(&config.events)? };
        let (sender, delivered) = mpsc::channel(DELIVERED_MAX);
        let (health_sender, health) = watch::channel(Health::down(NOT_YET));
        let bindings = Bindings::new(settings.timeout);
        let reads = Arc::new(InboundSchema::new(schema, &config.eim.domain));
        let consumer = Consumer::new(settings, node, reads, bindings.clone(), sender, health_sender);
        tracker.spawn(consumer.run(stop.clone()));
        Some((Self { health, bindings, held: Vec::new() }, delivered))
    }

    /// Waits for the connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn wait_until_up(&mut self, limit: Duration) -> Result<(), String> {
        let up = timeout(limit, self.health.wait_for(|health| health.up)).await.is_ok_and(|up| up.is_ok());
        if up { Ok(()) } else { Err(self.health.borrow().why.clone()) }
    }

    /// Has the subject's events delivered, from now on.
    pub async fn follow(&mut self, subject: Subject) {
        self.held.extend(self.bindings.hold(subject.clone()));
        self.bindings.settled(&subject).await;
    }
}
