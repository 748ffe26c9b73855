//! The EIM's events, in the order in which they come, and whether their numbers are right.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::warnings::Warnings;
use crate::eim::Inbound;
use crate::event::{ConferenceEvent, Event};
use crate::ids::ConfId;

/// The epoch of events that the EIM gives no numbers.
pub const UNNUMBERED: &str = "";
/// Events that may wait to be looked at. The conversation causes fewer than a hundred.
const WAITING_MAX: usize = 1024;

/// See the module.
pub struct EventStream {
    received: mpsc::Receiver<Event>,
    warnings: Warnings,
    position: Option<Position>,
}

/// The numbering of the conference.
struct Position {
    conf_id: ConfId,
    epoch: String,
    /// The number of the newest event.
    seq: u64,
    /// The events since, by number: each comes once for each subscriber.
    known: BTreeMap<u64, Event>,
    /// The last number was wrong: the next one is taken as it is.
    is_lost: bool,
}

/// Takes what comes where nothing is expected: a link whose events nobody takes gives no answers either.
pub fn discard(mut inbound: mpsc::Receiver<Inbound>) {
    tokio::spawn(async move { while inbound.recv().await.is_some() {} });
}

impl EventStream {
    /// Of what the EIM sends, over its link or by a broker. `warnings`: of messages that can't be read.
    pub fn new(mut inbound: mpsc::Receiver<Inbound>, warnings: Warnings) -> Self {
        let (to, received) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            // Read on whatever comes: a link whose events nobody takes gives no answers either.
            while let Some(next) = inbound.recv().await {
                let event = match next {
                    Inbound::Event { event, .. } => event,
                    Inbound::Unnumbered { event, .. } => without_number(event),
                    _ => continue,
                };
                // An error here: a flood, or the check is over.
                let _ = to.try_send(event);
            }
        });
        Self { received, warnings, position: None }
    }

    /// From here on events of that conference have the numbers after `seq`; none, where the epoch is [`UNNUMBERED`].
    pub fn begin(&mut self, conf_id: &ConfId, epoch: &str, seq: u64) {
        let (conf_id, epoch, known) = (conf_id.clone(), epoch.to_owned(), BTreeMap::new());
        self.position = Some(Position { conf_id, epoch, seq, known, is_lost: false });
    }

    /// The epoch of those numbers.
    pub fn epoch(&self) -> Option<&str> {
        self.position.as_ref().map(|position| position.epoch.as_str())
    }

    /// The number of the newest event that was waited for, or came before it.
    pub fn seq(&self) -> u64 {
        self.position.as_ref().map_or(0, |position| position.seq)
    }

    /// Waits for an event of that type that `check` takes.
    ///
    /// # Errors
    /// Where it doesn't come, or its number, or that of one before it, is wrong. In words.
    pub async fn wait(
        &mut self,
        kind: &str,
        limit: Duration,
        check: impl Fn(&Event) -> Result<(), String>,
    ) -> Result<Event, String> {
        let (deadline, mut others, mut mismatch) = (Instant::now() + limit, Vec::new(), None);
        while let Ok(Some(event)) = timeout_at(deadline, self.received.recv()).await {
            match self.position.as_mut().map_or(Ok(true), |position| position.advance(&event)) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(wrong) => {
                    return Err(format!("an event {} came with a wrong number: {wrong}", event.change.name()));
                }
            }
            if event.change.name() != kind {
                others.push(event.change.name().to_owned());
                continue;
            }
            match check(&event) {
                Ok(()) => return Ok(event),
                Err(why) => mismatch = Some(why),
            }
        }
        Err(match mismatch {
            Some(why) => format!("an event {kind} came, but {why}"),
            None => self.missing(kind, limit, &others),
        })
    }

    fn missing(&self, kind: &str, limit: Duration, others: &[String]) -> String {
        let mut why = format!("no event {kind} came within {} ms", limit.as_millis());
        if !others.is_empty() {
            why.push_str(&format!("; these came: {}", others.join(", ")));
        }
        let warnings = self.warnings.take();
        if !warnings.is_empty() {
            why.push_str(&format!("; {}", warnings.join("; ")));
        }
        why
    }
}

fn without_number(event: ConferenceEvent) -> Event {
    let ConferenceEvent { conf_id, time, change, actor, .. } = event;
    Event { epoch: UNNUMBERED.to_owned(), seq: 0, conf_id, time, change, actor }
}

impl Position {
    /// Whether the event is a new one of the conference's.
    ///
    /// # Errors
    /// In words, where its number doesn't follow.
    fn advance(&mut self, event: &Event) -> Result<bool, String> {
        if event.conf_id != self.conf_id {
            return Ok(false);
        }
        if self.epoch == UNNUMBERED {
            return Ok(true);
        }
        if event.epoch != self.epoch {
            return Err(format!("its epoch is {:?}, the subscription's is {:?}", event.epoch, self.epoch));
        }
        match self.known.get(&event.seq) {
            Some(known) if known == event => return Ok(false),
            Some(_) => return Err(format!("{} is the number of an earlier event", event.seq)),
            None if event.seq <= self.seq && !self.is_lost => return Ok(false),
            None => {}
        }
        let (expected, was_lost) = (self.seq + 1, self.is_lost);
        self.seq = event.seq;
        self.known.insert(event.seq, event.clone());
        self.is_lost = event.seq != expected && !was_lost;
        if self.is_lost { Err(format!("it is {}, and {expected} comes next", event.seq)) } else { Ok(true) }
    }
}
