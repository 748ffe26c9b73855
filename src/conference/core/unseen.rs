//! Members that are removed before their first frame: the event of the removal may come before the EIM's answer that
//! they may not subscribe, or after it. Whichever is second, the user is told by the event.

use std::collections::HashMap;

use super::super::log::{Position, notification};
use super::{Core, Effect, Effects, RETRY_MS, Start};
use crate::event::{Change, Event, LeftReason, WaitingReason};
use crate::http::ws::Frame;
use crate::ids::UserId;

/// How long the second of the two is waited for.
const WAIT_MS: u64 = RETRY_MS;
/// Most people who are remembered, each way.
const UNSEEN_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Unseen {
    sent_away: HashMap<UserId, SentAway>,
    refused: HashMap<UserId, Refused>,
}

/// The event that sent somebody away.
struct SentAway {
    until: u64,
    at: Position,
    frame: Frame,
}

/// A socket that the EIM doesn't let listen.
struct Refused {
    until: u64,
    generation: u64,
    start: Start,
}

/// Whether the event may come alone: after nothing, or next. Who resumes from elsewhere would see a gap.
fn is_at(start: &Start, at: &Position) -> bool {
    match start {
        Start::Snapshot | Start::Creation => true,
        Start::Since(last) => last.epoch == at.epoch && last.seq + 1 == at.seq,
    }
}

impl Unseen {
    /// The earlier refusal of their socket is over.
    pub(super) fn attached(&mut self, user: &UserId) {
        self.refused.remove(user);
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.sent_away.retain(|_, sent| now < sent.until);
        self.refused.retain(|_, refused| now < refused.until);
    }
}

/// The user that the event removes by a chair's order.
fn sent_away(change: &Change) -> Option<&UserId> {
    match change {
        Change::MemberLeft(left) if matches!(left.reason, LeftReason::Kicked | LeftReason::Banned) => {
            Some(&left.user_id)
        }
        Change::WaitingRemoved(gone) if gone.reason == WaitingReason::Denied => Some(&gone.user_id),
        _ => None,
    }
}

impl Core {
    /// An event has come, and is not yet looked at. Whom it sends away and who has seen nothing of the conference gets
    /// what precedes it, or where that isn't known here the event alone. A guest's socket says it by its close.
    pub(super) fn meet_sent_away(&mut self, event: &Event, now: u64, out: &mut Effects) {
        let Some(user) = sent_away(&event.change) else { return };
        let frame: Frame = notification("conference.event", event).into();
        let at = Position { epoch: event.epoch.clone(), seq: event.seq };
        if let Some(refused) = self.unseen.refused.remove(user) {
            if is_at(&refused.start, &at) {
                send_frame(user, refused.generation, frame, out);
            }
            return;
        }
        let Some(subscriber) = self.subscribers.get(user) else {
            if self.unseen.sent_away.len() < UNSEEN_MAX {
                self.unseen.sent_away.insert(user.clone(), SentAway { until: now + WAIT_MS, at, frame });
            }
            return;
        };
        // It came with an answer before, and they have come in again since.
        if self.log.as_ref().is_some_and(|log| log.has(event)) {
            return;
        }
        let generation = subscriber.generation;
        let Some(start) = subscriber.pending.as_ref().filter(|_| !subscriber.guest) else { return };
        if self.syncing.is_none() && self.log.as_ref().is_some_and(|log| log.is_next(event)) {
            return self.send_first_snapshot(user, now, out);
        }
        if is_at(start, &at) {
            self.subscribers.remove(user);
            self.forget(user);
            send_frame(user, generation, frame, out);
        }
    }

    /// The EIM doesn't let the user listen: perhaps because they have been sent away.
    pub(super) fn meet_refused(&mut self, user: &UserId, now: u64, out: &mut Effects) {
        let Some(subscriber) = self.subscribers.remove(user) else { return };
        let Some(start) = subscriber.pending.filter(|_| !subscriber.guest) else { return };
        let generation = subscriber.generation;
        match self.unseen.sent_away.remove(user) {
            Some(sent) if is_at(&start, &sent.at) => send_frame(user, generation, sent.frame, out),
            None if self.unseen.refused.len() < UNSEEN_MAX => {
                self.unseen.refused.insert(user.clone(), Refused { until: now + WAIT_MS, generation, start });
            }
            _ => {}
        }
    }
}

fn send_frame(user: &UserId, generation: u64, frame: Frame, out: &mut Effects) {
    out.push(Effect::Send { user: user.clone(), generation, frame });
    out.push(Effect::Release { user: user.clone(), generation });
}
