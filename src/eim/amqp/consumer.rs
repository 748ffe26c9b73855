//! The gateway's end: one durable queue for the node, bound to what its people are in, acknowledged once the
//! conferences' logs have what came.

use std::convert::Infallible;
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
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::bindings::{Bindings, Change};
use super::connection::{BrokerError, Session};
use crate::clock::backoff::Backoff;
use crate::eim::events::{Inbound, Receipt};
use crate::event::{CallEvent, Event};
use crate::health::Health;
use crate::ids::UserId;

/// The queue for bodies that can't be read.
const DEAD: &str = "confgate.dead";
/// Most of them that are kept: the oldest goes first.
const DEAD_MAX: u32 = 10_000;
/// Largest body of an event, in bytes.
const BODY_MAX: usize = 256 * 1024;
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
    bindings: Bindings,
    inbound: mpsc::Sender<Inbound>,
    health: watch::Sender<Health>,
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
        bindings: Bindings,
        inbound: mpsc::Sender<Inbound>,
        health: watch::Sender<Health>,
    ) -> Self {
        Self { settings, queue: format!("confgate.{node}"), bindings, inbound, health, is_own: false, up_at: None }
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
        let (channel, queue, exchange) = (&session.channel, self.queue.as_str(), self.settings.exchange.as_str());
        match &change {
            Change::Bind(subject) => {
                let (key, options) = (subject.pattern(), QueueBindOptions::default());
                let bound =
                    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default());
                session.within(bound).await?;
            }
            Change::Unbind(subject) => {
                let key = subject.pattern().into();
                let unbound = channel.queue_unbind(queue.into(), exchange.into(), key, FieldTable::default());
                session.within(unbound).await?;
            }
        }
        self.bindings.done(change);
        Ok(())
    }

    /// Hands the event on, or has the broker put it aside.
    async fn deliver(
        &self,
        session: &Session,
        delivery: Delivery,
        receipts: &mpsc::UnboundedSender<u64>,
    ) -> Result<(), BrokerError> {
        let (key, tag) = (delivery.routing_key.as_str(), delivery.delivery_tag);
        match read(key, &delivery.data) {
            Ok(event) => {
                events("taken").increment(1);
                // An error here: the process stops, and the broker delivers it again.
                let _ = self.inbound.send(event.into_inbound(Receipt::new(receipts, tag))).await;
            }
            Err(why) => {
                events("dead").increment(1);
                tracing::warn!(key, why, bytes = delivery.data.len(), "an event that can't be read is put aside");
                let aside = BasicNackOptions { requeue: false, ..BasicNackOptions::default() };
                session.channel.basic_nack(tag, aside).await?;
            }
        }
        Ok(())
    }
}

fn events(outcome: &'static str) -> Counter {
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

/// An event and whom it is for.
#[derive(Debug, PartialEq)]
enum Received {
    Conference { to: Option<UserId>, event: Event },
    Call { to: UserId, event: CallEvent },
}

impl Received {
    fn into_inbound(self, receipt: Receipt) -> Inbound {
        match self {
            Self::Conference { to, event } => Inbound::Event { to, event, receipt: Some(receipt) },
            Self::Call { to, event } => Inbound::CallEvent { to, event, receipt: Some(receipt) },
        }
    }
}

/// The event under that routing key, or what is wrong with it.
fn read(key: &str, body: &[u8]) -> Result<Received, &'static str> {
    #[derive(Deserialize)]
    struct Head {
        r#type: String,
    }
    if body.len() > BODY_MAX {
        return Err("the body is too large");
    }
    let head: Head = serde_json::from_slice(body).map_err(|_| "the body is no event")?;
    let subject = key.strip_suffix(head.r#type.as_str()).and_then(|subject| subject.strip_suffix('.'));
    let subject = subject.ok_or("the key has another type")?;
    if let Some(conf) = subject.strip_prefix("conf.") {
        let event: Event = serde_json::from_slice(body).map_err(|_| "the body is no conference's event")?;
        return match event.conf_id.as_str() == conf {
            true => Ok(Received::Conference { to: None, event }),
            false => Err("the key is of another conference"),
        };
    }
    let user = subject.strip_prefix("user.").and_then(UserId::parse).ok_or("the key names nobody")?;
    match serde_json::from_slice(body) {
        Ok(event) => Ok(Received::Conference { to: Some(user), event }),
        Err(_) => {
            let event = serde_json::from_slice(body).map_err(|_| "the body is no user's event")?;
            Ok(Received::Call { to: user, event })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: &str = r#"{"epoch":"e","seq":7,"confId":"11234","type":"member.left","time":1,"actor":null,"data":{"userId":"u1","reason":"timeout"}}"#;

    #[test]
    fn an_event_is_taken_under_its_own_key_only() {
        assert!(matches!(read("conf.11234.member.left", LEFT.as_bytes()), Ok(Received::Conference { to: None, .. })));
        for key in ["conf.11235.member.left", "conf.11234.member.joined", "conf.11234", "11234.member.left", ""] {
            assert!(read(key, LEFT.as_bytes()).is_err(), "{key}");
        }
        let to = read("user.anna.b.member.left", LEFT.as_bytes());
        assert!(matches!(to, Ok(Received::Conference { to: Some(user), .. }) if user.as_str() == "anna.b"));
    }

    #[test]
    fn an_unreadable_body_is_put_aside() {
        let large = format!("{LEFT}{}", " ".repeat(BODY_MAX));
        for body in ["", "{", "[]", "{\"type\":\"member.left\"}", "\u{FEFF}{}", &large] {
            assert!(read("conf.11234.member.left", body.as_bytes()).is_err(), "{body:.40}");
        }
    }
}
