//! Whether the EIM's addresses are there. A link that is up leads to the XMPP server only: behind it each address at
//! which the EIM is asked may be away. Each is pinged at intervals (XEP-0199), and every answer counts, since a server
//! answers in the place of an address that is away.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::date_ms;
use crate::clock::stall::is_stall;
use crate::eim::convert::StanzaError;
use crate::eim::events::Inbound;
use crate::eim::link::{EimError, Link};
use crate::eim::sessions::{C2sServer, Sessions};
use crate::health::Health;
use crate::schema::XReason;
use crate::sync;
use crate::xmpp::jid::same_address;
use crate::xmpp::xml::{Element, Stanza};

/// Pings without an answer, one after the other, after which a silent address is away.
const MISSED_MAX: u32 = 2;
/// How often `confgate check` tries: a server may give the answer to an older connection of the same name.
const TRIES: u32 = 3;
/// First label of an address below the EIM's domain at which nobody is: what the server says of it, it says of every
/// address that is away.
const NOBODY: &str = "confgate-absent";

/// One address of the EIM's, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub name: String,
    /// `None`: nothing is known yet.
    pub here: Option<bool>,
    /// Ms since 1970.
    pub since_ms: u64,
    /// Why it is away.
    pub why: String,
    /// It has answered at least once since the start.
    has_answered: bool,
    /// It went away while the link was up: what it was told before may be lost, and nobody else will say so.
    was_lost: bool,
    missed: u32,
}

/// The health of all addresses: a cloneable handle, written by the receiver of each answer. Nothing waits while the
/// lock is held.
#[derive(Clone)]
pub struct AddressHealth(Arc<Inner>);

struct Inner {
    known: Mutex<Known>,
    changed: watch::Sender<u64>,
    reason: Arc<XReason>,
}

struct Known {
    addresses: Vec<Address>,
    /// The server's error for an address at which nobody is.
    nobody: Option<StanzaError>,
    /// Addresses that were away have come back since this was taken.
    came_back: bool,
}

/// The meaning of an answer for the address that was asked.
#[derive(Debug, PartialEq, Eq)]
enum AddressAnswer {
    Here,
    Away(String),
}

impl AddressHealth {
    /// Nothing is known of the addresses yet.
    pub fn new(names: &[String], reason: Arc<XReason>) -> Self {
        let mut addresses: Vec<Address> = Vec::new();
        for name in names {
            if !addresses.iter().any(|known| same_address(&known.name, name)) {
                let (name, since_ms) = (name.clone(), date_ms());
                let unknown = Address {
                    name,
                    here: None,
                    since_ms,
                    why: String::new(),
                    has_answered: false,
                    was_lost: false,
                    missed: 0,
                };
                addresses.push(unknown);
            }
        }
        let known = Known { addresses, nobody: None, came_back: false };
        Self(Arc::new(Inner { known: Mutex::new(known), changed: watch::Sender::new(0), reason }))
    }

    /// All addresses.
    pub fn addresses(&self) -> Vec<Address> {
        self.lock().addresses.clone()
    }

    /// Takes note of an answer from that address; whether it is the server's, because the address is away.
    /// `is_own`: the condition is one that the request's own entry knows the EIM to answer with.
    pub fn answered(&self, name: &str, answer: &Stanza, is_own: impl FnOnce(&str) -> bool) -> bool {
        let error = self.error_of(answer);
        let answer_kind = interpret(error, self.lock().nobody.as_ref(), is_own);
        let away = matches!(answer_kind, AddressAnswer::Away(_));
        self.note(name, answer_kind);
        away
    }

    /// The content of an error; `None` where the answer is none.
    fn error_of(&self, answer: &Stanza) -> Option<StanzaError> {
        (answer.attr("type") == Some("error")).then(|| StanzaError::of(answer, &self.0.reason))
    }

    /// Why the EIM as a whole is down though the link is up, and since when. An address that has never answered may be
    /// one that this EIM doesn't serve: it alone is no reason.
    pub fn trouble(&self) -> Option<Health> {
        let known = self.lock();
        let away: Vec<&Address> = known.addresses.iter().filter(|each| each.here == Some(false)).collect();
        let none_is_here = !away.is_empty() && away.len() == known.addresses.len();
        let lost: Vec<&&Address> = away.iter().filter(|each| none_is_here || each.has_answered).collect();
        let since_ms = lost.iter().map(|each| each.since_ms).min()?;
        let why: Vec<String> = lost.iter().map(|each| format!("{}: {}", each.name, each.why)).collect();
        Some(Health { since_ms, ..Health::down(why.join("; ")) })
    }

    fn note(&self, name: &str, answer_kind: AddressAnswer) {
        let mut known = self.lock();
        let Some(address) = known.addresses.iter_mut().find(|known| same_address(&known.name, name)) else { return };
        address.missed = 0;
        let here = answer_kind == AddressAnswer::Here;
        let was = address.here.replace(here);
        address.has_answered |= here;
        address.why = match answer_kind {
            AddressAnswer::Here => String::new(),
            AddressAnswer::Away(why) => why,
        };
        if was == Some(here) {
            return;
        }
        address.since_ms = date_ms();
        address.report();
        let is_back = here && std::mem::take(&mut address.was_lost);
        address.was_lost |= !here && was == Some(true);
        known.came_back |= is_back;
        drop(known);
        self.0.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn missed(&self, name: &str, limit: Duration) {
        let missed = {
            let mut known = self.lock();
            let Some(address) = known.addresses.iter_mut().find(|known| known.name == name) else { return };
            address.missed += 1;
            address.missed
        };
        if missed >= MISSED_MAX {
            self.note(name, AddressAnswer::Away(format!("no answer within {} ms, {missed} times", limit.as_millis())));
        }
    }

    /// With the link to the server, what was known of what lies behind it is gone.
    fn forget(&self) {
        let mut known = self.lock();
        known.nobody = None;
        for address in &mut known.addresses {
            // When the link is back, everybody is subscribed again anyway.
            (address.here, address.missed, address.was_lost) = (None, 0, false);
        }
    }

    fn came_back(&self) -> bool {
        std::mem::take(&mut self.lock().came_back)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        sync::lock(&self.0.known)
    }
}

impl Address {
    fn report(&self) {
        let here = self.here == Some(true);
        metrics::gauge!("confgate_eim_address_up", "address" => self.name.clone()).set(f64::from(u8::from(here)));
        if here {
            tracing::info!(address = self.name, "the EIM's address answers");
        } else {
            tracing::warn!(address = self.name, why = self.why, "an address of the EIM's is away");
        }
    }
}

/// Judges an answer. A live entity that doesn't know the question says so by `service-unavailable` or
/// `feature-not-implemented` (RFC 6120 sections 8.3.3.3 and 8.3.3.19); what only servers say, or what this server says
/// of an address at which nobody is, means that the address is away.
fn interpret(
    error: Option<StanzaError>,
    nobody: Option<&StanzaError>,
    is_own: impl FnOnce(&str) -> bool,
) -> AddressAnswer {
    let Some(error) = error else { return AddressAnswer::Here };
    let away = match (error.kind.as_str(), error.condition.as_str()) {
        _ if error.reason.is_some() => false,
        (_, condition) if is_own(condition) => false,
        (_, "remote-server-not-found" | "remote-server-timeout" | "recipient-unavailable") => true,
        ("wait", "service-unavailable") => true,
        (_, "service-unavailable" | "feature-not-implemented") => false,
        _ => nobody == Some(&error),
    };
    if away { AddressAnswer::Away(format!("the server says {}", error.condition)) } else { AddressAnswer::Here }
}

/// The sender of the pings.
pub(super) enum Asker {
    /// The gateway's own link, and its address there.
    Own(Link, String),
    /// Any user's session, where the gateway has no address of its own.
    Sessions(Arc<Sessions>),
}

impl Asker {
    async fn ping(&self, to: &str, limit: Duration) -> Result<Stanza, EimError> {
        let ping = Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("to", to);
        match self {
            Self::Own(link, from) => link.request(ping.with("from", from), limit).await,
            Self::Sessions(sessions) => match sessions.any_link() {
                Some(link) => link.request(ping, limit).await,
                None => Err(EimError::Unreachable { sent: false }),
            },
        }
    }
}

/// Everything that the regular look needs.
pub(super) struct Look {
    pub health: AddressHealth,
    pub asker: Asker,
    /// Where users sign in, if they speak over sessions of their own.
    pub server: Option<C2sServer>,
    /// The XMPP domain.
    pub domain: String,
    pub every: Duration,
    pub limit: Duration,
    /// Of the link, or of the way into sessions.
    pub link: watch::Receiver<Health>,
    /// Of the EIM: the link's, and behind it the addresses'.
    pub health_sender: watch::Sender<Health>,
    pub inbound: mpsc::Sender<Inbound>,
}

impl Look {
    /// Looks until the link has ended.
    pub(super) async fn run(self) {
        tokio::select! {
            () = self.look_at_intervals() => {}
            () = self.notify_changes() => {}
        }
    }

    async fn look_at_intervals(&self) {
        let mut tick = interval(self.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut link = self.link.clone();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                linked = link.changed() => if linked.is_err() {
                    return;
                }
            }
            if let Some(server) = &self.server {
                server.probe(self.limit).await;
            }
            if link.borrow_and_update().up {
                self.once().await;
            }
        }
    }

    async fn notify_changes(&self) {
        let (mut link, mut changed) = (self.link.clone(), self.health.0.changed.subscribe());
        let mut server = self.server.as_ref().map(C2sServer::health);
        loop {
            let linked = tokio::select! {
                _ = changed.changed() => Ok(()),
                () = server_changed(&mut server) => Ok(()),
                linked = link.changed() => linked,
            };
            if linked.is_err() {
                return;
            }
            let now = link.borrow_and_update().clone();
            if !now.up {
                self.health.forget();
            }
            self.publish(now);
            // The EIM may have forgotten who listens, and nobody was told what happened meanwhile.
            if self.health.came_back() && self.inbound.send(Inbound::Up).await.is_err() {
                return;
            }
        }
    }

    async fn once(&self) {
        let knows = self.health.lock().nobody.is_some();
        if !knows
            && let Ok(answer) = self.asker.ping(&format!("{NOBODY}.{}", self.domain), self.limit).await
            && let Some(error) = self.health.error_of(&answer)
        {
            self.health.lock().nobody = Some(error);
        }
        let names: Vec<String> = self.health.addresses().into_iter().map(|address| address.name).collect();
        futures_util::future::join_all(names.iter().map(|name| self.look_at(name))).await;
    }

    async fn look_at(&self, name: &str) {
        let began = Instant::now();
        match self.asker.ping(name, self.limit).await {
            Ok(answer) => drop(self.health.answered(name, &answer, |_| false)),
            Err(EimError::Timeout) if is_stall(self.limit, began.elapsed()) => {}
            Err(EimError::Timeout) => self.health.missed(name, self.limit),
            // The link's trouble, or a queue that is full: nothing of the address.
            Err(
                EimError::Unreachable { .. }
                | EimError::TooManyUnderWay
                | EimError::TooManyOfUser
                | EimError::NoSession
                | EimError::Unsendable(_),
            ) => {}
        }
    }

    fn publish(&self, link: Health) {
        let server = self.server.as_ref().map(|server| server.health().borrow().clone()).filter(|server| !server.up);
        let now = if link.up { server.or_else(|| self.health.trouble()).unwrap_or(link) } else { link };
        self.health_sender.send_if_modified(|known| {
            let changed = known.up != now.up || known.why != now.why;
            *known = now;
            changed
        });
    }
}

async fn server_changed(server: &mut Option<watch::Receiver<Health>>) {
    match server {
        // The server is held beside this: it doesn't go away.
        Some(server) => drop(server.changed().await),
        None => std::future::pending().await,
    }
}

/// Asks each address once, for `confgate check`: what it answers, or why it is away.
pub(super) async fn check(
    asker: Asker,
    names: &[String],
    domain: &str,
    reason: Arc<XReason>,
    limit: Duration,
) -> Vec<(String, Result<String, String>)> {
    let nobody = asker.ping(&format!("{NOBODY}.{domain}"), limit).await.ok();
    let known = AddressHealth::new(names, reason);
    let nobody = nobody.and_then(|answer| known.error_of(&answer));
    let mut checked = Vec::new();
    for address in known.addresses() {
        let mut answer = asker.ping(&address.name, limit / TRIES).await;
        for _ in 1..TRIES {
            if matches!(answer, Err(EimError::Timeout)) {
                answer = asker.ping(&address.name, limit / TRIES).await;
            }
        }
        let outcome = match answer {
            Ok(answer) => match interpret(known.error_of(&answer), nobody.as_ref(), |_| false) {
                AddressAnswer::Here => Ok("answers".to_owned()),
                AddressAnswer::Away(why) => Err(format!("is away: {why}")),
            },
            Err(EimError::Timeout) => Err(format!("doesn't answer within {} ms", limit.as_millis())),
            Err(error) => Err(error.to_string()),
        };
        checked.push((address.name, outcome));
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn error(kind: &str, condition: &str, more: &str) -> Stanza {
        let text = format!(
            "<iq type='error' id='1'><error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{more}</error></iq>"
        );
        Stanza::parse(&text).unwrap()
    }

    fn text(words: &str) -> String {
        format!("<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{words}</text>")
    }

    fn names() -> Vec<String> {
        ["jeconference.ips3000", "jeorg.ips3000"].map(str::to_owned).to_vec()
    }

    fn reason() -> Arc<XReason> {
        Schema::load(None).expect("the built-in schema is right").inbound().reason.clone()
    }

    fn health() -> AddressHealth {
        AddressHealth::new(&names(), reason())
    }

    fn up(health: &AddressHealth) -> bool {
        health.trouble().is_none()
    }

    #[test]
    fn errors_for_an_absent_address_differ_from_those_of_a_live_one() {
        // As ejabberd says it where it may not look for other servers.
        let denied = error("auth", "forbidden", &text("Access denied by service policy"));
        let health = health();
        let nobody = health.error_of(&denied);
        let answer_kind = |answer: &Stanza| interpret(health.error_of(answer), nobody.as_ref(), |_| false);
        let away = [
            denied.clone(),
            error("cancel", "remote-server-not-found", ""),
            // As Prosody says it of a component that isn't connected.
            error("wait", "remote-server-timeout", &text("Component unavailable")),
            error("wait", "service-unavailable", ""),
            error("wait", "recipient-unavailable", ""),
        ];
        for answer in &away {
            assert_ne!(answer_kind(answer), AddressAnswer::Here, "{}", answer.to_xml());
        }
        let here = [
            Stanza::parse("<iq type='result' id='1'/>").unwrap(),
            error("cancel", "service-unavailable", ""),
            error("cancel", "feature-not-implemented", ""),
            error("auth", "forbidden", ""),
            error("auth", "forbidden", "<reason xmlns='je:x:client:error'>conference.notChair</reason>"),
            error("wait", "resource-constraint", ""),
            error("cancel", "item-not-found", ""),
        ];
        for answer in &here {
            assert_eq!(answer_kind(answer), AddressAnswer::Here, "{}", answer.to_xml());
        }
    }

    #[test]
    fn a_condition_that_the_entry_declares_is_the_eims_own() {
        let health = health();
        let answer = error("wait", "recipient-unavailable", "");
        assert!(!health.answered("jeconference.ips3000", &answer, |condition| condition == "recipient-unavailable"));
        assert!(health.answered("jeconference.ips3000", &answer, |_| false));
    }

    #[test]
    fn an_address_that_answered_and_is_away_takes_the_eim_down_until_it_answers_again() {
        let health = health();
        let (here, away) =
            (Stanza::parse("<iq type='result'/>").unwrap(), error("cancel", "remote-server-not-found", ""));
        let heard = |name: &str, answer: &Stanza| {
            health.answered(name, answer, |_| false);
        };
        assert!(up(&health), "nothing is known yet");
        heard("jeconference.ips3000", &here);
        heard("jeorg.ips3000", &away);
        assert!(up(&health), "this EIM may not serve it");
        heard("JeConference.ips3000", &away);
        let why = health.trouble().unwrap().why;
        assert!(why.contains("jeconference.ips3000: the server says remote-server-not-found"), "{why}");
        assert!(!health.came_back());
        heard("jeconference.ips3000", &here);
        assert!(up(&health) && health.came_back() && !health.came_back());
    }

    #[test]
    fn a_silent_address_is_away_after_two_pings_and_any_answer_counts() {
        let health = AddressHealth::new(&names()[..1], reason());
        let limit = Duration::from_millis(10);
        health.missed("jeconference.ips3000", limit);
        assert!(up(&health));
        health.answered("jeconference.ips3000", &error("cancel", "item-not-found", ""), |_| false);
        health.missed("jeconference.ips3000", limit);
        assert!(up(&health));
        health.missed("jeconference.ips3000", limit);
        assert!(health.trouble().unwrap().why.contains("no answer within 10 ms"));
    }
}
