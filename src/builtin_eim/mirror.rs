//! What a mirror of the conferences changes in them: what happens in a conference's MUC room (`eim.mode = "muc"`).
//!
//! A native is somebody who is in the room with an XMPP client of their own. The room lets them in, by its password and
//! its list of members, so neither the lock nor the lobby stops them here; a kick, a ban and a full house do.

use rand::Rng;

use super::address::Visitor;
use super::control::{Action, Command, SelfAction};
use super::core::{CallContext, Eim, Output};
use super::dialect::{Args, element};
use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::clock::{Moment, Now};
use crate::event::{Audio, Change, ENDED, Message, Role};
use crate::ids::{ConfId, UserId};
use crate::refusal::Reason;

/// What somebody in the room did, or what was done to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NativeChange {
    /// A client of theirs is in the room. `name`: checked as a display name.
    Entered { name: String, moderator: bool },
    /// They became a moderator of the room, or are none any more.
    Moderator(bool),
    /// Their client changed its nickname; checked as a display name.
    Renamed(String),
    /// Their client told of its microphone, camera or hand.
    State(MediaState),
    /// They wrote to everybody; at most `TEXT_MAX` characters.
    Text(String),
    /// No client of theirs is in the room any more.
    Left,
    /// A moderator sent them out.
    Expelled { banned: bool },
}

/// Of microphone, camera and hand, what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MediaState {
    pub audio: Option<bool>,
    pub video: Option<bool>,
    pub hand: Option<bool>,
}

/// What happened to the room as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RoomChange {
    /// It has another subject; checked as a display name.
    Subject(String),
    /// It was destroyed.
    Destroyed,
}

impl Eim {
    /// Takes a change of somebody in the conference's MUC room.
    ///
    /// # Errors
    /// They may not be in the conference. Nothing is changed then.
    pub(super) fn take_native(
        &mut self,
        conf: &ConfId,
        user: &UserId,
        change: NativeChange,
        now: Now,
        rng: &mut dyn Rng,
    ) -> (Result<(), StanzaError>, Output) {
        let mut context = CallContext::new(now, rng);
        // A server's account with the name of a guest's is not that guest.
        let is_other = self.people.is_temporary(user) && !matches!(change, NativeChange::Expelled { .. });
        let outcome = match is_other {
            true => Err(StanzaError::of(Reason::CallerUnknown)),
            false => {
                let visitor = self.native(user);
                self.in_room(&mut context, conf, Some(user), |room, cause| room.take_native(cause, &visitor, change))
            }
        };
        (outcome, context.output(None))
    }

    /// Takes a change of the conference's MUC room.
    pub(super) fn take_room_change(
        &mut self,
        conf: &ConfId,
        change: RoomChange,
        now: Now,
        rng: &mut dyn Rng,
    ) -> Output {
        let mut context = CallContext::new(now, rng);
        // A conference that is gone has no room.
        let _ = self.in_room(&mut context, conf, None, |room, cause| {
            match change {
                RoomChange::Destroyed => room.end(cause),
                RoomChange::Subject(name) if !room.is_over() => {
                    let renamed = room.conference_with(|c| c.conf_name = name);
                    room.update(cause, renamed);
                }
                RoomChange::Subject(_) => {}
            }
            Ok(())
        });
        context.output(None)
    }

    /// Makes a conference in the user's name. `id`: that of a room that is there already, which stays when the
    /// conference is over.
    ///
    /// # Errors
    /// As for the operation `create`.
    pub(super) fn create_mirrored(
        &mut self,
        user: &UserId,
        name: &str,
        id: Option<&ConfId>,
        now: Now,
        rng: &mut dyn Rng,
    ) -> (Result<ConfId, StanzaError>, Output) {
        let mut context = CallContext::new(now, rng);
        let operation = element("create").with("name", name);
        let visitor = self.native(user);
        let made = match self.people.is_temporary(user) {
            true => Err(StanzaError::of(Reason::UserTemporary)),
            false => self.create_as(&visitor, Args(&operation), id, &mut context),
        };
        (made.map(|(conf, _)| conf), context.output(None))
    }

    /// The conference, if it is known.
    pub(super) fn room(&self, conf: &ConfId) -> Option<&Room> {
        self.directory.get(conf).ok()
    }

    /// All conferences that are open and no calls: those that have a MUC room.
    pub(super) fn mirrored_rooms(&self) -> impl Iterator<Item = &ConfId> {
        self.directory.rooms().filter(|room| has_muc_room(room)).map(Room::id)
    }

    /// Conferences that have ended so long ago at most, and whose room was theirs alone.
    pub(super) fn lately_ended(&self, now: Moment, within_ms: u64) -> Vec<ConfId> {
        let is_late = |at: Moment| at.plus_ms(within_ms) > now;
        let is_one = |room: &&Room| !room.adopted && room.roster.conference.call.is_none();
        let ended = self.directory.rooms().filter(is_one).filter(|room| room.ended_at.is_some_and(is_late));
        ended.map(|room| room.id().clone()).collect()
    }

    /// Whether the account is a guest's.
    pub(super) fn is_guest(&self, user: &UserId) -> bool {
        self.people.is_temporary(user)
    }

    fn native(&self, user: &UserId) -> Visitor {
        let name = self.people.get(user).map(|account| account.name.clone());
        let id = user.clone();
        Visitor { id, address: String::new(), name, temporary: false, guest_of: None, role: Role::Member }
    }
}

/// Whether the conference has a MUC room now.
pub(super) fn has_muc_room(room: &Room) -> bool {
    room.is_open() && room.roster.conference.call.is_none()
}

impl Room {
    fn take_native(&mut self, cause: &Cause<'_>, visitor: &Visitor, change: NativeChange) -> Result<(), StanzaError> {
        let user = &visitor.id;
        match change {
            NativeChange::Entered { name, moderator } => return self.enter_native(cause, visitor, &name, moderator),
            NativeChange::Moderator(is) => self.set_native_chair(cause, user, is),
            // The account's name comes first: nobody goes by another's.
            NativeChange::Renamed(_) if visitor.name.is_some() => {}
            NativeChange::Renamed(name) => self.update_member(cause, user, |m| m.name = name),
            NativeChange::State(state) => return self.set_native_state(cause, user, state),
            NativeChange::Text(text) => return self.post(cause, user, text).map(drop),
            NativeChange::Left => self.leave(cause, user),
            NativeChange::Expelled { banned: true } => {
                self.check_known(user)?;
                return self.ban(cause, user);
            }
            NativeChange::Expelled { banned: false } => return self.kick(cause, user),
        }
        Ok(())
    }

    fn check_known(&self, user: &UserId) -> Result<(), StanzaError> {
        if self.has_place(user) { Ok(()) } else { Err(StanzaError::of(Reason::MemberNotFound)) }
    }

    fn enter_native(
        &mut self,
        cause: &Cause<'_>,
        visitor: &Visitor,
        name: &str,
        moderator: bool,
    ) -> Result<(), StanzaError> {
        let user = &visitor.id;
        if self.roster.conference.state == ENDED {
            return Err(StanzaError::of(Reason::ConferenceEnded));
        }
        self.check_barred(cause, user)?;
        if !self.is_open() {
            return Err(StanzaError::of(Reason::NotStarted));
        }
        if self.is_waiting(user) {
            self.admit(cause, user)?;
        } else if !self.is_member(user) && self.return_to_seat(cause, user).is_none() {
            if self.chair() != user && self.is_full(cause) {
                return Err(StanzaError::of(Reason::ConferenceFull));
            }
            self.add_member(cause, visitor, visitor.name.as_deref().unwrap_or(name));
        }
        self.hold_native(cause, user);
        if moderator {
            self.set_native_chair(cause, user, true);
        }
        Ok(())
    }

    fn set_native_chair(&mut self, cause: &Cause<'_>, user: &UserId, is: bool) {
        if self.chair() == user || self.chairs.contains(user) == is || !self.has_place(user) {
            return;
        }
        if is {
            self.add_chair(user.clone());
            self.unsilence(user);
        } else {
            self.drop_chair(user);
        }
        self.update_member(cause, user, |m| {
            m.role = if is { Role::Chair } else { Role::Member };
            if is && m.audio == Audio::ForcedOff {
                m.audio = Audio::Off;
            }
        });
    }

    /// A microphone that the chair has closed stays closed, as for everybody.
    fn set_native_state(&mut self, cause: &Cause<'_>, user: &UserId, state: MediaState) -> Result<(), StanzaError> {
        let wanted = [
            state.audio.map(|on| if on { SelfAction::Unmute } else { SelfAction::Mute }),
            state.video.map(|on| if on { SelfAction::OpenCamera } else { SelfAction::CloseCamera }),
            state.hand.map(|up| if up { SelfAction::RaiseHand } else { SelfAction::LowerHand }),
        ];
        for action in wanted.into_iter().flatten() {
            let action = Action::Own(action);
            let command = Command { action, caller: user, target: None, value: None, former_chair: Role::Member };
            self.control(cause, &command)?;
        }
        Ok(())
    }

    /// Posts a message of a member's.
    pub fn post(&mut self, cause: &Cause<'_>, user: &UserId, text: String) -> Result<Message, StanzaError> {
        if !self.is_member(user) {
            let reason = if self.is_over() { Reason::ConferenceEnded } else { Reason::NotMember };
            return Err(StanzaError::of(reason));
        }
        let message_id = format!("m{}", self.roster.seq + 1);
        let message = Message { message_id, user_id: user.clone(), text, time: cause.now.date };
        self.emit(cause, Change::Message(message.clone()));
        Ok(message)
    }
}
