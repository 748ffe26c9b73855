//! The link, and the requests that need no member: up to a conference that can be found.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::conversation::{Conversation, Stop, place};
use super::mask::masked;
use super::operations::{Need, OPERATIONS, Operation};
use super::report::RoundTrip;
use crate::config::EimMode;
use crate::eim::EimError;
use crate::eim::amqp::bindings::Subject;
use crate::event::Event;
use crate::ids::{ConfId, Secret, UserId, random_text};
use crate::refusal::Kind;
use crate::xmpp::xml::{Element, Stanza};

/// The name of the conference that is made.
const CONFERENCE_NAME: &str = "confgate check";

/// A user's report of the first generation, as the first socket of a node gives it.
pub const FIRST: u64 = 1;

impl Conversation {
    /// Link, addresses, passwords, and the reports with which a node begins.
    pub async fn open(&mut self) -> Result<(), Stop> {
        self.link().await?;
        self.addresses("ping", "ping", "urn:xmpp:ping").await;
        self.addresses("disco", "query", "http://jabber.org/protocol/disco#info").await;
        self.password().await;
        self.report.not_asked("eim.account.verify", "only the embedded EIM is asked");
        if let Some(broker) = &mut self.broker {
            broker.follow(Subject::User(self.cast.chair.clone())).await;
        }
        self.introduce_node().await;
        Ok(())
    }

    /// The reports with which a node begins, and the chair's subscription to news of their own.
    async fn introduce_node(&mut self) {
        if !self.is_told(&["eim.resetNode", "eim.user.subscribe"]) {
            return;
        }
        let (chair, node) = (self.cast.chair.clone(), self.cast.node.clone());
        self.expect("eim.resetNode", &chair, json!({ "node": node, "generation": FIRST }), |result| {
            let seats = result["seats"].as_array().map_or(0, Vec::len);
            if seats == 0 {
                Ok("no seats, as it must be of a new node".to_owned())
            } else {
                Err(format!("a node that there never was has {seats} seats"))
            }
        })
        .await;
        let subscription = json!({ "node": node, "generation": FIRST });
        let subscribed = self.expect("eim.user.subscribe", &chair, subscription, |_| Ok(format!("as {chair}"))).await;
        self.made.subscription = subscribed.is_some();
    }

    /// Both links carry a request and its answer.
    async fn link(&mut self) -> Result<(), Stop> {
        let (chair, domain) = (self.cast.chair.clone(), self.domain.clone());
        if let (EimMode::C2s, Some(password)) = (self.mode, self.cast.chair_password.clone()) {
            let why = match self.eim.open_session(&chair, &password).await {
                Ok(true) => None,
                Ok(false) => Some(format!("the server refuses {chair}'s password")),
                Err(error) => Some(self.no_answer(error)),
            };
            if let Some(why) = why {
                self.report.failed("link", &format!("{chair} can't sign in: {why}"), None);
                return Err(Stop("link"));
            }
        }
        let ping = || Stanza::iq("get", Element::new("ping", "urn:xmpp:ping")).with("to", &domain);
        let as_user = self.eim.request_as(&chair, ping(), self.limit).await;
        let as_gateway = self.eim.request(ping(), self.limit).await;
        let failed = [(format!("as {chair}"), as_user), ("as the gateway".to_owned(), as_gateway)]
            .into_iter()
            .find_map(|(speaker, answer)| answer.err().map(|error| (speaker, error)));
        let why = match failed {
            Some((speaker, error)) => {
                Some(format!("{domain} does not answer a ping {speaker}: {}", self.no_answer(error)))
            }
            None => match &mut self.broker {
                Some(broker) => {
                    broker.wait_until_up(self.limit).await.err().map(|why| format!("the broker of events: {why}"))
                }
                None => None,
            },
        };
        match why {
            None => {
                self.report.passed("link", &format!("{domain} answers a user and the gateway"));
                Ok(())
            }
            Some(why) => {
                self.report.failed("link", &why, None);
                Err(Stop("link"))
            }
        }
    }

    /// Asks each address that a must is asked at.
    async fn addresses(&mut self, row: &'static str, element: &str, ns: &str) {
        let musts = OPERATIONS.iter().filter(|operation| operation.need == Need::Must);
        let entries: BTreeSet<_> = musts.filter_map(Operation::entry).collect();
        let is_asked = |name: &&str| {
            self.schema.internal(name).or_else(|| self.schema.method(name)).and_then(|entry| entry.x_iq.as_ref())
        };
        let addresses: BTreeSet<_> =
            entries.iter().filter_map(is_asked).map(|x_iq| x_iq.address(&self.domain)).collect();
        for address in &addresses {
            let iq = Stanza::iq("get", Element::new(element, ns)).with("to", address);
            let answer = self.eim.request(iq.clone(), self.limit).await;
            let request = masked(&iq, &self.secrets);
            let (why, answer) = match answer {
                Ok(answer) if self.eim.is_away(address, &answer, |_| false) => {
                    (Some("the XMPP server answers in its place: nobody is there"), masked(&answer, &self.secrets))
                }
                Ok(answer) if row == "disco" && answer.attr("type") != Some("result") => {
                    (Some("it is refused"), masked(&answer, &self.secrets))
                }
                Ok(_) => (None, String::new()),
                Err(error) => (Some("there is no answer"), format!("none: {}", self.no_answer(error))),
            };
            if let Some(why) = why {
                self.report.failed(row, &format!("{address}: {why}"), Some(&RoundTrip { request, answer }));
                return;
            }
        }
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        self.report.passed(row, &addresses.join(", "));
    }

    /// A password that is no one's.
    async fn password(&mut self) {
        let chair = self.cast.chair.clone();
        match self.eim.verify_password(&chair, &Secret::new(random_text(24))).await {
            Ok(false) => self.report.passed("password (wrong)", &format!("{chair} is refused by SASL")),
            Ok(true) => {
                let why = format!("the XMPP server lets {chair} in with a random password");
                self.report.failed("password (wrong)", &why, None);
            }
            Err(EimError::Timeout | EimError::Unreachable { .. }) => {
                let why = "no XMPP server takes sessions at eim.c2s_port, so nobody signs in with a password";
                self.report.not_asked("password (wrong)", why);
            }
            Err(error) => self.report.failed("password (wrong)", &error.to_string(), None),
        }
    }

    /// A conference, found by its password and by its id.
    pub async fn make_conference(&mut self) -> Result<ConfId, Stop> {
        let (chair, password) = (self.cast.chair.clone(), self.cast.conf_password.clone());
        let created = json!({ "name": CONFERENCE_NAME, "password": password });
        let is_right = |result: &Value| is_conference(result, &chair, None).map(|id| format!("conference {id}"));
        let made = self.expect("conference.create", &chair, created, is_right).await;
        let conf = made.and_then(|made| ConfId::parse(made["confId"].as_str()?)).ok_or(Stop("conference.create"))?;
        self.made.conference = Some(conf.clone());
        if let Some(broker) = &mut self.broker {
            broker.follow(Subject::Conference(conf.clone())).await;
        }
        self.created_event(&conf).await;
        self.look_up(&chair, &conf).await;
        Ok(conf)
    }

    async fn created_event(&mut self, conf: &ConfId) {
        let row = "event conference.created";
        if !self.is_told(&[row]) {
            return;
        }
        if !self.report.has_passed("eim.user.subscribe") {
            self.report.not_reached(row, "it comes to those who did eim.user.subscribe");
            return;
        }
        let is_first = |event: &Event| match event {
            event if event.conf_id != *conf => Err(format!("of conference {}", event.conf_id)),
            event if event.seq != 1 => Err(format!("its number is {}: the first one is 1", event.seq)),
            _ => Ok(()),
        };
        match self.events.wait("conference.created", self.event_wait(), is_first).await {
            Ok(event) => self.report.passed(row, &place(&event)),
            Err(why) => self.report.failed(row, &format!("{why}, after conference.create"), None),
        }
    }

    async fn look_up(&mut self, chair: &UserId, conf: &ConfId) {
        let password = self.cast.conf_password.clone();
        let is_it = |result: &Value| is_conference(result, chair, Some(conf)).map(|id| format!("conference {id}"));
        self.expect("eim.conference.find", chair, json!({ "password": password }), is_it).await;
        let other = json!({ "password": random_text(20) });
        self.expect_refusal("eim.conference.find (unknown)", chair, other, Some(Kind::NotFound)).await;
        self.expect("eim.conference.get", chair, json!({ "confId": conf }), is_it).await;
        let unknown = json!({ "confId": unknown_conference() });
        self.expect_refusal("eim.conference.get (unknown)", chair, unknown, Some(Kind::NotFound)).await;
        let is_listed = |result: &Value| {
            let listed = result["conferences"].as_array().map_or(&[][..], Vec::as_slice);
            if listed.iter().any(|one| one["confId"] == conf.as_str()) {
                Ok(format!("{} of {chair}'s", listed.len()))
            } else {
                Err(format!("conference {conf} is not among the {} of its chair", listed.len()))
            }
        };
        self.expect("conference.list", chair, json!({ "limit": 200, "offset": 0 }), is_listed).await;
        self.expect("conference.get", chair, json!({ "confId": conf }), is_it).await;
    }
}

/// An id that no conference has.
pub fn unknown_conference() -> String {
    format!("none-{}", random_text(16))
}

/// The conference's id, where it is that chair's, open, and of the given id.
fn is_conference(result: &Value, chair: &UserId, id: Option<&ConfId>) -> Result<String, String> {
    let text = |member: &str| result[member].as_str().unwrap_or_default().to_owned();
    let found = text("confId");
    if id.is_some_and(|id| id.as_str() != found) {
        return Err(format!("its confId is {found:?}, not the one that was made"));
    }
    if text("chair") != chair.as_str() {
        return Err(format!("its chair is {:?}, but {chair} made it", text("chair")));
    }
    if result["state"] != 0 {
        return Err(format!("its state is {}, and one that begins at once is 0", result["state"]));
    }
    Ok(found)
}
