//! What goes on beside the parts: news handed on, and what is asked and told at intervals. Each is a task that
//! `app::serve` starts; none owns any state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::demo;
use crate::app::lifecycle::Failure;
use crate::auth::Entry;
use crate::callgw::Pool;
use crate::clock::date_ms;
use crate::conference::sockets::Sockets;
use crate::conference::{ConferenceRef, Conferences, notification};
use crate::eim::events::Inbound;
use crate::eim::iq_handler::WebAddress;
use crate::event::Change;
use crate::health::Health;
use crate::http::ws::send_queue::Close;
use crate::rpc::Door;
use crate::store::Store;

/// How often families that other nodes ended are asked for: an ended token is refused everywhere within a second.
const ENDED_POLL: Duration = Duration::from_millis(500);
/// Between attempts to learn from the EIM what was before the start.
const RESTORE_RETRY: Duration = Duration::from_secs(2);
/// How often the time line of moments is kept: see `clock::TimeLine`.
const LINE_KEPT: Duration = Duration::from_secs(5);
/// How often the store is tried.
const STORE_CHECK: Duration = Duration::from_secs(1);
/// How often, at the least and at the most, accounts that are over or idle are collected; between these, four times
/// within the time that an idle one is kept.
const COLLECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(15));
/// Logins in one order to a call gateway: some 10 KiB, well below the longest frame of a control link.
const REVOKED_AT_ONCE: usize = 500;
/// How long sockets are given, after they were told, to finish what they have under way.
const GOING_AWAY: Duration = Duration::from_secs(2);

/// What can only be done once everything runs; then there is nothing more to do until the end.
pub(super) async fn after_start(door: Arc<Door>, demonstrate: bool, hard: CancellationToken) -> Result<(), Failure> {
    let generation = door.conferences.next_generation();
    let restoring = async {
        restore(&door, generation).await;
        if demonstrate {
            demo::prepare(&door).await?;
        }
        Ok::<(), Failure>(())
    };
    if let Some(outcome) = hard.run_until_cancelled(restoring).await {
        outcome?;
    }
    hard.cancelled().await;
    Ok(())
}

/// What was before the start goes on: sessions, and seats whose people may come back. The EIM may come up later. Seats
/// don't wait for sessions: each moment later, more have come for whom the EIM must be told again.
async fn restore(door: &Door, generation: u64) {
    tokio::join!(restore_sessions(door), restore_seats(door, generation));
}

async fn restore_sessions(door: &Door) {
    while let Err(refusal) = door.entry.restore_sessions().await {
        tracing::info!(key = refusal.key(), "users' sessions can't be opened again yet");
        tokio::time::sleep(RESTORE_RETRY).await;
    }
}

async fn restore_seats(door: &Door, generation: u64) {
    loop {
        match door.conferences.restore(generation).await {
            Ok(0) => return,
            Ok(seats) => return tracing::info!(seats, "waiting for who was here before the start"),
            Err(refusal) => {
                tracing::info!(key = refusal.key(), "the EIM can't say who was here before the start");
                if !refusal.is_retryable() {
                    return;
                }
            }
        }
        tokio::time::sleep(RESTORE_RETRY).await;
    }
}

/// Hands the EIM's news to those whom it concerns.
pub(super) async fn handle_inbound(
    mut inbound: mpsc::Receiver<Inbound>,
    conferences: Conferences,
    sockets: Sockets,
    entry: Entry,
    tracker: TaskTracker,
) {
    while let Some(news) = inbound.recv().await {
        match news {
            Inbound::Event { to, event } => {
                if let (Change::Created(made), Some(user)) = (&event.change, to) {
                    let own = ConferenceRef { conf_id: made.conf_id.clone(), call: made.call.is_some() };
                    sockets.created(&user, &own).await;
                }
                conferences.event(event).await;
            }
            Inbound::CallEvent { to, event } => sockets.send_call_event(&to, &event),
            Inbound::Up => {
                sockets.link_up(None);
                conferences.link_up().await;
            }
            Inbound::SessionUp(user) => {
                sockets.link_up(Some(&user));
                conferences.session_up(&user).await;
            }
            Inbound::Down | Inbound::SessionDown(_) => {}
            Inbound::WebAddress { conf_id, role, reply } => {
                let entry = entry.clone();
                tracker.spawn(async move {
                    let made = entry.web_address(&conf_id, role).await;
                    // The EIM may have stopped waiting.
                    let _ = reply.send(made.ok().map(|link| WebAddress { url: link.url, code: link.code }));
                });
            }
        }
    }
}

pub(super) async fn poll_ended(entry: Entry) {
    let mut tick = interval(ENDED_POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = 0;
    loop {
        tick.tick().await;
        let now = date_ms();
        if entry.poll_ended(since).await.is_ok() {
            // A moment of overlap: another node's clock or commit may be a little behind.
            since = now.saturating_sub(5000);
        }
    }
}

/// Tells call gateways which logins are over: their tokens end with them. A node whose control link has opened is told
/// all that ended lately.
pub(super) async fn revoke(entry: Entry, pool: Pool) {
    let (mut ended, mut changes) = (entry.ended_families(), pool.changes());
    let (mut openings, mut is_behind) = (HashMap::<String, u64>::new(), true);
    loop {
        for node in pool.reports() {
            let known = openings.insert(node.id.clone(), node.standing.openings);
            if is_behind || known != Some(node.standing.openings) {
                entry.all_ended().chunks(REVOKED_AT_ONCE).for_each(|families| pool.revoke_at(&node.id, families));
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

pub(super) async fn collect(entry: Entry, conferences: Conferences, guest_idle: Duration) {
    let mut tick = interval((guest_idle / 4).clamp(COLLECT.0, COLLECT.1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(refusal) = entry.collect_due(&conferences).await {
            tracing::debug!(key = refusal.key(), "collecting");
        }
    }
}

/// Tells every socket when a part goes and comes back.
pub(super) async fn notify_health(part: &'static str, mut health: watch::Receiver<Health>, sockets: Sockets) {
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

/// Keeps the time line of moments, so that the next process goes on with it.
pub(super) async fn keep_line(store: Store, hard: CancellationToken) -> Result<(), Failure> {
    let mut tick = interval(LINE_KEPT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while hard.run_until_cancelled(tick.tick()).await.is_some() {
        // That the store can't be written is told by who needs it.
        store.keep_time_line().await.ok();
    }
    store.keep_time_line().await.ok();
    Ok(())
}

/// Tells whether any call gateway can be used.
pub(super) async fn watch_gateways(pool: Pool, tell: watch::Sender<Health>) {
    let mut changes = pool.changes();
    loop {
        let now = pool.trouble().map_or_else(Health::up, Health::down);
        tell.send_if_modified(|known| known.turn(now));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tries the store now and then, and tells how it is.
pub(super) async fn watch_store(store: Store, tell: watch::Sender<Health>) {
    let mut tick = interval(STORE_CHECK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = match store.check().await {
            Ok(()) => Health::up(),
            Err(error) => Health::down(error.to_string()),
        };
        if tell.send_if_modified(|known| known.turn(now)) {
            let now = tell.borrow();
            match now.up {
                true => tracing::info!("the store is up"),
                false => tracing::warn!(why = now.why, "the store is down"),
            }
        }
    }
}

/// At the soft stop everybody is told, and a moment later sent to another node, or back here after a restart.
pub(super) async fn drain_sockets(sockets: Sockets, soft: CancellationToken, drain: Duration) -> Result<(), Failure> {
    soft.cancelled().await;
    if sockets.count() > 0 {
        let deadline = date_ms() + GOING_AWAY.min(drain).as_millis() as u64;
        sockets.broadcast(&notification("goingAway", &json!({"deadlineMs": deadline})).into());
        tokio::time::sleep(GOING_AWAY.min(drain)).await;
    }
    // Also those whose upgrade was under way at the stop.
    sockets.close_all(Close::GoingAway);
    Ok(())
}
