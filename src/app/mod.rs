//! The recipe: every part by name, in the order in which it is started.

mod call_gateways;
pub mod demo;
mod eim;
mod figures;
mod follow_ups;
mod lease;
pub mod lifecycle;
mod listeners;
pub mod log;
mod media;
pub mod memory;
mod parts;
mod preconditions;
pub mod print;
mod rest;
mod restore;
pub mod routes;
mod tasks;
mod web_assets;

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::admin::Admin;
use crate::app::lifecycle::{Failure, Lifecycle, Outcome};
use crate::config::Config;
use crate::http::HttpServer;
use crate::schema::Schema;
use crate::store::Store;

use self::listeners::{serve_admin, serve_http};
use self::parts::Parts;
use self::preconditions::Opened;

pub use self::eim::{serve_eim, try_rooms};
pub use self::media::serve_media;
pub use self::preconditions::preconditions;

/// Runs the gateway to its end. `demonstrate`: make and print what a newcomer needs.
pub async fn serve(config: Config, schema: Schema, demonstrate: bool) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let metrics = figures::record()?;
    let lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;

    let Opened { claims, http, admin, store } = Opened::or_why(&config).await?;
    let schema = Arc::new(schema.served_at(&config.http.web_address(http.address())));
    let base = Base { config: Arc::new(config), schema, store: store.clone() };
    let outcome = run(base, http, admin, metrics, lifecycle, demonstrate).await;
    lease::close(&store).await;
    drop(claims);
    outcome
}

/// The base of all parts.
struct Base {
    config: Arc<Config>,
    schema: Arc<Schema>,
    store: Store,
}

async fn run(
    base: Base,
    http: HttpServer,
    admin: Admin,
    metrics: PrometheusHandle,
    mut lifecycle: Lifecycle,
    demonstrate: bool,
) -> Result<Outcome, Failure> {
    let (http_address, admin_address) = (http.address(), admin.address());
    let base = lease::hold(base, &mut lifecycle).await?;
    let (parts, ends, routers) = Parts::start(base, http_address, http.neighbours(), &mut lifecycle).await?;
    tasks::start(&parts, ends, &mut lifecycle);

    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    let ready = parts.readiness(soft.clone());
    lifecycle.wire("admin", serve_admin(admin, ready, metrics, http.accounts(), routers.pulls, hard.clone()));
    let handler = parts.handler(soft.clone(), routers.call_gateway)?;
    lifecycle.listener("http", serve_http(http, handler, soft.clone(), hard.clone()));
    tracing::info!(http = %http_address, admin = %admin_address, "listening");
    lifecycle.wire("start", restore::after_start(parts, demonstrate, soft, hard));
    Ok(lifecycle.run().await)
}
