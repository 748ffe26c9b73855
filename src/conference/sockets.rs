//! The event sockets open on this node: one for each user; a second one takes over.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Notify;

use crate::conference::{ConferenceRef, Conferences, Socket, Start, notification};
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
    live: Mutex<HashMap<UserId, Live>>,
    /// The reason why all were closed; set under the lock, so that none is registered past it.
    closed_for: OnceLock<Close>,
}

struct Live {
    socket: Socket,
    /// The refresh family that admitted it.
    family: String,
    attached: HashSet<ConfId>,
    /// Told when the EIM may have forgotten the user's subscriptions.
    link_up: Arc<Notify>,
    /// Where a broker delivers the user's events.
    _binding: Option<Binding>,
}

impl Sockets {
    /// No sockets yet.
    pub fn new(conferences: Conferences) -> Self {
        Self(Arc::new(Inner { conferences, live: Mutex::default(), closed_for: OnceLock::new() }))
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
        let (family, attached) = (family.to_owned(), HashSet::new());
        let live = Live { socket, family, attached, link_up: link_up.clone(), _binding };
        let mut all = self.lock();
        if let Some(why) = self.0.closed_for.get() {
            live.socket.outbox.close(*why);
        }
        if all.get(user).is_some_and(|newer| newer.socket.generation > generation) {
            live.socket.outbox.close(Close::TakenOver);
            return link_up;
        }
        if let Some(old) = all.insert(user.clone(), live) {
            old.socket.outbox.close(Close::TakenOver);
        }
        metrics::gauge!("confgate_sockets").set(all.len() as f64);
        link_up
    }

    /// Waits until a broker, if there is one, delivers the user's events here.
    pub async fn bound(&self, user: &UserId) {
        self.0.conferences.bindings().settled(&Subject::User(user.clone())).await;
    }

    /// Lets the socket listen to the conference, unless it is no longer the user's. For one that listens already,
    /// nothing changes.
    pub async fn attach_at(&self, user: &UserId, generation: u64, conf: &ConferenceRef, start: Start) {
        let socket = {
            let mut all = self.lock();
            let Some(live) = all.get_mut(user).filter(|live| live.socket.generation == generation) else { return };
            live.attached.insert(conf.conf_id.clone());
            live.socket.clone()
        };
        self.0.conferences.attach(conf, user, start, socket).await;
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
        let generation = self.lock().get(user).map(|live| live.socket.generation);
        let Some(generation) = generation else { return false };
        self.attach_at(user, generation, conf, start).await;
        true
    }

    /// The socket has ended. One that was taken over removes nobody: its successor listens in its place. Answers
    /// whether it was the user's last.
    pub async fn closed(&self, user: &UserId, generation: u64) -> bool {
        let ended = {
            let mut all = self.lock();
            let is_last = all.get(user).is_some_and(|live| live.socket.generation == generation);
            let ended = if is_last { all.remove(user) } else { None };
            metrics::gauge!("confgate_sockets").set(all.len() as f64);
            ended
        };
        let was_last = ended.is_some();
        for conf in ended.into_iter().flat_map(|live| live.attached) {
            self.0.conferences.detach(&conf, user, generation).await;
        }
        was_last
    }

    /// Tells the user's socket, if they have one, what became of a call.
    pub fn send_call_event(&self, user: &UserId, event: &CallEvent) {
        let mut all = self.lock();
        let live = all.get_mut(user);
        let outcome = if live.is_some() { "told" } else { "nobody" };
        metrics::counter!("confgate_call_events_total", "outcome" => outcome).increment(1);
        let Some(live) = live else { return };
        if event.is_last() {
            live.attached.remove(&event.conf_id);
        }
        live.socket.outbox.send(notification(event.step.name(), &event.data).into());
    }

    /// The link to the EIM is back, or, where each user has one, the user's.
    pub fn link_up(&self, user: Option<&UserId>) {
        let all = self.lock();
        match user {
            Some(user) => all.get(user).into_iter().for_each(|live| live.link_up.notify_one()),
            None => all.values().for_each(|live| live.link_up.notify_one()),
        }
    }

    /// Says the same to everybody.
    pub fn broadcast(&self, frame: &Frame) {
        for live in self.lock().values() {
            live.socket.outbox.send(frame.clone());
        }
    }

    /// Closes every socket that the family admitted.
    pub fn close_family(&self, family: &str, why: Close) {
        for live in self.lock().values().filter(|live| live.family == family) {
            live.socket.outbox.close(why);
        }
    }

    /// Closes all sockets, and each that is registered from then on.
    pub fn close_all(&self, why: Close) {
        let all = self.lock();
        self.0.closed_for.get_or_init(|| why);
        all.values().for_each(|live| live.socket.outbox.close(why));
    }

    /// Open sockets.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, Live>> {
        sync::lock(&self.0.live)
    }
}
