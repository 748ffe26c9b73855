//! The wire to the EIM: XML, the XMPP stream, the link with its requests under way, conversion by schema.

pub mod address_health;
pub mod addresses;
pub mod amqp;
pub mod convert;
pub mod events;
pub mod inbound;
pub mod iq_handler;
pub mod link;
mod link_plan;
pub mod probe;
pub mod provision;
pub mod requests;
pub mod sessions;
pub mod settings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::ids::{Secret, UserId};
use crate::rate_limit::shares::{NoPlace, Shares};
use crate::xmpp::dial::InProcess;
use crate::xmpp::xml::Stanza;
use address_health::{AddressHealth, Asker, Look};
use addresses::Addresses;
pub use events::{INBOUND_MAX, Inbound};
use link::{Context, Link};
pub use link::{EimError, Guard};
use link_plan::Plan;
pub use probe::{Client, Probed, probe};
use provision::Provision;
pub use provision::ProvisionError;
use sessions::{C2sServer, Sessions};
pub use settings::{EimConfig, Mode, TlsMode};

/// How long a session whose account ends is kept for answers that are on their way.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// Handle to everything that speaks to the EIM. Cheap to clone.
///
/// It is a front for the tasks of its links (one for the callers, one for provisioning, in mode `c2s` one for each
/// user): see [`Link`] for their mailboxes and what a caller learns when one is full or gone.
#[derive(Clone)]
pub struct Eim(Arc<Parts>);

struct Parts {
    addresses: Addresses,
    callers: Callers,
    /// The gateway's own: link and address. The callers' link where no provisioning domain is configured.
    own: Option<(Link, String)>,
    provision: Option<Provision>,
    /// Where passwords are proved; none with the built-in EIM.
    server: Option<C2sServer>,
    timeout: Duration,
    health: watch::Receiver<Health>,
    address_health: AddressHealth,
    /// The requests under way of each user.
    shares: Shares<UserId>,
}

/// How users speak.
enum Callers {
    Component(Link),
    Sessions(Arc<Sessions>),
}

/// The addresses that a caller wrote, to be put back into the answer.
struct OriginalAddresses {
    from: SmolStr,
    to: Option<SmolStr>,
    id: Option<SmolStr>,
}

impl Eim {
    /// Starts the links. `inproc` is the way to the built-in EIM and needed in mode `builtin` only. News come out of
    /// the receiver, which holds [`INBOUND_MAX`]; see [`events::Outbox`] for what happens when it is full.
    /// The error says what in the configuration cannot work.
    pub fn start(
        config: &EimConfig,
        inproc: Option<InProcess>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Inbound>), String> {
        let (to, inbound) = mpsc::channel(INBOUND_MAX);
        // Two bounds: callers who fill theirs must not keep the gateway itself from speaking.
        let around = || Context::new(config.under_way, to.clone(), tracker.clone());
        let plan = Plan::new(config, inproc)?;
        let callers = match plan.callers() {
            Some(settings) => Callers::Component(Link::start(settings, None, &around(), stop.clone())),
            None => {
                let server = plan.server.clone().ok_or("mode c2s without a server")?;
                let (resource, inbound) = (config.resource.clone(), config.inbound.clone());
                let sessions = Sessions::new(server, resource, inbound, plan.timing, around(), stop.clone());
                Callers::Sessions(Arc::new(sessions))
            }
        };
        let begun = |(settings, from)| (Link::start(settings, None, &around(), stop.clone()), from);
        let admin = plan.admin().map(begun);
        let maker = if config.mode == Mode::Muc { plan.server_admin().map(begun) } else { admin.clone() };
        let provision = maker.map(|(link, from)| plan.provision(link, from));
        let own = admin.or_else(|| match &callers {
            Callers::Component(link) => Some((link.clone(), config.component.clone())),
            Callers::Sessions(_) => None,
        });
        let link = match (&callers, &own) {
            (Callers::Component(link), _) | (Callers::Sessions(_), Some((link, _))) => link.health(),
            (Callers::Sessions(sessions), None) => sessions.server().health(),
        };
        let asker = match (&callers, &own) {
            (_, Some((link, from))) => Asker::Own(link.clone(), from.clone()),
            (Callers::Component(link), None) => Asker::Own(link.clone(), config.component.clone()),
            (Callers::Sessions(sessions), None) => Asker::Sessions(sessions.clone()),
        };
        let address_health = AddressHealth::new(&config.asked_at, config.inbound.reason());
        let (health_sender, health) = watch::channel(link.borrow().clone());
        let every = Duration::from_millis(config.ping_interval_ms);
        let (domain, limit) = (config.domain.clone(), plan.timing.timeout);
        let c2s_server = match &callers {
            Callers::Component(_) => None,
            Callers::Sessions(sessions) => Some(sessions.server().clone()),
        };
        let look = Look {
            health: address_health.clone(),
            asker,
            server: c2s_server,
            domain,
            every,
            limit,
            link,
            health_sender,
            inbound: to,
        };
        tracker.spawn(async move { stop.run_until_cancelled(look.run()).await });
        let (addresses, server, timeout) = (plan.addresses, plan.server, plan.timing.timeout);
        let shares = Shares::new(config.under_way, config.under_way_per_user);
        let parts = Parts { addresses, callers, own, provision, server, timeout, health, address_health, shares };
        Ok((Self(Arc::new(parts)), inbound))
    }

    /// Sends a caller's IQ (get or set, one child, `to` present) as that user, and gives the EIM's answer, result or
    /// error, with `from`, `to` and `id` as the caller wrote them.
    ///
    /// The caller has made sure that `from` is absent or the user's own.
    pub async fn request_as(&self, user: &UserId, mut iq: Stanza, timeout: Duration) -> Result<Stanza, EimError> {
        let [from, to, id] = ["from", "to", "id"].map(|name| iq.attr(name).map(SmolStr::from));
        let own = || self.0.addresses.own(user).into();
        let written = OriginalAddresses { from: from.clone().unwrap_or_else(own), to, id };
        let guard = Some(self.guard(user)?);
        let answer = match &self.0.callers {
            Callers::Component(link) => {
                iq.set("from", self.0.addresses.on_wire(user, from.as_deref()));
                if written.to.is_none() {
                    // Without one the server would close the stream (XEP-0114 section 3).
                    iq.set("to", self.0.addresses.domain.as_str());
                }
                link.request_within(guard, iq, timeout).await
            }
            Callers::Sessions(sessions) => {
                iq.remove("from");
                match sessions.link(user)?.request_within(guard, iq, timeout).await {
                    Err(EimError::Unreachable { sent: false }) if self.has_lost_session(user) => {
                        Err(EimError::NoSession)
                    }
                    outcome => outcome,
                }
            }
        };
        answer.map(|answer| written.back_into(answer))
    }

    /// Sends the gateway's own IQ, from the provisioning domain (or where none is configured from the component).
    /// Mode `c2s` without a provisioning domain has no address for it: unreachable.
    pub async fn request(&self, iq: Stanza, timeout: Duration) -> Result<Stanza, EimError> {
        self.request_within(None, iq, timeout).await
    }

    /// As [`Eim::request`], on behalf of somebody, within their share.
    pub async fn request_within(
        &self,
        guard: Option<Guard>,
        mut iq: Stanza,
        timeout: Duration,
    ) -> Result<Stanza, EimError> {
        let (link, from) = self.0.own.as_ref().ok_or(EimError::Unreachable { sent: false })?;
        iq.set("from", from.as_str());
        link.request_within(guard, iq, timeout).await
    }

    /// A place in the user's share of the requests under way.
    pub fn guard(&self, user: &UserId) -> Result<Guard, EimError> {
        let share = self.0.shares.take(user).map_err(|bound| {
            let refused = match bound {
                NoPlace::OfKey => EimError::TooManyOfUser,
                NoPlace::AtAll => EimError::TooManyUnderWay,
            };
            metrics::counter!("confgate_eim_requests_failed_total", "why" => refused.label()).increment(1);
            refused
        })?;
        Ok(Arc::new(share))
    }

    /// Whether the server takes the password, by SASL. Unreachable with the built-in EIM, which is asked by IQ.
    pub async fn verify_password(&self, user: &UserId, password: &Secret) -> Result<bool, EimError> {
        let server = self.0.server.as_ref().ok_or(EimError::Unreachable { sent: false })?;
        server.verify_password(user, password, self.0.timeout).await
    }

    /// Signs the user in at the server (mode `c2s`): see [`Sessions::open`]. Elsewhere there is nothing to open.
    pub async fn open_session(&self, user: &UserId, password: &Secret) -> Result<bool, EimError> {
        match &self.0.callers {
            Callers::Component(_) => Ok(true),
            Callers::Sessions(sessions) => sessions.open(user, password).await,
        }
    }

    /// Whether the user speaks over a session that is lost, and must sign in anew (mode `c2s`). While it isn't known
    /// whether it can be opened again, it is not lost.
    pub fn has_lost_session(&self, user: &UserId) -> bool {
        match &self.0.callers {
            Callers::Component(_) => false,
            Callers::Sessions(sessions) => sessions.has_lost(user),
        }
    }

    /// Waits, mode `c2s`, until the user's requests are answered, for a short while: what ends a conference is answered
    /// over the session that goes with it.
    pub async fn answered(&self, user: &UserId) {
        if matches!(self.0.callers, Callers::Component(_)) {
            return;
        }
        let until = Instant::now() + LAST_ANSWERS;
        while self.0.shares.holds(user) && Instant::now() < until {
            tokio::time::sleep(LAST_ANSWERS / 25).await;
        }
    }

    /// Signs the user out (mode `c2s`) and forgets the password.
    pub fn close_session(&self, user: &UserId) {
        if let Callers::Sessions(sessions) = &self.0.callers {
            sessions.close(user);
        }
    }

    /// Makes an account by XEP-0133, from the provisioning domain.
    pub async fn create_account(&self, user: &UserId, password: &Secret, name: &str) -> Result<(), ProvisionError> {
        self.provision()?.add(user, password, name).await
    }

    /// Removes an account by XEP-0133. One that is not there is removed already.
    pub async fn delete_account(&self, user: &UserId) -> Result<(), ProvisionError> {
        self.provision()?.delete(user).await
    }

    fn provision(&self) -> Result<&Provision, ProvisionError> {
        let text = "eim.admin_domain is not configured".to_owned();
        self.0.provision.as_ref().ok_or(ProvisionError::Refused { condition: "not-allowed".into(), text })
    }

    /// Whether all sessions that can be opened again after a start are, or have been refused: see [`Sessions::link`].
    pub fn sessions_restored(&self) {
        if let Callers::Sessions(sessions) = &self.0.callers {
            sessions.restored();
        }
    }

    /// Whether that answer is the server's in the place of the address that was asked, which is away. `is_own`: the
    /// conditions with which the EIM itself is known to answer.
    pub fn is_away(&self, address: &str, answer: &Stanza, is_own: impl FnOnce(&str) -> bool) -> bool {
        self.0.address_health.answered(address, answer, is_own)
    }

    /// The EIM's addresses, as far as it is known whether they are there.
    pub fn address_health(&self) -> Vec<address_health::Address> {
        self.0.address_health.addresses()
    }

    /// The callers' link (in mode `c2s` the gateway's own, or how the last attempt to sign a user in went), and behind
    /// it the EIM's addresses.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.health.clone()
    }

    /// The provisioning link, where there is one of its own.
    pub fn provisioning_health(&self) -> Option<watch::Receiver<Health>> {
        self.0.provision.as_ref().map(|p| p.link.health())
    }

    /// The address under which a user subscribes to events: where they will be sent to.
    pub fn address_of(&self, user: &UserId) -> String {
        match &self.0.callers {
            Callers::Component(_) => self.0.addresses.on_wire(user, None),
            Callers::Sessions(_) => self.0.addresses.own(user),
        }
    }
}

impl OriginalAddresses {
    fn back_into(self, mut answer: Stanza) -> Stanza {
        answer.set("to", self.from);
        match self.to {
            Some(to) => answer.set("from", to),
            None => answer.remove("from"),
        }
        match self.id {
            Some(id) => answer.set("id", id),
            None => answer.remove("id"),
        }
        answer
    }
}
