//! A gateway's control link: orders in, reports out.

use std::sync::Arc;

use tokio::sync::watch;

use super::Signal;
use crate::http::ws::pump::{self, FrameHandler, IncomingFrame};
use crate::http::ws::send_queue::{Close, Outbox, outbox};
use crate::http::ws::socket::WebSocket;
use crate::media::Status;
use crate::node_protocol::{QUEUE, ToNode};
use crate::rate_limit::account::SocketSlot;

/// Serves one link to its end.
pub(super) async fn serve(signal: Arc<Signal>, socket: WebSocket, gateway: String, slot: SocketSlot) {
    tracing::info!(gateway, "a gateway's control link is open");
    let (outbox, inbox) = outbox(QUEUE, signal.settings.queue_bytes, slot.account());
    let mut commands = CommandReader(&signal);
    let farewell = tokio::select! {
        farewell = pump::run(socket, inbox, slot.account(), &mut commands, signal.settings.pace) => Some(farewell),
        () = report(signal.media.status(), &outbox) => None,
    };
    tracing::info!(gateway, "a gateway's control link has ended");
    if let Some(farewell) = farewell {
        farewell.send_close().await;
    }
}

struct CommandReader<'a>(&'a Signal);

impl FrameHandler for CommandReader<'_> {
    async fn on_frame(&mut self, heard: IncomingFrame) -> Result<(), Close> {
        let IncomingFrame::Text(text) = heard else { return Ok(()) };
        match serde_json::from_str::<ToNode>(&text) {
            Ok(order) => self.0.media.send_control(order).await,
            // A gateway of a later version may say more than this one knows.
            Err(error) => {
                metrics::counter!("confgate_control_unreadable_total").increment(1);
                tracing::warn!(%error, "an order of a gateway's can't be read");
            }
        }
        Ok(())
    }
}

/// Says how the node is, at once and whenever it is measured; ends the link when the node has stopped.
async fn report(mut status: watch::Receiver<Status>, outbox: &Outbox) {
    let mut reported = None;
    loop {
        let now = status.borrow_and_update().clone();
        for report in now.changes_since(reported.as_ref()) {
            outbox.send(serde_json::to_string(&report).expect("a report has string keys").into());
        }
        reported = Some(now);
        if status.changed().await.is_err() {
            outbox.close(Close::GoingAway);
            return std::future::pending().await;
        }
    }
}
