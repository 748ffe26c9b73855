//! Whether what is known here is still what the EIM says: compared at intervals, since an EIM that has forgotten who
//! listens says nothing, and one that lets nobody listen neither.

use serde_json::json;

use super::presence::Want;
use super::{Core, Effect, Effects, EimRequest, Failure, Newer, RETRY_MS, Subscriber, notification};
use crate::event::Roster;
use crate::ids::UserId;

/// Refusals of one listener's subscription after which their socket is told.
const REFUSALS: u32 = 2;
/// The part's name for clients.
const PART: &str = "events";

/// When the EIM is asked, and what it said before.
pub(super) struct Look {
    at: u64,
    asking: bool,
    /// The EIM is ahead of us; if what lies between doesn't come, nobody here is subscribed any more.
    behind: bool,
    /// The EIM refuses the roster that everybody here waits for.
    refused: bool,
}

impl Look {
    pub(super) fn new(at: u64) -> Self {
        Self { at, asking: false, behind: false, refused: false }
    }

    /// The EIM is asked then at the latest.
    pub(super) fn hasten(&mut self, at: u64) {
        self.at = self.at.min(at);
    }
}

impl Core {
    /// The EIM answered [`EimRequest::Look`].
    pub fn on_look_reply(&mut self, answer: Result<Roster, Failure>, now: u64) -> Effects {
        let mut out = Vec::new();
        (self.look.asking, self.look.at) = (false, now + self.limits.look_ms);
        let Some(ours) = self.roster().filter(|_| self.syncing.is_none()) else { return out };
        match answer {
            Ok(roster) if roster.epoch != ours.epoch => {
                tracing::warn!(conf = %self.conf_id, "the EIM counts anew: everybody is subscribed again");
                self.renew(roster, now, &mut out);
                self.subscribe_all(&mut out);
            }
            Ok(roster) if roster.seq > ours.seq => {
                self.look.behind = true;
                self.newer = Some(Newer::new(roster, now));
            }
            Err(Failure::NoConference) => self.end_conference(&mut out),
            Ok(_) | Err(_) => {}
        }
        out
    }

    pub(super) fn look(&mut self, now: u64, out: &mut Effects) {
        let due = now >= self.look.at && !self.look.asking && self.newer.is_none();
        if due && !self.subscribers.is_empty() && self.log.is_some() && self.syncing.is_none() {
            self.look.asking = true;
            out.push(Effect::EimRequest(EimRequest::Look));
        }
    }

    /// The next event before the newer roster hasn't come by itself: the EIM is asked for the events, once. Where it doesn't
    /// have them, and there is nobody to ask as, the roster takes their place.
    pub(super) fn wait_no_longer(&mut self, now: u64, out: &mut Effects) {
        let is_asked = self.is_asked_for_events();
        // Asked, the EIM has answered without them.
        let is_due = |newer: &&mut Newer| newer.until <= now || newer.requested && !is_asked;
        let Some(newer) = self.newer.as_mut().filter(is_due) else { return };
        if !std::mem::replace(&mut newer.requested, true) {
            newer.until = now + RETRY_MS;
            if self.look.behind {
                tracing::warn!(conf = %self.conf_id, "events didn't come: everybody is subscribed again");
                self.subscribe_all(out);
            } else if let Some(user) = self.subscribers.keys().find(|user| self.is_subscribed(user)).cloned() {
                self.report_online_again(&user, out);
            }
            if self.is_asked_for_events() {
                return;
            }
        }
        self.look.behind = false;
        if let Some(newer) = self.newer.take() {
            self.renew(newer.roster, now, out);
        }
    }

    pub(super) fn caught_up(&mut self) {
        self.look.behind = false;
    }

    fn subscribe_all(&mut self, out: &mut Effects) {
        let users: Vec<UserId> = self.presence.keys().cloned().collect();
        for user in users {
            if let Some(p) = self.presence.get_mut(&user).filter(|p| p.want == Want::Online) {
                (p.reported, p.undone) = (None, p.asking.is_some());
                self.reconcile(&user, out);
            }
        }
    }

    /// The EIM refuses to let the user listen, for no reason of theirs: it is asked again, and they are told.
    pub(super) fn unwilling(&mut self, user: &UserId, now: u64, out: &mut Effects) {
        let Some(subscriber) = self.subscribers.get_mut(user) else { return };
        subscriber.refusals += 1;
        let since = self.date.unwrap_or(now);
        let wait = if subscriber.refusals < REFUSALS { RETRY_MS } else { self.limits.look_ms.max(RETRY_MS) };
        if subscriber.refusals == REFUSALS {
            out.push(subscriber.send_to_user(user, "degraded", &json!({"part": PART, "since": since})));
        }
        if let Some(p) = self.presence.get_mut(user) {
            p.retry_at = now + wait;
        }
        self.send_first_snapshot(user, now, out);
    }

    /// The user is subscribed.
    pub(super) fn willing(&mut self, user: &UserId, out: &mut Effects) {
        let Some(subscriber) = self.subscribers.get_mut(user) else { return };
        if std::mem::take(&mut subscriber.refusals) >= REFUSALS {
            out.push(subscriber.send_to_user(user, "restored", &json!({"part": PART})));
        }
    }

    /// The EIM refuses the roster without which no event can be told: it is asked again, and everybody is told.
    pub(super) fn roster_refused(&mut self, now: u64, out: &mut Effects) {
        self.syncing = Some(now + self.limits.look_ms.max(RETRY_MS));
        if !std::mem::replace(&mut self.look.refused, true) {
            self.notify_pending("degraded", &json!({"part": PART, "since": self.date.unwrap_or(now)}), out);
        }
    }

    pub(super) fn roster_granted(&mut self, out: &mut Effects) {
        if std::mem::take(&mut self.look.refused) {
            self.notify_pending("restored", &json!({"part": PART}), out);
        }
    }

    /// A user that is refused for themselves is told of that alone.
    fn notify_pending(&self, method: &str, params: &serde_json::Value, out: &mut Effects) {
        let untold = self.subscribers.iter().filter(|(_, subscriber)| subscriber.refusals < REFUSALS);
        out.extend(untold.map(|(user, subscriber)| subscriber.send_to_user(user, method, params)));
    }

    /// Whether the EIM refuses to let somebody listen who is here.
    pub fn is_refused(&self) -> bool {
        self.look.refused && !self.subscribers.is_empty()
            || self.subscribers.values().any(|subscriber| subscriber.refusals >= REFUSALS)
    }
}

impl Subscriber {
    fn send_to_user(&self, user: &UserId, method: &str, params: &serde_json::Value) -> Effect {
        let frame = notification(method, params).into();
        Effect::Send { user: user.clone(), generation: self.generation, frame }
    }
}
