//! `org.user.*`: an account at the EIM, and any IQ to it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::auth::Caller;
use crate::config::{Config, EimMode};
use crate::eim::requests::Requests;
use crate::eim::{Eim, EimError, ProvisionError};
use crate::ids::{Secret, UserId, random_digits, random_text};
use crate::refusal::{Reason, Refusal};
use crate::xmpp::xml::Stanza;

use super::context::{Outcome, Params, text, typed};
use super::iq;
use super::rates::{Act, Rates};

/// Digits of an id made for a user who comes without one.
const MADE_ID_DIGITS: usize = 9;
/// Characters of a password made for a user who comes without one.
const MADE_PASSWORD: usize = 20;

/// Their parts.
pub(super) struct UserMethods {
    /// The configuration.
    pub config: Arc<Config>,
    /// Requests to the EIM.
    pub calls: Requests,
    /// The links to the EIM.
    pub eim: Eim,
    /// The users' rates.
    pub rates: Arc<Rates>,
}

impl UserMethods {
    pub async fn create(&self, params: &Params) -> Outcome {
        let mut params = params.clone();
        if text(&params, "userId").is_none() {
            params.insert("userId".into(), format!("u{}", random_digits(MADE_ID_DIGITS)).into());
        }
        let user: UserId = typed(&params, "userId")?;
        let made = self.provision(&user, &params).await?;
        let created = self.calls.as_gateway("org.user.createUser", &params).await;
        if created.is_err() && made {
            // A login without a profile would be half a user: taken for the next try, of no use to anybody.
            if let Err(error) = self.eim.delete_account(&user).await {
                Refusal::fault(error);
            }
        }
        created
    }

    /// The IQ in the params, sent and answered.
    pub async fn process_iq(&self, caller: &Caller, params: &Params) -> Outcome {
        let iq = iq::read(text(params, "reqXml").unwrap_or_default())?;
        let limit = params.get("timeoutMs").and_then(Value::as_u64).map(Duration::from_millis);
        let answer = self.send_iq(caller, iq, limit).await?;
        Ok(json!({"xml": answer.to_xml()}))
    }

    /// Sends an IQ in the caller's name, if they may, and gives its answer. `limit`: how long it may take, where that is
    /// less than `eim.timeout_ms`.
    pub async fn send_iq(&self, caller: &Caller, iq: Stanza, limit: Option<Duration>) -> Result<Stanza, Refusal> {
        let speaker = iq::permitted(&self.config, caller, &iq)?;
        if iq.attr("type") == Some("set") {
            self.rates.act(&caller.user_id, Act::IqSet)?;
        }
        let timeout = limit.map_or(self.config.eim.timeout, |limit| limit.min(self.config.eim.timeout));
        self.eim.request_as(&speaker, iq, timeout).await.map_err(|error| match error {
            EimError::Unsendable(why) => iq::NoIq::Unsuitable(why).into(),
            error => error.into(),
        })
    }

    /// Makes the login at an external XMPP server where the gateway may; whether it did.
    async fn provision(&self, user: &UserId, params: &Params) -> Result<bool, Refusal> {
        let eim = &self.config.eim;
        if eim.mode == EimMode::Builtin || eim.admin_domain.is_none() {
            return Ok(false);
        }
        let password = text(params, "password").map_or_else(|| Secret::new(random_text(MADE_PASSWORD)), Secret::new);
        match self.eim.create_account(user, &password, text(params, "name").unwrap_or_default()).await {
            Ok(()) => Ok(true),
            Err(ProvisionError::Taken) => Err(Refusal::of(Reason::UserTaken)),
            Err(other) => Err(other.into()),
        }
    }
}
