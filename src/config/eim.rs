//! `[eim]`: the enterprise's XMPP server.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::{HOUR_MS, Range, values};
use crate::ids::{Secret, UserId};
use crate::precis::display_name;

/// `eim.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EimMode {
    /// The EIM in this process.
    Builtin,
    /// XEP-0114: one connection for all users.
    Component,
    /// A session for each user.
    C2s,
    /// The EIM in this process, its conferences mirrored in the MUC rooms of an XMPP server.
    Muc,
}

impl EimMode {
    /// Whether the EIM is in the gateway's process.
    pub fn is_embedded(self) -> bool {
        matches!(self, Self::Builtin | Self::Muc)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Component => "component",
            Self::C2s => "c2s",
            Self::Muc => "muc",
        }
    }
}

/// `eim.tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EimTls {
    /// `off`
    Off,
    /// `starttls`
    Starttls,
    /// `direct`
    Direct,
}

/// How a user is named on the component's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JidScheme {
    /// The component's own address, with the user's in its local part: routed back by every server.
    #[serde(rename = "user%domain@component/resource")]
    Component,
    /// The user's own address, for servers that route the answer back to the component.
    #[serde(rename = "user@domain/resource")]
    User,
}

/// `[[eim.users]]`: a person of the built-in EIM's address book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EimUser {
    /// The userId, which the person signs in with.
    pub user_id: UserId,
    /// The name that others see.
    pub name: String,
    /// `None`: listed, but cannot sign in.
    #[serde(default)]
    pub password: Option<Secret>,
    /// The department in the address book. Default: none.
    #[serde(default)]
    pub department: Option<String>,
    /// The mobile number in the address book. Default: none.
    #[serde(default)]
    pub mobile: Option<String>,
    /// The mail address in the address book. Default: none.
    #[serde(default)]
    pub email: Option<String>,
}

/// The section `eim`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Eim {
    /// "builtin": one in this process; "component": an XMPP server, over one XEP-0114 connection for all users; "c2s":
    /// an XMPP server, over a session for each user; "muc": an XMPP server without any EIM, whose MUC rooms
    /// are the conferences.
    pub mode: EimMode,
    /// The domain that the users belong to.
    #[serde(deserialize_with = "values::domain")]
    pub domain: String,
    /// The XMPP server's host.
    pub host: Option<String>,
    /// Its port. Default: 5347 for a component, c2s_port for sessions.
    pub port: Option<u16>,
    /// Its port for sessions: where passwords are verified, in any mode.
    pub c2s_port: u16,
    /// The component's domain, which users speak from. Default: `webconf.<domain>`.
    #[serde(deserialize_with = "values::some_domain")]
    pub component: Option<String>,
    /// The component's secret.
    pub secret: Option<Secret>,
    /// The domain of a second component, which alone holds rights on the server, for making users and the like.
    /// Default: none; with the built-in EIM, `webconf-admin.<domain>`.
    #[serde(deserialize_with = "values::some_domain")]
    pub admin_domain: Option<String>,
    /// That component's secret.
    pub admin_secret: Option<Secret>,
    /// The host for that component. Default: host.
    pub admin_host: Option<String>,
    /// The port for that component. Default: port; 5347 where mode is "c2s".
    pub admin_port: Option<u16>,
    /// The domain of the server's MUC service. Default: `conference.<domain>`.
    #[serde(deserialize_with = "values::some_domain")]
    pub muc_domain: Option<String>,
    /// TLS on the link.
    pub tls: EimTls,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// How a user is named on the component's link. "user@domain/resource" is only for a server that routes the answer
    /// back to the component: `confgate check` tells.
    pub jid_scheme: JidScheme,
    /// The resource of every user.
    pub resource: String,
    /// A folder of method files that override or add to the built-in schema. Default: none.
    pub schema_dir: Option<PathBuf>,
    /// How long a request waits for a link that is down.
    #[serde(rename = "wait_ms", with = "values::millis")]
    pub wait: Duration,
    /// How long an answer may take.
    #[serde(rename = "timeout_ms", with = "values::millis")]
    pub timeout: Duration,
    /// Milliseconds before the first attempt to connect again; each further one waits about twice as long.
    #[serde(rename = "reconnect_min_ms", with = "values::millis")]
    pub reconnect_min: Duration,
    /// Milliseconds that an attempt waits at most.
    #[serde(rename = "reconnect_max_ms", with = "values::millis")]
    pub reconnect_max: Duration,
    /// A link on which nothing came for so long is pinged.
    #[serde(rename = "keepalive_ms", with = "values::millis")]
    pub keepalive: Duration,
    /// How often each address of the EIM's is pinged.
    #[serde(rename = "ping_interval_ms", with = "values::millis")]
    pub ping_interval: Duration,
    /// How often a conference that somebody here is in is compared with what the EIM says of it.
    #[serde(rename = "snapshot_interval_ms", with = "values::millis")]
    pub snapshot_interval: Duration,
    /// Most requests sent and not yet answered.
    pub under_way: usize,
    /// Most of them of one user. The last quarter of all is for users who have few.
    pub under_way_per_user: usize,
    /// Namespaces that a guest may use with org.user.processIQ.
    pub guest_namespaces: Vec<String>,
    /// With `{domain}` for `domain`; see [`Eim::guest_addresses`].
    #[serde(deserialize_with = "values::domain_templates")]
    pub guest_destinations: Vec<String>,
    /// Component domains that the built-in EIM lets speak for users. Empty: component alone.
    #[serde(deserialize_with = "values::domains")]
    pub components: Vec<String>,
    /// Component domains that the built-in EIM lets provision, one for each gateway node. Empty: admin_domain alone.
    #[serde(deserialize_with = "values::domains")]
    pub admin_domains: Vec<String>,
    /// `[[eim.users]]`: the users of the built-in EIM.
    pub users: Vec<EimUser>,
}

impl Default for Eim {
    fn default() -> Self {
        Self {
            mode: EimMode::Builtin,
            domain: "ips3000".to_owned(),
            host: None,
            port: None,
            c2s_port: 5222,
            component: None,
            secret: None,
            admin_domain: None,
            muc_domain: None,
            admin_secret: None,
            admin_host: None,
            admin_port: None,
            tls: EimTls::Off,
            ca: None,
            jid_scheme: JidScheme::Component,
            resource: "uc".to_owned(),
            schema_dir: None,
            wait: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            reconnect_min: Duration::from_millis(250),
            reconnect_max: Duration::from_secs(5),
            keepalive: Duration::from_secs(30),
            ping_interval: Duration::from_secs(5),
            snapshot_interval: Duration::from_secs(15),
            under_way: 1024,
            under_way_per_user: 128,
            guest_namespaces: vec!["je:x:client:config".to_owned()],
            guest_destinations: vec!["jeprivacy.{domain}".to_owned()],
            components: Vec::new(),
            admin_domains: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl Eim {
    pub(super) const RANGES: &[Range] = &[
        ("eim.port", 1, 65_535),
        ("eim.c2s_port", 1, 65_535),
        ("eim.admin_port", 1, 65_535),
        ("eim.wait_ms", 0, HOUR_MS),
        ("eim.timeout_ms", 1, HOUR_MS),
        ("eim.reconnect_min_ms", 1, HOUR_MS),
        ("eim.reconnect_max_ms", 1, HOUR_MS),
        ("eim.keepalive_ms", 1000, HOUR_MS),
        ("eim.ping_interval_ms", 100, HOUR_MS),
        ("eim.snapshot_interval_ms", 100, HOUR_MS),
        ("eim.under_way", 1, 1_000_000),
        ("eim.under_way_per_user", 1, 1_000_000),
    ];

    /// The domain that users speak from: `component`, else `webconf.<domain>`.
    pub fn component_domain(&self) -> String {
        self.component.clone().unwrap_or_else(|| format!("webconf.{}", self.domain))
    }

    /// The domain that holds the gateway's own rights: `admin_domain`, else `webconf-admin.<domain>` at the built-in
    /// EIM; `None` where provisioning goes from the bare component domain.
    pub fn provisioning_domain(&self) -> Option<String> {
        let own = || self.mode.is_embedded().then(|| format!("webconf-admin.{}", self.domain));
        self.admin_domain.clone().or_else(own)
    }

    /// Component domains whose `user%domain@component` addresses the built-in EIM believes.
    pub fn trusted_components(&self) -> Vec<String> {
        if self.components.is_empty() { vec![self.component_domain()] } else { self.components.clone() }
    }

    /// Domains in whose bare address the built-in EIM believes a gateway's own requests.
    pub fn trusted_admin_domains(&self) -> Vec<String> {
        let own = self.mode.is_embedded() || self.admin_domains.is_empty();
        let own = self.provisioning_domain().filter(|domain| own && !self.admin_domains.contains(domain));
        self.admin_domains.iter().cloned().chain(own).collect()
    }

    /// The domain of the MUC service: `muc_domain`, else `conference.<domain>`.
    pub fn muc_service(&self) -> String {
        self.muc_domain.clone().unwrap_or_else(|| format!("conference.{}", self.domain))
    }

    /// `guest_destinations` with the domain filled in.
    pub fn guest_addresses(&self) -> Vec<String> {
        self.guest_destinations.iter().map(|to| to.replace("{domain}", &self.domain)).collect()
    }

    /// The XMPP server's host; the domain itself where none is configured.
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.domain)
    }

    /// `port`, else the mode's own: 5347 for components, `c2s_port` for sessions.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.mode == EimMode::C2s { self.c2s_port } else { 5347 })
    }

    /// Where sessions go and where passwords are verified.
    pub fn session_port(&self) -> u16 {
        if self.mode == EimMode::C2s { self.port() } else { self.c2s_port }
    }

    /// Host and port of the provisioning component's connection.
    pub fn provisioning_address(&self) -> (&str, u16) {
        (
            self.admin_host.as_deref().unwrap_or_else(|| self.host()),
            self.admin_port.unwrap_or(match self.mode {
                EimMode::C2s => 5347,
                _ => self.port(),
            }),
        )
    }

    pub(super) fn check(&self, found: &mut Findings) {
        found.refuse_repeats("eim.users", "user_id", self.users.iter().map(|user| &user.user_id));
        for (i, user) in self.users.iter().enumerate() {
            if display_name::checked(&user.name, display_name::MAX).is_none() {
                found.refuse(&format!("eim.users[{i}].name"), display_name::ALLOWED);
            }
        }
        if self.mode != EimMode::Builtin {
            self.check_external(found);
        }
        if self.provisioning_domain().as_ref() == Some(&self.component_domain()) {
            found.refuse(
                "eim.admin_domain",
                "a domain other than eim.component: the one that callers speak from holds no rights",
            );
        }
        let callers = self.trusted_components();
        if self.admin_domains.iter().any(|domain| callers.contains(domain)) {
            found.refuse("eim.admin_domains", "domains other than those of eim.components, which hold no rights");
        }
        if self.component_domain() == self.domain {
            found.refuse("eim.component", "a domain other than eim.domain");
        }
        if self.reconnect_min > self.reconnect_max {
            found.refuse("eim.reconnect_min_ms", "at most eim.reconnect_max_ms");
        }
        if self.resource.is_empty() || self.resource.len() > 64 || !self.resource.bytes().all(|b| b.is_ascii_graphic())
        {
            found.refuse("eim.resource", "1 to 64 printable ASCII characters without space");
        }
    }

    fn check_external(&self, found: &mut Findings) {
        if self.host.as_deref().is_none_or(str::is_empty) {
            found.refuse("eim.host", "a host name or address, since eim.mode is not \"builtin\"");
        }
        let set = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| !secret.is_empty());
        if matches!(self.mode, EimMode::Component | EimMode::Muc) && !set(&self.secret) {
            let mode = self.mode.name();
            let wanted = format!("the component's secret at the XMPP server, since eim.mode is {mode:?}");
            found.refuse("eim.secret", &wanted);
        }
        if self.mode == EimMode::Muc {
            self.check_muc(found);
        }
        if self.admin_domain.is_some() && !set(&self.admin_secret) {
            found.refuse(
                "eim.admin_secret",
                "that component's secret at the XMPP server, since eim.admin_domain is set",
            );
        }
    }

    fn check_muc(&self, found: &mut Findings) {
        if self.jid_scheme != JidScheme::Component {
            let wanted =
                "\"user%domain@component/resource\", since eim.mode is \"muc\": guests have no account at the server";
            found.refuse("eim.jid_scheme", wanted);
        }
        let others = [Some(self.domain.clone()), Some(self.component_domain()), self.provisioning_domain()];
        if others.contains(&Some(self.muc_service())) {
            found.refuse("eim.muc_domain", "the domain of the server's MUC service, which is no other's");
        }
    }

    /// The additional demand of `confgate eim`: a server to be a component of.
    pub(super) fn check_service(&self, found: &mut Findings) {
        if self.host.as_deref().is_none_or(str::is_empty) {
            found.refuse("eim.host", "the XMPP server's host name or address");
        }
        if self.secret.as_ref().is_none_or(Secret::is_empty) {
            found.refuse("eim.secret", "the components' secret at the XMPP server");
        }
    }
}
