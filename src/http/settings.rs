//! The settings of the listener, as they follow from the configuration: the only place of `http` that knows it.

use std::path::PathBuf;
use std::time::Duration;

use super::guard::GuardSettings;
use super::networks::{Admission, Networks};
use super::tls::{Certificate, CertificateFiles};
use crate::config::{self, Config};
use crate::rate_limit::account::Bounds;

/// How often the certificate files are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(1);
/// Where a certificate is made if none is configured.
const CERTIFICATES: &str = "certs";

/// The settings of the server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// The certificate.
    pub certificate: Certificate,
    /// The settings of the guard.
    pub guard: GuardSettings,
    /// The client addresses that may connect; checked before TLS.
    pub admission: Admission,
    /// The proxies whose PROXY v2 header and `X-Forwarded-For` are believed.
    pub trusted_proxies: Networks,
    /// Sockets open at once, upgraded ones included; one more is closed as soon as it is accepted.
    pub connections: u32,
    /// Bounds of each connection, of each address block and of all together.
    pub bounds: Bounds,
    /// Largest request body; more is answered with 413.
    pub body_bytes: u64,
    /// The time limits.
    pub timeouts: Timeouts,
}

/// How long the server waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the TLS handshake as a whole.
    pub tls_handshake: Duration,
    /// For a PROXY v2 header, and for a request's head: from the end of the handshake for the first one, from its
    /// first byte for a later one.
    pub header: Duration,
    /// For a request's body as a whole.
    pub body: Duration,
    /// For a write, or a stream's answer, to make any progress.
    pub write: Duration,
    /// How long a connection is kept with no request under way.
    pub idle: Duration,
    /// After this long a silent HTTP/2 connection is pinged.
    pub ping_interval: Duration,
    /// For the answer to such a ping.
    pub ping: Duration,
    /// How often the certificate files are looked at.
    pub certificate_check: Duration,
}

impl From<&Config> for HttpSettings {
    fn from(config: &Config) -> Self {
        let http = &config.http;
        let networks = |list: &[ipnet::IpNet]| Networks::from(list.to_vec());
        Self {
            listen: http.listen.to_string(),
            certificate: Certificate::from(http),
            guard: GuardSettings::from(config),
            admission: Admission { allowed: networks(&http.allowed_networks), denied: networks(&http.denied_networks) },
            trusted_proxies: networks(&http.trusted_proxies),
            connections: u32::try_from(config.limits.connections).unwrap_or(u32::MAX),
            bounds: Bounds::from(&config.limits),
            body_bytes: config.limits.body_bytes as u64,
            timeouts: Timeouts::from(config),
        }
    }
}

impl From<&Config> for Timeouts {
    fn from(config: &Config) -> Self {
        let http = &config.http;
        Self {
            tls_handshake: http.tls_handshake_timeout,
            header: config.limits.header_timeout,
            body: http.body_timeout,
            write: config.limits.write_timeout,
            idle: http.idle_timeout,
            ping_interval: http.ping_interval,
            ping: http.ping_timeout,
            certificate_check: CERTIFICATE_CHECK,
        }
    }
}

impl From<&Config> for GuardSettings {
    fn from(config: &Config) -> Self {
        let nodes = config.callgw.nodes.iter().filter_map(|node| node.url.as_ref()).chain(&config.callgw.own_url);
        Self {
            public_url: config.http.public_url.as_ref().map(|url| url.as_str().to_owned()),
            allowed_origins: config.http.allowed_origins.iter().map(|o| o.as_str().to_owned()).collect(),
            connect_urls: nodes.map(|url| url.as_str().to_owned()).collect(),
        }
    }
}

impl From<&config::Http> for Certificate {
    fn from(http: &config::Http) -> Self {
        if let (Some(cert), Some(key)) = (&http.cert, &http.key) {
            return Self::Files(CertificateFiles { cert: cert.clone(), key: key.clone() });
        }
        let public = http.public_url.as_ref().and_then(|url| url.as_str().split("://").nth(1).map(str::to_owned));
        let names = [Some(http.listen.ip().to_string()), public].into_iter().flatten().collect();
        Self::SelfSigned { dir: PathBuf::from(CERTIFICATES), names }
    }
}

impl From<&config::Limits> for Bounds {
    fn from(limits: &config::Limits) -> Self {
        Self {
            connects_per_minute: limits.connects_per_minute,
            connections_per_block: limits.connections_of_a_block(),
            sockets_per_block: limits.sockets_per_block,
            bytes_per_connection: limits.held_bytes_per_connection,
            bytes_per_block: limits.held_bytes_per_block,
            bytes: limits.held_bytes,
        }
    }
}
