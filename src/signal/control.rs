//! A gateway's control link: orders in, reports out.

use std::sync::Arc;

use axum::extract::ws::{Message as Frame, WebSocket};
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Signal;
use crate::control::{QUEUE, ToNode};
use crate::media::Status;
use crate::outbox::{Close, Outbox, outbox};
use crate::wss::{MISSED_PINGS, write};

/// Serves one link to its end.
pub(super) async fn serve(signal: Arc<Signal>, socket: WebSocket, gateway: String) {
    tracing::info!(gateway, "a gateway's control link is open");
    let (outbox, inbox) = outbox(QUEUE, signal.settings.queue_bytes);
    let (sink, stream) = socket.split();
    tokio::select! {
        () = read(&signal, stream, &outbox) => {}
        () = report(signal.media.status(), &outbox) => {}
        () = write(sink, inbox, signal.settings.heartbeat) => {}
    }
    tracing::info!(gateway, "a gateway's control link has ended");
}

async fn read(signal: &Signal, mut stream: impl Stream<Item = Result<Frame, axum::Error>> + Unpin, outbox: &Outbox) {
    let heartbeat = signal.settings.heartbeat;
    let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    loop {
        tokio::select! {
            frame = stream.next() => {
                let Some(Ok(frame)) = frame else { return };
                unanswered = 0;
                let Frame::Text(text) = frame else { continue };
                match serde_json::from_str::<ToNode>(&text) {
                    Ok(order) => signal.media.order(order).await,
                    // A gateway of a later version may say more than this one knows.
                    Err(error) => {
                        metrics::counter!("confgate_control_unreadable_total").increment(1);
                        tracing::warn!(%error, "an order of a gateway's can't be read");
                    }
                }
            }
            _ = beat.tick() => {
                unanswered += 1;
                if unanswered > MISSED_PINGS {
                    outbox.close(Close::Silent);
                }
            }
        }
    }
}

/// Says how the node is, at once and whenever it is measured; ends the link when the node has stopped.
async fn report(mut status: watch::Receiver<Status>, outbox: &Outbox) {
    let mut told = None;
    loop {
        let now = status.borrow_and_update().clone();
        for report in now.news(told.as_ref()) {
            outbox.send(serde_json::to_string(&report).expect("a report has string keys").into());
        }
        told = Some(now);
        if status.changed().await.is_err() {
            outbox.close(Close::GoingAway);
            return std::future::pending().await;
        }
    }
}
