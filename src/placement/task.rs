//! The shell of placement: owns the core, asks the store, commands call gateways, tells members.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::callgw::{Pool, Report};
use crate::clock::{Moment, Now, date_ms};
use crate::conference::{Conferences, MediaPermissions, notification};
use crate::ids::ConfId;
use crate::node_protocol::ToNode;
use crate::refusal::Refusal;
use crate::store::{Allocation, Store, StoreError};

use super::core::{Change, Core, Effect, Seen};
use super::register::Register;

/// How often what needs no news is looked at: deadlines, conferences that no gateway could take.
const TICK: Duration = Duration::from_millis(250);
/// How often the store is asked what other gateways have decided.
const POLL: Duration = Duration::from_secs(1);
/// Another gateway's clock may be so much behind ours, in ms.
const POLL_OVERLAP_MS: u64 = 5000;
/// Moves written at once: enough to keep the store busy, few enough to leave it to others too.
const MOVES: usize = 8;

/// An answer of the store.
enum Answer {
    Located(ConfId, Result<Option<Allocation>, StoreError>),
    Moved(ConfId, Option<Result<Allocation, StoreError>>),
    /// When it was asked, and what.
    Polled(u64, Result<Decided, StoreError>),
    Released(Result<(), StoreError>),
}

/// The recent decisions of all gateways.
struct Decided {
    /// As of when the pool knows the register of call gateways.
    register_read: Moment,
    drains: HashMap<String, u64>,
    placed: Vec<(ConfId, Allocation)>,
}

/// Owns where this gateway's conferences are; nobody else touches it.
pub struct Task {
    pool: Pool,
    store: Store,
    register: Arc<Register>,
    placed: mpsc::Receiver<(ConfId, Allocation)>,
    core: Core,
    queries: JoinSet<Answer>,
    /// Moves that wait for their turn: conference, from, members.
    moves: VecDeque<(ConfId, String, u64)>,
    moves_under_way: usize,
    /// Conferences of which the store couldn't say where they are.
    unlocated: Vec<ConfId>,
    /// Changes that a busy conference could not take: one for each conference.
    untold: HashMap<ConfId, Change>,
    polled_until: u64,
    polling: bool,
}

impl Task {
    pub(super) fn new(
        pool: Pool,
        store: Store,
        register: Arc<Register>,
        placed: mpsc::Receiver<(ConfId, Allocation)>,
    ) -> Self {
        Self {
            pool,
            store,
            register,
            placed,
            core: Core::default(),
            queries: JoinSet::new(),
            moves: VecDeque::new(),
            moves_under_way: 0,
            unlocated: Vec::new(),
            untold: HashMap::new(),
            polled_until: Moment::now().ms(),
            polling: false,
        }
    }

    /// Runs until the conferences are gone.
    pub async fn run(mut self, mut permissions: mpsc::Receiver<(ConfId, MediaPermissions)>, conferences: Conferences) {
        let (mut tick, mut poll) = (interval(TICK), interval(POLL));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.pool.changes();
        // Twice in a token's life: one that is lost doesn't matter.
        let mut renew = interval((self.pool.token_ttl() / 2).max(TICK));
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let effects = tokio::select! {
                granted = permissions.recv() => match granted {
                    Some((conf, permissions)) => self.core.granted(conf, permissions, Now::read()),
                    None => return,
                },
                Some((conf, allocation)) = self.placed.recv() => self.core.placed(&conf, allocation),
                Ok(()) = changes.changed() => self.survey(),
                Some(answer) = self.queries.join_next() => match answer {
                    Ok(answer) => self.answered(answer),
                    Err(error) => {
                        Refusal::fault(error);
                        Vec::new()
                    }
                },
                _ = tick.tick() => {
                    self.notify_pending(&conferences);
                    std::mem::take(&mut self.unlocated).into_iter().for_each(|conf| self.locate(conf));
                    self.survey()
                }
                _ = renew.tick() => self.core.cascades(),
                _ = poll.tick() => {
                    self.poll();
                    Vec::new()
                }
            };
            for effect in effects {
                self.carry_out(effect, &conferences);
            }
            self.begin_moves();
        }
    }

    fn survey(&mut self) -> Vec<Effect> {
        metrics::gauge!("confgate_placed_conferences").set(self.core.len() as f64);
        let now = date_ms();
        let seen = |report: Report| Seen {
            id: report.id,
            judged: report.status.judged,
            fault: report.status.fault,
            leave: report.status.must_leave(now),
            openings: report.status.openings,
        };
        self.core.survey(self.pool.reports().into_iter().map(seen).collect())
    }

    fn answered(&mut self, answer: Answer) -> Vec<Effect> {
        let failed = |error: StoreError| tracing::warn!(%error, "the store can't say where conferences are");
        match answer {
            Answer::Located(conf, Ok(Some(allocation))) => return self.core.placed(&conf, allocation),
            Answer::Located(_, Ok(None)) | Answer::Released(Ok(())) => {}
            Answer::Moved(conf, outcome) => {
                self.moves_under_way -= 1;
                match outcome {
                    None => return self.core.stays(&conf),
                    Some(Ok(allocation)) => return self.core.placed(&conf, allocation),
                    Some(Err(error)) => {
                        failed(error);
                        self.core.not_yet(&conf);
                    }
                }
            }
            Answer::Polled(at, Ok(decided)) => {
                (self.polled_until, self.polling) = (at, false);
                self.pool.drain_only(&decided.drains);
                // What was put somewhere before may be known here a little later, by another node's clock.
                self.core.register_read(decided.register_read.ms().saturating_sub(POLL_OVERLAP_MS));
                return decided.placed.into_iter().flat_map(|(conf, at)| self.core.placed(&conf, at)).collect();
            }
            Answer::Polled(_, Err(error)) => {
                self.polling = false;
                failed(error);
            }
            Answer::Located(conf, Err(error)) => {
                self.unlocated.push(conf);
                failed(error);
            }
            Answer::Released(Err(error)) => failed(error),
        }
        Vec::new()
    }

    fn carry_out(&mut self, effect: Effect, conferences: &Conferences) {
        match effect {
            Effect::Locate(conf) => self.locate(conf),
            Effect::Move { conf, from, members } => self.moves.push_back((conf, from, members)),
            Effect::Leave { conf, at, from } => self.leave(conf, at, &from),
            Effect::Send { gateway, command } => self.pool.send_command(&gateway, command),
            Effect::Cascade { conf, nodes, left } => self.cascade(&conf, &nodes, &left),
            Effect::SendOn { gateway, conf, to } => {
                if let Some(url) = self.pool.address_of(&to) {
                    self.pool.send_command(&gateway, ToNode::Move { room: conf, url });
                }
            }
            Effect::Announce(conf, change) => {
                tracing::info!(%conf, from = change.from, to = change.to, reason = change.reason.name(), "call gateway");
                metrics::counter!("confgate_call_gateway_changes_total", "reason" => change.reason.name()).increment(1);
                self.announce(conf, change, conferences);
            }
            Effect::Left(user) => self.pool.forget(&user),
            Effect::Release(conf) => {
                let store = self.store.clone();
                self.queries.spawn(async move { Answer::Released(store.release(&conf).await) });
            }
        }
    }

    fn locate(&mut self, conf: ConfId) {
        let store = self.store.clone();
        self.queries.spawn(async move {
            let at = store.allocation(&conf).await;
            Answer::Located(conf, at)
        });
    }

    fn begin_moves(&mut self) {
        while self.moves_under_way < MOVES {
            let Some((conf, from, members)) = self.moves.pop_front() else { return };
            self.moves_under_way += 1;
            let to = self.pool.elsewhere(&from);
            let store = self.store.clone();
            if let Ok(to) = &to {
                self.pool.note_assignment(to, members);
            }
            self.queries.spawn(async move {
                let moved = match to {
                    Ok(to) => Some(store.assign(&conf, &to, Some(&from), Moment::now().ms()).await),
                    Err(_) => None,
                };
                Answer::Moved(conf, moved)
            });
        }
    }

    /// The others are enough: if they are full, it grows again when somebody comes.
    fn leave(&mut self, conf: ConfId, at: Allocation, from: &str) {
        self.moves_under_way += 1;
        let store = self.store.clone();
        let nodes: Vec<String> = at.nodes().filter(|id| *id != from).map(str::to_owned).collect();
        self.queries.spawn(async move {
            let left = store.spread(&conf, &at, &nodes, Moment::now().ms()).await;
            Answer::Moved(conf, left.transpose())
        });
    }

    fn cascade(&self, conf: &ConfId, nodes: &[String], left: &[String]) {
        for id in nodes {
            let peers = nodes.iter().filter(|other| *other != id).filter_map(|other| self.pool.peer(other, conf));
            self.pool.send_command(id, ToNode::Cascade { room: conf.clone(), peers: peers.collect() });
        }
        for id in left {
            self.pool.send_command(id, ToNode::Cascade { room: conf.clone(), peers: Vec::new() });
        }
    }

    fn poll(&mut self) {
        if std::mem::replace(&mut self.polling, true) {
            return;
        }
        let (store, since, now) = (self.store.clone(), self.polled_until, Moment::now().ms());
        let register = self.register.clone();
        self.queries.spawn(async move {
            let asked = async {
                let register_read = register.refresh().await?;
                let placed = store.allocations_since(since.saturating_sub(POLL_OVERLAP_MS)).await?;
                Ok(Decided { register_read, drains: store.drains().await?, placed })
            };
            Answer::Polled(now, asked.await)
        });
    }

    fn announce(&mut self, conf: ConfId, mut change: Change, conferences: &Conferences) {
        if let Some(earlier) = self.untold.remove(&conf) {
            change.from = earlier.from;
        }
        let params = json!({"confId": conf, "from": change.from, "to": change.to, "reason": change.reason});
        if !conferences.send_to_members(&conf, notification("callgw.changed", &params).into()) {
            self.untold.insert(conf, change);
        }
    }

    fn notify_pending(&mut self, conferences: &Conferences) {
        for (conf, change) in std::mem::take(&mut self.untold) {
            self.announce(conf, change, conferences);
        }
    }
}
