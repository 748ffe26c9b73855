//! The owner's part of the store: taking the conference, giving it back, and writing what is new.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::super::numbering::{Kept, Numbering, Order};
use super::super::Owners;
use super::{Moved, Task};
use crate::clock::Moment;
use crate::eim::amqp::bindings::Subject;
use crate::event::{Event, Roster};
use crate::ids::ConfId;
use crate::store::{KeptNumbering, NumberingOwner, NumberingWrite, StoreError};

/// How many events after it a roster is written anew: as many are read by the next owner.
const ROSTER_EVERY: u64 = 64;
/// Between attempts to write.
const WRITE_RETRY: Duration = Duration::from_millis(500);

impl Task {
    /// Takes the conference over, and goes on from what is kept; or says who has it.
    pub(super) async fn load(&mut self) -> Result<(), Moved> {
        self.core = numbering(&self.conf, &self.owners);
        (self.written, self.seats) = (None, Kept::default());
        // An answer to what was asked before is older than what is kept.
        self.work = JoinSet::new();
        loop {
            match self.owners.0.store.take_numbering(&self.conf, Moment::now()).await {
                Ok(NumberingOwner::Other(node)) => return Err(Moved(node)),
                Ok(NumberingOwner::This(kept)) => {
                    self.binding = self.owners.0.bindings.hold(Subject::Conference(self.conf.clone()));
                    if let Some(resumed) = kept.and_then(Resumed::read) {
                        self.written = Some((resumed.roster.epoch.clone(), resumed.roster.seq));
                        self.seats = resumed.kept.clone();
                        self.core.resume(resumed.roster, resumed.events, resumed.kept);
                    }
                    return Ok(());
                }
                Err(StoreError::Fenced) => return std::future::pending().await,
                Err(error) => {
                    tracing::debug!(%error, conf = %self.conf, "a conference's numbers can't be taken over yet");
                    sleep(WRITE_RETRY).await;
                }
            }
        }
    }

    /// Writes what is new, however long it takes. False where another process is the owner.
    pub(super) async fn keep(&mut self) -> bool {
        let Some(log) = self.core.log() else { return true };
        let roster = log.roster();
        let is_event = |order: &Order| match order {
            Order::Deliver(event) => Some((event.seq, serde_json::to_string(event).unwrap_or_default())),
            _ => None,
        };
        let events: Vec<_> = self.orders.iter().filter_map(is_event).collect();
        let is_recent = |(epoch, seq): &(String, u64)| *epoch == roster.epoch && roster.seq < seq + ROSTER_EVERY;
        let writes_roster = !self.written.as_ref().is_some_and(is_recent);
        if events.is_empty() && self.core.has_kept(&self.seats) && !writes_roster {
            return !self.is_doubted || self.is_owner().await;
        }
        let seats = self.core.kept();
        let text = writes_roster.then(|| serde_json::to_string(roster).unwrap_or_default());
        let until = roster.seq.saturating_sub(self.owners.0.limits.log as u64);
        let (epoch, at) = (roster.epoch.clone(), roster.seq);
        let write = NumberingWrite {
            roster: text.as_deref().map(|text| (text, until)),
            seats: &serde_json::to_string(&seats).unwrap_or_default(),
            epoch: &epoch,
            events: &events,
            at: Moment::now(),
        };
        loop {
            match self.owners.0.store.keep_numbering(&self.conf, write).await {
                Ok(true) => break,
                Ok(false) => return false,
                // The process is about to end.
                Err(StoreError::Fenced) => std::future::pending().await,
                Err(error) => {
                    metrics::counter!("confgate_numbering_write_failures_total").increment(1);
                    tracing::debug!(%error, conf = %self.conf, "numbered events can't be kept yet");
                    sleep(WRITE_RETRY).await;
                }
            }
        }
        (self.seats, self.is_doubted) = (seats, false);
        if writes_roster {
            self.written = Some((epoch, at));
        }
        true
    }

    /// Whether this process is the owner still, as far as the store can be asked now.
    async fn is_owner(&mut self) -> bool {
        let answer = self.owners.0.store.owns_numbering(&self.conf).await;
        self.is_doubted = answer.is_err();
        answer.unwrap_or(true)
    }

    /// So that another node takes it over at once. Where that can't be written, it does when the lease is over.
    pub(super) async fn give_back(&mut self) {
        self.owners.ended(&self.conf);
        if let Err(error) = self.owners.0.store.release_numbering(&self.conf).await {
            tracing::info!(%error, conf = %self.conf, "a conference's numbers could not be given back");
        }
    }
}

/// Nothing is known yet.
pub(super) fn numbering(conf: &ConfId, owners: &Owners) -> Numbering {
    Numbering::new(conf.clone(), owners.0.limits.log, owners.0.limits.look_ms)
}

/// What an earlier owner has kept.
struct Resumed {
    roster: Roster,
    events: Vec<Event>,
    kept: Kept,
}

impl Resumed {
    /// `None` where it can't be read: then clients get a snapshot, under another epoch.
    fn read(kept: KeptNumbering) -> Option<Self> {
        let roster: Roster = serde_json::from_str(&kept.roster).ok()?;
        let events = kept.events.iter().map(|text| serde_json::from_str::<Event>(text));
        let mut events: Vec<Event> = events.collect::<Result<_, _>>().ok()?;
        events.retain(|event| event.epoch == roster.epoch);
        Some(Self { events, kept: serde_json::from_str(&kept.seats).ok()?, roster })
    }
}
