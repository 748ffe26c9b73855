//! The embedded default: components connect over in-process pipes, on which the shell plays the server's side of
//! XEP-0114.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Eim, Item, MAILBOX, Owner, Routes, Write, carry, domain_of};
use crate::eim::answer::error;
use crate::eim::negotiate::component_server;
use crate::eim::xml::Stanza;
use crate::ids::Secret;
use tokio::task::JoinSet;

/// What every connection knows.
struct Server {
    /// Who may connect.
    components: HashSet<String>,
    secret: Secret,
    /// Where the EIM itself is.
    eim: HashSet<String>,
    routes: Routes,
    mailbox: mpsc::Sender<Item>,
}

/// Serves components that come over `connections` until `stop`: each of `components` with `secret`.
pub async fn serve_in_process<P, F>(
    eim: Eim,
    components: Vec<String>,
    secret: Secret,
    mut connections: mpsc::Receiver<DuplexStream>,
    persist: P,
    stop: CancellationToken,
) where
    P: FnMut(Vec<Write>) -> F,
    F: Future<Output = Result<(), String>>,
{
    let (mailbox, items) = mpsc::channel(MAILBOX);
    let routes = Routes::default();
    let addresses = eim.module_addresses().chain([eim.domain().to_owned()]).collect();
    let components = components.into_iter().collect();
    let server = Arc::new(Server { components, secret, eim: addresses, routes: routes.clone(), mailbox });
    let route = |stanza: &Stanza| domain_of(stanza.attr("to").unwrap_or_default()).to_owned();
    let owner = Owner { eim, persist, route, routes, jobs: JoinSet::new() };
    let tasks = TaskTracker::new();
    let accepting = async {
        while let Some(pipe) = connections.recv().await {
            let (server, stop) = (server.clone(), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(server.serve(pipe)).await });
        }
    };
    tokio::select! {
        () = owner.run(items, stop.clone()) => {}
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    tasks.close();
    stop.cancelled().await;
    tasks.wait().await;
}

impl Server {
    async fn serve(&self, pipe: DuplexStream) {
        let secret_of = |domain: &str| self.components.contains(domain).then(|| self.secret.clone());
        let (mut stream, domain) = match component_server(Box::new(pipe), secret_of).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "a component was refused");
                return;
            }
        };
        let (token, mut outgoing) = self.routes.open(&domain);
        let ended = carry(&mut stream, &mut outgoing, |stanza| self.deliver(&domain, stanza)).await;
        tracing::debug!(domain, ?ended, "a component's connection has ended");
        self.routes.close(&domain, token);
    }

    /// What a server does with a component's stanza: vouch for its sender and bring it where it is addressed to.
    async fn deliver(&self, from: &str, stanza: Stanza) {
        let own = stanza.attr("from").is_some_and(|sender| domain_of(sender) == from);
        let to = domain_of(stanza.attr("to").unwrap_or_default()).to_owned();
        if own && self.eim.contains(&to) {
            // The EIM's task ends only with the program.
            let _ = self.mailbox.send(Item::Stanza(stanza)).await;
        } else if own && self.routes.knows(&to) {
            self.routes.send(&to, stanza).await;
        } else if stanza.name == "iq" && matches!(stanza.attr("type"), Some("get" | "set")) {
            let condition = if own { "service-unavailable" } else { "not-allowed" };
            self.routes.send(from, error(&stanza, "cancel", condition)).await;
        }
    }
}
