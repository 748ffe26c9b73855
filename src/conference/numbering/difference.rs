//! What has to happen for one roster to become another. Pure.

use std::collections::BTreeSet;

use crate::event::{
    Change, Conference, ENDED, Left, LeftReason, Member, NOT_STARTED, OPEN, Roster, WaitingReason, WaitingRemoved,
};
use crate::ids::UserId;

/// What a change is about: of two changes of one subject the later one holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// The conference as a whole.
    Conference,
    /// Somebody's place in it.
    User(UserId),
}

impl Subject {
    /// `None`: changes of that type don't undo each other.
    pub fn of(change: &Change) -> Option<Self> {
        match change {
            Change::MemberJoined(m) | Change::MemberUpdated(m) | Change::WaitingAdded(m) => {
                Some(Self::User(m.user_id.clone()))
            }
            Change::MemberLeft(left) => Some(Self::User(left.user_id.clone())),
            Change::WaitingRemoved(gone) => Some(Self::User(gone.user_id.clone())),
            Change::Message(_) | Change::Custom(_) => None,
            _ => Some(Self::Conference),
        }
    }
}

/// The changes that lead from one roster to the other, messages left out. Nothing of what is about one of `except`.
pub(super) fn difference(ours: &Roster, theirs: &Roster, except: &BTreeSet<Subject>) -> Vec<Change> {
    let mut changes = Vec::new();
    if !except.contains(&Subject::Conference) {
        changes.extend(of_conference(&ours.conference, &theirs.conference));
    }
    if matches!(changes.last(), Some(Change::Ended(_))) {
        return changes;
    }
    let may_change = |user: &UserId| !except.contains(&Subject::User(user.clone()));
    for member in ours.members.iter().filter(|m| may_change(&m.user_id)) {
        if theirs.member(&member.user_id).is_none() {
            changes.push(Change::MemberLeft(Left { user_id: member.user_id.clone(), reason: LeftReason::Left }));
        }
    }
    for waiter in ours.waiting.iter().filter(|m| may_change(&m.user_id)) {
        if theirs.waiter(&waiter.user_id).is_none() {
            let is_in = theirs.member(&waiter.user_id).is_some();
            let reason = if is_in { WaitingReason::Admitted } else { WaitingReason::Left };
            changes.push(Change::WaitingRemoved(WaitingRemoved { user_id: waiter.user_id.clone(), reason }));
        }
    }
    for member in theirs.members.iter().filter(|m| may_change(&m.user_id)) {
        match ours.member(&member.user_id) {
            None => changes.push(Change::MemberJoined(member.clone())),
            Some(known) if known != member => changes.push(Change::MemberUpdated(member.clone())),
            Some(_) => {}
        }
    }
    let is_new = |waiter: &&Member| may_change(&waiter.user_id) && ours.waiter(&waiter.user_id) != Some(waiter);
    changes.extend(theirs.waiting.iter().filter(is_new).cloned().map(Change::WaitingAdded));
    changes
}

/// The change from one state of the conference to the other, by its most telling name.
pub(super) fn of_conference(ours: &Conference, theirs: &Conference) -> Option<Change> {
    if ours == theirs {
        return None;
    }
    let alike = |change: &dyn Fn(&mut Conference)| {
        let mut changed = ours.clone();
        change(&mut changed);
        changed == *theirs
    };
    let is_locked = theirs.locked;
    Some(match theirs.clone() {
        it if it.state == ENDED => Change::Ended(it),
        it if (ours.state, it.state) == (NOT_STARTED, OPEN) => Change::Started(it),
        it if alike(&|c| c.locked = is_locked) && is_locked => Change::Locked(it),
        it if alike(&|c| c.locked = is_locked) => Change::Unlocked(it),
        it if alike(&|c| c.main_video.clone_from(&theirs.main_video)) => Change::MainVideo(it),
        it => Change::Updated(it),
    })
}
