//! `[callgw]`: the media nodes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addresses::{BasePath, Url};
use super::auth::SIGNING_SECRET_MIN;
use super::check::Findings;
use super::{DAY_S, HOUR_MS, Range, values};
use crate::ids::{ID_MAX, Secret};

/// Longest `callgw.own_url`, in bytes: with a node's path behind it the register of call gateways must hold it.
const URL_MAX: usize = 256;

/// `callgw.nodes.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// In this process.
    Builtin,
    /// Another `confgate media`.
    Confgate,
    /// Janus with its VideoRoom, behind our signalling.
    Janus,
    /// Any server with WHIP and WHEP, behind our signalling.
    Whip,
}

/// `[[callgw.nodes]]`: one call gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallNode {
    /// Its name, which tokens carry. Of kind "builtin" by default `node.id`: see [`Callgw::complete`].
    #[serde(default, deserialize_with = "values::id")]
    pub id: String,
    /// "builtin": in this process; "confgate": another `confgate media`; "janus": Janus with its VideoRoom; "whip": any
    /// server with WHIP and WHEP.
    pub kind: NodeKind,
    /// The ws(s) address that browsers are given; `None`: this gateway's own.
    #[serde(default)]
    pub url: Option<Url>,
    /// Where this gateway reaches the node itself.
    #[serde(default)]
    pub admin_url: Option<Url>,
    /// The secret that signs this node's tokens; `None`: derived from `auth.keys`.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The secret that Janus demands with every request (`api_secret`).
    #[serde(default)]
    pub api_secret: Option<Secret>,
    /// The key that its VideoRoom demands for making rooms (`admin_key`).
    #[serde(default)]
    pub admin_key: Option<Secret>,
    /// The ws(s) address of Janus's Admin API, where its load is read.
    #[serde(default)]
    pub load_url: Option<Url>,
    /// The secret that its Admin API demands with every request (`admin_secret`).
    #[serde(default)]
    pub admin_secret: Option<Secret>,
    /// The IP address at which Janus takes what other Januses send; `None`: that of `admin_url`.
    #[serde(default)]
    pub rtp_address: Option<IpAddr>,
    /// The paths after `admin_url` at a WHIP server, for senders and for viewers; `{room}` and `{stream}` stand for the
    /// names.
    #[serde(default)]
    pub whip_path: Option<String>,
    /// The same for one who watches it. Default: "/{room}/{stream}/whep".
    #[serde(default)]
    pub whep_path: Option<String>,
    /// The token that such a server demands with each request.
    #[serde(default)]
    pub bearer: Option<Secret>,
    /// Where it is a confgate: its node's id and secret, with which a token is signed for each session instead.
    #[serde(default)]
    pub signer_id: Option<String>,
    /// That node's secret, which signs them. Default: nothing.
    #[serde(default)]
    pub signer_secret: Option<Secret>,
    /// Where the node stands, for choosing one near. Default: none.
    #[serde(default)]
    pub region: Option<String>,
}

/// `[callgw.turn]`: a TURN server with time-limited credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Its addresses.
    pub urls: Vec<String>,
    /// The secret that it shares with this gateway.
    pub secret: Secret,
    /// Seconds that a credential serves. Default: 86400.
    #[serde(default = "Turn::default_ttl", rename = "ttl_s", with = "values::seconds")]
    pub ttl: Duration,
}

impl Turn {
    fn default_ttl() -> Duration {
        Duration::from_secs(86_400)
    }
}

/// The section `callgw`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Callgw {
    /// `[[callgw.nodes]]`: the call gateway nodes.
    pub nodes: Vec<CallNode>,
    /// Where browsers and other nodes reach the call gateways of this process, and of no other. `None`:
    /// `http.public_url`, else `http.listen`.
    pub own_url: Option<Url>,
    /// Whether the built-in node admits callers without a token, into rooms apart from every conference's. For trying
    /// unmodified Kurento pages; leave it off otherwise.
    pub open: bool,
    /// `None`: any free port at `http.listen`'s address.
    pub udp_listen: Option<SocketAddr>,
    /// Where it takes media over TCP. Default: any free port at http.listen's address.
    pub tcp_listen: Option<SocketAddr>,
    /// Addresses for the candidates; empty: those listened at.
    pub announce: Vec<IpAddr>,
    /// Threads that forward media; `None`: one for each core.
    pub threads: Option<usize>,
    /// Packets that one of them forwards in a second.
    pub packets_per_s_max: u64,
    /// Peer connections of one of them.
    pub connections: usize,
    /// Milliseconds after which a peer connection is given up that never came up.
    #[serde(rename = "connect_timeout_ms", with = "values::millis")]
    pub connect_timeout: Duration,
    /// Milliseconds after which one is given up whose path was lost.
    #[serde(rename = "lost_timeout_ms", with = "values::millis")]
    pub lost_timeout: Duration,
    /// Milliseconds after which a TCP connection for media is closed on which nothing came.
    #[serde(rename = "tcp_idle_timeout_ms", with = "values::millis")]
    pub tcp_idle_timeout: Duration,
    /// How long a client's socket may be in no room.
    #[serde(rename = "join_timeout_ms", with = "values::millis")]
    pub join_timeout: Duration,
    /// How long a call between two rings, on a node's own signalling.
    #[serde(rename = "ring_timeout_ms", with = "values::millis")]
    pub ring_timeout: Duration,
    /// Whether media of a call between two may go straight from the one to the other.
    pub p2p: bool,
    /// Messages on one client's socket.
    pub messages_per_minute: u32,
    /// Peer connections of one client's socket.
    pub socket_streams: usize,
    /// `ws(s)://host[:port]` that streams may be pulled from, beside the nodes.
    pub pull_allow: Vec<Url>,
    /// For reaching a node that a stream is pulled from, until the stream flows.
    #[serde(rename = "pull_timeout_ms", with = "values::millis")]
    pub pull_timeout: Duration,
    /// `[callgw.turn]`: STUN and TURN for members.
    pub turn: Option<Turn>,
    /// Where this gateway stands: conferences whose callers name no region go to nodes there.
    pub region: Option<String>,
    /// PEM: certificates that nodes may have, on their control links and for each other, besides those that the system trusts.
    pub ca: Option<PathBuf>,
    /// How often a node tells its load; twice as long without a word, and it is dead.
    #[serde(rename = "report_interval_ms", with = "values::millis")]
    pub report_interval: Duration,
    /// Milliseconds until a control link is opened again, at first; doubles up to the next key's, less up to half at
    /// random.
    #[serde(rename = "reconnect_min_ms", with = "values::millis")]
    pub reconnect_min: Duration,
    /// Milliseconds between two attempts at most.
    #[serde(rename = "reconnect_max_ms", with = "values::millis")]
    pub reconnect_max: Duration,
    /// Milliseconds between two probes of a node.
    #[serde(rename = "probe_interval_ms", with = "values::millis")]
    pub probe_interval: Duration,
    /// Milliseconds that a probe's answer may take.
    #[serde(rename = "probe_timeout_ms", with = "values::millis")]
    pub probe_timeout: Duration,
    /// How long a token serves for connecting.
    #[serde(rename = "token_ttl_s", with = "values::seconds")]
    pub token_ttl: Duration,
}

impl Default for Callgw {
    fn default() -> Self {
        Self {
            nodes: vec![CallNode::new(String::new(), NodeKind::Builtin)],
            own_url: None,
            open: false,
            udp_listen: None,
            tcp_listen: None,
            announce: Vec::new(),
            threads: None,
            packets_per_s_max: 45_000,
            connections: 4000,
            connect_timeout: Duration::from_secs(30),
            lost_timeout: Duration::from_secs(10),
            tcp_idle_timeout: Duration::from_secs(60),
            join_timeout: Duration::from_secs(10),
            ring_timeout: Duration::from_secs(45),
            p2p: true,
            messages_per_minute: 3000,
            socket_streams: 128,
            pull_allow: Vec::new(),
            pull_timeout: Duration::from_secs(10),
            turn: None,
            region: None,
            ca: None,
            report_interval: Duration::from_secs(1),
            reconnect_min: Duration::from_millis(200),
            reconnect_max: Duration::from_secs(2),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_secs(2),
            token_ttl: Duration::from_secs(60),
        }
    }
}

impl Callgw {
    pub(super) const RANGES: &[Range] = &[
        ("callgw.probe_interval_ms", 1, HOUR_MS),
        ("callgw.probe_timeout_ms", 1, HOUR_MS),
        ("callgw.report_interval_ms", 10, HOUR_MS),
        ("callgw.threads", 1, 256),
        ("callgw.packets_per_s_max", 1, 100_000_000),
        ("callgw.connections", 1, 1_000_000),
        ("callgw.connect_timeout_ms", 100, HOUR_MS),
        ("callgw.lost_timeout_ms", 100, HOUR_MS),
        ("callgw.tcp_idle_timeout_ms", 100, HOUR_MS),
        ("callgw.join_timeout_ms", 10, HOUR_MS),
        ("callgw.ring_timeout_ms", 10, HOUR_MS),
        ("callgw.messages_per_minute", 1, 100_000_000),
        ("callgw.socket_streams", 1, 10_000),
        ("callgw.pull_timeout_ms", 1, HOUR_MS),
        ("callgw.reconnect_min_ms", 1, HOUR_MS),
        ("callgw.reconnect_max_ms", 1, HOUR_MS),
        ("callgw.token_ttl_s", 1, DAY_S),
        ("callgw.turn.ttl_s", 1, 30 * DAY_S),
    ];

    pub(super) fn check(&self, found: &mut Findings) {
        found.refuse_repeats("callgw.nodes", "id", self.nodes.iter().map(|node| &node.id));
        for (i, node) in self.nodes.iter().enumerate() {
            node.check(&format!("callgw.nodes[{i}]"), found);
        }
        let builtin = self.nodes.iter().filter(|node| node.kind == NodeKind::Builtin);
        if builtin.count() > 1 {
            found.refuse("callgw.nodes", "at most one node of kind \"builtin\": it is this process");
        }
        let is_own = |url: &Url| {
            url.scheme() == "wss"
                && url.uri().query().is_none()
                && !names_every_address(url)
                && url.as_str().len() <= URL_MAX
        };
        if self.region.as_ref().is_some_and(|region| region.len() > ID_MAX) {
            found.refuse("callgw.region", "a text of at most 64 bytes");
        }
        if self.own_url.as_ref().is_some_and(|url| !is_own(url)) {
            found.refuse("callgw.own_url", "wss://HOST[:PORT][/PATH], at most 256 bytes");
        }
        if self.announce.iter().any(IpAddr::is_unspecified) {
            found.refuse("callgw.announce", "addresses that browsers can reach");
        }
        for (i, url) in self.pull_allow.iter().enumerate() {
            if !is_ws(url) || !matches!(url.uri().path(), "" | "/") {
                found.refuse(&format!("callgw.pull_allow[{i}]"), "ws(s)://HOST[:PORT]");
            }
        }
        if self.reconnect_min > self.reconnect_max {
            found.refuse("callgw.reconnect_min_ms", "at most callgw.reconnect_max_ms");
        }
        if let Some(turn) = &self.turn {
            turn.check(found);
        }
    }

    /// A node's address that is a bare authority leads to where nodes serve: below the base path. A built-in node without
    /// an id has this process's, and stands where this process does.
    pub(super) fn complete(&mut self, base_path: &BasePath, node_id: &str) {
        self.own_url = self.own_url.take().map(|url| url.at(base_path.as_str()));
        for node in &mut self.nodes {
            if node.kind == NodeKind::Builtin && node.id.is_empty() {
                node_id.clone_into(&mut node.id);
            }
            if node.kind == NodeKind::Builtin && node.region.is_none() {
                node.region.clone_from(&self.region);
            }
            let path = format!("{}{}", base_path.as_str(), node.path());
            node.url = node.url.take().map(|url| url.at(&path));
        }
    }

    /// The node that this process is, where it is one.
    pub fn builtin(&self) -> Option<&CallNode> {
        self.nodes.iter().find(|node| node.kind == NodeKind::Builtin)
    }

    /// The additional demands of `confgate media`: the node's own id, and the secret that signs its tokens.
    pub(super) fn check_service(&self, node_id: &str, found: &mut Findings) {
        let Some(at) = self.nodes.iter().position(|n| n.kind == NodeKind::Builtin && n.id == node_id) else {
            let wanted =
                format!("a node of kind \"builtin\" with the id {node_id}, as node.id has it: it is this process");
            return found.refuse("callgw.nodes", &wanted);
        };
        if self.nodes[at].secret.is_none() {
            let wanted = "the secret that gateways are configured with for this node";
            found.refuse(&format!("callgw.nodes[{at}].secret"), wanted);
        }
    }
}

impl CallNode {
    /// A node of which nothing more is configured.
    pub fn new(id: String, kind: NodeKind) -> Self {
        Self {
            id,
            kind,
            url: None,
            admin_url: None,
            secret: None,
            api_secret: None,
            admin_key: None,
            load_url: None,
            admin_secret: None,
            rtp_address: None,
            whip_path: None,
            whep_path: None,
            bearer: None,
            signer_id: None,
            signer_secret: None,
            region: None,
        }
    }

    /// Whether its signalling is this process's.
    pub fn is_local(&self) -> bool {
        !matches!(self.kind, NodeKind::Confgate)
    }

    /// Where its signalling is served, below the base path: a media server's at its gateway.
    pub fn path(&self) -> String {
        match self.kind {
            NodeKind::Builtin | NodeKind::Confgate => "/callgw".to_owned(),
            NodeKind::Janus | NodeKind::Whip => format!("/callgw/at/{}", self.id),
        }
    }

    /// The paths after `admin_url` for a sender and for a viewer: mediamtx's by default.
    pub fn session_paths(&self) -> [String; 2] {
        let or = |set: &'static str, path: &Option<String>| path.clone().unwrap_or_else(|| set.to_owned());
        [or("/{room}/{stream}/whip", &self.whip_path), or("/{room}/{stream}/whep", &self.whep_path)]
    }

    fn check(&self, at: &str, found: &mut Findings) {
        if self.id.is_empty() && self.kind != NodeKind::Builtin {
            found.refuse(&format!("{at}.id"), "[A-Za-z0-9_-]{1,64}; required unless kind is \"builtin\"");
        }
        if self.region.as_ref().is_some_and(|region| region.len() > ID_MAX) {
            found.refuse(&format!("{at}.region"), "a text of at most 64 bytes");
        }
        if self.url.as_ref().is_some_and(|url| !is_ws(url)) {
            found.refuse(&format!("{at}.url"), "ws(s)://HOST[:PORT][/PATH]");
        }
        if self.kind == NodeKind::Confgate && self.url.is_none() {
            found.refuse(&format!("{at}.url"), "the node's ws(s) address, since it is another process");
        }
        let known = ["http", "https", "ws", "wss"];
        if self.admin_url.as_ref().is_some_and(|url| !known.contains(&url.scheme())) {
            found.refuse(&format!("{at}.admin_url"), "an http(s) or ws(s) URL");
        }
        if matches!(self.kind, NodeKind::Janus | NodeKind::Whip) && self.admin_url.is_none() {
            found.refuse(
                &format!("{at}.admin_url"),
                "where the media server is reached: ws(s) for janus, http(s) for whip",
            );
        }
        if self.load_url.as_ref().is_some_and(|url| !is_ws(url)) {
            found.refuse(&format!("{at}.load_url"), "ws(s)://HOST[:PORT][/PATH]");
        }
        if self.load_url.is_some() != self.admin_secret.is_some() {
            found.refuse(&format!("{at}.admin_secret"), "load_url and admin_secret go together");
        }
        if self.rtp_address.is_some_and(|ip| ip.is_unspecified() || ip.is_multicast()) {
            found.refuse(&format!("{at}.rtp_address"), "one IP address of the machine that Janus runs on");
        }
        self.check_whip(at, found);
        match &self.secret {
            None if self.kind == NodeKind::Confgate => {
                found.refuse(&format!("{at}.secret"), "the secret that the node is configured with too");
            }
            Some(secret) if secret.expose().len() < SIGNING_SECRET_MIN => {
                found.refuse(&format!("{at}.secret"), "a text of 16 bytes or more");
            }
            _ => {}
        }
    }
}

impl CallNode {
    fn check_whip(&self, at: &str, found: &mut Findings) {
        if self.kind == NodeKind::Whip && self.admin_url.as_ref().is_some_and(is_ws) {
            found.refuse(&format!("{at}.admin_url"), "http(s) for whip");
        }
        let is_path = |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
        for (key, path) in [("whip_path", &self.whip_path), ("whep_path", &self.whep_path)] {
            if path.as_ref().is_some_and(|path| !is_path(path)) {
                found.refuse(&format!("{at}.{key}"), "a path such as /{room}/{stream}/whip");
            }
        }
        if self.signer_id.is_some() != self.signer_secret.is_some() {
            found.refuse(&format!("{at}.signer_id"), "with signer_secret, and that with signer_id");
        }
        if self.signer_secret.as_ref().is_some_and(|secret| secret.expose().len() < SIGNING_SECRET_MIN) {
            found.refuse(&format!("{at}.signer_secret"), "a text of 16 bytes or more");
        }
    }
}

impl Turn {
    fn check(&self, found: &mut Findings) {
        let known = |url: &String| ["turn:", "turns:", "stun:", "stuns:"].iter().any(|scheme| url.starts_with(scheme));
        if self.urls.is_empty() || !self.urls.iter().all(known) {
            found.refuse("callgw.turn.urls", "one or more URLs, each turn:, turns:, stun: or stuns:");
        }
        if self.secret.is_empty() {
            found.refuse("callgw.turn.secret", "the secret that the TURN server is configured with too");
        }
    }
}

/// Whether its host is the unspecified address, which nobody can reach.
fn names_every_address(url: &Url) -> bool {
    url.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn is_ws(url: &Url) -> bool {
    matches!(url.scheme(), "ws" | "wss")
}
