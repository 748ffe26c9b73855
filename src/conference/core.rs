//! One conference as this node sees it: who listens, what they have seen, and what the EIM has been told of them.
//! Pure: time is an argument, and everything to be done comes out as an [`Effect`].

mod delivery;
mod history;
mod look;
mod presence;
mod unseen;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Audio, Change, ENDED, Event, LeftReason, Member, MemberState, Role, Roster, Video, WaitingReason};
use crate::http::ws::Frame;
use crate::http::ws::send_queue::Close;
use crate::ids::{ConfId, UserId};
use crate::refusal::{Kind, Refusal};

pub use self::history::Subscribed;
use self::look::Look;
use self::presence::{Presence, Want};
use self::unseen::Unseen;
use super::log::{Applied, Log, Position, notification};

/// The number of the event that a conference was made, which is its first.
const CREATION: u64 = 1;
/// Most events held back while a fresh roster is on its way; more than that and the roster is asked for again.
const HELD_MAX: usize = 256;
/// How long the next event that another stream may still bring is waited for before everybody gets a snapshot.
const CATCH_UP_MS: u64 = 500;
/// How often the roster is looked at while nobody listens, and people have places at call gateways or are awaited back.
const FOLLOW_MS: u64 = 1000;
/// How long until a request that failed is made again.
const RETRY_MS: u64 = 2000;

/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A closed socket's member has left after this.
    pub grace_ms: u64,
    /// From the close of a socket, the grace included, the seat is kept for this.
    pub window_ms: u64,
    /// Events kept.
    pub log: usize,
    /// Most events that are replayed to one who resumes, and most bytes of them. Whoever missed more gets a snapshot:
    /// a replay that a socket's queue can't hold would end the socket, and the next one in the same way.
    pub replay: usize,
    /// Bytes of events that one resuming socket is sent.
    pub replay_bytes: usize,
    /// How often the EIM is asked whether what is known here is still so.
    pub look_ms: u64,
}

/// An effect of the core, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Send {
        /// The user.
        user: UserId,
        /// The socket's generation.
        generation: u64,
        frame: Frame,
    },
    /// A guest's socket, which was here for this conference alone.
    Close {
        /// The user.
        user: UserId,
        /// The socket's generation.
        generation: u64,
        why: Close,
    },
    /// A socket is told nothing more of this conference, and goes on.
    Release {
        /// The user.
        user: UserId,
        /// The socket's generation.
        generation: u64,
    },
    EimRequest(EimRequest),
    Emit(LifecycleEvent),
    Grant(MediaPermissions),
}

/// A request to the EIM. The answer goes to one of the core's `on_*_reply` functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EimRequest {
    /// The user's socket is open: present, and events wanted; those after `since` with the answer.
    Subscribe { user: UserId, generation: u64, since: Option<Position> },
    /// The user's socket is closed; events are still wanted for `linger_ms`, so that it can resume.
    Unsubscribe { user: UserId, generation: u64, linger_ms: u64 },
    /// The user joined and has no socket.
    Away { user: UserId, generation: u64 },
    /// The grace is over. The seat is to be kept for `keep_ms` more.
    Gone { user: UserId, generation: u64, keep_ms: u64 },
    /// A fresh roster is needed.
    Snapshot,
    /// Is what is known here still so?
    Look,
}

impl EimRequest {
    /// Whether the answer is a roster, which the events after it go on from.
    pub fn reads_roster(&self) -> bool {
        matches!(self, Self::Subscribe { .. } | Self::Snapshot | Self::Look)
    }
}

/// An event of a conference's life for the rest of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum LifecycleEvent {
    /// A member was removed; `banned`: for as long as the conference lasts.
    Removed { user: UserId, banned: bool },
    /// The conference has ended.
    Ended,
}

/// The members' permissions, for the call gateway to enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaPermissions {
    /// All that are in, with what is forwarded of each: who isn't among them is not in.
    All(Vec<(UserId, Right)>),
    /// A member's permissions.
    Member {
        /// The user.
        user: UserId,
        /// The user's permissions.
        right: Right,
    },
    /// No longer in since that date (ms since 1970), by the chair's word or their own.
    Gone {
        /// The user.
        user: UserId,
        /// The time, in ms since 1970.
        at: u64,
        /// Whether they were removed.
        sent_away: bool,
    },
    /// The conference is over.
    Over,
    /// Nobody here is in it any more: others follow it, or nobody does.
    Unfollowed,
}

/// The tracks of a member that are forwarded, and the role in which they may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The role.
    pub role: Role,
    /// The audio.
    pub audio: Audio,
    /// The video.
    pub video: Video,
}

impl From<&Member> for Right {
    fn from(member: &Member) -> Self {
        Self { role: member.role, audio: member.audio, video: member.video }
    }
}

/// How a request to the EIM failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// It may work later.
    Unreachable,
    /// The EIM said no, for a reason that the schema or the dialect knows.
    Refused,
    /// The EIM doesn't do what it is asked, whoever asks it.
    Unwilling,
    /// The EIM knows of no such conference, or it is over.
    NoConference,
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        match refusal.kind {
            _ if refusal.is_retryable() => Self::Unreachable,
            Kind::NotFound | Kind::NotOpen => Self::NoConference,
            Kind::EimRefused => Self::Unwilling,
            _ => Self::Refused,
        }
    }
}

/// The first message to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// How things stand.
    Snapshot,
    /// The events that it has missed.
    Since(Position),
    /// That the conference was made, while nothing else has happened in it.
    Creation,
}

/// A socket that listens.
struct Subscriber {
    generation: u64,
    /// Here for this conference alone.
    guest: bool,
    /// Until its first frame.
    pending: Option<Start>,
    /// Whether it gets the numbered events.
    full: bool,
    /// How often in a row the EIM has refused to let it listen.
    refusals: u32,
    /// The events that it missed did not join this node's, and were requested once more.
    asked_again: bool,
}

/// A roster newer than the log.
struct Newer {
    roster: Roster,
    /// Until when the next event before it is waited for.
    until: u64,
    /// They didn't come by themselves, and the EIM is asked for them.
    requested: bool,
}

impl Newer {
    fn new(roster: Roster, now: u64) -> Self {
        Self { roster, until: now + CATCH_UP_MS, requested: false }
    }
}

pub struct Core {
    conf_id: ConfId,
    /// The time for clients; the core's own is of another clock.
    date: Option<u64>,
    limits: Limits,
    log: Option<Log>,
    subscribers: BTreeMap<UserId, Subscriber>,
    presence: BTreeMap<UserId, Presence>,
    /// Events that wait for a fresh roster.
    held: Vec<Event>,
    /// A fresh roster has been asked for, and when it may be asked for again.
    syncing: Option<u64>,
    newer: Option<Newer>,
    ended: bool,
    /// Whether it is a call's: its end closes no socket, since who hangs up is there for the next call.
    call: bool,
    /// Since when nobody listens.
    idle_since: Option<u64>,
    look: Look,
    unseen: Unseen,
    /// Members with a place at a call gateway here, and since when: as long as there are any, the roster is followed.
    placed: BTreeMap<UserId, u64>,
    /// When the roster was asked for last, and from when on it is to be looked at, should nobody listen.
    asked_at: u64,
    follow_at: u64,
}

type Effects = Vec<Effect>;

impl Core {
    pub fn new(conf_id: ConfId, limits: Limits, now: u64) -> Self {
        Self {
            conf_id,
            date: None,
            limits,
            log: None,
            subscribers: BTreeMap::new(),
            presence: BTreeMap::new(),
            held: Vec::new(),
            syncing: None,
            newer: None,
            ended: false,
            call: false,
            idle_since: Some(now),
            look: Look::new(now + limits.look_ms),
            unseen: Unseen::default(),
            placed: BTreeMap::new(),
            asked_at: 0,
            follow_at: 0,
        }
    }

    /// The roster as far as it is known here.
    pub fn roster(&self) -> Option<&Roster> {
        self.log.as_ref().map(Log::roster)
    }

    /// Whether the roster follows the EIM's: somebody listens, or did a moment ago.
    pub fn is_live(&self) -> bool {
        !self.subscribers.is_empty() && self.syncing.is_none()
    }

    /// A socket opened, or one that the EIM didn't let listen may now, or the conference was made while it was open.
    pub fn attach(&mut self, user: UserId, generation: u64, start: Start, now: u64) -> Effects {
        let mut out = Vec::new();
        let known = self.subscribers.get(&user).map(|l| l.generation);
        if known.is_some_and(|known| known > generation) {
            return out;
        }
        if known == Some(generation) {
            // They may have been let in just now, and what is being asked was asked before.
            if let Some(presence) = self.presence.get_mut(&user) {
                presence.let_in = presence.asking.is_some();
            }
            self.resume_late(&user, start, &mut out);
            return out;
        }
        self.idle_since = None;
        self.unseen.attached(&user);
        self.subscribers.insert(
            user.clone(),
            Subscriber { generation, guest: false, pending: Some(start), full: false, refusals: 0, asked_again: false },
        );
        self.want(&user, generation, Want::Online, now, &mut out);
        out
    }

    /// The socket that has just been attached is a guest's: it ends with its stay here.
    pub fn set_guest(&mut self, user: &UserId) {
        if let Some(subscriber) = self.subscribers.get_mut(user) {
            subscriber.guest = true;
        }
    }

    /// The date (ms since 1970) of what comes next.
    pub fn set_date(&mut self, date: u64) {
        self.date = Some(date);
    }

    /// It is known to be a call's, also where the EIM has no word of it any more.
    pub fn set_call(&mut self) {
        self.call = true;
    }

    fn is_call(&self) -> bool {
        self.call || self.roster().is_some_and(|r| r.conference.call.is_some())
    }

    /// The EIM answered [`EimRequest::Snapshot`].
    pub fn on_snapshot_reply(&mut self, answer: Result<Roster, Failure>, now: u64) -> Effects {
        let mut out = Vec::new();
        match answer {
            Ok(roster) => {
                // A member that came in since the request isn't in its answer.
                let asked_at = self.asked_at;
                self.placed.retain(|user, at| *at >= asked_at || roster.member(user).is_some());
                self.roster_granted(&mut out);
                // Another answer may have brought what it was asked for: then what is new in it comes by itself.
                let asked = self.syncing.is_some();
                self.fresh(roster.into(), now, asked, &mut out);
            }
            Err(Failure::NoConference) => {
                let users: Vec<_> = self.subscribers.keys().cloned().collect();
                users.iter().for_each(|user| self.notify_over(user, &mut out));
                self.end_conference(&mut out);
            }
            Err(failure) => {
                if matches!(failure, Failure::Refused | Failure::Unwilling) {
                    // It never tells: there is nothing to follow.
                    self.placed.clear();
                }
                self.syncing = Some(now + RETRY_MS);
                if failure == Failure::Unwilling {
                    self.roster_refused(now, &mut out);
                }
            }
        }
        out
    }

    /// A roster straight from the EIM. `asked`: because of a gap, so that nothing between will come by itself.
    fn fresh(&mut self, answer: Subscribed, now: u64, asked: bool, out: &mut Effects) {
        let Subscribed { roster, events } = answer;
        if self.log.is_none() {
            let mut log = Log::new(roster, self.limits.log);
            log.recall(events);
            self.log = Some(log);
            self.syncing = None;
            self.grant_all(out);
            self.release_held(now, out);
            return;
        }
        self.recall(events, now, out);
        let Some(ours) = self.roster() else { return };
        // Its events are still to come; this answer was overtaken.
        if !asked
            && self
                .newer
                .as_ref()
                .is_some_and(|Newer { roster: newer, .. }| roster.epoch == newer.epoch && roster.seq < newer.seq)
        {
            return;
        }
        let same_epoch = roster.epoch == ours.epoch;
        // A subscription under way brings them, or they come by themselves.
        let come_yet = self.is_asked_for_events() || !asked && self.syncing.is_none();
        if same_epoch && roster.seq > ours.seq && come_yet {
            match &mut self.newer {
                Some(newer) => newer.roster = roster,
                None => self.newer = Some(Newer::new(roster, now)),
            }
            return;
        }
        self.renew(roster, now, out);
    }

    fn renew(&mut self, roster: Roster, now: u64, out: &mut Effects) {
        self.syncing = None;
        self.newer = None;
        self.take_held_in_order(now, out);
        let Some(log) = &mut self.log else { return };
        if let Some(reason) = log.renew(roster) {
            let away = log.roster().members.iter().filter(|m| m.state == MemberState::Reconnecting);
            let away: Vec<_> = away.map(|m| m.user_id.clone()).collect();
            away.iter().for_each(|user| self.seems_away(user, now));
            self.grant_all(out);
            let is_over = self.roster().is_some_and(|r| r.conference.state == ENDED);
            // To those who have had nothing yet, the answer that they wait for may bring the events that they missed.
            let waits = |user: &UserId, subscriber: &Subscriber| subscriber.pending.is_some() && self.is_asked(user);
            let due = self.subscribers.iter().filter(|(user, subscriber)| is_over || !waits(user, subscriber));
            let users: Vec<_> = due.map(|(user, _)| user.clone()).collect();
            for user in users {
                self.send_snapshot(&user, reason, out);
            }
            if is_over {
                self.end_conference(out);
                return;
            }
        }
        self.release_held(now, out);
        self.send_waiting_snapshot(now, out);
    }

    /// Takes the events that came while a roster was waited for, as far as they lead on from what is known: nobody needs
    /// the roster in their place.
    fn take_held_in_order(&mut self, now: u64, out: &mut Effects) {
        let mut held = std::mem::take(&mut self.held);
        held.sort_by_key(|event| event.seq);
        for event in held {
            if self.log.as_ref().is_some_and(|log| log.follows(&event)) {
                out.extend(self.event(event, now));
            } else {
                self.held.push(event);
            }
        }
    }

    /// Takes the events that came before the roster. To ask again at once for one that leaves a gap after it would have
    /// no end where that event is no true one: whether something is missing is looked at in a moment.
    fn release_held(&mut self, now: u64, out: &mut Effects) {
        for event in std::mem::take(&mut self.held) {
            if self.log.as_ref().is_some_and(|log| log.follows(&event)) {
                out.extend(self.event(event, now));
            } else {
                self.look.hasten(now + RETRY_MS);
            }
        }
    }

    /// An event from the EIM.
    pub fn event(&mut self, event: Event, now: u64) -> Effects {
        let mut out = Vec::new();
        self.meet_sent_away(&event, now, &mut out);
        if self.syncing.is_some() || self.log.is_none() {
            // Nobody listens yet and nobody asked: a snapshot will hold it.
            if self.log.is_none() && self.presence.is_empty() {
                return out;
            }
            if self.held.len() >= HELD_MAX {
                self.held.clear();
            }
            self.held.push(event);
            return out;
        }
        let permissions = self.permissions(&event);
        let log = self.log.as_mut().expect("checked above");
        match log.apply(event.clone()) {
            Applied::Repeat => return out,
            Applied::Gap => {
                self.held.push(event);
                self.resync(now, &mut out);
                return out;
            }
            Applied::New => {}
        }
        if let Some(newer) = &mut self.newer {
            (newer.until, newer.requested) = (now + CATCH_UP_MS, false);
        }
        // Before anything else that the event leads to: who was muted is not to be heard a moment longer.
        out.extend(permissions.map(Effect::Grant));
        self.pass_on(&event, &mut out);
        match &event.change {
            Change::Ended(_) => self.end_conference(&mut out),
            Change::MemberUpdated(m) if m.state == MemberState::Reconnecting => self.seems_away(&m.user_id, now),
            Change::MemberLeft(left) => {
                if left.reason == LeftReason::Timeout {
                    self.seems_away(&left.user_id, now);
                }
                self.removed(&left.user_id, left.reason, &mut out);
            }
            Change::WaitingRemoved(gone) if gone.reason == WaitingReason::Denied => {
                self.turn_away(&gone.user_id, false, Close::Denied, &mut out);
            }
            _ => {}
        }
        if self.newer.as_ref().is_some_and(|newer| self.roster().is_some_and(|ours| ours.seq >= newer.roster.seq)) {
            self.newer = None;
            self.caught_up();
            self.send_waiting_snapshot(now, &mut out);
        }
        out
    }

    /// The change of permissions by the event, which isn't yet applied.
    fn permissions(&self, event: &Event) -> Option<MediaPermissions> {
        match &event.change {
            Change::MemberJoined(m) => Some(member_right(m)),
            Change::MemberUpdated(m) => {
                let before = self.roster().and_then(|roster| roster.member(&m.user_id));
                before.is_none_or(|before| Right::from(before) != Right::from(m)).then(|| member_right(m))
            }
            Change::MemberLeft(left) => {
                let sent_away = matches!(left.reason, LeftReason::Kicked | LeftReason::Banned);
                Some(MediaPermissions::Gone { user: left.user_id.clone(), at: event.time, sent_away })
            }
            _ => None,
        }
    }

    fn grant_all(&self, out: &mut Effects) {
        if let Some(roster) = self.roster().filter(|roster| roster.conference.state != ENDED) {
            let members = roster.members.iter().map(|m| (m.user_id.clone(), m.into())).collect();
            out.push(Effect::Grant(MediaPermissions::All(members)));
        }
    }

    /// The user was given a place at a call gateway.
    pub fn place(&mut self, user: &UserId, now: u64) -> Effects {
        self.placed.insert(user.clone(), now);
        self.look_now(now)
    }

    /// The roster may have changed; where somebody listens, an event tells.
    pub fn look_now(&mut self, now: u64) -> Effects {
        let mut out = Vec::new();
        self.follow_at = now;
        self.follow(now, &mut out);
        out
    }

    /// Looks at the roster, where nobody listens and what the EIM has decided is to be enforced all the same.
    fn follow(&mut self, now: u64, out: &mut Effects) {
        let is_needed = !(self.ended || self.placed.is_empty() && self.presence.is_empty());
        if is_needed && self.subscribers.is_empty() && self.syncing.is_none() && self.follow_at <= now {
            self.resync(now, out);
        }
    }

    fn resync(&mut self, now: u64, out: &mut Effects) {
        (self.asked_at, self.follow_at) = (now, now + FOLLOW_MS);
        self.syncing = Some(now + 10 * RETRY_MS);
        out.push(Effect::EimRequest(EimRequest::Snapshot));
    }

    fn removed(&mut self, user: &UserId, reason: LeftReason, out: &mut Effects) {
        self.placed.remove(user);
        match reason {
            LeftReason::Kicked => self.turn_away(user, false, Close::Kicked, out),
            LeftReason::Banned => self.turn_away(user, true, Close::Kicked, out),
            // A socket that is open stays. A user without one may have joined again since: the grace decides. What the EIM
            // is told of one who is not in has no effect there.
            LeftReason::Left | LeftReason::Timeout | LeftReason::Ended => {}
        }
    }

    fn turn_away(&mut self, user: &UserId, banned: bool, why: Close, out: &mut Effects) {
        // A user without a socket may have joined again since, as one who has left: the grace decides.
        if let Some(subscriber) = self.subscribers.remove(user) {
            self.forget(user);
            self.let_go(user.clone(), &subscriber, why, out);
        }
        if self.is_call() {
            return;
        }
        out.push(Effect::Emit(LifecycleEvent::Removed { user: user.clone(), banned }));
    }

    fn end_conference(&mut self, out: &mut Effects) {
        self.ended = true;
        self.placed.clear();
        let users: Vec<_> = self.presence.keys().cloned().collect();
        users.iter().for_each(|user| self.forget(user));
        for (user, subscriber) in std::mem::take(&mut self.subscribers) {
            self.let_go(user, &subscriber, Close::Over, out);
        }
        self.idle_since = Some(0);
        out.push(Effect::Grant(MediaPermissions::Over));
        out.push(Effect::Emit(LifecycleEvent::Ended));
    }

    /// The user is no subscriber any more. A guest has nothing else to do here; anybody else may be in other
    /// conferences.
    fn let_go(&self, user: UserId, subscriber: &Subscriber, why: Close, out: &mut Effects) {
        let generation = subscriber.generation;
        let closes = subscriber.guest && !self.is_call();
        out.push(if closes { Effect::Close { user, generation, why } } else { Effect::Release { user, generation } });
    }

    /// Whether nobody has listened for as long as somebody could resume, and the EIM knows all that it should.
    pub fn is_idle(&self, now: u64) -> bool {
        let long_ago = self.idle_since.is_some_and(|since| now >= since + self.limits.window_ms);
        let unused = self.subscribers.is_empty() && self.presence.is_empty() && self.placed.is_empty();
        unused && (long_ago || self.ended)
    }

    pub fn conf_id(&self) -> &ConfId {
        &self.conf_id
    }
}

fn member_right(member: &Member) -> MediaPermissions {
    MediaPermissions::Member { user: member.user_id.clone(), right: member.into() }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
