//! A client's socket: text frames to messages.

use std::sync::Arc;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Signal;
use crate::http::ws::pump::{self, Heard, Reader};
use crate::http::ws::send_queue::{Close, outbox};
use crate::http::ws::socket::WebSocket;
use crate::media::message::{MESSAGE_MAX, Message, Unreadable};
use crate::media::{Client, Shown, Tokens};
use crate::rate_limit::account::SocketSlot;

/// Serves one socket to its end.
pub(super) async fn serve(signal: Arc<Signal>, mut socket: WebSocket, shown: Shown, slot: SocketSlot) {
    let settings = &signal.settings;
    let (outbox, inbox) = outbox(settings.queue_frames, settings.queue_bytes, slot.account());
    let Some(client) = signal.media.open(shown, outbox).await else {
        let (code, reason) = (Close::GoingAway.code().into(), Close::GoingAway.reason().into());
        // The peer may be gone already.
        socket.send(Frame::Close(Some(CloseFrame { code, reason }))).await.ok();
        return;
    };
    let mut reading = SocketReader { client: &client, tokens: &signal.tokens };
    let farewell = pump::run(socket, inbox, slot.account(), &mut reading, settings.pace).await;
    client.closed().await;
    farewell.say().await;
}

struct SocketReader<'a> {
    client: &'a Client,
    tokens: &'a Tokens,
}

impl Reader for SocketReader<'_> {
    async fn take(&mut self, heard: Heard) -> Result<(), Close> {
        let message = match heard {
            Heard::Text(text) if text.len() > MESSAGE_MAX => return Err(Close::TooLarge),
            Heard::Text(text) => Message::read(&text),
            Heard::Binary => Err(Unreadable),
            Heard::Pong => {
                self.client.alive().await;
                return Ok(());
            }
        };
        let shown = match &message {
            Ok(Message::JoinRoom { token: Some(token), .. } | Message::Register { token: Some(token), .. }) => {
                self.tokens.client(token)
            }
            _ => Shown::Nothing,
        };
        self.client.say(message, shown).await;
        Ok(())
    }
}
