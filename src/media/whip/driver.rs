//! The driver's task: owns the core, and the requests under way, of which a connection has one at most.
//!
//! Mailbox: [`COMMANDS`] commands; when it is full [`Driver::send`] says so. Notices are never dropped: while nobody
//! takes them, nothing more is asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use confgate_sfu::protocol::{Command, EndpointId, Load, Notice};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::core::{Output, Settings, Whip};
use super::request::Done;
use super::request::WhipServer;
use crate::clock::Moment;
use crate::sync;

/// Commands that wait for the driver's task.
const COMMANDS: usize = 1024;
/// Notices that wait for the node's task.
const NOTICES: usize = 4096;
/// How often what waits is looked at.
const TICK: Duration = Duration::from_millis(100);

/// The handle; the task ends with it, when it has ended what is open at the server.
pub struct Driver {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    status: Arc<DriverStatus>,
    endpoints_max: u64,
}

/// The status that the driver's task publishes.
struct DriverStatus {
    probed: Mutex<Result<(), String>>,
    endpoints: AtomicU64,
}

impl DriverStatus {
    fn probed(&self) -> MutexGuard<'_, Result<(), String>> {
        // Whole at any time.
        sync::lock(&self.probed)
    }
}

/// The mailbox has no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The result of a request's task.
enum Outcome {
    Of(EndpointId, Done),
    Probed(Result<(), String>),
}

impl Driver {
    /// Starts the driver's task; the notices come out of the receiver.
    pub fn start(reach: WhipServer) -> (Self, mpsc::Receiver<Notice>) {
        let (commands, mailbox) = mpsc::channel(COMMANDS);
        let (notices, notified) = mpsc::channel(NOTICES);
        let probed = Mutex::new(Err("not yet probed".to_owned()));
        let status = Arc::new(DriverStatus { probed, endpoints: AtomicU64::new(0) });
        let endpoints_max = reach.endpoints_max;
        let settings = Settings { endpoints_max: endpoints_max as usize, timeout_ms: reach.timeout.as_millis() as u64 };
        let core = Whip::new(settings);
        let task = Task { reach: Arc::new(reach), core, notices, status: status.clone(), under_way: JoinSet::new() };
        let task = tokio::spawn(task.run(mailbox));
        (Self { commands, task, status, endpoints_max }, notified)
    }

    /// # Errors
    /// The mailbox is full: to be offered again.
    pub fn send(&self, command: Command) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| Full)
    }

    /// Until all has ended at the server, or a request's time is over.
    pub async fn stop(self) {
        drop(self.commands);
        // Its fault is in the log already.
        self.task.await.ok();
    }

    /// Such a server tells no load: how full it is, is how many connections of ours it has.
    ///
    /// # Errors
    /// Why it isn't to be used.
    pub fn load(&self) -> Result<Load, String> {
        let endpoints = self.status.endpoints.load(Ordering::Relaxed);
        let busiest = endpoints as f64 / self.endpoints_max.max(1) as f64;
        self.status.probed().clone().map(|()| Load { busiest, endpoints, ..Load::default() })
    }
}

struct Task {
    reach: Arc<WhipServer>,
    core: Whip,
    notices: mpsc::Sender<Notice>,
    status: Arc<DriverStatus>,
    under_way: JoinSet<Outcome>,
}

impl Task {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        let (mut tick, mut probe) = (interval(TICK), interval(self.reach.probe_interval));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probing = false;
        loop {
            let todo = tokio::select! {
                command = mailbox.recv() => match command {
                    Some(command) => self.core.command(Moment::now().ms(), command),
                    None => break,
                },
                Some(outcome) = self.under_way.join_next() => match outcome {
                    Ok(Outcome::Of(endpoint, done)) => self.core.done(Moment::now().ms(), endpoint, done),
                    Ok(Outcome::Probed(probed)) => {
                        probing = false;
                        self.probed(probed);
                        Vec::new()
                    }
                    Err(error) => {
                        tracing::error!(%error, "a request's task has failed");
                        Vec::new()
                    }
                },
                _ = tick.tick() => self.core.tick(Moment::now().ms()),
                _ = probe.tick(), if !probing => {
                    probing = true;
                    let reach = self.reach.clone();
                    self.under_way.spawn(async move { Outcome::Probed(reach.probe().await) });
                    Vec::new()
                }
            };
            for output in todo {
                self.carry(output).await;
            }
            self.status.endpoints.store(self.core.endpoints(), Ordering::Relaxed);
        }
        for output in self.core.stop() {
            if let Output::Request(..) = output {
                self.carry(output).await;
            }
        }
        while self.under_way.join_next().await.is_some() {}
    }

    async fn carry(&mut self, output: Output) {
        match output {
            Output::Request(endpoint, request) => {
                let reach = self.reach.clone();
                self.under_way.spawn(async move { Outcome::Of(endpoint, reach.carry(request).await) });
            }
            // Nobody listens: the node has stopped.
            Output::Notify(notice) => drop(self.notices.send(notice).await),
        }
        metrics::gauge!("confgate_whip_requests_under_way").set(self.under_way.len() as f64);
    }

    fn probed(&self, probed: Result<(), String>) {
        let was = std::mem::replace(&mut *self.status.probed(), probed.clone());
        metrics::gauge!("confgate_whip_up").set(f64::from(u8::from(probed.is_ok())));
        match probed {
            Ok(()) if was.is_err() => tracing::info!(server = %self.reach.base, "the WHIP server answers"),
            Err(why) if was.as_ref() != Err(&why) => {
                tracing::warn!(server = %self.reach.base, why, "the WHIP server can't be used");
            }
            Ok(()) | Err(_) => {}
        }
    }
}
