//! `confgate check`: connects as configured, authenticates, and proves that answers come back to our addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::eim::address_health::{self, Asker};
use crate::eim::addresses::JidScheme;
use crate::eim::events::INBOUND_MAX;
use crate::eim::link::{Context, EimError, Link, LinkSettings, MisroutedReplies};
use crate::eim::link_plan::Plan;
use crate::eim::provision::ProvisionError;
use crate::eim::sessions::C2sServer;
use crate::eim::settings::{EimConfig, Mode};
use crate::ids::{Secret, UserId};
use crate::xmpp::dial::{InProcess, offer};
use crate::xmpp::xml::{Element, Stanza};

/// One thing that was tried.
#[derive(Debug)]
pub struct Probed {
    /// E.g. `component webconf.ips3000`.
    pub part: String,
    /// The observation, or the reason of the failure.
    pub outcome: Result<String, String>,
}

/// How often the wire is tried: right after another connection of ours has ended, ejabberd may give it an answer that
/// is for the new one.
const TRIES: u32 = 3;
/// Pings of one try: enough to notice that a server spreads answers at random over two links.
const PINGS: usize = 16;

/// Tries every part of the wire for real. It connects as the components themselves, so a gateway that runs under the
/// same domain must be stopped meanwhile: Prosody refuses the second connection, ejabberd shares answers out among both.
/// `clients`: who is to be signed in at the start in mode `c2s`, each with the key that names them.
pub async fn probe(config: &EimConfig, inproc: Option<InProcess>, clients: &[Client]) -> Vec<Probed> {
    let plan = match Plan::new(config, inproc) {
        Ok(plan) => plan,
        Err(why) => return vec![Probed { part: "eim".into(), outcome: Err(why) }],
    };
    let running = Running { stop: CancellationToken::new(), tracker: TaskTracker::new() };
    let (mut callers, mut admin) = (plan.callers(), plan.admin());
    let crossed = plan.cross(&mut callers, &mut admin);
    // Both are up before either is used, as in the gateway.
    let callers = match callers {
        Some(settings) => Some(running.connect(&plan, settings).await),
        None => None,
    };
    let admin = match admin {
        Some((settings, from)) => Some((running.connect(&plan, settings).await, from)),
        None => None,
    };
    let mut trial = Trial { plan: &plan, config, running: &running, probed: Vec::new(), asker: None };
    if let Some(link) = callers {
        trial.callers(link, &crossed).await;
    }
    if let Some((link, from)) = admin {
        trial.admin(link, from).await;
    }
    if let Some(server) = &plan.server {
        trial.note(format!("client sessions of {}", config.domain), try_server(&plan, server).await);
    }
    if plan.mode() == Mode::C2s {
        for client in clients {
            trial.client(client).await;
        }
    }
    let probed = trial.addresses().await;
    running.end().await;
    probed
}

/// A user that signs in with a password of the configuration.
pub struct Client {
    /// The password's key.
    pub key: String,
    /// The user.
    pub user: UserId,
    /// The user's password at the EIM.
    pub password: Secret,
}

/// The links of a probe.
struct Running {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Running {
    async fn connect(&self, plan: &Plan<'_>, settings: LinkSettings) -> Result<Link, String> {
        let connected = settings.dial.connect(plan.timing.timeout).await.map_err(|e| e.to_string())?;
        // Stanzas that come in meanwhile are nobody's concern: the receiver is dropped, and the link goes on without.
        let (to, _) = mpsc::channel(INBOUND_MAX);
        let around = Context::new(PINGS, to, self.tracker.clone());
        Ok(Link::start(settings, Some(connected), &around, self.stop.clone()))
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The trials so far.
struct Trial<'a> {
    plan: &'a Plan<'a>,
    config: &'a EimConfig,
    running: &'a Running,
    probed: Vec<Probed>,
    /// By whom the EIM's addresses can be asked.
    asker: Option<Asker>,
}

impl Trial<'_> {
    fn note(&mut self, part: String, outcome: Result<String, String>) {
        self.probed.push(Probed { part, outcome });
    }

    async fn callers(&mut self, link: Result<Link, String>, crossed: &Option<Arc<AtomicBool>>) {
        let component = &self.config.component;
        let outcome = match link {
            Ok(link) => {
                self.asker = Some(Asker::Own(link.clone(), component.clone()));
                try_callers(self.plan, &link).await.map(|seen| with_advice(seen, crossed))
            }
            Err(why) => Err(why),
        };
        self.note(format!("component {component}"), outcome);
    }

    async fn admin(&mut self, link: Result<Link, String>, from: String) {
        let part = format!("provisioning component {from}");
        let outcome = match link {
            Ok(link) => {
                self.asker = Some(Asker::Own(link.clone(), from.clone()));
                try_admin(self.plan, link, from).await
            }
            Err(why) => Err(why),
        };
        self.note(part, outcome);
    }

    async fn client(&mut self, client: &Client) {
        let Client { key, user, password } = client;
        let outcome = match self.running.connect(self.plan, self.plan.session(user, password)).await {
            Ok(link) => {
                let address = format!("{user}@{}/{}", self.config.domain, self.config.resource);
                self.asker.get_or_insert(Asker::Own(link, address));
                Ok(format!("{user} signs in"))
            }
            Err(why) => Err(format!("{user} can't sign in: {why}")),
        };
        self.note(key.clone(), outcome);
    }

    /// Asks the EIM's addresses, if anybody can; gives all that was tried.
    async fn addresses(mut self) -> Vec<Probed> {
        if let Some(asker) = self.asker.take() {
            let (asked_at, limit) = (&self.config.asked_at, self.plan.timing.timeout);
            let (domain, reason) = (&self.config.domain, self.config.inbound.reason());
            for (address, outcome) in address_health::check(asker, asked_at, domain, reason, limit).await {
                self.note(format!("eim {address}"), outcome);
            }
        }
        self.probed
    }
}

fn with_advice(seen: String, crossed: &Option<Arc<AtomicBool>>) -> String {
    match crossed {
        Some(crossed) if crossed.load(Ordering::Relaxed) => format!("{seen}; warning: {}", MisroutedReplies::ADVICE),
        _ => seen,
    }
}

/// Pings as a user: it does not matter what the server answers, but that the answers find their way back.
async fn try_callers(plan: &Plan<'_>, link: &Link) -> Result<String, String> {
    let user = UserId::parse("confgate-probe").ok_or("no probe user")?;
    let from = plan.addresses.on_wire(&user, None);
    let domain = &plan.addresses.domain;
    let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("from", &from).with("to", domain);
    let mut last = EimError::Timeout;
    for _ in 0..TRIES {
        let pings = (0..PINGS).map(|_| link.request(ping.clone(), plan.timing.timeout / TRIES));
        let answers = futures_util::future::join_all(pings).await;
        match answers.into_iter().find_map(Result::err) {
            None => return Ok(format!("{domain} answers {from}")),
            Some(e) => last = e,
        }
    }
    Err(match last {
        EimError::Timeout if plan.addresses.scheme == JidScheme::Own => {
            format!("the server does not bring answers for {from} back to the component: change eim.jid_scheme")
        }
        EimError::Timeout => format!("answers for {from} do not come back"),
        e => e.to_string(),
    })
}

async fn try_admin(plan: &Plan<'_>, link: Link, from: String) -> Result<String, String> {
    if plan.mode() == Mode::Builtin {
        return Ok("connected".into());
    }
    let mut provision = plan.provision(link, from);
    provision.timeout /= TRIES;
    let mut last = ProvisionError::Eim(EimError::Timeout);
    for _ in 0..TRIES {
        match provision.probe().await {
            Ok(()) => return Ok("may add users".into()),
            Err(e @ ProvisionError::Eim(EimError::Timeout)) => last = e,
            Err(e) => return Err(format!("may not add users: {e}")),
        }
    }
    Err(last.to_string())
}

async fn try_server(plan: &Plan<'_>, server: &C2sServer) -> Result<String, String> {
    let limit = plan.timing.timeout;
    match timeout(limit, offer(&server.endpoint, &server.domain, &server.security)).await {
        Ok(Ok(offer)) => Ok(format!("SASL {}", offer.mechanisms().join(", "))),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}
