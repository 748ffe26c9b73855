//! The recipe: every part by name, in the order in which it is started.

pub mod demo;
mod figures;
mod follow_ups;
pub mod lifecycle;
pub mod log;
mod media;
pub mod memory;
mod preconditions;
pub mod print;
pub mod routes;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Part, PartState, Phase, Readiness, ReadinessSource};
use crate::app::lifecycle::{Failure, Lifecycle, Outcome};
use crate::auth::Entry;
use crate::builtin_eim;
use crate::callgw::{Context, NodeStatus, Pool};
use crate::clock::{Moment, date_ms};
use crate::conference::sockets::Sockets;
use crate::conference::{Conferences, Limits};
use crate::config::{Config, EimMode, Scope};
use crate::eim::Eim;
use crate::eim::events::Inbound;
use crate::eim::requests::Calls;
use crate::health::Health;
use crate::http::{
    Admission, Certificate, CertificateFiles, GuardSettings, HttpServer as HttpDoor, HttpSettings, Networks, Timeouts,
};
use crate::ids::{Secret, random_text};
use crate::placement::Placement;
use crate::rate_limit::account::Bounds;
use crate::rate_limit::budget::Budget;
use crate::rpc::{Counters, Door, FailedLogins, Rates};
use crate::schema::Schema;
use crate::signaling::Operators;
use crate::store::encryption_at_rest::Sealer;
use crate::store::{NodeLock, NodeRole, Store, StoreError};
use crate::token::Keys;
use crate::xmpp::dial::InProcess;

use self::preconditions::Opened;

pub use self::media::{janus_reach, serve_media, whip_reach};
pub use self::preconditions::preconditions;

/// Connections to the built-in EIM that wait to be taken: there are two, each with one attempt at a time.
const IN_PROCESS_CONNECTIONS: usize = 4;

/// How often the certificate files are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(1);
/// More sockets than one process ever opens.
const GENERATIONS: u64 = 1_000_000_000;
/// How long what is still under way in the store may take at the end.
const STORE_CLOSE: Duration = Duration::from_secs(2);

/// Runs the gateway to its end. `demonstrate`: make and print what a newcomer needs.
pub async fn serve(config: Config, schema: Schema, demonstrate: bool) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let metrics = figures::record()?;
    let config = Arc::new(config);
    let lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;
    let tracker = TaskTracker::new();

    let Opened { claims, http, admin, store } = Opened::or_why(&config).await?;
    let schema = Arc::new(schema.served_at(&web_address(&config, http.address())));
    let parts = Parts { config, schema, store: store.clone(), http, admin, metrics };
    let outcome = run(parts, lifecycle, tracker, demonstrate).await;
    close(&store).await;
    drop(claims);
    outcome
}

/// What [`serve`] has taken before anything runs.
struct Parts {
    config: Arc<Config>,
    schema: Arc<Schema>,
    store: Store,
    http: HttpDoor,
    admin: Admin,
    metrics: PrometheusHandle,
}

async fn run(
    parts: Parts,
    mut lifecycle: Lifecycle,
    tracker: TaskTracker,
    demonstrate: bool,
) -> Result<Outcome, Failure> {
    let Parts { config, schema, store, http, admin, metrics } = parts;
    let store = leased(&config, store, &mut lifecycle).await?;
    let (http_address, admin_address) = (http.address(), admin.address());

    let (eim, inbound) = start_eim(&config, &schema, &store, &mut lifecycle, &tracker).await?;
    let calls = Calls::new(eim.clone(), schema.clone(), &config.eim.domain, config.eim.timeout);
    let (node, limits) = (config.node.id.clone(), limits(&config));
    let generation = first_generation(&store).await?;
    let (conferences, news) = Conferences::new(calls.clone(), limits, node, generation, tracker.clone());
    let sockets = Sockets::new(conferences.clone());
    let secrets = secrets(&config, &store).await?;
    let web_address = web_address(&config, http_address);
    let Secrets { keys, sealer, first } = secrets;
    let entry =
        Entry::new(config.clone(), web_address.clone(), keys, sealer, store.clone(), calls.clone(), eim.clone());
    let media::Local { router: call_gateway, links, pulls } =
        media::embedded(&config, http_address, &first, &operators(&entry), &mut lifecycle)?;
    let around = Context {
        node: &config.node.id,
        secret: &first,
        own_url: web_address.replacen("https://", "wss://", 1),
        embedded: links,
    };
    let pool = Pool::start(&config.callgw, around, &tracker, &lifecycle.hard())?;
    let (placement, placing) = Placement::new(pool.clone(), store.clone());

    let (tell_store, store_health) = watch::channel(Health::up());
    let (tell_gateways, gateways_health) = watch::channel(Health::up());
    let parts = [("eim", eim.health()), ("store", store_health.clone()), ("callgw", gateways_health)];
    let door = Arc::new(Door {
        parts: parts.clone(),
        counters: Counters::new(&schema),
        budget: Budget::per_minute(config.limits.requests_per_minute),
        failed_logins: FailedLogins::default(),
        rates: Rates::new(&config.limits),
        schema,
        config: config.clone(),
        entry: entry.clone(),
        conferences: conferences.clone(),
        sockets: sockets.clone(),
        calls: calls.clone(),
        eim: eim.clone(),
        pool: pool.clone(),
        placement,
        store: store.clone(),
        draining: lifecycle.soft(),
    });

    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    lifecycle.wire("store", until(hard.clone(), tasks::watch_store(store.clone(), tell_store)));
    lifecycle.wire(
        "events",
        until(
            hard.clone(),
            tasks::handle_inbound(inbound, conferences.clone(), sockets.clone(), entry.clone(), tracker.clone()),
        ),
    );
    lifecycle.wire("happenings", until(hard.clone(), follow_ups::take(news.happenings, entry.clone())));
    lifecycle.wire("placement", until(hard.clone(), placing.run(news.rights, conferences.clone())));
    lifecycle.wire("ended families", until(hard.clone(), tasks::poll_ended(entry.clone())));
    lifecycle.wire("revocations", until(hard.clone(), tasks::revoke(entry.clone(), pool.clone())));
    lifecycle.wire(
        "collector",
        until(hard.clone(), tasks::collect(entry.clone(), conferences.clone(), config.limits.guest_idle)),
    );
    lifecycle.wire("gateways", until(hard.clone(), tasks::watch_gateways(pool.clone(), tell_gateways)));
    for (part, health) in parts {
        lifecycle.wire("health", until(hard.clone(), tasks::notify_health(part, health, sockets.clone())));
    }
    lifecycle.door("sockets", tasks::drain_sockets(sockets, soft.clone(), config.limits.drain));
    let ready = readiness(store_health, &eim, &conferences, &pool, &soft);
    lifecycle.wire("admin", serve_admin(admin, ready, metrics, pulls, hard.clone()));
    lifecycle.door("http", serve_http(http, routes::router(door.clone()).merge(call_gateway), soft, hard));

    tracing::info!(http = %http_address, admin = %admin_address, "listening");
    lifecycle.wire("start", tasks::after_start(door, demonstrate, lifecycle.hard()));
    Ok(lifecycle.run().await)
}

/// Whose access tokens are operators'.
fn operators(entry: &Entry) -> Operators {
    let entry = entry.clone();
    Arc::new(move |token| entry.authenticate(token).is_ok_and(|caller| caller.can(Scope::Operator)))
}

/// With the last connection's end SQLite moves the log into the database's file and removes it: then one file holds all.
async fn close(store: &Store) {
    if timeout(STORE_CLOSE, store.close()).await.is_err() {
        tracing::info!("the store was in use until the end; its log is kept beside it");
    }
}

/// The store under this node's lease: whoever takes the node's name over fences our writes off, and we end.
async fn leased(config: &Config, store: Store, lifecycle: &mut Lifecycle) -> Result<Store, Failure> {
    store.resume_time_line().await?;
    let ttl = config.node.lease;
    let lease = store.acquire_lease(&config.node.id, Moment::now(), ttl).await?;
    if lease.took_over {
        tracing::info!(node = lease.node_id, "the process before this one ended without letting go of its lease");
    }
    let (leased, hard) = (store.under(&lease), lifecycle.hard());
    lifecycle.wire("clock", tasks::keep_line(leased.clone(), hard.clone()));
    lifecycle.wire("lease", async move {
        let mut tick = interval(ttl / 3);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => match store.renew_lease(&lease, Moment::now(), ttl).await {
                    Err(StoreError::Fenced) => return Err(StoreError::Fenced.into()),
                    Err(error) => tracing::warn!(%error, "the node's lease could not be renewed yet"),
                    Ok(()) => {}
                },
                () = hard.cancelled() => {
                    store.release_lease(&lease, Moment::now()).await?;
                    return Ok(());
                }
            }
        }
    });
    Ok(leased)
}

/// Runs the built-in EIM as components of an XMPP server.
pub async fn serve_eim(config: Config) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;
    let _claim = NodeLock::take(&config.store, NodeRole::Eim, &format!("the XMPP server {}", config.eim.host()))?;
    let store = Store::open(&config.store).await?;
    let outcome = run_eim(&config, &store, lifecycle).await;
    close(&store).await;
    outcome
}

async fn run_eim(config: &Config, store: &Store, mut lifecycle: Lifecycle) -> Result<Outcome, Failure> {
    store.resume_time_line().await?;
    let hard = lifecycle.hard();
    lifecycle.wire("clock", tasks::keep_line(store.clone(), hard.clone()));
    let (eim, disk) = (builtin_eim(config, store).await?, keeping(store));
    let server = builtin_eim::runtime::ComponentSettings {
        host: config.eim.host().to_owned(),
        port: config.eim.port(),
        secret: config.eim.secret.clone().unwrap_or_default(),
        timeout: config.eim.timeout,
        reconnect_min: config.eim.reconnect_min,
        reconnect_max: config.eim.reconnect_max,
        keepalive: config.eim.keepalive,
    };
    lifecycle.wire("eim", async move {
        builtin_eim::runtime::serve_components(eim, server, disk, hard).await;
        Ok(())
    });
    Ok(lifecycle.run().await)
}

async fn serve_http(
    http: HttpDoor,
    router: axum::Router,
    soft: CancellationToken,
    hard: CancellationToken,
) -> Result<(), Failure> {
    http.serve(router, soft, hard).await;
    Ok(())
}

/// On a thread of its own: whatever else keeps this process busy, it says whether it lives, and how it is.
async fn serve_admin(
    admin: Admin,
    readiness: ReadinessSource,
    metrics: PrometheusHandle,
    more: axum::Router,
    hard: CancellationToken,
) -> Result<(), Failure> {
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(admin.serve(readiness, metrics, more, hard)));
        // Nobody waits any more where the process ends at once.
        tell.send(served).ok();
    })?;
    Ok(ended.await??)
}

/// A wire's work, which ends at the hard stop.
async fn until(hard: CancellationToken, work: impl Future<Output = ()>) -> Result<(), Failure> {
    hard.run_until_cancelled(work).await;
    Ok(())
}

/// What `/readyz` names: the store, the EIM and each of its addresses, its events, each call gateway.
fn readiness(
    store: watch::Receiver<Health>,
    eim: &Eim,
    conferences: &Conferences,
    pool: &Pool,
    soft: &CancellationToken,
) -> ReadinessSource {
    let (eim, conferences, pool, soft) = (eim.clone(), conferences.clone(), pool.clone(), soft.clone());
    let (health, started) = (eim.health(), date_ms());
    let part = |name: &str, state: PartState, since: u64, reason: String| Part {
        name: name.to_owned(),
        state,
        since,
        vital: name == "store",
        reason,
    };
    let state = |up: bool| if up { PartState::Up } else { PartState::Down };
    Arc::new(move || {
        let (link, kept) = (health.borrow().clone(), store.borrow().clone());
        let mut parts = vec![part("store", state(kept.up), kept.since_ms, kept.why)];
        parts.push(part("eim", state(link.up), link.since_ms, link.why));
        for address in eim.reach() {
            let now = address.here.map_or(PartState::Starting, state);
            parts.push(part(&format!("eim.{}", address.name), now, address.since_ms, address.why));
        }
        let refused = conferences.refused_since();
        let why = refused.map(|(_, conferences)| format!("subscriptions are refused in {conferences} conferences"));
        let since = refused.map_or(started, |(since, _)| since);
        parts.push(part("events", state(refused.is_none()), since, why.unwrap_or_default()));
        for gateway in pool.reports() {
            let NodeStatus { since, reason, .. } = gateway.standing;
            let up = gateway.standing.fault.is_none();
            parts.push(part(&format!("callgw.{}", gateway.id), state(up), since, reason.unwrap_or_default()));
        }
        Readiness { phase: if soft.is_cancelled() { Phase::Draining } else { Phase::Serving }, parts }
    })
}

/// The link to the EIM; in the embedded default also the EIM, behind in-process streams.
async fn start_eim(
    config: &Config,
    schema: &Schema,
    store: &Store,
    lifecycle: &mut Lifecycle,
    tracker: &TaskTracker,
) -> Result<(Eim, mpsc::Receiver<Inbound>), Failure> {
    let asked_at = schema.addresses(&config.eim.domain);
    let mut settings = crate::eim::settings::EimConfig::from(&config.eim).asking_at(asked_at);
    if config.eim.mode != EimMode::Builtin {
        return Ok(Eim::start(&settings, None, tracker, lifecycle.hard())?);
    }
    // Under the lease only: whoever held it before may have written until then.
    let eim = builtin_eim(config, store).await?;
    let secret = Secret::new(random_text(32));
    (settings.secret, settings.admin_secret) = (secret.clone(), secret.clone());
    let (connect, connections) = mpsc::channel(IN_PROCESS_CONNECTIONS);
    let domains = [Some(settings.component.clone()), settings.admin_domain.clone()];
    let secrets = domains.into_iter().flatten().map(|domain| (domain, secret.clone())).collect();
    let (disk, hard) = (keeping(store), lifecycle.hard());
    lifecycle.wire("built-in EIM", async move {
        builtin_eim::runtime::serve_in_process(eim, connections, secrets, disk, hard).await;
        Ok(())
    });
    Ok(Eim::start(&settings, Some(InProcess { connect }), tracker, lifecycle.hard())?)
}

/// The built-in EIM as it was left.
async fn builtin_eim(config: &Config, store: &Store) -> Result<builtin_eim::Eim, Failure> {
    let users = config.eim.users.iter().map(|user| builtin_eim::ConfiguredUser {
        user_id: user.user_id.to_string(),
        name: user.name.clone(),
        password: user.password.clone(),
        department: user.department.clone(),
        mobile: user.mobile.clone(),
        email: user.email.clone(),
    });
    let settings = builtin_eim::Settings {
        domain: config.eim.domain.clone(),
        components: config.eim.trusted_components(),
        admin_domains: config.eim.provisioning_domain().into_iter().collect(),
        users: users.collect(),
        limits: builtin_eim::Limits {
            conferences: config.limits.conferences,
            conferences_per_user: config.limits.conferences_per_user,
            conference_members: config.limits.conference_members,
            calls: config.limits.calls,
            calls_per_user: config.limits.calls_per_user,
            call_callees: config.limits.call_callees,
            ring_ms: config.limits.ring.as_millis() as u64,
            kick_ms: config.limits.kick.as_millis() as u64,
            ..builtin_eim::Limits::default()
        },
    };
    Ok(builtin_eim::Eim::load(settings, store.documents().await?)?)
}

/// How the built-in EIM keeps what it must.
fn keeping(store: &Store) -> builtin_eim::runtime::Disk {
    let (store, reader) = (store.clone(), store.clone());
    let persist: builtin_eim::runtime::Persist = Arc::new(move |writes| {
        let store = store.clone();
        Box::pin(async move {
            let change = |w: &builtin_eim::Write| (w.kind.to_owned(), w.key.clone(), w.body.clone());
            store.write_documents(writes.iter().map(change).collect()).await.map_err(|error| error.to_string())
        })
    });
    let recall: builtin_eim::runtime::Recall = Arc::new(move || {
        let store = reader.clone();
        Box::pin(async move { store.documents().await.map_err(|error| error.to_string()) })
    });
    builtin_eim::runtime::Disk { persist, recall }
}

fn limits(config: &Config) -> Limits {
    Limits {
        grace_ms: config.limits.grace.as_millis() as u64,
        window_ms: config.limits.resume_window.as_millis() as u64,
        log: config.limits.event_log,
        // Half of the queue: events go on while the other half is replayed.
        replay: config.limits.socket_queue_frames / 2,
        replay_bytes: config.limits.socket_queue_bytes / 2,
        look_ms: config.eim.snapshot_interval.as_millis() as u64,
    }
}

/// Sockets are numbered over restarts. The date alone would not do: the clock may have been set back meanwhile.
async fn first_generation(store: &Store) -> Result<u64, Failure> {
    Ok(store.next_block("generation", date_ms() * 1000, GENERATIONS).await?)
}

/// What signs and seals.
struct Secrets {
    keys: Keys,
    sealer: Sealer,
    first: Secret,
}

/// The signing keys: configured, or made once and kept in the store.
async fn secrets(config: &Config, store: &Store) -> Result<Secrets, Failure> {
    let mut keys: Vec<(String, Secret)> = config.auth.keys.iter().map(|k| (k.id.clone(), k.secret.clone())).collect();
    if keys.is_empty() {
        let made = store.get_or_create("auth.key", || random_text(43)).await?;
        keys.push(("made".into(), Secret::new(made)));
    }
    let all: Vec<Secret> = keys.iter().map(|(_, secret)| secret.clone()).collect();
    let sealer = Sealer::new(&all).ok_or("no key to seal with")?;
    Ok(Secrets { keys: Keys::new(&keys), sealer, first: all[0].clone() })
}

/// What links begin with, and where the documents say that this is served.
pub(crate) fn web_address(config: &Config, listening: std::net::SocketAddr) -> String {
    let origin = config.http.public_url.as_ref().map(|url| url.as_str().to_owned());
    let origin = origin.unwrap_or_else(|| format!("https://{listening}"));
    format!("{origin}{}", config.http.base_path)
}

fn certificate(config: &Config) -> Certificate {
    let http = &config.http;
    match (&http.cert, &http.key) {
        (Some(cert), Some(key)) => Certificate::Files(CertificateFiles { cert: cert.clone(), key: key.clone() }),
        _ => {
            let public = http.public_url.as_ref().and_then(|url| url.as_str().split("://").nth(1).map(str::to_owned));
            let names = [Some(http.listen.ip().to_string()), public].into_iter().flatten().collect();
            Certificate::SelfSigned { dir: "certs".into(), names }
        }
    }
}

fn http_settings(config: &Config) -> Result<HttpSettings, Failure> {
    let (http, certificate) = (&config.http, certificate(config));
    let networks = |list: &[ipnet::IpNet]| Networks::parse(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
    Ok(HttpSettings {
        listen: http.listen.to_string(),
        certificate,
        guard: GuardSettings {
            public_url: http.public_url.as_ref().map(|url| url.as_str().to_owned()),
            allowed_origins: http.allowed_origins.iter().map(|o| o.as_str().to_owned()).collect(),
            connect_urls: config
                .callgw
                .nodes
                .iter()
                .filter_map(|n| n.url.as_ref())
                .map(|u| u.as_str().to_owned())
                .collect(),
        },
        admission: Admission { allowed: networks(&http.allowed_networks)?, denied: networks(&http.denied_networks)? },
        trusted_proxies: networks(&http.trusted_proxies)?,
        connections: u32::try_from(config.limits.connections)?,
        bounds: bounds(&config.limits),
        body_bytes: config.limits.body_bytes as u64,
        timeouts: timeouts(config),
    })
}

fn bounds(limits: &crate::config::Limits) -> Bounds {
    Bounds {
        connects_per_minute: limits.connects_per_minute,
        connections_per_block: limits.connections_of_a_block(),
        sockets_per_block: limits.sockets_per_block,
        bytes_per_connection: limits.held_bytes_per_connection,
        bytes_per_block: limits.held_bytes_per_block,
        bytes: limits.held_bytes,
    }
}

/// The listener's times, as configured.
pub fn timeouts(config: &Config) -> Timeouts {
    let http = &config.http;
    Timeouts {
        tls_handshake: http.tls_handshake_timeout,
        header: config.limits.header_timeout,
        body: http.body_timeout,
        write: config.limits.write_timeout,
        idle: http.idle_timeout,
        ping_interval: http.ping_interval,
        ping: http.ping_timeout,
        certificate_check: CERTIFICATE_CHECK,
    }
}
