//! The link over which one node asks the other: its state and its frames.

use std::collections::{BTreeSet, VecDeque};

use crate::conference::core::Failure;
use crate::conference::numbering::Answer;
use crate::conference::owner::protocol::{FromOwner, ToOwner};

/// What one node asks the other over. Each direction is in order.
#[derive(Default)]
pub struct Link {
    pub is_open: bool,
    pub to_owner: VecDeque<ToOwner>,
    pub to_asker: VecDeque<FromOwner>,
    /// Requests without an answer.
    pub asked: BTreeSet<u64>,
}

impl Link {
    pub fn answer(&mut self, number: u64, answer: Result<Answer, Failure>) {
        self.queue_frame(FromOwner::Answer { number, answer });
    }

    pub fn queue_frame(&mut self, frame: FromOwner) {
        if self.is_open {
            self.to_asker.push_back(frame);
        }
    }
}
