//! What the gateway and its callers ask the EIM for, by the schema's names: JSON in, JSON out, an IQ in between.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ids::UserId;
use crate::refusal::{Refusal, code};
use crate::schema::{Method, Schema, Speaker, XIq};

use super::{Eim, EimError, ProvisionError, convert};

/// A cloneable handle over the link and the schema.
#[derive(Clone)]
pub struct Calls {
    eim: Eim,
    schema: Arc<Schema>,
    domain: Arc<str>,
    timeout: Duration,
}

impl Calls {
    pub fn new(eim: Eim, schema: Arc<Schema>, domain: &str, timeout: Duration) -> Self {
        Self { eim, schema, domain: domain.into(), timeout }
    }

    /// A named entry, asked as the gateway itself.
    pub async fn as_gateway(&self, name: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        self.as_gateway_method(self.entry(name)?, params).await
    }

    /// A named entry, asked as the user.
    pub async fn as_user(&self, name: &str, user: &UserId, params: &Map<String, Value>) -> Result<Value, Refusal> {
        self.as_user_method(self.entry(name)?, user, params).await
    }

    pub async fn as_gateway_method(&self, method: &Method, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let x_iq = x_iq(method)?;
        let iq = convert::to_iq(x_iq, params, &self.domain)?;
        let answer = self.eim.request(iq, self.timeout).await?;
        convert::from_iq(x_iq, &answer)
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
            return self.as_gateway_method(method, params).await;
        }
        let iq = convert::to_iq(x_iq, params, &self.domain)?;
        let answer = self.eim.request_as(user, iq, self.timeout).await?;
        convert::from_iq(x_iq, &answer)
    }

    fn entry(&self, name: &str) -> Result<&Method, Refusal> {
        let found = self.schema.internal(name).or_else(|| self.schema.method(name));
        found.ok_or_else(|| Refusal::fault(format!("the schema has no entry {name}")))
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
            EimError::TooManyUnderWay => Refusal::too_many("eim.busy", 1000),
        }
    }
}

impl From<ProvisionError> for Refusal {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Taken => Refusal::conflict("user.taken", "that user id is taken"),
            ProvisionError::Refused { condition, text } => {
                Refusal::new(code::EIM_REFUSED, "eim.refused", "the XMPP server refused the account")
                    .with("type", "cancel")
                    .with("condition", condition)
                    .with("text", text)
            }
            ProvisionError::Eim(error) => error.into(),
        }
    }
}
