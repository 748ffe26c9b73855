//! The settings of the link to the EIM. The names are those of the configuration's section `eim`.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::eim::addresses::JidScheme;
use crate::eim::inbound::InboundSchema;
use crate::ids::Secret;
use crate::schema::Schema;

/// Where the EIM is and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The EIM inside this process, over in-process pipes.
    Builtin,
    /// One component of an XMPP server speaks for all users.
    Component,
    /// A session for each user.
    C2s,
    /// The EIM inside this process; users' passwords and accounts at a server.
    Muc,
}

impl Mode {
    /// Whether the EIM is in this process.
    pub fn is_embedded(self) -> bool {
        matches!(self, Self::Builtin | Self::Muc)
    }
}

/// The TLS of the EIM's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Off,
    /// Clients' sessions begin in the clear and switch; a component's link stays in the clear (XEP-0114 has no switch).
    Starttls,
    /// TLS from the first byte, for sessions and components alike.
    Direct,
}

/// Section `eim`, as far as the wire needs it.
#[derive(Debug, Clone)]
pub struct EimConfig {
    /// The mode.
    pub mode: Mode,
    /// The EIM's XMPP domain, where accounts live.
    pub domain: String,
    /// How what the EIM sends of its own accord is read, and from whom.
    pub inbound: Arc<InboundSchema>,
    /// The addresses at which the EIM is asked.
    pub asked_at: Vec<String>,
    /// Where components connect to; in mode `c2s`, where sessions do.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Our component's domain, from which users speak. It must hold no rights on the server.
    pub component: String,
    /// The secret.
    pub secret: Secret,
    /// The component domain for provisioning and the gateway's own requests; `None`: those come from `component`.
    pub admin_domain: Option<String>,
    /// The administrating component's secret.
    pub admin_secret: Secret,
    /// Mode `muc`: domain and secret of the component that makes accounts at the server.
    pub server_admin: Option<(String, Secret)>,
    /// The administrating component's server.
    pub admin_host: String,
    /// The administrating component's port.
    pub admin_port: u16,
    /// Where passwords are verified by SASL in mode `component`.
    pub c2s_port: u16,
    /// The TLS settings.
    pub tls: TlsMode,
    /// PEM file of the certificate authorities to trust; empty: the system's.
    pub ca: String,
    /// The form of users' addresses.
    pub jid_scheme: JidScheme,
    /// The resource of users' addresses.
    pub resource: String,
    /// How long a request waits for a link that is down.
    pub wait_ms: u64,
    /// How long connecting, and the answer to a keep-alive ping, may take.
    pub timeout_ms: u64,
    /// Most requests under way at once, parked ones included; in mode `c2s` over all sessions.
    pub under_way: usize,
    /// Most of them of one user.
    pub under_way_per_user: usize,
    /// The first pause before connecting again, in milliseconds.
    pub reconnect_min_ms: u64,
    /// The longest pause, in milliseconds.
    pub reconnect_max_ms: u64,
    /// A link on which nothing came for so long is pinged. Servers cut idle streams after a minute at the earliest.
    pub keepalive_ms: u64,
    /// How often each of [`EimConfig::asked_at`] is pinged.
    pub ping_interval_ms: u64,
}

impl EimConfig {
    /// Of what is at the server: in mode `muc`, where the EIM itself isn't, as for a component without an EIM.
    pub fn of_server(mut self) -> Self {
        if self.mode == Mode::Muc {
            (self.mode, self.asked_at) = (Mode::Component, Vec::new());
            let (domain, secret) = self.server_admin.take().unzip();
            (self.admin_domain, self.admin_secret) = (domain, secret.unwrap_or_default());
        }
        self
    }

    /// From the configuration, and the schema that says what is asked and told, and where.
    pub fn new(eim: &config::Eim, schema: &Schema) -> Self {
        let (admin_host, admin_port) = eim.provisioning_address();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            mode: match eim.mode {
                config::EimMode::Builtin => Mode::Builtin,
                config::EimMode::Component => Mode::Component,
                config::EimMode::C2s => Mode::C2s,
                config::EimMode::Muc => Mode::Muc,
            },
            domain: eim.domain.clone(),
            inbound: Arc::new(InboundSchema::new(schema, &eim.domain)),
            asked_at: schema.addresses(&eim.domain),
            host: eim.host().to_owned(),
            port: eim.port(),
            component: eim.component_domain(),
            secret: eim.secret.clone().unwrap_or_default(),
            admin_domain: eim.provisioning_domain(),
            admin_secret: eim.admin_secret.clone().unwrap_or_default(),
            server_admin: (eim.mode == config::EimMode::Muc)
                .then(|| Some((eim.admin_domain.clone()?, eim.admin_secret.clone()?)))
                .flatten(),
            admin_host: admin_host.to_owned(),
            admin_port,
            c2s_port: eim.session_port(),
            tls: match eim.tls {
                config::EimTls::Off => TlsMode::Off,
                config::EimTls::Starttls => TlsMode::Starttls,
                config::EimTls::Direct => TlsMode::Direct,
            },
            ca: eim.ca.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            jid_scheme: match eim.jid_scheme {
                config::JidScheme::Component => JidScheme::Escaped,
                config::JidScheme::User => JidScheme::Own,
            },
            resource: eim.resource.clone(),
            wait_ms: millis(eim.wait),
            timeout_ms: millis(eim.timeout),
            under_way: eim.under_way,
            under_way_per_user: eim.under_way_per_user,
            reconnect_min_ms: millis(eim.reconnect_min),
            reconnect_max_ms: millis(eim.reconnect_max),
            keepalive_ms: millis(eim.keepalive),
            ping_interval_ms: millis(eim.ping_interval),
        }
    }
}
