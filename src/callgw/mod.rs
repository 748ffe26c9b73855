//! The call gateways: which there are, how they are, which one a conference goes to, what admits a member to it, and the
//! control link on which it gets the members' permissions.

mod choice;
mod health;
mod link;
mod node;
mod probe;
mod recent;
mod registered;
mod start;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Moment, date_ms};
use crate::config::{self, NodeKind};
use crate::event::{CallMode, Role};
use crate::ids::{ConfId, Secret, UserId};
use crate::node_protocol::{EndedBy, RemoteNode, ToNode};
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::sync;
use crate::tls_client::Fingerprint;
use crate::token::{CallGatewayClaims, PullClaims};

use choice::Candidate;
use node::{Changes, Node};
use registered::{Change, RegisteredNodes};
use start::Starter;

pub use choice::{NoNodeAvailable, NodeChoice};
pub use health::Fault;
pub use link::Embedded;
pub use node::NodeStatus;
pub use registered::RegisteredNode;
pub use turn::IceServer;

/// Most users whose gateway is remembered: it only decides which address they are told first, and what is counted.
const REMEMBERED: usize = 65_536;

/// Reports that one user may send: a client retries every few seconds at most.
const COMPLAINTS: Rate = Rate { count: 12, window_ms: 60_000 };

/// A node as operators see it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The id.
    pub id: String,
    /// The kind.
    pub kind: NodeKind,
    /// The address.
    pub url: String,
    /// The region, to prefer a node near the client.
    pub region: Option<String>,
    /// The node's status.
    pub status: NodeStatus,
}

/// The pool's settings from outside its own section of the configuration.
pub struct Context<'a> {
    /// Our own `node.id`.
    pub node: &'a str,
    /// Signs for nodes that are configured without a secret of their own.
    pub secret: &'a Secret,
    /// The first part of our own call gateways' addresses, as browsers reach them: wss and our base path.
    pub own_url: String,
    /// The call gateways whose signalling is this process's, by their ids.
    pub embedded: HashMap<String, Embedded>,
    /// How long a node that is no longer in the register is kept. After an outage of the store all leases have run out
    /// until they are renewed.
    pub grace: Duration,
}

/// The pool: a cloneable handle. Each node's state is written by its own tasks (a probe; for kinds `confgate` and
/// `builtin` its control link) and read by everybody. No call waits, but [`Pool::judged`].
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    /// The configured nodes, then the registered ones.
    nodes: ArcSwap<Vec<Arc<Node>>>,
    /// Ids of the nodes whose signalling is this process's.
    own: Vec<String>,
    registered: Mutex<Registered>,
    starter: Starter,
    token_ttl: Duration,
    region: Option<String>,
    turn: Option<config::Turn>,
    /// Where each user was sent last.
    last: Mutex<HashMap<UserId, String>>,
    complaints: Mutex<Limiter<UserId>>,
    /// What operators drain.
    drains: Mutex<HashMap<String, u64>>,
}

/// The registered nodes, and what ends the tasks of each.
struct Registered {
    nodes: RegisteredNodes,
    stops: HashMap<String, CancellationToken>,
}

impl Pool {
    /// # Errors
    /// The error in `callgw.ca`.
    pub fn start(
        config: &config::Callgw,
        context: Context<'_>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let starter = Starter {
            probe: (config.probe_interval, config.probe_timeout),
            link_config: link::ControlLinkConfig::new(config, context.node)?,
            changes: Changes::new(),
            tracker: tracker.clone(),
            stop: stop.clone(),
        };
        let Context { secret, own_url, mut embedded, grace, .. } = context;
        let own = embedded.keys().cloned().collect();
        let start = |node| starter.configured(node, secret, &own_url, &mut embedded);
        let nodes = config.nodes.iter().filter_map(start).collect();
        let ids = config.nodes.iter().map(|node| node.id.clone());
        let registered = Registered { nodes: RegisteredNodes::new(ids, grace), stops: HashMap::new() };
        let pool = Self(Arc::new(Inner {
            nodes: ArcSwap::new(Arc::new(nodes)),
            own,
            registered: Mutex::new(registered),
            starter,
            token_ttl: config.token_ttl,
            region: config.region.clone(),
            turn: config.turn.clone(),
            last: Mutex::default(),
            complaints: Mutex::new(Limiter::new(COMPLAINTS, REMEMBERED)),
            drains: Mutex::default(),
        }));
        let watched = pool.clone();
        tracker.spawn(link::watch(move || watched.nodes(), config.report_interval, stop.clone()));
        Ok(pool)
    }

    /// The register of call gateways holds these of other gateway nodes now: the pool has them besides the configured
    /// ones.
    pub fn set_registered(&self, read: Vec<RegisteredNode>, now: Moment) {
        let mut registered = sync::lock(&self.0.registered);
        let changes = registered.nodes.merge(read, now);
        metrics::gauge!("confgate_call_gateways_registered").set(registered.stops.len() as f64);
        if changes.is_empty() {
            return;
        }
        let mut nodes = Vec::clone(&self.nodes());
        for change in changes {
            match change {
                Change::Repin(id, pins) => nodes.iter().filter(|n| n.id == id).for_each(|n| n.set_pins(pins.clone())),
                Change::Remove(id) => registered.take_out(&id, &mut nodes),
                Change::Add(node) | Change::Replace(node) => {
                    registered.take_out(&node.id, &mut nodes);
                    let stop = self.0.starter.stop.child_token();
                    registered.stops.insert(node.id.clone(), stop.clone());
                    let drained = sync::lock(&self.0.drains).get(&node.id).copied();
                    let node = self.0.starter.registered(node, &stop);
                    node.drain(drained);
                    nodes.push(node);
                }
            }
        }
        metrics::gauge!("confgate_call_gateways_registered").set(registered.stops.len() as f64);
        self.0.nodes.store(Arc::new(nodes));
        drop(registered);
        self.0.starter.changes.notify();
    }

    /// The registered nodes that the pool has.
    pub fn registered(&self) -> Vec<RegisteredNode> {
        sync::lock(&self.0.registered).nodes.iter().cloned().collect()
    }

    /// The certificates that this process shows: other nodes know its own call gateways by them.
    pub fn set_own_pins(&self, pins: &[Fingerprint]) {
        self.own().for_each(|node| node.set_pins(pins.to_vec()));
    }

    /// No conference may be at the nodes whose signalling is this process's, since the other gateway nodes on the store
    /// can't use them, for that reason; or (`None`) they can.
    pub fn withhold_own(&self, why: Option<&str>) {
        self.own().for_each(|node| node.withhold(why));
    }

    /// Waits until it is known of each of these nodes how it is. A node is judged at the latest when its first probe has
    /// ended.
    pub async fn judged(&self, ids: &[&str]) {
        let mut changes = self.changes();
        let unjudged = |id: &&str| self.node(id).is_some_and(|node| !node.status().judged);
        while ids.iter().any(unjudged) && changes.changed().await.is_ok() {}
    }

    /// The addresses of the nodes that members may be sent to, the better ones first; `first` leads if it lives.
    pub fn addresses(&self, first: Option<&str>) -> Vec<String> {
        let is_offered = |n: &&Arc<Node>| n.is_up() && (first == Some(n.id.as_str()) || !n.status().draining);
        let nodes = self.nodes();
        let mut live: Vec<(bool, f64, &str)> = (nodes.iter().filter(is_offered))
            .map(|n| (first != Some(n.id.as_str()), n.candidate().estimate(), n.url.as_str()))
            .collect();
        live.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        live.into_iter().map(|(_, _, url)| url.to_owned()).collect()
    }

    /// The node's address, if it lives.
    pub fn address_of(&self, id: &str) -> Option<String> {
        self.live(id).map(|n| n.url.clone())
    }

    /// Whether that node is usable now.
    pub fn is_up(&self, id: &str) -> bool {
        self.live(id).is_some()
    }

    /// The node for one more member of a conference that has been at the nodes `at` (ids, in the order in which they
    /// came) for so many ms: of those while they can, else another, near `region` (else near this gateway) where one
    /// there can take it. A member who was sent to one of them stays there.
    ///
    /// # Errors
    /// Where no node can: why not, for each.
    pub fn place(
        &self,
        at: &[&str],
        since_ms: u64,
        user: Option<&UserId>,
        region: Option<&str>,
    ) -> Result<NodeChoice, NoNodeAvailable> {
        let current = |id: &&'_ str| {
            let status = self.node(id).map(|node| node.status());
            let is_up = status.as_ref().is_some_and(NodeStatus::is_up);
            let must_leave = status.is_some_and(|status| status.must_leave(date_ms()));
            (is_up, must_leave)
        };
        let at: Vec<choice::Current<'_>> = (at.iter().map(|id| (*id, current(id))))
            .map(|(id, (is_up, must_leave))| choice::Current { id, is_up, must_leave })
            .collect();
        let own = user.and_then(|user| self.last_of(user));
        let conference = choice::Conference { at: &at, since_ms, own: own.as_deref() };
        let region = region.or(self.0.region.as_deref());
        choice::place(&self.candidates(), conference, region, &mut rand::rng())
    }

    /// The address and token that another node needs to pull the conference's streams from that one.
    pub fn peer(&self, id: &str, conf: &ConfId) -> Option<RemoteNode> {
        let node = self.node(id)?;
        let claims = PullClaims::new(Some(id), conf.clone(), None, self.0.token_ttl);
        let (token, serves_until) = (node.pull_keys.sign(&claims), claims.exp.saturating_mul(1000));
        let pins = node.pins().iter().map(ToString::to_string).collect();
        Some(RemoteNode { gateway_id: id.to_owned(), url: node.url.clone(), token, serves_until, pins })
    }

    /// How long such tokens serve.
    pub fn token_ttl(&self) -> Duration {
        self.0.token_ttl
    }

    /// A node for a conference that must leave this one.
    ///
    /// # Errors
    /// As for [`Pool::place`].
    pub fn elsewhere(&self, id: &str) -> Result<String, NoNodeAvailable> {
        let mut nodes = self.candidates();
        nodes.retain(|node| node.id != id);
        choice::choose(&nodes, self.0.region.as_deref(), &mut rand::rng()).map(str::to_owned)
    }

    /// Counts places given at the node: load that its reports don't show yet.
    pub fn note_assignment(&self, id: &str, places: u64) {
        if let Some(node) = self.node(id) {
            node.note_assignment(places);
        }
    }

    /// The token that admits the user to the conference's room on the node, for `callgw.token_ttl_s` and as long as
    /// their login (refresh family) lasts.
    pub fn token(&self, id: &str, conf: &ConfId, user: &UserId, family: &str, way: (Role, CallMode)) -> Option<String> {
        let node = self.live(id)?;
        self.remember(user, id);
        let (role, mode) = way;
        let claims = CallGatewayClaims::new(id, conf.clone(), user.clone(), role, self.0.token_ttl);
        Some(node.keys.sign(&claims.in_mode(mode).of_family(family)))
    }

    /// Tells every node that the login is over.
    pub fn revoke(&self, family: &str, by: EndedBy) {
        for node in self.nodes().iter() {
            node.send_command(ToNode::Revoke { families: vec![family.to_owned()], by });
        }
    }

    /// Tells one node which logins are over.
    pub fn revoke_at(&self, id: &str, families: &[String]) {
        self.send_command(id, ToNode::Revoke { families: families.to_vec(), by: EndedBy::Itself });
    }

    /// STUN and TURN for the user.
    pub fn ice_servers(&self, user: &UserId) -> Vec<IceServer> {
        self.0.turn.iter().map(|turn| IceServer::new(turn, user, date_ms())).collect()
    }

    /// The reason why there is no sound and picture for anybody: every node is known not to be usable.
    pub fn trouble(&self) -> Option<String> {
        let down = |node: &Arc<Node>| {
            let status = node.status();
            let why = status.reason.filter(|_| status.judged && status.fault.is_some())?;
            Some(format!("{}: {why}", node.id))
        };
        let nodes: Option<Vec<String>> = self.nodes().iter().map(down).collect();
        nodes.filter(|nodes| !nodes.is_empty()).map(|nodes| nodes.join("; "))
    }

    /// A report of each node.
    pub fn reports(&self) -> Vec<Report> {
        let report = |n: &Arc<Node>| Report {
            id: n.id.clone(),
            kind: n.kind,
            url: n.url.clone(),
            region: n.region.clone(),
            status: n.status(),
        };
        self.nodes().iter().map(report).collect()
    }

    /// Counts changes of what [`Pool::reports`] says that conferences must follow.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.starter.changes.subscribe()
    }

    /// Tells the node, if its control link is open; one that is closed, or too slow, makes [`NodeStatus::openings`] grow
    /// later, and then all that holds is to be told.
    pub fn send_command(&self, id: &str, command: ToNode) {
        if let Some(node) = self.node(id) {
            node.send_command(command);
        }
    }

    /// An operator drains these nodes, each until its deadline (ms since 1970), and no others.
    pub fn drain_only(&self, drains: &HashMap<String, u64>) {
        sync::lock(&self.0.drains).clone_from(drains);
        for node in self.nodes().iter() {
            node.drain(drains.get(&node.id).copied());
        }
    }

    /// Whether there is a node of that id.
    pub fn has(&self, id: &str) -> bool {
        self.node(id).is_some()
    }

    /// The user has trouble with the node. It counts only where we sent them there; if enough others say so too, the
    /// node counts as failed for a while, unless it is the only one that there is: then true.
    ///
    /// # Errors
    /// In how many ms the user may report again.
    pub fn report_failure(&self, id: &str, user: &UserId) -> Result<bool, u64> {
        sync::lock(&self.0.complaints).allow(user, Moment::now())?;
        let is_theirs = self.last_of(user).as_deref() == Some(id);
        let is_other = |node: &Candidate| node.id != id && node.unusable.is_none();
        if !is_theirs || !self.candidates().iter().any(is_other) {
            return Ok(false);
        }
        Ok(self.node(id).is_some_and(|node| node.report_failure(user)))
    }

    /// Where the user was sent last, unless they have been released since.
    pub fn last_of(&self, user: &UserId) -> Option<String> {
        self.last().get(user).cloned()
    }

    /// The user needs no gateway any more.
    pub fn forget(&self, user: &UserId) {
        let last = self.last().remove(user);
        if let Some(node) = last.and_then(|id| self.node(&id)) {
            node.count(false);
        }
    }

    fn remember(&self, user: &UserId, id: &str) {
        let mut last = self.last();
        if last.len() >= REMEMBERED && !last.contains_key(user) {
            return;
        }
        let before = last.insert(user.clone(), id.to_owned());
        if before.as_deref() == Some(id) {
            return;
        }
        for (id, came) in [(before.as_deref(), false), (Some(id), true)] {
            if let Some(node) = id.and_then(|id| self.node(id)) {
                node.count(came);
            }
        }
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.nodes().iter().map(|node| node.candidate()).collect()
    }

    fn last(&self) -> MutexGuard<'_, HashMap<UserId, String>> {
        sync::lock(&self.0.last)
    }

    fn nodes(&self) -> Arc<Vec<Arc<Node>>> {
        self.0.nodes.load_full()
    }

    fn own(&self) -> impl Iterator<Item = Arc<Node>> {
        self.0.own.iter().filter_map(|id| self.node(id))
    }

    fn node(&self, id: &str) -> Option<Arc<Node>> {
        self.0.nodes.load().iter().find(|n| n.id == id).cloned()
    }

    fn live(&self, id: &str) -> Option<Arc<Node>> {
        self.node(id).filter(|n| n.is_up())
    }
}

impl Registered {
    fn take_out(&mut self, id: &str, nodes: &mut Vec<Arc<Node>>) {
        let Some(stop) = self.stops.remove(id) else { return };
        stop.cancel();
        nodes.extract_if(.., |node| node.id == id).for_each(|node| node.left());
    }
}

/// Tries one node once, for `confgate check`: whether it lives, and for kind `confgate` whether it can be controlled.
///
/// # Errors
/// Why it isn't to be used.
pub async fn check(config: &config::Callgw, node: &config::CallNode, gateway: &str) -> Result<String, String> {
    let Some(url) = &node.url else { return Ok("in this process".into()) };
    probe::Prober::new(url.as_str()).probe(config.probe_timeout).await?;
    if node.kind != NodeKind::Confgate {
        return Ok(url.to_string());
    }
    let link_config = link::ControlLinkConfig::new(config, gateway)?;
    let own_secret = node.secret.clone().unwrap_or_default();
    let (commands, _) = mpsc::channel(1);
    let node = Node::new(node, url.to_string(), &own_secret, link_config.silence(), commands, Changes::new());
    link::try_once(&node, &link_config)
        .await
        .map_err(|why| format!("{url} lives, but there is no control link: {why}"))?;
    Ok(format!("{url}, control link"))
}

#[cfg(test)]
mod tests;
