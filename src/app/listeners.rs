//! The two listeners' tasks, and what `/readyz` names.

use std::sync::Arc;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Part, PartState, Phase, Readiness, ReadinessSource};
use crate::app::lifecycle::Failure;
use crate::callgw::{NodeStatus, Pool};
use crate::clock::date_ms;
use crate::conference::Conferences;
use crate::eim::Eim;
use crate::health::Health;
use crate::http::{Handler, HttpServer};
use crate::rate_limit::account::Accounts;

pub(super) async fn serve_http(
    http: HttpServer,
    handler: Handler,
    soft: CancellationToken,
    hard: CancellationToken,
) -> Result<(), Failure> {
    http.serve(handler, soft, hard).await;
    Ok(())
}

/// On a thread of its own: whatever else keeps this process busy, it says whether it lives, and how it is.
pub(super) async fn serve_admin(
    admin: Admin,
    readiness: ReadinessSource,
    metrics: PrometheusHandle,
    accounts: Accounts,
    more: Router,
    hard: CancellationToken,
) -> Result<(), Failure> {
    let tasks = tokio::runtime::Handle::current().metrics();
    let sample = Arc::new(move || {
        metrics::gauge!("confgate_held_bytes").set(accounts.held_bytes() as f64);
        metrics::gauge!("confgate_tasks").set(tasks.num_alive_tasks() as f64);
    });
    let (on_end, ended) = oneshot::channel();
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(admin.serve(readiness, metrics, sample, more, hard)));
        // Nobody waits any more where the process ends at once.
        on_end.send(served).ok();
    })?;
    Ok(ended.await??)
}

/// The health of what only some gateways have.
#[derive(Clone)]
pub(super) struct External {
    /// The broker.
    pub broker: Option<watch::Receiver<Health>>,
    /// The MUC rooms.
    pub rooms: Option<watch::Receiver<Health>>,
}

impl External {
    /// Each by the name that sockets are told.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, watch::Receiver<Health>)> {
        let broker = self.broker.clone().map(|broker| ("events", broker));
        broker.into_iter().chain(self.rooms.clone().map(|rooms| ("muc", rooms)))
    }
}

/// Of a gateway: the store, the EIM and each of its addresses, its events, each call gateway.
pub(super) fn gateway_readiness(
    store: watch::Receiver<Health>,
    eim: Eim,
    external: External,
    conferences: Conferences,
    pool: Pool,
    soft: CancellationToken,
) -> ReadinessSource {
    let (health, started) = (eim.health(), date_ms());
    Arc::new(move || {
        let (link, kept) = (health.borrow().clone(), store.borrow().clone());
        let mut parts = vec![part("store", state(kept.up), kept.since_ms, kept.why)];
        parts.push(part("eim", state(link.up), link.since_ms, link.why));
        for address in eim.address_health() {
            let now = address.here.map_or(PartState::Starting, state);
            parts.push(part(&format!("eim.{}", address.name), now, address.since_ms, address.why));
        }
        if let Some(rooms) = &external.rooms {
            let rooms = rooms.borrow().clone();
            parts.push(part("muc", state(rooms.up), rooms.since_ms, rooms.why));
        }
        let away = external.broker.as_ref().map(|broker| broker.borrow().clone()).filter(|broker| !broker.up);
        let refused = conferences
            .refused_since()
            .map(|(since, conferences)| (since, format!("subscriptions are refused in {conferences} conferences")));
        let down = away.map(|broker| (broker.since_ms, format!("the broker: {}", broker.why))).or(refused);
        let is_up = down.is_none();
        let (since, why) = down.unwrap_or((started, String::new()));
        parts.push(part("events", state(is_up), since, why));
        for gateway in pool.reports() {
            let NodeStatus { since, reason, .. } = gateway.status;
            let up = gateway.status.fault.is_none();
            parts.push(part(&format!("callgw.{}", gateway.id), state(up), since, reason.unwrap_or_default()));
        }
        Readiness { phase: phase(&soft), parts }
    })
}

/// Of a process that is a call gateway node only.
pub(super) fn media_readiness(soft: CancellationToken) -> ReadinessSource {
    let since = date_ms();
    Arc::new(move || {
        let media = Part { vital: true, ..part("media", PartState::Up, since, String::new()) };
        Readiness { phase: phase(&soft), parts: vec![media] }
    })
}

/// A gateway can do without any part but its store.
fn part(name: &str, state: PartState, since: u64, reason: String) -> Part {
    Part { name: name.to_owned(), state, since, vital: name == "store", reason }
}

fn state(up: bool) -> PartState {
    if up { PartState::Up } else { PartState::Down }
}

fn phase(soft: &CancellationToken) -> Phase {
    if soft.is_cancelled() { Phase::Draining } else { Phase::Serving }
}
