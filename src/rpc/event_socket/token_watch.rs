//! The socket's end with its token.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast;

use crate::auth::{Caller, EndedLogin};
use crate::clock::date_ms;
use crate::conference::notification;
use crate::http::ws::send_queue::{Close, Outbox};
use crate::node_protocol::EndedBy;
use crate::rpc::socket_session::SocketSession;

/// How long before its deadline a token is said to expire, in milliseconds.
const EXPIRING_MS: u64 = 60_000;
/// How long the conference's own word is waited for, an event or a close: a part of the second within which the socket must
/// close, of which a node that reads of the end in the store has spent half.
const OWN_WORD: Duration = Duration::from_millis(250);

/// Ends the socket with its token: at the deadline, which a refresh moves, or at once when its family ends.
pub(super) async fn watch_token(
    session: &SocketSession,
    outbox: &Outbox,
    mut ended: broadcast::Receiver<EndedLogin>,
    is_ended: impl Fn(&Arc<Caller>) -> bool,
) {
    let mut caller = session.callers();
    let mut warned_for = 0;
    loop {
        let current = caller.borrow_and_update().clone();
        let now = date_ms();
        if current.deadline <= now {
            outbox.close(Close::Token);
            return std::future::pending().await;
        }
        let warn_at = current.deadline.saturating_sub(EXPIRING_MS);
        let wake_at = if warned_for == current.deadline { current.deadline } else { warn_at };
        let sleep = tokio::time::sleep(Duration::from_millis(wake_at.saturating_sub(now)));
        tokio::select! {
            () = sleep => {
                if warned_for != current.deadline {
                    warned_for = current.deadline;
                    outbox.send(notification("auth.expiring", &json!({"deadlineMs": current.deadline})).into());
                }
            }
            changed = caller.changed() => if changed.is_err() { return std::future::pending().await },
            login = ended.recv() => {
                let lagged = matches!(login, Err(broadcast::error::RecvError::Lagged(_)));
                if lagged && !is_ended(&current) {
                    continue;
                }
                let own = login.ok().filter(|login| login.family == current.family);
                if lagged || own.is_some() {
                    // Requests are refused already.
                    tokio::time::sleep(OWN_WORD).await;
                    outbox.close(own.map_or(Close::Token, |login| close_of(login.by)));
                    return std::future::pending().await;
                }
            }
        }
    }
}

fn close_of(by: EndedBy) -> Close {
    match by {
        EndedBy::Itself => Close::Token,
        EndedBy::Kick => Close::Kicked,
        EndedBy::Conference => Close::Over,
    }
}
