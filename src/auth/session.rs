//! Logins: the four grants, and what they give.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use crate::clock::date_ms;
use crate::config::{Client, EimMode, Scope};
use crate::eim::Guard;
use crate::event::Role;
use crate::ids::{ConfId, Secret, UserId, random_bytes, random_text};
use crate::node_protocol::EndedBy;
use crate::precis::display_name;
use crate::rate_limit::address::AddressBlock;
use crate::refusal::{Kind, Reason, Refusal};
use crate::store::{Family, NewFamily, Rotation};
use crate::token::{Access, audience};

use super::limits::held;
use super::{AuthService, BUSY_RETRY_MS, Caller, ClientOrigin, object};

/// Bytes of a refresh token that name its family; the rest of its 20 are its secret.
const FAMILY_BYTES: usize = 8;
/// The scopes of an EIM user, beyond the rights that their conferences give.
const USER_SCOPES: [Scope; 3] = [Scope::ConferenceCreate, Scope::ContactsRead, Scope::CallStart];

/// How long a login waits for the person's name.
const NAME_WAIT: Duration = Duration::from_secs(2);
/// People whose entry in the address book may have the id somewhere in it.
const NAMESAKES: u32 = 200;

/// A grant of `auth.http.login`, as its `grantType` names it.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Grant {
    /// A client of the configuration.
    ClientCredentials { client_id: String, secret: Option<Secret> },
    /// A user of the EIM.
    Password { user_id: String, password: Secret },
    /// A guest, by a link and a name.
    ConferenceLink { link: String, name: String },
    /// The refresh token of a login.
    RefreshToken { token: Secret },
}

impl Grant {
    /// Its name, and the id that it names: none where it holds nothing but what is to be kept secret.
    pub fn for_log(&self) -> (&'static str, String) {
        match self {
            Self::ClientCredentials { client_id, .. } => ("client_credentials", client_id.clone()),
            Self::Password { user_id, .. } => ("password", user_id.clone()),
            Self::ConferenceLink { .. } => ("conference_link", String::new()),
            Self::RefreshToken { .. } => ("refresh_token", String::new()),
        }
    }
}

/// A login's result: seed 001's members, and a guest's conference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The client's kind, as the original interface has it.
    pub client_type: String,
    /// The company's id, for an EIM user.
    pub corp_id: Option<String>,
    /// The name.
    pub name: String,
    /// The access token.
    pub access_token: Secret,
    /// Milliseconds since 1970.
    pub deadline: u64,
    /// The user.
    pub user_id: UserId,
    /// Base64 of 40 hexadecimal digits.
    pub refresh_token: Secret,
    /// The conference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conf_id: Option<ConfId>,
}

/// The identity of a login: a refresh needs it again. Kept in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    pub grant: String,
    pub user_id: UserId,
    pub name: String,
    pub scope: String,
    pub conf_id: Option<ConfId>,
    /// The role in that conference, if more than a guest.
    #[serde(default)]
    pub role: Option<Role>,
    pub client_id: Option<String>,
    /// The browser, which a kick of its user bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl AuthService {
    /// Logs in.
    ///
    /// # Errors
    /// The grant is refused, or a fault.
    pub async fn login(&self, grant: Grant, from: &ClientOrigin) -> Result<Session, Refusal> {
        match grant {
            Grant::ClientCredentials { client_id, secret } => {
                self.client_login(&client_id, secret.as_ref(), from).await
            }
            Grant::Password { user_id, password } => self.password_login(&user_id, &password, from).await,
            Grant::ConferenceLink { link, name } => self.guest_login(&link, &name, from).await,
            Grant::RefreshToken { token } => self.refresh_login(&token, from.address).await,
        }
    }

    async fn client_login(&self, id: &str, secret: Option<&Secret>, from: &ClientOrigin) -> Result<Session, Refusal> {
        let address = from.address;
        let attempt = self.0.limits.try_login(address, id)?;
        held(attempt.hold).await;
        let client = self.0.config.auth.clients.iter().find(|c| c.id == id);
        let client = client.filter(|c| admits(c, secret, address)).ok_or_else(failed)?;
        let user = client.speaks_as();
        self.0.limits.logged_in(&attempt);
        if let Some(password) = &client.password {
            self.open_session(&user, password).await?;
        }
        let scopes: &[Scope] = if client.scopes.is_empty() { &USER_SCOPES } else { &client.scopes };
        let identity = Identity {
            grant: "client_credentials".into(),
            name: client.name.as_deref().map_or_else(|| user.to_string(), display_name::cleaned),
            user_id: user,
            scope: joined(scopes),
            conf_id: None,
            role: None,
            client_id: Some(client.id.clone()),
            device: from.device.clone(),
        };
        self.begin(identity).await
    }

    async fn password_login(&self, id: &str, password: &Secret, from: &ClientOrigin) -> Result<Session, Refusal> {
        let address = from.address;
        let attempt = self.0.limits.try_login(address, id)?;
        held(attempt.hold).await;
        let verified = match UserId::parse(id) {
            Some(user) => self.prove(&user, password, address).await.map(|name| name.map(|name| (user, name))),
            None => Ok(None),
        };
        match &verified {
            Ok(Some(_)) => self.0.limits.logged_in(&attempt),
            Ok(None) => {}
            Err(_) => self.0.limits.no_failure(&attempt),
        }
        let (user_id, name) = verified?.ok_or_else(failed)?;
        let (scope, device) = (joined(&USER_SCOPES), from.device.clone());
        let grant = "password".into();
        let identity = Identity { grant, user_id, name, scope, conf_id: None, role: None, client_id: None, device };
        self.begin(identity).await
    }

    /// [`AuthService::verify`], in the caller's turn: each costs the EIM a good part of a core for a moment.
    async fn prove(&self, user: &UserId, password: &Secret, address: IpAddr) -> Result<Option<String>, Refusal> {
        let busy = || Refusal::too_many(Reason::EntryBusy, BUSY_RETRY_MS);
        let share = self.0.proofs.take(&AddressBlock::host(address)).map_err(|_| busy())?;
        let _turn = timeout(self.0.config.eim.timeout, self.0.proving.acquire()).await.map_err(|_| busy())?;
        self.verify(user, password, Arc::new(share)).await
    }

    /// The user's name, if the password is theirs: as the built-in EIM says, else as the XMPP server does (SASL).
    async fn verify(&self, user: &UserId, password: &Secret, guard: Guard) -> Result<Option<String>, Refusal> {
        match self.0.config.eim.mode {
            EimMode::Builtin => {
                let params = object(json!({"userId": user, "password": password.expose()}));
                match self.0.calls.as_gateway_within(Some(guard), "eim.account.verify", &params).await {
                    Ok(found) => Ok(found["name"].as_str().map(str::to_owned).or_else(|| Some(user.to_string()))),
                    Err(refusal) if is_no(&refusal) => Ok(None),
                    Err(refusal) => Err(refusal),
                }
            }
            EimMode::C2s if !self.0.eim.open_session(user, password).await? => Ok(None),
            EimMode::Component | EimMode::Muc if !self.0.eim.verify_password(user, password).await? => Ok(None),
            EimMode::C2s | EimMode::Component | EimMode::Muc => Ok(Some(self.name_of(user).await)),
        }
    }

    /// The person's name in the EIM's address book; their id where that doesn't tell, or not soon.
    async fn name_of(&self, user: &UserId) -> String {
        let params = object(json!({"query": user, "limit": NAMESAKES}));
        let found = timeout(NAME_WAIT, self.0.calls.as_user("org.contacts.search", user, &params)).await;
        let found = found.ok().and_then(Result::ok).unwrap_or_default();
        let users = found["users"].as_array().into_iter().flatten();
        let own = users.filter(|each| each["userId"] == user.as_str()).find_map(|each| each["name"].as_str());
        own.filter(|name| !name.is_empty()).unwrap_or(user.as_str()).to_owned()
    }

    /// The user's own session at the server, where users speak that way.
    pub(super) async fn open_session(&self, user: &UserId, password: &Secret) -> Result<(), Refusal> {
        if self.0.eim.open_session(user, password).await? { Ok(()) } else { Err(failed()) }
    }

    /// Counted once it has failed, unlike a password: nobody guesses a refresh token by trying many at a time, and
    /// after a cut everybody behind one address refreshes at once.
    async fn refresh_login(&self, token: &Secret, address: IpAddr) -> Result<Session, Refusal> {
        let read = read_refresh(token);
        let id = read.as_ref().map_or("", |(family, _)| family);
        let attempt = self.0.limits.try_login(address, id)?;
        self.0.limits.no_failure(&attempt);
        held(attempt.hold).await;
        let refreshed = match &read {
            Some((family, hash)) => self.refresh(family, hash).await,
            None => Err(Refusal::unauthenticated()),
        };
        // The token of a session that has ended, here or at the EIM, is no guess.
        if refreshed.as_ref().is_err_and(|refusal| refusal.is(Reason::AuthRequired)) {
            // Those who tried at the same time may have taken the last one.
            drop(self.0.limits.try_login(address, id));
        }
        refreshed
    }

    async fn refresh(&self, family: &str, old_hash: &str) -> Result<Session, Refusal> {
        let (next, new_hash) = new_refresh(family);
        let now = date_ms();
        // Not taken yet: when its owner has logged in anew, it serves again.
        let owner = self.0.store.family(family, old_hash, now).await.map_err(Refusal::from)?;
        if owner.is_some_and(|owner| self.0.eim.has_lost_session(&owner.user_id)) {
            return Err(Refusal::session_lost());
        }
        let until = now + self.0.config.auth.refresh_ttl.as_millis() as u64;
        let rotated = self.0.store.rotate_family(family, old_hash, &new_hash, now, until).await;
        match rotated.map_err(Refusal::from)? {
            Rotation::Rotated(kept) => {
                let identity: Identity =
                    serde_json::from_str(kept.client.as_deref().unwrap_or_default()).map_err(Refusal::fault)?;
                if identity.conf_id.is_some() {
                    // A guest's account lives as long as they keep coming.
                    self.0.store.extend_account(&identity.user_id, until, now).await.map_err(Refusal::from)?;
                }
                Ok(self.session(identity, family, next))
            }
            Rotation::Reused(_) => {
                // Somebody has a token that was used before: whoever they are, the session is no longer one person's.
                tracing::warn!(family, "a refresh token was used twice; its family has ended");
                self.announce(vec![family.to_owned()], EndedBy::Itself);
                Err(Refusal::unauthenticated())
            }
            Rotation::Over => Err(Refusal::session_ended()),
            Rotation::Gone => Err(Refusal::unauthenticated()),
        }
    }

    /// Ends the caller's login.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn logout(&self, caller: &Caller) -> Result<(), Refusal> {
        self.0.store.end_family(&caller.family, date_ms()).await.map_err(Refusal::from)?;
        self.announce(vec![caller.family.clone()], EndedBy::Itself);
        if let Some(conf) = &caller.confined_to {
            self.guest_left(conf, &caller.user_id).await?;
        }
        Ok(())
    }

    /// Makes a family and its first tokens.
    pub(super) async fn begin(&self, identity: Identity) -> Result<Session, Refusal> {
        let family = hex(&random_bytes::<FAMILY_BYTES>());
        let (token, refresh_hash) = new_refresh(&family);
        let now = date_ms();
        let kept = Family {
            family_id: family.clone(),
            user_id: identity.user_id.clone(),
            conf_id: identity.conf_id.clone(),
            client: Some(serde_json::to_string(&identity).map_err(Refusal::fault)?),
            expires_at: now + self.0.config.auth.refresh_ttl.as_millis() as u64,
        };
        let new = NewFamily { family: kept, refresh_hash };
        self.0.store.create_family(&new, now).await.map_err(Refusal::from)?;
        Ok(self.session(identity, &family, token))
    }

    fn session(&self, identity: Identity, family: &str, refresh_token: Secret) -> Session {
        let now = date_ms();
        let deadline = now + self.0.config.auth.access_ttl.as_millis() as u64;
        let claims = Access {
            typ: Access::typ(),
            aud: audience(),
            grant_type: identity.grant.clone(),
            creation_date: now,
            user_name: identity.name.clone(),
            deadline,
            exp: deadline.div_ceil(1000),
            nonce: random_text(20),
            user_id: identity.user_id.clone(),
            user_client_type: identity.grant.clone(),
            corp_id: None,
            client_id: identity.client_id,
            scope: identity.scope,
            conf_id: identity.conf_id.clone(),
            role: identity.role,
            sid: family.to_owned(),
        };
        Session {
            client_type: identity.grant,
            corp_id: None,
            name: identity.name,
            access_token: Secret::new(self.0.keys.access.sign(&claims)),
            deadline,
            user_id: identity.user_id,
            refresh_token,
            conf_id: identity.conf_id,
        }
    }
}

/// Whether the client's secret, or its openness to the caller's network, admits it.
fn admits(client: &Client, secret: Option<&Secret>, address: IpAddr) -> bool {
    let near = client.networks.iter().any(|network| network.contains(&address));
    if !client.networks.is_empty() && !near {
        return false;
    }
    match (&client.secret, secret) {
        (Some(own), Some(given)) => own.matches(given.expose()),
        (_, None) => client.open && near,
        (None, Some(_)) => false,
    }
}

fn joined(scopes: &[Scope]) -> String {
    scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ")
}

/// One answer for every wrong login, whatever was wrong.
fn failed() -> Refusal {
    Refusal::of(Reason::AuthFailed)
}

/// Whether the EIM says that the password is not the user's, in whatever words.
fn is_no(refusal: &Refusal) -> bool {
    matches!(refusal.kind, Kind::Unauthenticated | Kind::EimRefused | Kind::Forbidden | Kind::NotFound)
}

/// A fresh refresh token of the family, and what the store keeps of it.
fn new_refresh(family: &str) -> (Secret, String) {
    let digits = format!("{family}{}", hex(&random_bytes::<12>()));
    let hash = hash(&digits);
    (Secret::new(STANDARD.encode(digits)), hash)
}

/// The family that a refresh token names, and its hash.
fn read_refresh(token: &Secret) -> Option<(String, String)> {
    let digits = String::from_utf8(STANDARD.decode(token.expose()).ok()?).ok()?;
    let well_formed = digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    well_formed.then(|| (digits[..2 * FAMILY_BYTES].to_owned(), hash(&digits)))
}

fn hash(digits: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, digits.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_base64_of_40_hex_digits_as_in_the_seed() {
        let (token, kept) = new_refresh(&hex(&random_bytes::<FAMILY_BYTES>()));
        let digits = String::from_utf8(STANDARD.decode(token.expose()).unwrap()).unwrap();
        assert_eq!(digits.len(), 40);
        let (family, hash) = read_refresh(&token).unwrap();
        assert_eq!((&digits[..16], kept), (family.as_str(), hash));
        for bad in ["", "AAAA", "not base64!", &STANDARD.encode("g".repeat(40))] {
            assert_eq!(read_refresh(&Secret::new(bad)), None);
        }
    }

    #[test]
    fn an_open_client_is_let_in_from_its_networks_only_and_a_secret_must_be_right() {
        let network = "127.0.0.0/8".parse().unwrap();
        let client = |secret: Option<&str>, open, networks| Client {
            id: "c".into(),
            secret: secret.map(Secret::new),
            open,
            networks,
            user_id: None,
            name: None,
            scopes: vec![],
            password: None,
        };
        let (near, far): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let open = client(None, true, vec![network]);
        assert!(admits(&open, None, near) && !admits(&open, None, far));
        assert!(!admits(&client(None, true, vec![]), None, near), "open without networks is open to nobody");
        let closed = client(Some("s"), false, vec![]);
        assert!(admits(&closed, Some(&Secret::new("s")), far));
        assert!(!admits(&closed, Some(&Secret::new("x")), far) && !admits(&closed, None, far));
    }
}
