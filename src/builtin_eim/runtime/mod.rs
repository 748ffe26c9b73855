//! The built-in EIM's shell: streams, a clock and a disk round the pure core.
//!
//! One task, the worker, owns the [`Eim`]; each connection has a task that owns its stream. All stanzas go through the
//! worker's mailbox and come out of it in the order in which they were handled, and only after the writes that they
//! tell of are durable: whatever came in while one transaction was under way goes into the next. What can't be made
//! durable is undone, by reading everything anew, and refused; reading goes on meanwhile. Events for a broker go into a
//! queue once they are durable; what the store still has of them at a start goes first.
//!
//! Two ways in: [`serve_in_process`] plays the server of XEP-0114 for the gateway's own links, [`serve_components`]
//! connects a component for each of the EIM's addresses to a real XMPP server.

mod components;
mod disk;
mod link;
mod mirror;
mod publisher_queue;
mod rooms;
mod rooms_probe;
mod routes;
mod server;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Eim;
use super::muc::{Bridge, MucSettings};
use crate::config;
use crate::event::Publication;
use crate::health::Health;
use crate::ids::Secret;
use crate::xmpp::dial::Endpoint;
use crate::xmpp::negotiate::tls::Tls;
use components::{Component, ComponentRole};
pub use disk::{Disk, Persist, Recall};
use publisher_queue::PublisherQueue;
pub use publisher_queue::UNPUBLISHED_MAX;
pub use rooms_probe::try_rooms;
use routes::Routing;
use worker::{Routes, Worker};

/// The server that `confgate eim` connects to.
#[derive(Clone)]
pub struct ComponentSettings {
    /// The XMPP server's host and its port for components.
    pub host: String,
    /// The server's port for components.
    pub port: u16,
    /// The same for all addresses of the EIM.
    pub secret: Secret,
    /// For connecting and the handshake.
    pub timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// After so long without a word from the server it is pinged, and given up after as long again.
    pub keepalive: Duration,
    /// TLS from the first byte, with the name that the certificate must bear.
    pub tls: Option<(Tls, String)>,
}

impl From<&config::Eim> for ComponentSettings {
    fn from(eim: &config::Eim) -> Self {
        Self {
            host: eim.host().to_owned(),
            port: eim.port(),
            secret: eim.secret.clone().unwrap_or_default(),
            timeout: eim.timeout,
            reconnect_min: eim.reconnect_min,
            reconnect_max: eim.reconnect_max,
            keepalive: eim.keepalive,
            tls: None,
        }
    }
}

/// Serves components over in-process pipes until told to stop, and returns when everything under way is done.
///
/// `secrets` names the component domains that are let in, each with its secret; a stanza from another domain than the
/// component's own ends its stream. A component that connects again takes over from its old connection. Stanzas go to
/// the EIM where it is at the address, else to the component there.
///
/// Each pipe that comes out of `listener` is one connection; a closed `listener` only means that no more will come.
pub async fn serve_in_process(
    eim: Eim,
    listener: mpsc::Receiver<DuplexStream>,
    secrets: BTreeMap<String, Secret>,
    disk: Disk,
    stop: CancellationToken,
) {
    serve_both(eim, listener, secrets, disk, None, stop).await;
}

/// The MUC rooms of a real XMPP server that mirror the conferences.
pub struct Rooms {
    /// Whose rooms and users they are.
    pub settings: MucSettings,
    /// The server.
    pub server: ComponentSettings,
    /// Told how the rooms are.
    pub health: watch::Sender<Health>,
}

/// As [`serve_in_process`], and mirrors the conferences in the MUC rooms of a server.
pub async fn serve_with_rooms(
    eim: Eim,
    listener: mpsc::Receiver<DuplexStream>,
    secrets: BTreeMap<String, Secret>,
    disk: Disk,
    rooms: Rooms,
    stop: CancellationToken,
) {
    serve_both(eim.mirrored(), listener, secrets, disk, Some(rooms), stop).await;
}

async fn serve_both(
    eim: Eim,
    listener: mpsc::Receiver<DuplexStream>,
    secrets: BTreeMap<String, Secret>,
    disk: Disk,
    rooms: Option<Rooms>,
    stop: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let domain = eim.domain().to_owned();
    let (mut worker, inbox) = Worker::new(eim, Routes::ByRecipient, disk, PublisherQueue::new(None), tracker.clone());
    if let Some(Rooms { settings, server, health }) = rooms {
        let endpoint = Endpoint::Tcp { host: server.host.clone(), port: server.port };
        let component = Component::new(settings.component.clone(), domain, endpoint, &server, ComponentRole::Rooms);
        tracker.spawn(component.run(inbox.clone(), stop.clone()));
        worker.mirror = Some(rooms::Mirror { bridge: Bridge::new(settings), health });
    }
    tracker.spawn(server::accept(listener, Arc::new(secrets), inbox, tracker.clone(), stop.clone()));
    worker.run(stop).await;
    tracker.close();
    tracker.wait().await;
}

/// Serves at the EIM's addresses on a real XMPP server until told to stop, and returns when everything under way is
/// done. A connection that breaks or is refused is made again, with jittered pauses; what was to go over it meanwhile
/// is lost, as on any XMPP server, and the gateways ask for a snapshot.
///
/// `publisher` gets the events of [`EventDelivery::Publications`](super::EventDelivery), each by its number, and deletes
/// its document by [`Write::published`](super::Write::published). Its queue holds [`UNPUBLISHED_MAX`].
pub async fn serve_components(
    eim: Eim,
    settings: ComponentSettings,
    disk: Disk,
    publisher: Option<mpsc::Sender<Publication>>,
    stop: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let (addresses, domain): (Vec<String>, _) = (eim.module_addresses().collect(), eim.domain().to_owned());
    let (worker, inbox) = Worker::new(eim, Routes::BySender, disk, PublisherQueue::new(publisher), tracker.clone());
    let endpoint = Endpoint::Tcp { host: settings.host.clone(), port: settings.port };
    let routing = Routing::new(&addresses);
    for (at, address) in addresses.into_iter().enumerate() {
        let role = match &routing {
            Some(routing) if at == 0 => ComponentRole::First(routing.clone()),
            Some(routing) => ComponentRole::Other(routing.known()),
            None => break,
        };
        let component = Component::new(address, domain.clone(), endpoint.clone(), &settings, role);
        tracker.spawn(component.run(inbox.clone(), stop.clone()));
    }
    drop(inbox);
    worker.run(stop).await;
    tracker.close();
    tracker.wait().await;
}

#[cfg(test)]
mod tests;
