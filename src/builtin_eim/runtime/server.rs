//! The server's side of XEP-0114, over in-process pipes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{Link, LinkPeer};
use super::worker::Inbound;
use crate::ids::Secret;
use crate::xmpp::negotiate::component_server;

/// How long a component may take to prove itself.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Lets components in, a task for each.
pub(super) async fn accept(
    mut listener: mpsc::Receiver<DuplexStream>,
    secrets: Arc<BTreeMap<String, Secret>>,
    inbox: mpsc::Sender<Inbound>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    while let Some(Some(pipe)) = stop.run_until_cancelled(listener.recv()).await {
        tracker.spawn(serve(pipe, Arc::clone(&secrets), inbox.clone(), stop.clone()));
    }
}

async fn serve(
    pipe: DuplexStream,
    secrets: Arc<BTreeMap<String, Secret>>,
    inbox: mpsc::Sender<Inbound>,
    stop: CancellationToken,
) {
    let proof = timeout(HANDSHAKE, component_server(Box::new(pipe), |domain| secrets.get(domain).cloned()));
    match stop.run_until_cancelled(proof).await {
        Some(Ok(Ok((stream, domain)))) => {
            tracing::debug!(domain, "a component is connected to the built-in EIM");
            let end = Link::serve(stream, LinkPeer::Component { domain: domain.clone() }, inbox).await;
            tracing::debug!(domain, why = %end, "a component has left the built-in EIM");
        }
        Some(Ok(Err(why))) => tracing::warn!(%why, "a component was not let in to the built-in EIM"),
        Some(Err(_)) => tracing::warn!("a component didn't prove itself to the built-in EIM in time"),
        None => {}
    }
}
