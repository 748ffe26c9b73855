//! The recipe of a call gateway node: in the gateway's process, or alone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use super::listeners::{media_readiness, serve_admin, serve_http};
use super::{figures, log};
use crate::admin::{self, Admin, AdminSettings};
use crate::app::lifecycle::{Failure, Lifecycle, Outcome};
use crate::callgw::Embedded;
use crate::config::{CallNode, Config, NodeKind};
use crate::http::{Certificate, HttpServer, HttpSettings, routed};
use crate::ids::Secret;
use crate::media::{Backend, Ends, Node, Settings, Tokens, pull};
use crate::signaling::{self, Operators};

/// How long calls go on after the soft stop of a process that is gateway and node in one: as long as its event sockets.
const EMBEDDED_DRAIN: Duration = Duration::from_secs(2);

/// The nodes whose signalling is this process's.
pub(super) struct Local {
    pub router: Router,
    /// The pool's side of each node's link, by the node's id.
    pub links: HashMap<String, Embedded>,
    /// The operators' requests to the node whose media is this process's.
    pub pulls: Router,
}

/// The settings that all nodes of a process share.
struct Process<'a> {
    config: &'a Config,
    http: SocketAddr,
    drain: Duration,
    operators: Operators,
    /// Nodes of other gateways that streams may be pulled from.
    registered: pull::Registered,
}

/// The nodes of this process: the one whose media it carries, and those in front of other media servers.
pub(super) fn embedded(
    config: &Config,
    http: SocketAddr,
    own_secret: &Secret,
    operators: &Operators,
    registered: pull::Registered,
    lifecycle: &mut Lifecycle,
) -> Result<Local, Failure> {
    let drain = EMBEDDED_DRAIN.min(config.limits.drain);
    let process = Process { config, http, drain, operators: operators.clone(), registered };
    let mut local = Local { router: Router::new(), links: HashMap::new(), pulls: Router::new() };
    for node in config.callgw.nodes.iter().filter(|node| node.is_local()) {
        let secret = node.secret.as_ref().unwrap_or(own_secret);
        let (router, pulls, Ends { commands, messages }) = process.start(node, secret, lifecycle)?;
        local.router = local.router.merge(router);
        local.pulls = local.pulls.merge(pulls);
        local.links.insert(node.id.clone(), Embedded { commands, messages });
    }
    Ok(local)
}

/// Runs only a call gateway node.
pub async fn serve_media(config: Config) -> Result<Outcome, Failure> {
    log::init(&config.log, std::env::var("RUST_LOG").ok().as_deref())?;
    let metrics = figures::record()?;
    let mut lifecycle = Lifecycle::new(config.limits.drain);
    lifecycle.listen_to_signals()?;
    let http = HttpServer::open(HttpSettings::from(&config)).await?;
    let admin = Admin::open(AdminSettings::from(&config.admin)).await?;
    let (http_address, admin_address) = (http.address(), admin.address());

    let node = config.callgw.builtin().ok_or("no node of kind \"builtin\"")?;
    let secret = node.secret.as_ref().ok_or("a node without a secret")?;
    // Gateways come over control links only.
    let admin_token = config.admin.token.clone();
    let operators: Operators = Arc::new(move |shown| admin_token.as_ref().is_some_and(|token| token.matches(shown)));
    // The register is in the store, which a gateway has.
    let registered = pull::Registered::default();
    let process = Process { config: &config, http: http_address, drain: config.limits.drain, operators, registered };
    let (router, pulls, _ends) = process.start(node, secret, &mut lifecycle)?;
    let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
    let ready = media_readiness(soft.clone());
    lifecycle.wire("admin", serve_admin(admin, ready, metrics, http.accounts(), pulls, hard.clone()));
    lifecycle.listener("http", serve_http(http, routed(router), soft, hard));
    tracing::info!(http = %http_address, admin = %admin_address, node = node.id, "listening");
    Ok(lifecycle.run().await)
}

impl Process<'_> {
    /// Starts the node's task and makes its routes: clients' and gateways', and the operators'.
    fn start(
        &self,
        node: &CallNode,
        secret: &Secret,
        lifecycle: &mut Lifecycle,
    ) -> Result<(Router, Router, Ends), Failure> {
        let config = self.config;
        let path = format!("{}{}", config.http.base_path.as_str(), node.path());
        let certificate = Certificate::from(&config.http).files()?.cert;
        let pulls = pull::Settings::new(config, node, secret, &certificate, &path, self.registered.clone())?;
        let settings = Settings::new(config, node, self.drain);
        let (task, media, ends) = Node::start(settings, Backend::start(config, node)?, pulls);
        if config.callgw.open {
            tracing::warn!(http = %self.http, "callgw.open: anybody may hold calls here, in rooms apart from every conference's");
        }
        let (soft, hard) = (lifecycle.soft(), lifecycle.hard());
        lifecycle.listener("call gateway", async move {
            task.run(soft, hard).await;
            Ok(())
        });
        let own = node.kind == NodeKind::Builtin;
        let pulls = if own { admin::pull_router(media.clone()) } else { Router::new() };
        let settings = signaling::Settings::new(config, self.operators.clone());
        let router = signaling::router(media, Tokens::new(&node.id, secret), settings, &path, own);
        Ok((router, pulls, ends))
    }
}
