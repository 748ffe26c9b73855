//! Looks links up: signed codes by their MAC, legacy and raw ones by the password, within the guess limiter's bounds.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::clock::date_ms;
use crate::eim::Guard;
use crate::event::{Conference, ENDED, NOT_STARTED, UNKNOWN};
use crate::precis::password::opaque;
use crate::rate_limit::address::AddressBlock;
use crate::refusal::{Kind, Reason, Refusal};
use crate::store::{self, NewLink};

use super::code::{self, Code};
use super::limits::held;
use super::{AuthService, BUSY_RETRY_MS, object};

/// Fewest characters of a conference's password: `conference.create` takes no fewer.
const PASSWORD_MIN: usize = 4;

/// The result of looking a link up.
#[derive(Debug, Clone, PartialEq)]
pub enum LookUp {
    /// `link` is `None` for a legacy or raw code: the password alone admits.
    Found {
        /// The conference.
        conference: Conference,
        /// The link; `None` where a password led there.
        link: Option<NewLink>,
    },
    /// Signed, and not to be used before a time still to come.
    NotYet(Conference),
    /// The link's time, or its conference, is over.
    Expired,
    /// The link was revoked.
    Revoked,
    /// There is no such link.
    Unknown,
}

/// Seed 001's answer to a link: always HTTP 200 with `code` 200.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The conference.
    pub conf_id: String,
    /// The conference's name.
    pub conf_name: String,
    /// 0 open, 30 not started, 31 ended, 32 does not exist.
    pub state: u8,
    /// The HTTP status.
    pub code: u16,
}

impl AuthService {
    /// The facts about a link for the guest page. A refusal is "too many", or the EIM's absence.
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
        // An invented code fails at its MAC, without any request for it.
        if let Some(link_id) = signed.iter().find_map(|token| self.0.keys.link.link_id(token)) {
            let guard = self.look_up_guard(address)?;
            return self.signed(guard, &link_id).await;
        }
        let raw = raw.into_iter().filter(|_| self.0.config.auth.raw_password);
        let passwords: Vec<String> = legacy.into_iter().chain(raw).filter(|text| can_be_password(text)).collect();
        if passwords.is_empty() {
            return Ok(LookUp::Unknown);
        }
        let guess = self.0.limits.guess(address)?;
        held(guess.hold).await;
        let found = match self.look_up_guard(address) {
            Ok(guard) => self.by_passwords(&guard, &passwords).await,
            Err(busy) => Err(busy),
        };
        match &found {
            Ok(LookUp::Found { .. }) => self.0.limits.guessed_right(&guess),
            Ok(_) => metrics::counter!("confgate_link_guesses_failed_total").increment(1),
            Err(_) => self.0.limits.no_guess(&guess),
        }
        found
    }

    /// A place among the look-ups under way.
    fn look_up_guard(&self, address: IpAddr) -> Result<Guard, Refusal> {
        let share = self.0.look_ups.take(&AddressBlock::host(address));
        let share = share.map_err(|_| Refusal::too_many(Reason::EntryBusy, BUSY_RETRY_MS))?;
        Ok(Arc::new(share))
    }

    async fn by_passwords(&self, guard: &Guard, passwords: &[String]) -> Result<LookUp, Refusal> {
        for password in passwords {
            if let Some(conference) = self.by_password(guard, password).await? {
                return Ok(LookUp::Found { conference, link: None });
            }
        }
        Ok(LookUp::Unknown)
    }

    async fn signed(&self, guard: Guard, link_id: &str) -> Result<LookUp, Refusal> {
        let row = self.0.store.link(link_id).await.map_err(Refusal::from)?;
        let Some(store::Link { link, revoked_at, .. }) = row else { return Ok(LookUp::Unknown) };
        let now = date_ms();
        if link.expires_at.is_some_and(|at| at <= now) {
            return Ok(LookUp::Expired);
        }
        let conference = match self.conference_within(Some(guard), &link.conf_id).await {
            Ok(conference) => conference,
            Err(refusal) if refusal.kind == Kind::NotFound => return Ok(LookUp::Unknown),
            Err(refusal) => return Err(refusal),
        };
        // The end revokes a conference's links too; who comes late is told of the end.
        if revoked_at.is_some() && conference.state != ENDED {
            return Ok(LookUp::Revoked);
        }
        if link.not_before.is_some_and(|at| at > now) {
            return Ok(LookUp::NotYet(conference));
        }
        Ok(LookUp::Found { conference, link: Some(link) })
    }

    /// The conference of that password; one that has ended only if no other has it.
    async fn by_password(&self, guard: &Guard, password: &str) -> Result<Option<Conference>, Refusal> {
        let params = object(json!({"password": opaque(password)}));
        match self.0.calls.as_gateway_within(Some(Arc::clone(guard)), "eim.conference.find", &params).await {
            Ok(found) => serde_json::from_value(found).map(Some).map_err(Refusal::fault),
            Err(refusal) if matches!(refusal.kind, Kind::NotFound | Kind::InvalidParams) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Whether a conference could have been made with that password: what can't is not asked for, and no guess. That it is
/// not too long has been looked at before.
fn can_be_password(text: &str) -> bool {
    text.chars().count() >= PASSWORD_MIN && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_conference_can_be_made_with_is_a_guess_at_a_password() {
        for password in ["1234", "open sesame", "会议会议"] {
            assert!(can_be_password(password), "{password}");
        }
        for other in ["", "123", "会议", "a\nbc", "abc\u{7f}"] {
            assert!(!can_be_password(other), "{other}");
        }
    }
}
