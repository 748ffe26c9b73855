//! The call gateways: which there are, which of them live, and what admits a guest to one.

mod probe;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::event::Role;
use crate::ids::{ConfId, Secret, UserId, now_ms};
use crate::token::{CallGatewayClaims, Kind, KindKeys};

/// Most users whose last gateway is remembered: it only decides which address they are told first.
const REMEMBERED: usize = 65_536;

/// A call gateway as configured, with what probing it showed.
struct Node {
    id: String,
    kind: config::NodeKind,
    url: String,
    region: Option<String>,
    keys: KindKeys,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
pub struct State {
    pub up: bool,
    /// Milliseconds since 1970.
    pub since: u64,
    /// Why it is down.
    pub reason: Option<String>,
    /// Conferences that we have sent there.
    pub assigned: u64,
}

/// A node as operators see it.
#[derive(Debug, Clone)]
pub struct Report {
    pub id: String,
    pub kind: config::NodeKind,
    pub url: String,
    pub region: Option<String>,
    pub state: State,
}

/// A server of STUN or TURN as `RTCPeerConnection` takes it (RTCIceServer).
#[derive(Debug, Clone, Serialize)]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The pool: a cloneable handle; one probing task for each node writes that node's state, everybody reads it.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    nodes: Vec<Arc<Node>>,
    token_ttl: Duration,
    turn: Option<config::Turn>,
    /// Where each user was sent last.
    last: Mutex<HashMap<UserId, String>>,
}

impl Pool {
    /// `own_secret` signs for nodes that are configured without a secret of their own.
    pub fn start(
        config: &config::Callgw,
        own_secret: &Secret,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        // A node without an address of its own is this process: it has one once it serves media.
        let nodes = config.nodes.iter().filter_map(|n| Node::new(n, own_secret)).map(Arc::new);
        let nodes: Vec<Arc<Node>> = nodes.collect();
        for node in &nodes {
            let probing = probe_forever(node.clone(), config.probe_interval, config.probe_timeout, stop.clone());
            tracker.spawn(probing);
        }
        let turn = config.turn.clone();
        Self(Arc::new(Inner { nodes, token_ttl: config.token_ttl, turn, last: Mutex::default() }))
    }

    /// The addresses of the nodes that live; `first` leads if it does.
    pub fn addresses(&self, first: Option<&str>) -> Vec<&str> {
        let mut live: Vec<&Node> = self.0.nodes.iter().map(Arc::as_ref).filter(|n| n.is_up()).collect();
        live.sort_by_key(|n| first != Some(n.id.as_str()));
        live.into_iter().map(|n| n.url.as_str()).collect()
    }

    /// The node's address, if it lives.
    pub fn address_of(&self, id: &str) -> Option<&str> {
        self.live(id).map(|n| n.url.as_str())
    }

    pub fn is_up(&self, id: &str) -> bool {
        self.live(id).is_some()
    }

    /// The living node with the fewest conferences of ours.
    pub fn choose(&self) -> Option<&str> {
        let live = self.0.nodes.iter().filter(|n| n.is_up());
        live.min_by_key(|n| n.lock().assigned).map(|n| n.id.as_str())
    }

    /// Counts a conference sent to the node, or taken from it.
    pub fn count(&self, id: &str, assigned: bool) {
        if let Some(node) = self.0.nodes.iter().find(|n| n.id == id) {
            let mut state = node.lock();
            state.assigned = if assigned { state.assigned + 1 } else { state.assigned.saturating_sub(1) };
        }
    }

    /// What admits the user to the conference's room on the node, for `callgw.token_ttl_s`.
    pub fn token(&self, id: &str, conf: &ConfId, user: &UserId, role: Role) -> Option<String> {
        let node = self.live(id)?;
        self.remember(user, id);
        Some(node.keys.sign(&CallGatewayClaims::new(id, conf.clone(), user.clone(), role, self.0.token_ttl)))
    }

    /// STUN and TURN for the user: time-limited credentials as coturn's `use-auth-secret` takes them
    /// (draft-uberti-behave-turn-rest).
    pub fn ice_servers(&self, user: &UserId) -> Vec<IceServer> {
        let Some(turn) = &self.0.turn else { return Vec::new() };
        let expiry = now_ms() / 1000 + turn.ttl.as_secs();
        let username = format!("{expiry}:{user}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, turn.secret.expose().as_bytes());
        let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        vec![IceServer { urls: turn.urls.clone(), username: Some(username), credential: Some(credential) }]
    }

    pub fn reports(&self) -> Vec<Report> {
        let report = |n: &Arc<Node>| Report {
            id: n.id.clone(),
            kind: n.kind,
            url: n.url.clone(),
            region: n.region.clone(),
            state: n.lock().clone(),
        };
        self.0.nodes.iter().map(report).collect()
    }

    /// Where the user was sent last, unless they have been released since.
    pub fn last_of(&self, user: &UserId) -> Option<String> {
        self.last().get(user).cloned()
    }

    /// The user needs no gateway any more.
    pub fn forget(&self, user: &UserId) {
        self.last().remove(user);
    }

    fn remember(&self, user: &UserId, id: &str) {
        let mut last = self.last();
        if last.len() >= REMEMBERED {
            last.clear();
        }
        last.insert(user.clone(), id.to_owned());
    }

    fn last(&self) -> std::sync::MutexGuard<'_, HashMap<UserId, String>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self, id: &str) -> Option<&Node> {
        self.0.nodes.iter().map(Arc::as_ref).find(|n| n.id == id && n.is_up())
    }
}

impl Node {
    fn new(config: &config::CallNode, own_secret: &Secret) -> Option<Self> {
        let secret = config.secret.as_ref().unwrap_or(own_secret);
        let keys = KindKeys::new(&[(config.id.clone(), secret.clone())], Kind::CallGateway);
        let state = State { up: false, since: now_ms(), reason: Some("not yet probed".into()), assigned: 0 };
        let (id, url, region) = (config.id.clone(), config.url.as_ref()?.to_string(), config.region.clone());
        Some(Self { id, kind: config.kind, url, region, keys, state: Mutex::new(state) })
    }

    fn is_up(&self) -> bool {
        self.lock().up
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, outcome: Result<(), String>) {
        let mut state = self.lock();
        let up = outcome.is_ok();
        if state.up != up {
            state.since = now_ms();
            let reason = outcome.as_ref().err();
            tracing::info!(gateway = self.id, up, reason, "call gateway");
        }
        state.up = up;
        state.reason = outcome.err();
        metrics::gauge!("confgate_call_gateway_up", "gateway" => self.id.clone()).set(f64::from(u8::from(up)));
    }
}

async fn probe_forever(node: Arc<Node>, every: Duration, timeout: Duration, stop: CancellationToken) {
    let mut prober = probe::Prober::new(&node.url);
    loop {
        node.found(prober.probe(timeout).await);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Tries one node once: for `confgate check`.
pub async fn check(url: &str, timeout: Duration) -> Result<(), String> {
    probe::Prober::new(url).probe(timeout).await
}
