//! What the link to the EIM needs to know. The names are those of the configuration's section `eim`.

use crate::eim::address::JidScheme;
use crate::ids::Secret;

/// Where the EIM is and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The EIM inside this process, over in-process pipes.
    Builtin,
    /// One component of an XMPP server speaks for all users.
    Component,
    /// A session for each user.
    C2s,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Off,
    /// Clients' sessions begin in the clear and switch; a component's link stays in the clear (XEP-0114 has no switch).
    Starttls,
    /// TLS from the first byte, for sessions and components alike.
    Direct,
}

/// Section `eim`, as far as the wire needs it.
#[derive(Debug, Clone)]
pub struct EimConfig {
    pub mode: Mode,
    /// The EIM's XMPP domain, where accounts live.
    pub domain: String,
    /// Where components connect to; in mode `c2s`, where sessions do.
    pub host: String,
    pub port: u16,
    /// Our component's domain, from which users speak. It must hold no rights on the server.
    pub component: String,
    pub secret: Secret,
    /// The component domain for provisioning and the gateway's own requests; `None`: those come from `component`.
    pub admin_domain: Option<String>,
    pub admin_secret: Secret,
    pub admin_host: String,
    pub admin_port: u16,
    /// Where passwords are verified by SASL in mode `component`.
    pub c2s_port: u16,
    pub tls: TlsMode,
    /// PEM file of the certificate authorities to trust; empty: the system's.
    pub ca: String,
    pub jid_scheme: JidScheme,
    pub resource: String,
    /// How long a request waits for a link that is down.
    pub wait_ms: u64,
    /// How long connecting, and the answer to a keep-alive ping, may take.
    pub timeout_ms: u64,
    /// Most requests under way at once, parked ones included; in mode `c2s` over all sessions.
    pub under_way: usize,
    pub reconnect_min_ms: u64,
    pub reconnect_max_ms: u64,
    /// A link on which nothing came for so long is pinged. Servers cut idle streams after a minute at the earliest.
    pub keepalive_ms: u64,
}
