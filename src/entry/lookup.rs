//! What a link leads to: signed codes by their signature, legacy and raw ones by the password, within the guess
//! limiter's bounds.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::json;

use crate::event::{Conference, ENDED, NOT_STARTED, UNKNOWN};
use crate::ids::now_ms;
use crate::password::opaque;
use crate::refusal::{Refusal, code as codes};
use crate::token::LinkClaims;

use super::code::{self, Code};
use super::{Entry, object};

/// What a link leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum LookUp {
    /// `link` is `None` for a legacy or raw code: the password alone admits.
    Found {
        conference: Conference,
        link: Option<LinkClaims>,
    },
    /// Signed, and not to be used before a time still to come.
    NotYet(Conference),
    Expired,
    Revoked,
    Unknown,
}

/// Seed 001's answer to a link: always HTTP 200 with `code` 200.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub conf_id: String,
    pub conf_name: String,
    /// 0 open, 30 not started, 31 ended, 32 does not exist.
    pub state: u8,
    pub code: u16,
}

impl Entry {
    /// What the guest page learns of its link. A refusal is "too many", or the EIM's absence.
    pub async fn page(&self, link: &str, address: IpAddr) -> Result<Page, Refusal> {
        let (conference, state) = match self.look_up(link, address).await? {
            LookUp::Found { conference, .. } => (conference.clone(), conference.state),
            LookUp::NotYet(conference) => (conference, NOT_STARTED),
            LookUp::Expired | LookUp::Revoked | LookUp::Unknown => {
                return Ok(Page { conf_id: String::new(), conf_name: String::new(), state: UNKNOWN, code: 200 });
            }
        };
        let (conf_id, conf_name) = (conference.conf_id.to_string(), conference.conf_name);
        Ok(Page { conf_id, conf_name, state, code: 200 })
    }

    pub(super) async fn look_up(&self, text: &str, address: IpAddr) -> Result<LookUp, Refusal> {
        let Code { signed, legacy, raw } = code::read(text);
        if let Some(claims) = signed.iter().find_map(|token| self.0.keys.link.verify::<LinkClaims>(token).ok()) {
            return self.signed(claims).await;
        }
        let raw = raw.into_iter().filter(|_| self.0.config.auth.raw_password);
        self.0.limits.guess(address).map_err(|wait| Refusal::too_many("entry.tooManyGuesses", wait))?;
        for password in legacy.into_iter().chain(raw) {
            if let Some(conference) = self.by_password(&password).await? {
                self.0.limits.guessed_right(address);
                return Ok(LookUp::Found { conference, link: None });
            }
        }
        metrics::counter!("confgate_link_guesses_failed_total").increment(1);
        Ok(LookUp::Unknown)
    }

    async fn signed(&self, claims: LinkClaims) -> Result<LookUp, Refusal> {
        let row = self.0.store.link(&claims.jti).await.map_err(Refusal::from)?;
        let Some(row) = row else { return Ok(LookUp::Unknown) };
        let now = now_ms() / 1000;
        if claims.exp.is_some_and(|exp| exp <= now) {
            return Ok(LookUp::Expired);
        }
        let conference = match self.conference(&claims.cid).await {
            Ok(conference) => conference,
            Err(refusal) if refusal.code == codes::NOT_FOUND => return Ok(LookUp::Unknown),
            Err(refusal) => return Err(refusal),
        };
        // The end revokes a conference's links too; who comes late is told of the end.
        if row.revoked_at.is_some() && conference.state != ENDED {
            return Ok(LookUp::Revoked);
        }
        if claims.nbf.is_some_and(|nbf| nbf > now) {
            return Ok(LookUp::NotYet(conference));
        }
        Ok(LookUp::Found { conference, link: Some(claims) })
    }

    /// The conference of that password; one that has ended only if no other has it.
    async fn by_password(&self, password: &str) -> Result<Option<Conference>, Refusal> {
        let params = object(json!({"password": opaque(password)}));
        match self.0.calls.as_gateway("eim.conference.find", &params).await {
            Ok(found) => serde_json::from_value(found).map(Some).map_err(Refusal::fault),
            Err(refusal) if matches!(refusal.code, codes::NOT_FOUND | codes::INVALID_PARAMS) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}
