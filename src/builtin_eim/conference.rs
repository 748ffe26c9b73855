//! The operations of module `conference`: what is asked, who may ask it, and the answer.

use super::address::{Caller, Visitor};
use super::control::{Action, Command};
use super::core::{CallContext, Eim};
use super::dialect::{self, Args, NAME_MAX, PAGE_MAX, TEXT_MAX, element};
use super::events;
use super::room::{Cause, Room, message_number};
use super::settings::EventDelivery;
use super::stanza_error::StanzaError;
use crate::event::{Change, Conference, ENDED, Event, Member, MutePolicy, NOT_STARTED, OPEN, Role};
use crate::ids::{ConfId, Secret};
use crate::precis::password::CONFERENCE_MAX;
use crate::refusal::Reason;
use crate::xmpp::xml::Element;

/// Digits of a password that is made for a conference.
const PASSWORD_DIGITS: usize = 8;
/// Conference ids are as good as an invitation: 36^16 leave nothing to guess.
pub(super) const CONF_ID_LEN: usize = 16;
pub(super) const EPOCH_LEN: usize = 12;
const PAGE_DEFAULT: usize = 50;

impl Eim {
    pub(super) fn conference(
        &mut self,
        caller: &Caller,
        kind: &str,
        operation: &Element,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let args = Args(operation);
        match (kind, operation.name.as_str(), caller) {
            ("set", "create", Caller::User(user)) => self.create(user, args, context),
            ("get", "get", _) => self.get(caller, args),
            ("get", "list", Caller::User(user)) => self.list(user, args),
            ("set", "update", Caller::User(user)) => self.update(user, args, context),
            ("set", "end", Caller::User(user)) => self.end(user, args, context),
            ("get", "find", Caller::Gateway) => self.find(args),
            ("set", "join", Caller::User(user)) => self.join(user, args, context),
            ("set", "leave", Caller::User(user)) => self.leave(user, args, context),
            ("get", "members", _) => self.members(caller, args),
            ("set", "control", Caller::User(user)) => self.control(user, args, context),
            ("set", "sendMessage", Caller::User(user)) => self.send_message(user, args, context),
            ("get", "messages", _) => self.messages(caller, args),
            ("set", "subscribe", Caller::User(user)) => self.subscribe(user, args, context),
            ("set", "unsubscribe", Caller::User(user)) => self.unsubscribe(user, args, context),
            ("set", "presence", Caller::Gateway) => self.presence(args, context),
            ("get", "snapshot", Caller::Gateway) => self.snapshot(args),
            ("set", "resetNode", Caller::Gateway) => self.reset_node(args, context),
            ("get", "find" | "snapshot", _) | ("set", "presence" | "resetNode", _) => {
                Err(StanzaError::of(Reason::OperationGatewayOnly))
            }
            ("get", "list", _)
            | ("set", "create" | "update" | "end" | "join" | "leave" | "control", _)
            | ("set", "sendMessage" | "subscribe" | "unsubscribe", _) => {
                Err(StanzaError::of(Reason::OperationUserOnly))
            }
            _ => Err(StanzaError::of(Reason::OperationUnknown)),
        }
    }

    /// The conference that the operation names. A guest's account knows of its own conference only.
    pub(super) fn named(&self, user: &Visitor, args: Args<'_>) -> Result<ConfId, StanzaError> {
        let id = args.conf_id()?;
        if user.belongs_elsewhere(&id) {
            return Err(StanzaError::of(Reason::ConferenceNotFound));
        }
        // A call's conference exists for those only whom the call names.
        let call = self.directory.get(&id)?.roster.conference.call.as_ref();
        if call.is_some_and(|call| self.calls.named(&call.call_id, &user.id).is_err()) {
            return Err(StanzaError::of(Reason::ConferenceNotFound));
        }
        Ok(id)
    }

    fn create(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        if user.temporary {
            return Err(StanzaError::of(Reason::UserTemporary));
        }
        self.create_as(user, args, None, context).map(|(_, answer)| answer)
    }

    /// Makes a conference. `adopted`: its id is that of a MUC room that is there already.
    pub(super) fn create_as(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        adopted: Option<&ConfId>,
        context: &mut CallContext<'_>,
    ) -> Result<(ConfId, Element), StanzaError> {
        if adopted.is_some_and(|id| self.directory.get(id).is_ok()) {
            return Err(StanzaError::of(Reason::PasswordTaken));
        }
        let name = args.need_name("name", NAME_MAX)?;
        let start_at = args.time("startAt")?;
        let (lobby, mute_policy) = (args.flag("lobby")?.unwrap_or(false), args.mute_policy()?);
        let password = args.text("password", CONFERENCE_MAX)?;
        // Calls have a bound of their own, so that they can't use up this one.
        if self.directory.open_count() >= self.settings.limits.conferences.saturating_add(self.calls.len()) {
            return Err(StanzaError::of(Reason::TooManyConferences));
        }
        let own = self.directory.of_user(&user.id);
        let own = own.filter(|room| room.is_chair(&user.id) && room.roster.conference.call.is_none()).count();
        if own >= self.settings.limits.conferences_per_user {
            return Err(StanzaError::of(Reason::TooManyConferencesOfUser));
        }
        let password = match password {
            Some(taken) if self.directory.holder_of(taken).is_some() => return Err(password_taken()),
            Some(free) => free.to_owned(),
            None => self.free_password(context),
        };
        let new_id = ConfId::parse(&context.text(CONF_ID_LEN)).expect("letters and digits");
        let conf_id = adopted.cloned().unwrap_or(new_id);
        let conference = Conference {
            conf_id: conf_id.clone(),
            conf_name: name,
            state: if start_at.is_some_and(|at| at > context.now.date) { NOT_STARTED } else { OPEN },
            start_at,
            chair: user.id.clone(),
            locked: false,
            lobby,
            mute_policy: mute_policy.unwrap_or(MutePolicy::Free),
            main_video: None,
            call: None,
        };
        let cause = Cause { now: context.now, actor: Some(&user.id), limits: &self.settings.limits };
        let mut room = Room::new(conference, Secret::new(password), context.text(EPOCH_LEN), &cause);
        room.adopted = adopted.is_some();
        let answer = element("create").with_child(for_chair(&room));
        let event = Event {
            epoch: room.roster.epoch.clone(),
            seq: room.roster.seq,
            conf_id: conf_id.clone(),
            time: context.now.date,
            change: Change::Created(room.roster.conference.clone()),
            actor: Some(user.id.clone()),
        };
        self.directory.insert(room);
        self.publish_changes(context, &conf_id);
        self.notify_chair(context, event);
        Ok((conf_id, answer))
    }

    /// Nobody is subscribed to a new conference yet: its chair gets the event where the events of calls go.
    fn notify_chair(&mut self, context: &mut CallContext<'_>, event: Event) {
        let Some(chair) = event.actor.clone() else { return };
        match self.settings.event_delivery {
            EventDelivery::Headlines => {
                let to: Vec<_> = self.call_subscriptions.addresses(&chair).into_iter().map(str::to_owned).collect();
                self.send_headlines(context, &to, events::json(&event));
            }
            EventDelivery::Publications => {
                let key = events::user_key(&chair, event.change.name());
                self.publish(context, key, events::message_id(&event), events::json(&event));
            }
        }
    }

    /// Digits that no conference has as its password, if it can be had in a few tries one that none had before.
    fn free_password(&self, context: &mut CallContext<'_>) -> String {
        let mut password = context.digits(PASSWORD_DIGITS);
        let mut tries = 0;
        while self.directory.holder_of(&password).is_some() || (tries < 8 && self.directory.find(&password).is_some()) {
            password = context.digits(PASSWORD_DIGITS);
            tries += 1;
        }
        password
    }

    fn get(&self, caller: &Caller, args: Args<'_>) -> Result<Element, StanzaError> {
        let conference = match caller {
            Caller::Gateway => {
                let room = self.directory.get(&args.conf_id()?)?;
                dialect::conference(&room.roster.conference, None)
            }
            Caller::User(user) => for_user(self.directory.get(&self.named(user, args)?)?, user),
        };
        Ok(element("get").with_child(conference))
    }

    fn list(&self, user: &Visitor, args: Args<'_>) -> Result<Element, StanzaError> {
        let (offset, limit) = (args.offset()?, args.limit(PAGE_MAX)?);
        let calls = args.flag("calls")?.unwrap_or(false);
        let listed = |room: &&Room| calls || room.roster.conference.call.is_none();
        let page = self.directory.of_user(&user.id).filter(listed).skip(offset).take(limit);
        Ok(page.fold(element("list"), |list, room| list.with_child(for_user(room, user))))
    }

    fn update(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        check_chair(self.directory.get(&id)?, user)?;
        let (name, start_at) = (args.name("name", NAME_MAX)?, args.time("startAt")?);
        let (lobby, policy) = (args.flag("lobby")?, args.mute_policy()?);
        let password = args.text("password", CONFERENCE_MAX)?;
        if self.directory.get(&id)?.roster.conference.call.is_some() {
            return Err(StanzaError::of(Reason::CallHasNoLinks));
        }
        let holder = password.and_then(|password| self.directory.holder_of(password));
        if holder.is_some_and(|holder| *holder != id) {
            return Err(password_taken());
        }
        self.in_room(context, &id, Some(&user.id), |room, cause| {
            if let Some(password) = password {
                room.set_password(password);
            }
            let changed = room.conference_with(|c| {
                c.conf_name = name.unwrap_or_else(|| c.conf_name.clone());
                c.start_at = start_at.or(c.start_at);
                c.lobby = lobby.unwrap_or(c.lobby);
                c.mute_policy = policy.unwrap_or(c.mute_policy);
            });
            room.update(cause, changed);
            Ok(())
        })?;
        Ok(element("update").with_child(for_user(self.directory.get(&id)?, user)))
    }

    fn end(&mut self, user: &Visitor, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        check_chair(self.directory.get(&id)?, user)?;
        self.in_room(context, &id, Some(&user.id), |room, cause| {
            room.end(cause);
            Ok(element("end").with("seq", room.roster.seq.to_string()))
        })
    }

    fn find(&self, args: Args<'_>) -> Result<Element, StanzaError> {
        let password = args.need_text("password", CONFERENCE_MAX)?;
        let room = self.directory.find(password).ok_or(StanzaError::of(Reason::ConferenceNotFound))?;
        Ok(element("find").with_child(for_chair(room)))
    }

    fn join(&mut self, user: &Visitor, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        let given = args.name("name", NAME_MAX)?;
        let member = self.enter(user, &id, given.as_deref(), context)?;
        let conference = for_user(self.directory.get(&id)?, user);
        Ok(element("join").with_child(dialect::member(&member)).with_child(conference))
    }

    /// Comes in under the name that is theirs: by joining, or by calling and accepting.
    pub(super) fn enter(
        &mut self,
        user: &Visitor,
        id: &ConfId,
        given: Option<&str>,
        context: &mut CallContext<'_>,
    ) -> Result<Member, StanzaError> {
        let own = user.name.as_deref();
        self.in_room(context, id, Some(&user.id), |room, cause| {
            // The account's name comes first: nobody enters under another's.
            room.join(cause, user, own.or(given).unwrap_or(user.id.as_str()))
        })
    }

    fn leave(&mut self, user: &Visitor, args: Args<'_>, context: &mut CallContext<'_>) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        self.in_room(context, &id, Some(&user.id), |room, cause| {
            room.leave(cause, &user.id);
            Ok(element("leave"))
        })
    }

    /// The roster's members; to somebody who waits, themselves.
    fn members(&self, caller: &Caller, args: Args<'_>) -> Result<Element, StanzaError> {
        let answer = element("members");
        let room = self.room_for(caller, args)?;
        if let Caller::User(user) = caller
            && !room.sees_all(&user.id)
        {
            let own = room.roster.waiter(&user.id).ok_or(not_member(room))?;
            return Ok(answer.with_child(dialect::member(own)));
        }
        Ok(room.roster.members.iter().fold(answer, |all, m| all.with_child(dialect::member(m))))
    }

    fn room_for(&self, caller: &Caller, args: Args<'_>) -> Result<&Room, StanzaError> {
        let id = match caller {
            Caller::Gateway => args.conf_id()?,
            Caller::User(user) => self.named(user, args)?,
        };
        self.directory.get(&id)
    }

    fn control(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        let (action, target) = (args.need_text("action", 32)?, args.user_id()?);
        let others_hand = target.as_ref().is_some_and(|target| *target != user.id);
        let chair = self.directory.get(&id)?.chair();
        let former_chair = if self.people.is_temporary(chair) { Role::Guest } else { Role::Member };
        let command = Command {
            action: Action::parse(action, others_hand).ok_or(StanzaError::argument("action"))?,
            caller: &user.id,
            target,
            value: args.free("value", NAME_MAX)?,
            former_chair,
        };
        self.in_room(context, &id, Some(&user.id), |room, cause| room.control(cause, &command))?;
        let seq = self.directory.get(&id)?.roster.seq;
        Ok(element("control").with("seq", seq.to_string()))
    }

    fn send_message(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = self.named(user, args)?;
        let text = args.0.child("text").unwrap_or(args.0).text();
        if text.trim().is_empty() || text.chars().count() > TEXT_MAX {
            return Err(StanzaError::argument("text"));
        }
        self.in_room(context, &id, Some(&user.id), |room, cause| {
            let message = room.post(cause, &user.id, text)?;
            Ok(element("sendMessage")
                .with("messageId", message.message_id)
                .with("time", message.time.to_string())
                .with("seq", room.roster.seq.to_string()))
        })
    }

    /// A page of messages before one, oldest first. The chair may read them after the end too.
    fn messages(&self, caller: &Caller, args: Args<'_>) -> Result<Element, StanzaError> {
        let room = self.room_for(caller, args)?;
        if let Caller::User(user) = caller
            && !room.sees_all(&user.id)
        {
            return Err(not_member(room));
        }
        let before = match args.text("before", NAME_MAX)? {
            None => u64::MAX,
            Some(id) => message_number(id).ok_or(StanzaError::argument("before"))?,
        };
        Ok(dialect::page("messages", room.messages_before(before).take(args.limit(PAGE_DEFAULT)?)))
    }
}

/// The order of checks for the chair's operations: over, then whose it is.
fn check_chair(room: &Room, user: &Visitor) -> Result<(), StanzaError> {
    if room.roster.conference.state == ENDED {
        return Err(StanzaError::of(Reason::ConferenceEnded));
    }
    if room.is_chair(&user.id) { Ok(()) } else { Err(StanzaError::of(Reason::ChairOnly)) }
}

fn not_member(room: &Room) -> StanzaError {
    if room.is_over() { StanzaError::of(Reason::ConferenceEnded) } else { StanzaError::of(Reason::NotMember) }
}

fn password_taken() -> StanzaError {
    StanzaError::of(Reason::PasswordTaken)
}

/// The conference with its password.
fn for_chair(room: &Room) -> Element {
    dialect::conference(&room.roster.conference, Some(&room.password))
}

fn for_user(room: &Room, user: &Visitor) -> Element {
    if room.is_chair(&user.id) { for_chair(room) } else { dialect::conference(&room.roster.conference, None) }
}
