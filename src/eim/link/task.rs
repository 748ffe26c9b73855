//! The link's task: connects, serves, pauses, again; parks the requests that come in between.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::state::State;
use super::{Connected, EimError, LinkSettings, MisroutedReplies, Request};
use crate::clock::backoff::Backoff;
use crate::eim::events::Outbox;
use crate::health::Health;
use crate::rate_limit::throttle::Throttle;
use crate::xmpp::negotiate::ConnectError;

/// A connection that lasted so long was a good one: the next pause is the shortest again.
const STEADY: Duration = Duration::from_secs(10);
pub(super) struct Task {
    state: State,
    health: watch::Sender<Health>,
    backoff: Backoff,
}

impl Task {
    pub(super) fn new(
        settings: LinkSettings,
        requests: mpsc::Receiver<Request>,
        health: watch::Sender<Health>,
        outbox: Outbox,
        unreadable: Arc<Throttle>,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(settings.timing.reconnect_min, settings.timing.reconnect_max);
        let state = State { settings, requests, outbox, unreadable, stop, parked: VecDeque::new() };
        Self { state, health, backoff }
    }

    /// `first`: a connection that is there already.
    pub(super) async fn run(mut self, mut first: Option<Connected>) {
        loop {
            let connected = match first.take() {
                Some(connected) => connected,
                None => match self.connect().await {
                    Some(connected) => connected,
                    None => break,
                },
            };
            let began = Instant::now();
            self.health.send_replace(Health::up());
            self.state.outbox.up();
            tracing::info!(link = self.state.settings.name, address = %connected.address, "EIM link up");
            let up = metrics::gauge!("confgate_eim_links_up", "link" => self.state.settings.name);
            up.increment(1.0);
            let end = Connection::new(&mut self.state, connected).serve().await;
            up.decrement(1.0);
            self.state.outbox.down();
            let Some(why) = end else { break };
            if began.elapsed() >= STEADY {
                self.backoff.reset();
            }
            self.report(&why);
            if self.pause(why.is_lasting()).await.is_none() {
                break;
            }
        }
        self.health.send_replace(Health::down("stopped"));
        self.refuse_the_rest();
    }

    /// Tries until there is a connection. `None`: told to stop.
    async fn connect(&mut self) -> Option<Connected> {
        loop {
            metrics::counter!("confgate_eim_connects_total", "link" => self.state.settings.name).increment(1);
            let (dial, limit) = (self.state.settings.dial.clone(), self.state.settings.timing.timeout);
            match self.meanwhile(dial.connect(limit)).await? {
                Ok(connected) => return Some(connected),
                Err(why) => {
                    self.report(&why);
                    self.pause(why.is_lasting()).await?;
                }
            }
        }
    }

    async fn pause(&mut self, lasting: bool) -> Option<()> {
        let pause = self.backoff.pause(lasting, rand::random());
        self.meanwhile(sleep(pause)).await
    }

    fn report(&self, why: &ConnectError) {
        let refused = matches!(why, ConnectError::NotAuthorized(_));
        let why = why.to_string();
        self.health.send_if_modified(|health| {
            // The first reason is when it began; later ones only say more.
            let since_ms = if health.up { Health::down("").since_ms } else { health.since_ms };
            let changed = health.up || health.why != why;
            if changed {
                tracing::warn!(link = self.state.settings.name, %why, "EIM link down");
            }
            *health = Health { up: false, since_ms, why, refused };
            changed
        });
    }

    /// Waits for `work` with the link down: requests are parked, and given up when they have waited long enough.
    /// `None`: told to stop, or nobody holds the link any more.
    async fn meanwhile<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        loop {
            let next = self.state.parked.iter().map(|r| r.wait_until).min();
            tokio::select! {
                biased;
                () = self.state.stop.cancelled() => return None,
                done = &mut work => return Some(done),
                request = self.state.requests.recv() => self.state.parked.push_back(request?),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.give_up(Instant::now()),
                // Answers to a connection that is gone.
                _ = MisroutedReplies::recv(&mut self.state.settings.strays) => {}
                () = self.state.outbox.drain() => {}
            }
        }
    }

    fn give_up(&mut self, now: Instant) {
        for request in std::mem::take(&mut self.state.parked) {
            if request.wait_until <= now {
                request.reply.send(Err(EimError::Unreachable { sent: false }));
            } else {
                self.state.parked.push_back(request);
            }
        }
    }

    fn refuse_the_rest(&mut self) {
        self.state.requests.close();
        let rest = std::mem::take(&mut self.state.parked);
        for request in rest.into_iter().chain(std::iter::from_fn(|| self.state.requests.try_recv().ok())) {
            request.reply.send(Err(EimError::Unreachable { sent: false }));
        }
    }
}
