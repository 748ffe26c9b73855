//! The sections of the program itself: listeners, this node, logs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::addresses::{BasePath, Origin};
use super::check::Findings;
use super::{Config, HOUR_MS, Range, values};
use crate::ids::Secret;

/// `[http]`: the one HTTPS listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The path in front of every route.
    pub base_path: BasePath,
    /// How browsers reach this server, where that differs from the request's own authority.
    pub public_url: Option<Origin>,
    /// PEM files; `None` for both: a self-signed certificate in `certs/`.
    pub cert: Option<PathBuf>,
    /// The private key of cert.
    pub key: Option<PathBuf>,
    /// Other sites whose pages may call this server, embed the guest page and speak with it. The server's own is always
    /// one.
    pub allowed_origins: Vec<Origin>,
    /// Empty: everybody.
    #[serde(with = "values::networks")]
    pub allowed_networks: Vec<IpNet>,
    /// Where they may not, even where allowed_networks lets them.
    #[serde(with = "values::networks")]
    pub denied_networks: Vec<IpNet>,
    /// Proxies whose PROXY protocol v2 or X-Forwarded-For names the client.
    #[serde(with = "values::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Milliseconds that a TLS handshake may take.
    #[serde(rename = "tls_handshake_timeout_ms", with = "values::millis")]
    pub tls_handshake_timeout: Duration,
    /// For a request's body as a whole.
    #[serde(rename = "body_timeout_ms", with = "values::millis")]
    pub body_timeout: Duration,
    /// How long a connection is kept with no request under way.
    #[serde(rename = "idle_timeout_ms", with = "values::millis")]
    pub idle_timeout: Duration,
    /// After this long a silent HTTP/2 connection is pinged.
    #[serde(rename = "ping_interval_ms", with = "values::millis")]
    pub ping_interval: Duration,
    /// For the answer to such a ping.
    #[serde(rename = "ping_timeout_ms", with = "values::millis")]
    pub ping_timeout: Duration,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: loopback(9092),
            base_path: BasePath::parse("/gzbwclient").expect("the default is well-formed"),
            public_url: None,
            cert: None,
            key: None,
            allowed_origins: Vec::new(),
            allowed_networks: Vec::new(),
            denied_networks: Vec::new(),
            trusted_proxies: Vec::new(),
            tls_handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            // Longer than the 60 s that load balancers keep theirs, so that they close first.
            idle_timeout: Duration::from_secs(75),
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl Http {
    /// Paths at the port's root that are the call gateway's (aliases of Kurento's pages).
    const CALL_GATEWAY_ALIASES: [&str; 3] = ["groupcall", "one2one", "call"];

    pub(super) const RANGES: &[Range] = &[
        ("http.tls_handshake_timeout_ms", 1, HOUR_MS),
        ("http.body_timeout_ms", 1, HOUR_MS),
        ("http.idle_timeout_ms", 1, HOUR_MS),
        ("http.ping_interval_ms", 1, HOUR_MS),
        ("http.ping_timeout_ms", 1, HOUR_MS),
    ];

    /// The address that links begin with, and that the documents name: `https://host:port{base}`. `listening`: the
    /// listener's address, whose port may have been free to choose.
    pub fn web_address(&self, listening: SocketAddr) -> String {
        let origin = self.public_url.as_ref().map(|url| url.as_str().to_owned());
        format!("{}{}", origin.unwrap_or_else(|| format!("https://{listening}")), self.base_path)
    }

    pub(super) fn check(&self, found: &mut Findings) {
        match (&self.cert, &self.key) {
            (Some(_), None) => found.refuse("http.key", "a PEM file: http.cert and http.key are set both or neither"),
            (None, Some(_)) => found.refuse("http.cert", "a PEM file: http.cert and http.key are set both or neither"),
            _ => {}
        }
        if self.public_url.as_ref().is_some_and(|origin| !origin.is_https()) {
            found.refuse("http.public_url", "https://HOST[:PORT]: browsers are served over HTTPS only");
        }
        let first = self.base_path.as_str().split('/').nth(1).unwrap_or_default();
        if Self::CALL_GATEWAY_ALIASES.contains(&first) {
            found.refuse(
                "http.base_path",
                "a path that doesn't begin with /groupcall, /one2one or /call: those are the call gateway's",
            );
        }
    }
}

/// `[admin]`: health, metrics and operators' calls, over plain HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen. Beyond loopback, token is required.
    pub listen: SocketAddr,
    /// The token that callers show as "Authorization: Bearer ...".
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: loopback(9093), token: None }
    }
}

impl Admin {
    pub(super) fn check(&self, found: &mut Findings) {
        if self.token.as_ref().is_some_and(Secret::is_empty) {
            found.refuse("admin.token", "a text that isn't empty");
        } else if self.token.is_none() && !self.listen.ip().is_loopback() {
            found.refuse("admin.token", "a token, since admin.listen is reachable from beyond loopback");
        }
    }
}

/// `[node]`: this process among the others of the same store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Its name, different for each.
    #[serde(deserialize_with = "values::id")]
    pub id: String,
    /// How long the lease lasts that this node holds in the store; renewed at a third of it.
    #[serde(rename = "lease_ms", with = "values::millis")]
    pub lease: Duration,
}

impl Default for Node {
    fn default() -> Self {
        Self { id: "node1".to_owned(), lease: Duration::from_secs(15) }
    }
}

impl Node {
    pub(super) const RANGES: &[Range] = &[("node.lease_ms", 1000, HOUR_MS)];
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `text`
    Text,
    /// `json`
    Json,
}

/// `[log]`: what is written to stderr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of log lines.
    pub format: LogFormat,
    /// In `RUST_LOG`'s language, which wins over it.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Log {
    pub(super) fn check(&self, found: &mut Findings) {
        if EnvFilter::try_new(&self.filter).is_err() {
            found.refuse(
                "log.filter",
                "LEVEL or TARGET=LEVEL, comma-separated; levels: error, warn, info, debug, trace, off",
            );
        }
    }
}

/// No two listeners share an address (port 0 is any free one).
pub(super) fn check_listeners(config: &Config, found: &mut Findings) {
    let listeners = [
        ("http.listen", Some(config.http.listen)),
        ("admin.listen", Some(config.admin.listen)),
        ("callgw.tcp_listen", config.callgw.tcp_listen),
    ];
    for (i, (key, address)) in listeners.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        if let Some((other, _)) = listeners[..i].iter().find(|(_, earlier)| *earlier == Some(address)) {
            found.refuse(key, &format!("an address other than {other}'s"));
        }
    }
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
