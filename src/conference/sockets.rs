//! The event sockets open on this node: one for each user; a second one takes over, here or on another node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::conference::attached::Attached;
use crate::conference::{ConferenceRef, Conferences, Ending, Position, Socket, Start, notification};
use crate::eim::amqp::bindings::{Binding, Subject};
use crate::event::CallEvent;
use crate::http::ws::Frame;
use crate::http::ws::send_queue::{Close, Outbox};
use crate::ids::{ConfId, UserId};
use crate::sync;

/// The registry: cloneable; owns who is connected, not the connections.
#[derive(Clone)]
pub struct Sockets(Arc<Inner>);

struct Inner {
    conferences: Conferences,
    open: Mutex<Open>,
    /// Wakes the task that registers sockets for the other nodes.
    opened: Notify,
    /// The reason why all were closed; set under the lock, so that none is registered past it.
    closed_for: OnceLock<Close>,
}

/// The registry's maps. Only open sockets are in them: their number is that of the connections at the most.
#[derive(Default)]
struct Open {
    live: HashMap<UserId, Live>,
    /// Those that no other node can know of yet: each user's generation, and when the socket was opened.
    unregistered: HashMap<UserId, (u64, Moment)>,
}

struct Live {
    socket: Socket,
    /// Its number among the sockets of all nodes, once it has one.
    seq: Option<u64>,
    /// Whether it was taken over by one of another node.
    is_elsewhere: bool,
    /// The refresh family that admitted it.
    family: String,
    attached: Attached,
    /// Where the client left off in conferences to which the socket doesn't listen yet.
    positions: Vec<(ConfId, Position)>,
    /// Told when the EIM may have forgotten the user's subscriptions.
    link_up: Arc<Notify>,
    /// Where a broker delivers the user's events.
    _binding: Option<Binding>,
}

impl Sockets {
    /// No sockets yet.
    pub fn new(conferences: Conferences) -> Self {
        let (open, opened) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { conferences, open, opened, closed_for: OnceLock::new() }))
    }

    /// The number of a socket that is being opened: greater than those of all before.
    pub fn next_generation(&self) -> u64 {
        self.0.conferences.next_generation()
    }

    /// Registers the user's socket, opened by a login of that refresh family. Of two the one whose opening was asked for
    /// first is closed as taken over, whichever is registered first.
    pub fn open(&self, user: &UserId, guest: bool, family: &str, generation: u64, outbox: Outbox) -> Arc<Notify> {
        let link_up = Arc::new(Notify::new());
        let socket = Socket { generation, guest, outbox };
        let _binding = self.0.conferences.bindings().hold(Subject::User(user.clone()));
        let (family, attached) = (family.to_owned(), Attached::default());
        let link = link_up.clone();
        let positions = Vec::new();
        let mut live =
            Live { socket, seq: None, is_elsewhere: false, family, attached, positions, link_up: link, _binding };
        let mut open = self.lock();
        if let Some(why) = self.0.closed_for.get() {
            live.socket.outbox.close(*why);
        }
        if open.live.get(user).is_some_and(|newer| newer.socket.generation > generation) {
            live.socket.outbox.close(Close::TakenOver);
            return link_up;
        }
        if let Some(old) = open.live.remove(user) {
            old.socket.outbox.close(Close::TakenOver);
            live.attached = old.attached;
        }
        open.live.insert(user.clone(), live);
        open.unregistered.insert(user.clone(), (generation, Moment::now()));
        open.measure();
        drop(open);
        self.0.opened.notify_one();
        link_up
    }

    /// Waits until a broker, if there is one, delivers the user's events here.
    pub async fn bound(&self, user: &UserId) {
        self.0.conferences.bindings().settled(&Subject::User(user.clone())).await;
    }

    /// The client of the socket resumes from there, whatever it is that lets it listen to a conference first.
    pub fn resume_from(&self, user: &UserId, generation: u64, positions: Vec<(ConfId, Position)>) {
        let mut open = self.lock();
        if let Some(live) = open.live.get_mut(user).filter(|live| live.socket.generation == generation) {
            live.positions = positions;
        }
    }

    /// Lets the socket listen to the conference, unless it is no longer the user's. For one that listens already,
    /// nothing changes.
    pub async fn attach_at(&self, user: &UserId, generation: u64, conf: &ConferenceRef, mut start: Start) {
        let socket = {
            let mut open = self.lock();
            let live =
                open.live.get_mut(user).filter(|live| live.socket.generation == generation && !live.is_elsewhere);
            let Some(live) = live else { return };
            live.attached.attach(&conf.conf_id, generation);
            if let Some(at) = live.positions.iter().position(|(named, _)| *named == conf.conf_id) {
                start = Start::Since(live.positions.swap_remove(at).1);
            }
            live.socket.clone()
        };
        self.0.conferences.attach(conf, user, start, socket).await;
        // It may have ended meanwhile, and its detaching have come before.
        let how = match self.lock().live.get(user) {
            Some(live) if live.attached.has(&conf.conf_id) => return,
            Some(live) if live.is_elsewhere => Ending::TakenOver,
            Some(live) if live.socket.generation == generation => return,
            _ => Ending::Closed,
        };
        self.0.conferences.detach(&conf.conf_id, user, generation, how).await;
    }

    /// The conferences to which the socket's predecessor listened, and the socket doesn't yet. The EIM may have the user
    /// out of one while the report that they are in it is on its way there.
    pub fn inherited(&self, user: &UserId, generation: u64) -> Vec<ConfId> {
        let open = self.lock();
        let live = open.live.get(user).filter(|live| live.socket.generation == generation);
        live.map(|live| live.attached.inherited(generation).cloned().collect()).unwrap_or_default()
    }

    /// Lets the user's socket, if they have one, listen to the conference; answers whether they have one.
    pub async fn attach(&self, user: &UserId, conf: &ConferenceRef) -> bool {
        self.attach_from(user, conf, Start::Snapshot).await
    }

    /// The conference was made, by the user or for them: their socket is told of it, and listens to it from then on.
    pub async fn created(&self, user: &UserId, conf: &ConferenceRef) {
        self.attach_from(user, conf, Start::Creation).await;
    }

    async fn attach_from(&self, user: &UserId, conf: &ConferenceRef, start: Start) -> bool {
        let generation = self.lock().live.get(user).map(|live| live.socket.generation);
        let Some(generation) = generation else { return false };
        self.attach_at(user, generation, conf, start).await;
        true
    }

    /// Lets every socket listen to its conferences once more, where the EIM has refused it meanwhile for what another node
    /// had reported.
    pub async fn attach_again(&self) {
        let mut all = Vec::new();
        for (user, live) in &self.lock().live {
            // What it has taken over and doesn't listen to yet, its own task attaches: only so is it known what it leaves.
            let own = live.attached.own(live.socket.generation);
            all.extend(own.map(|conf| (conf.clone(), user.clone(), live.socket.clone())));
        }
        for (conf_id, user, socket) in all {
            // What is known to be a call stays one.
            let conf = ConferenceRef { conf_id, call: false };
            self.0.conferences.attach(&conf, &user, Start::Snapshot, socket).await;
        }
    }

    /// The socket has ended. One that was taken over removes nobody: its successor listens in its place, or ends in its
    /// place where it didn't come to that. Answers whether it was the user's last.
    pub async fn closed(&self, user: &UserId, generation: u64) -> bool {
        let ended = {
            let mut open = self.lock();
            let is_last = open.live.get(user).is_some_and(|live| live.socket.generation == generation);
            let ended = if is_last { open.live.remove(user) } else { None };
            if is_last {
                open.unregistered.remove(user);
            }
            open.measure();
            ended
        };
        let Some(live) = ended else { return false };
        for (conf, listening) in live.attached.detached() {
            self.0.conferences.detach(&conf, user, listening, Ending::Closed).await;
        }
        true
    }

    /// Waits until a socket was opened that is not yet registered.
    pub async fn opened(&self) {
        self.0.opened.notified().await;
    }

    /// Sockets that are not registered, at most so many: the user, the generation, and when it was opened.
    pub fn unregistered(&self, most: usize) -> Vec<(UserId, u64, Moment)> {
        let open = self.lock();
        let some = open.unregistered.iter().take(most);
        some.map(|(user, (generation, at))| (user.clone(), *generation, *at)).collect()
    }

    /// The socket was registered under that number; `None`: another node's was opened after it, and takes over.
    pub async fn registered(&self, user: &UserId, generation: u64, seq: Option<u64>) {
        let is_older = {
            let mut open = self.lock();
            if open.unregistered.get(user).is_some_and(|(newest, _)| *newest == generation) {
                open.unregistered.remove(user);
            }
            open.measure();
            let live = open.live.get_mut(user).filter(|live| live.socket.generation == generation);
            live.is_some_and(|live| {
                live.seq = seq;
                seq.is_none()
            })
        };
        if is_older {
            self.yield_to_other_node(user, |live| live.socket.generation == generation).await;
        }
    }

    /// A socket of the user at another node was registered under that number: one here that was registered before it is
    /// closed.
    pub async fn taken_over(&self, user: &UserId, seq: u64) {
        self.yield_to_other_node(user, |live| live.seq.is_some_and(|own| own < seq)).await;
    }

    /// At once, not when the socket has ended: until then nothing may be reported of it any more.
    async fn yield_to_other_node(&self, user: &UserId, is_older: impl Fn(&Live) -> bool) {
        let attached = {
            let mut open = self.lock();
            let Some(live) = open.live.get_mut(user).filter(|live| !live.is_elsewhere && is_older(live)) else {
                return;
            };
            live.is_elsewhere = true;
            live.socket.outbox.close(Close::TakenOver);
            std::mem::take(&mut live.attached)
        };
        for (conf, listening) in attached.detached() {
            self.0.conferences.detach(&conf, user, listening, Ending::TakenOver).await;
        }
    }

    /// Tells the user's socket, if they have one, what became of a call.
    pub fn send_call_event(&self, user: &UserId, event: &CallEvent) {
        let mut open = self.lock();
        let live = open.live.get_mut(user);
        let outcome = if live.is_some() { "told" } else { "nobody" };
        metrics::counter!("confgate_call_events_total", "outcome" => outcome).increment(1);
        let Some(live) = live else { return };
        if event.is_last() {
            live.attached.forget(&event.conf_id);
        }
        live.socket.outbox.send(notification(event.step.name(), &event.data).into());
    }

    /// The link to the EIM is back, or, where each user has one, the user's.
    pub fn link_up(&self, user: Option<&UserId>) {
        let open = self.lock();
        match user {
            Some(user) => open.live.get(user).into_iter().for_each(|live| live.link_up.notify_one()),
            None => open.live.values().for_each(|live| live.link_up.notify_one()),
        }
    }

    /// Says the same to everybody.
    pub fn broadcast(&self, frame: &Frame) {
        for live in self.lock().live.values() {
            live.socket.outbox.send(frame.clone());
        }
    }

    /// Closes every socket that the family admitted.
    pub fn close_family(&self, family: &str, why: Close) {
        for live in self.lock().live.values().filter(|live| live.family == family) {
            live.socket.outbox.close(why);
        }
    }

    /// Closes all sockets, and each that is registered from then on.
    pub fn close_all(&self, why: Close) {
        let open = self.lock();
        self.0.closed_for.get_or_init(|| why);
        open.live.values().for_each(|live| live.socket.outbox.close(why));
    }

    /// Open sockets.
    pub fn count(&self) -> usize {
        self.lock().live.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        sync::lock(&self.0.open)
    }
}

impl Open {
    fn measure(&self) {
        metrics::gauge!("confgate_sockets").set(self.live.len() as f64);
        metrics::gauge!("confgate_sockets_unregistered").set(self.unregistered.len() as f64);
    }
}
