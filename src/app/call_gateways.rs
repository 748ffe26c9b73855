//! The call gateways of a gateway node: its own, those that are configured, and those that other gateway nodes on the
//! store have registered.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio_util::task::TaskTracker;

use super::media;
use crate::app::lifecycle::{Failure, Lifecycle};
use crate::auth::AuthService;
use crate::callgw::{Context, Pool, RegisteredNode};
use crate::config::{Config, Scope};
use crate::http::{Certificate, Neighbours};
use crate::ids::Secret;
use crate::media::pull;
use crate::placement::{self, Observer, OwnGateways, Placement, Register, SigningKeys};
use crate::signaling::Operators;
use crate::store::Store;

/// What of the process they need.
pub(super) struct Process {
    /// The listener's address.
    pub http: SocketAddr,
    pub neighbours: Neighbours,
    pub tracker: TaskTracker,
}

/// The routes of this process's call gateway nodes.
pub(super) struct Routers {
    pub call_gateway: Router,
    /// The operators' listener has these.
    pub pulls: Router,
}

impl Routers {
    /// With that route beside the call gateway's.
    pub(super) fn beside(self, route: axum::Router) -> Self {
        Self { call_gateway: self.call_gateway.merge(route), ..self }
    }
}

/// Starts this process's own, makes the pool, and enters our own in the register: before any conference is placed.
pub(super) async fn start(
    config: &Config,
    first: &Secret,
    auth: &AuthService,
    store: &Store,
    process: Process,
    lifecycle: &mut Lifecycle,
) -> Result<(Pool, Placement, placement::Task, Routers), Failure> {
    let Process { http, neighbours, tracker } = process;
    let targets = pull::Registered::default();
    let local = media::embedded(config, http, first, &operators(auth), targets.clone(), lifecycle)?;
    let own = own(config, http)?;
    // All leases may have run out while the store was away; they are renewed at a third.
    let grace = config.node.lease * 2 / 3;
    let own_url = own_url(config, http);
    let context = Context { node: &config.node.id, secret: first, own_url, embedded: local.links, grace };
    let pool = Pool::start(&config.callgw, context, &tracker, &lifecycle.hard())?;
    let observer = observer(neighbours, targets);
    let register = Register::new(own, signing_keys(config, first), pool.clone(), store.clone(), observer);
    register.enter().await?;
    let register = Arc::new(register);
    let (leaving, hard) = (register.clone(), lifecycle.hard());
    lifecycle.wire("register", async move {
        hard.cancelled().await;
        leaving.leave().await;
        Ok(())
    });
    let (placement, placing) = Placement::new(pool.clone(), store.clone(), register);
    Ok((pool, placement, placing, Routers { call_gateway: local.router, pulls: local.pulls }))
}

/// The first part of our own call gateways' addresses, as browsers reach them.
pub(super) fn own_url(config: &Config, http: SocketAddr) -> String {
    let of_pages = || config.http.web_address(http).replacen("https://", "wss://", 1);
    config.callgw.own_url.as_ref().map_or_else(of_pages, |url| url.as_str().trim_end_matches('/').to_owned())
}

fn own(config: &Config, http: SocketAddr) -> Result<OwnGateways, Failure> {
    let (prefix, public) = (own_url(config, http), config.http.public_url.as_ref());
    let local = config.callgw.nodes.iter().filter(|node| node.is_local());
    Ok(OwnGateways {
        node: config.node.id.clone(),
        gateways: local
            .map(|node| {
                let own = node.url.as_ref().map(ToString::to_string);
                (node.clone(), own.unwrap_or_else(|| format!("{prefix}{}", node.path())))
            })
            .collect(),
        origin: public.map_or_else(|| format!("https://{http}"), |url| url.as_str().to_owned()),
        certificate: Certificate::from(&config.http).files()?.cert,
    })
}

fn signing_keys(config: &Config, first: &Secret) -> SigningKeys {
    let configured: Vec<_> = config.auth.keys.iter().map(|key| (key.id.clone(), key.secret.clone())).collect();
    // Where none is configured, the store's own.
    let keys = if configured.is_empty() { vec![("made".to_owned(), first.clone())] } else { configured };
    SigningKeys::new(keys).expect("there is one")
}

/// Lets pages of other gateway nodes use our call gateways, and ours theirs; and streams be pulled from there.
fn observer(neighbours: Neighbours, targets: pull::Registered) -> Observer {
    Box::new(move |nodes: &[RegisteredNode]| {
        neighbours.set(nodes.iter().map(|node| node.origin.as_str()), nodes.iter().map(|node| node.url.as_str()));
        let known = |node: &RegisteredNode| {
            let (url, secret, pins) = (node.url.parse().ok()?, node.secret.clone(), node.pins.clone());
            Some(pull::Known { id: node.id.clone(), url, secret, pins })
        };
        targets.set(nodes.iter().filter_map(known).collect());
    })
}

/// Whether an access token is an operator's.
fn operators(auth: &AuthService) -> Operators {
    let auth = auth.clone();
    Arc::new(move |token| auth.authenticate(token).is_ok_and(|caller| caller.can(Scope::Operator)))
}
