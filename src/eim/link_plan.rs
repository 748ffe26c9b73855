//! The links that follow from the configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::eim::addresses::{Addresses, JidScheme};
use crate::eim::events::Announce;
use crate::eim::link::{Link, LinkSettings, MisroutedReplies, Timing};
use crate::eim::provision::Provision;
use crate::eim::sessions::C2sServer;
use crate::eim::settings::{EimConfig, Mode, TlsMode};
use crate::ids::{Secret, UserId};
use crate::xmpp::dial::{Dial, Endpoint, InProcess};
use crate::xmpp::negotiate::client::Security;
use crate::xmpp::negotiate::tls::Tls;

/// Which links there are, where they lead and as whom.
pub(super) struct Plan<'a> {
    config: &'a EimConfig,
    pub(super) addresses: Addresses,
    pub(super) timing: Timing,
    components: Endpoint,
    admin_components: Endpoint,
    /// For components, with the name that the certificate must bear.
    tls: Option<(Tls, String)>,
    /// None with the built-in EIM.
    pub(super) server: Option<C2sServer>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(config: &'a EimConfig, inproc: Option<InProcess>) -> Result<Self, String> {
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        let (components, admin_components) = match (config.mode, inproc) {
            (Mode::Builtin | Mode::Muc, Some(inproc)) => {
                (Endpoint::InProcess(inproc.clone()), Endpoint::InProcess(inproc))
            }
            (Mode::Builtin | Mode::Muc, None) => return Err("an EIM in this process that isn't there".into()),
            _ => (tcp(&config.host, config.port), tcp(&config.admin_host, config.admin_port)),
        };
        let security = match config.tls {
            TlsMode::Off => Security::Off,
            TlsMode::Starttls => Security::StartTls(Tls::load(&config.ca, false)?),
            TlsMode::Direct => Security::Direct(Tls::load(&config.ca, true)?),
        };
        let external = config.mode != Mode::Builtin;
        let tls = match config.tls {
            TlsMode::Direct if !config.mode.is_embedded() || config.server_admin.is_some() => {
                Some((Tls::load(&config.ca, false)?, config.domain.clone()))
            }
            _ => None,
        };
        let server_port = if config.mode == Mode::C2s { config.port } else { config.c2s_port };
        let server = external.then(|| C2sServer::new(tcp(&config.host, server_port), config.domain.clone(), security));
        let addresses = Addresses {
            scheme: config.jid_scheme,
            domain: config.domain.clone(),
            component: config.component.clone(),
            resource: config.resource.clone(),
        };
        let timing = Timing {
            timeout: Duration::from_millis(config.timeout_ms),
            wait: Duration::from_millis(config.wait_ms),
            reconnect_min: Duration::from_millis(config.reconnect_min_ms),
            reconnect_max: Duration::from_millis(config.reconnect_max_ms),
            keepalive: Duration::from_millis(config.keepalive_ms),
        };
        Ok(Self { config, addresses, timing, components, admin_components, tls, server })
    }

    pub(super) fn mode(&self) -> Mode {
        self.config.mode
    }

    /// The callers' component; none in mode `c2s`.
    pub(super) fn callers(&self) -> Option<LinkSettings> {
        let config = self.config;
        let beside = (config.jid_scheme == JidScheme::Own).then(|| config.domain.clone());
        let dial = || self.component(&self.components, &config.component, &config.secret, beside);
        (config.mode != Mode::C2s).then(|| self.link("callers", dial(), Announce::Link))
    }

    /// The provisioning component and its domain, where one is configured.
    pub(super) fn admin(&self) -> Option<(LinkSettings, String)> {
        let domain = self.config.admin_domain.clone()?;
        let announce = if self.config.mode == Mode::C2s { Announce::Link } else { Announce::Nothing };
        let dial = self.component(&self.admin_components, &domain, &self.config.admin_secret, None);
        Some((self.link("gateway", dial, announce), domain))
    }

    /// The component that makes accounts, where that is another than [`Plan::admin`]: at the server, in mode `muc`.
    pub(super) fn server_admin(&self) -> Option<(LinkSettings, String)> {
        let (domain, secret) = self.config.server_admin.clone()?;
        let endpoint = Endpoint::Tcp { host: self.config.admin_host.clone(), port: self.config.admin_port };
        let dial = Dial::Component { endpoint, domain: domain.clone(), secret, tls: self.tls.clone(), beside: None };
        Some((self.link("provision", dial, Announce::Nothing), domain))
    }

    /// Lets answers cross between the two, where there are two. Gives the mark that one has crossed.
    pub(super) fn cross(
        &self,
        callers: &mut Option<LinkSettings>,
        admin: &mut Option<(LinkSettings, String)>,
    ) -> Option<Arc<AtomicBool>> {
        let (Some(callers), Some((admin, _))) = (callers, admin) else { return None };
        let (one, other) = MisroutedReplies::crossing();
        let crossed = one.seen();
        (callers.strays, admin.strays) = (Some(one), Some(other));
        Some(crossed)
    }

    /// A user's session, for trying whether they can sign in. Its resource is its own: it throws nobody out.
    pub(super) fn session(&self, user: &UserId, password: &Secret) -> LinkSettings {
        let server = self.server.as_ref().expect("mode c2s has one");
        let (endpoint, domain, security) = (server.endpoint.clone(), server.domain.clone(), server.security.clone());
        let (user, password, resource) = (user.clone(), password.clone(), "confgate-check".to_owned());
        let dial = Dial::Session { endpoint, domain, security, user, password, resource };
        self.link("check", dial, Announce::Nothing)
    }

    fn component(&self, endpoint: &Endpoint, domain: &str, secret: &Secret, beside: Option<String>) -> Dial {
        let (endpoint, domain) = (endpoint.clone(), domain.to_owned());
        let tls = self.tls.clone().filter(|_| !self.config.mode.is_embedded());
        Dial::Component { endpoint, domain, secret: secret.clone(), tls, beside }
    }

    fn link(&self, name: &'static str, dial: Dial, announce: Announce) -> LinkSettings {
        LinkSettings {
            name,
            dial,
            eim_domain: self.config.domain.clone(),
            inbound: self.config.inbound.clone(),
            timing: self.timing,
            announce,
            strays: None,
        }
    }

    pub(super) fn provision(&self, link: Link, from: String) -> Provision {
        Provision { link, from, domain: self.config.domain.clone(), timeout: self.timing.timeout }
    }
}
