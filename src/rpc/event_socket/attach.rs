//! Having the socket listen to its user's conferences.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::auth::Caller;
use crate::conference::{ConferenceRef, Start};
use crate::http::ws::send_queue::{Close, Outbox};
use crate::ids::ConfId;
use crate::refusal::Kind;
use crate::rpc::socket_session::SocketSession;

use super::EventSockets;

/// How long the first frame is waited for before conferences send their snapshots: it may be `events.resume`.
const FIRST_FRAME: Duration = Duration::from_millis(200);
/// How often a user's conferences, and the right to listen to one, are asked for where the answer was lost.
const RETRY: Duration = Duration::from_secs(5);

/// Lets the socket listen to its user's conferences, once it is known where it resumes from.
pub(super) async fn attach_conferences(
    from: &EventSockets,
    session: &SocketSession,
    outbox: &Outbox,
    device: Option<&str>,
    generation: u64,
) {
    if !session.has_positions()
        && timeout(FIRST_FRAME, session.positions_known()).await.is_err()
        && session.is_resuming()
    {
        session.positions_known().await;
    }
    let caller = session.caller();
    from.sockets.resume_from(&caller.user_id, generation, session.take_positions());
    // A user that must log in again gets nothing until they have.
    let conferences = conferences_of(from, &caller).await.unwrap_or_else(|| {
        outbox.close(Close::Token);
        Vec::new()
    });
    let user = &caller.user_id;
    let is_listed = |conf_id: &ConfId| conferences.iter().any(|listed| listed.conf_id == *conf_id);
    let inherited = from.sockets.inherited(user, generation).into_iter().filter(|conf_id| !is_listed(conf_id));
    // What is known to be a call stays one.
    let inherited: Vec<_> = inherited.map(|conf_id| ConferenceRef { conf_id, call: false }).collect();
    for conf in conferences.into_iter().chain(inherited) {
        if !may_listen(from, &caller, device, &conf.conf_id).await {
            continue;
        }
        from.sockets.attach_at(user, generation, &conf, Start::Snapshot).await;
    }
    std::future::pending().await
}

/// Whether the caller isn't barred; asked until the store or the EIM can say, since a socket outlives their absence.
async fn may_listen(from: &EventSockets, caller: &Caller, device: Option<&str>, conf_id: &ConfId) -> bool {
    loop {
        match from.authorization.may_enter(caller, device, conf_id).await {
            Ok(()) => return true,
            Err(refusal) if !refusal.is_retryable() => return false,
            Err(refusal) => tracing::info!(key = refusal.key(), "a socket's right to listen can't be checked yet"),
        }
        sleep(RETRY).await;
    }
}

/// The caller's conferences; asked for until the EIM answers, since a socket outlives the EIM's absence. `None`: the
/// caller must log in again.
async fn conferences_of(from: &EventSockets, caller: &Caller) -> Option<Vec<ConferenceRef>> {
    let mut health = from.eim.health();
    loop {
        match from.authorization.own_conferences(caller).await {
            Ok(conferences) => return Some(conferences),
            Err(refusal) if refusal.kind == Kind::Unauthenticated => return None,
            Err(refusal) => tracing::info!(key = refusal.key(), "a socket's conferences can't be listed yet"),
        }
        // Asked again when the link changes, and now and then for answers that were lost.
        if timeout(RETRY, health.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return Some(Vec::new());
        }
    }
}
