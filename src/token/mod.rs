//! Signed tokens: access, link, call-gateway and control tokens, each kind with a key of its own, so that none passes for
//! another. HS256 (RFC 7518 section 3.2) and nothing else; the keys come from the configured ones by HKDF (RFC 5869).

mod link;
mod signed;

use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::date_ms;
use crate::event::{CallMode, Role};
use crate::ids::{ConfId, Secret, UserId, random_text};

pub use link::LinkKeys;
pub use signed::{Invalid, KindKeys, TOKEN_MAX};

const AUDIENCE: &str = "confgate";

/// A token's kind; its name is part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An access token.
    Access,
    /// The former form of links' tokens; [`LinkKeys`] makes the present one.
    Link,
    /// Signed with a call gateway's own secret, for that node.
    CallGateway,
    /// A gateway's own, for a call gateway's control link; signed with that node's secret.
    Control,
    /// One call gateway's, for a stream of another's; signed with that other one's secret.
    Pull,
    /// A gateway node's, for a link to another one on the same store.
    Node,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Access => "access",
            Kind::Link => "link",
            Kind::CallGateway => "call gateway",
            Kind::Control => "control",
            Kind::Pull => "pull",
            Kind::Node => "node",
        }
    }
}

/// The claims of an access token: those of the original interface, and `typ`, `aud`, `scope`, `confId`, `sid`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Access {
    /// The token's kind.
    pub typ: String,
    /// The audience: `confgate`.
    pub aud: String,
    /// The login's grant.
    pub grant_type: String,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// The user's name.
    #[serde(rename = "userName")]
    pub user_name: String,
    /// Milliseconds since 1970.
    pub deadline: u64,
    /// Seconds since 1970: the deadline as RFC 7519 has it, rounded up.
    pub exp: u64,
    /// A random text, so that no two tokens are alike.
    pub nonce: String,
    /// The user.
    #[serde(rename = "userId")]
    pub user_id: UserId,
    /// The client's kind, as the original interface has it.
    #[serde(rename = "userClientType")]
    pub user_client_type: String,
    /// The company's id, for an EIM user.
    #[serde(rename = "corpId")]
    pub corp_id: Option<String>,
    /// The client of the configuration.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_id: Option<String>,
    /// Scopes, separated by blanks (RFC 8693 section 4.2).
    pub scope: String,
    /// The only conference that the bearer may enter: a guest's.
    #[serde(rename = "confId", skip_serializing_if = "Option::is_none", default)]
    pub conf_id: Option<ConfId>,
    /// The bearer's role there, if more than a guest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
    /// The refresh family: ends with it.
    pub sid: String,
}

/// The claims for a call gateway: who may enter which conference there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallGatewayClaims {
    /// The token's kind.
    pub typ: String,
    /// The audience: `confgate`.
    pub aud: String,
    /// The call gateway node's id.
    #[serde(rename = "gatewayId")]
    pub gateway_id: String,
    /// The conference.
    #[serde(rename = "confId")]
    pub conf_id: ConfId,
    /// The user.
    #[serde(rename = "userId")]
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// Whether the conference is a call between two whose media may go straight.
    #[serde(default = "group")]
    pub mode: CallMode,
    /// For a stream outside conferences, of that name in place of a conference's id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
    /// A random text, so that no two tokens are alike.
    pub nonce: String,
    /// The refresh family of the access token that it was given for: it ends with that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sid: Option<String>,
    /// Of a gateway's own session, which it begins and ends for a member of its: no roster is needed there.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub without_roster: bool,
    /// Milliseconds since 1970: a kick refuses what was issued until then.
    #[serde(rename = "issuedMs")]
    pub issued_ms: u64,
    /// Seconds since 1970.
    pub exp: u64,
}

impl CallGatewayClaims {
    /// Issued now, for `ttl`.
    pub fn new(gateway_id: &str, conf_id: ConfId, user_id: UserId, role: Role, ttl: Duration) -> Self {
        let (typ, nonce, issued_ms) = (Kind::CallGateway.name().into(), random_text(16), date_ms());
        let exp = issued_ms / 1000 + ttl.as_secs();
        let (aud, mode, gateway_id) = (audience(), CallMode::Group, gateway_id.into());
        let (flat, sid, without_roster) = (false, None, false);
        Self { typ, aud, gateway_id, conf_id, user_id, role, mode, flat, nonce, sid, without_roster, issued_ms, exp }
    }

    /// For streams outside conferences.
    pub fn outside_conferences(self) -> Self {
        Self { flat: true, ..self }
    }

    /// For a gateway's own session.
    pub fn without_roster(self) -> Self {
        Self { without_roster: true, ..self }
    }

    /// For the bearer of an access token of that refresh family.
    pub fn of_family(self, family: &str) -> Self {
        Self { sid: Some(family.to_owned()), ..self }
    }

    /// For a call of that mode.
    pub fn in_mode(self, mode: CallMode) -> Self {
        Self { mode, ..self }
    }
}

/// Of tokens without a word on it.
fn group() -> CallMode {
    CallMode::Group
}

/// The claims by which a gateway opens a call gateway's control link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ControlClaims {
    /// The token's kind.
    pub typ: String,
    /// The audience: `confgate`.
    pub aud: String,
    /// The call gateway.
    #[serde(rename = "gatewayId")]
    pub gateway_id: String,
    /// The gateway that speaks: `node.id`.
    pub node: String,
    /// A random text, so that no two tokens are alike.
    pub nonce: String,
    /// Seconds since 1970.
    pub exp: u64,
}

impl ControlClaims {
    /// For that gateway's link to that node.
    pub fn new(gateway_id: &str, node: &str, ttl: Duration) -> Self {
        let (typ, nonce, exp) = (Kind::Control.name().into(), random_text(16), date_ms() / 1000 + ttl.as_secs());
        Self { typ, aud: audience(), gateway_id: gateway_id.into(), node: node.into(), nonce, exp }
    }
}

/// The claims by which a gateway node opens a link to another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeClaims {
    /// The token's kind.
    pub typ: String,
    /// The audience: `confgate`.
    pub aud: String,
    /// The `node.id` of the one that asks.
    pub node: String,
    /// The `node.id` of the one that is asked.
    pub to: String,
    /// A random text, so that no two tokens are alike.
    pub nonce: String,
    /// Seconds since 1970.
    pub exp: u64,
}

impl NodeClaims {
    /// For that node's link to that other one.
    pub fn new(node: &str, to: &str, ttl: Duration) -> Self {
        let (typ, nonce, exp) = (Kind::Node.name().into(), random_text(16), date_ms() / 1000 + ttl.as_secs());
        Self { typ, aud: audience(), node: node.into(), to: to.into(), nonce, exp }
    }

    /// Whether it serves at that node now.
    pub fn serves_at(&self, node: &str) -> bool {
        self.to == node && self.exp.saturating_mul(1000) > date_ms()
    }
}

/// The claims by which a call gateway pulls another one's stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PullClaims {
    /// The token's kind.
    pub typ: String,
    /// The audience: `confgate`.
    pub aud: String,
    /// The one that has the stream. `None`: it is known by its address only, and shares the secret with the puller.
    #[serde(rename = "gatewayId", skip_serializing_if = "Option::is_none", default)]
    pub gateway_id: Option<String>,
    /// The conference.
    #[serde(rename = "confId")]
    pub conf_id: ConfId,
    /// As members know it: `userId` or `userId/screen`. `None`, which only gateways give out: each stream that members
    /// of the conference send there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<String>,
    /// For a stream outside conferences, of that name in place of a conference's id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
    /// A random text, so that no two tokens are alike.
    pub nonce: String,
    /// Seconds since 1970.
    pub exp: u64,
}

impl PullClaims {
    /// For pulling that stream, or all of the conference's, from that node.
    pub fn new(gateway_id: Option<&str>, conf_id: ConfId, stream: Option<&str>, ttl: Duration) -> Self {
        let (typ, nonce, exp) = (Kind::Pull.name().into(), random_text(16), date_ms() / 1000 + ttl.as_secs());
        let (gateway_id, stream) = (gateway_id.map(str::to_owned), stream.map(str::to_owned));
        Self { typ, aud: audience(), gateway_id, conf_id, stream, flat: false, nonce, exp }
    }

    /// For a stream outside conferences.
    pub fn outside_conferences(self, flat: bool) -> Self {
        Self { flat, ..self }
    }
}

/// All keys for our own tokens. Never printed.
pub struct Keys {
    /// Keys of access tokens.
    pub access: KindKeys,
    /// Keys of links.
    pub link: LinkKeys,
    device: hmac::Key,
}

impl Keys {
    /// From the configured keys (id, secret), of which the first signs and all verify.
    ///
    /// # Panics
    /// Without any key: configuration or the store provides one.
    pub fn new(configured: &[(String, Secret)]) -> Self {
        Self {
            access: KindKeys::new(configured, Kind::Access),
            link: LinkKeys::new(configured),
            device: hmac::Key::new(hmac::HMAC_SHA256, &derive(configured[0].1.expose(), "device")),
        }
    }

    /// A browser's name and its signature: the device cookie's value.
    pub fn new_device(&self) -> (String, String) {
        let device = random_text(22);
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.device, device.as_bytes()));
        let cookie = format!("{device}.{tag}");
        (device, cookie)
    }

    /// The browser's name, if the cookie's value is ours.
    pub fn device(&self, cookie: &str) -> Option<String> {
        let (device, tag) = cookie.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.device, device.as_bytes(), &tag).ok()?;
        Some(device.to_owned())
    }
}

impl Access {
    /// The header's `typ`.
    pub fn typ() -> String {
        Kind::Access.name().into()
    }
}

/// The audience of all tokens: `confgate`.
pub fn audience() -> String {
    AUDIENCE.into()
}

/// A key for one purpose.
pub fn derive(secret: &str, purpose: &str) -> [u8; 32] {
    let info = [b"confgate ", purpose.as_bytes()];
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"confgate")
        .extract(secret.as_bytes())
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("HKDF-SHA256 gives 32 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ids: &[&str]) -> Keys {
        Keys::new(&ids.iter().map(|id| (id.to_string(), Secret::new(format!("secret of {id}")))).collect::<Vec<_>>())
    }

    #[test]
    fn a_device_cookie_is_believed_only_as_signed() {
        let keys = keys(&["a"]);
        let (device, cookie) = keys.new_device();
        assert_eq!(keys.device(&cookie), Some(device));
        assert_eq!(keys.device(&format!("x{cookie}")), None);
        assert_eq!(keys.device("x"), None);
    }
}
