//! The worker's end of the queue to the broker's publisher.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::event::Publication;

/// Most publications that wait for the broker, of about half a KiB each. Beyond that nothing is changed any more: each
/// of them is in memory and in the store.
pub const UNPUBLISHED_MAX: usize = 20_000;

/// Hands over each publication once, in order. Whatever comes in is durable.
pub(super) struct PublisherQueue {
    /// `None`: nobody publishes.
    queue: Option<mpsc::Sender<Publication>>,
    /// Those that the queue had no room for.
    surplus: VecDeque<Publication>,
    /// The number of the last one that came in.
    last: u64,
    is_full: bool,
}

impl PublisherQueue {
    pub fn new(queue: Option<mpsc::Sender<Publication>>) -> Self {
        Self { queue, surplus: VecDeque::new(), last: 0, is_full: false }
    }

    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Takes publications by number. The store may give some that are known already: they are left out.
    pub fn put(&mut self, publications: Vec<Publication>) {
        for publication in publications.into_iter().filter(|_| self.queue.is_some()) {
            if publication.number > self.last {
                self.last = publication.number;
                self.surplus.push_back(publication);
            }
        }
        self.has_room();
    }

    /// Whether the queue has taken all of them.
    pub fn has_room(&mut self) -> bool {
        while let (Some(queue), Some(next)) = (&self.queue, self.surplus.pop_front()) {
            match queue.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(next)) => {
                    self.surplus.push_front(next);
                    break;
                }
                // The process stops: they stay in the store until the next start.
                Err(TrySendError::Closed(_)) => {
                    self.surplus.clear();
                    self.queue = None;
                }
            }
        }
        let is_full = !self.surplus.is_empty();
        if std::mem::replace(&mut self.is_full, is_full) != is_full {
            match is_full {
                true => tracing::error!("too many events wait for the broker: changes are refused until it takes them"),
                false => tracing::info!("the events that wait for the broker have room again"),
            }
        }
        !is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(number: u64) -> Publication {
        let text = |name: &str| format!("{name}{number}");
        Publication { number, routing_key: text("conf."), message_id: text("id"), body: text("body") }
    }

    #[test]
    fn each_publication_is_handed_over_once_and_in_order() {
        let (queue, mut publisher) = mpsc::channel(2);
        let mut waiting = PublisherQueue::new(Some(queue));
        waiting.put((1..=2).map(publication).collect());
        assert!(waiting.has_room());
        waiting.put((1..=4).map(publication).collect());
        assert!(!waiting.has_room());
        for number in 1..=4 {
            assert_eq!(publisher.try_recv().unwrap().number, number);
            waiting.has_room();
        }
        assert!(waiting.has_room() && publisher.try_recv().is_err());
    }

    #[test]
    fn a_publisher_that_has_ended_stops_no_change() {
        let (queue, publisher) = mpsc::channel(2);
        let mut waiting = PublisherQueue::new(Some(queue));
        drop(publisher);
        waiting.put(vec![publication(1), publication(2)]);
        assert!(waiting.has_room());
    }
}
