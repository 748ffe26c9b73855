//! A member of a browser as an occupant of the room.

use crate::clock::Moment;
use crate::xmpp::xml::Element;

/// Nicknames that are tried for one member.
pub(super) const TRIES_MAX: u32 = 8;
/// How long a room that let a member not in is left alone.
const RETRY_MS: u64 = 30_000;

/// How far an occupant of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On the way in; after that time it is tried again.
    Joining {
        until: Moment,
    },
    In,
    /// Not let in; tried again after that time.
    Refused {
        retry: Moment,
    },
}

#[derive(Debug, Clone)]
pub(super) struct OwnOccupant {
    pub name: String,
    pub nick: String,
    pub tries: u32,
    pub stage: Stage,
    /// The state that the room was told.
    pub state: Element,
    /// Whether the room has them on its list of members.
    pub is_listed: bool,
}

impl OwnOccupant {
    pub fn refuse(&mut self, now: Moment) {
        (self.stage, self.is_listed) = (Stage::Refused { retry: now.plus_ms(RETRY_MS) }, false);
    }

    /// Whether it is time to try to get in.
    pub fn is_due(&self, now: Moment) -> bool {
        match self.stage {
            Stage::In => false,
            Stage::Joining { until } => until <= now,
            Stage::Refused { retry } => retry <= now,
        }
    }
}
