//! The outbox: publications are kept with the change that they follow from, until the broker has confirmed them.

use super::persistence::{self, LoadError, Write};
use crate::event::Publication;

/// Numbers the publications. Those that are kept are deleted by [`Write::published`].
#[derive(Debug, PartialEq)]
pub(super) struct Outbox {
    /// The number of the next publication.
    next: u64,
    /// What the store had, until it is taken.
    restored: Vec<Publication>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { next: 1, restored: Vec::new() }
    }
}

impl Outbox {
    pub fn restore(&mut self, key: &str, body: &str) -> Result<(), LoadError> {
        let publication: Publication = persistence::read(persistence::OUTBOX, key, body)?;
        self.next = self.next.max(publication.number.saturating_add(1));
        self.restored.push(publication);
        Ok(())
    }

    /// No number of an earlier state is used again: its document may be about to be deleted.
    pub fn continue_after(&mut self, earlier: &Self) {
        self.next = self.next.max(earlier.next);
    }

    pub fn add(&mut self, routing_key: String, message_id: String, body: String) -> (Publication, Write) {
        let publication = Publication { number: self.next, routing_key, message_id, body };
        self.next = self.next.saturating_add(1);
        let write = Write::put(persistence::OUTBOX, key(publication.number), &publication);
        (publication, write)
    }

    /// What the store had, in order.
    pub fn take(&mut self) -> Vec<Publication> {
        let mut all = std::mem::take(&mut self.restored);
        all.sort_unstable_by_key(|publication| publication.number);
        all
    }
}

impl Write {
    /// Deletes a publication that the broker has, or that nobody wants any more.
    pub fn published(number: u64) -> Self {
        Self::delete(persistence::OUTBOX, key(number))
    }
}

fn key(number: u64) -> String {
    format!("{number:016}")
}
