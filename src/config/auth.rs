//! `[auth]`: who may ask for tokens, and the keys that sign them.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::eim::EimMode;
use super::{DAY_S, Range, values};
use crate::ids::{Secret, UserId};
use crate::precis::display_name;

/// A right beyond those of one's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// `user.create`
    #[serde(rename = "user.create")]
    UserCreate,
    /// `iq.any`
    #[serde(rename = "iq.any")]
    IqAny,
    /// `conference.create`
    #[serde(rename = "conference.create")]
    ConferenceCreate,
    /// `contacts.read`
    #[serde(rename = "contacts.read")]
    ContactsRead,
    /// `call.start`
    #[serde(rename = "call.start")]
    CallStart,
    /// `live.admin`
    #[serde(rename = "live.admin")]
    LiveAdmin,
    /// `operator`
    #[serde(rename = "operator")]
    Operator,
}

impl Scope {
    /// As it stands in tokens and in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserCreate => "user.create",
            Self::IqAny => "iq.any",
            Self::ConferenceCreate => "conference.create",
            Self::ContactsRead => "contacts.read",
            Self::CallStart => "call.start",
            Self::LiveAdmin => "live.admin",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[[auth.clients]]`: a program that logs in with `client_credentials`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its clientId.
    #[serde(deserialize_with = "values::id")]
    pub id: String,
    /// Its clientSecret.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// May log in without a secret, from `networks` only.
    #[serde(default)]
    pub open: bool,
    /// Where it may log in from; empty: from anywhere.
    #[serde(default, with = "values::networks")]
    pub networks: Vec<IpNet>,
    /// See [`Client::speaks_as`].
    #[serde(default)]
    pub user_id: Option<UserId>,
    /// The name that others see. Default: its id.
    #[serde(default)]
    pub name: Option<String>,
    /// The rights that it has beyond those of any user. Default: nothing.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// That user's password at the EIM, for `eim.mode = "c2s"`.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// `[[auth.keys]]`: a signing secret. The first signs, all verify.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name, which tokens carry.
    #[serde(deserialize_with = "values::id")]
    pub id: String,
    /// The secret itself.
    pub secret: Secret,
}

/// The section `auth`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// `[[auth.clients]]`: the clients of the configuration.
    pub clients: Vec<Client>,
    /// Empty: one is generated and kept in the store.
    pub keys: Vec<Key>,
    /// Seconds that an access token lives.
    #[serde(rename = "access_ttl_s", with = "values::seconds")]
    pub access_ttl: Duration,
    /// Seconds that a refresh token lives (14 days).
    #[serde(rename = "refresh_ttl_s", with = "values::seconds")]
    pub refresh_ttl: Duration,
    /// Whether a request without "jsonrpc": "2.0" is refused.
    pub strict_jsonrpc: bool,
    /// Whether POST {base}/conference/{password} finds a conference by its bare password.
    pub raw_password: bool,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            keys: Vec::new(),
            access_ttl: Duration::from_secs(4620),
            refresh_ttl: Duration::from_secs(14 * DAY_S),
            strict_jsonrpc: false,
            raw_password: true,
        }
    }
}

/// Shortest secret that signs tokens, in bytes: a shorter one can be searched for offline, given one token.
pub(super) const SIGNING_SECRET_MIN: usize = 16;

impl Auth {
    // The store keeps an ended family for a day, so no access token may outlive that.
    pub(super) const RANGES: &[Range] = &[("auth.access_ttl_s", 1, DAY_S), ("auth.refresh_ttl_s", 1, 365 * DAY_S)];

    pub(super) fn check(&self, eim: EimMode, found: &mut Findings) {
        found.refuse_repeats("auth.clients", "id", self.clients.iter().map(|client| &client.id));
        found.refuse_repeats("auth.keys", "id", self.keys.iter().map(|key| &key.id));
        for (i, key) in self.keys.iter().enumerate() {
            if key.secret.expose().len() < SIGNING_SECRET_MIN {
                found.refuse(&format!("auth.keys[{i}].secret"), "a text of 16 bytes or more");
            }
        }
        for (i, client) in self.clients.iter().enumerate() {
            client.check(&format!("auth.clients[{i}]"), found);
            if eim == EimMode::C2s && client.password.as_ref().is_none_or(Secret::is_empty) {
                let wanted =
                    format!("the password of {} at the XMPP server, since eim.mode is \"c2s\"", client.speaks_as());
                found.refuse(&format!("auth.clients[{i}].password"), &wanted);
            }
        }
    }
}

impl Client {
    /// The EIM user that the client acts as: `user_id`, else its id in lower case.
    pub fn speaks_as(&self) -> UserId {
        let own = || UserId::parse(&self.id.to_ascii_lowercase()).expect("a client's id in lower case is a user's");
        self.user_id.clone().unwrap_or_else(own)
    }

    fn check(&self, at: &str, found: &mut Findings) {
        if self.secret.as_ref().is_some_and(Secret::is_empty) {
            found.refuse(&format!("{at}.secret"), "a text that isn't empty");
        }
        if self.secret.is_none() && !self.open {
            found.refuse(&format!("{at}.secret"), "a secret, or open = true with networks");
        }
        if self.name.as_ref().is_some_and(|name| display_name::checked(name, display_name::MAX).is_none()) {
            found.refuse(&format!("{at}.name"), display_name::ALLOWED);
        }
        if self.open && self.networks.is_empty() {
            found.refuse(&format!("{at}.networks"), "the networks that an open client may log in from");
        }
    }
}
