//! The gateway's end: one durable queue for the node, bound to what its people are in, acknowledged once the
//! conferences' logs have what came.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use metrics::Counter;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::bindings::{Bindings, Change, Subject};
use super::connection::{BrokerError, Session};
use crate::clock::backoff::Backoff;
use crate::eim::events::{Inbound, Receipt, UNREADABLE_LINES};
use crate::eim::inbound::{InboundSchema, Message};
use crate::health::Health;
use crate::rate_limit::throttle::Throttle;

/// The queue for bodies that can't be read.
const DEAD: &str = "confgate.dead";
/// Most of them that are kept: the oldest goes first.
const DEAD_MAX: u32 = 10_000;
/// Most changes of bindings that are under way at once.
const BINDINGS_AT_ONCE: usize = 64;
/// A connection that lasted so long was a good one: the next pause is the shortest again.
const STEADY: Duration = Duration::from_secs(10);

/// Why nothing is delivered at first.
pub const NOT_YET: &str = "not connected yet";

/// Why a session is over.
enum End {
    Stopped,
    Lost(BrokerError),
}

/// See the module.
pub struct Consumer {
    settings: Settings,
    queue: String,
    /// How deliveries are read, and by which keys they come.
    schema: Arc<InboundSchema>,
    bindings: Bindings,
    inbound: mpsc::Sender<Inbound>,
    health: watch::Sender<Health>,
    /// Bounds the log's lines of deliveries that can't be read.
    unreadable: Throttle,
    /// Whether the queue is of this process, and not of an earlier one with that node's id.
    is_own: bool,
    /// Since when the connection is up.
    up_at: Option<Instant>,
}

impl Consumer {
    /// Of the node with that id. `inbound` gets the events in their order, and `Up` after each gap.
    pub fn new(
        settings: Settings,
        node: &str,
        schema: Arc<InboundSchema>,
        bindings: Bindings,
        inbound: mpsc::Sender<Inbound>,
        health: watch::Sender<Health>,
    ) -> Self {
        let (queue, unreadable) = (format!("confgate.{node}"), Throttle::new(UNREADABLE_LINES));
        Self { settings, queue, schema, bindings, inbound, health, unreadable, is_own: false, up_at: None }
    }

    /// Until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        loop {
            let error = match self.serve(&stop).await {
                End::Stopped => return,
                End::Lost(error) => error,
            };
            self.bindings.disconnected();
            if self.health.send_if_modified(|known| turn_down(known, &error)) {
                tracing::warn!(why = %error, "the broker is away");
            }
            if self.up_at.take().is_some_and(|at| at.elapsed() >= STEADY) {
                backoff.reset();
            }
            let pause = backoff.pause(error.lasting, rand::random());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// One connection, from the handshake to its end.
    async fn serve(&mut self, stop: &CancellationToken) -> End {
        metrics::counter!("confgate_broker_connects_total", "role" => "consumer").increment(1);
        let opening = Session::open(&self.settings, &self.queue);
        let session = match stop.run_until_cancelled(opening).await {
            None => return End::Stopped,
            Some(Err(error)) => return End::Lost(error),
            Some(Ok(session)) => session,
        };
        match stop.run_until_cancelled(self.consume(&session)).await {
            None => {
                session.close().await;
                End::Stopped
            }
            Some(Err(error)) => End::Lost(error),
            Some(Ok(never)) => match never {},
        }
    }

    async fn consume(&mut self, session: &Session) -> Result<Infallible, BrokerError> {
        self.declare(session).await?;
        for key in self.schema.keys_of_all() {
            self.bind_key(session, key, true).await?;
        }
        self.bindings.connected(self.is_own);
        self.is_own = true;
        while let Some(change) = self.bindings.try_next() {
            self.bind_all(session, change).await?;
        }
        let exclusive = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let consume =
            session.channel.basic_consume(self.queue.as_str().into(), "".into(), exclusive, FieldTable::default());
        let mut deliveries = session.within(consume).await?;
        self.up_at = Some(Instant::now());
        if self.health.send_if_modified(|known| known.turn(Health::up())) {
            tracing::info!(queue = self.queue, "the broker is up");
        }
        // What came while there was no connection, or no binding, may be lost: everybody gets a fresh roster.
        let _ = self.inbound.send(Inbound::Up).await;
        let (receipts, mut acknowledged) = mpsc::unbounded_channel();
        let waiting = metrics::gauge!("confgate_broker_unacknowledged_events");
        loop {
            waiting.set(receipts.strong_count() as f64 - 1.0);
            tokio::select! {
                Some(tag) = acknowledged.recv() => session.channel.basic_ack(tag, BasicAckOptions::default()).await?,
                change = self.bindings.next() => self.bind_all(session, change).await?,
                delivery = deliveries.next() => {
                    let delivery = delivery.ok_or_else(cancelled)??;
                    self.deliver(session, delivery, &receipts).await?;
                }
            }
        }
    }

    /// The queue of an earlier process is deleted: it is bound to what that one wanted, and all rosters are read anew.
    async fn declare(&self, session: &Session) -> Result<(), BrokerError> {
        let (channel, queue) = (&session.channel, self.queue.as_str());
        if !self.is_own {
            let unused = QueueDeleteOptions { if_unused: true, ..QueueDeleteOptions::default() };
            session.within(channel.queue_delete(queue.into(), unused)).await?;
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut dead = FieldTable::default();
        dead.insert("x-max-length".into(), AMQPValue::LongInt(DEAD_MAX as i32));
        session.within(channel.queue_declare(DEAD.into(), durable, dead)).await?;
        let mut own = FieldTable::default();
        let expires = i64::try_from(self.settings.queue_expires.as_millis()).unwrap_or(i64::MAX);
        own.insert("x-expires".into(), AMQPValue::LongLongInt(expires));
        own.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(LongString::from("")));
        own.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(LongString::from(DEAD)));
        session.within(channel.queue_declare(queue.into(), durable, own)).await?;
        session.within(channel.basic_qos(self.settings.prefetch, BasicQosOptions::default())).await
    }

    /// Carries out the change and those that wait behind it, all under way at once: the broker writes each to disk.
    async fn bind_all(&self, session: &Session, first: Change) -> Result<(), BrokerError> {
        let more = std::iter::from_fn(|| self.bindings.try_next());
        let changes: Vec<Change> = std::iter::once(first).chain(more).take(BINDINGS_AT_ONCE).collect();
        try_join_all(changes.into_iter().map(|change| self.bind(session, change))).await.map(drop)
    }

    async fn bind(&self, session: &Session, change: Change) -> Result<(), BrokerError> {
        let (subject, is_wanted) = match &change {
            Change::Bind(subject) => (subject, true),
            Change::Unbind(subject) => (subject, false),
        };
        let keys = match subject {
            Subject::Conference(conf) => self.schema.keys_of_conference(conf),
            Subject::User(user) => self.schema.keys_of_user(user),
        };
        for key in keys {
            self.bind_key(session, key, is_wanted).await?;
        }
        self.bindings.done(change);
        Ok(())
    }

    async fn bind_key(&self, session: &Session, key: String, is_wanted: bool) -> Result<(), BrokerError> {
        let (channel, queue, exchange) = (&session.channel, self.queue.as_str(), self.settings.exchange.as_str());
        let (queue, exchange, key) = (queue.into(), exchange.into(), key.into());
        if is_wanted {
            let options = QueueBindOptions::default();
            session.within(channel.queue_bind(queue, exchange, key, options, FieldTable::default())).await
        } else {
            session.within(channel.queue_unbind(queue, exchange, key, FieldTable::default())).await
        }
    }

    /// Hands the event on, or has the broker put it aside.
    async fn deliver(
        &self,
        session: &Session,
        delivery: Delivery,
        receipts: &mpsc::UnboundedSender<u64>,
    ) -> Result<(), BrokerError> {
        let (key, tag) = (delivery.routing_key.as_str(), delivery.delivery_tag);
        match Inbound::read(&self.schema, Message::Amqp { key, body: &delivery.data }) {
            Ok(None) => {
                deliveries("ignored").increment(1);
                session.channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
            Ok(Some(events)) => {
                deliveries("taken").increment(1);
                // Its last copy acknowledges the delivery, also where there is no event in it.
                let receipt = Receipt::new(receipts, tag);
                for event in events {
                    // An error here: the process stops, and the broker delivers it again.
                    let _ = self.inbound.send(event.delivered(&receipt)).await;
                }
            }
            Err(why) => {
                deliveries("dead").increment(1);
                if let Some(suppressed) = self.unreadable.permit_line() {
                    let bytes = delivery.data.len();
                    tracing::warn!(key, %why, bytes, suppressed, "an event that can't be read is put aside");
                }
                let aside = BasicNackOptions { requeue: false, ..BasicNackOptions::default() };
                session.channel.basic_nack(tag, aside).await?;
            }
        }
        Ok(())
    }
}

fn deliveries(outcome: &'static str) -> Counter {
    metrics::counter!("confgate_broker_events_total", "outcome" => outcome)
}

/// An outage keeps its first reason, but for that of the beginning.
fn turn_down(known: &mut Health, error: &BrokerError) -> bool {
    let turns = known.up || known.why == NOT_YET;
    if turns {
        *known = Health { refused: error.lasting, ..Health::down(error.why.clone()) };
    }
    turns
}

fn cancelled() -> BrokerError {
    BrokerError { why: "the broker has taken the queue away".to_owned(), lasting: false }
}
