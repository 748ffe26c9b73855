//! Events from before this node followed the conference. The EIM gives them with a subscription to one who resumes where
//! the log doesn't lead on; they serve everybody who comes after them too.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::log::Position;
use super::{Core, Effects, Start, Subscriber};
use crate::eim::inbound::numbered_event;
use crate::event::{Event, Roster};
use crate::ids::{ConfId, UserId};

/// Longest epoch and greatest number that the EIM is shown, as its schema has them.
const EPOCH_MAX: usize = 64;
const SEQ_MAX: u64 = (1 << 53) - 1;

/// The EIM's answer to a subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The roster as it is now.
    pub roster: Roster,
    /// The events after the position in the request, up to the roster: what the EIM says of them. Often none.
    pub events: Vec<Event>,
}

impl From<Roster> for Subscribed {
    fn from(roster: Roster) -> Self {
        Self { roster, events: Vec::new() }
    }
}

impl Subscribed {
    /// Of the result of `eim.subscribe`. Events of which one can't be read are none.
    ///
    /// # Errors
    /// Why the roster can't be read.
    pub fn read(mut result: Value) -> Result<Self, serde_json::Error> {
        let texts = result.as_object_mut().and_then(|members| members.remove("events"));
        let texts = texts.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let read = |text: &Value| numbered_event(text.as_str()?);
        let events = texts.iter().map(read).collect::<Option<_>>().unwrap_or_default();
        Ok(Self { roster: serde_json::from_value(result)?, events })
    }

    /// Without the events, unless they are the conference's last ones before the roster, without gap, and at most so many.
    pub(super) fn checked(self, conf_id: &ConfId, most: usize) -> Self {
        let Self { roster, events } = self;
        let follow = events.windows(2).all(|pair| pair[0].seq.checked_add(1) == Some(pair[1].seq));
        let belong = events.iter().all(|event| event.conf_id == *conf_id && event.epoch == roster.epoch);
        let begin = events.first().is_some_and(|event| event.seq > 0);
        let end = events.last().is_some_and(|event| event.seq == roster.seq);
        if follow && belong && begin && end && events.len() <= most { Self { roster, events } } else { roster.into() }
    }
}

/// Whether the EIM may be shown the position, which a client wrote.
fn is_presentable(position: &Position) -> bool {
    let Position { epoch, seq } = position;
    (1..=EPOCH_MAX).contains(&epoch.len()) && !epoch.contains(char::is_control) && *seq <= SEQ_MAX
}

impl Core {
    /// What the EIM is shown with the user's subscription, so that it tells the events after it: the position that they
    /// resume from, where the log doesn't lead on from there; else the log's end, once at a time for all.
    pub(super) fn since(&self, user: &UserId) -> Option<Position> {
        let position = match &self.subscribers.get(user)?.pending {
            Some(Start::Since(position)) => Some(position),
            _ => None,
        };
        let Some(log) = &self.log else { return position.filter(|position| is_presentable(position)).cloned() };
        match position {
            Some(position) if log.is_before(position, self.limits.replay) => Some(position.clone()),
            Some(position) if log.is_behind(position) => Some(log.end()),
            _ => (!self.is_asked_for_events()).then(|| log.end()),
        }
    }

    /// Whether the EIM is being asked for events.
    pub(super) fn is_asked_for_events(&self) -> bool {
        self.presence.values().any(|presence| presence.asks_for_events)
    }

    /// Two tasks attach a socket, and the one that knows where it resumes from may come second.
    pub(super) fn resume_late(&mut self, user: &UserId, start: Start, out: &mut Effects) {
        let has_nothing = |subscriber: &&mut Subscriber| subscriber.pending == Some(Start::Snapshot);
        let Some(subscriber) = self.subscribers.get_mut(user).filter(has_nothing) else { return };
        if matches!(start, Start::Since(_)) {
            subscriber.pending = Some(start);
            self.report_online_again(user, out);
        }
    }

    /// Puts the EIM's events into the log: those of before it, and those that have not come by themselves yet.
    pub(super) fn recall(&mut self, events: Vec<Event>, now: u64, out: &mut Effects) {
        let newer = self.log.as_mut().map(|log| log.recall(events)).unwrap_or_default();
        if !newer.is_empty() {
            // Nothing is missing any more of what a roster may have been asked for.
            self.syncing = None;
        }
        for event in newer {
            out.extend(self.event(event, now));
        }
    }

    /// Whether the events that the user missed are still to come: with the answer to a later request of theirs. It is made
    /// here, once, where the EIM had events and the log begins after them or ends before them: answers overtake each other.
    pub(super) fn awaits_events(&mut self, user: &UserId, had_events: bool, out: &mut Effects) -> bool {
        let (Some(log), Some(subscriber)) = (&self.log, self.subscribers.get_mut(user)) else { return false };
        let Some(Start::Since(position)) = &subscriber.pending else { return false };
        let is_lacking = log.is_before(position, self.limits.replay) || log.is_behind(position);
        let Some(presence) = self.presence.get_mut(user).filter(|_| is_lacking) else { return false };
        if presence.asking.is_some() {
            return true;
        }
        if !had_events || std::mem::replace(&mut subscriber.asked_again, true) {
            return false;
        }
        presence.reported = None;
        self.reconcile(user, out);
        true
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
