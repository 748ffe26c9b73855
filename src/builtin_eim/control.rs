//! Conference control: what members do about themselves, and what the chair orders.

use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::event::{Audio, Change, LeftReason, Role, Video};
use crate::ids::UserId;
use crate::refusal::Reason;

/// The actions of `conference.control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// What a member does about themselves.
    Own(Own),
    /// What the chair orders.
    Chair(Order),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Mute,
    Unmute,
    OpenCamera,
    CloseCamera,
    RaiseHand,
    LowerHand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
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
            "muteSelf" => Self::Own(Own::Mute),
            "unmuteSelf" => Self::Own(Own::Unmute),
            "openCamera" => Self::Own(Own::OpenCamera),
            "closeCamera" => Self::Own(Own::CloseCamera),
            "raiseHand" => Self::Own(Own::RaiseHand),
            "lowerHand" if !others_hand => Self::Own(Own::LowerHand),
            "lowerHand" => Self::Chair(Order::LowerHand),
            "mute" => Self::Chair(Order::Mute),
            "unmute" => Self::Chair(Order::Unmute),
            "allowUnmute" => Self::Chair(Order::AllowUnmute),
            "muteAll" => Self::Chair(Order::MuteAll),
            "unmuteAll" => Self::Chair(Order::UnmuteAll),
            "kick" => Self::Chair(Order::Kick),
            "ban" => Self::Chair(Order::Ban),
            "lock" => Self::Chair(Order::Lock),
            "unlock" => Self::Chair(Order::Unlock),
            "setMainVideo" => Self::Chair(Order::SetMainVideo),
            "setChair" => Self::Chair(Order::SetChair),
            "admit" => Self::Chair(Order::Admit),
            "deny" => Self::Chair(Order::Deny),
            "end" => Self::Chair(Order::End),
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
    /// What the conference's chair of now is once they aren't its chair any more.
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

    fn act(&mut self, cause: &Cause<'_>, user: &UserId, own: Own) -> Result<(), StanzaError> {
        match own {
            Own::Mute => return self.set_own_audio(cause, user, false),
            Own::Unmute => return self.set_own_audio(cause, user, true),
            Own::OpenCamera => self.update_member(cause, user, |m| m.video = Video::On),
            Own::CloseCamera => self.update_member(cause, user, |m| m.video = Video::Off),
            Own::RaiseHand => self.update_member(cause, user, |m| m.hand = true),
            Own::LowerHand => self.update_member(cause, user, |m| m.hand = false),
        }
        Ok(())
    }

    fn order(&mut self, cause: &Cause<'_>, command: &Command<'_>, order: Order) -> Result<(), StanzaError> {
        let target = || command.target.as_ref().ok_or(StanzaError::argument("userId"));
        match order {
            Order::Mute => return self.mute(cause, target()?),
            Order::Unmute => return self.ask_to_unmute(cause, target()?),
            Order::AllowUnmute => return self.allow_unmute(cause, target()?),
            Order::LowerHand => return self.lower_hand(cause, target()?),
            Order::Kick => return self.kick(cause, another(command)?),
            Order::Ban => return self.ban(cause, another(command)?),
            Order::SetMainVideo => return self.set_main_video(cause, command.target.as_ref()),
            Order::SetChair => return self.hand_over(cause, command, target()?),
            Order::Admit if command.value == Some("all") => return self.admit_all(cause),
            Order::Admit => return self.admit(cause, target()?),
            Order::Deny => return self.refuse_waiter(cause, target()?),
            Order::MuteAll => self.mute_all(cause, command.value == Some("locked")),
            Order::UnmuteAll => self.unmute_all(cause),
            Order::Lock => self.set_locked(cause, true),
            Order::Unlock => self.set_locked(cause, false),
            Order::End => self.end(cause),
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
    fn ban(&mut self, cause: &Cause<'_>, user: &UserId) -> Result<(), StanzaError> {
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

    /// Who hands over their own stops being its chair; who hands over another's takes nothing from them.
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
