//! A WebSocket from its upgrade to its end, for whatever is spoken over it: what is written, read, counted and timed.
//!
//! Nothing is read while something is being written, so a client that doesn't read is not heard either, and at most one
//! pong waits for it (RFC 6455, section 5.5.3). A frame that isn't taken in time cuts the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::clock::Moment;
use crate::http::ws::send_queue::{Close, Inbox};
use crate::http::ws::socket::WebSocket;
use crate::rate_limit::account::Account;
use crate::rate_limit::limiter::{Limiter, Rate};

/// Pings that may go unanswered.
pub const MISSED_PINGS: u32 = 2;

/// How long a peer may take for the last frames, and to answer the close frame. The frames it had sent before are read
/// meanwhile: closing over unread data resets the connection, and the peer may never see why.
const CLOSING: Duration = Duration::from_secs(2);

/// The pace of a socket: its pings and time limits.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two pings.
    pub heartbeat: Duration,
    /// For one frame to be taken.
    pub write_timeout: Duration,
    /// Pings, and pongs that nobody asked for, that a client may send; one more and it is closed.
    pub pings_per_minute: u32,
}

/// A frame from a client.
pub enum IncomingFrame {
    /// A text frame.
    Text(Utf8Bytes),
    /// A binary frame.
    Binary,
    /// It lives.
    Pong,
}

/// Handles the frames of a socket.
pub trait FrameHandler: Send {
    /// Resolves when the next frame may be read. Dropped and asked for again at any time.
    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Takes what was heard, or closes the socket.
    fn on_frame(&mut self, frame: IncomingFrame) -> impl Future<Output = Result<(), Close>> + Send;
}

/// The reason of the socket's end.
enum End {
    /// The peer is gone, or has closed the socket.
    Gone,
    /// Something isn't taken in time.
    Stuck,
    Close(Close),
    /// The peer's frames can't be read any further.
    Unreadable(Close),
}

enum Step {
    Close(Close),
    Beat,
    Ping,
    Write(crate::http::ws::send_queue::Taken),
    Frame(Option<Result<Message, tungstenite::Error>>),
}

/// A socket that has ended, and that may still be sent a close frame.
pub struct Closing {
    socket: WebSocket,
    inbox: Inbox,
    end: End,
}

/// Serves the socket until it is to be closed, or is gone. `account`: its connection's.
pub async fn run(
    socket: WebSocket,
    inbox: Inbox,
    account: &Arc<Account>,
    reader: &mut impl FrameHandler,
    pace: Pace,
) -> Closing {
    let mut beat = interval_at(Instant::now() + pace.heartbeat, pace.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let closing = inbox.close.clone();
    let floods = Limiter::new(Rate::per_minute(pace.pings_per_minute), 1);
    let mut pump =
        Pump { socket, inbox, closing, pace, floods, owed: 0, unanswered: 0, may_read: AtomicBool::new(true) };
    let end = loop {
        if let Err(end) = pump.step(&mut beat, reader).await {
            break end;
        }
    };
    if matches!(end, End::Stuck) {
        metrics::counter!("confgate_clients_stuck_total").increment(1);
        account.condemn();
    }
    Closing { socket: pump.socket, inbox: pump.inbox, end }
}

struct Pump {
    socket: WebSocket,
    inbox: Inbox,
    closing: watch::Receiver<Option<Close>>,
    pace: Pace,
    floods: Limiter<()>,
    /// Pongs that our pings ask for.
    owed: u32,
    /// Pings sent since anything was heard.
    unanswered: u32,
    /// Whether the reader takes anything now; a client isn't silent while it is not listened to.
    may_read: AtomicBool,
}

impl Pump {
    async fn step(&mut self, beat: &mut Interval, reader: &mut impl FrameHandler) -> Result<(), End> {
        match self.next(beat, reader).await {
            Step::Close(why) => Err(End::Close(why)),
            Step::Beat => {
                if self.may_read.load(Relaxed) {
                    self.unanswered += 1;
                }
                if self.unanswered > MISSED_PINGS { Err(End::Close(Close::Silent)) } else { self.ping().await }
            }
            Step::Ping => self.ping().await,
            Step::Write(taken) => self.deliver(Some(Message::Text(taken.frame().text()))).await,
            Step::Frame(None) => Err(End::Gone),
            // The flood guard knows the reason better than the error of the read.
            Step::Frame(Some(Err(_))) if self.socket.get_ref().is_flooded() => Err(End::Unreadable(Close::TooMany)),
            Step::Frame(Some(Err(error))) => Err(unreadable(&error)),
            Step::Frame(Some(Ok(message))) => {
                self.socket.get_mut().message(message.len());
                self.unanswered = 0;
                self.on_message(message, reader).await
            }
        }
    }

    /// The order to close and the clock come first, whatever the client sends; and what waits for the client comes before
    /// what it says next.
    async fn next(&mut self, beat: &mut Interval, reader: &mut impl FrameHandler) -> Step {
        let Self { socket, inbox, closing, may_read, .. } = self;
        let pinged = inbox.pinged();
        let reading = async {
            may_read.store(false, Relaxed);
            reader.ready().await;
            may_read.store(true, Relaxed);
            socket.next().await
        };
        let either_way = async {
            tokio::select! {
                biased;
                Some(taken) = inbox.next() => Step::Write(taken),
                frame = reading => Step::Frame(frame),
            }
        };
        tokio::select! {
            biased;
            why = ordered(closing) => Step::Close(why),
            _ = beat.tick() => Step::Beat,
            () = pinged => Step::Ping,
            step = either_way => step,
        }
    }

    async fn on_message(&mut self, message: Message, reader: &mut impl FrameHandler) -> Result<(), End> {
        let frame = match message {
            Message::Text(text) => IncomingFrame::Text(text),
            Message::Binary(_) => IncomingFrame::Binary,
            Message::Ping(_) => {
                self.count_flood()?;
                // The pong was queued by reading; the next frame is read when it has left.
                return self.deliver(None).await;
            }
            Message::Pong(_) if self.owed > 0 => {
                self.owed -= 1;
                IncomingFrame::Pong
            }
            Message::Pong(_) => {
                self.count_flood()?;
                IncomingFrame::Pong
            }
            // The stream ends by itself once the close frame is answered.
            Message::Close(_) | Message::Frame(_) => return Ok(()),
        };
        reader.on_frame(frame).await.map_err(End::Close)
    }

    fn count_flood(&mut self) -> Result<(), End> {
        self.floods.allow(&(), Moment::now()).map_err(|_| End::Close(Close::TooMany))
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.owed = self.owed.saturating_add(1);
        self.deliver(Some(Message::Ping(Bytes::new()))).await
    }

    /// Writes the frame, and what waits to be written; `None`: only that.
    async fn deliver(&mut self, frame: Option<Message>) -> Result<(), End> {
        let Self { socket, closing, pace, .. } = self;
        let sending = async {
            match frame {
                Some(frame) => socket.send(frame).await,
                None => socket.flush().await,
            }
        };
        tokio::select! {
            biased;
            sent = timeout(pace.write_timeout, sending) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Stuck),
            },
            // A peer that takes nothing must not hold up the order to close.
            why = overdue(closing) => Err(End::Close(why)),
        }
    }
}

async fn ordered(closing: &mut watch::Receiver<Option<Close>>) -> Close {
    match closing.wait_for(Option::is_some).await.map(|why| *why) {
        Ok(Some(why)) => why,
        // Nobody is left who could order it.
        Ok(None) | Err(_) => Close::GoingAway,
    }
}

/// Resolves some time after the order to close; at once where the peer is too slow anyway.
async fn overdue(closing: &mut watch::Receiver<Option<Close>>) -> Close {
    let why = ordered(closing).await;
    if why != Close::TooSlow {
        tokio::time::sleep(CLOSING).await;
    }
    why
}

/// The close code of RFC 6455 for an input that can't be read on.
fn unreadable(error: &tungstenite::Error) -> End {
    use tungstenite::Error;
    match error {
        Error::Capacity(_) => End::Unreadable(Close::TooLarge),
        Error::Utf8(_) => End::Unreadable(Close::BadText),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => End::Unreadable(Close::BadFrames),
        _ => End::Gone,
    }
}

impl Closing {
    /// Whether somebody is there who takes what is said.
    pub fn can_be_sent(&self) -> bool {
        matches!(self.end, End::Close(why) if !matches!(why, Close::TooSlow | Close::Silent))
    }

    /// Says why, if there is a peer to read it.
    pub async fn send_close(self) {
        let Self { mut socket, mut inbox, end } = self;
        let (why, lost) = match end {
            End::Gone | End::Stuck => return,
            End::Close(why) => (why, false),
            End::Unreadable(why) => (why, true),
        };
        let final_frames = async {
            // Frames that were queued before the order to close still go out, if the client takes them.
            while let Some(taken) = inbox.try_next().filter(|_| why != Close::TooSlow) {
                socket.feed(Message::Text(taken.frame().text())).await?;
            }
            socket
                .send(Message::Close(Some(CloseFrame { code: why.code().into(), reason: why.reason().into() })))
                .await?;
            if lost {
                // The peer's further frames can't be read. It needs a moment to read this.
                std::future::pending::<()>().await;
            }
            while let Some(Ok(_)) = socket.next().await {}
            Ok::<(), tungstenite::Error>(())
        };
        timeout(CLOSING, final_frames).await.ok();
    }
}
