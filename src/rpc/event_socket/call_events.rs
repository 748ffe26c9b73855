//! Having the EIM tell a user's calls to their sockets.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock::backoff::Backoff;
use crate::event::NumberedBy;
use crate::ids::UserId;

use super::EventSockets;

/// Between attempts to be told of the user's calls: doubled from the first to the last, since an EIM may know no calls.
const SUBSCRIBE_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Has the EIM tell the user's calls to this node, for as long as the socket is open.
pub(super) async fn subscribe(from: &EventSockets, user: &UserId, generation: u64, link_up: &Notify) {
    if from.config.events.numbered == NumberedBy::Gateway {
        // Such an EIM is asked for no subscription.
        return std::future::pending().await;
    }
    let mut backoff = Backoff::new(SUBSCRIBE_RETRY.0, SUBSCRIBE_RETRY.1);
    loop {
        from.sockets.bound(user).await;
        let asked = from.calls.as_user("eim.user.subscribe", user, &claim(from, generation)).await;
        match asked {
            Err(refusal) if refusal.is_retryable() => {
                // Sooner where the link comes back meanwhile.
                if timeout(backoff.pause(false, rand::random()), link_up.notified()).await.is_ok() {
                    backoff.reset();
                }
            }
            Err(refusal) => {
                tracing::debug!(%user, key = refusal.key(), "the EIM doesn't tell the user's calls");
                link_up.notified().await;
            }
            Ok(_) => link_up.notified().await,
        }
    }
}

/// Once: what the EIM doesn't hear is without harm, as nobody is here to be told, and the user's next socket replaces it.
pub(super) async fn unsubscribe(from: &EventSockets, user: &UserId, generation: u64) {
    if from.config.events.numbered == NumberedBy::Gateway || !from.eim.health().borrow().up {
        return;
    }
    let asked = from.calls.as_user("eim.user.unsubscribe", user, &claim(from, generation)).await;
    if let Err(refusal) = asked {
        tracing::debug!(%user, key = refusal.key(), "the EIM goes on telling the user's calls");
    }
}

/// Which socket of which node: the EIM ignores what an older one tells.
fn claim(from: &EventSockets, generation: u64) -> Map<String, Value> {
    [("node".to_owned(), from.config.node.id.as_str().into()), ("generation".to_owned(), generation.into())]
        .into_iter()
        .collect()
}
