//! `confgate check`: connects as configured, authenticates, and proves that answers come back to our addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::eim::addresses::JidScheme;
use crate::eim::events::INBOUND_MAX;
use crate::eim::link::{Context, EimError, Link, LinkSettings, MisroutedReplies};
use crate::eim::link_plan::Plan;
use crate::eim::provision::ProvisionError;
use crate::eim::reach::{self, Asker};
use crate::eim::sessions::Door;
use crate::eim::settings::{EimConfig, Mode};
use crate::ids::{Secret, UserId};
use crate::xmpp::dial::{InProcess, offer};
use crate::xmpp::xml::{Element, Stanza};

/// One thing that was tried.
#[derive(Debug)]
pub struct Probed {
    /// E.g. `component webconf.ips3000`.
    pub part: String,
    /// What was seen, or why it failed.
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
    let (mut probed, mut asker) = (Vec::new(), None);
    if let Some(link) = callers {
        let outcome = match link {
            Ok(link) => {
                asker = Some(Asker::Own(link.clone(), config.component.clone()));
                try_callers(&plan, &link).await.map(|seen| with_advice(seen, &crossed))
            }
            Err(why) => Err(why),
        };
        probed.push(Probed { part: format!("component {}", config.component), outcome });
    }
    if let Some((link, from)) = admin {
        let part = format!("provisioning component {from}");
        let outcome = match link {
            Ok(link) => {
                asker = Some(Asker::Own(link.clone(), from.clone()));
                try_admin(&plan, link, from).await
            }
            Err(why) => Err(why),
        };
        probed.push(Probed { part, outcome });
    }
    if let Some(door) = &plan.door {
        let part = format!("client sessions of {}", config.domain);
        probed.push(Probed { part, outcome: try_door(&plan, door).await });
    }
    if plan.mode() == Mode::C2s {
        for client in clients {
            let (outcome, link) = match running.connect(&plan, plan.session(&client.user, &client.password)).await {
                Ok(link) => (Ok(format!("{} signs in", client.user)), Some(link)),
                Err(why) => (Err(format!("{} can't sign in: {why}", client.user)), None),
            };
            probed.push(Probed { part: client.key.clone(), outcome });
            asker =
                asker.or(
                    link.map(|link| Asker::Own(link, format!("{}@{}/{}", client.user, config.domain, config.resource)))
                );
        }
    }
    if let Some(asker) = asker {
        for (address, outcome) in reach::check(asker, &config.asked_at, &config.domain, plan.timing.timeout).await {
            probed.push(Probed { part: format!("eim {address}"), outcome });
        }
    }
    running.end().await;
    probed
}

/// Who is signed in with a password of the configuration.
pub struct Client {
    /// The password's key.
    pub key: String,
    pub user: UserId,
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
        // What comes in meanwhile is nobody's concern: the receiver is dropped, and the link goes on without.
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

async fn try_door(plan: &Plan<'_>, door: &Door) -> Result<String, String> {
    let limit = plan.timing.timeout;
    match timeout(limit, offer(&door.endpoint, &door.domain, &door.security)).await {
        Ok(Ok(offer)) => Ok(format!("SASL {}", offer.mechanisms().join(", "))),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}
