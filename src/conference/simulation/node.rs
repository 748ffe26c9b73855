//! A gateway's process: the real [`Core`] of its conference with the glue of `conference/actor.rs` and
//! `conference/mod.rs` (commands, effects, retirement), of `conference/sockets.rs` and `rpc/event_socket` (who is
//! connected, and to what they listen), of `rpc/conference.rs` (what follows a request), and of `app/restore.rs` and
//! `app/tasks.rs` (a start, a link that is back).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::consumer::Consumer;
use super::messages::{Due, Message, Operation, Timer, World, pause};
use super::requests::{Purpose, Requests};
use super::schedule::{ConnectionId, End, Ms};
use crate::conference::Ending;
use crate::conference::attached::Attached;
use crate::conference::core::{Core, Effect, EimRequest, Failure, Limits, Start, Subscribed};
use crate::conference::log::Position;
use crate::eim::amqp::bindings::{Subject, Table};
use crate::event::Event;
use crate::ids::{ConfId, UserId};

/// Much shorter than a configuration has them, so that a short history goes through all of them.
pub const LIMITS: Limits =
    Limits { grace_ms: 4000, window_ms: 12_000, log: 12, replay: 10, replay_bytes: 1 << 20, look_ms: 5000 };
const TICK_MS: Ms = 100;
/// `clock::stall::LATE`.
const LATE_MS: Ms = 1000;
/// `RETRY` of `app/restore.rs`, and `LIST_RETRY` of `rpc/event_socket/attach.rs`.
const RETRY_MS: Ms = 2000;
/// How long a request waits for its binding.
const BINDING_MS: Ms = 1000;

/// The task of a conference.
struct Actor {
    core: Core,
    sockets: BTreeMap<UserId, (u64, ConnectionId)>,
    /// Requests of the core's that are not answered.
    under_way: usize,
    ticked: Ms,
}

/// An event socket.
pub struct Socket {
    pub connection: ConnectionId,
    generation: u64,
    is_guest: bool,
    attached: Attached,
    position: Option<Position>,
}

/// Owns all of a gateway. What a process loses with its end is [`State`].
pub struct Node {
    pub index: usize,
    pub run: u32,
    pub is_up: bool,
    /// While the process is stopped by a signal, what it is to be given waits here.
    pub stalled: Option<VecDeque<Due>>,
    /// Grows over restarts too.
    generation: u64,
    conf: ConfId,
    pub state: State,
}

#[derive(Default)]
pub struct State {
    actor: Option<Actor>,
    pub sockets: BTreeMap<UserId, Socket>,
    /// Connections that carry one request each.
    posts: BTreeSet<ConnectionId>,
    pub bindings: Table,
    pub consumer: Consumer,
    pub requests: Requests,
    /// Requests that wait for the conference's binding, and until when.
    unsettled: Vec<(Ms, EimRequest)>,
}

impl Node {
    pub fn new(index: usize, conf: ConfId) -> Self {
        Self { index, run: 0, is_up: false, stalled: None, generation: 1, conf, state: State::default() }
    }

    pub fn end(&self) -> End {
        End::Node(self.index)
    }

    pub fn start(&mut self, world: &mut World) {
        let (node, run) = (self.index, self.run);
        self.is_up = true;
        world.after(0, Timer::Tick { node, run });
        world.after(0, Timer::LinkConnect { node, run });
        world.after(0, Timer::ConsumerConnect { node, run });
        let generation = self.next_generation();
        self.request(Purpose::Reset { generation }, world);
    }

    /// The process ends. Another node reports nothing of it: it comes back by itself, and answers for its own people.
    /// This is the place for a node's death that others see by its lease.
    pub fn crash(&mut self, world: &mut World) {
        (self.is_up, self.stalled) = (false, None);
        self.run += 1;
        self.state = State::default();
        world.cut_all(self.end());
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// The conference's task, which is begun where there is none.
    fn core(&mut self, world: &mut World, work: impl FnOnce(&mut Core, Ms) -> Vec<Effect>) {
        if self.state.actor.is_none() {
            let core = Core::new(self.conf.clone(), LIMITS, world.now);
            self.state.actor = Some(Actor { core, sockets: BTreeMap::new(), under_way: 0, ticked: world.now });
            self.state.bindings.hold(&Subject::Conference(self.conf.clone()));
            self.bindings_changed(world);
        }
        self.existing(world, work);
    }

    fn existing(&mut self, world: &mut World, work: impl FnOnce(&mut Core, Ms) -> Vec<Effect>) {
        let Some(actor) = &mut self.state.actor else { return };
        actor.core.set_date(world.now);
        let effects = work(&mut actor.core, world.now);
        for effect in effects {
            self.carry_out(effect, world);
        }
    }

    fn carry_out(&mut self, effect: Effect, world: &mut World) {
        let Some(actor) = &mut self.state.actor else { return };
        let at = |actor: &Actor, user: &UserId, generation: u64| {
            actor.sockets.get(user).filter(|(known, _)| *known == generation).map(|(_, connection)| *connection)
        };
        match effect {
            Effect::Send { user, generation, frame } => {
                if let Some(connection) = at(actor, &user, generation) {
                    world.send(connection, End::Node(self.index), Message::Frame(frame));
                }
            }
            Effect::Close { user, generation, .. } => {
                if let Some(connection) = at(actor, &user, generation) {
                    actor.sockets.remove(&user);
                    self.close(&user, connection, world);
                }
            }
            Effect::Release { user, generation } => {
                if at(actor, &user, generation).is_some() {
                    actor.sockets.remove(&user);
                }
            }
            Effect::EimRequest(request) => {
                actor.under_way += 1;
                if request.reads_roster() && !self.is_settled() {
                    self.state.unsettled.push((world.now + BINDING_MS, request));
                    world.after(BINDING_MS, Timer::Requests { node: self.index, run: self.run });
                } else {
                    self.request(Purpose::Core(request), world);
                }
            }
            Effect::Grant(_) | Effect::Emit(_) => {}
        }
    }

    fn is_settled(&self) -> bool {
        self.state.bindings.is_settled(&Subject::Conference(self.conf.clone()))
    }

    /// Has the consumer carry out what has changed, and the requests made that waited for it.
    pub fn bindings_changed(&mut self, world: &mut World) {
        self.state.consumer.bind(self.index, &mut self.state.bindings, world);
        let (is_settled, now) = (self.is_settled(), world.now);
        let ready = self.state.unsettled.extract_if(.., |(until, _)| is_settled || *until <= now).collect::<Vec<_>>();
        for (_, request) in ready {
            self.request(Purpose::Core(request), world);
        }
    }

    pub fn request(&mut self, purpose: Purpose, world: &mut World) {
        self.state.requests.make(purpose, self.index, self.run, world);
    }

    pub fn tick(&mut self, world: &mut World) {
        world.after(TICK_MS, Timer::Tick { node: self.index, run: self.run });
        let Some(actor) = &mut self.state.actor else { return };
        let before = std::mem::replace(&mut actor.ticked, world.now);
        if world.now - before > LATE_MS {
            actor.core.stalled(world.now);
        }
        if actor.core.is_idle(world.now) && actor.under_way == 0 {
            self.state.actor = None;
            self.state.bindings.release(&Subject::Conference(self.conf.clone()));
            return self.bindings_changed(world);
        }
        self.existing(world, Core::tick);
    }

    pub fn event(&mut self, event: Event, world: &mut World) {
        self.existing(world, |core, now| core.event(event, now));
    }

    /// `Inbound::Up`: after an outage of the link to the EIM, of the EIM's, or of the broker's.
    pub fn link_up(&mut self, world: &mut World) {
        self.existing(world, Core::link_up);
    }

    pub fn connect_link(&mut self, world: &mut World) {
        let connection = world.connect(self.end(), End::Eim);
        self.state.requests.connected(connection, self.index, self.run, world);
        self.link_up(world);
    }

    /// One of the node's connections is over.
    pub fn lost(&mut self, connection: ConnectionId, world: &mut World) {
        let (node, run) = (self.index, self.run);
        if self.state.requests.link == Some(connection) {
            for purpose in self.state.requests.lost() {
                self.answer(purpose, Err(Failure::Unreachable), world);
            }
            let ms = pause(world);
            return world.after(ms, Timer::LinkConnect { node, run });
        }
        if self.state.consumer.lost(connection, &mut self.state.bindings) {
            let ms = pause(world);
            world.after(ms, Timer::ConsumerConnect { node, run });
            return self.bindings_changed(world);
        }
        self.state.posts.remove(&connection);
        let found = self.state.sockets.iter().find(|(_, socket)| socket.connection == connection);
        if let Some(user) = found.map(|(user, _)| user.clone()) {
            self.socket_ended(&user, world);
        }
    }

    fn socket_ended(&mut self, user: &UserId, world: &mut World) {
        let Some(socket) = self.state.sockets.remove(user) else { return };
        self.state.bindings.release(&Subject::User(user.clone()));
        self.bindings_changed(world);
        for (_, generation) in socket.attached.detached() {
            self.detach(user, generation, world);
        }
    }

    fn detach(&mut self, user: &UserId, generation: u64, world: &mut World) {
        let Some(actor) = &mut self.state.actor else { return };
        if actor.sockets.get(user).is_some_and(|(known, _)| *known == generation) {
            actor.sockets.remove(user);
        }
        self.existing(world, |core, now| core.detach(user, generation, Ending::Closed, now));
    }

    fn close(&mut self, user: &UserId, connection: ConnectionId, world: &mut World) {
        world.send(connection, self.end(), Message::Close { is_over: true });
        world.close(connection, self.end());
        self.socket_ended(user, world);
    }

    /// An event socket opens. An older one of the user's is closed as taken over, and detaches nobody.
    pub fn open(
        &mut self,
        connection: ConnectionId,
        user: &UserId,
        is_guest: bool,
        position: Option<Position>,
        world: &mut World,
    ) {
        let generation = self.next_generation();
        self.state.bindings.hold(&Subject::User(user.clone()));
        let mut socket = Socket { connection, generation, is_guest, attached: Attached::default(), position };
        if let Some(old) = self.state.sockets.remove(user) {
            socket.attached = old.attached;
            world.send(old.connection, self.end(), Message::Close { is_over: false });
            world.close(old.connection, self.end());
            self.state.bindings.release(&Subject::User(user.clone()));
        }
        self.state.sockets.insert(user.clone(), socket);
        self.bindings_changed(world);
        if is_guest {
            self.attach_listed(user, generation, world);
        } else {
            self.request(Purpose::List { user: user.clone(), generation }, world);
        }
    }

    pub fn list(&mut self, user: UserId, generation: u64, world: &mut World) {
        self.request(Purpose::List { user, generation }, world);
    }

    fn attach_listed(&mut self, user: &UserId, generation: u64, world: &mut World) {
        let socket = self.state.sockets.get_mut(user).filter(|socket| socket.generation == generation);
        let Some(socket) = socket else { return };
        let start = socket.position.take().map_or(Start::Snapshot, Start::Since);
        self.attach(user, start, world);
    }

    /// `Sockets::attach_at`, and the actor's `Attach`. False: there is no socket.
    fn attach(&mut self, user: &UserId, start: Start, world: &mut World) -> bool {
        let Some(socket) = self.state.sockets.get_mut(user) else { return false };
        socket.attached.attach(&self.conf, socket.generation);
        let (connection, generation, is_guest) = (socket.connection, socket.generation, socket.is_guest);
        self.core(world, |_, _| Vec::new());
        if let Some(actor) = &mut self.state.actor {
            actor.sockets.insert(user.clone(), (generation, connection));
        }
        self.core(world, |core, now| {
            let effects = core.attach(user.clone(), generation, start, now);
            if is_guest {
                core.set_guest(user);
            }
            effects
        });
        true
    }

    /// A client's request, over its socket or by itself.
    pub fn operate(
        &mut self,
        connection: ConnectionId,
        number: u64,
        user: &UserId,
        operation: Operation,
        world: &mut World,
    ) {
        if !self.is_open(connection) {
            self.state.posts.insert(connection);
        }
        self.request(Purpose::Operation { connection, number, user: user.clone(), operation }, world);
    }

    fn is_open(&self, connection: ConnectionId) -> bool {
        self.state.sockets.values().any(|socket| socket.connection == connection)
    }

    /// The EIM's answer, or why there is none.
    pub fn answer(&mut self, purpose: Purpose, answer: Result<serde_json::Value, Failure>, world: &mut World) {
        match purpose {
            Purpose::Core(request) => self.core_answer(request, answer, world),
            Purpose::Restricted(user) => self.subscribed(&user, answer, world),
            Purpose::List { user, generation } => match answer {
                Ok(list) => {
                    let is_listed = list["conferences"].as_array().is_some_and(|all| !all.is_empty());
                    let socket = self.state.sockets.get(&user);
                    let is_inherited =
                        socket.is_some_and(|socket| socket.attached.inherited(generation).next().is_some());
                    if is_listed || is_inherited {
                        self.attach_listed(&user, generation, world);
                    }
                }
                Err(_) => world.after(RETRY_MS, Timer::List { node: self.index, run: self.run, user, generation }),
            },
            Purpose::Operation { connection, number, user, operation } => {
                self.operated(connection, number, &user, &operation, answer.err(), world);
            }
            Purpose::Reset { generation } => match answer {
                Ok(answer) => self.restore(&answer, generation, world),
                Err(_) => world.after(RETRY_MS, Timer::Reset { node: self.index, run: self.run }),
            },
        }
    }

    pub fn reset(&mut self, world: &mut World) {
        // The generation is that of the start: whoever has come since stays.
        let generation = self.state.requests.reset_generation;
        self.request(Purpose::Reset { generation }, world);
    }

    fn restore(&mut self, answer: &serde_json::Value, generation: u64, world: &mut World) {
        for seat in answer["seats"].as_array().into_iter().flatten() {
            let user = seat["userId"].as_str().and_then(UserId::parse).expect("a user");
            self.core(world, |core, now| core.away_since_restart(&user, generation, now));
        }
    }

    fn core_answer(&mut self, request: EimRequest, answer: Result<serde_json::Value, Failure>, world: &mut World) {
        match request {
            EimRequest::Subscribe { user, .. } if answer.as_ref().is_ok_and(|own| own["restricted"] == true) => {
                self.request(Purpose::Restricted(user), world);
            }
            EimRequest::Subscribe { user, .. } => self.subscribed(&user, answer, world),
            EimRequest::Snapshot => {
                self.answered();
                let answer = answer.map(roster);
                self.existing(world, |core, now| core.on_snapshot_reply(answer, now));
            }
            EimRequest::Look => {
                self.answered();
                let answer = answer.map(roster);
                self.existing(world, |core, now| core.on_look_reply(answer, now));
            }
            EimRequest::Unsubscribe { user, .. } | EimRequest::Away { user, .. } | EimRequest::Gone { user, .. } => {
                self.answered();
                self.existing(world, |core, now| core.on_presence_reply(&user, answer.map(drop), now));
            }
        }
    }

    fn subscribed(&mut self, user: &UserId, answer: Result<serde_json::Value, Failure>, world: &mut World) {
        self.answered();
        let answer = answer.map(|answer| Subscribed::read(answer).expect("a roster"));
        self.existing(world, |core, now| core.on_subscribe_reply(user, answer, now));
    }

    fn answered(&mut self) {
        if let Some(actor) = &mut self.state.actor {
            actor.under_way -= 1;
        }
    }

    /// What follows a client's request. Where its socket is over its task has ended with it, but for a join.
    fn operated(
        &mut self,
        connection: ConnectionId,
        number: u64,
        user: &UserId,
        operation: &Operation,
        failure: Option<Failure>,
        world: &mut World,
    ) {
        if *operation == Operation::Join && matches!(failure, None | Some(Failure::Unreachable)) {
            self.listen_in(user, world);
        }
        if !self.is_open(connection) && !self.state.posts.remove(&connection) {
            return;
        }
        let done = failure.is_none();
        if done && *operation != Operation::Join {
            self.existing(world, Core::look_now);
        }
        world.send(connection, self.end(), Message::Result { number, done });
    }

    fn listen_in(&mut self, user: &UserId, world: &mut World) {
        if !self.attach(user, Start::Snapshot, world) {
            let generation = self.next_generation();
            self.core(world, |core, now| core.joined(user, generation, now));
        }
    }
}

fn roster(answer: serde_json::Value) -> crate::event::Roster {
    serde_json::from_value(answer).expect("a roster")
}
