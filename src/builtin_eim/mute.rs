//! Muting: one by one, all at once, and the policy that binds those who come later.
//!
//! A microphone or a camera opens only by an act of its owner: nobody else's order, no policy and no default makes
//! `audio` or `video` `on`. A chair who wants somebody to speak asks.
//!
//! A chair is never forced to be silent. What is decided for all holds for kept seats too, so that a short absence
//! is no way round it.

use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::event::{Audio, Change, Member, MutePolicy, Role};
use crate::ids::UserId;
use crate::refusal::Reason;

impl Room {
    /// Opens or closes the microphone of the member's own accord.
    pub fn set_own_audio(&mut self, cause: &Cause<'_>, user: &UserId, on: bool) -> Result<(), StanzaError> {
        let forced = self.roster.member(user).is_some_and(|m| m.audio == Audio::ForcedOff);
        match (forced, on) {
            (true, true) => return Err(StanzaError::of(Reason::UnmuteDenied)),
            (true, false) => {}
            (false, on) => {
                self.update_member(cause, user, |m| set(m, if on { Audio::On } else { Audio::Off }));
            }
        }
        Ok(())
    }

    /// Forces one member to be silent.
    pub fn mute(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.need_member(user)?;
        let audio = if self.is_chair(user) { Audio::Off } else { Audio::ForcedOff };
        self.update_member(cause, user, |m| set(m, audio));
        self.unsilence(user);
        Ok(())
    }

    /// Asks a member to speak, who may do so from now on.
    pub fn ask_to_unmute(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.need_member(user)?;
        self.update_member(cause, user, request_unmute);
        self.unsilence(user);
        Ok(())
    }

    /// Lets a member speak again who was forced to be silent, and asks them to. Whoever was not is not asked.
    pub fn allow_unmute(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.need_member(user)?;
        let forced = self.roster.member(user).is_some_and(|m| m.audio == Audio::ForcedOff);
        if forced { self.ask_to_unmute(cause, user) } else { Ok(()) }
    }

    /// Silences everybody but chairs. Those who come later find themselves muted as well.
    pub fn mute_all(&mut self, cause: &Cause<'_>, locked: bool) {
        let policy = if locked || self.roster.conference.mute_policy == MutePolicy::Locked {
            MutePolicy::Locked
        } else {
            MutePolicy::JoinMuted
        };
        self.set_policy(cause, policy);
        self.update_everybody(cause, if locked { force } else { mute });
    }

    /// Lets everybody speak again, and asks those who are here to.
    pub fn unmute_all(&mut self, cause: &Cause<'_>) {
        self.set_policy(cause, MutePolicy::Free);
        for user in self.others() {
            self.update_member(cause, &user, request_unmute);
        }
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

    fn others(&self) -> Vec<UserId> {
        let others = self.roster.members.iter().filter(|m| m.role != Role::Chair);
        others.map(|m| m.user_id.clone()).collect()
    }

    /// Changes everybody but chairs, in the roster and in the seats that are kept.
    fn update_everybody(&mut self, cause: &Cause<'_>, change: fn(&mut Member)) {
        for user in self.others() {
            self.update_member(cause, &user, change);
        }
        for (user, seat) in self.seats.iter_mut().filter(|(_, seat)| seat.member.role != Role::Chair) {
            change(&mut seat.member);
            self.pending.people.insert(user.clone());
        }
    }

    pub fn need_member(&self, user: &UserId) -> Result<(), StanzaError> {
        if self.is_member(user) { Ok(()) } else { Err(StanzaError::of(Reason::MemberNotFound)) }
    }
}

/// Any change of the microphone answers the question.
fn set(member: &mut Member, audio: Audio) {
    member.audio = audio;
    member.unmute_asked = false;
}

fn force(member: &mut Member) {
    set(member, Audio::ForcedOff);
}

fn mute(member: &mut Member) {
    if member.audio != Audio::ForcedOff {
        set(member, Audio::Off);
    }
}

fn lift(member: &mut Member) {
    if member.audio == Audio::ForcedOff {
        set(member, Audio::Off);
    }
}

fn request_unmute(member: &mut Member) {
    if member.audio != Audio::On {
        member.audio = Audio::Off;
        member.unmute_asked = true;
    }
}
