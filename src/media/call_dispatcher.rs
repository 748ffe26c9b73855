//! Which of a node's two kinds of calls each socket holds: group calls, until it says something of a call between two.
//! Pure, as both are.

use super::group::{self, Group, Input, Output, RoomCounts, RoomNamespace};
use super::message::Message;
use super::one_to_one::{self, OneToOneCalls};
use crate::clock::Now;
use crate::ids::ConfId;
use confgate_sfu::protocol::{EndpointId, Notice, StreamId};

/// Owned by the node's task; a socket is in one of the two.
pub struct CallDispatcher {
    group: Group,
    pairs: OneToOneCalls,
}

impl CallDispatcher {
    /// No calls yet.
    pub fn new(group: group::Limits, pairs: one_to_one::Limits) -> Self {
        Self { group: Group::new(group), pairs: OneToOneCalls::new(pairs) }
    }

    /// Handles an input; the effects, in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        match &input {
            Input::Opened(..) | Input::Began(..) | Input::Restarted(..) | Input::Linked(..) => {
                self.group.handle(now, input)
            }
            Input::Message(socket, message, _) => {
                let is_of_pair = message.as_ref().is_ok_and(Message::is_of_pair);
                if is_of_pair && let Some(credentials) = self.group.release(*socket) {
                    self.pairs.handle(now, Input::Opened(*socket, credentials));
                }
                if self.pairs.has(*socket) { self.pairs.handle(now, input) } else { self.group.handle(now, input) }
            }
            Input::Closed(socket) | Input::Alive(socket) => {
                if self.pairs.has(*socket) {
                    self.pairs.handle(now, input)
                } else {
                    self.group.handle(now, input)
                }
            }
            Input::Notice(notice) => match endpoint_of(notice).is_some_and(OneToOneCalls::is_of_pair) {
                true => self.pairs.handle(now, input),
                false => self.group.handle(now, input),
            },
            Input::Control(_) | Input::Drain | Input::Stop | Input::Tick => {
                let mut out = self.group.handle(now, input.clone());
                out.extend(self.pairs.handle(now, input));
                out
            }
        }
    }

    /// All sockets; rooms and members of group calls.
    pub fn counts(&self) -> RoomCounts {
        let counts = self.group.counts();
        RoomCounts { sockets: counts.sockets + self.pairs.counts().0, ..counts }
    }

    /// Whether a stream of that name is in the room.
    pub fn knows(&self, space: RoomNamespace, conf: &ConfId, stream: &StreamId) -> bool {
        self.group.knows(space, conf, stream)
    }

    /// Calls between two.
    pub fn pairs(&self) -> usize {
        self.pairs.counts().1
    }
}

fn endpoint_of(notice: &Notice) -> Option<EndpointId> {
    match notice {
        Notice::Answer { endpoint, .. }
        | Notice::Offer { endpoint, .. }
        | Notice::Refused { endpoint, .. }
        | Notice::Candidate { endpoint, .. }
        | Notice::Connected { endpoint }
        | Notice::NoCommonCodec { viewer: endpoint, .. }
        | Notice::Closed { endpoint, .. } => Some(*endpoint),
        Notice::Speaker { .. } => None,
    }
}
