//! A client's socket: text frames to messages, and the outbox to text frames.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Signal;
use crate::media::message::{MESSAGE_MAX, Message, Unreadable};
use crate::media::{Client, Shown, Tokens};
use crate::outbox::{Close, Outbox, outbox};
use crate::wss::{MISSED_PINGS, write};

/// How long a peer may take to answer a close frame. What it had sent before is read meanwhile: closing over unread
/// data resets the connection, and the peer may never see why.
const CLOSING: Duration = Duration::from_secs(2);

/// Serves one socket to its end.
pub(super) async fn serve(signal: Arc<Signal>, mut socket: WebSocket, shown: Shown) {
    let settings = &signal.settings;
    let (outbox, inbox) = outbox(settings.queue_frames, settings.queue_bytes);
    let Some(client) = signal.media.open(shown, outbox.clone()).await else {
        let (code, reason) = (Close::GoingAway.code(), Close::GoingAway.reason().into());
        // The peer may be gone already.
        socket.send(Frame::Close(Some(CloseFrame { code, reason }))).await.ok();
        return;
    };
    let (sink, mut stream) = socket.split();
    let reading = Reading { client: &client, tokens: &signal.tokens, outbox: &outbox };
    let written = tokio::select! {
        () = reading.run(&mut stream, settings.heartbeat) => false,
        () = write(sink, inbox, settings.heartbeat) => true,
    };
    client.closed().await;
    if written {
        // A peer that never answers the close frame is cut.
        timeout(CLOSING, async { while let Some(Ok(_)) = stream.next().await {} }).await.ok();
    }
}

struct Reading<'a> {
    client: &'a Client,
    tokens: &'a Tokens,
    outbox: &'a Outbox,
}

impl Reading<'_> {
    async fn run(&self, mut stream: impl Stream<Item = Result<Frame, axum::Error>> + Unpin, heartbeat: Duration) {
        let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Pings sent since anything was heard.
        let mut unanswered = 0;
        loop {
            tokio::select! {
                frame = stream.next() => match frame {
                    Some(Ok(frame)) => {
                        unanswered = 0;
                        self.frame(frame).await;
                    }
                    Some(Err(_)) | None => return,
                },
                _ = beat.tick() => {
                    unanswered += 1;
                    if unanswered > MISSED_PINGS {
                        self.outbox.close(Close::Silent);
                    }
                }
            }
        }
    }

    async fn frame(&self, frame: Frame) {
        if self.outbox.is_closed() {
            // Told to go: whatever it still says is nothing any more.
            return;
        }
        let message = match frame {
            Frame::Text(text) if text.len() > MESSAGE_MAX => return self.outbox.close(Close::TooLarge),
            Frame::Text(text) => Message::read(&text),
            Frame::Binary(_) => Err(Unreadable),
            // The stream ends by itself once the close frame is answered.
            Frame::Pong(_) => return self.client.alive().await,
            Frame::Close(_) | Frame::Ping(_) => return,
        };
        let shown = match &message {
            Ok(Message::JoinRoom { token: Some(token), .. } | Message::Register { token: Some(token), .. }) => {
                self.tokens.client(token)
            }
            _ => Shown::Nothing,
        };
        self.client.say(message, shown).await;
    }
}
