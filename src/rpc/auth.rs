//! `auth.http.*`.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::auth::{AuthService, Caller, ClientOrigin, Grant};
use crate::ids::Secret;
use crate::rate_limit::address::AddressBlock;
use crate::rate_limit::limiter::Rate;
use crate::rate_limit::throttle::Throttle;
use crate::refusal::{Kind, Refusal};
use crate::sync;

use super::admission::Admission;
use super::context::{Context, Outcome, Params, text};

/// Lines of failed logins: guessing must not fill the log.
const FAILURES: Rate = Rate { count: 60, window_ms: 60_000 };
/// Longest id that is written, in characters.
const ID_MAX: usize = 64;

/// The log's bound on failed logins.
struct FailedLogins(Throttle);

impl Default for FailedLogins {
    fn default() -> Self {
        Self(Throttle::new(FAILURES))
    }
}

impl FailedLogins {
    /// A refused login is logged, with the block of addresses that it comes from and the id that it gave; never with
    /// its proof.
    fn note(&self, grant: &'static str, id: &str, address: IpAddr, refusal: &Refusal) {
        if !matches!(refusal.kind, Kind::Unauthenticated | Kind::Forbidden | Kind::NotFound | Kind::TooMany) {
            return;
        }
        metrics::counter!("confgate_logins_failed_total", "grant" => grant).increment(1);
        let Some(suppressed) = self.0.permit_line() else { return };
        let id: String = id.chars().take(ID_MAX).collect();
        let (block, key) = (AddressBlock::site(address), refusal.key());
        tracing::warn!(grant, id, %block, key, suppressed, "a login failed");
    }
}

/// Their parts.
pub(super) struct AuthMethods {
    auth: AuthService,
    failed_logins: FailedLogins,
    admission: Admission,
}

impl AuthMethods {
    /// The methods with their handles.
    pub fn new(auth: AuthService, admission: Admission) -> Self {
        Self { auth, failed_logins: FailedLogins::default(), admission }
    }

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
            self.admission.check()?;
        }
        // Every browser has a name from its first login on: a kick bars it.
        let from = ClientOrigin { address: context.address, device: Some(self.device(context)) };
        let (kind, id) = grant.for_log();
        let session = match self.auth.login(grant, &from).await {
            Ok(session) => session,
            Err(refusal) => {
                self.failed_logins.note(kind, &id, context.address, &refusal);
                return Err(refusal);
            }
        };
        if let Some(socket) = context.socket {
            let renewed = self.auth.authenticate(session.access_token.expose())?;
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
        let (device, cookie) = self.auth.new_device();
        *sync::lock(&context.set_device) = Some(cookie);
        device
    }

    pub(super) async fn logout(&self, caller: &Caller) -> Outcome {
        self.auth.logout(caller).await?;
        Ok(Value::Object(Map::new()))
    }
}
