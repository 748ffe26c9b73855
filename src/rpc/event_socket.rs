//! The event socket: JSON-RPC both ways, and the conference's events out of a bounded queue.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::auth::{Caller, EndedLogin};
use crate::backoff::Backoff;
use crate::clock::date_ms;
use crate::conference::sockets::Opened;
use crate::conference::{ConferenceRef, Position, Start, notification};
use crate::http::ws::Frame;
use crate::http::ws::pump::{self, Closing, FrameHandler, IncomingFrame, Pace};
use crate::http::ws::send_queue::{Close, Outbox, outbox};
use crate::http::ws::socket::WebSocket;
use crate::ids::{ConfId, UserId};
use crate::rate_limit::account::{Account, Held, SocketSlot};
use crate::refusal::{Kind, Refusal};
use crate::rpc::{Context, Door, SocketSide, own_conferences};

/// How long the first frame is waited for before conferences are greeted with snapshots: it may be `events.resume`.
const FIRST_FRAME: Duration = Duration::from_millis(200);
/// How long before its deadline a token is said to expire, in milliseconds.
const EXPIRING_MS: u64 = 60_000;
/// How long a better reason than the token's end is waited for: half of the second within which the socket must close.
const BETTER_REASON: Duration = Duration::from_millis(500);
/// Between attempts to be told of the user's calls: doubled from the first to the last, since an EIM may know no calls.
const SUBSCRIBE_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// How long requests under way hold up the close: what led to it, a conference's end or a logout, is one of them.
const ANSWERS: Duration = Duration::from_millis(500);

/// The opener of a socket, and the positions from where it resumes.
pub struct Opening {
    /// The opener.
    pub caller: Arc<Caller>,
    /// The client's address.
    pub address: IpAddr,
    /// The browser's id, from its cookie.
    pub device: Option<String>,
    /// The positions to resume from.
    pub positions: Vec<(ConfId, Position)>,
    /// The slot that the socket holds.
    pub slot: SocketSlot,
}

/// The state that the socket's requests and its own task share.
struct Shared {
    caller: watch::Sender<Arc<Caller>>,
    /// Positions by `events.resume`; `None` once conferences are greeted, when more are of no use.
    positions: Mutex<Option<Vec<(ConfId, Position)>>>,
    /// Whether the first frame is being answered, which says where to resume from.
    resumes: AtomicBool,
    /// Told when it is known where from.
    send_hello: Notify,
}

impl Shared {
    fn positions(&self) -> MutexGuard<'_, Option<Vec<(ConfId, Position)>>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketSide for Shared {
    fn caller(&self) -> Arc<Caller> {
        self.caller.borrow().clone()
    }

    fn resume(&self, positions: Vec<(ConfId, Position)>) {
        if let Some(known) = self.positions().as_mut() {
            known.extend(positions);
        }
    }

    fn renew(&self, caller: Arc<Caller>) {
        self.caller.send_replace(caller);
    }
}

/// Serves one socket to its end.
pub async fn serve(door: Arc<Door>, socket: WebSocket, opening: Opening) {
    let limits = &door.config.limits;
    let account = opening.slot.account();
    let (outbox, inbox) = outbox(limits.socket_queue_frames, limits.socket_queue_bytes, account);
    let user = opening.caller.user_id.clone();
    let ended = door.entry.ended_families();
    let Opened { generation, link_up } =
        door.sockets.open(&opening.caller.user_id, opening.caller.is_guest(), &opening.caller.family, outbox.clone());
    let is_guest = opening.caller.is_guest();
    hello(&door, &outbox);
    let shared = Arc::new(Shared {
        caller: watch::Sender::new(opening.caller),
        positions: Mutex::new(Some(opening.positions)),
        resumes: AtomicBool::new(false),
        send_hello: Notify::new(),
    });
    let mut reading = SocketReader {
        door: door.clone(),
        shared: shared.clone(),
        outbox: outbox.clone(),
        address: opening.address,
        account: account.clone(),
        device: opening.device.clone(),
        requests: JoinSet::new(),
        permits: Arc::new(Semaphore::new(limits.socket_requests)),
        permit: None,
        whole: None,
        heard: false,
    };
    let pace = Pace {
        heartbeat: limits.heartbeat,
        write_timeout: limits.write_timeout,
        pings_per_minute: limits.socket_pings_per_minute,
    };
    // Only the pump ends; the others go on for as long as it does.
    let farewell = tokio::select! {
        farewell = pump::run(socket, inbox, account, &mut reading, pace) => Some(farewell),
        () = send_hello(&door, &shared, &outbox, opening.device.as_deref(), generation) => None,
        () = watch_token(&shared, &outbox, ended, |caller| door.entry.still_valid(caller.clone()).is_err()) => None,
        () = subscribe_calls(&door, &user, generation, &link_up), if !is_guest => None,
    };
    if farewell.as_ref().is_some_and(Closing::can_be_sent) {
        timeout(ANSWERS, async { while reading.requests.join_next().await.is_some() {} }).await.ok();
    }
    // Requests under way were acknowledged by nobody yet; what they did at the EIM stands, and the events tell.
    reading.requests.abort_all();
    let was_last = door.sockets.closed(&user, generation).await;
    if let Some(farewell) = farewell {
        farewell.send_close().await;
    }
    if was_last && !is_guest {
        unsubscribe_calls(&door, &user, generation).await;
    }
}

/// Has the EIM tell the user's calls to this node, for as long as the socket is open.
async fn subscribe_calls(door: &Door, user: &UserId, generation: u64, link_up: &Notify) {
    let mut backoff = Backoff::new(SUBSCRIBE_RETRY.0, SUBSCRIBE_RETRY.1);
    loop {
        let asked = door.calls.as_user("eim.user.subscribe", user, &claim(door, generation)).await;
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
async fn unsubscribe_calls(door: &Door, user: &UserId, generation: u64) {
    if !door.eim.health().borrow().up {
        return;
    }
    let asked = door.calls.as_user("eim.user.unsubscribe", user, &claim(door, generation)).await;
    if let Err(refusal) = asked {
        tracing::debug!(%user, key = refusal.key(), "the EIM goes on telling the user's calls");
    }
}

/// Which socket of which node: the EIM ignores what an older one tells.
fn claim(door: &Door, generation: u64) -> serde_json::Map<String, serde_json::Value> {
    [("node".to_owned(), door.config.node.id.as_str().into()), ("generation".to_owned(), generation.into())]
        .into_iter()
        .collect()
}

fn hello(door: &Door, outbox: &Outbox) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Hello<'a> {
        node: &'a str,
        heartbeat_ms: u64,
        resume_window_ms: u64,
    }
    let limits = &door.config.limits;
    let hello = Hello {
        node: &door.config.node.id,
        heartbeat_ms: limits.heartbeat.as_millis() as u64,
        resume_window_ms: limits.resume_window.as_millis() as u64,
    };
    outbox.send(notification("hello", &hello).into());
    for (part, health) in &door.parts {
        let health = health.borrow().clone();
        if !health.up {
            outbox.send(notification("degraded", &json!({"part": part, "since": health.since_ms})).into());
        }
    }
}

/// The side that reads.
struct SocketReader {
    door: Arc<Door>,
    shared: Arc<Shared>,
    outbox: Outbox,
    address: IpAddr,
    account: Arc<Account>,
    device: Option<String>,
    requests: JoinSet<()>,
    /// Requests that the client may have under way.
    permits: Arc<Semaphore>,
    /// One of them, for the next frame.
    permit: Option<OwnedSemaphorePermit>,
    /// A frame that takes all of them: it begins when those before it are done, and those after it wait.
    whole: Option<Utf8Bytes>,
    /// Whether a frame came.
    heard: bool,
}

impl FrameHandler for SocketReader {
    /// As soon as the client has fewer requests under way than it may.
    async fn ready(&mut self) {
        while self.requests.try_join_next().is_some() {}
        if self.whole.is_some() {
            let others = self.door.config.limits.socket_requests - 1;
            let others = u32::try_from(others).unwrap_or(u32::MAX);
            let permits = self.permits.clone().acquire_many_owned(others).await.ok();
            if let Some(text) = self.whole.take() {
                let permit = self.permit.take();
                self.begin(text, (permit, permits));
            }
        }
        if self.permit.is_none() {
            self.permit = self.permits.clone().acquire_owned().await.ok();
        }
    }

    async fn on_frame(&mut self, heard: IncomingFrame) -> Result<(), Close> {
        match heard {
            IncomingFrame::Text(text) => {
                let first = !std::mem::replace(&mut self.heard, true);
                // It says where to resume from, so it is answered before anything else is.
                let resumes = first && text.as_str().contains("events.resume");
                if resumes {
                    self.shared.resumes.store(true, Relaxed);
                } else if first {
                    self.shared.send_hello.notify_one();
                }
                if resumes || is_batch(&text) {
                    self.whole = Some(text);
                    return Ok(());
                }
                let permit = self.permit.take();
                self.begin(text, permit);
                Ok(())
            }
            IncomingFrame::Binary => Err(Close::Unsupported),
            IncomingFrame::Pong => Ok(()),
        }
    }
}

fn is_batch(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

impl SocketReader {
    /// Begins to answer the frame, and holds the permits until it is answered.
    fn begin(&mut self, text: Utf8Bytes, permits: impl Send + 'static) {
        let held = Held::nothing(self.account.clone());
        if held.hold(text.len()).is_err() {
            return self.outbox.close(Close::Later);
        }
        let (door, shared, outbox) = (self.door.clone(), self.shared.clone(), self.outbox.clone());
        let (address, account, device) = (self.address, self.account.clone(), self.device.clone());
        self.requests.spawn(async move {
            let context = Context {
                address,
                account: &account,
                token: None,
                device,
                socket: Some(shared.as_ref()),
                set_device: Mutex::default(),
            };
            let reply = door.answer(&context, text.as_bytes()).await;
            if shared.resumes.swap(false, Relaxed) {
                shared.send_hello.notify_one();
            }
            if let Some(reply) = reply {
                let _waiting = match held.set(reply.own_len()) {
                    Ok(()) => held,
                    Err(_) => return outbox.close(Close::TooSlow),
                };
                let reply = Frame::try_from(reply.into_bytes()).expect("a reply is JSON text");
                outbox.send_when_room(reply).await;
            }
            drop(permits);
        });
    }
}

/// Lets the socket listen to its user's conferences, once it is known where it resumes from.
async fn send_hello(door: &Door, shared: &Shared, outbox: &Outbox, device: Option<&str>, generation: u64) {
    let has_positions = shared.positions().as_ref().is_some_and(|known| !known.is_empty());
    if !has_positions
        && timeout(FIRST_FRAME, shared.send_hello.notified()).await.is_err()
        && shared.resumes.load(Relaxed)
    {
        shared.send_hello.notified().await;
    }
    let caller = shared.caller();
    let mut positions = shared.positions().take().unwrap_or_default();
    // A user that must log in again gets nothing until they have.
    let conferences = conferences_of(door, &caller).await.unwrap_or_else(|| {
        outbox.close(Close::Token);
        Vec::new()
    });
    for conf in conferences {
        if door.may_enter(&caller, device, &conf.conf_id).await.is_err() {
            continue;
        }
        let at = positions.iter().position(|(named, _)| *named == conf.conf_id);
        let position = at.map(|at| positions.swap_remove(at).1);
        let start = position.map_or(Start::Snapshot, Start::Since);
        door.sockets.attach_at(&caller.user_id, generation, &conf, start).await;
    }
    std::future::pending().await
}

/// The caller's conferences; asked for until the EIM answers, since a socket outlives the EIM's absence. `None`: the
/// caller must log in again.
async fn conferences_of(door: &Door, caller: &Caller) -> Option<Vec<ConferenceRef>> {
    let mut health = door.eim.health();
    loop {
        match own_conferences(&door.calls, caller).await {
            Ok(conferences) => return Some(conferences),
            Err(refusal) if refusal.kind == Kind::Unauthenticated => return None,
            Err(refusal) => tracing::info!(key = refusal.key(), "a socket's conferences can't be listed yet"),
        }
        // Asked again when the link changes, and now and then for answers that were lost.
        if timeout(Duration::from_secs(5), health.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return Some(Vec::new());
        }
    }
}

/// Ends the socket with its token: at the deadline, which a refresh moves, or at once when its family ends.
async fn watch_token(
    shared: &Shared,
    outbox: &Outbox,
    mut ended: broadcast::Receiver<EndedLogin>,
    is_ended: impl Fn(&Arc<Caller>) -> bool,
) {
    let mut caller = shared.caller.subscribe();
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
                if lagged || login.is_ok_and(|login| login.family == current.family) {
                    // Requests are refused already. The conference's own word, kicked or over, comes first if it comes.
                    tokio::time::sleep(BETTER_REASON).await;
                    outbox.close(Close::Token);
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Positions of `?resume=<confId>:<epoch>:<seq>`; an ill-formed one is a refusal.
pub fn positions<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<(ConfId, Position)>, Refusal> {
    let one = |value: &str| {
        let (conf, rest) = value.split_once(':')?;
        let (epoch, seq) = rest.rsplit_once(':')?;
        Some((ConfId::parse(conf)?, Position { epoch: epoch.to_owned(), seq: seq.parse().ok()? }))
    };
    values
        .map(|value| one(value).ok_or_else(|| Refusal::invalid_params("resume", "must be <confId>:<epoch>:<seq>")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_conference_epoch_and_number() {
        let read = positions(["c1:e1:7"].into_iter()).unwrap();
        assert_eq!(read, [(ConfId::parse("c1").unwrap(), Position { epoch: "e1".into(), seq: 7 })]);
        for bad in ["", "c1", "c1:7", "c1:e:x", "c 1:e:7", ":e:7"] {
            assert!(positions([bad].into_iter()).is_err(), "{bad}");
        }
    }
}
