//! One call gateway node: as configured, with what is known of it now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::{Moment, date_ms};
use crate::config::{self, NodeKind};
use crate::ids::{Secret, UserId};
use crate::node_protocol::{FromNode, ToNode};
use crate::sync;
use crate::tls_client::Fingerprint;
use crate::token::{Kind, KindKeys};

use super::choice::{Candidate, FULL};
use super::health::{Fault, NodeHealth};
use super::recent::Recent;

/// Members at which a node that doesn't report its load is taken for half as full as it can be: a guess, by which such
/// nodes are compared with each other; it never makes one full.
const HALF_FULL: f64 = 100.0;

/// Written by the node's own tasks (probe, control link) and by whoever gives it members; read by everybody. Nothing
/// waits while the lock is held.
pub struct Node {
    pub id: String,
    pub kind: NodeKind,
    pub url: String,
    pub region: Option<String>,
    /// Signs what admits members.
    pub keys: KindKeys,
    /// Signs what opens the control link.
    pub control_keys: KindKeys,
    /// Signs what lets another node pull from it.
    pub pull_keys: KindKeys,
    /// To the task that keeps the control link, or to the embedded node itself.
    commands: mpsc::Sender<ToNode>,
    state: Mutex<State>,
    changes: Changes,
}

/// Counts of all nodes of a pool. Clones share them.
#[derive(Clone)]
pub struct Changes {
    /// Changes that matter beyond a node.
    changed: watch::Sender<u64>,
    /// Openings of control links: a node that takes another's place has been opened later than that one.
    openings: Arc<AtomicU64>,
}

impl Changes {
    pub fn new() -> Self {
        Self { changed: watch::Sender::new(0), openings: Arc::default() }
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn notify(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn next_opening(&self) -> u64 {
        self.openings.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The public status of a node.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Whether anything is known of it yet.
    pub judged: bool,
    /// The reason why it isn't to be used.
    pub fault: Option<Fault>,
    /// Since when it is, or isn't; milliseconds since 1970.
    pub since: u64,
    /// The reason why it isn't to be used, or why it gets no commands from us.
    pub reason: Option<String>,
    /// As it reports it: 0 idle, 1 full.
    pub load: Option<f64>,
    /// Members that we sent there and who haven't left since.
    pub members: u64,
    /// It takes no new rooms, by its own word or an operator's.
    pub draining: bool,
    /// Its rooms must leave at that time, in ms since 1970; 0: now.
    pub leave_at: Option<u64>,
    /// How often what holds must have been said to it: grows with each opening of its control link.
    pub openings: u64,
}

impl NodeStatus {
    /// Whether it is usable now.
    pub fn is_up(&self) -> bool {
        self.fault.is_none()
    }

    /// Whether its rooms are to leave at that date.
    pub fn must_leave(&self, now: u64) -> bool {
        self.leave_at.is_some_and(|at| at <= now)
    }
}

struct State {
    health: NodeHealth,
    fault: Option<(Fault, String)>,
    since: u64,
    recent: Recent,
    members: u64,
    /// An operator's: when the rooms must leave.
    drain_until: Option<u64>,
    linked: bool,
    openings: u64,
    /// A command had no room in the queue: what holds must be said anew.
    lost: bool,
    /// Certificates by which it is known besides those that this process trusts.
    pins: Vec<Fingerprint>,
    /// The reason why other gateways can't use it: then no conference may be there.
    withheld: Option<String>,
}

impl Node {
    /// `own_secret`: signs where the node is configured without one of its own.
    pub fn new(
        config: &config::CallNode,
        url: String,
        own_secret: &Secret,
        silence: Duration,
        commands: mpsc::Sender<ToNode>,
        changes: Changes,
    ) -> Self {
        let secret = config.secret.as_ref().unwrap_or(own_secret);
        let keys = |kind| KindKeys::new(&[(config.id.clone(), secret.clone())], kind);
        let state = State {
            health: NodeHealth::new(silence.as_millis() as u64),
            fault: Some((Fault::Down, "not yet probed".into())),
            since: date_ms(),
            recent: Recent::default(),
            members: 0,
            drain_until: None,
            linked: false,
            openings: 0,
            lost: false,
            pins: Vec::new(),
            withheld: None,
        };
        Self {
            id: config.id.clone(),
            kind: config.kind,
            url,
            region: config.region.clone(),
            keys: keys(Kind::CallGateway),
            control_keys: keys(Kind::Control),
            pull_keys: keys(Kind::Pull),
            commands,
            state: Mutex::new(state),
            changes,
        }
    }

    pub fn status(&self) -> NodeStatus {
        let state = self.lock();
        let uncontrolled = state.health.uncontrolled().map(|why| format!("no control: {why}"));
        NodeStatus {
            judged: state.health.is_known(),
            fault: state.fault.as_ref().map(|(fault, _)| *fault),
            since: state.since,
            reason: state.fault.as_ref().map(|(_, why)| why.clone()).or(state.withheld.clone()).or(uncontrolled),
            load: state.health.load().map(|load| load.busiest),
            members: state.members,
            draining: state.is_draining(),
            leave_at: if state.leaves_now() { Some(0) } else { state.drain_until },
            openings: state.openings,
        }
    }

    pub fn is_up(&self) -> bool {
        self.lock().fault.is_none()
    }

    /// Whether its control link tells how it is, so that probes needn't.
    pub fn is_controlled(&self) -> bool {
        self.lock().health.uncontrolled().is_none()
    }

    pub fn candidate(&self) -> Candidate {
        let (state, now) = (self.lock(), Moment::now().ms());
        let draining = || state.withheld.clone().or_else(|| state.is_draining().then(|| "draining".to_owned()));
        let members = state.members as f64;
        let guess = FULL * members / (members + HALF_FULL);
        let report = state.health.load();
        Candidate {
            id: self.id.clone(),
            region: self.region.clone(),
            unusable: state.fault.as_ref().map(|(_, why)| why.clone()).or_else(draining),
            load: report.map_or(guess, |load| load.busiest),
            cascades: report.and_then(|load| load.cascades),
            recent: state.recent.since(report.map_or(now, |load| load.at), now),
        }
    }

    /// So many places were given there.
    pub fn note_assignment(&self, places: u64) {
        self.lock().recent.add(places, Moment::now().ms());
    }

    /// A member was sent there, or has left it.
    pub fn count(&self, came: bool) {
        let mut state = self.lock();
        state.members = if came { state.members + 1 } else { state.members.saturating_sub(1) };
        metrics::gauge!("confgate_call_gateway_members", "gateway" => self.id.clone()).set(state.members as f64);
    }

    /// An operator drains it until then, or (`None`) no longer.
    pub fn drain(&self, until: Option<u64>) {
        let mut state = self.lock();
        if state.drain_until != until {
            tracing::info!(gateway = self.id, until, "an operator drains the call gateway, or no longer");
            state.drain_until = until;
            drop(state);
            self.changes.notify();
        }
    }

    /// Certificates by which it is known besides those that this process trusts.
    pub fn pins(&self) -> Vec<Fingerprint> {
        self.lock().pins.clone()
    }

    pub fn set_pins(&self, pins: Vec<Fingerprint>) {
        self.lock().pins = pins;
    }

    /// Other gateways can't use it, for that reason, or (`None`) they can: see [`super::Pool::withhold_own`].
    pub fn withhold(&self, why: Option<&str>) {
        let mut state = self.lock();
        if state.withheld.as_deref() != why {
            state.withheld = why.map(str::to_owned);
            drop(state);
            self.changes.notify();
        }
    }

    /// It is no longer in the pool.
    pub fn left(&self) {
        metrics::gauge!("confgate_call_gateway_up", "gateway" => self.id.clone()).set(0.0);
        tracing::info!(gateway = self.id, "the call gateway is no longer in the register");
    }

    /// Puts the command in its queue. Where there is no link it isn't kept: what holds is said when one opens.
    pub fn send_command(&self, command: ToNode) {
        let mut state = self.lock();
        if state.linked && self.commands.try_send(command).is_err() {
            metrics::counter!("confgate_call_gateway_commands_lost_total").increment(1);
            state.lost = true;
        }
    }

    pub fn on_probe(&self, outcome: Result<(), String>) {
        self.change(|state, _| state.health.on_probe(outcome));
    }

    /// A control link has opened: what holds is to be said.
    pub fn opened(&self) {
        self.change(|state, _| {
            (state.linked, state.lost) = (true, false);
            state.openings = self.changes.next_opening();
        });
        self.changes.notify();
    }

    pub fn closed(&self) {
        self.change(|state, _| state.linked = false);
    }

    pub fn set_control_refused(&self, why: String) {
        self.change(|state, _| state.health.set_control_refused(why));
    }

    pub fn set_distrusted(&self, why: String) {
        self.change(|state, _| state.health.set_distrusted(why));
    }

    pub fn on_message(&self, message: &FromNode) {
        let (mut anew, mut leaves) = (false, false);
        self.change(|state, now| {
            let before = state.health.is_stopping();
            state.health.on_message(message, now);
            leaves = state.health.is_stopping() != before;
            anew = std::mem::take(&mut state.lost);
            if anew {
                state.openings = self.changes.next_opening();
            }
        });
        if anew || leaves {
            self.changes.notify();
        }
    }

    /// True where the report, with those of others, counts as a failed probe.
    pub fn report_failure(&self, user: &UserId) -> bool {
        let mut failed = false;
        self.change(|state, now| failed = state.health.report_failure(user, state.members, now));
        failed
    }

    /// Time passes: silence may have become too long.
    pub fn tick(&self) {
        self.change(|_, _| {});
    }

    fn change(&self, what: impl FnOnce(&mut State, u64)) {
        let now = Moment::now().ms();
        let mut state = self.lock();
        state.health.on_look(now);
        let was_judged = state.health.is_known();
        what(&mut state, now);
        let fault = state.health.check(now).err();
        let turned = fault.is_some() != state.fault.is_some() || state.health.is_known() != was_judged;
        if turned {
            state.since = date_ms();
            match &fault {
                None => tracing::info!(gateway = self.id, "the call gateway is up"),
                // It has said that it would go.
                Some((_, why)) if state.health.is_stopping() => {
                    tracing::info!(gateway = self.id, why, "the call gateway has stopped");
                }
                Some((_, why)) => tracing::warn!(gateway = self.id, why, "the call gateway can't be used"),
            }
        }
        let up = f64::from(u8::from(fault.is_none()));
        metrics::gauge!("confgate_call_gateway_up", "gateway" => self.id.clone()).set(up);
        state.fault = fault;
        drop(state);
        if turned {
            self.changes.notify();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl State {
    fn is_draining(&self) -> bool {
        self.drain_until.is_some() || self.health.is_draining() || self.withheld.is_some()
    }

    fn leaves_now(&self) -> bool {
        self.health.is_stopping() || self.withheld.is_some()
    }
}
