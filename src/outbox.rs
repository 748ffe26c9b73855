//! What leads to a client's socket: a queue bounded in frames and bytes, and the order to close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use metrics::Gauge;
use tokio::sync::{Notify, mpsc, watch};

/// Why a socket is closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    Token,
    Kicked,
    Denied,
    Over,
    TooSlow,
    TakenOver,
    GoingAway,
    /// The client does not answer pings.
    Silent,
    /// Nothing that admits to where the client wants to go.
    Unauthorized,
    /// More messages than a client may send.
    TooMany,
    /// A message longer than any may be.
    TooLarge,
    /// There is no room for the client now.
    Later,
}

impl Close {
    pub fn code(self) -> u16 {
        match self {
            Close::Token | Close::Unauthorized => 4001,
            Close::Kicked | Close::Denied => 4003,
            Close::Over => 4004,
            Close::TooSlow | Close::TooMany => 4008,
            Close::TakenOver => 4009,
            Close::GoingAway | Close::Silent => 1001,
            // RFC 6455 section 7.4.1, and its registry.
            Close::TooLarge => 1009,
            Close::Later => 1013,
        }
    }

    pub fn reason(self) -> &'static str {
        match self {
            Close::Token => "token no longer valid",
            Close::Kicked => "kicked",
            Close::Denied => "denied",
            Close::Over => "conference ended",
            Close::TooSlow => "too slow, resume",
            Close::TakenOver => "taken over by another socket",
            Close::GoingAway => "going away",
            Close::Silent => "no answer to pings",
            Close::Unauthorized => "no token that admits",
            Close::TooMany => "too many messages",
            Close::TooLarge => "message too long",
            Close::Later => "try again later",
        }
    }
}

/// The sending side: cloneable, never waits. When the queue is full the socket is closed as too slow and whatever is
/// sent later is dropped: the client resumes from the last event that it has.
#[derive(Clone)]
pub struct Outbox {
    frames: mpsc::Sender<Utf8Bytes>,
    queued: Arc<Queued>,
    max_bytes: usize,
    ping: Arc<Notify>,
    close: watch::Sender<Option<Close>>,
}

/// The socket's side.
pub struct Inbox {
    frames: mpsc::Receiver<Utf8Bytes>,
    queued: Arc<Queued>,
    ping: Arc<Notify>,
    pub close: watch::Receiver<Option<Close>>,
}

/// The bytes that wait in one queue, and in the gauge those of all.
struct Queued {
    bytes: AtomicUsize,
    all: Gauge,
}

impl Queued {
    /// What waited before.
    fn add(&self, bytes: usize) -> usize {
        self.all.increment(bytes as f64);
        self.bytes.fetch_add(bytes, Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) {
        self.all.decrement(bytes as f64);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.all.decrement(*self.bytes.get_mut() as f64);
    }
}

pub fn outbox(max_frames: usize, max_bytes: usize) -> (Outbox, Inbox) {
    let (tx, rx) = mpsc::channel(max_frames);
    let (close_tx, close_rx) = watch::channel(None);
    let queued = Arc::new(Queued { bytes: AtomicUsize::new(0), all: metrics::gauge!("confgate_socket_queue_bytes") });
    let ping = Arc::new(Notify::new());
    let outbox = Outbox { frames: tx, queued: queued.clone(), max_bytes, ping: ping.clone(), close: close_tx };
    (outbox, Inbox { frames: rx, queued, ping, close: close_rx })
}

impl Outbox {
    pub fn send(&self, frame: Utf8Bytes) {
        if self.close.borrow().is_some() {
            return;
        }
        let size = frame.len();
        // What waits already decides, not the frame itself: a page of messages that the client asked for may be larger
        // than the bound, and must not end its socket.
        let waiting = self.queued.add(size);
        if waiting > self.max_bytes || self.frames.try_send(frame).is_err() {
            self.queued.take(size);
            metrics::counter!("confgate_socket_lagged_total").increment(1);
            self.close(Close::TooSlow);
        }
    }

    /// Sends a ping at once, beside those of the heartbeat.
    pub fn ping(&self) {
        self.ping.notify_one();
    }

    /// Whether the order to close was given.
    pub fn is_closed(&self) -> bool {
        self.close.borrow().is_some()
    }

    /// The first reason stands. What was queued before is still sent.
    pub fn close(&self, why: Close) {
        self.close.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(why);
            }
            first
        });
    }
}

impl Inbox {
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        let frame = self.frames.recv().await?;
        self.queued.take(frame.len());
        Some(frame)
    }

    /// Resolves when a ping is to be sent.
    pub fn pinged(&self) -> impl Future<Output = ()> + Send + use<> {
        let ping = self.ping.clone();
        async move { ping.notified().await }
    }

    /// What is queued now, without waiting.
    pub fn try_next(&mut self) -> Option<Utf8Bytes> {
        let frame = self.frames.try_recv().ok()?;
        self.queued.take(frame.len());
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_closes_the_socket_as_too_slow_and_keeps_what_was_queued() {
        let (out, mut inbox) = outbox(2, 100);
        for text in ["a", "b", "c", "d"] {
            out.send(text.into());
        }
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
        assert_eq!(inbox.try_next().as_deref(), Some("a"));
        assert_eq!(inbox.try_next().as_deref(), Some("b"));
        assert_eq!(inbox.try_next(), None);
    }

    #[test]
    fn a_queue_is_bounded_in_bytes_too_give_or_take_one_frame() {
        let (out, mut inbox) = outbox(100, 10);
        for text in ["12345", "longer than ten"] {
            out.send(text.into());
            assert_eq!(*inbox.close.borrow(), None);
        }
        assert_eq!(inbox.try_next().as_deref(), Some("12345"));
        out.send("1".into());
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
    }

    #[test]
    fn the_first_reason_to_close_stands() {
        let (out, inbox) = outbox(1, 10);
        out.close(Close::Kicked);
        out.close(Close::Over);
        assert_eq!(*inbox.close.borrow(), Some(Close::Kicked));
    }
}
