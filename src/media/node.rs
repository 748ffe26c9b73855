//! The node's one task: owns the calls, the queues to clients and the media's two ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use confgate_sfu::protocol::{Command, Notice};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer_check::AnswerCheck;
use super::backend::{Backend, Media as Carrier};
use super::call_dispatcher::CallDispatcher;
use super::client_sink::{ClientSink, SessionEvent};
use super::group::{ClientCredentials, Input, Limits, LinkEvent, LinkId, Output, Session, SocketId};
use super::message::{Message, Reply, Unreadable};
use super::one_to_one;
use super::pull::{self, LinkReport, Pull, Pulls, State};
use crate::clock::{Now, date_ms};
use crate::http::ws::send_queue::{Close, Outbox};
use crate::node_protocol::{self, FromNode, ToNode};

/// Inputs that may wait for the node's task. When it is full, senders wait: the sockets are read more slowly.
const MAILBOX: usize = 4096;
/// How often sockets that join nowhere are looked for.
const TICK: Duration = Duration::from_millis(500);
/// How soon commands are offered again that the media had no room for.
const RETRY: Duration = Duration::from_millis(5);
/// How much fuller the node must have become for it to be said before the next report is due.
const JUMP: f64 = 0.1;

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds of group calls.
    pub group: Limits,
    /// Bounds of calls between two.
    pub pairs: one_to_one::Limits,
    /// How often gateways are told the load.
    pub report_interval: Duration,
    /// How long calls may go on after the soft stop.
    pub drain: Duration,
}

/// The node's status, as its gateways are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// A load, or that it serves nobody.
    pub load: FromNode,
    /// When it stops, if it is going to: ms since 1970.
    pub deadline_ms: Option<u64>,
}

/// The handle for client sockets and control links: cloneable. A call waits while the mailbox is full, and is without
/// effect when the node has stopped.
#[derive(Clone)]
pub struct Media {
    mailbox: mpsc::Sender<Event>,
    sockets: Arc<AtomicU64>,
    status: watch::Receiver<Status>,
}

enum Event {
    Opened(SocketId, ClientCredentials, Outbox),
    Began(SocketId, Session, ClientSink),
    Of(Input),
    Pull(pull::Request),
}

/// One client's socket, or session over HTTP, from its opening to its end.
pub struct Client {
    id: SocketId,
    mailbox: mpsc::Sender<Event>,
}

/// The node's ends that the gateway in this process holds: the same as a control link, without the wire.
pub struct Ends {
    /// Orders for the node.
    pub commands: mpsc::Sender<ToNode>,
    /// Reports of the node.
    pub messages: mpsc::Receiver<FromNode>,
}

/// The node's task, ready to run.
pub struct Node {
    calls: CallDispatcher,
    settings: Settings,
    media: Carrier,
    notices: mpsc::Receiver<Notice>,
    pulls: Pulls,
    mailbox: mpsc::Receiver<Event>,
    commands: mpsc::Receiver<ToNode>,
    clients: HashMap<SocketId, ClientSink>,
    answers: AnswerCheck,
    /// Commands that the media had no room for, in order. While there are any, nothing more is taken on: what one
    /// input came to is all that it holds.
    backlog: VecDeque<Command>,
    status: watch::Sender<Status>,
}

impl Media {
    /// A socket has opened: `None` where the node has stopped.
    pub async fn open(&self, credentials: ClientCredentials, outbox: Outbox) -> Option<Client> {
        let id = SocketId(self.sockets.fetch_add(1, Ordering::Relaxed));
        self.mailbox.send(Event::Opened(id, credentials, outbox)).await.ok()?;
        Some(Client { id, mailbox: self.mailbox.clone() })
    }

    /// A session over HTTP begins: `None` where the node has stopped.
    pub async fn begin(&self, session: Session) -> Option<(Client, mpsc::Receiver<SessionEvent>)> {
        let id = SocketId(self.sockets.fetch_add(1, Ordering::Relaxed));
        let (sink, heard) = ClientSink::session();
        self.mailbox.send(Event::Began(id, session, sink)).await.ok()?;
        Some((Client { id, mailbox: self.mailbox.clone() }, heard))
    }

    /// Passes on an order of a gateway's link.
    pub async fn send_control(&self, command: ToNode) {
        self.send_input(Input::Control(command)).await;
    }

    /// Pulls a stream from another node; how far that has come.
    ///
    /// # Errors
    /// Why it isn't begun.
    pub async fn pull(&self, pull: Pull) -> Result<watch::Receiver<State>, pull::Refused> {
        let stopped = || pull::Refused::Dead("this node is stopping".into());
        self.request(|answer| pull::Request::Pull(pull, answer)).await.ok_or_else(stopped)?
    }

    /// The streams that are pulled by hand.
    pub async fn pulled(&self) -> Vec<pull::Pulled> {
        self.request(pull::Request::List).await.unwrap_or_default()
    }

    /// Ends a pull; `false`: there is none such.
    pub async fn terminate(&self, pull: Pull) -> bool {
        self.request(|answer| pull::Request::Terminate(pull, answer)).await.unwrap_or_default()
    }

    async fn request<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> pull::Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.send(Event::Pull(request(answer))).await.ok()?;
        answered.await.ok()
    }

    /// The status that links report; ends with the node.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn send_input(&self, input: Input) {
        // A node that has stopped has nothing left to change.
        self.mailbox.send(Event::Of(input)).await.ok();
    }
}

impl Client {
    /// Hands a client's message to the node, with the credentials in it.
    pub async fn on_message(&self, message: Result<Message, Unreadable>, credentials: ClientCredentials) {
        self.mailbox.send(Event::Of(Input::Message(self.id, message, credentials))).await.ok();
    }

    /// The client has answered a ping.
    pub async fn alive(&self) {
        self.mailbox.send(Event::Of(Input::Alive(self.id))).await.ok();
    }

    /// A session's offer with new ICE credentials; its answer is heard as the first was.
    pub async fn restart(&self, offer: String) {
        self.mailbox.send(Event::Of(Input::Restarted(self.id, offer))).await.ok();
    }

    /// The client's socket has closed.
    pub async fn closed(self) {
        self.mailbox.send(Event::Of(Input::Closed(self.id))).await.ok();
    }
}

impl Node {
    /// Makes the node's task, which [`Node::run`] runs, on that media.
    pub fn start(settings: Settings, backend: Backend, pulls: pull::Settings) -> (Self, Media, Ends) {
        let Backend { media, notices } = backend;
        let (to_mailbox, mailbox) = mpsc::channel(MAILBOX);
        let (to_commands, commands) = mpsc::channel(node_protocol::QUEUE);
        let (to_gateway, messages) = mpsc::channel(node_protocol::QUEUE);
        let first = Status { load: load(&media, 0.0, false), deadline_ms: None };
        let (status, reports) = watch::channel(first);
        tokio::spawn(report_to(to_gateway, reports.clone()));
        let node = Self {
            calls: CallDispatcher::new(settings.group.clone(), settings.pairs.clone()),
            settings,
            media,
            notices,
            pulls: Pulls::new(pulls),
            mailbox,
            commands,
            clients: HashMap::new(),
            answers: AnswerCheck::default(),
            backlog: VecDeque::new(),
            status,
        };
        let handle = Media { mailbox: to_mailbox, sockets: Arc::default(), status: reports };
        (node, handle, Ends { commands: to_commands, messages })
    }

    /// Runs to the soft stop and through the drain: until nobody is left, or the drain's time is over, or `hard`.
    pub async fn run(mut self, soft: CancellationToken, hard: CancellationToken) {
        let mut report = interval(self.settings.report_interval);
        let mut tick = interval(TICK);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut draining, mut deadline) = (false, Instant::now());
        while !draining || self.calls.counts().sockets > 0 {
            let ready = self.backlog.is_empty();
            tokio::select! {
                notice = self.notices.recv() => match notice {
                    Some(notice) => {
                        self.notice(notice);
                        self.report_a_jump();
                    }
                    None => return tracing::error!("the media threads have ended"),
                },
                Some(event) = self.mailbox.recv(), if ready => self.event(event),
                report = self.pulls.next(), if ready => self.linked(report),
                Some(command) = self.commands.recv(), if ready => self.take(Input::Control(command)),
                () = tokio::time::sleep(RETRY), if !ready => self.retry(),
                _ = tick.tick(), if ready => self.take(Input::Tick),
                _ = report.tick() => self.report(None),
                () = soft.cancelled(), if !draining => {
                    draining = true;
                    deadline = Instant::now() + self.settings.drain;
                    self.take(Input::Drain);
                    self.report(Some(date_ms() + self.settings.drain.as_millis() as u64));
                }
                () = sleep_until(deadline), if draining => self.take(Input::Stop),
                () = hard.cancelled() => break,
            }
        }
        self.take(Input::Stop);
        self.media.stop().await;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened(socket, credentials, outbox) => {
                self.clients.insert(socket, ClientSink::Socket(outbox));
                self.take(Input::Opened(socket, credentials));
            }
            Event::Began(socket, session, sink) => {
                self.clients.insert(socket, sink);
                self.take(Input::Began(socket, session));
            }
            Event::Of(input) => self.take(input),
            Event::Pull(request) => self.pull(request),
        }
    }

    fn notice(&mut self, notice: Notice) {
        let notice = self.answers.check(notice).unwrap_or_else(|(endpoint, refusal)| {
            self.command(Command::Close { endpoint });
            refusal
        });
        self.take(Input::Notice(notice));
    }

    fn linked(&mut self, report: LinkReport) {
        match report {
            LinkReport::Of(link, report) => self.take(Input::Linked(link, report)),
            LinkReport::Over(link) => self.pulls.forget(link),
        }
    }

    /// The requester may have gone meanwhile.
    fn pull(&mut self, request: pull::Request) {
        match request {
            pull::Request::Pull(pull, answer) => {
                let taken =
                    pull::Named::parse(&pull.local).is_some_and(|at| self.calls.knows(at.space, &at.room, &at.stream));
                answer.send(self.pulls.pull(pull, taken)).ok();
            }
            pull::Request::List(answer) => drop(answer.send(self.pulls.list())),
            pull::Request::Terminate(pull, answer) => {
                let ended = self.pulls.terminate(&pull);
                answer.send(ended.is_some()).ok();
                self.unlinked(ended);
            }
        }
    }

    fn unlinked(&mut self, links: impl IntoIterator<Item = LinkId>) {
        for link in links {
            self.take(Input::Linked(link, LinkEvent::Closed));
        }
    }

    fn take(&mut self, input: Input) {
        if let Input::Closed(socket) = &input {
            self.clients.remove(socket);
        }
        for output in self.calls.handle(Now::read(), input) {
            match output {
                Output::Send(socket, reply) => self.send(socket, &reply),
                Output::Close(socket, why) => self.close(socket, why),
                Output::Probe(socket) => self.probe(socket),
                Output::Media(command) => self.command(command),
                Output::Link(link, command) => {
                    if !self.pulls.send_command(link, command) {
                        self.take(Input::Linked(link, LinkEvent::Closed));
                    }
                }
                Output::Cascade(conf, peers) => {
                    let ended = self.pulls.cascade(conf, peers);
                    self.unlinked(ended);
                }
            }
        }
    }

    fn send(&self, socket: SocketId, reply: &Reply) {
        if let Reply::Mode { reason: Some(reason), .. } = reply {
            metrics::counter!("confgate_groupcall_relayed_total", "reason" => reason.name()).increment(1);
        }
        if let Reply::Error { code, .. } = reply {
            metrics::counter!("confgate_groupcall_errors_total", "code" => code.name()).increment(1);
        }
        if let Some(sink) = self.clients.get(&socket) {
            sink.send(reply);
        }
    }

    fn close(&mut self, socket: SocketId, why: Close) {
        if let Some(sink) = self.clients.remove(&socket) {
            sink.close(why);
        }
    }

    fn probe(&self, socket: SocketId) {
        if let Some(ClientSink::Socket(outbox)) = self.clients.get(&socket) {
            outbox.ping();
        }
    }

    fn command(&mut self, command: Command) {
        self.answers.on_command(&command);
        if !self.backlog.is_empty() || !self.media.send(command.clone()) {
            self.backlog.push_back(command);
        }
    }

    fn retry(&mut self) {
        while let Some(command) = self.backlog.front() {
            if !self.media.send(command.clone()) {
                metrics::counter!("confgate_groupcall_media_full_total").increment(1);
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Says at once what the next report would be too late for.
    fn report_a_jump(&mut self) {
        let reported = match &self.status.borrow().load {
            FromNode::Load { busiest, .. } => *busiest,
            _ => return,
        };
        if self.media.load().is_ok_and(|load| load.busiest >= reported + JUMP) {
            self.report(None);
        }
    }

    /// Says how the node is; a deadline, once said, stands.
    fn report(&mut self, deadline_ms: Option<u64>) {
        let counts = self.calls.counts();
        self.set_gauge("confgate_groupcall_sockets", counts.sockets as f64);
        self.set_gauge("confgate_groupcall_rooms", counts.rooms as f64);
        self.set_gauge("confgate_groupcall_members", counts.members as f64);
        self.set_gauge("confgate_one2one_calls", self.calls.pairs() as f64);
        self.set_gauge("confgate_groupcall_mailbox_waiting", self.mailbox.len() as f64);
        self.set_gauge("confgate_groupcall_media_waiting", self.backlog.len() as f64);
        if let Ok(load) = self.media.load() {
            self.set_gauge("confgate_media_packets_per_second", load.packets_per_s as f64);
            self.set_gauge("confgate_media_busiest_ratio", load.busiest);
            self.set_gauge("confgate_media_endpoints", load.endpoints as f64);
        }
        let Settings { group, pairs, .. } = &self.settings;
        let rooms = counts.rooms as f64 / group.rooms.max(1) as f64;
        let rooms = rooms.max(self.calls.pairs() as f64 / pairs.calls.max(1) as f64);
        let media = &self.media;
        self.status.send_modify(|status| {
            status.deadline_ms = status.deadline_ms.or(deadline_ms);
            status.load = load(media, rooms, status.deadline_ms.is_some());
        });
    }

    /// One process may hold several nodes: its own, and those that it fronts.
    fn set_gauge(&self, gauge: &'static str, value: f64) {
        metrics::gauge!(gauge, "node" => self.settings.group.node.clone()).set(value);
    }
}

/// `rooms`: the share of the rooms and calls that may be open.
fn load(media: &Carrier, rooms: f64, draining: bool) -> FromNode {
    match media.load() {
        Ok(load) => FromNode::Load {
            packets_per_s: load.packets_per_s,
            packets_per_s_max: load.packets_per_s_max,
            busiest: load.busiest.max(rooms),
            rooms: load.rooms,
            endpoints: load.endpoints,
            draining,
            cascades: media.cascades(),
        },
        Err(why) => FromNode::Unserving { why },
    }
}

impl Status {
    /// The messages by which a link reports this status after an earlier one, `told`.
    pub fn changes_since(&self, reported: Option<&Status>) -> impl Iterator<Item = FromNode> + use<> {
        let known = reported.and_then(|reported| reported.deadline_ms);
        let draining = self.deadline_ms.filter(|_| known.is_none());
        draining.map(|deadline_ms| FromNode::Draining { deadline_ms }).into_iter().chain([self.load.clone()])
    }
}

/// The link to the gateway in this process: it ends with the node, or when nobody listens.
async fn report_to(gateway: mpsc::Sender<FromNode>, mut status: watch::Receiver<Status>) {
    let mut reported = None;
    loop {
        let now = status.borrow_and_update().clone();
        for report in now.changes_since(reported.as_ref()) {
            if gateway.send(report).await.is_err() {
                return;
            }
        }
        reported = Some(now);
        if status.changed().await.is_err() {
            return;
        }
    }
}
