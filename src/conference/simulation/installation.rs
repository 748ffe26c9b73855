//! All parts together: hands each what is due, makes the faults, and looks at the outcome.

use rand::RngExt;

use super::broker::Broker;
use super::client::{Client, until_next};
use super::eim_host::EimHost;
use super::messages::{Due, Fault, Message, Operation, Timer, World, pause};
use super::node::Node;
use super::schedule::{ConnectionId, End, Ms, Schedule, Scheduled};
use crate::conference::core::Failure;
use crate::event::MemberState;
use crate::ids::UserId;

const NODES: usize = 2;
const CLIENTS: usize = 5;
const BEGIN: Ms = 1_000_000;
/// How long faults happen and people act.
const FAULTS_MS: Ms = 12_000;
/// The longest outage.
const OUTAGE_MS: Ms = 5000;
/// After the last fault: the grace, the seats that are kept, and the looks at the roster.
const REST_MS: Ms = 25_000;
const TRACE_LINE: usize = 400;

/// What the histories had in them, so that they can't be empty.
#[derive(Debug, Default)]
pub struct Tally {
    histories: u64,
    faults: u64,
    events: u64,
    acknowledged: u64,
    timeouts: u64,
    members: u64,
    /// A fault of the product that is not mended: a node whose link to the EIM was down makes the first claim of a
    /// socket that is dead by then, after another node's claim of the socket that followed it. Generations of two nodes
    /// don't compare, so the EIM takes the dead socket for the later one, and the live one is told nothing more. What
    /// such a client shows is not compared.
    superseded: u64,
}

impl Tally {
    pub fn plus(self, other: Self) -> Self {
        Self {
            histories: self.histories + other.histories,
            faults: self.faults + other.faults,
            events: self.events + other.events,
            acknowledged: self.acknowledged + other.acknowledged,
            timeouts: self.timeouts + other.timeouts,
            members: self.members + other.members,
            superseded: self.superseded + other.superseded,
        }
    }

    /// In the mean of a history.
    pub fn check(&self) {
        let Self { histories, .. } = self;
        assert!(self.events > 15 * histories && self.acknowledged > 10 * histories, "too little happens");
        assert!(self.faults > 3 * histories && self.members > *histories, "too little is left to check");
        assert!(self.superseded * 50 <= *histories, "too little is compared");
        assert!(self.timeouts * 4 > *histories, "nobody's grace ends");
    }
}

/// Owns everything.
pub struct Installation {
    world: World,
    nodes: Vec<Node>,
    eim: EimHost,
    broker: Broker,
    clients: Vec<Client>,
    users: Vec<UserId>,
    /// Members whom the EIM does not let listen on that node: see [`Tally::superseded`].
    superseded: [Vec<UserId>; NODES],
    faults: u64,
    trace: Option<Vec<String>>,
}

impl Installation {
    pub fn new(seed: u64, traces: bool) -> Self {
        let world = Schedule::new(seed, BEGIN);
        let clients: Vec<Client> = (0..CLIENTS).map(|n| Client::new(n, n + 1 == CLIENTS)).collect();
        let users: Vec<UserId> = clients.iter().map(|client| client.user.clone()).collect();
        let eim = EimHost::new(seed, &users[0], BEGIN);
        let nodes = (0..NODES).map(|n| Node::new(n, eim.conf.clone())).collect();
        let broker = Broker::new(NODES);
        Self {
            world,
            nodes,
            eim,
            broker,
            clients,
            users,
            superseded: Default::default(),
            faults: 0,
            trace: traces.then(Vec::new),
        }
    }

    pub fn trace(&self) -> String {
        self.trace.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    /// The whole history.
    pub fn run(&mut self) -> Tally {
        self.eim.start(&mut self.world);
        for node in &mut self.nodes {
            node.start(&mut self.world);
        }
        for user in 0..CLIENTS {
            let ms = self.world.range(0, 2000);
            self.world.after(ms, Timer::ClientConnect { user, run: 0 });
            self.world.after(ms, Timer::ClientAct(user));
            self.world.after(FAULTS_MS, Timer::Last(user));
        }
        self.plan_faults();
        let end = BEGIN + FAULTS_MS + OUTAGE_MS + REST_MS;
        while let Some(due) = self.world.pop(end) {
            self.note(&due);
            self.dispatch(due);
        }
        self.world.now = end;
        self.check()
    }

    fn note(&mut self, due: &Due) {
        let now = self.world.now - BEGIN;
        if let Some(lines) = &mut self.trace {
            let is_dull = matches!(due, Scheduled::Timer(Timer::Tick { .. } | Timer::EimWake { .. }));
            let is_cut = matches!(due, Scheduled::Message { connection, .. } if self.world.is_cut(*connection));
            if !is_dull {
                let mut text = format!("{now:6} {}{due:?}", if is_cut { "lost: " } else { "" });
                if let Some((at, _)) = text.char_indices().nth(TRACE_LINE) {
                    text.truncate(at);
                }
                lines.push(text);
            }
        }
    }

    fn plan_faults(&mut self) {
        let count = self.world.range(1, 10);
        for _ in 0..count {
            let at = self.world.range(0, FAULTS_MS);
            let ms = self.world.range(50, OUTAGE_MS);
            let node = self.world.rng.random_range(0..NODES);
            let client = self.world.rng.random_range(0..CLIENTS);
            let fault = match self.world.range(0, 12) {
                0 | 1 => Fault::CutLink(node),
                2 | 3 => Fault::CutConsumer(node),
                4 => Fault::CutPublisher,
                5 => Fault::CutClient(client),
                6 => Fault::EimCrash(ms),
                7 => Fault::BrokerCrash { ms, loses_queues: self.world.chance(0.3) },
                8 | 9 => Fault::NodeCrash { node, ms },
                10 => Fault::Stall { node, ms },
                _ => Fault::DiskTrouble(ms),
            };
            self.world.after(at, Timer::Fault(fault));
        }
        self.faults = count;
    }

    fn dispatch(&mut self, due: Due) {
        match due {
            Scheduled::Message { connection, .. } if self.world.is_cut(connection) => {}
            Scheduled::Message { to: End::Node(node), .. }
            | Scheduled::Lost { at: End::Node(node), .. }
            | Scheduled::Timer(Timer::Tick { node, .. })
                if self.nodes[node].stalled.is_some() =>
            {
                self.nodes[node].stalled.get_or_insert_default().push_back(due);
            }
            Scheduled::Message { connection, to, message } => match to {
                End::Node(node) => self.on_node_message(node, connection, message),
                End::Client(user) => self.on_client_message(user, connection, message),
                End::Eim => match message {
                    Message::Request { number, call } => {
                        self.eim.on_request(connection, number, call, &mut self.world);
                    }
                    Message::Confirm(number) => self.eim.on_confirm(connection, number, &mut self.world),
                    _ => {}
                },
                End::Broker => match message {
                    Message::Publish(publication) => {
                        self.broker.on_publish(connection, &publication, &mut self.world);
                    }
                    message => {
                        if let End::Node(node) = self.world.peer(connection, End::Broker) {
                            self.broker.on_message(node, connection, message, &mut self.world);
                        }
                    }
                },
            },
            Scheduled::Lost { connection, at } => match at {
                End::Node(node) => {
                    if self.nodes[node].is_up {
                        self.nodes[node].lost(connection, &mut self.world);
                    }
                }
                End::Client(user) => self.clients[user].lost(connection, &mut self.world),
                End::Eim => self.eim.lost(connection, &mut self.world),
                End::Broker => self.broker.lost(connection),
            },
            Scheduled::Timer(timer) => self.timer(timer),
        }
    }

    fn on_node_message(&mut self, node: usize, connection: ConnectionId, message: Message) {
        let (world, node) = (&mut self.world, &mut self.nodes[node]);
        if !node.is_up {
            return;
        }
        match message {
            Message::Open { user, position } => {
                let client = &self.clients[user];
                node.open(connection, &client.user, client.is_guest, position, world);
            }
            Message::Operation { number, operation } => {
                if let End::Client(user) = world.peer(connection, node.end()) {
                    node.operate(connection, number, &self.users[user], operation, world);
                }
            }
            Message::Reply { number, answer } => {
                if let Some(purpose) = node.state.requests.take(connection, number) {
                    if let Some(user) = purpose.subscriber() {
                        let is_member = self.eim.history.last().member(user).is_some();
                        let is_superseded = is_member && answer.as_ref().is_err_and(|why| *why == Failure::Refused);
                        self.superseded[node.index].retain(|known| known != user);
                        self.superseded[node.index].extend(is_superseded.then(|| user.clone()));
                    }
                    node.answer(purpose, answer, world);
                }
            }
            message if node.state.consumer.connection == Some(connection) => match message {
                Message::Declared => {
                    node.state.consumer.declared(&mut node.state.bindings);
                    node.bindings_changed(world);
                }
                Message::Bound(change) => {
                    node.state.consumer.bound(change, &mut node.state.bindings);
                    node.bindings_changed(world);
                }
                Message::Consuming => {
                    node.state.consumer.consuming();
                    node.link_up(world);
                    node.bindings_changed(world);
                }
                Message::Deliver(delivery) => {
                    node.event(delivery.event, world);
                    world.send(connection, node.end(), Message::Ack(delivery.tag));
                }
                Message::Refused => {
                    world.close(connection, node.end());
                    node.lost(connection, world);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn on_client_message(&mut self, user: usize, connection: ConnectionId, message: Message) {
        let client = &mut self.clients[user];
        let is_open = client.connection == Some(connection);
        match message {
            Message::Frame(frame) if is_open => client.receive(&frame, &self.eim.history),
            Message::Result { number, done } => client.result(number, done, &self.eim.history),
            Message::Close { is_over } if is_open => {
                client.is_gone |= is_over && client.is_guest;
                client.lost(connection, &mut self.world);
            }
            _ => {}
        }
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Tick { node, run }
            | Timer::LinkConnect { node, run }
            | Timer::ConsumerConnect { node, run }
            | Timer::Requests { node, run }
            | Timer::Reset { node, run }
            | Timer::EimBack { node, run }
            | Timer::List { node, run, .. } => {
                if self.nodes[node].run == run && self.nodes[node].is_up {
                    self.node_timer(node, timer);
                }
            }
            Timer::NodeStart(node) => self.nodes[node].start(&mut self.world),
            Timer::StallEnd(node) => {
                for due in self.nodes[node].stalled.take().into_iter().flatten() {
                    self.dispatch(due);
                }
            }
            Timer::EimWake { run }
            | Timer::Committed { run, .. }
            | Timer::Forget { run, .. }
            | Timer::PublisherConnect { run } => {
                if self.eim.run == run {
                    self.eim_timer(timer);
                }
            }
            Timer::EimStart => self.start_eim(),
            Timer::BrokerStart => self.broker.is_up = true,
            Timer::ClientConnect { user, run } => self.connect_client(user, run),
            Timer::ClientAct(user) => self.act(user),
            Timer::Last(user) => self.last_act(user),
            Timer::Fault(fault) => self.fault(fault),
        }
    }

    fn node_timer(&mut self, index: usize, timer: Timer) {
        let (world, node) = (&mut self.world, &mut self.nodes[index]);
        match timer {
            Timer::Tick { .. } => node.tick(world),
            Timer::LinkConnect { .. } => node.connect_link(world),
            Timer::ConsumerConnect { run, .. } => {
                if self.broker.is_up {
                    node.state.consumer.connect(index, world);
                } else {
                    let ms = pause(world);
                    world.after(ms, Timer::ConsumerConnect { node: index, run });
                }
            }
            Timer::Requests { .. } => {
                for purpose in node.state.requests.expired(world.now) {
                    node.answer(purpose, Err(Failure::Unreachable), world);
                }
                node.bindings_changed(world);
            }
            Timer::Reset { .. } => node.reset(world),
            Timer::EimBack { .. } => node.link_up(world),
            Timer::List { user, generation, .. } => node.list(user, generation, world),
            _ => {}
        }
    }

    fn eim_timer(&mut self, timer: Timer) {
        match timer {
            Timer::EimWake { .. } => self.eim.wake(&mut self.world),
            Timer::Committed { kept, .. } => self.eim.committed(kept, &mut self.world),
            Timer::Forget { number, .. } => self.eim.forget(number),
            Timer::PublisherConnect { .. } => self.eim.connect_publisher(self.broker.is_up, &mut self.world),
            _ => {}
        }
    }

    fn start_eim(&mut self) {
        if self.eim.is_up() {
            return;
        }
        self.eim.start(&mut self.world);
        for node in 0..NODES {
            if self.world.chance(0.5) {
                let ms = self.world.range(1, 3000);
                let run = self.nodes[node].run;
                self.world.after(ms, Timer::EimBack { node, run });
            }
        }
    }

    fn connect_client(&mut self, user: usize, run: u32) {
        let node = self.world.rng.random_range(0..NODES);
        let client = &mut self.clients[user];
        if client.run != run || client.connection.is_some() || client.is_gone {
            return;
        }
        if self.nodes[node].is_up {
            client.connect(node, &mut self.world);
        } else {
            client.reconnect(&mut self.world);
        }
    }

    fn act(&mut self, user: usize) {
        if self.world.now >= BEGIN + FAULTS_MS {
            return;
        }
        let ms = until_next(&mut self.world);
        self.world.after(ms, Timer::ClientAct(user));
        let node = self.world.rng.random_range(0..NODES);
        let client = &mut self.clients[user];
        if !client.is_gone && self.nodes[node].is_up {
            client.act(&self.users, node, &self.eim.history, &mut self.world);
        }
    }

    /// Some go for good; some who are out come in once more, when everything runs again.
    fn last_act(&mut self, user: usize) {
        let is_second = self.world.now > BEGIN + FAULTS_MS;
        let client = &mut self.clients[user];
        if !is_second {
            if self.world.chance(0.3) {
                client.is_gone = true;
                client.disconnect(&mut self.world);
            } else if self.world.chance(0.5) {
                self.world.after(OUTAGE_MS + 4000, Timer::Last(user));
            }
            return;
        }
        if let Some(connection) = client.connection.filter(|_| !client.wants_in) {
            client.operate(connection, Operation::Join, &self.eim.history, &mut self.world);
        }
    }

    fn fault(&mut self, fault: Fault) {
        let Self { world, nodes, eim, broker, clients, .. } = self;
        match fault {
            Fault::CutLink(node) => nodes[node].state.requests.link.into_iter().for_each(|c| world.cut(c)),
            Fault::CutConsumer(node) => {
                nodes[node].state.consumer.connection.into_iter().for_each(|c| world.cut(c));
            }
            Fault::CutPublisher => eim.publisher_connection().into_iter().for_each(|c| world.cut(c)),
            Fault::CutClient(client) => clients[client].connection.into_iter().for_each(|c| world.cut(c)),
            Fault::EimCrash(ms) => {
                if eim.is_up() {
                    eim.crash(world);
                    world.after(ms, Timer::EimStart);
                }
            }
            Fault::BrokerCrash { ms, loses_queues } => {
                if broker.is_up {
                    broker.crash(loses_queues, world);
                    world.after(ms, Timer::BrokerStart);
                }
            }
            Fault::NodeCrash { node, ms } => {
                if nodes[node].is_up {
                    nodes[node].crash(world);
                    world.after(ms, Timer::NodeStart(node));
                }
            }
            Fault::Stall { node, ms } => {
                if nodes[node].is_up && nodes[node].stalled.is_none() {
                    nodes[node].stalled = Some(Default::default());
                    world.after(ms, Timer::StallEnd(node));
                }
            }
            Fault::DiskTrouble(ms) => eim.trouble_until = world.now + ms,
        }
    }

    fn check(&mut self) -> Tally {
        let truth = self.eim.roster(self.world.now);
        assert_eq!(&truth, self.eim.history.last(), "the EIM is not what the store has committed");
        self.eim.history.check_comings_and_goings();
        let mut superseded = 0;
        for client in &self.clients {
            client.check_acknowledged(&truth);
            let is_known = self.superseded.iter().any(|users| users.contains(&client.user));
            if is_known && !client.shows(&truth) {
                superseded += 1;
            } else {
                assert!(client.shows(&truth), "{} shows {:?} instead of {truth:?}", client.user, client.roster);
            }
        }
        for member in &truth.members {
            let client = self.clients.iter().find(|client| client.user == member.user_id).expect("a user");
            assert!(client.connection.is_some(), "{} is a ghost", member.user_id);
            assert_eq!(member.state, MemberState::Joined, "{} is connected", member.user_id);
        }
        Tally {
            histories: 1,
            faults: self.faults,
            events: self.eim.history.events.len() as u64,
            acknowledged: self.clients.iter().map(|client| client.acknowledged.len() as u64).sum(),
            timeouts: self.eim.history.timeouts().count() as u64,
            members: truth.members.len() as u64,
            superseded,
        }
    }
}
