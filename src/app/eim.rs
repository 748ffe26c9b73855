//! The recipe of the EIM's side: the link to it, and the built-in one, in the gateway's process or alone.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use super::{Base, lease, log};
use crate::app::lifecycle::{Failure, Lifecycle, Outcome};
use crate::builtin_eim::{self, runtime};
use crate::config::{Config, EimMode, EimTls};
use crate::eim::amqp::Settings as BrokerSettings;
use crate::eim::amqp::publisher::{Forget, Publisher};
use crate::eim::settings::EimConfig;
use crate::eim::{Eim, Inbound};
use crate::health::Health;
use crate::ids::{Secret, random_text};
use crate::store::{NodeLock, NodeRole, Store};
use crate::xmpp::dial::InProcess;
use crate::xmpp::negotiate::tls::Tls;

/// Connections to the built-in EIM that wait to be taken: there are two, each with one attempt at a time.
const IN_PROCESS_CONNECTIONS: usize = 4;

/// The link to the EIM; in the embedded default also the EIM, behind in-process streams; in mode `muc` the health of the
/// MUC rooms beside it.
pub(super) async fn start(
    base: &Base,
    lifecycle: &mut Lifecycle,
    tracker: &TaskTracker,
) -> Result<(Eim, mpsc::Receiver<Inbound>, Option<watch::Receiver<Health>>), Failure> {
    let Base { config, schema, store } = base;
    let mut settings = EimConfig::new(&config.eim, schema);
    if !config.eim.mode.is_embedded() {
        let (eim, inbound) = Eim::start(&settings, None, tracker, lifecycle.hard())?;
        return Ok((eim, inbound, None));
    }
    // Under the lease only: whoever held it before may have written until then.
    let store = &lease::hold_eim(store, config.node.lease, lifecycle).await?;
    let eim = load_builtin(config, store).await?;
    let secret = Secret::new(random_text(32));
    (settings.secret, settings.admin_secret) = (secret.clone(), secret.clone());
    let (connect, connections) = mpsc::channel(IN_PROCESS_CONNECTIONS);
    let domains = [Some(settings.component.clone()), settings.admin_domain.clone()];
    let secrets = domains.into_iter().flatten().map(|domain| (domain, secret.clone())).collect();
    let (disk, hard) = (disk(store), lifecycle.hard());
    let (rooms, health) = rooms(config)?.unzip();
    lifecycle.wire("built-in EIM", async move {
        match rooms {
            None => runtime::serve_in_process(eim, connections, secrets, disk, hard).await,
            Some(rooms) => runtime::serve_with_rooms(eim, connections, secrets, disk, rooms, hard).await,
        }
        Ok(())
    });
    let (eim, inbound) = Eim::start(&settings, Some(InProcess { connect }), tracker, lifecycle.hard())?;
    Ok((eim, inbound, health))
}

/// The MUC rooms of mode `muc`, and how they are.
fn rooms(config: &Config) -> Result<Option<(runtime::Rooms, watch::Receiver<Health>)>, String> {
    if config.eim.mode != EimMode::Muc {
        return Ok(None);
    }
    let (health_sender, health) = watch::channel(Health::down("not connected yet"));
    let server = muc_server(config)?;
    let rooms = runtime::Rooms { settings: builtin_eim::MucSettings::from(config), server, health: health_sender };
    Ok(Some((rooms, health)))
}

/// The server of mode `muc`, as a component connects to it.
fn muc_server(config: &Config) -> Result<runtime::ComponentSettings, String> {
    let eim = &config.eim;
    let ca = eim.ca.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let tls = match eim.tls {
        EimTls::Direct => Some((Tls::load(&ca, false)?, eim.domain.clone())),
        _ => None,
    };
    Ok(runtime::ComponentSettings { tls, ..runtime::ComponentSettings::from(eim) })
}

/// Runs the built-in EIM as components of an XMPP server.
pub async fn serve_eim(config: Config) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;
    let at = format!("the XMPP server {}", config.eim.host());
    let _claim = NodeLock::take(&config.store, NodeRole::Eim, &at).await?;
    let store = Store::open(&config.store).await?;
    let outcome = run(&config, &store, lifecycle).await;
    lease::close(&store).await;
    outcome
}

async fn run(config: &Config, store: &Store, mut lifecycle: Lifecycle) -> Result<Outcome, Failure> {
    store.resume_time_line().await?;
    let hard = lifecycle.hard();
    lifecycle.wire("clock", lease::keep_line(store.clone(), hard.clone()));
    let store = &lease::hold_eim(store, config.node.lease, &mut lifecycle).await?;
    let (eim, disk) = (load_builtin(config, store).await?, disk(store));
    let server = runtime::ComponentSettings::from(&config.eim);
    let publisher = BrokerSettings::of(&config.events).map(|broker| {
        let (sender, queue) = mpsc::channel(runtime::UNPUBLISHED_MAX);
        let published = Publisher::run(broker, queue, forget(&disk), lifecycle.hard());
        lifecycle.wire("publisher", async move {
            published.await;
            Ok(())
        });
        sender
    });
    lifecycle.wire("eim", async move {
        runtime::serve_components(eim, server, disk, publisher, hard).await;
        Ok(())
    });
    Ok(lifecycle.run().await)
}

/// Makes a room at the MUC service and destroys it: for `confgate check`.
///
/// # Errors
/// What the server refuses, or what in the configuration can't work.
pub async fn try_rooms(config: &Config) -> Result<String, String> {
    let room = format!("confgate-check-{}", random_text(16).to_ascii_lowercase());
    let settings = builtin_eim::MucSettings::from(config);
    runtime::try_rooms(settings, &muc_server(config)?, &room).await
}

/// How publications are deleted that the broker has.
fn forget(disk: &runtime::Disk) -> Forget {
    let persist = Arc::clone(&disk.persist);
    Arc::new(move |numbers| persist(numbers.into_iter().map(builtin_eim::Write::published).collect()))
}

/// The built-in EIM as it was left.
pub(super) async fn load_builtin(config: &Config, store: &Store) -> Result<builtin_eim::Eim, Failure> {
    Ok(builtin_eim::Eim::load(builtin_eim::Settings::from(config), store.documents().await?)?)
}

/// How the built-in EIM keeps what it must.
fn disk(store: &Store) -> runtime::Disk {
    let (store, reader) = (store.clone(), store.clone());
    let persist: runtime::Persist = Arc::new(move |writes| {
        let store = store.clone();
        Box::pin(async move {
            let change = |w: &builtin_eim::Write| (w.kind.to_owned(), w.key.clone(), w.body.clone());
            store.write_documents(writes.iter().map(change).collect()).await.map_err(|error| error.to_string())
        })
    });
    let recall: runtime::Recall = Arc::new(move || {
        let store = reader.clone();
        Box::pin(async move { store.documents().await.map_err(|error| error.to_string()) })
    });
    runtime::Disk { persist, recall }
}
