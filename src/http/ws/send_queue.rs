//! The way to a client's socket: a queue bounded in frames and bytes, which count for the client's connection and
//! address block too, and the order to close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::frame::Frame;
use metrics::Gauge;
use tokio::sync::{Notify, mpsc, watch};

use crate::rate_limit::account::{Account, Full, Held};

/// The reason why a socket is closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The token is over or missing.
    Token,
    /// The member was kicked.
    Kicked,
    /// The member was denied.
    Denied,
    /// The conference is over.
    Over,
    /// The client doesn't read fast enough.
    TooSlow,
    /// The user has opened another socket.
    TakenOver,
    /// The process is stopping.
    GoingAway,
    /// The client does not answer pings.
    Silent,
    /// Nothing that admits to where the client wants to go.
    Unauthorized,
    /// More messages than a client may send.
    TooMany,
    /// A message longer than any may be.
    TooLarge,
    /// A message of a kind that means nothing here.
    Unsupported,
    /// Text that isn't UTF-8.
    BadText,
    /// Frames that RFC 6455 doesn't allow.
    BadFrames,
    /// There is no room for the client now.
    Later,
}

impl Close {
    /// The close code (RFC 6455, section 7.4).
    pub fn code(self) -> u16 {
        match self {
            Close::Token | Close::Unauthorized => 4001,
            Close::Kicked | Close::Denied => 4003,
            Close::Over => 4004,
            Close::TooSlow | Close::TooMany => 4008,
            Close::TakenOver => 4009,
            Close::GoingAway | Close::Silent => 1001,
            // RFC 6455 section 7.4.1, and its registry.
            Close::BadFrames => 1002,
            Close::Unsupported => 1003,
            Close::BadText => 1007,
            Close::TooLarge => 1009,
            Close::Later => 1013,
        }
    }

    /// The reason in the close frame.
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
            Close::Unsupported => "text only",
            Close::BadText => "text must be UTF-8",
            Close::BadFrames => "not as RFC 6455 says",
            Close::Later => "try again later",
        }
    }
}

/// The sending side: cloneable, never waits. When the queue is full the socket is closed as too slow and whatever is
/// sent later is dropped: the client resumes from the last event that it has.
#[derive(Clone)]
pub struct Outbox {
    frames: mpsc::Sender<Frame>,
    queued: Arc<Queued>,
    max_bytes: usize,
    max_frames: usize,
    ping: Arc<Notify>,
    close: watch::Sender<Option<Close>>,
}

/// The socket's side.
pub struct Inbox {
    frames: mpsc::Receiver<Frame>,
    queued: Arc<Queued>,
    ping: Arc<Notify>,
    /// The order to close.
    pub close: watch::Receiver<Option<Close>>,
}

/// The bytes that wait in one queue, and in the gauge those of all.
struct Queued {
    bytes: AtomicUsize,
    /// Of these, the one frame that is larger than the bound: what comes behind a long snapshot is not late for it.
    large: AtomicUsize,
    all: Gauge,
    held: Held,
    /// Told whenever something has left the queue.
    left: Notify,
}

impl Queued {
    /// Counts the bytes; gives the bytes that waited before.
    fn add(&self, bytes: usize) -> Result<usize, Full> {
        self.held.hold(bytes)?;
        self.all.increment(bytes as f64);
        Ok(self.bytes.fetch_add(bytes, Ordering::Relaxed))
    }

    /// The bytes that may wait while such a frame waits.
    fn grant(&self, bytes: usize, max_bytes: usize) -> usize {
        let relaxed = Ordering::Relaxed;
        if bytes > max_bytes {
            // A second one waits as any other frame.
            self.large.compare_exchange(0, bytes, relaxed, relaxed).ok();
        }
        max_bytes + self.large.load(relaxed)
    }

    fn take(&self, bytes: usize) {
        self.large.compare_exchange(bytes, 0, Ordering::Relaxed, Ordering::Relaxed).ok();
        self.held.release(bytes);
        self.all.decrement(bytes as f64);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.left.notify_waiters();
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.all.decrement(*self.bytes.get_mut() as f64);
    }
}

/// A frame that is being written: it counts as waiting until it is.
pub struct Taken {
    text: Frame,
    queued: Arc<Queued>,
}

impl Taken {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.text
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.queued.take(self.text.len());
    }
}

/// The queue of one socket, whose bytes count for that account.
pub fn outbox(max_frames: usize, max_bytes: usize, account: &Arc<Account>) -> (Outbox, Inbox) {
    let (tx, rx) = mpsc::channel(max_frames);
    let (close_tx, close_rx) = watch::channel(None);
    let queued = Arc::new(Queued {
        bytes: AtomicUsize::new(0),
        large: AtomicUsize::new(0),
        all: metrics::gauge!("confgate_socket_queue_bytes"),
        held: Held::nothing(account.clone()),
        left: Notify::new(),
    });
    let ping = Arc::new(Notify::new());
    let outbox =
        Outbox { frames: tx, queued: queued.clone(), max_bytes, max_frames, ping: ping.clone(), close: close_tx };
    (outbox, Inbox { frames: rx, queued, ping, close: close_rx })
}

impl Outbox {
    /// Queues a frame; closes a socket whose queue is full.
    pub fn send(&self, frame: Frame) {
        if !self.is_closed() {
            self.queue(frame);
        }
    }

    fn queue(&self, frame: Frame) {
        let size = frame.len();
        let Ok(waiting) = self.queued.add(size) else { return self.lags() };
        // The bytes that already wait decide, not the frame itself: a page of messages that the client asked for may be
        // larger than the bound, and must not end its socket.
        if waiting > self.queued.grant(size, self.max_bytes) || self.frames.try_send(frame).is_err() {
            self.queued.take(size);
            self.lags();
        }
    }

    /// Sends what the client asked for: waits until no more than half of the queue is taken, which leaves the other half
    /// to what comes unasked. After the order to close it goes out before the close frame, also where it is what was
    /// asked that led to the close.
    pub async fn send_when_room(&self, frame: Frame) {
        let mut close = self.close.subscribe();
        loop {
            // Made before the look, so that nothing that leaves after it is missed.
            let left = self.queued.left.notified();
            let waiting = self.queued.bytes.load(Ordering::Relaxed);
            let half_free = self.frames.capacity() * 2 >= self.max_frames;
            if half_free && (waiting == 0 || waiting + frame.len() <= self.max_bytes / 2) {
                return self.answer(frame);
            }
            tokio::select! {
                () = left => {}
                _ = close.wait_for(Option::is_some) => return self.answer(frame),
            }
        }
    }

    fn answer(&self, frame: Frame) {
        if *self.close.borrow() != Some(Close::TooSlow) {
            self.queue(frame);
        }
    }

    fn lags(&self) {
        metrics::counter!("confgate_socket_lagged_total").increment(1);
        self.close(Close::TooSlow);
    }

    /// Sends a ping at once, beside those of the heartbeat.
    pub fn ping(&self) {
        self.ping.notify_one();
    }

    /// Whether the order to close was given.
    pub fn is_closed(&self) -> bool {
        self.close.borrow().is_some()
    }

    /// The first reason stands. Frames that were queued before are still sent.
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
    /// Waits for the next frame; `None` where no sender is left.
    pub async fn next(&mut self) -> Option<Taken> {
        let text = self.frames.recv().await?;
        Some(Taken { text, queued: self.queued.clone() })
    }

    /// Resolves when a ping is to be sent.
    pub fn pinged(&self) -> impl Future<Output = ()> + Send + use<> {
        let ping = self.ping.clone();
        async move { ping.notified().await }
    }

    /// The frame that is queued now, without waiting.
    pub fn try_next(&mut self) -> Option<Taken> {
        let text = self.frames.try_recv().ok()?;
        Some(Taken { text, queued: self.queued.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate_limit::account::{Accounts, Bounds};

    fn queue(frames: usize, bytes: usize) -> (Outbox, Inbox) {
        let most = usize::MAX;
        let bounds = Bounds {
            connects_per_minute: 1,
            connections_per_block: most,
            sockets_per_block: most,
            bytes_per_connection: 1000,
            bytes_per_block: most,
            bytes: most,
        };
        let account = Accounts::new(bounds).connect("192.0.2.1".parse().expect("an address")).expect("room");
        outbox(frames, bytes, &account)
    }

    fn next(inbox: &mut Inbox) -> Option<String> {
        inbox.try_next().map(|taken| taken.frame().to_string())
    }

    #[test]
    fn a_full_queue_closes_the_socket_as_too_slow_and_keeps_what_was_queued() {
        let (out, mut inbox) = queue(2, 100);
        for text in ["a", "b", "c", "d"] {
            out.send(text.into());
        }
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
        assert_eq!((next(&mut inbox).as_deref(), next(&mut inbox).as_deref()), (Some("a"), Some("b")));
        assert_eq!(next(&mut inbox), None);
    }

    #[test]
    fn a_queue_is_bounded_in_bytes_too_give_or_take_one_frame() {
        let (out, inbox) = queue(100, 10);
        for text in ["12345", "123456"] {
            out.send(text.into());
            assert_eq!(*inbox.close.borrow(), None);
        }
        out.send("1".into());
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
    }

    #[test]
    fn frames_behind_one_larger_than_the_queue_close_nothing_and_a_second_such_frame_does() {
        let (out, mut inbox) = queue(100, 10);
        for text in ["longer than ten", "12345", "123456"] {
            out.send(text.into());
            assert_eq!(*inbox.close.borrow(), None);
        }
        assert_eq!(next(&mut inbox).as_deref(), Some("longer than ten"));
        assert_eq!(next(&mut inbox).as_deref(), Some("12345"));
        out.send("as long as before".into());
        out.send("12345".into());
        assert_eq!(*inbox.close.borrow(), None);
        out.send("a second long one".into());
        out.send("1".into());
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
    }

    #[test]
    fn frame_beyond_the_connections_bound_closes_the_socket() {
        let (out, inbox) = queue(100, 2000);
        out.send("x".repeat(1000).into());
        assert_eq!(*inbox.close.borrow(), None);
        out.send("x".into());
        assert_eq!(*inbox.close.borrow(), Some(Close::TooSlow));
    }

    #[tokio::test]
    async fn an_answer_waits_until_half_of_the_queue_is_free() {
        let (out, mut inbox) = queue(100, 10);
        out.send("12345".into());
        let waiting = out.send_when_room("6".into());
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::ZERO, waiting.as_mut()).await.is_err());
        // Being written, it still counts.
        let taken = inbox.next().await.expect("it was queued");
        assert!(tokio::time::timeout(Duration::ZERO, waiting.as_mut()).await.is_err());
        drop(taken);
        waiting.await;
        assert_eq!(next(&mut inbox).as_deref(), Some("6"));
    }

    #[tokio::test]
    async fn after_the_order_to_close_answers_are_queued_and_news_are_not() {
        let (out, mut inbox) = queue(4, 100);
        out.close(Close::Over);
        out.send("news".into());
        out.send_when_room("answer".into()).await;
        assert_eq!((next(&mut inbox).as_deref(), next(&mut inbox)), (Some("answer"), None));
    }

    #[tokio::test]
    async fn nobody_waits_for_room_in_a_socket_that_is_closed() {
        let (out, _inbox) = queue(100, 10);
        out.send("12345".into());
        out.close(Close::Kicked);
        out.send_when_room("6".into()).await;
    }

    #[test]
    fn the_first_reason_to_close_stands() {
        let (out, inbox) = queue(1, 10);
        out.close(Close::Kicked);
        out.close(Close::Over);
        assert_eq!(*inbox.close.borrow(), Some(Close::Kicked));
    }
}
