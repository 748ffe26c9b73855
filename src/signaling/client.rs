//! A client's socket: text frames to messages.

use std::sync::Arc;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Signal;
use crate::http::ws::pump::{self, FrameHandler, IncomingFrame};
use crate::http::ws::send_queue::{Close, outbox};
use crate::http::ws::socket::WebSocket;
use crate::media::message::{MESSAGE_MAX, Message, Unreadable};
use crate::media::{Client, ClientCredentials, Tokens};
use crate::rate_limit::account::SocketSlot;

/// Serves one socket to its end.
pub(super) async fn serve(
    signal: Arc<Signal>,
    mut socket: WebSocket,
    credentials: ClientCredentials,
    slot: SocketSlot,
) {
    let settings = &signal.settings;
    let (outbox, inbox) = outbox(settings.queue_frames, settings.queue_bytes, slot.account());
    let Some(client) = signal.media.open(credentials, outbox).await else {
        let (code, reason) = (Close::GoingAway.code().into(), Close::GoingAway.reason().into());
        // The peer may be gone already.
        socket.send(Frame::Close(Some(CloseFrame { code, reason }))).await.ok();
        return;
    };
    let mut reading = SocketReader { client: &client, tokens: &signal.tokens };
    let farewell = pump::run(socket, inbox, slot.account(), &mut reading, settings.pace).await;
    client.closed().await;
    farewell.send_close().await;
}

struct SocketReader<'a> {
    client: &'a Client,
    tokens: &'a Tokens,
}

impl FrameHandler for SocketReader<'_> {
    async fn on_frame(&mut self, heard: IncomingFrame) -> Result<(), Close> {
        let message = match heard {
            IncomingFrame::Text(text) if text.len() > MESSAGE_MAX => return Err(Close::TooLarge),
            IncomingFrame::Text(text) => Message::read(&text),
            IncomingFrame::Binary => Err(Unreadable),
            IncomingFrame::Pong => {
                self.client.alive().await;
                return Ok(());
            }
        };
        let credentials = match &message {
            Ok(Message::JoinRoom { token: Some(token), .. } | Message::Register { token: Some(token), .. }) => {
                self.tokens.client(token)
            }
            _ => ClientCredentials::Nothing,
        };
        self.client.on_message(message, credentials).await;
        Ok(())
    }
}
