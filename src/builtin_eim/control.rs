//! Conference control: what members do about themselves, and what the chair orders.

use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::event::{Audio, Change, LeftReason, Role, Video};
use crate::ids::UserId;
use crate::refusal::Reason;

/// The actions of `conference.control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A member's action on themselves.
    Own(SelfAction),
    /// An order of the chair.
    Chair(ChairAction),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SelfAction {
    Mute,
    Unmute,
    OpenCamera,
    CloseCamera,
    RaiseHand,
    LowerHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChairAction {
    Mute,
    Unmute,
    AllowUnmute,
    LowerHand,
    MuteAll,
    UnmuteAll,
    Kick,
    Ban,
    Lock,
    Unlock,
    SetMainVideo,
    SetChair,
    Admit,
    Deny,
    End,
}

impl Action {
    /// `others_hand`: whether somebody else than the caller is named, which makes `lowerHand` the chair's.
    pub fn parse(name: &str, others_hand: bool) -> Option<Self> {
        Some(match name {
            "muteSelf" => Self::Own(SelfAction::Mute),
            "unmuteSelf" => Self::Own(SelfAction::Unmute),
            "openCamera" => Self::Own(SelfAction::OpenCamera),
            "closeCamera" => Self::Own(SelfAction::CloseCamera),
            "raiseHand" => Self::Own(SelfAction::RaiseHand),
            "lowerHand" if !others_hand => Self::Own(SelfAction::LowerHand),
            "lowerHand" => Self::Chair(ChairAction::LowerHand),
            "mute" => Self::Chair(ChairAction::Mute),
            "unmute" => Self::Chair(ChairAction::Unmute),
            "allowUnmute" => Self::Chair(ChairAction::AllowUnmute),
            "muteAll" => Self::Chair(ChairAction::MuteAll),
            "unmuteAll" => Self::Chair(ChairAction::UnmuteAll),
            "kick" => Self::Chair(ChairAction::Kick),
            "ban" => Self::Chair(ChairAction::Ban),
            "lock" => Self::Chair(ChairAction::Lock),
            "unlock" => Self::Chair(ChairAction::Unlock),
            "setMainVideo" => Self::Chair(ChairAction::SetMainVideo),
            "setChair" => Self::Chair(ChairAction::SetChair),
            "admit" => Self::Chair(ChairAction::Admit),
            "deny" => Self::Chair(ChairAction::Deny),
            "end" => Self::Chair(ChairAction::End),
            _ => return None,
        })
    }
}

/// One request for control.
pub(super) struct Command<'a> {
    pub action: Action,
    pub caller: &'a UserId,
    pub target: Option<UserId>,
    pub value: Option<&'a str>,
    /// The role of the conference's present chair once they aren't its chair any more.
    pub former_chair: Role,
}

impl Room {
    /// Checks in this order: over, in the conference or its chair, the right to it, the arguments, the target.
    pub fn control(&mut self, cause: &Cause<'_>, command: &Command<'_>) -> Result<(), StanzaError> {
        if self.is_over() {
            return Err(StanzaError::of(Reason::ConferenceEnded));
        }
        let caller = command.caller;
        match command.action {
            Action::Chair(_) if !self.sees_all(caller) => Err(StanzaError::of(Reason::NotMember)),
            Action::Chair(_) if !self.is_chair(caller) => Err(StanzaError::of(Reason::ChairOnly)),
            Action::Chair(order) => self.order(cause, command, order),
            Action::Own(_) if !self.is_member(caller) => Err(StanzaError::of(Reason::NotMember)),
            Action::Own(_) if command.target.as_ref().is_some_and(|target| target != caller) => {
                Err(StanzaError::argument("userId"))
            }
            Action::Own(own) => self.act(cause, caller, own),
        }
    }

    fn act(&mut self, cause: &Cause<'_>, user: &UserId, own: SelfAction) -> Result<(), StanzaError> {
        match own {
            SelfAction::Mute => return self.set_own_audio(cause, user, false),
            SelfAction::Unmute => return self.set_own_audio(cause, user, true),
            SelfAction::OpenCamera => self.update_member(cause, user, |m| m.video = Video::On),
            SelfAction::CloseCamera => self.update_member(cause, user, |m| m.video = Video::Off),
            SelfAction::RaiseHand => self.update_member(cause, user, |m| m.hand = true),
            SelfAction::LowerHand => self.update_member(cause, user, |m| m.hand = false),
        }
        Ok(())
    }

    fn order(&mut self, cause: &Cause<'_>, command: &Command<'_>, order: ChairAction) -> Result<(), StanzaError> {
        let target = || command.target.as_ref().ok_or(StanzaError::argument("userId"));
        match order {
            ChairAction::Mute => return self.mute(cause, target()?),
            ChairAction::Unmute => return self.ask_to_unmute(cause, target()?),
            ChairAction::AllowUnmute => return self.allow_unmute(cause, target()?),
            ChairAction::LowerHand => return self.lower_hand(cause, target()?),
            ChairAction::Kick => return self.kick(cause, another(command)?),
            ChairAction::Ban => return self.ban(cause, another(command)?),
            ChairAction::SetMainVideo => return self.set_main_video(cause, command.target.as_ref()),
            ChairAction::SetChair => return self.hand_over(cause, command, target()?),
            ChairAction::Admit if command.value == Some("all") => return self.admit_all(cause),
            ChairAction::Admit => return self.admit(cause, target()?),
            ChairAction::Deny => return self.refuse_waiter(cause, target()?),
            ChairAction::MuteAll => self.mute_all(cause, command.value == Some("locked")),
            ChairAction::UnmuteAll => self.unmute_all(cause),
            ChairAction::Lock => self.set_locked(cause, true),
            ChairAction::Unlock => self.set_locked(cause, false),
            ChairAction::End => self.end(cause),
        }
        Ok(())
    }

    fn lower_hand(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.need_member(user)?;
        self.update_member(cause, user, |m| m.hand = false);
        Ok(())
    }

    fn set_locked(&mut self, cause: &Cause<'_>, locked: bool) {
        if self.roster.conference.locked != locked {
            let conference = self.conference_with(|c| c.locked = locked);
            self.emit(cause, if locked { Change::Locked(conference) } else { Change::Unlocked(conference) });
        }
    }

    /// Out, and not in again for as long as the conference lasts.
    pub fn ban(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.expel(cause, user, LeftReason::Banned)?;
        self.banned.insert(user.clone());
        self.pending.head = true;
        Ok(())
    }

    fn set_main_video(&mut self, cause: &Cause<'_>, user: Option<&UserId>) -> Result<(), StanzaError> {
        user.map_or(Ok(()), |user| self.need_member(user))?;
        if self.roster.conference.main_video.as_ref() != user {
            let changed = self.conference_with(|c| c.main_video = user.cloned());
            self.emit(cause, Change::MainVideo(changed));
        }
        Ok(())
    }

    /// A chair that hands over stops being the chair; handing over another's chair takes nothing from them.
    fn hand_over(&mut self, cause: &Cause<'_>, command: &Command<'_>, user: &UserId) -> Result<(), StanzaError> {
        self.need_member(user)?;
        let former = self.chair().clone();
        if former != *command.caller && former != *user {
            self.add_chair(former);
        }
        self.set_chair(cause, user, command.former_chair)
    }

    /// Hands the conference over to a member, until it is handed on.
    pub fn set_chair(&mut self, cause: &Cause<'_>, user: &UserId, former_role: Role) -> Result<(), StanzaError> {
        self.need_member(user)?;
        let former = self.chair().clone();
        if former == *user {
            return Ok(());
        }
        let handed_over = self.conference_with(|c| c.chair = user.clone());
        self.pending.people.insert(former.clone());
        self.emit(cause, Change::Updated(handed_over));
        if !self.is_chair(&former) {
            self.update_member(cause, &former, |m| m.role = former_role);
            if let Some(seat) = self.seats.get_mut(&former) {
                seat.member.role = former_role;
            }
        }
        self.unsilence(user);
        self.update_member(cause, user, |m| {
            m.role = Role::Chair;
            if m.audio == Audio::ForcedOff {
                m.audio = Audio::Off;
            }
        });
        Ok(())
    }
}

/// A chair can't put themselves out: they leave, hand over, or end.
fn another<'a>(command: &'a Command<'_>) -> Result<&'a UserId, StanzaError> {
    command.target.as_ref().filter(|target| *target != command.caller).ok_or(StanzaError::argument("userId"))
}
