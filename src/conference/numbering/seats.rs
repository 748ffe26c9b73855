//! Who of a conference comes through the gateway: the newest report of each user's socket, and the seats of those whose
//! grace is over. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Member, MemberState};
use crate::ids::UserId;

/// What was reported of a user's socket last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Presence {
    /// It is open.
    Online,
    /// There is none.
    Away,
    /// The grace is over. The EIM has the member still, clients don't.
    Gone {
        /// As the EIM has them, member or waiting.
        member: Member,
        /// The seat is kept until then (the conference's moment, in ms).
        until: u64,
    },
    /// The seat is over, and the EIM was told to let them go.
    Leaving {
        /// As the EIM has them.
        member: Member,
        /// Whether the EIM has done it.
        done: bool,
    },
}

/// A gateway node's claim on a user's socket. Generations of one node compare, those of two don't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The node's id.
    pub node: String,
    /// The socket's generation there.
    pub generation: u64,
}

impl Claim {
    /// Whether the other one is the same node's, and not newer.
    fn covers(&self, other: &Self) -> bool {
        self.node == other.node && other.generation <= self.generation
    }
}

/// A user's socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seat {
    /// The node that reported it last, and the socket's generation.
    pub claim: Claim,
    /// The claim of another node from which this one took over: it never takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Claim>,
    pub presence: Presence,
}

/// All of them. Users that never had a socket at the gateway aren't in it: their state is what the EIM says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Seats(BTreeMap<UserId, Seat>);

impl Seats {
    pub fn get(&self, user: &UserId) -> Option<&Seat> {
        self.0.get(user)
    }

    pub fn put(&mut self, user: &UserId, claim: &Claim, presence: Presence) {
        let superseded = match self.0.remove(user) {
            Some(before) if before.claim.node != claim.node => Some(before.claim),
            Some(before) => before.superseded,
            None => None,
        };
        self.0.insert(user.clone(), Seat { claim: claim.clone(), superseded, presence });
    }

    /// Nothing is known of the user's socket any more; what was.
    pub fn take(&mut self, user: &UserId) -> Option<Seat> {
        self.0.remove(user)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the claim counts: on the same node no older one does. Of two nodes the one with an open socket takes over,
    /// and a report that there is none counts where the other has none either. `comes`: a socket is open.
    pub fn accepts(&self, user: &UserId, claim: &Claim, comes: bool) -> bool {
        let Some(seat) = self.get(user) else { return true };
        if seat.claim.node == claim.node {
            return seat.claim.generation <= claim.generation;
        }
        let is_stale = seat.superseded.as_ref().is_some_and(|old| old.covers(claim));
        !is_stale && (comes || seat.presence != Presence::Online)
    }

    /// The node begins to count anew: what was taken over from it before doesn't compare any more.
    pub fn forget_superseded(&mut self, node: &str) {
        for seat in self.0.values_mut() {
            seat.superseded = seat.superseded.take().filter(|claim| claim.node != node);
        }
    }

    /// The member whose grace is over: as the EIM has them, and hidden from clients.
    pub fn hidden(&self, user: &UserId) -> Option<&Member> {
        match &self.get(user)?.presence {
            Presence::Gone { member, .. } | Presence::Leaving { member, .. } => Some(member),
            Presence::Online | Presence::Away => None,
        }
    }

    /// The EIM has changed a hidden member.
    pub fn update_hidden(&mut self, member: &Member) {
        if let Some(Seat {
            presence: Presence::Gone { member: kept, .. } | Presence::Leaving { member: kept, .. },
            ..
        }) = self.0.get_mut(&member.user_id)
        {
            *kept = member.clone();
        }
    }

    /// The member as clients are to see them: the EIM knows no sockets.
    pub fn seen(&self, mut member: Member) -> Member {
        let state = match self.get(&member.user_id).map(|seat| &seat.presence) {
            Some(Presence::Online) => MemberState::Joined,
            Some(Presence::Away) => MemberState::Reconnecting,
            _ => return member,
        };
        if member.state != MemberState::Waiting {
            member.state = state;
        }
        member
    }

    /// An earlier owner ended with requests under way: whoever was made to leave is made to once more.
    pub fn resumed(mut self) -> Self {
        for seat in self.0.values_mut() {
            if let Presence::Leaving { member, done: false } = &seat.presence {
                seat.presence = Presence::Gone { member: member.clone(), until: 0 };
            }
        }
        self
    }

    /// Users whose seat is over at that moment, and who weren't made to leave yet.
    pub fn ended(&self, now: u64) -> Vec<UserId> {
        let is_over = |seat: &Seat| matches!(seat.presence, Presence::Gone { until, .. } if until <= now);
        self.0.iter().filter(|(_, seat)| is_over(seat)).map(|(user, _)| user.clone()).collect()
    }

    /// Users with a seat, and it.
    pub fn iter(&self) -> impl Iterator<Item = (&UserId, &Seat)> {
        self.0.iter()
    }
}
