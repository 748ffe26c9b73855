//! The operations of module `call`: who may call whom, and what each does to the call and its conference.

use std::collections::{BTreeMap, BTreeSet};

use super::address::{Caller, Visitor};
use super::call_subscriptions::CallSubscription;
use super::calls::{Call, CallNotice, Party};
use super::conference::{CONF_ID_LEN, EPOCH_LEN};
use super::core::{CallContext, Eim};
use super::dialect::{Args, Module, NAME_MAX};
use super::events;
use super::room::{Cause, Room};
use super::settings::EventDelivery;
use super::stanza_error::StanzaError;
use crate::event::{CallMode, CallOf, Conference, MutePolicy, OPEN};
use crate::ids::{CallId, ConfId, Secret, UserId};
use crate::refusal::Reason;
use crate::xmpp::xml::{Element, Stanza};

/// Longest reason to decline, in characters.
const REASON_MAX: usize = 64;
/// As hard to guess as a conference's id.
const CALL_ID_LEN: usize = CONF_ID_LEN;
/// A publication of a call's event is told from the others of the same call by so much random text.
const MESSAGE_ID_LEN: usize = 12;

fn element(name: &str) -> Element {
    Element::new(name, Module::Call.ns())
}

impl Eim {
    pub(super) fn call(
        &mut self,
        caller: &Caller,
        kind: &str,
        operation: &Element,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let name = operation.name.as_str();
        let known = ["start", "accept", "decline", "cancel", "hangup", "watch", "unwatch"].contains(&name);
        if kind != "set" || !known {
            return Err(StanzaError::of(Reason::OperationUnknown));
        }
        let Caller::User(user) = caller else { return Err(StanzaError::of(Reason::OperationUserOnly)) };
        if user.temporary {
            return Err(StanzaError::of(Reason::UserTemporary));
        }
        let args = Args(operation);
        match name {
            "start" => self.start_call(user, args, context),
            "accept" => self.accept_call(user, args, context),
            "decline" => self.decline_call(user, args, context),
            "cancel" => self.cancel_call(user, args, context),
            "hangup" => self.hang_up(user, args, context),
            "watch" => self.subscribe_calls(user, args, context),
            _ => self.unsubscribe_calls(user, args, context),
        }
    }

    fn start_call(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let (to, mode) = self.callees(&user.id, args)?;
        let (name, shown) = (args.name("name", NAME_MAX)?, args.name("displayName", NAME_MAX)?);
        let (name, shown) = (name.as_deref(), shown.as_deref());
        self.check_room_for_call(&user.id)?;
        let (call, incoming) = self.new_call(user, to, mode, name, context);
        let (call_id, conf_id) = (call.call_id.clone(), call.conf_id.clone());
        let conference = conference_of(&call, name.or(user.name.as_deref()).or(shown));
        let cause = Cause { now: context.now, actor: Some(&user.id), limits: &self.settings.limits };
        // No password: nobody comes in by one.
        self.directory.insert(Room::new(conference, Secret::new(""), context.text(EPOCH_LEN), &cause));
        self.calls.insert(call);
        self.send_call_notices(context, incoming);
        self.enter(user, &conf_id, shown, context)?;
        let answer = element("start").with("callId", call_id.as_str()).with("confId", conf_id.as_str());
        Ok(answer.with("mode", mode.as_str()))
    }

    /// The call, and what is told at its beginning: it rings, except for those who are busy.
    fn new_call(
        &self,
        user: &Visitor,
        to: Vec<UserId>,
        mode: CallMode,
        name: Option<&str>,
        context: &mut CallContext<'_>,
    ) -> (Call, Vec<CallNotice>) {
        let limits = &self.settings.limits;
        let busy: BTreeSet<UserId> =
            to.iter().filter(|callee| self.calls.is_busy(callee, limits.calls_per_user)).cloned().collect();
        let party = |callee: &UserId| if busy.contains(callee) { Party::Out } else { Party::Ringing };
        let mut parties: BTreeMap<UserId, Party> = to.iter().map(|callee| (callee.clone(), party(callee))).collect();
        parties.insert(user.id.clone(), Party::In);
        let call = Call {
            call_id: CallId::parse(&context.text(CALL_ID_LEN)).expect("letters and digits"),
            conf_id: ConfId::parse(&context.text(CONF_ID_LEN)).expect("letters and digits"),
            mode,
            name: name.map(str::to_owned),
            from: user.id.clone(),
            to,
            parties,
            answered: false,
            rings_until: context.now.moment.plus_ms(limits.ring_ms),
            ends_by: context.now.moment.plus_ms(limits.call_max_ms),
        };
        let notices = call.to.iter().map(|callee| match busy.contains(callee) {
            true => call.busy(context.now, callee),
            false => call.incoming(context.now, callee),
        });
        let notices = notices.collect();
        (call, notices)
    }

    /// The callees that the operation names, and the mode that follows: one callee makes a call between two.
    fn callees(&self, caller: &UserId, args: Args<'_>) -> Result<(Vec<UserId>, CallMode), StanzaError> {
        let max = self.settings.limits.call_callees;
        let department = args.text("departmentId", NAME_MAX)?;
        let entries: Vec<&Element> = args.0.children().filter(|e| e.name == "to").collect();
        match (department, entries.is_empty()) {
            (Some(department), true) => return Ok((self.people_of(department, caller)?, CallMode::Group)),
            (None, false) => {}
            _ => return Err(StanzaError::argument("to")),
        }
        if entries.len() > max {
            return Err(StanzaError::of(Reason::TooManyCallees));
        }
        let mut to = Vec::new();
        for entry in entries {
            let callee = UserId::parse(&entry.text()).filter(|id| id != caller).ok_or(StanzaError::argument("to"))?;
            if self.people.is_temporary(&callee) {
                return Err(StanzaError::of(Reason::UserNotFound));
            }
            if !to.contains(&callee) {
                to.push(callee);
            }
        }
        let mode = if to.len() == 1 { CallMode::P2p } else { CallMode::Group };
        Ok((to, mode))
    }

    /// The people of a department but the caller.
    fn people_of(&self, department: &str, caller: &UserId) -> Result<Vec<UserId>, StanzaError> {
        let max = self.settings.limits.call_callees;
        // The caller may be one of them; one more tells that there are too many.
        let (people, _) = self.people.book.page(Some(department), 0, max + 2);
        let to: Vec<UserId> = people.into_iter().filter(|user| *user != caller).cloned().collect();
        match to.len() {
            0 => Err(StanzaError::of(Reason::DepartmentNotFound)),
            n if n > max => Err(StanzaError::of(Reason::TooManyCallees)),
            _ => Ok(to),
        }
    }

    fn check_room_for_call(&self, user: &UserId) -> Result<(), StanzaError> {
        let limits = &self.settings.limits;
        if self.calls.len() >= limits.calls {
            return Err(StanzaError::of(Reason::TooManyCalls));
        }
        if self.calls.of_user(user).count() >= limits.calls_per_user {
            return Err(StanzaError::of(Reason::TooManyCallsOfUser));
        }
        Ok(())
    }

    /// In it already: the same answer again. A running call between several may be accepted late, and again.
    fn accept_call(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let call = self.calls.named(&args.call_id()?, &user.id)?;
        let shown = args.name("displayName", NAME_MAX)?;
        let (conf_id, mode) = (call.conf_id.clone(), call.mode);
        let late = call.parties.get(&user.id) == Some(&Party::Out);
        if late && self.calls.of_user(&user.id).count() >= self.settings.limits.calls_per_user {
            return Err(StanzaError::of(Reason::TooManyCallsOfUser));
        }
        self.enter(user, &conf_id, shown.as_deref(), context)?;
        Ok(element("accept").with("confId", conf_id.as_str()).with("mode", mode.as_str()))
    }

    fn decline_call(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let id = args.call_id()?;
        let reason = args.text("reason", REASON_MAX)?;
        let conf = self.calls.named(&id, &user.id)?.conf_id.clone();
        let notices = self.calls.decline(&id, &user.id, reason, context.now)?;
        self.send_call_notices(context, notices);
        self.in_room(context, &conf, Some(&user.id), |_, _| Ok(()))?;
        Ok(element("decline"))
    }

    /// The caller gives up before anybody has answered.
    fn cancel_call(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let call = self.calls.named(&args.call_id()?, &user.id)?;
        if call.from != user.id {
            return Err(StanzaError::of(Reason::CallerOnly));
        }
        if call.answered {
            return Err(StanzaError::of(Reason::CallAnswered));
        }
        self.leave_call(user, &call.conf_id.clone(), context)?;
        Ok(element("cancel"))
    }

    fn hang_up(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let call = self.calls.named(&args.call_id()?, &user.id)?;
        if call.parties.get(&user.id) != Some(&Party::In) {
            return Err(StanzaError::of(Reason::NotInCall));
        }
        self.leave_call(user, &call.conf_id.clone(), context)?;
        Ok(element("hangup"))
    }

    fn leave_call(&mut self, user: &Visitor, conf: &ConfId, context: &mut CallContext<'_>) -> Result<(), StanzaError> {
        self.in_room(context, conf, Some(&user.id), |room, cause| {
            room.leave(cause, &user.id);
            Ok(())
        })
    }

    /// News of the user's calls go to the address that asks, too; what rings for them already is told at once.
    fn subscribe_calls(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let claim = self.claim(args)?;
        let listener = CallSubscription { claim, address: user.address.clone() };
        context.writes.push(self.call_subscriptions.subscribe(&user.id, listener, self.settings.limits.users)?);
        let ringing: Vec<CallNotice> =
            self.calls.ringing(&user.id).map(|call| call.incoming(context.now, &user.id)).collect();
        match self.settings.event_delivery {
            EventDelivery::Headlines => {
                let stanzas = ringing.iter().map(|notice| self.message_stanza(notice));
                context.events.extend(stanzas.map(|stanza| stanza.with("to", user.address.as_str())));
            }
            // The broker knows users, not addresses: all nodes with a socket of the user get it again.
            EventDelivery::Publications => self.publish_call_notices(context, ringing),
        }
        Ok(element("watch"))
    }

    fn unsubscribe_calls(
        &mut self,
        user: &Visitor,
        args: Args<'_>,
        context: &mut CallContext<'_>,
    ) -> Result<Element, StanzaError> {
        let claim = self.claim(args)?;
        context.writes.extend(self.call_subscriptions.unsubscribe(&user.id, &claim));
        Ok(element("unwatch"))
    }

    /// Sends each notice to all addresses of its users, or publishes it for each of them.
    pub(super) fn send_call_notices(&mut self, context: &mut CallContext<'_>, notices: Vec<CallNotice>) {
        if self.settings.event_delivery == EventDelivery::Publications {
            return self.publish_call_notices(context, notices);
        }
        for notice in notices {
            let message = self.message_stanza(&notice);
            let addresses = notice.to.iter().flat_map(|user| self.call_subscriptions.addresses(user));
            context.events.extend(addresses.map(|to| message.clone().with("to", to)));
        }
    }

    fn publish_call_notices(&mut self, context: &mut CallContext<'_>, notices: Vec<CallNotice>) {
        for CallNotice { event, to } in notices {
            let body = events::json(&event);
            for user in to {
                let id = format!("{}/{}", event.data.call_id, context.text(MESSAGE_ID_LEN));
                self.publish(context, events::user_key(&user, event.step.name()), id, body.clone());
            }
        }
    }

    fn message_stanza(&self, notice: &CallNotice) -> Stanza {
        let from = format!("{}.{}", Module::Call.host(), self.settings.domain);
        events::message_stanza(&from, events::json(&notice.event))
    }
}

/// Open at once, without a lobby; its chair is the caller.
fn conference_of(call: &Call, name: Option<&str>) -> Conference {
    Conference {
        conf_id: call.conf_id.clone(),
        conf_name: name.unwrap_or(call.from.as_str()).to_owned(),
        state: OPEN,
        start_at: None,
        chair: call.from.clone(),
        locked: false,
        lobby: false,
        mute_policy: MutePolicy::Free,
        main_video: None,
        call: Some(CallOf { call_id: call.call_id.clone(), mode: call.mode }),
    }
}
