//! The driver's task: owns the core and the one WebSocket to Janus, which it opens again with a jittered back-off.
//!
//! Mailbox: [`COMMANDS`] commands; when it is full [`Driver::send`] says so. Notices are never dropped: while nobody
//! takes them, nothing more is read from Janus.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confgate_sfu::protocol::{Command, Load, Notice};
use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::core::{Janus, NUMBER_MAX, Output, Settings};
use super::load_poll::LoadPoll;
use super::message::{self, ServerMessage};
use super::status::{LinkStatus, UNKNOWN, text_of_frame};
use crate::clock::Moment;
use crate::clock::backoff::Backoff;
use crate::clock::stall::{is_stall, patience};
use crate::http::dial::{self, Socket, Tls};
use crate::ids::{Secret, random_text};

/// Commands that wait for the driver's task.
const COMMANDS: usize = 1024;
/// Notices that wait for the node's task.
const NOTICES: usize = 4096;
/// How long Janus may take to release everything when the node stops.
const STOP: Duration = Duration::from_secs(2);
/// How often requests are looked at that Janus hasn't answered.
const TICK: Duration = Duration::from_millis(250);
/// Largest message that Janus sends: a description, or a room's list of publishers.
const MESSAGE_MAX: usize = 1024 * 1024;

/// The address and secrets of one Janus.
#[derive(Clone)]
pub struct JanusServer {
    /// The node's id, for its metrics.
    pub node: String,
    /// The ws(s) address of its API.
    pub url: http::Uri,
    /// The trust of its certificate.
    pub tls: Tls,
    /// `api_secret` of its configuration.
    pub api_secret: Option<Secret>,
    /// `admin_key` of its VideoRoom's configuration.
    pub admin_key: Option<Secret>,
    /// For connecting, and for its answer to a request.
    pub timeout: Duration,
    /// How often it is asked whether it lives, and how long it may take to say so.
    pub probe_interval: Duration,
    /// For the answer to a probe.
    pub probe_timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// Connections that count as a full server.
    pub endpoints_max: u64,
    /// Members of one room.
    pub members_max: u64,
    /// Where other Januses send it streams; `None`: where its API is, which must be its own address then.
    pub rtp_address: Option<IpAddr>,
    /// Where its load is read; `None`: how many connections of ours it has must do.
    pub load_poll: Option<LoadPoll>,
}

impl JanusServer {
    /// Tries whether it lets us in.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), String> {
        self.open().await?;
        match &self.load_poll {
            Some(load_poll) => load_poll.check().await.map(drop).map_err(|why| format!("its Admin API: {why}")),
            None => Ok(()),
        }
    }

    /// [`JanusServer::session`], in time.
    async fn open(&self) -> Result<(Socket, u64), String> {
        patience(self.timeout, self.session()).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// Opens a session in which rooms can be made: one is, and goes again.
    async fn session(&self) -> Result<(Socket, u64), String> {
        let opened = dial::websocket(&self.url, "janus-protocol", &self.tls, MESSAGE_MAX).await;
        let mut socket = opened.map_err(|error| error.to_string())?;
        let session = self.make(&mut socket, None, json!({"janus": "create"})).await?;
        let attached = self.make(&mut socket, Some(session), message::attach()).await;
        let handle = attached.map_err(|why| format!("its VideoRoom: {why}"))?;
        let (room, secret) = (rand::rng().random_range(1..=NUMBER_MAX), random_text(32));
        let admin_key = self.admin_key.as_ref().map(Secret::expose);
        let create = message::plugin(handle, message::create(room, 1, &secret, admin_key), None);
        let made = self.request(&mut socket, Some(session), create).await;
        made.map_err(|why| format!("it lets us make no room: {why}"))?;
        for last in [message::plugin(handle, message::destroy(room, &secret), None), message::detach(handle)] {
            self.request(&mut socket, Some(session), last).await?;
        }
        Ok((socket, session))
    }

    /// The id of what is made.
    async fn make(&self, socket: &mut Socket, session: Option<u64>, body: Value) -> Result<u64, String> {
        match self.request(socket, session, body).await? {
            ServerMessage::Made { id, .. } => Ok(id),
            _ => Err("it doesn't say what it has made".into()),
        }
    }

    /// Asks, while nothing else is under way on the socket.
    async fn request(
        &self,
        socket: &mut Socket,
        session: Option<u64>,
        mut body: Value,
    ) -> Result<ServerMessage, String> {
        if let Some(session) = session {
            body["session_id"] = session.into();
        }
        self.send_request(socket, 0, body).await?;
        loop {
            let text = text_of_frame(socket.next().await)?;
            match text.as_deref().map(ServerMessage::read) {
                Some(ServerMessage::Refused { reason, .. }) => return Err(reason),
                Some(
                    message @ (ServerMessage::Made { transaction: 0, .. } | ServerMessage::Done { transaction: 0, .. }),
                ) => {
                    return Ok(message);
                }
                _ => {}
            }
        }
    }

    async fn host(&self) -> Option<IpAddr> {
        if self.rtp_address.is_some() {
            return self.rtp_address;
        }
        let host = self.url.host()?.trim_matches(['[', ']']);
        let mut found = timeout(self.timeout, lookup_host((host, 0))).await.ok()?.ok()?;
        found.next().map(|address| address.ip())
    }

    async fn send_request(&self, socket: &mut Socket, transaction: u64, mut body: Value) -> Result<(), String> {
        body["transaction"] = transaction.to_string().into();
        if let Some(secret) = &self.api_secret {
            body["apisecret"] = secret.expose().into();
        }
        let sending = timeout(self.timeout, socket.send(Message::text(body.to_string())));
        sending.await.map_err(|_| "a request wasn't taken in time".to_owned())?.map_err(|error| error.to_string())
    }
}

/// The handle; the task ends with it.
pub struct Driver {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    status: Arc<LinkStatus>,
    endpoints_max: u64,
}

/// The mailbox has no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Driver {
    /// Starts the driver's task; the notices come out of the receiver.
    pub fn start(reach: JanusServer) -> (Self, mpsc::Receiver<Notice>) {
        let (commands, mailbox) = mpsc::channel(COMMANDS);
        let (notices, notify) = mpsc::channel(NOTICES);
        let status = Arc::new(LinkStatus {
            up: AtomicBool::new(false),
            endpoints: AtomicU64::new(0),
            rooms: AtomicU64::new(0),
            handles: AtomicU64::new(UNKNOWN),
            why: Mutex::new("no link to Janus yet".to_owned()),
        });
        if let Some(load_poll) = reach.load_poll.clone() {
            tokio::spawn(load_poll.watch(Arc::downgrade(&status)));
        }
        let endpoints_max = reach.endpoints_max;
        let settings = Settings {
            admin_key: reach.admin_key.as_ref().map(|key| key.expose().to_owned()),
            secret: random_text(32),
            timeout_ms: reach.timeout.as_millis() as u64,
            publishers: reach.members_max,
            rtp_address: reach.rtp_address,
        };
        let core = Janus::new(settings, rand::rng().random());
        let task = Task { reach, core, mailbox, notices, status: status.clone(), session: 0 };
        let task = tokio::spawn(task.run());
        (Self { commands, task, status, endpoints_max }, notify)
    }

    /// Until nothing is left at Janus, or `STOP` is over.
    pub async fn stop(self) {
        drop(self.commands);
        // Its fault is in the log already.
        timeout(STOP, self.task).await.ok();
    }

    /// # Errors
    /// The mailbox is full: to be offered again.
    pub fn send(&self, command: Command) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| Full)
    }

    /// Janus tells no packet rates: how full it is, is how many connections it has.
    ///
    /// # Errors
    /// Why there is no link.
    pub fn load(&self) -> Result<Load, String> {
        let endpoints = self.status.connections();
        let busiest = endpoints as f64 / self.endpoints_max.max(1) as f64;
        let rooms = self.status.rooms.load(Ordering::Relaxed);
        match self.status.up.load(Ordering::Relaxed) {
            true => Ok(Load { busiest, rooms, endpoints, ..Load::default() }),
            false => Err(self.status.why().clone()),
        }
    }
}

struct Task {
    reach: JanusServer,
    core: Janus,
    mailbox: mpsc::Receiver<Command>,
    notices: mpsc::Sender<Notice>,
    status: Arc<LinkStatus>,
    session: u64,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.reach.reconnect_min, self.reach.reconnect_max);
        loop {
            let why = match self.reach.open().await {
                Ok((socket, session)) => {
                    backoff.reset();
                    self.session = session;
                    tracing::info!(url = %self.reach.url, "connected to Janus");
                    let Some(why) = self.exchange_messages(socket).await else { return };
                    tracing::warn!(url = %self.reach.url, why, "the link to Janus has ended");
                    for output in self.core.disconnected() {
                        self.send_notice(output).await;
                    }
                    self.show();
                    why
                }
                Err(why) => {
                    if *self.status.why() != why {
                        tracing::warn!(url = %self.reach.url, why, "Janus can't be used");
                    }
                    why
                }
            };
            *self.status.why() = why;
            if self.refuse_for(backoff.pause(false, rand::random())).await.is_none() {
                return;
            }
        }
    }

    /// Refuses what is asked while there is no link. `None`: nobody asks any more.
    async fn refuse_for(&mut self, pause: Duration) -> Option<()> {
        let mut over = std::pin::pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut over => return Some(()),
                command = self.mailbox.recv() => {
                    for output in self.core.command(Moment::now().ms(), command?) {
                        self.send_notice(output).await;
                    }
                }
            }
        }
    }

    /// Speaks until the link ends, and says why it did. `None`: nobody needs it any more.
    async fn exchange_messages(&mut self, mut socket: Socket) -> Option<String> {
        // Janus ends a session that is silent for 60 s (`session_timeout`), and says something to each.
        let mut keepalive = interval(self.reach.probe_interval);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut todo = self.core.connected(Moment::now().ms(), self.reach.host().await);
        let (mut heard_at, mut asked_at) = (Instant::now(), Instant::now());
        let mut ends = false;
        loop {
            for output in todo {
                if let Err(why) = self.carry(&mut socket, output).await {
                    return Some(why);
                }
            }
            if ends && self.core.is_settled() {
                return None;
            }
            self.show();
            todo = tokio::select! {
                message = socket.next() => {
                    heard_at = Instant::now();
                    match text_of_frame(message) {
                        Ok(Some(text)) => self.core.on_message(Moment::now().ms(), ServerMessage::read(&text)),
                        Ok(None) => Vec::new(),
                        Err(why) => return Some(why),
                    }
                }
                command = self.mailbox.recv(), if !ends => match command {
                    Some(command) => self.core.command(Moment::now().ms(), command),
                    None => {
                        ends = true;
                        Vec::new()
                    }
                },
                _ = tick.tick() => self.core.tick(Moment::now().ms()),
                _ = keepalive.tick() => {
                    if is_stall(self.reach.probe_interval, asked_at.elapsed()) {
                        heard_at = Instant::now();
                    }
                    asked_at = Instant::now();
                    if heard_at.elapsed() > self.reach.probe_interval + self.reach.probe_timeout {
                        return Some("silent".into());
                    }
                    match self.send_request(&mut socket, 0, json!({"janus": "keepalive"})).await {
                        Ok(()) => Vec::new(),
                        Err(why) => return Some(why),
                    }
                }
            };
        }
    }

    async fn carry(&mut self, socket: &mut Socket, output: Output) -> Result<(), String> {
        match output {
            Output::Request(request) => self.send_request(socket, request.transaction, request.body).await,
            notify @ Output::Notify(_) => {
                self.send_notice(notify).await;
                Ok(())
            }
        }
    }

    async fn send_notice(&self, output: Output) {
        let notice = match output {
            Output::Notify(notice) => notice,
            Output::Request(_) => return,
        };
        self.gauge("confgate_janus_notices_waiting", (NOTICES - self.notices.capacity()) as f64);
        // Nobody listens: the node has stopped.
        self.notices.send(notice).await.ok();
    }

    async fn send_request(&self, socket: &mut Socket, transaction: u64, mut body: Value) -> Result<(), String> {
        body["session_id"] = self.session.into();
        self.reach.send_request(socket, transaction, body).await
    }

    fn show(&self) {
        let (endpoints, rooms) = self.core.counts();
        self.status.endpoints.store(endpoints, Ordering::Relaxed);
        self.status.rooms.store(rooms, Ordering::Relaxed);
        self.status.up.store(self.core.is_up(), Ordering::Relaxed);
        self.gauge("confgate_janus_up", f64::from(u8::from(self.core.is_up())));
    }

    fn gauge(&self, name: &'static str, value: f64) {
        metrics::gauge!(name, "node" => self.reach.node.clone()).set(value);
    }
}
