//! The state that a link keeps from one connection to the next.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{LinkSettings, Request};
use crate::eim::events::Outbox;
use crate::rate_limit::throttle::Throttle;

/// Owned by the link's task, and lent to the connection of the moment.
pub(super) struct State {
    pub settings: LinkSettings,
    pub requests: mpsc::Receiver<Request>,
    /// The socket's queue.
    pub outbox: Outbox,
    /// Bounds the log's lines of messages that can't be read, over all links.
    pub unreadable: Arc<Throttle>,
    pub stop: CancellationToken,
    /// Requests that wait for the link, in order.
    pub parked: VecDeque<Request>,
}
