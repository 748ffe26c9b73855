//! `confgate check`: connects as configured, authenticates, and proves that answers come back to our addresses.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::eim::address::JidScheme;
use crate::eim::inbound::INBOUND_MAX;
use crate::eim::link::{EimError, InProcess, Link, LinkSettings, Surroundings, offer};
use crate::eim::plan::Plan;
use crate::eim::settings::{EimConfig, Mode};
use crate::eim::xml::{Element, Stanza};
use crate::ids::UserId;

/// One thing that was tried.
#[derive(Debug)]
pub struct Probed {
    /// E.g. `component webconf.ips3000 at 10.0.0.1:5347`.
    pub part: String,
    /// What was seen, or why it failed.
    pub outcome: Result<String, String>,
}

/// Tries every part of the wire for real. It connects as the components themselves, so a gateway that runs under the
/// same domain must be stopped meanwhile: Prosody refuses the second connection, ejabberd shares answers out among both.
pub async fn probe(config: &EimConfig, inproc: Option<InProcess>) -> Vec<Probed> {
    let plan = match Plan::new(config, inproc) {
        Ok(plan) => plan,
        Err(why) => return vec![Probed { part: "eim".into(), outcome: Err(why) }],
    };
    let mut probed = Vec::new();
    let stop = CancellationToken::new();
    let tracker = TaskTracker::new();
    if let Some(settings) = plan.callers() {
        let part = format!("component {}", config.component);
        probed.push(Probed { part, outcome: try_callers(&plan, settings, &tracker, &stop).await });
    }
    if let Some((settings, from)) = plan.admin() {
        let part = format!("provisioning component {from}");
        probed.push(Probed { part, outcome: try_admin(&plan, settings, from, &tracker, &stop).await });
    }
    if let Some(door) = &plan.door {
        let part = format!("client sessions of {}", config.domain);
        let seen = tokio::time::timeout(plan.timing.timeout, offer(&door.endpoint, &door.domain, &door.security)).await;
        let outcome = match seen {
            Ok(Ok(offer)) => Ok(format!("SASL {}", offer.mechanisms().join(", "))),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no answer within {} ms", config.timeout_ms)),
        };
        probed.push(Probed { part, outcome });
    }
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    probed
}

/// A ping as a user: it does not matter what the server answers, but that the answer finds its way back.
async fn try_callers(
    plan: &Plan<'_>,
    settings: LinkSettings,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<String, String> {
    let link = connect(plan, settings, tracker, stop).await?;
    let user = UserId::parse("confgate-probe").ok_or("no probe user")?;
    let from = plan.addresses.on_wire(&user, None);
    let ping = Stanza::iq("get", &Element::new("ping", "urn:xmpp:ping"));
    let ping = ping.with("from", &from).with("to", &plan.addresses.domain);
    match link.request(ping, plan.timing.timeout).await {
        Ok(answer) => Ok(format!("{} answers {from} ({})", plan.addresses.domain, answer.attr("type").unwrap_or("?"))),
        Err(e) if plan.addresses.scheme == JidScheme::Own => {
            Err(format!("{e}: the server does not route answers for {from} to this component; change eim.jid_scheme"))
        }
        Err(EimError::Timeout) => Err(format!("no answer came back to {from}")),
        Err(e) => Err(e.to_string()),
    }
}

async fn try_admin(
    plan: &Plan<'_>,
    settings: LinkSettings,
    from: String,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<String, String> {
    let link = connect(plan, settings, tracker, stop).await?;
    if plan.mode() == Mode::Builtin {
        return Ok("connected".into());
    }
    match plan.provision(link, from).probe().await {
        Ok(()) => Ok("may add users".into()),
        Err(e) => Err(format!("may not add users: {e}")),
    }
}

async fn connect(
    plan: &Plan<'_>,
    settings: LinkSettings,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Link, String> {
    let connected = settings.dial.connect(plan.timing.timeout).await.map_err(|e| e.to_string())?;
    // What comes in meanwhile is nobody's concern: the receiver is dropped, and the link goes on without.
    let (to, _) = mpsc::channel(INBOUND_MAX);
    let around = Surroundings::new(4, to, tracker.clone());
    Ok(Link::start(settings, Some(connected), &around, stop.child_token()))
}
