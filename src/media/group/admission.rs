//! Who may enter which room: by token, or in open mode to rooms apart; and what bars tokens that were given out.

use std::collections::HashMap;

use confgate_sfu::protocol::{MemberId, RoomId};

use super::names::RoomNamespace;
use super::{Group, Shown, SocketId};
use crate::event::CallMode;
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, ID_MAX, UserId};
use crate::node_protocol::EndedBy;
use crate::token::CallGatewayClaims;

/// Longest that a token can serve, in milliseconds: the most that `callgw.token_ttl_s` may be.
const TOKEN_LIFE_MS: u64 = 86_400_000;
/// Bans kept; at one more the oldest goes, whose tokens have most likely expired.
const BARS: usize = 65_536;

/// Whoever is let in.
pub(super) struct Admitted {
    pub space: RoomNamespace,
    pub room: RoomId,
    pub name: MemberId,
    pub token: Option<Token>,
    /// Whether their media may go straight to another member.
    pub straight: bool,
}

/// What is kept of the token that admitted somebody.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) struct Token {
    issued_ms: u64,
    pub nonce: String,
    family: Option<String>,
    pub vouched: bool,
}

impl Token {
    pub fn of(claims: &CallGatewayClaims) -> Self {
        Self {
            issued_ms: claims.issued_ms,
            nonce: claims.nonce.clone(),
            family: claims.sid.clone(),
            vouched: claims.vouched,
        }
    }

    pub fn is_issued_until(&self, time: u64) -> bool {
        self.issued_ms <= time
    }

    pub fn is_of(&self, families: &[String]) -> bool {
        self.family.as_ref().is_some_and(|family| families.contains(family))
    }
}

/// Why somebody is not.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) enum Barred {
    /// No gateway has said yet that the roster has them: they wait for that.
    NotYet,
    Unauthorized,
    Expelled,
    Ended,
    /// The room is at another node, under that address.
    Moved(String),
}

impl Group {
    /// What was shown with `joinRoom`, else what was shown when the socket opened.
    pub(super) fn presented(&self, socket: SocketId, shown: Shown) -> Shown {
        match (shown, self.sockets.get(&socket)) {
            (Shown::Nothing, Some(socket)) => socket.shown.clone(),
            (shown, _) => shown,
        }
    }

    pub(super) fn admit(&self, room: &str, name: &str, shown: Shown) -> Result<Admitted, Barred> {
        match shown {
            Shown::Claims(claims) => self.admit_by_token(room, name, &claims),
            Shown::Nothing if self.limits.open => admit_openly(room, name),
            Shown::Nothing | Shown::Refused | Shown::Pull(_) => Err(Barred::Unauthorized),
        }
    }

    fn admit_by_token(&self, room: &str, name: &str, claims: &CallGatewayClaims) -> Result<Admitted, Barred> {
        if claims.conf_id.as_str() != room || claims.user_id.as_str() != name {
            return Err(Barred::Unauthorized);
        }
        let space = RoomNamespace::of_token(claims.flat);
        let room = space.room(room);
        if space == RoomNamespace::Conference {
            self.bars.check(claims)?;
            if !claims.vouched {
                self.permits.admit(&room, claims)?;
            }
        }
        // A token serves once, and again only when the socket that it admitted is gone.
        if self.rooms.get(&room).is_some_and(|room| room.holds(&claims.nonce)) {
            return Err(Barred::Unauthorized);
        }
        let token = Some(Token::of(claims));
        let straight = claims.mode == CallMode::P2p;
        Ok(Admitted { space, room, name: name.into(), token, straight })
    }
}

/// Names are people's own words there.
fn admit_openly(room: &str, name: &str) -> Result<Admitted, Barred> {
    if !fits(room) || !fits(name) {
        return Err(Barred::Unauthorized);
    }
    let room = RoomNamespace::Open.room(room);
    Ok(Admitted { space: RoomNamespace::Open, room, name: name.into(), token: None, straight: false })
}

/// Whether somebody without a token may be called so, or their room.
pub(in crate::media) fn fits(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= ID_MAX && !text.chars().any(char::is_control)
}

impl Barred {
    pub fn close(&self) -> Close {
        match self {
            Barred::NotYet | Barred::Unauthorized => Close::Unauthorized,
            Barred::Expelled => Close::Kicked,
            Barred::Ended => Close::Over,
            Barred::Moved(_) => Close::GoingAway,
        }
    }
}

/// What was said about tokens given out up to a time: forgotten when they have all expired.
#[derive(Default)]
pub(in crate::media) struct Bans {
    places: HashMap<(ConfId, Option<UserId>), Bar>,
    /// Logins that are over, since when, and what by.
    families: HashMap<String, (u64, EndedBy)>,
}

struct Bar {
    /// Milliseconds since 1970.
    issued_until: u64,
    why: Barred,
}

impl Bans {
    /// Bans the user's tokens, or everybody's, that were issued until then; what is over bars those to come, too.
    pub fn put(&mut self, room: ConfId, user: Option<UserId>, issued_until: u64, why: Barred) {
        if self.places.len() >= BARS {
            let oldest = self.places.iter().min_by_key(|(_, bar)| bar.issued_until).map(|(key, _)| key.clone());
            self.places.remove(&oldest.expect("a full table has an oldest"));
        }
        let bar = self.places.entry((room, user)).or_insert_with(|| Bar { issued_until, why: why.clone() });
        // What bars more stands: an order may be repeated, or come late.
        if bar.issued_until <= issued_until {
            *bar = Bar { issued_until, why };
        }
    }

    /// Bans what was given out to these logins, whenever that was. `date`: of now, ms since 1970.
    pub fn revoke(&mut self, families: &[String], by: EndedBy, date: u64) {
        for family in families {
            if self.families.len() >= BARS {
                let oldest =
                    self.families.iter().min_by_key(|(_, (since, _))| *since).map(|(family, _)| family.clone());
                self.families.remove(&oldest.expect("a full table has an oldest"));
            }
            // The first word stands: a link that opens repeats what is over, and not what by.
            self.families.entry(family.clone()).or_insert((date, by));
        }
    }

    pub fn check(&self, claims: &CallGatewayClaims) -> Result<(), Barred> {
        let whole = self.places.get(&(claims.conf_id.clone(), None));
        let own = self.places.get(&(claims.conf_id.clone(), Some(claims.user_id.clone())));
        let bars = |bar: &&Bar| bar.why == Barred::Ended || claims.issued_ms <= bar.issued_until;
        if let Some(bar) = [own, whole].into_iter().flatten().find(bars) {
            return Err(bar.why.clone());
        }
        match claims.sid.as_ref().and_then(|family| self.families.get(family)) {
            None => Ok(()),
            Some((_, EndedBy::Itself)) => Err(Barred::Unauthorized),
            Some((_, EndedBy::Kick)) => Err(Barred::Expelled),
            Some((_, EndedBy::Conference)) => Err(Barred::Ended),
        }
    }

    /// Whether the conference is over; nothing of it is pulled any more.
    pub fn is_over(&self, room: &ConfId) -> bool {
        self.places.get(&(room.clone(), None)).is_some_and(|bar| bar.why == Barred::Ended)
    }

    pub fn forget(&mut self, date: u64) {
        self.places.retain(|_, bar| bar.issued_until + TOKEN_LIFE_MS > date);
        self.families.retain(|_, (since, _)| *since + TOKEN_LIFE_MS > date);
    }
}
