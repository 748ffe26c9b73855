//! The tasks beside the parts: they hand events on, and poll and report at intervals. `app::serve` starts each; none
//! owns any state.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::follow_ups;
use crate::app::lifecycle::{Failure, Lifecycle};
use crate::app::parts::{Ends, Parts};
use crate::auth::AuthService;
use crate::callgw::Pool;
use crate::clock::date_ms;
use crate::conference::failover::Failover;
use crate::conference::owner::{OwnerNotice, Owners};
use crate::conference::sockets::Sockets;
use crate::conference::takeover::Takeover;
use crate::conference::{ConferenceRef, Conferences, notification};
use crate::eim::events::Inbound;
use crate::eim::iq_handler::WebAddress;
use crate::event::Change;
use crate::health::Health;
use crate::http::ws::send_queue::Close;
use crate::ids::UserId;
use crate::store::Store;

/// How often families that other nodes ended are asked for: an ended token is refused everywhere within a second.
const ENDED_POLL: Duration = Duration::from_millis(500);
/// How far another node's clock or commit may be behind: so much is read again each time.
const CLOCKS_DIFFER_MS: u64 = 60_000;
/// How often the store is tried.
const STORE_CHECK: Duration = Duration::from_secs(1);
/// How often, at the least and at the most, accounts that are over or idle are collected; between these, four times
/// within the time that an idle one is kept.
const COLLECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));
/// Logins in one order to a call gateway: some 10 KiB, well below the longest frame of a control link.
const REVOKED_AT_ONCE: usize = 500;
/// How long sockets are given, after they were told, to finish what they have under way.
const GOING_AWAY: Duration = Duration::from_secs(2);
/// How long their ends may take to be reported to the owners of their conferences' numbers.
const REPORTED: Duration = Duration::from_millis(500);

/// Starts them all.
pub(super) fn start(parts: &Parts, ends: Ends, lifecycle: &mut Lifecycle) {
    let Parts { config, store, conferences, owners, sockets, auth, pool, tracker, .. } = parts;
    let Ends {
        inbound,
        broker,
        conferences: receivers,
        numbered,
        placement,
        store_health_sender,
        gateways_health_sender,
    } = ends;
    lifecycle.work("store", watch_store(store.clone(), store_health_sender));
    let targets = EventTargets {
        conferences: conferences.clone(),
        owners: owners.clone(),
        sockets: sockets.clone(),
        auth: auth.clone(),
        tracker: tracker.clone(),
    };
    lifecycle.work("events", targets.clone().hand_on(inbound));
    if let Some(numbered) = numbered {
        lifecycle.work("numbered events", hand_on_numbered(numbered, conferences.clone()));
    }
    if let Some((consumer, inbound)) = broker {
        lifecycle.work("broker events", targets.hand_on(inbound));
        lifecycle.work("broker", consumer.run(lifecycle.hard()));
    }
    lifecycle.work("lifecycle_events", follow_ups::take(receivers.lifecycle_events, auth.clone()));
    lifecycle.work("placement", placement.run(receivers.permissions, conferences.clone()));
    lifecycle.work("ended families", poll_ended(auth.clone()));
    let (takeover, caught_up) = Takeover::new(sockets.clone(), store.clone(), config.node.id.clone());
    lifecycle.work("takeover", takeover.run());
    let failover = Failover::new(conferences.clone(), sockets.clone(), store.clone(), caught_up, config.node.lease);
    lifecycle.work("failover", failover.run(lifecycle.soft()));
    lifecycle.work("revocations", revoke(auth.clone(), pool.clone()));
    let collecting = collect(auth.clone(), conferences.clone(), owners.clone(), config.limits.guest_idle);
    lifecycle.work("collector", collecting);
    lifecycle.work("gateways", watch_gateways(pool.clone(), gateways_health_sender));
    for (part, health) in parts.health.clone() {
        lifecycle.work("health", notify_health(part, health, sockets.clone()));
    }
    let draining = drain_sockets(sockets.clone(), owners.clone(), lifecycle.soft(), config.limits.drain);
    lifecycle.listener("sockets", draining);
}

/// Where the EIM's events go.
#[derive(Clone)]
struct EventTargets {
    conferences: Conferences,
    owners: Option<Owners>,
    sockets: Sockets,
    auth: AuthService,
    tracker: TaskTracker,
}

impl EventTargets {
    async fn hand_on(self, mut inbound: mpsc::Receiver<Inbound>) {
        while let Some(event) = inbound.recv().await {
            self.dispatch(event).await;
        }
    }

    async fn dispatch(&self, event: Inbound) {
        let Self { conferences, owners, sockets, auth, tracker } = self;
        match event {
            Inbound::Event { to, event, receipt } => {
                self.created(&event.change, to).await;
                conferences.event(event, receipt).await;
            }
            Inbound::Unnumbered { to, event, receipt } => {
                self.created(&event.change, to).await;
                if let Some(owners) = owners {
                    owners.change(event, receipt);
                }
            }
            Inbound::CallEvent { to, event, .. } => sockets.send_call_event(&to, &event),
            Inbound::Up => {
                if let Some(owners) = owners {
                    owners.doubt();
                }
                sockets.link_up(None);
                conferences.link_up().await;
            }
            Inbound::SessionUp(user) => {
                sockets.link_up(Some(&user));
                conferences.session_up(&user).await;
            }
            Inbound::Down | Inbound::SessionDown(_) => {}
            Inbound::WebAddress { conf_id, role, valid_ms, reply } => {
                let auth = auth.clone();
                tracker.spawn(async move {
                    let made = auth.web_address(&conf_id, role, valid_ms).await;
                    // The EIM may have stopped waiting.
                    let _ = reply.send(made.ok().map(|link| WebAddress { url: link.url, code: link.code }));
                });
            }
        }
    }

    /// Tells the user's socket of a conference that was made for them.
    async fn created(&self, change: &Change, to: Option<UserId>) {
        if let (Change::Created(made), Some(user)) = (change, to) {
            let own = ConferenceRef { conf_id: made.conf_id.clone(), call: made.call.is_some() };
            self.sockets.created(&user, &own).await;
        }
    }
}

/// Gives what the owners of numbers say to the conferences.
async fn hand_on_numbered(mut numbered: mpsc::Receiver<OwnerNotice>, conferences: Conferences) {
    while let Some(news) = numbered.recv().await {
        match news {
            OwnerNotice::Event(event) => conferences.event(event, None).await,
            OwnerNotice::Doubt(conf) => conferences.owner_lost(&conf).await,
        }
    }
}

async fn poll_ended(auth: AuthService) {
    let mut tick = interval(ENDED_POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = 0;
    loop {
        tick.tick().await;
        let now = date_ms();
        if auth.poll_ended(since).await.is_ok() {
            since = now.saturating_sub(CLOCKS_DIFFER_MS);
        }
    }
}

/// Tells call gateways which logins are over: their tokens end with them. A node whose control link has opened is told
/// all that ended lately.
async fn revoke(auth: AuthService, pool: Pool) {
    let (mut ended, mut changes) = (auth.ended_families(), pool.changes());
    let (mut openings, mut is_behind) = (HashMap::<String, u64>::new(), true);
    loop {
        for node in pool.reports() {
            let known = openings.insert(node.id.clone(), node.status.openings);
            if is_behind || known != Some(node.status.openings) {
                auth.all_ended().chunks(REVOKED_AT_ONCE).for_each(|families| pool.revoke_at(&node.id, families));
            }
        }
        is_behind = tokio::select! {
            login = ended.recv() => match login {
                Ok(login) => {
                    pool.revoke(&login.family, login.by);
                    false
                }
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            },
            Ok(()) = changes.changed() => false,
        };
    }
}

async fn collect(auth: AuthService, conferences: Conferences, owners: Option<Owners>, guest_idle: Duration) {
    let mut tick = interval((guest_idle / 4).clamp(COLLECT.0, COLLECT.1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(refusal) = auth.collect_due(&conferences).await {
            tracing::debug!(key = refusal.key(), "collecting");
        }
        if let Some(owners) = &owners
            && let Err(refusal) = owners.collect().await
        {
            tracing::debug!(key = refusal.key(), "collecting numbers");
        }
    }
}

/// Tells every socket when a part goes and comes back.
async fn notify_health(part: &'static str, mut health: watch::Receiver<Health>, sockets: Sockets) {
    let mut up = health.borrow_and_update().up;
    while health.changed().await.is_ok() {
        let now = health.borrow_and_update().clone();
        if now.up == up {
            continue;
        }
        up = now.up;
        let frame = match up {
            true => notification("restored", &json!({"part": part})),
            false => notification("degraded", &json!({"part": part, "since": now.since_ms})),
        };
        sockets.broadcast(&frame.into());
    }
}

/// Tells whether any call gateway can be used.
async fn watch_gateways(pool: Pool, health: watch::Sender<Health>) {
    let mut changes = pool.changes();
    loop {
        let now = pool.trouble().map_or_else(Health::up, Health::down);
        health.send_if_modified(|known| known.turn(now));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tries the store now and then, and tells how it is.
async fn watch_store(store: Store, health: watch::Sender<Health>) {
    let mut tick = interval(STORE_CHECK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = match store.check().await {
            Ok(()) => Health::up(),
            Err(error) => Health::down(error.to_string()),
        };
        if health.send_if_modified(|known| known.turn(now)) {
            let now = health.borrow();
            match now.up {
                true => tracing::info!("the store is up"),
                false => tracing::warn!(why = now.why, "the store is down"),
            }
        }
    }
}

/// At the soft stop everybody is told, and a moment later sent to another node, or back here after a restart.
async fn drain_sockets(
    sockets: Sockets,
    owners: Option<Owners>,
    soft: CancellationToken,
    drain: Duration,
) -> Result<(), Failure> {
    soft.cancelled().await;
    if sockets.count() > 0 {
        let deadline = date_ms() + GOING_AWAY.min(drain).as_millis() as u64;
        sockets.broadcast(&notification("goingAway", &json!({"deadlineMs": deadline})).into());
        tokio::time::sleep(GOING_AWAY.min(drain)).await;
    }
    // Also those whose upgrade was under way at the stop.
    sockets.close_all(Close::GoingAway);
    if let Some(owners) = owners {
        tokio::time::sleep(REPORTED.min(drain)).await;
        owners.give_back();
    }
    Ok(())
}
