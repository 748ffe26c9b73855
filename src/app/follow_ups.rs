//! Carries out the EIM's decisions: logins, links and accounts end, bans are set. A write that the store can't take now
//! is tried again until it can, since it was acknowledged. A task that `app::serve` starts.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::AuthService;
use crate::clock::Moment;
use crate::conference::LifecycleEvent;
use crate::ids::ConfId;
use crate::refusal::Reason;

/// How often the store is tried while something waits for it.
const RETRY: Duration = Duration::from_millis(500);
/// Lifecycle events that wait for the store, some MiB: an hour of it away at three kicks or ends a second. At one more the
/// oldest is given up.
const WAITING_MAX: usize = 10_000;

/// An event of a conference, and when it happened.
type Waiting = (ConfId, LifecycleEvent, Moment);

/// Ends with the conferences.
pub(super) async fn take(mut events: mpsc::Receiver<(ConfId, LifecycleEvent)>, auth: AuthService) {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut tick = interval(RETRY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = events.recv() => {
                let Some((conf, event)) = next else { return };
                let next = (conf, event, Moment::now());
                // In their order: a kick before the conference's end.
                if !waiting.is_empty() || !is_done(&auth, &next).await {
                    wait(&mut waiting, next);
                }
            }
            _ = tick.tick(), if !waiting.is_empty() => {
                while let Some(first) = waiting.front() {
                    if !is_done(&auth, first).await {
                        break;
                    }
                    waiting.pop_front();
                }
            }
        }
        metrics::gauge!("confgate_lifecycle_events_unsaved").set(waiting.len() as f64);
    }
}

fn wait(waiting: &mut VecDeque<Waiting>, next: Waiting) {
    if waiting.len() >= WAITING_MAX
        && let Some((conf, ..)) = waiting.pop_front()
    {
        tracing::error!(%conf, "the end of a stay is given up: the store was away for too long");
    }
    waiting.push_back(next);
}

/// Whether there is nothing more to do about it.
async fn is_done(auth: &AuthService, (conf, event, at): &Waiting) -> bool {
    match auth.carry_out(conf, event, *at).await {
        Ok(()) => true,
        Err(refusal) if refusal.is(Reason::StoreUnavailable) => false,
        Err(refusal) => {
            tracing::warn!(%conf, key = refusal.key(), "the end of a stay could not be carried out");
            true
        }
    }
}
