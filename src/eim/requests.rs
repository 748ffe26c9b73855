//! Requests of the gateway and its callers to the EIM, by the schema's names: JSON in, JSON out, an IQ in between.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ids::UserId;
use crate::rate_limit::limiter::Rate;
use crate::rate_limit::throttle::Throttle;
use crate::refusal::{Kind, Reason, Refusal};
use crate::schema::{Method, Schema, Speaker, XIq};

use super::convert::{self, Dialect};
use super::{Eim, EimError, Guard, ProvisionError};
use crate::xmpp::xml::Stanza;

/// Lines that say of such a refusal: one for each member of a large conference would fill the log.
const REFUSALS: Rate = Rate { count: 20, window_ms: 60_000 };

/// A cloneable handle over the link and the schema.
#[derive(Clone)]
pub struct Requests {
    eim: Eim,
    schema: Arc<Schema>,
    dialect: Dialect,
    timeout: Duration,
    refusals: Arc<Throttle>,
}

impl Requests {
    /// Requests over that EIM's links.
    pub fn new(eim: Eim, schema: Arc<Schema>, domain: &str, timeout: Duration) -> Self {
        let refusals = Arc::new(Throttle::new(REFUSALS));
        let dialect = Dialect::new(&schema, domain);
        Self { eim, schema, dialect, timeout, refusals }
    }

    /// A named entry, asked as the gateway itself.
    pub async fn as_gateway(&self, name: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        self.as_gateway_within(None, name, params).await
    }

    /// The same on behalf of somebody, within their share of the requests under way.
    pub async fn as_gateway_within(
        &self,
        guard: Option<Guard>,
        name: &str,
        params: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let method = self.entry(name)?;
        let outcome = self.ask_as_gateway(guard, method, params).await;
        self.note(method, &outcome);
        outcome
    }

    /// A named entry, asked as the user.
    pub async fn as_user(&self, name: &str, user: &UserId, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let method = self.entry(name)?;
        let outcome = self.as_user_method(method, user, params).await;
        self.note(method, &outcome);
        outcome
    }

    /// Logs the refusal of the gateway's own request, of which nobody else would be told.
    fn note(&self, method: &Method, outcome: &Result<Value, Refusal>) {
        let (Err(refusal), Some(x_iq)) = (outcome, &method.x_iq) else { return };
        if refusal.kind != Kind::EimRefused {
            return;
        }
        let word = |member: &str| refusal.data.get(member).and_then(Value::as_str).unwrap_or_default();
        let (address, condition) = (x_iq.address(&self.dialect.domain), word("condition"));
        let label = crate::eim::iq_handler::defined_condition(condition);
        metrics::counter!("confgate_eim_own_requests_refused_total", "operation" => method.name.clone(), "condition" => label)
            .increment(1);
        if let Some(suppressed) = self.refusals.permit_line() {
            let (operation, text) = (&method.name, word("text"));
            tracing::warn!(
                address,
                condition,
                operation,
                text,
                suppressed,
                "the EIM refuses what the gateway asks of its own accord"
            );
        }
    }

    /// A method, asked as the gateway itself.
    pub async fn as_gateway_method(&self, method: &Method, params: &Map<String, Value>) -> Result<Value, Refusal> {
        self.ask_as_gateway(None, method, params).await
    }

    async fn ask_as_gateway(
        &self,
        guard: Option<Guard>,
        method: &Method,
        params: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let x_iq = x_iq(method)?;
        let iq = convert::to_iq(x_iq, params, &self.dialect.domain)?;
        let answer = self.eim.request_within(guard, iq, self.timeout).await?;
        self.read(x_iq, &answer)
    }

    /// As the user, unless the entry says that the gateway asks.
    pub async fn as_user_method(
        &self,
        method: &Method,
        user: &UserId,
        params: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let x_iq = x_iq(method)?;
        if x_iq.speaker == Speaker::Gateway {
            return self.ask_as_gateway(Some(self.eim.guard(user)?), method, params).await;
        }
        let iq = convert::to_iq(x_iq, params, &self.dialect.domain)?;
        let answer = self.eim.request_as(user, iq, self.timeout).await?;
        self.read(x_iq, &answer)
    }

    /// The answer's result; a server's answer in the place of an address that is away is none of the EIM's.
    fn read(&self, x_iq: &XIq, answer: &Stanza) -> Result<Value, Refusal> {
        let address = x_iq.address(&self.dialect.domain);
        if self.eim.is_away(&address, answer, |condition| x_iq.refusal(condition).is_some()) {
            return Err(Refusal::eim_unreachable(false));
        }
        convert::from_iq(x_iq, answer, &self.dialect)
    }

    fn entry(&self, name: &str) -> Result<&Method, Refusal> {
        let found = self.schema.internal(name).or_else(|| self.schema.method(name));
        found.ok_or_else(|| Refusal::fault(format!("the schema has no entry {name}")))
    }
}

/// The members of a JSON object, as an entry's params.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn x_iq(method: &Method) -> Result<&XIq, Refusal> {
    method.x_iq.as_ref().ok_or_else(|| Refusal::fault(format!("{} has no x-iq", method.name)))
}

impl From<EimError> for Refusal {
    fn from(error: EimError) -> Self {
        match error {
            EimError::Unreachable { sent } => Refusal::eim_unreachable(sent),
            EimError::Timeout => Refusal::eim_timeout(),
            EimError::NoSession => Refusal::session_lost(),
            EimError::TooManyUnderWay => Refusal::too_many(Reason::EimBusy, 1000),
            EimError::Unsendable(why) => Refusal::invalid_params("", why),
            EimError::TooManyOfUser => Refusal::too_many(Reason::TooManyOfUser, 1000),
        }
    }
}

impl From<ProvisionError> for Refusal {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Taken => Refusal::of(Reason::UserTaken),
            ProvisionError::Refused { condition, text } => Refusal::of(Reason::EimRefused)
                .saying("the XMPP server refused the account")
                .with("type", "cancel")
                .with("condition", condition)
                .with("text", text),
            ProvisionError::Eim(error) => error.into(),
        }
    }
}
