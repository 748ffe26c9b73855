//! `auth.http.*`.

use serde_json::{Map, Value};

use crate::entry::{Caller, From, Grant};
use crate::ids::Secret;
use crate::refusal::Refusal;

use super::{Context, Door, Outcome, Params, text};

impl Door {
    pub(super) async fn login(&self, context: &Context<'_>, params: Params) -> Outcome {
        let secret = |name: &str| text(&params, name).map(Secret::new);
        let word = |name: &str| text(&params, name).unwrap_or_default().to_owned();
        let grant = match text(&params, "grantType") {
            Some("client_credentials") => {
                Grant::ClientCredentials { client_id: word("clientId"), secret: secret("clientSecret") }
            }
            Some("password") => {
                Grant::Password { user_id: word("userId"), password: secret("password").unwrap_or_default() }
            }
            Some("conference_link") => Grant::ConferenceLink { link: word("link"), name: word("name") },
            Some("refresh_token") => Grant::RefreshToken { token: secret("refreshToken").unwrap_or_default() },
            _ => return Err(Refusal::invalid_params("grantType", "not a known grant type")),
        };
        let by_link = matches!(grant, Grant::ConferenceLink { .. });
        if by_link {
            self.open_for_joins()?;
        }
        let device = if by_link { Some(self.device(context)) } else { context.device.clone() };
        let from = From { address: context.address, device };
        let session = self.entry.login(grant, &from).await?;
        if let Some(socket) = context.socket {
            let renewed = self.entry.authenticate(session.access_token.expose())?;
            if renewed.user_id == socket.caller().user_id {
                socket.renew(renewed);
            }
        }
        serde_json::to_value(&session).map_err(Refusal::fault)
    }

    /// The browser; one that has no name yet is given one with the reply.
    fn device(&self, context: &Context<'_>) -> String {
        if let Some(device) = &context.device {
            return device.clone();
        }
        let (device, cookie) = self.entry.new_device();
        *context.set_device.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(cookie);
        device
    }

    pub(super) async fn logout(&self, caller: &Caller) -> Outcome {
        self.entry.logout(caller).await?;
        Ok(Value::Object(Map::new()))
    }
}
