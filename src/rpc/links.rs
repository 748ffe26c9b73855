//! `conference.createLink`, `revokeLink`, `listLinks`.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde_json::{Map, Value, json};

use crate::auth::{AuthService, Caller, LinkTerms};
use crate::clock::date_ms;
use crate::event::Role;
use crate::refusal::{Reason, Refusal};

use super::access::Authorization;
use super::context::{Outcome, Params, conf_id, text, typed};

/// Smallest side of a QR picture, in pixels.
const QR_SIDE: u32 = 240;

/// Their parts.
pub(super) struct LinkMethods {
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The checks of access.
    pub authorization: Authorization,
}

impl LinkMethods {
    pub(super) async fn create(&self, caller: &Caller, params: &Params) -> Outcome {
        let conf = conf_id(params)?;
        if self.authorization.conference(caller, &conf).await?.call.is_some() {
            return Err(Refusal::of(Reason::CallHasNoLinks));
        }
        let link = match params.get("legacy") {
            Some(Value::Bool(true)) => self.auth.legacy_link(&conf, &caller.user_id).await?,
            _ => self.auth.create_link(&conf, terms(params, date_ms())?, &caller.user_id).await?,
        };
        let mut result = serde_json::to_value(&link).map_err(Refusal::fault)?;
        if wants_qr(params) {
            result["qr"] = qr(&link.url)?.into();
        }
        Ok(result)
    }

    pub(super) async fn revoke(&self, params: &Params) -> Outcome {
        self.auth.revoke_link(&conf_id(params)?, text(params, "linkId").unwrap_or_default()).await?;
        Ok(Value::Object(Map::new()))
    }

    pub(super) async fn list(&self, params: &Params) -> Outcome {
        Ok(json!({"links": self.auth.links(&conf_id(params)?).await?}))
    }
}

fn terms(params: &Params, now: u64) -> Result<LinkTerms, Refusal> {
    let number = |name: &str| params.get(name).and_then(Value::as_u64);
    let (not_before, expires_at) = (number("notBefore"), number("expiresAt"));
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::invalid_params("expiresAt", "must be to come, in milliseconds since 1970"));
    }
    if let (Some(from), Some(to)) = (not_before, expires_at)
        && to <= from
    {
        return Err(Refusal::invalid_params("expiresAt", "must be after notBefore"));
    }
    let role = typed::<Option<Role>>(params, "role")?.unwrap_or(Role::Guest);
    Ok(LinkTerms { role, not_before, expires_at, max_uses: number("maxUses") })
}

pub(super) fn wants_qr(params: &Params) -> bool {
    params.get("qr") == Some(&Value::Bool(true))
}

/// The address as a picture to be photographed, as SVG text.
pub(super) fn qr(url: &str) -> Result<String, Refusal> {
    // Addresses are short: there is room for what a print or a projector loses.
    let code = QrCode::with_error_correction_level(url.as_bytes(), EcLevel::M).map_err(Refusal::fault)?;
    Ok(code.render::<svg::Color>().min_dimensions(QR_SIDE, QR_SIDE).build())
}
