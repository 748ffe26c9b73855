//! Admission to rooms: by token, or in open mode to rooms apart; and bans of tokens that were given out.

use std::collections::HashMap;

use confgate_sfu::protocol::{MemberId, RoomId};

use super::names::RoomNamespace;
use super::{ClientCredentials, Group, SocketId};
use crate::event::CallMode;
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, ID_MAX, UserId};
use crate::node_protocol::EndedBy;
use crate::token::CallGatewayClaims;

/// Longest that a token can serve, in milliseconds: the most that `callgw.token_ttl_s` may be.
const TOKEN_LIFE_MS: u64 = 86_400_000;
/// Bans kept; at one more the oldest goes, whose tokens have most likely expired.
const BANS: usize = 65_536;

/// An admitted client.
pub(super) struct Admitted {
    pub space: RoomNamespace,
    pub room: RoomId,
    pub name: MemberId,
    pub token: Option<Token>,
    /// Whether their media may go straight to another member.
    pub p2p: bool,
}

/// The part of the admitting token that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) struct Token {
    issued_ms: u64,
    pub nonce: String,
    family: Option<String>,
    pub without_roster: bool,
}

impl Token {
    pub fn of(claims: &CallGatewayClaims) -> Self {
        Self {
            issued_ms: claims.issued_ms,
            nonce: claims.nonce.clone(),
            family: claims.sid.clone(),
            without_roster: claims.without_roster,
        }
    }

    pub fn is_issued_until(&self, time: u64) -> bool {
        self.issued_ms <= time
    }

    pub fn is_of(&self, families: &[String]) -> bool {
        self.family.as_ref().is_some_and(|family| families.contains(family))
    }
}

/// The reason why somebody is not.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) enum AdmissionError {
    /// No gateway has said yet that the roster has them: they wait for that.
    NotYet,
    Unauthorized,
    Expelled,
    Ended,
    /// The room is at another node, under that address.
    Moved(String),
}

impl Group {
    /// The credentials of `joinRoom`, else those of the socket's opening.
    pub(super) fn presented(&self, socket: SocketId, credentials: ClientCredentials) -> ClientCredentials {
        match (credentials, self.sockets.get(&socket)) {
            (ClientCredentials::Nothing, Some(socket)) => socket.credentials.clone(),
            (credentials, _) => credentials,
        }
    }

    pub(super) fn admit(
        &self,
        room: &str,
        name: &str,
        credentials: ClientCredentials,
    ) -> Result<Admitted, AdmissionError> {
        match credentials {
            ClientCredentials::Claims(claims) => self.admit_by_token(room, name, &claims),
            ClientCredentials::Nothing if self.limits.open => admit_openly(room, name),
            ClientCredentials::Nothing | ClientCredentials::Refused | ClientCredentials::Pull(_) => {
                Err(AdmissionError::Unauthorized)
            }
        }
    }

    fn admit_by_token(&self, room: &str, name: &str, claims: &CallGatewayClaims) -> Result<Admitted, AdmissionError> {
        if claims.conf_id.as_str() != room || claims.user_id.as_str() != name {
            return Err(AdmissionError::Unauthorized);
        }
        let space = RoomNamespace::of_token(claims.flat);
        let room = space.room(room);
        if space == RoomNamespace::Conference {
            self.bans.check(claims)?;
            if !claims.without_roster {
                self.permits.admit(&room, claims)?;
            }
        }
        // A token serves once, and again only when the socket that it admitted is gone.
        if self.rooms.get(&room).is_some_and(|room| room.holds(&claims.nonce)) {
            return Err(AdmissionError::Unauthorized);
        }
        let token = Some(Token::of(claims));
        let p2p = claims.mode == CallMode::P2p;
        Ok(Admitted { space, room, name: name.into(), token, p2p })
    }
}

/// Names are people's own words there.
fn admit_openly(room: &str, name: &str) -> Result<Admitted, AdmissionError> {
    if !is_name_allowed(room) || !is_name_allowed(name) {
        return Err(AdmissionError::Unauthorized);
    }
    let room = RoomNamespace::Open.room(room);
    Ok(Admitted { space: RoomNamespace::Open, room, name: name.into(), token: None, p2p: false })
}

/// Whether somebody without a token may be called so, or their room.
pub(in crate::media) fn is_name_allowed(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= ID_MAX && !text.chars().any(char::is_control)
}

impl AdmissionError {
    pub fn close(&self) -> Close {
        match self {
            AdmissionError::NotYet | AdmissionError::Unauthorized => Close::Unauthorized,
            AdmissionError::Expelled => Close::Kicked,
            AdmissionError::Ended => Close::Over,
            AdmissionError::Moved(_) => Close::GoingAway,
        }
    }
}

/// Bans of tokens given out up to a time: forgotten when those tokens have all expired.
#[derive(Default)]
pub(in crate::media) struct Bans {
    places: HashMap<(ConfId, Option<UserId>), Ban>,
    /// Logins that are over, since when, and what by.
    families: HashMap<String, (u64, EndedBy)>,
}

struct Ban {
    /// Milliseconds since 1970.
    issued_until: u64,
    why: AdmissionError,
}

impl Bans {
    /// Bans the user's tokens, or everybody's, that were issued until then; what is over bars those to come, too.
    pub fn put(&mut self, room: ConfId, user: Option<UserId>, issued_until: u64, why: AdmissionError) {
        if self.places.len() >= BANS {
            let oldest = self.places.iter().min_by_key(|(_, ban)| ban.issued_until).map(|(key, _)| key.clone());
            self.places.remove(&oldest.expect("a full table has an oldest"));
        }
        let ban = self.places.entry((room, user)).or_insert_with(|| Ban { issued_until, why: why.clone() });
        // A ban that bars more tokens stays: an order may be repeated, or come late.
        if ban.issued_until <= issued_until {
            *ban = Ban { issued_until, why };
        }
    }

    /// Bans what was given out to these logins, whenever that was. `date`: of now, ms since 1970.
    pub fn revoke(&mut self, families: &[String], by: EndedBy, date: u64) {
        for family in families {
            if self.families.len() >= BANS {
                let oldest =
                    self.families.iter().min_by_key(|(_, (since, _))| *since).map(|(family, _)| family.clone());
                self.families.remove(&oldest.expect("a full table has an oldest"));
            }
            // The first word stands: a link that opens repeats what is over, and not what by.
            self.families.entry(family.clone()).or_insert((date, by));
        }
    }

    pub fn check(&self, claims: &CallGatewayClaims) -> Result<(), AdmissionError> {
        let whole = self.places.get(&(claims.conf_id.clone(), None));
        let own = self.places.get(&(claims.conf_id.clone(), Some(claims.user_id.clone())));
        let bans = |ban: &&Ban| ban.why == AdmissionError::Ended || claims.issued_ms <= ban.issued_until;
        if let Some(ban) = [own, whole].into_iter().flatten().find(bans) {
            return Err(ban.why.clone());
        }
        match claims.sid.as_ref().and_then(|family| self.families.get(family)) {
            None => Ok(()),
            Some((_, EndedBy::Itself)) => Err(AdmissionError::Unauthorized),
            Some((_, EndedBy::Kick)) => Err(AdmissionError::Expelled),
            Some((_, EndedBy::Conference)) => Err(AdmissionError::Ended),
        }
    }

    /// Whether the conference is over; nothing of it is pulled any more.
    pub fn is_over(&self, room: &ConfId) -> bool {
        self.places.get(&(room.clone(), None)).is_some_and(|ban| ban.why == AdmissionError::Ended)
    }

    pub fn forget(&mut self, date: u64) {
        self.places.retain(|_, ban| ban.issued_until + TOKEN_LIFE_MS > date);
        self.families.retain(|_, (since, _)| *since + TOKEN_LIFE_MS > date);
    }
}
