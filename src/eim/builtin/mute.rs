//! Muting: one by one, all at once, and the policy that binds those who come later.
//!
//! The chair is never forced to be silent. What is decided for all holds for kept seats too, so that a short absence
//! is no way round it.

use super::deny::Deny;
use super::room::{Cause, Room};
use crate::event::{Audio, Change, Member, MutePolicy, Role};
use crate::ids::UserId;

impl Room {
    /// Opens or closes the microphone of the member's own accord.
    pub fn set_own_audio(&mut self, cause: &Cause<'_>, user: &UserId, on: bool) -> Result<(), Deny> {
        let forced = self.roster.member(user).is_some_and(|m| m.audio == Audio::ForcedOff);
        match (forced, on) {
            (true, true) => return Err(Deny::forbidden("conference.unmuteDenied")),
            (true, false) => {}
            (false, on) => {
                self.update_member(cause, user, |m| m.audio = if on { Audio::On } else { Audio::Off });
            }
        }
        Ok(())
    }

    /// The chair's word on one member's microphone.
    pub fn set_audio(&mut self, cause: &Cause<'_>, user: &UserId, audio: Audio) -> Result<(), Deny> {
        self.need_member(user)?;
        let audio = if audio == Audio::ForcedOff && self.is_chair(user) { Audio::Off } else { audio };
        self.update_member(cause, user, |m| m.audio = audio);
        self.unsilence(user);
        Ok(())
    }

    /// Lets a member unmute again who was forced to be silent; whether they do is theirs.
    pub fn allow_unmute(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), Deny> {
        self.need_member(user)?;
        self.update_member(cause, user, lift);
        self.unsilence(user);
        Ok(())
    }

    /// Silences everybody but the chair. Those who come later find themselves muted as well.
    pub fn mute_all(&mut self, cause: &Cause<'_>, locked: bool) {
        let policy = if locked || self.roster.conference.mute_policy == MutePolicy::Locked {
            MutePolicy::Locked
        } else {
            MutePolicy::JoinMuted
        };
        self.set_policy(cause, policy);
        self.update_everybody(cause, if locked { force } else { mute });
    }

    /// Lets everybody speak again. Nobody's microphone is opened by it.
    pub fn unmute_all(&mut self, cause: &Cause<'_>) {
        self.set_policy(cause, MutePolicy::Free);
        self.lift_all(cause);
    }

    fn set_policy(&mut self, cause: &Cause<'_>, policy: MutePolicy) {
        if self.roster.conference.mute_policy != policy {
            let updated = self.conference_with(|c| c.mute_policy = policy);
            self.emit(cause, Change::Updated(updated));
        }
    }

    /// Brings those who are in under a policy that has changed.
    pub fn bind_to_policy(&mut self, cause: &Cause<'_>, before: MutePolicy) {
        match (before, self.roster.conference.mute_policy) {
            (MutePolicy::Locked, MutePolicy::Locked) => {}
            (_, MutePolicy::Locked) => self.update_everybody(cause, force),
            (MutePolicy::Locked, _) => self.lift_all(cause),
            _ => {}
        }
    }

    fn lift_all(&mut self, cause: &Cause<'_>) {
        self.update_everybody(cause, lift);
        if !self.silenced.is_empty() {
            self.silenced.clear();
            self.pending.head = true;
        }
    }

    pub fn unsilence(&mut self, user: &UserId) {
        self.pending.head |= self.silenced.remove(user);
    }

    /// Changes everybody but the chair, in the roster and in the seats that are kept.
    fn update_everybody(&mut self, cause: &Cause<'_>, change: fn(&mut Member)) {
        let others = self.roster.members.iter().filter(|m| m.role != Role::Chair);
        for user in others.map(|m| m.user_id.clone()).collect::<Vec<_>>() {
            self.update_member(cause, &user, change);
        }
        for (user, seat) in self.seats.iter_mut().filter(|(_, seat)| seat.member.role != Role::Chair) {
            change(&mut seat.member);
            self.pending.people.insert(user.clone());
        }
    }

    pub fn need_member(&self, user: &UserId) -> Result<(), Deny> {
        if self.is_member(user) { Ok(()) } else { Err(Deny::not_found("member.notFound")) }
    }
}

fn force(member: &mut Member) {
    member.audio = Audio::ForcedOff;
}

fn mute(member: &mut Member) {
    if member.audio == Audio::On {
        member.audio = Audio::Off;
    }
}

fn lift(member: &mut Member) {
    if member.audio == Audio::ForcedOff {
        member.audio = Audio::Off;
    }
}
