//! The means of the conversation: requests by the schema's names, as the gateway makes them, and rows about their answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::broker::Broker;
use super::events::{EventStream, UNNUMBERED};
use super::mask::{masked, masked_text};
use super::operations::Operation;
use super::report::{Report, RoundTrip};
use crate::config::EimMode;
use crate::eim::convert::{Dialect, from_iq, to_iq};
use crate::eim::{Eim, EimError};
use crate::event::{Event, NumberedBy};
use crate::ids::{ConfId, Secret, UserId};
use crate::refusal::{Kind, Reason, Refusal};
use crate::schema::{Method, Schema, Speaker, XIq};
use crate::xmpp::xml::Stanza;

/// How long an event may take that follows from an answered request.
const EVENT_WAIT: Duration = Duration::from_secs(5);
/// Members of results that the gateway adds to what the EIM answers.
const ADDED: [&str; 2] = ["link", "callGateway"];
/// The same where it gives the numbers.
const NUMBERS: [&str; 2] = ["epoch", "seq"];

/// Why an EIM without numbers is not asked for what is about sockets and seats.
const KEPT_BY_GATEWAY: &str = "the gateway numbers the events, and keeps sockets and seats itself";

/// The conversation can't go on without this row.
pub struct Stop(pub &'static str);

/// The users and the names in the conversation.
pub struct Cast {
    /// The user who makes the conference: a real one.
    pub chair: UserId,
    /// The chair's password at the EIM, where it is known.
    pub chair_password: Option<Secret>,
    /// The guest, a temporary account.
    pub guest: UserId,
    /// A second one, who waits in the lobby and is kicked.
    pub visitor: UserId,
    /// The name of a gateway node that there is not.
    pub node: String,
    /// The conference's password.
    pub conf_password: String,
}

/// What must be taken back at the end.
#[derive(Default)]
pub struct Made {
    /// The conference, until it has ended.
    pub conference: Option<ConfId>,
    /// The chair's subscription to news of their own.
    pub subscription: bool,
    /// Accounts of the EIM's.
    pub accounts: BTreeSet<UserId>,
    /// Accounts of the XMPP server's (XEP-0133).
    pub logins: BTreeSet<UserId>,
}

/// See the module.
pub struct Conversation {
    pub eim: Eim,
    pub schema: Arc<Schema>,
    pub mode: EimMode,
    /// Who numbers the events: where it is the gateway, it keeps sockets and seats too, and the EIM is never told of them.
    pub numbered: NumberedBy,
    pub domain: String,
    pub dialect: Dialect,
    /// How long an answer may take.
    pub limit: Duration,
    pub events: EventStream,
    pub report: Report,
    pub cast: Cast,
    pub made: Made,
    /// The broker, where events come by one.
    pub broker: Option<Broker>,
    /// Texts that are never shown.
    pub secrets: Vec<String>,
}

/// The outcome of a request.
pub struct Reply {
    pub shown: RoundTrip,
    /// What the gateway would make of it.
    pub outcome: Result<Value, Refusal>,
    /// Whether the EIM itself has refused.
    pub is_refused: bool,
}

impl Conversation {
    /// Asks the EIM as the gateway does: the named entry of the schema, by that user where the entry is a user's.
    pub async fn request(&self, entry: &str, user: &UserId, params: Value) -> Reply {
        let Some((method, x_iq)) = self.entry(entry) else {
            let shown = RoundTrip { request: String::new(), answer: String::new() };
            return Reply { shown, outcome: Err(Refusal::fault(format!("no entry {entry}"))), is_refused: false };
        };
        let params = if let Value::Object(params) = params { params } else { Map::new() };
        let iq = match to_iq(x_iq, &params, &self.domain) {
            Ok(iq) => iq,
            Err(refusal) => {
                let shown = RoundTrip { request: "none".to_owned(), answer: "none".to_owned() };
                return Reply { shown, outcome: Err(refusal), is_refused: false };
            }
        };
        let answer = match x_iq.speaker {
            Speaker::Gateway => self.eim.request(iq.clone(), self.limit).await,
            Speaker::User => self.eim.request_as(user, iq.clone(), self.limit).await,
        };
        let shown_iq = match x_iq.speaker {
            Speaker::Gateway => iq,
            Speaker::User => iq.with("from", self.eim.address_of(user)),
        };
        self.read(method, x_iq, &shown_iq, answer)
    }

    fn read(&self, method: &Method, x_iq: &XIq, iq: &Stanza, answer: Result<Stanza, EimError>) -> Reply {
        let request = masked(iq, &self.secrets);
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let shown = RoundTrip { request, answer: format!("none: {}", self.no_answer(error)) };
                return Reply { shown, outcome: Err(error.into()), is_refused: false };
            }
        };
        let shown = RoundTrip { request, answer: masked(&answer, &self.secrets) };
        let address = x_iq.address(&self.domain);
        if self.eim.is_away(&address, &answer, |condition| x_iq.refusal(condition).is_some()) {
            let why = format!("the XMPP server answers in the place of {address}: nobody is there");
            return Reply { shown, outcome: Err(Refusal::eim_unreachable(false).saying(why)), is_refused: false };
        }
        let outcome =
            from_iq(x_iq, &answer, &self.dialect).and_then(|result| match validate(method, &result, self.numbered) {
                Ok(()) => Ok(result),
                Err(why) => Err(Refusal::of(Reason::EimBadAnswer).saying("the answer can't be used").with("text", why)),
            });
        Reply { shown, outcome, is_refused: answer.attr("type") == Some("error") }
    }

    /// A row that passes where the request has a result that `check` takes; `check` gives the row's note. Gives that result.
    pub async fn expect(
        &mut self,
        row: &'static str,
        user: &UserId,
        params: Value,
        check: impl FnOnce(&Value) -> Result<String, String>,
    ) -> Option<Value> {
        let reply = self.request(entry_of(row), user, params).await;
        let checked = reply.result().and_then(|result| check(&result).map(|note| (note, result)));
        match checked {
            Ok((note, result)) => {
                self.report.passed(row, &note);
                Some(result)
            }
            Err(why) => {
                self.report.failed(row, &masked_text(&why, &self.secrets), Some(&reply.shown));
                None
            }
        }
    }

    /// A row that passes where the EIM refuses the request. `kind`: what the gateway must be able to read in the refusal.
    pub async fn expect_refusal(&mut self, row: &'static str, user: &UserId, params: Value, kind: Option<Kind>) {
        let reply = self.request(entry_of(row), user, params).await;
        let why = match &reply.outcome {
            Ok(_) => "there is a result where a refusal must be".to_owned(),
            Err(refusal) if refusal.is(Reason::EimBadAnswer) => "there is a result where a refusal must be".to_owned(),
            Err(refusal) if !reply.is_refused => in_words(refusal),
            Err(refusal) if kind.is_none_or(|kind| kind == refusal.kind) => {
                self.report.passed(row, &format!("refused: {}", refusal.key()));
                return;
            }
            Err(refusal) => format!(
                "the refusal must be read as {}, by its condition and its reason; it is {}",
                kind.map(|kind| kind as i32).unwrap_or_default(),
                in_words(refusal)
            ),
        };
        self.report.failed(row, &why, Some(&reply.shown));
    }

    /// A row for a request that causes an event, and for the first of its type a row for the event.
    pub async fn expect_event(
        &mut self,
        row: &'static str,
        event_row: &'static str,
        user: &UserId,
        params: Value,
        check: impl Fn(&Event) -> Result<(), String>,
    ) -> Option<Value> {
        let reply = self.request(entry_of(row), user, params).await;
        let result = match reply.result() {
            Ok(result) => result,
            Err(why) => {
                self.report.failed(row, &why, Some(&reply.shown));
                return None;
            }
        };
        self.follow(row, event_row, &result, &reply.shown, check).await;
        Some(result)
    }

    /// The same once the request has its result.
    pub async fn follow(
        &mut self,
        row: &'static str,
        event_row: &'static str,
        result: &Value,
        shown: &RoundTrip,
        check: impl Fn(&Event) -> Result<(), String>,
    ) {
        let kind = event_row.trim_start_matches("event ");
        let number = result["seq"].as_u64().filter(|_| self.numbered == NumberedBy::Eim);
        let note = number.map_or("done".to_owned(), |seq| format!("done, seq {seq}"));
        let is_first = !self.report.has(event_row);
        if !is_first && !self.report.has_passed(event_row) {
            self.report.passed(row, &note);
            return;
        }
        let event = self.events.wait(kind, self.event_wait(), check).await;
        let wrong = |event: &Event| {
            let differs = number.filter(|seq| *seq != event.seq);
            differs.map(|seq| format!("the answer's seq is {seq}, but its event has the number {}", event.seq))
        };
        match (event, is_first) {
            (Ok(event), _) => {
                match wrong(&event) {
                    Some(why) => self.report.failed(row, &why, Some(shown)),
                    None => self.report.passed(row, &note),
                }
                if is_first {
                    self.report.passed(event_row, &place(&event));
                }
            }
            (Err(why), true) => {
                self.report.passed(row, &note);
                self.report.failed(event_row, &format!("{why}, after {row}"), Some(shown));
            }
            (Err(why), false) => self.report.failed(row, &why, Some(shown)),
        }
    }

    /// Whether the EIM is told of sockets and seats. Where the gateway keeps them, these rows say so.
    pub fn is_told(&mut self, rows: &[&'static str]) -> bool {
        if self.numbered == NumberedBy::Gateway {
            rows.iter().for_each(|row| self.report.not_asked(row, KEPT_BY_GATEWAY));
        }
        self.numbered == NumberedBy::Eim
    }

    /// How long an event may take.
    pub fn event_wait(&self) -> Duration {
        EVENT_WAIT.min(self.limit)
    }

    /// Why a request has no answer, with what the link says of itself.
    pub fn no_answer(&self, error: EimError) -> String {
        let health = self.eim.health().borrow().clone();
        match error {
            EimError::Timeout => format!("nothing came within {} ms", self.limit.as_millis()),
            error if health.up || health.why.is_empty() => error.to_string(),
            error => format!("{error}: {}", health.why),
        }
    }

    fn entry(&self, name: &str) -> Option<(&Method, &XIq)> {
        let method = self.schema.internal(name).or_else(|| self.schema.method(name))?;
        Some((method, method.x_iq.as_ref()?))
    }
}

impl Reply {
    /// The result, or in words why there is none.
    pub fn result(&self) -> Result<Value, String> {
        self.outcome.clone().map_err(|refusal| in_words(&refusal))
    }
}

fn entry_of(row: &'static str) -> &'static str {
    Operation::of(row).entry().unwrap_or(row)
}

/// Whether the result is what the schema promises, but for what the gateway adds to it.
fn validate(method: &Method, result: &Value, numbered: NumberedBy) -> Result<(), String> {
    let errors = method.validate_result(result).err().unwrap_or_default();
    let is_added = |path: &str| ADDED.contains(&path) || (numbered == NumberedBy::Gateway && NUMBERS.contains(&path));
    let errors: Vec<_> = errors.iter().filter(|error| !is_added(&error.path)).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<_> = errors.iter().map(|error| format!("{} {}", error.path, error.message)).collect();
    Err(errors.join("; "))
}

/// Where an event stands in its conference.
pub fn place(event: &Event) -> String {
    if event.epoch == UNNUMBERED {
        return format!("of {}", event.conf_id);
    }
    format!("number {} of epoch {}", event.seq, event.epoch)
}

/// A refusal as an integrator understands it.
fn in_words(refusal: &Refusal) -> String {
    let word = |member: &str| refusal.data.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    match refusal.kind {
        Kind::EimTimeout => "no answer came in time".to_owned(),
        Kind::EimUnreachable => refusal.message().to_owned(),
        _ if refusal.is(Reason::EimBadAnswer) => format!("the answer can't be used: {}", word("text")),
        Kind::EimRefused => format!("refused with {} {}", word("condition"), word("text")).trim_end().to_owned(),
        kind => format!("refused: {} ({}), {}", refusal.key(), kind as i32, refusal.message()),
    }
}
