//! The EIM's end: publishes events in their order, and has those forgotten that the broker has confirmed.
//!
//! Each publication stays in the EIM's store until then. Whatever ends early, the process or a connection, is followed by
//! publishing again from the first one without a confirmation: receivers know a repeated event by its number.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::connection::{BrokerError, Session};
use crate::clock::backoff::Backoff;
use crate::event::Publication;

/// Most publications under way. More would not make it faster: one commit of the broker's confirms many.
const WINDOW: usize = 256;
/// Most documents that are deleted together.
const FORGET_MAX: usize = 1024;
/// The pauses between the tries to delete them.
const FORGET_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often a connection without traffic is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A connection that lasted so long was a good one: the next pause is the shortest again.
const STEADY: Duration = Duration::from_secs(10);
/// AMQP 0-9-1: the broker writes such a message to disk.
const PERSISTENT: u8 = 2;

/// Deletes the publications with these numbers from the store, all or none. The error is for operators.
pub type Forget = Arc<dyn Fn(Vec<u64>) -> Forgetting + Send + Sync>;
/// See [`Forget`].
pub type Forgetting = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Owns the connection and what the broker has not confirmed.
pub struct Publisher {
    settings: Settings,
    queue: mpsc::Receiver<Publication>,
    /// The first publications of the queue, in order.
    unconfirmed: VecDeque<Publication>,
    /// Numbers that can be forgotten.
    confirmed: mpsc::UnboundedSender<u64>,
    /// What the log has. `None`: nothing yet.
    is_up: Option<bool>,
}

impl Publisher {
    /// Publishes what comes out of the queue, until told to stop. What is unconfirmed then stays in the store.
    pub async fn run(settings: Settings, queue: mpsc::Receiver<Publication>, forget: Forget, stop: CancellationToken) {
        let (confirmed, numbers) = mpsc::unbounded_channel();
        let publisher = Self { settings, queue, unconfirmed: VecDeque::new(), confirmed, is_up: None };
        tokio::join!(publisher.reconnect(&stop), forget_all(numbers, forget, &stop));
    }

    /// Connects again and again.
    async fn reconnect(mut self, stop: &CancellationToken) {
        let mut backoff = Backoff::new(self.settings.reconnect_min, self.settings.reconnect_max);
        loop {
            let began = Instant::now();
            let Some(error) = stop.run_until_cancelled(self.serve()).await else { return };
            if self.is_up.replace(false) != Some(false) {
                tracing::warn!(why = %error, "the broker takes no events: they wait in the store");
            }
            if began.elapsed() >= STEADY {
                backoff.reset();
            }
            self.show_waiting();
            if stop.run_until_cancelled(sleep(backoff.pause(error.lasting, rand::random()))).await.is_none() {
                return;
            }
        }
    }

    /// One connection, to its end.
    async fn serve(&mut self) -> BrokerError {
        metrics::counter!("confgate_broker_connects_total", "role" => "publisher").increment(1);
        let session = match Session::open(&self.settings, "confgate eim").await {
            Ok(session) => session,
            Err(error) => return error,
        };
        let Err(error) = self.publish(&session).await;
        error
    }

    async fn publish(&mut self, session: &Session) -> Result<std::convert::Infallible, BrokerError> {
        session.within(session.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let mut under_way = VecDeque::with_capacity(WINDOW);
        if self.unconfirmed.is_empty() {
            self.note_up();
        }
        loop {
            while let Some(next) = self.unconfirmed.get(under_way.len()) {
                under_way.push_back(UnderWay::send(session, &self.settings, next).await?);
            }
            self.show_waiting();
            tokio::select! {
                biased;
                confirmed = first(&mut under_way) => {
                    confirmed?;
                    under_way.pop_front();
                    self.note_confirmed();
                }
                Some(next) = self.queue.recv(), if self.unconfirmed.len() < WINDOW => self.unconfirmed.push_back(next),
                () = sleep(LOOK) => {
                    if !session.channel.status().connected() {
                        return Err(passing("the connection is lost"));
                    }
                }
            }
        }
    }

    fn note_up(&mut self) {
        if self.is_up.replace(true) != Some(true) {
            tracing::info!(exchange = self.settings.exchange, "the broker takes events");
        }
    }

    fn note_confirmed(&mut self) {
        self.note_up();
        metrics::counter!("confgate_broker_published_total").increment(1);
        if let Some(publication) = self.unconfirmed.pop_front() {
            // Its receiver ends after this task.
            let _ = self.confirmed.send(publication.number);
        }
    }

    fn show_waiting(&self) {
        let waiting = self.unconfirmed.len() + self.queue.len();
        metrics::gauge!("confgate_broker_unpublished_events").set(waiting as f64);
    }
}

/// A publication that the broker has to confirm.
struct UnderWay {
    confirm: PublisherConfirm,
    until: Instant,
}

impl UnderWay {
    async fn send(session: &Session, settings: &Settings, publication: &Publication) -> Result<Self, BrokerError> {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(publication.message_id.as_str().into());
        let sent = session.channel.basic_publish(
            settings.exchange.as_str().into(),
            publication.routing_key.as_str().into(),
            BasicPublishOptions::default(),
            publication.body.as_bytes(),
            properties,
        );
        let confirm = session.within(sent).await?;
        Ok(Self { confirm, until: Instant::now() + settings.timeout })
    }
}

/// The confirmation of the first of them. Without one under way it never comes.
async fn first(under_way: &mut VecDeque<UnderWay>) -> Result<(), BrokerError> {
    let Some(first) = under_way.front_mut() else { return std::future::pending().await };
    match timeout_at(first.until, &mut first.confirm).await {
        Ok(Ok(Confirmation::Ack(_))) => Ok(()),
        Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => Err(passing("it could not take an event")),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(passing("an event was not confirmed in time")),
    }
}

fn passing(why: &str) -> BrokerError {
    BrokerError { why: why.to_owned(), lasting: false }
}

/// Has the numbers forgotten as they come, several at once, until no more come. A failure is tried again.
async fn forget_all(mut numbers: mpsc::UnboundedReceiver<u64>, forget: Forget, stop: &CancellationToken) {
    let mut batch = Vec::with_capacity(FORGET_MAX);
    while numbers.recv_many(&mut batch, FORGET_MAX).await > 0 {
        let mut backoff = Backoff::new(FORGET_PAUSE.0, FORGET_PAUSE.1);
        while let Err(why) = forget(batch.clone()).await {
            tracing::debug!(why, "published events can't be deleted yet");
            if stop.run_until_cancelled(sleep(backoff.pause(false, rand::random()))).await.is_none() {
                return;
            }
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::sync::lock;

    #[tokio::test]
    async fn confirmed_numbers_are_forgotten_once_though_the_store_fails_at_first() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let forget: Forget = Arc::new(move |numbers| {
            let mut calls = lock(&seen);
            calls.push(numbers);
            let result = if calls.len() < 3 { Err("the disk is full".to_owned()) } else { Ok(()) };
            Box::pin(async move { result })
        });
        let (confirmed, numbers) = mpsc::unbounded_channel();
        (1..=3).for_each(|number| confirmed.send(number).unwrap());
        drop(confirmed);
        forget_all(numbers, forget, &CancellationToken::new()).await;
        assert_eq!(*lock(&calls), [[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    }
}
