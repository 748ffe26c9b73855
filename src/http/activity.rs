//! The activity of one connection: written by its socket and its requests, read by the task that decides when to cut
//! it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

use super::Timeouts;
use super::forward::forward_writes;
use super::progress::Progress;
use super::slot::Slot;
use crate::rate_limit::account::Account;
use crate::sync;

const NEVER: u64 = u64::MAX;

/// Answers on their way that are remembered before those that have left are forgotten; a client may have about as many.
const ANSWERS: usize = 128;

/// Looking more often than this would be spinning, whatever the header time is set to.
const LEAST_LOOK: Duration = Duration::from_millis(10);

/// All times in ms since `begun`. Each field is a hint on its own, so no ordering between them is needed.
pub struct Activity {
    begun: Instant,
    /// HTTP/2 speaks between requests too (pings, window updates), so there a first byte means nothing.
    http2: bool,
    /// Requests whose answer has not begun yet.
    under_way: AtomicU32,
    /// When the last such request ended; `NEVER` before the first.
    ended: AtomicU64,
    /// When the first byte after that was read.
    heard: AtomicU64,
    upgraded: AtomicBool,
    flooded: AtomicBool,
    /// HTTP/2's answers on their way.
    answers: Mutex<Vec<Weak<Progress>>>,
}

/// The decision about an idle connection.
#[derive(Debug, PartialEq, Eq)]
pub enum IdleDecision {
    /// Look again then, at the latest.
    Until(Instant),
    /// Nothing is under way and nothing came: end it in good order.
    Idle,
    /// A head began and does not come: cut it.
    SlowHead,
    /// The client takes nothing of an answer: cut it.
    Stuck,
}

impl Activity {
    pub fn new(begun: Instant, http2: bool) -> Self {
        Self {
            begun,
            http2,
            under_way: AtomicU32::new(0),
            ended: AtomicU64::new(NEVER),
            heard: AtomicU64::new(NEVER),
            upgraded: AtomicBool::new(false),
            flooded: AtomicBool::new(false),
            answers: Mutex::default(),
        }
    }

    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Of an answer that begins now.
    pub fn progress(&self) -> Progress {
        Progress::new(self.begun)
    }

    /// Watches one more answer, for as long as any of it is left.
    pub fn watch(&self, progress: &Arc<Progress>) {
        let mut answers = self.answers();
        if answers.len() >= ANSWERS {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(progress));
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Weak<Progress>>> {
        sync::lock(&self.answers)
    }

    fn has_stuck_answer(&self, now: Instant, write: Duration) -> bool {
        let stuck = |progress: Arc<Progress>| now >= self.at(progress.at()) + write;
        self.answers().iter().filter_map(Weak::upgrade).any(stuck)
    }

    /// One request more, until the returned value is dropped.
    pub fn begin_request(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self)
    }

    pub fn set_upgraded(&self) {
        self.upgraded.store(true, Relaxed);
    }

    /// The client sends more than it may of what carries nothing.
    pub fn set_flooded(&self) {
        self.flooded.store(true, Relaxed);
    }

    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Relaxed)
    }

    /// Decides about the connection at `now`. A slow head, or an answer that isn't taken, is noticed at most a quarter
    /// of the head's time late.
    pub fn patience(&self, now: Instant, timeouts: &Timeouts) -> IdleDecision {
        if self.http2 && self.has_stuck_answer(now, timeouts.write) {
            return IdleDecision::Stuck;
        }
        let look_again = now + (timeouts.header / 4).max(LEAST_LOOK);
        // An upgraded connection is watched by the code that serves the new protocol.
        if self.upgraded.load(Relaxed) || self.under_way.load(Relaxed) > 0 {
            return IdleDecision::Until(look_again);
        }
        let (ended, heard) = (self.ended.load(Relaxed), self.heard.load(Relaxed));
        let head_since = if ended == NEVER { Some(0) } else { (heard != NEVER).then_some(heard) };
        let (deadline, over) = match head_since {
            Some(since) => (self.at(since) + timeouts.header, IdleDecision::SlowHead),
            None => (self.at(ended) + timeouts.idle, IdleDecision::Idle),
        };
        if now >= deadline { over } else { IdleDecision::Until(deadline.min(look_again)) }
    }

    fn at(&self, since_begun_ms: u64) -> Instant {
        self.begun + Duration::from_millis(since_begun_ms)
    }

    pub fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn note_read(&self) {
        if !self.http2 && self.heard.load(Relaxed) == NEVER {
            self.heard.store(self.now(), Relaxed);
        }
    }
}

/// A request under way.
pub struct UnderWay<'a>(&'a Activity);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.store(self.0.now(), Relaxed);
        self.0.heard.store(NEVER, Relaxed);
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// A connection's socket: reports what it reads, and holds the connection's slot and account for as long as it is open,
/// also after it was upgraded and handed to another task.
pub struct ActivityStream<IO> {
    io: IO,
    activity: Arc<Activity>,
    _slot: Slot,
    _account: Arc<Account>,
}

impl<IO> ActivityStream<IO> {
    pub fn new(io: IO, activity: Arc<Activity>, slot: Slot, account: Arc<Account>) -> Self {
        Self { io, activity, _slot: slot, _account: account }
    }
}

impl<IO: Read + Unpin> Read for ActivityStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.activity.note_read();
        }
        polled
    }
}

impl<IO: Write + Unpin> Write for ActivityStream<IO> {
    forward_writes!(io);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    fn timeouts() -> Timeouts {
        Timeouts { header: HEADER, write: IDLE, idle: IDLE, ..Timeouts::from(&Config::default()) }
    }

    #[tokio::test]
    async fn the_first_request_must_come_within_the_header_time_on_either_protocol() {
        for http2 in [false, true] {
            let begun = Instant::now();
            let activity = Activity::new(begun, http2);
            assert_eq!(activity.patience(begun, &timeouts()), IdleDecision::Until(begun + HEADER / 4));
            let late = begun + HEADER - Duration::from_millis(1);
            assert_eq!(activity.patience(late, &timeouts()), IdleDecision::Until(begun + HEADER));
            assert_eq!(activity.patience(begun + HEADER, &timeouts()), IdleDecision::SlowHead);
        }
    }

    #[tokio::test]
    async fn a_request_under_way_is_waited_for_and_then_the_connection_is_idle() {
        let begun = Instant::now();
        let activity = Activity::new(begun, false);
        activity.note_read();
        let request = activity.begin_request();
        assert!(matches!(activity.patience(begun + 100 * IDLE, &timeouts()), IdleDecision::Until(_)));
        drop(request);
        let ended = Instant::now();
        assert!(matches!(activity.patience(ended + IDLE - HEADER, &timeouts()), IdleDecision::Until(_)));
        assert_eq!(activity.patience(ended + IDLE, &timeouts()), IdleDecision::Idle);
    }

    #[tokio::test]
    async fn a_later_head_has_the_header_time_from_its_first_byte() {
        for (http2, after_the_header_time) in [(false, true), (true, false)] {
            let activity = Activity::new(Instant::now(), http2);
            drop(activity.begin_request());
            activity.note_read();
            let over = activity.patience(Instant::now() + HEADER, &timeouts());
            assert_eq!(over == IdleDecision::SlowHead, after_the_header_time, "http2: {http2}");
        }
    }

    #[tokio::test]
    async fn an_upgraded_connection_is_left_alone() {
        let activity = Activity::new(Instant::now(), false);
        activity.set_upgraded();
        assert!(matches!(activity.patience(Instant::now() + 100 * IDLE, &timeouts()), IdleDecision::Until(_)));
    }
}
