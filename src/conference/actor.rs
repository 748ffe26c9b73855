//! The shell of one conference: owns its core, its sockets' queues and its requests to the EIM.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::stall::LATE;
use crate::clock::{self, Moment};
use crate::eim::amqp::bindings::{Binding, Subject};
use crate::eim::events::Receipt;
use crate::event::{Event, Roster};
use crate::http::ws::Frame;
use crate::http::ws::send_queue::Outbox;
use crate::ids::{ConfId, UserId};
use crate::refusal::Refusal;

use super::core::{Core, Effect, MediaPermissions, Start};
use super::source::EimReply;
use super::{Conferences, Ending, LIFECYCLE_EVENTS, MAILBOX, MEDIA_PERMISSIONS};

/// How often graces and retries are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What a conference is to do, or has to hear.
pub enum Command {
    Attach { user: UserId, guest: bool, generation: u64, start: Start, outbox: Outbox, call: bool },
    Detach { user: UserId, generation: u64, how: Ending },
    Joined { user: UserId, generation: u64 },
    Placed(UserId),
    Look,
    AwaySinceRestart { user: UserId, generation: u64 },
    Inherit { user: UserId, generation: u64 },
    IsReported { generation: u64, reply: oneshot::Sender<bool> },
    Event(Event, Option<Receipt>),
    LinkUp,
    SessionUp(UserId),
    SendToMembers(Frame),
    Roster(oneshot::Sender<Option<Arc<Roster>>>),
}

/// The conference's mailbox: [`MAILBOX`] commands; a full one makes the sender wait. While anybody holds a handle
/// from the registry the task does not end, so that no command is lost.
pub struct Handle(mpsc::Sender<Command>);

impl Handle {
    pub async fn send(&self, command: Command) {
        metrics::gauge!("confgate_conference_mailbox_commands").set((MAILBOX - self.0.capacity()) as f64);
        // The task ends only when its handle is off the map and nobody holds it; at a stop nothing is lost that the
        // EIM doesn't hold.
        if self.0.send(command).await.is_err() {
            tracing::debug!("a conference was stopped with a command under way");
        }
    }
}

impl Handle {
    /// As [`Handle::send`], for one who must not wait; false where the mailbox is full.
    pub fn try_send(&self, command: Command) -> bool {
        !matches!(self.0.try_send(command), Err(mpsc::error::TrySendError::Full(_)))
    }
}

pub fn spawn(registry: Conferences, conf: ConfId) -> Arc<Handle> {
    let (sender, receiver) = mpsc::channel(MAILBOX);
    let tracker = registry.0.tracker.clone();
    let is_eim = registry.0.source.is_eim();
    let binding = is_eim.then(|| registry.0.bindings.hold(Subject::Conference(conf.clone()))).flatten();
    let core = Core::new(conf, registry.0.limits, Moment::now().ms());
    let (sockets, requests) = (HashMap::new(), JoinSet::new());
    let actor = Actor { core, registry, sockets, requests, receiver, binding };
    tracker.spawn(actor.run());
    Arc::new(Handle(sender))
}

/// Owns everything of one conference on this node; nobody else touches it.
struct Actor {
    core: Core,
    registry: Conferences,
    sockets: HashMap<UserId, (u64, Outbox)>,
    /// Requests to the EIM under way: at most one for each user and one for the roster.
    requests: JoinSet<EimReply>,
    receiver: mpsc::Receiver<Command>,
    /// Where a broker delivers the conference's events; an owner of its numbers has its own.
    binding: Option<Binding>,
}

impl Actor {
    async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticked = Moment::now();
        loop {
            let effects = tokio::select! {
                command = self.receiver.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(reply) = self.requests.join_next() => match reply {
                    Ok(reply) => self.on_eim_reply(reply),
                    Err(error) => {
                        Refusal::fault(error);
                        Vec::new()
                    }
                },
                _ = tick.tick() => {
                    let before = std::mem::replace(&mut ticked, Moment::now());
                    let now = ticked.ms();
                    if ticked.since(before) > LATE {
                        self.core.stalled(now);
                    }
                    let idle = self.core.is_idle(now) && self.requests.is_empty();
                    if idle && self.registry.retire(self.core.conf_id(), || !self.receiver.is_empty()) {
                        self.grant(MediaPermissions::Unfollowed).await;
                        return;
                    }
                    self.core.tick(now)
                }
            };
            for effect in effects {
                self.carry_out(effect).await;
            }
            self.registry.refused(self.core.conf_id(), self.core.is_refused());
        }
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        let now = Moment::now().ms();
        self.core.set_date(clock::date_ms());
        match command {
            Command::Attach { user, guest, generation, start, outbox, call } => {
                if call {
                    self.core.set_call();
                }
                // Two tasks attach the two sockets: the newer one may come first.
                if self.sockets.get(&user).is_some_and(|(newer, _)| *newer > generation) {
                    return Vec::new();
                }
                self.sockets.insert(user.clone(), (generation, outbox));
                let effects = self.core.attach(user.clone(), generation, start, now);
                if guest {
                    self.core.set_guest(&user);
                }
                effects
            }
            Command::Detach { user, generation, how } => {
                if self.sockets.get(&user).is_some_and(|(g, _)| *g == generation) {
                    self.sockets.remove(&user);
                }
                self.core.detach(&user, generation, how, now)
            }
            Command::Joined { user, generation } => self.core.joined(&user, generation, now),
            Command::Placed(user) => self.core.place(&user, now),
            Command::Look => self.core.look_now(now),
            Command::AwaySinceRestart { user, generation } => self.core.away_since_restart(&user, generation, now),
            Command::Inherit { user, generation } => self.core.inherit(&user, generation, now),
            Command::IsReported { generation, reply } => {
                // The requester may have gone meanwhile.
                let _ = reply.send(self.core.is_reported(generation));
                Vec::new()
            }
            Command::Event(event, _receipt) => self.core.event(event, now),
            Command::LinkUp => self.core.link_up(now),
            Command::SessionUp(user) => self.core.session_up(&user),
            Command::SendToMembers(frame) => self.core.send_to_members(&frame),
            Command::Roster(reply) => {
                let roster = self.core.roster().filter(|_| self.core.is_live());
                // The requester may have gone meanwhile.
                let _ = reply.send(roster.cloned().map(Arc::new));
                Vec::new()
            }
        }
    }

    fn on_eim_reply(&mut self, reply: EimReply) -> Vec<Effect> {
        let now = Moment::now().ms();
        self.core.set_date(clock::date_ms());
        match reply {
            EimReply::Subscribe(user, answer) => self.core.on_subscribe_reply(&user, answer, now),
            EimReply::Presence(user, answer) => self.core.on_presence_reply(&user, answer, now),
            EimReply::Snapshot(answer) => self.core.on_snapshot_reply(answer, now),
            EimReply::Look(answer) => self.core.on_look_reply(answer, now),
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { user, generation, frame } => {
                if let Some(outbox) = self.socket(&user, generation) {
                    outbox.send(frame);
                }
            }
            Effect::Close { user, generation, why } => {
                if let Some(outbox) = self.socket(&user, generation) {
                    outbox.close(why);
                    self.sockets.remove(&user);
                }
            }
            Effect::Release { user, generation } => {
                if self.socket(&user, generation).is_some() {
                    self.sockets.remove(&user);
                }
            }
            Effect::EimRequest(request) => {
                let source = self.registry.0.source.clone();
                let (conf, node) = (self.core.conf_id().clone(), self.registry.0.node.clone());
                let bindings = self.registry.0.bindings.clone();
                let waits = self.binding.is_some() && request.reads_roster();
                self.requests.spawn(async move {
                    if waits {
                        bindings.settled(&Subject::Conference(conf.clone())).await;
                    }
                    source.perform(request, &conf, &node).await
                });
            }
            Effect::Grant(permissions) => self.grant(permissions).await,
            Effect::Emit(event) => {
                let emitted = (self.core.conf_id().clone(), event);
                let lifecycle_events = &self.registry.0.lifecycle_events;
                metrics::gauge!("confgate_lifecycle_events_waiting")
                    .set((LIFECYCLE_EVENTS - lifecycle_events.capacity()) as f64);
                if lifecycle_events.send(emitted).await.is_err() {
                    tracing::debug!("a lifecycle event after the stop");
                }
            }
        }
    }

    async fn grant(&self, permissions: MediaPermissions) {
        let queue = &self.registry.0.permissions;
        metrics::gauge!("confgate_media_permissions_waiting").set((MEDIA_PERMISSIONS - queue.capacity()) as f64);
        if queue.send((self.core.conf_id().clone(), permissions)).await.is_err() {
            tracing::debug!("media permissions after the stop");
        }
    }

    fn socket(&self, user: &UserId, generation: u64) -> Option<&Outbox> {
        self.sockets.get(user).filter(|(g, _)| *g == generation).map(|(_, outbox)| outbox)
    }
}
