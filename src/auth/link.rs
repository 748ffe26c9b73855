//! Links: made, listed, revoked.

use serde::Serialize;
use serde_json::json;

use crate::clock::date_ms;
use crate::event::Role;
use crate::ids::{ConfId, UserId};
use crate::refusal::{Reason, Refusal};
use crate::store::{self, NewLink};

use super::code::{legacy_code, signed_code};
use super::{AuthService, object};

/// The terms of a link. Times in milliseconds since 1970.
#[derive(Debug, Clone)]
pub struct LinkTerms {
    /// The role that the link gives in the conference; a chair in a seat of their own, beside all other chairs.
    pub role: Role,
    /// From when it serves, in ms since 1970.
    pub not_before: Option<u64>,
    /// Until when it serves, in ms since 1970.
    pub expires_at: Option<u64>,
    /// How often it may be used; `None`: without limit.
    pub max_uses: Option<u64>,
}

impl LinkTerms {
    /// For guests, as often and as long as the conference lasts.
    pub fn guest() -> Self {
        Self { role: Role::Guest, not_before: None, expires_at: None, max_uses: None }
    }

    /// The terms of a chair's link, without limits.
    pub fn chair() -> Self {
        Self { role: Role::Chair, ..Self::guest() }
    }
}

/// A link as its maker gets it, once.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The id that revokes it. A legacy link is the password itself, which only a new password revokes: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_id: Option<String>,
    /// The address.
    pub url: String,
    /// The code.
    pub code: String,
}

/// A link as the chair sees it later: without its code, which is not kept.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedLink {
    /// The link's id.
    pub link_id: String,
    /// The role.
    pub role: Role,
    /// From when it serves, in ms since 1970.
    pub not_before: Option<u64>,
    /// Until when it serves, in ms since 1970.
    pub expires_at: Option<u64>,
    /// How often it may be used; `None`: without limit.
    pub max_uses: Option<u64>,
    /// How often it was used.
    pub uses: u64,
    /// Whether it was revoked.
    pub revoked: bool,
    /// When it was made, in ms since 1970.
    pub created_at: u64,
}

impl From<store::Link> for ListedLink {
    fn from(row: store::Link) -> Self {
        let store::Link { link, uses, revoked_at } = row;
        Self {
            link_id: link.link_id,
            role: link.role,
            not_before: link.not_before,
            expires_at: link.expires_at,
            max_uses: link.max_uses,
            uses,
            revoked: revoked_at.is_some(),
            created_at: link.created_at,
        }
    }
}

impl AuthService {
    /// Makes a link.
    ///
    /// # Errors
    /// The conference has too many links, or a fault of the store.
    pub async fn create_link(&self, conf: &ConfId, terms: LinkTerms, maker: &UserId) -> Result<Link, Refusal> {
        let (link_id, token) = self.0.keys.link.issue();
        let new = NewLink {
            link_id: link_id.clone(),
            conf_id: conf.clone(),
            role: terms.role,
            not_before: terms.not_before,
            expires_at: terms.expires_at,
            max_uses: terms.max_uses,
            created_by: maker.clone(),
            created_at: date_ms(),
        };
        if !self.0.store.create_link(&new).await.map_err(Refusal::from)? {
            return Err(Refusal::too_many(Reason::TooManyLinks, 60_000));
        }
        Ok(self.link(Some(link_id), signed_code(&token)))
    }

    /// The conference's link in seed 001's form, for apps that know no other: as good as the password, for guests.
    pub async fn legacy_link(&self, conf: &ConfId, chair: &UserId) -> Result<Link, Refusal> {
        // Asked in the chair's own name: the EIM tells the password to nobody else.
        let found = self.0.calls.as_user("conference.get", chair, &object(json!({"confId": conf}))).await?;
        let password = found["password"].as_str().filter(|password| !password.is_empty());
        let password = password.ok_or_else(|| Refusal::of(Reason::PasswordNotFound))?;
        Ok(self.link(None, legacy_code(password)))
    }

    fn link(&self, link_id: Option<String>, code: String) -> Link {
        Link { link_id, url: format!("{}/conference/{code}", self.0.web_address), code }
    }

    /// Revokes a link.
    ///
    /// # Errors
    /// The conference has no such link, or a fault of the store.
    pub async fn revoke_link(&self, conf: &ConfId, link_id: &str) -> Result<(), Refusal> {
        let revoked = self.0.store.revoke_link(conf, link_id, date_ms()).await.map_err(Refusal::from)?;
        if revoked { Ok(()) } else { Err(Refusal::of(Reason::LinkNotFound)) }
    }

    /// The links of the conference.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn links(&self, conf: &ConfId) -> Result<Vec<ListedLink>, Refusal> {
        let rows = self.0.store.links_of(conf).await.map_err(Refusal::from)?;
        Ok(rows.into_iter().map(ListedLink::from).collect())
    }

    /// The conference's web address for the EIM, which hands it to the chair's app.
    pub async fn web_address(&self, conf: &ConfId, role: Role, valid_ms: Option<u64>) -> Result<Link, Refusal> {
        let conference = self.conference(conf).await?;
        let terms = if role == Role::Chair { LinkTerms::chair() } else { LinkTerms::guest() };
        let expires_at = valid_ms.map(|ms| date_ms().saturating_add(ms));
        let terms = LinkTerms { expires_at, ..terms };
        self.create_link(conf, terms, &conference.chair).await
    }
}
