//! Members and their permissions, as gateways report them. An unknown member is not admitted and nothing of theirs is
//! forwarded, so no order of events leaves anything open.

use std::collections::HashMap;

use confgate_sfu::protocol::{MemberId, RoomId, Source};

use super::admission::AdmissionError;
use crate::event::Role;
use crate::node_protocol::Closed;
use crate::token::CallGatewayClaims;

/// Members known, in all rooms together: as many as could be in a node's rooms many times over. A member beyond that is
/// not admitted.
const MEMBERS: usize = 1_000_000;

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct MemberPermissions {
    pub audio: bool,
    pub video: bool,
    pub closed: Closed,
    pub role: Option<Role>,
}

/// Sound and picture: each forwarded or not.
pub(in crate::media) type Forwarded = (bool, bool);

/// Of whom nothing is known.
pub(in crate::media) const NOTHING_FORWARDED: Forwarded = (false, false);

impl MemberPermissions {
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

    /// The tracks that no order holds back, whether or not the member has closed them.
    pub fn unheld(self) -> Forwarded {
        (self.audio || self.closed.audio, self.video || self.closed.video)
    }
}

/// Owned by the calls' core. Outlives the members' connections, until they leave the roster or the room is closed.
#[derive(Default)]
pub(in crate::media) struct Permits {
    rooms: HashMap<RoomId, HashMap<MemberId, MemberPermissions>>,
    count: usize,
}

impl Permits {
    pub fn get(&self, room: &RoomId, member: &str) -> Option<MemberPermissions> {
        self.rooms.get(room)?.get(member).copied()
    }

    /// The member's tracks that no order holds back.
    pub fn unheld(&self, room: &RoomId, member: &str) -> Forwarded {
        self.get(room, member).map_or((true, true), MemberPermissions::unheld)
    }

    /// Whether the roster has the token's bearer, in the role that it says.
    pub fn admit(&self, room: &RoomId, claims: &CallGatewayClaims) -> Result<(), AdmissionError> {
        let permit = self.get(room, claims.user_id.as_str()).ok_or(AdmissionError::NotYet)?;
        if permit.role.is_none_or(|role| role == claims.role) { Ok(()) } else { Err(AdmissionError::Unauthorized) }
    }

    /// Answers whether that changes anything.
    pub fn put(&mut self, room: &RoomId, member: &MemberId, permit: MemberPermissions) -> bool {
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
