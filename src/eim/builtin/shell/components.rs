//! `confgate eim`: the EIM's modules as components of an XMPP server, a connection each.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Eim, Item, MAILBOX, Owner, Routes, Write, carry, domain_of};
use crate::eim::link::Backoff;
use crate::eim::negotiate::{ConnectError, component_client};
use crate::eim::stream::XmppStream;
use crate::eim::xml::Stanza;
use crate::ids::Secret;

/// Where the server is, and how patiently it is spoken to.
#[derive(Debug, Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub secret: Secret,
    /// How long connecting may take.
    pub timeout: Duration,
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
}

/// Serves the EIM at each of its module addresses until `stop`.
pub async fn serve_components<P, F>(eim: Eim, server: Server, persist: P, stop: CancellationToken)
where
    P: FnMut(Vec<Write>) -> F,
    F: Future<Output = Result<(), String>>,
{
    let (mailbox, items) = mpsc::channel(MAILBOX);
    let routes = Routes::default();
    let tasks = TaskTracker::new();
    for domain in eim.module_addresses() {
        let module = Module { domain, server: server.clone(), routes: routes.clone(), mailbox: mailbox.clone() };
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(module.run()).await });
    }
    let route = |stanza: &Stanza| domain_of(stanza.attr("from").unwrap_or_default()).to_owned();
    Owner { eim, persist, route, routes, jobs: JoinSet::new() }.run(items, stop.clone()).await;
    stop.cancelled().await;
    tasks.close();
    tasks.wait().await;
}

/// One module's connection, made again whenever it ends.
struct Module {
    domain: String,
    server: Server,
    routes: Routes,
    mailbox: mpsc::Sender<Item>,
}

impl Module {
    async fn run(self) {
        let mut backoff = Backoff::new(self.server.reconnect_min, self.server.reconnect_max);
        loop {
            let lasting = match self.connect().await {
                Ok(mut stream) => {
                    tracing::info!(domain = self.domain, "module connected");
                    backoff.reset();
                    self.carry(&mut stream).await;
                    false
                }
                Err(error) => {
                    tracing::warn!(domain = self.domain, %error, "module not connected");
                    error.is_lasting()
                }
            };
            let pause = backoff.pause(lasting, rand::random());
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect(&self) -> Result<XmppStream, ConnectError> {
        let Server { host, port, secret, .. } = &self.server;
        let connecting = async {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            component_client(Box::new(socket), &self.domain, secret).await
        };
        let late = |_| ConnectError::Timeout(u64::try_from(self.server.timeout.as_millis()).unwrap_or(u64::MAX));
        timeout(self.server.timeout, connecting).await.map_err(late)?
    }

    async fn carry(&self, stream: &mut XmppStream) {
        let (token, mut outgoing) = self.routes.open(&self.domain);
        let take = async |stanza| {
            // The EIM's task ends only with the program.
            let _ = self.mailbox.send(Item::Stanza(stanza)).await;
        };
        let ended = carry(stream, &mut outgoing, take).await;
        tracing::warn!(domain = self.domain, ?ended, "module's connection has ended");
        self.routes.close(&self.domain, token);
    }
}
