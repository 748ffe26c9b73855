//! Who may enter which room: by token, or in open mode to rooms apart; and what bars tokens that were given out.

use std::collections::HashMap;

use confgate_sfu::vocabulary::{MemberId, RoomId};

use super::room::Space;
use super::{Group, Shown, SocketId};
use crate::event::CallMode;
use crate::ids::{ConfId, ID_MAX, UserId};
use crate::outbox::Close;
use crate::token::CallGatewayClaims;

/// Longest that a token can serve, in milliseconds: the most that `callgw.token_ttl_s` may be.
const TOKEN_LIFE_MS: u64 = 86_400_000;
/// Bars kept; at one more the oldest goes, whose tokens have most likely expired.
const BARS: usize = 65_536;

/// Whoever is let in.
pub(super) struct Admitted {
    pub space: Space,
    pub room: RoomId,
    pub name: MemberId,
    /// When their token was issued, and its nonce.
    pub token: Option<(u64, String)>,
    /// Whether their media may go straight to another member.
    pub straight: bool,
}

/// Why somebody is not.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::media) enum Barred {
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
        let space = Space::of_token(claims.flat);
        if space == Space::Conference {
            self.bars.check(&claims.conf_id, &claims.user_id, claims.issued_ms)?;
        }
        let room = space.room(room);
        // A token serves once, and again only when the socket that it admitted is gone.
        if self.rooms.get(&room).is_some_and(|room| room.holds(&claims.nonce)) {
            return Err(Barred::Unauthorized);
        }
        let token = Some((claims.issued_ms, claims.nonce.clone()));
        let straight = claims.mode == CallMode::P2p;
        Ok(Admitted { space, room, name: name.into(), token, straight })
    }
}

/// Names are people's own words there.
fn admit_openly(room: &str, name: &str) -> Result<Admitted, Barred> {
    if !fits(room) || !fits(name) {
        return Err(Barred::Unauthorized);
    }
    let room = Space::Open.room(room);
    Ok(Admitted { space: Space::Open, room, name: name.into(), token: None, straight: false })
}

/// Whether somebody without a token may be called so, or their room.
pub(in crate::media) fn fits(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= ID_MAX && !text.chars().any(char::is_control)
}

impl Barred {
    pub fn close(&self) -> Close {
        match self {
            Barred::Unauthorized => Close::Unauthorized,
            Barred::Expelled => Close::Kicked,
            Barred::Ended => Close::Over,
            Barred::Moved(_) => Close::GoingAway,
        }
    }
}

/// What was said about tokens given out up to a time: forgotten when they have all expired.
#[derive(Default)]
pub(in crate::media) struct Bars(HashMap<(ConfId, Option<UserId>), Bar>);

struct Bar {
    /// Milliseconds since 1970.
    issued_until: u64,
    why: Barred,
}

impl Bars {
    /// Bars the user's tokens, or everybody's, that were issued until then.
    pub fn put(&mut self, room: ConfId, user: Option<UserId>, issued_until: u64, why: Barred) {
        if self.0.len() >= BARS {
            let oldest = self.0.iter().min_by_key(|(_, bar)| bar.issued_until).map(|(key, _)| key.clone());
            self.0.remove(&oldest.expect("a full table has an oldest"));
        }
        let bar = self.0.entry((room, user)).or_insert_with(|| Bar { issued_until, why: why.clone() });
        // What bars more stands: an order may be repeated, or come late.
        if bar.issued_until <= issued_until {
            *bar = Bar { issued_until, why };
        }
    }

    pub fn check(&self, room: &ConfId, user: &UserId, issued_ms: u64) -> Result<(), Barred> {
        let whole = self.0.get(&(room.clone(), None));
        let own = self.0.get(&(room.clone(), Some(user.clone())));
        match [own, whole].into_iter().flatten().find(|bar| issued_ms <= bar.issued_until) {
            Some(bar) => Err(bar.why.clone()),
            None => Ok(()),
        }
    }

    pub fn forget(&mut self, now: u64) {
        self.0.retain(|_, bar| bar.issued_until + TOKEN_LIFE_MS > now);
    }
}
