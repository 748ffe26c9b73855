//! Events from the links, and the bounded queue that they take.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use metrics::Gauge;
use tokio::sync::{mpsc, oneshot};

use crate::clock::date_ms;
use crate::eim::inbound::{InboundEvent, InboundSchema, Message, Outcome};
use crate::eim::iq_handler::WebAddress;
use crate::event::{CallEvent, ConferenceEvent, Event, NumberedBy, Role};
use crate::ids::{ConfId, UserId};
use crate::rate_limit::limiter::Rate;

/// Events that may wait for their consumer. Beyond, the link stops reading: see [`Outbox`].
pub const INBOUND_MAX: usize = 4096;

/// Lines that say of a message that can't be read: a flood of them would fill the log.
pub const UNREADABLE_LINES: Rate = Rate { count: 20, window_ms: 60_000 };

/// Acknowledges a delivery when its last copy is dropped, of which each of the delivery's events has one: by then they
/// are in the conference's log, or nobody here wants them.
#[derive(Debug, Clone)]
pub struct Receipt {
    _delivery: Arc<Unacknowledged>,
}

#[derive(Debug)]
struct Unacknowledged {
    to: mpsc::UnboundedSender<u64>,
    tag: u64,
}

impl Receipt {
    /// `to` gets the delivery's tag. As many can be open as the broker delivers unacknowledged.
    pub fn new(to: &mpsc::UnboundedSender<u64>, tag: u64) -> Self {
        Self { _delivery: Arc::new(Unacknowledged { to: to.clone(), tag }) }
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        // An error here: that connection is over, and the broker delivers the event again.
        let _ = self.to.send(self.tag);
    }
}

/// An event from the EIM. In order for each link; `Up` precedes everything of a connection, `Down` follows it.
#[derive(Debug)]
pub enum Inbound {
    /// A conference's event. `to`: whom it was sent to, if they are a user of the EIM.
    Event {
        /// The receiver's name.
        to: Option<UserId>,
        /// The event.
        event: Event,
        /// Of one that a broker delivered.
        receipt: Option<Receipt>,
    },
    /// The same of an EIM that numbers nothing, or whose numbers don't count: [`NumberedBy::Gateway`].
    Unnumbered {
        /// The receiver's name.
        to: Option<UserId>,
        /// The event, without a number.
        event: ConferenceEvent,
        /// Of one that a broker delivered.
        receipt: Option<Receipt>,
    },
    /// A call's event. It has no number.
    CallEvent {
        /// The receiver's name.
        to: UserId,
        /// The event.
        event: CallEvent,
        /// Of one that a broker delivered.
        receipt: Option<Receipt>,
    },
    /// The EIM asks where a conference is joined. `None`: there is none. Dropped: the EIM is told of our fault.
    WebAddress {
        /// The conference.
        conf_id: ConfId,
        /// The role.
        role: Role,
        /// How long the link is to serve, in milliseconds.
        valid_ms: Option<u64>,
        /// The place for the answer.
        reply: oneshot::Sender<Option<WebAddress>>,
    },
    /// The callers' link is up (in mode `c2s`: the gateway's own). What happened while it was down was not heard.
    Up,
    /// The link is down.
    Down,
    /// A user's session is up (mode `c2s`): what it subscribed to must be subscribed to again.
    SessionUp(UserId),
    /// That user's session is down.
    SessionDown(UserId),
}

impl Inbound {
    /// Reads a message that has just come. `None`: it is none of the EIM's events.
    ///
    /// # Errors
    /// Why it can't be read, or where an event has no number. For operators: repeats nothing of the message.
    pub fn read(schema: &InboundSchema, message: Message<'_>) -> Result<Option<Vec<Self>>, Cow<'static, str>> {
        let events = match schema.read(message, date_ms()) {
            Outcome::Events(events) => events,
            Outcome::NotOurs => return Ok(None),
            Outcome::Bad(why) => return Err(why),
        };
        let inbound = |event| match event {
            InboundEvent::Call { to, event } => Ok(Self::CallEvent { to, event, receipt: None }),
            InboundEvent::Conference { to, event } if schema.numbered_by() == NumberedBy::Gateway => {
                let event = ConferenceEvent { numbering: None, ..event };
                Ok(Self::Unnumbered { to, event, receipt: None })
            }
            InboundEvent::Conference { to, event } => {
                let event = event.numbered().ok_or("epoch, seq: absent, and events.numbered is \"eim\"")?;
                Ok(Self::Event { to, event, receipt: None })
            }
        };
        events.into_iter().map(inbound).collect::<Result<_, _>>().map(Some)
    }

    /// The same with the receipt of the delivery that it came in.
    pub fn delivered(mut self, by: &Receipt) -> Self {
        if let Self::Event { receipt, .. } | Self::Unnumbered { receipt, .. } | Self::CallEvent { receipt, .. } =
            &mut self
        {
            *receipt = Some(by.clone());
        }
        self
    }
}

/// The states of the link that are announced.
#[derive(Debug, Clone)]
pub enum Announce {
    /// Neither up nor down.
    Nothing,
    /// The callers' link.
    Link,
    /// That user's session.
    Session(UserId),
}

impl Announce {
    fn up(&self) -> Option<Inbound> {
        match self {
            Self::Nothing => None,
            Self::Link => Some(Inbound::Up),
            Self::Session(user) => Some(Inbound::SessionUp(user.clone())),
        }
    }

    fn down(&self) -> Option<Inbound> {
        match self {
            Self::Nothing => None,
            Self::Link => Some(Inbound::Down),
            Self::Session(user) => Some(Inbound::SessionDown(user.clone())),
        }
    }
}

/// One link's end of the inbound channel.
///
/// When the channel is full nothing is lost and nothing grows: the link keeps what it has just read and does not read
/// on until there is room. TCP then holds the server back. The price: answers stand behind the events, so whoever
/// takes from the channel must not wait for an answer in between.
pub struct Outbox {
    to: mpsc::Sender<Inbound>,
    announce: Announce,
    /// At most one stanza's worth, one `Down` and one `Up`.
    waiting: VecDeque<Inbound>,
    depth: Gauge,
}

impl Outbox {
    /// An empty queue.
    pub fn new(to: mpsc::Sender<Inbound>, announce: Announce) -> Self {
        Self { to, announce, waiting: VecDeque::new(), depth: metrics::gauge!("confgate_eim_inbound_waiting") }
    }

    /// Whether the link may read on.
    pub fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues an event.
    pub fn push(&mut self, event: Inbound) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.to.try_send(event) {
            metrics::counter!("confgate_eim_inbound_stalls_total").increment(1);
            self.waiting.push_back(event);
        }
        self.depth.set((self.to.max_capacity() - self.to.capacity()) as f64);
    }

    /// Queues that the link is up.
    pub fn up(&mut self) {
        self.push_if(self.announce.up());
    }

    /// A consumer that is behind needs to be told of the last outage only.
    pub fn down(&mut self) {
        if matches!(self.waiting.back(), Some(Inbound::Up | Inbound::SessionUp(_))) && self.waiting.len() > 1 {
            self.waiting.pop_back();
            return;
        }
        self.push_if(self.announce.down());
    }

    fn push_if(&mut self, event: Option<Inbound>) {
        if let Some(event) = event {
            self.push(event);
        }
    }

    /// Hands over what waits; pending while nothing does. Cancel-safe.
    pub async fn drain(&mut self) {
        if self.waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        match self.to.reserve().await {
            Ok(room) => {
                if let Some(event) = self.waiting.pop_front() {
                    room.send(event);
                }
            }
            // Nobody listens any more: the program is stopping.
            Err(_) => self.waiting.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(inbound: &mut mpsc::Receiver<Inbound>) -> String {
        let kind = |event| match event {
            Inbound::Up => 'U',
            Inbound::Down => 'D',
            _ => 'e',
        };
        std::iter::from_fn(|| inbound.try_recv().ok()).map(kind).collect()
    }

    const MEMBER_LEFT: &str = r#"{"confId":"c1","epoch":"e","seq":7,"time":1,"type":"member.left","actor":null,
        "data":{"userId":"u2","reason":"left"}}"#;

    fn event() -> Inbound {
        Inbound::Event { to: None, event: serde_json::from_str(MEMBER_LEFT).unwrap(), receipt: None }
    }

    #[tokio::test]
    async fn a_consumer_that_is_behind_loses_nothing_and_a_flapping_link_adds_nothing() {
        let (to, mut inbound) = mpsc::channel(2);
        let mut outbox = Outbox::new(to, Announce::Link);
        outbox.up();
        outbox.push(event());
        assert!(outbox.is_clear());
        outbox.push(event());
        assert!(!outbox.is_clear());
        for _ in 0..100 {
            outbox.down();
            outbox.up();
        }
        assert_eq!(outbox.waiting.len(), 3);
        assert_eq!(kinds(&mut inbound), "Ue");
        outbox.drain().await;
        outbox.drain().await;
        assert_eq!(kinds(&mut inbound), "eD");
        outbox.drain().await;
        assert_eq!(kinds(&mut inbound), "U");
        assert!(outbox.is_clear());
    }
}
