//! What climbs up from the links, and the bounded way it takes.

use std::collections::VecDeque;

use metrics::Gauge;
use tokio::sync::{mpsc, oneshot};

use crate::eim::iq_handler::WebAddress;
use crate::ids::{ConfId, UserId};

/// Events that may wait for their consumer. Beyond, the link stops reading: see [`Outbox`].
pub const INBOUND_MAX: usize = 4096;

/// News from the EIM. In order for each link; `Up` precedes everything of a connection, `Down` follows it.
#[derive(Debug)]
pub enum Inbound {
    /// `body` is the JSON text of an event; `to` the subscriber's address as on the wire.
    Event {
        from: String,
        to: String,
        body: String,
    },
    /// The EIM asks where a conference is joined. `None`: there is none. Dropped: the EIM is told of our fault.
    WebAddress {
        conf_id: ConfId,
        role: Option<String>,
        reply: oneshot::Sender<Option<WebAddress>>,
    },
    /// The callers' link is up (in mode `c2s`: the gateway's own). What happened while it was down was not heard.
    Up,
    Down,
    /// A user's session is up (mode `c2s`): what it subscribed to must be subscribed to again.
    SessionUp(UserId),
    SessionDown(UserId),
}

/// Whose comings and goings a link tells.
#[derive(Debug, Clone)]
pub enum Announce {
    Nothing,
    Link,
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
    pub fn new(to: mpsc::Sender<Inbound>, announce: Announce) -> Self {
        Self { to, announce, waiting: VecDeque::new(), depth: metrics::gauge!("confgate_eim_inbound_waiting") }
    }

    /// Whether the link may read on.
    pub fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn push(&mut self, news: Inbound) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(news);
        } else if let Err(mpsc::error::TrySendError::Full(news)) = self.to.try_send(news) {
            metrics::counter!("confgate_eim_inbound_stalls_total").increment(1);
            self.waiting.push_back(news);
        }
        self.depth.set((self.to.max_capacity() - self.to.capacity()) as f64);
    }

    pub fn up(&mut self) {
        self.push_if(self.announce.up());
    }

    /// A consumer that is behind needs to hear of the last outage only.
    pub fn down(&mut self) {
        if matches!(self.waiting.back(), Some(Inbound::Up | Inbound::SessionUp(_))) && self.waiting.len() > 1 {
            self.waiting.pop_back();
            return;
        }
        self.push_if(self.announce.down());
    }

    fn push_if(&mut self, news: Option<Inbound>) {
        if let Some(news) = news {
            self.push(news);
        }
    }

    /// Hands over what waits; pending while nothing does. Cancel-safe.
    pub async fn drain(&mut self) {
        if self.waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        match self.to.reserve().await {
            Ok(room) => {
                if let Some(news) = self.waiting.pop_front() {
                    room.send(news);
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
        let kind = |news| match news {
            Inbound::Up => 'U',
            Inbound::Down => 'D',
            _ => 'e',
        };
        std::iter::from_fn(|| inbound.try_recv().ok()).map(kind).collect()
    }

    fn event() -> Inbound {
        Inbound::Event { from: String::new(), to: String::new(), body: String::new() }
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
