//! What gateways say of a conference's members: who is one, and what of theirs is forwarded. Of who isn't known here
//! nobody is admitted and nothing forwarded, so that no order of events leaves anything open.

use std::collections::HashMap;

use confgate_sfu::protocol::{MemberId, RoomId, Source};

use super::admission::Barred;
use crate::event::Role;
use crate::node_protocol::Closed;
use crate::token::CallGatewayClaims;

/// Members known, in all rooms together: as many as could be in a node's rooms many times over. Whoever is beyond is not
/// admitted.
const MEMBERS: usize = 1_000_000;

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Permit {
    pub audio: bool,
    pub video: bool,
    pub closed: Closed,
    pub role: Option<Role>,
}

/// Sound and picture: each forwarded or not.
pub(in crate::media) type Forwarded = (bool, bool);

/// Of whom nothing is known.
pub(in crate::media) const NOTHING: Forwarded = (false, false);

impl Permit {
    /// `holds_tracks`: the media can hold back a track and let it through again. Where it can't, what a member has closed
    /// is their browser's business.
    pub fn forwarded(self, source: Source, holds_tracks: bool) -> Forwarded {
        match source {
            Source::Camera if holds_tracks => (self.audio, self.video),
            Source::Camera => self.unheld(),
            // The roster has no word on screens: who is in may show theirs, and its sound unless they are silenced.
            Source::Screen => (self.unheld().0, true),
        }
    }

    /// What no order holds back, whether or not the member has closed it.
    pub fn unheld(self) -> Forwarded {
        (self.audio || self.closed.audio, self.video || self.closed.video)
    }
}

/// Owned by the calls' core. Outlives the members' connections, until they leave the roster or the room is closed.
#[derive(Default)]
pub(in crate::media) struct Permits {
    rooms: HashMap<RoomId, HashMap<MemberId, Permit>>,
    count: usize,
}

impl Permits {
    pub fn get(&self, room: &RoomId, member: &str) -> Option<Permit> {
        self.rooms.get(room)?.get(member).copied()
    }

    /// What no order holds back of the member.
    pub fn unheld(&self, room: &RoomId, member: &str) -> Forwarded {
        self.get(room, member).map_or((true, true), Permit::unheld)
    }

    /// Whether the roster has the token's bearer, in the role that it says.
    pub fn admit(&self, room: &RoomId, claims: &CallGatewayClaims) -> Result<(), Barred> {
        let permit = self.get(room, claims.user_id.as_str()).ok_or(Barred::NotYet)?;
        if permit.role.is_none_or(|role| role == claims.role) { Ok(()) } else { Err(Barred::Unauthorized) }
    }

    /// Answers whether that changes anything.
    pub fn put(&mut self, room: &RoomId, member: &MemberId, permit: Permit) -> bool {
        let known = self.get(room, member);
        if known == Some(permit) || (known.is_none() && self.count >= MEMBERS) {
            return false;
        }
        self.count += usize::from(known.is_none());
        self.rooms.entry(room.clone()).or_default().insert(member.clone(), permit);
        true
    }

    pub fn remove(&mut self, room: &RoomId, member: &str) {
        let Some(members) = self.rooms.get_mut(room) else { return };
        self.count -= usize::from(members.remove(member).is_some());
        if members.is_empty() {
            self.rooms.remove(room);
        }
    }

    pub fn forget(&mut self, room: &RoomId) {
        self.count -= self.rooms.remove(room).map_or(0, |members| members.len());
    }
}
