//! The calls: who rings whom, who has answered, when it is over.
//!
//! The members of a call are those of its conference. [`Calls::follow`] looks at the roster after every operation and
//! at every deadline and draws the conclusions, so that hanging up, leaving, a lost socket and a kick are one thing.
//! Each call has two deadlines, the end of its ringing and its own end: none rings or holds anybody busy for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::persistence::{self, Write};
use super::room::{Cause, Room};
use super::stanza_error::StanzaError;
use crate::clock::{Moment, Now};
use crate::event::{CallData, CallEvent, CallMode, CallStep, Role};
use crate::ids::{CallId, ConfId, UserId};
use crate::refusal::Reason;

/// Where somebody whom the call names stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Party {
    Ringing,
    In,
    /// Declined, missed it, or has hung up.
    Out,
}

/// News, and whom they are for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallNotice {
    pub event: CallEvent,
    pub to: BTreeSet<UserId>,
}

/// How a call ends.
enum End {
    /// The notice about its only callee has said it.
    NoticeSent,
    Cancelled,
    Ended(&'static str),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call {
    pub call_id: CallId,
    pub conf_id: ConfId,
    pub mode: CallMode,
    pub name: Option<String>,
    pub from: UserId,
    pub to: Vec<UserId>,
    /// Everybody whom the call names, the caller among them.
    pub parties: BTreeMap<UserId, Party>,
    /// Whether a callee was ever in it.
    pub answered: bool,
    pub rings_until: Moment,
    pub ends_by: Moment,
}

impl Call {
    fn count(&self, party: Party) -> usize {
        self.parties.values().filter(|p| **p == party).count()
    }

    fn of(&self, party: Party) -> impl Iterator<Item = &UserId> {
        self.parties.iter().filter(move |(_, p)| **p == party).map(|(user, _)| user)
    }

    fn due(&self) -> Moment {
        if self.count(Party::Ringing) > 0 { self.rings_until.min(self.ends_by) } else { self.ends_by }
    }

    fn event(&self, step: CallStep, date: u64, actor: Option<&UserId>) -> CallEvent {
        let data = CallData {
            call_id: self.call_id.clone(),
            conf_id: self.conf_id.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            mode: self.mode,
            name: self.name.clone(),
            user_id: None,
            reason: None,
            ring_ms: None,
        };
        CallEvent { conf_id: self.conf_id.clone(), time: date, step, actor: actor.cloned(), data }
    }

    /// The notice that tells a callee that it rings.
    pub fn incoming(&self, now: Now, callee: &UserId) -> CallNotice {
        let mut event = self.event(CallStep::Incoming, now.date, Some(&self.from));
        event.data.ring_ms = Some(self.rings_until.since(now.moment).as_millis() as u64);
        CallNotice { event, to: BTreeSet::from([callee.clone()]) }
    }

    /// A notice about one of the call's parties: told to them, and to the members in the call.
    fn about(&self, step: CallStep, cause: (Now, Option<&UserId>), user: &UserId, reason: Option<&str>) -> CallNotice {
        let mut event = self.event(step, cause.0.date, cause.1);
        event.data.user_id = Some(user.clone());
        event.data.reason = reason.map(str::to_owned);
        CallNotice { event, to: self.of(Party::In).chain([user]).cloned().collect() }
    }

    /// Somebody in a call already isn't told of another one.
    pub fn busy(&self, now: Now, user: &UserId) -> CallNotice {
        let mut notice = self.about(CallStep::Declined, (now, None), user, Some("busy"));
        notice.to.remove(user);
        notice
    }

    /// Takes over from the roster who is in. Answers who has just gone, too.
    fn follow_roster(&mut self, room: &Room, cause: &Cause<'_>, notices: &mut Vec<CallNotice>) -> Vec<UserId> {
        let mut left = Vec::new();
        for user in self.parties.keys().cloned().collect::<Vec<_>>() {
            let before = self.parties[&user];
            match (before, room.is_member(&user)) {
                (Party::Ringing | Party::Out, true) => {
                    self.parties.insert(user.clone(), Party::In);
                    self.answered |= user != self.from;
                    notices.push(self.about(CallStep::Answered, (cause.now, cause.actor), &user, None));
                }
                (Party::In, false) => {
                    self.parties.insert(user.clone(), Party::Out);
                    left.push(user);
                }
                _ => {}
            }
        }
        left
    }

    fn follow_time(&mut self, cause: &Cause<'_>, notices: &mut Vec<CallNotice>) {
        if cause.now.moment < self.rings_until {
            return;
        }
        for user in self.of(Party::Ringing).cloned().collect::<Vec<_>>() {
            self.parties.insert(user.clone(), Party::Out);
            notices.push(self.about(CallStep::Missed, (cause.now, None), &user, None));
        }
    }

    /// Whether it is over. `why`: how the last one who went has gone.
    fn verdict(&self, over: bool, now: Moment, why: Option<&'static str>) -> Option<End> {
        let (inside, ringing) = (self.count(Party::In), self.count(Party::Ringing));
        let caller_in = self.parties.get(&self.from) == Some(&Party::In);
        match (self.answered, self.mode) {
            (true, _) if over => Some(End::Ended("ended")),
            (false, _) if over || !caller_in => Some(End::Cancelled),
            _ if now >= self.ends_by => Some(End::Ended("tooLong")),
            (false, CallMode::P2p) if ringing == 0 => Some(End::NoticeSent),
            (false, CallMode::Group) if ringing == 0 => Some(End::Ended("unanswered")),
            (true, CallMode::P2p) if inside < 2 => Some(End::Ended(why.unwrap_or("hangup"))),
            (true, CallMode::Group) if inside == 0 || inside + ringing < 2 => {
                Some(End::Ended(why.unwrap_or("unanswered")))
            }
            _ => None,
        }
    }

    /// The last word, for everybody: whoever had declined, missed it or hung up could have come in until now.
    /// `gone`: whose going it follows from, and how they went.
    fn end_notice(&self, end: &End, cause: &Cause<'_>, gone: Option<(&UserId, &'static str)>) -> Option<CallNotice> {
        let (step, reason) = match end {
            End::NoticeSent => return None,
            // To hang up unanswered is to give up.
            End::Cancelled => (CallStep::Cancelled, gone.map(|(_, why)| why).filter(|why| *why != "hangup")),
            End::Ended(reason) => (CallStep::Ended, Some(*reason)),
        };
        let mut event = self.event(step, cause.now.date, cause.actor);
        event.data.user_id = gone.map(|(user, _)| user.clone());
        event.data.reason = reason.map(str::to_owned);
        Some(CallNotice { event, to: self.parties.keys().cloned().collect() })
    }
}

/// Owns the calls that are not over.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Calls {
    all: BTreeMap<CallId, Call>,
    /// The calls that somebody is in or that ring for them.
    by_user: HashMap<UserId, BTreeSet<CallId>>,
    due: BTreeSet<(Moment, CallId)>,
    writes: Vec<Write>,
}

impl Calls {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The call, for those whom it names; for others there is none.
    pub fn named(&self, id: &CallId, user: &UserId) -> Result<&Call, StanzaError> {
        let call = self.all.get(id).filter(|call| call.parties.contains_key(user));
        call.ok_or(StanzaError::of(Reason::CallNotFound))
    }

    /// The user's calls: those that they are in, and those that ring.
    pub fn of_user(&self, user: &UserId) -> impl Iterator<Item = &Call> {
        self.by_user.get(user).into_iter().flatten().filter_map(|id| self.all.get(id))
    }

    pub fn ringing(&self, user: &UserId) -> impl Iterator<Item = &Call> {
        self.of_user(user).filter(|call| call.parties.get(user) == Some(&Party::Ringing))
    }

    /// Whether the user is in an answered call between two, or has as many calls as one may.
    pub fn is_busy(&self, user: &UserId, max: usize) -> bool {
        let talks =
            |call: &Call| call.mode == CallMode::P2p && call.answered && call.parties.get(user) == Some(&Party::In);
        self.of_user(user).any(talks) || self.of_user(user).count() >= max
    }

    pub fn insert(&mut self, call: Call) {
        self.writes.push(Write::put(persistence::CALL, call.call_id.to_string(), &call));
        self.put(call);
    }

    pub fn restore(&mut self, call: Call) {
        self.put(call);
    }

    /// A callee doesn't want it. Whoever had declined, or missed it, is told nothing new.
    pub fn decline(
        &mut self,
        id: &CallId,
        user: &UserId,
        reason: Option<&str>,
        now: Now,
    ) -> Result<Vec<CallNotice>, StanzaError> {
        match self.named(id, user)?.parties.get(user) {
            Some(Party::In) => return Err(StanzaError::of(Reason::CallAnswered)),
            Some(Party::Ringing) => {}
            _ => return Ok(Vec::new()),
        }
        let Some(mut call) = self.take(id) else { return Ok(Vec::new()) };
        call.parties.insert(user.clone(), Party::Out);
        let notice = call.about(CallStep::Declined, (now, Some(user)), user, reason);
        self.insert(call);
        Ok(vec![notice])
    }

    /// Draws the conclusions from what the conference is now, and what time it is.
    pub fn follow(&mut self, id: &CallId, room: &mut Room, cause: &Cause<'_>) -> Vec<CallNotice> {
        let Some(mut call) = self.take(id) else { return Vec::new() };
        let before = call.clone();
        let mut notices = Vec::new();
        let left = call.follow_roster(room, cause, &mut notices);
        call.follow_time(cause, &mut notices);
        // At the conference's own end they all go, and none of them is the reason.
        let gone = left.last().filter(|_| !room.is_over());
        let why = gone.map(|user| match cause.actor {
            None => "timeout",
            Some(actor) if actor == user => "hangup",
            Some(_) => "kicked",
        });
        match call.verdict(room.is_over(), cause.now.moment, why) {
            Some(end) => {
                notices.extend(call.end_notice(&end, cause, gone.zip(why)));
                self.writes.push(Write::delete(persistence::CALL, id.to_string()));
                room.end(cause);
            }
            None => {
                keep_going(room, cause);
                if call == before { self.put(call) } else { self.insert(call) }
            }
        }
        notices
    }

    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The conference of a call whose deadline has come.
    pub fn pop_due(&mut self, now: Moment) -> Option<ConfId> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        self.all.get(&id).map(|call| call.conf_id.clone())
    }

    pub fn take_writes(&mut self, writes: &mut Vec<Write>) {
        writes.append(&mut self.writes);
    }

    fn put(&mut self, call: Call) {
        let id = call.call_id.clone();
        for user in call.of(Party::In).chain(call.of(Party::Ringing)) {
            self.by_user.entry(user.clone()).or_default().insert(id.clone());
        }
        self.due.insert((call.due(), id.clone()));
        self.all.insert(id, call);
    }

    /// Takes the call out of everything.
    fn take(&mut self, id: &CallId) -> Option<Call> {
        let call = self.all.remove(id)?;
        self.due.remove(&(call.due(), id.clone()));
        for user in call.parties.keys() {
            if let Some(calls) = self.by_user.get_mut(user) {
                calls.remove(id);
                if calls.is_empty() {
                    self.by_user.remove(user);
                }
            }
        }
        Some(call)
    }
}

/// A member that has hung up comes back by accepting, not to a kept seat; and a caller that has hung up leaves the call
/// to the others.
fn keep_going(room: &mut Room, cause: &Cause<'_>) {
    for user in room.seats.keys().cloned().collect::<Vec<_>>() {
        room.drop_seat(&user);
    }
    let first = room.roster.members.first().map(|m| m.user_id.clone());
    if let Some(first) = first.filter(|_| !room.is_member(room.chair())) {
        // A member can be the chair.
        let _ = room.set_chair(cause, &first, Role::Member);
    }
}
