//! The event socket: JSON-RPC both ways, and the conference's events out of a bounded queue.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, Semaphore, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::conference::{Own, Position, notification};
use crate::entry::Caller;
use crate::ids::{ConfId, UserId, now_ms};
use crate::outbox::{Close, Inbox, Outbox, outbox};
use crate::refusal::Refusal;
use crate::rpc::{Context, Door, SocketSide, own_conferences};
use crate::sockets::Opened;

/// How long the first frame is waited for before conferences are greeted with snapshots: it may be `events.resume`.
const FIRST_FRAME: Duration = Duration::from_millis(200);
/// How long before its deadline a token is said to expire, in milliseconds.
const EXPIRING_MS: u64 = 60_000;
/// How long a better reason than the token's end is waited for: half of the second within which the socket must close.
const BETTER_REASON: Duration = Duration::from_millis(500);
/// Pings that may go unanswered.
pub const MISSED_PINGS: u32 = 2;
/// Between attempts to be told of the user's calls: doubled from the first to the last, since an EIM may know no calls.
const SUBSCRIBE_RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// How long a close frame may take to be written.
const CLOSING: Duration = Duration::from_secs(2);

/// Whoever opens a socket, and from where it resumes.
pub struct Opening {
    pub caller: Arc<Caller>,
    pub address: IpAddr,
    pub device: Option<String>,
    pub positions: Vec<(ConfId, Position)>,
}

/// What the socket's requests and its own task share.
struct Shared {
    caller: watch::Sender<Arc<Caller>>,
    /// Positions by `events.resume`, until conferences are greeted.
    positions: Mutex<Vec<(ConfId, Position)>>,
}

impl SocketSide for Shared {
    fn caller(&self) -> Arc<Caller> {
        self.caller.borrow().clone()
    }

    fn resume(&self, positions: Vec<(ConfId, Position)>) {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).extend(positions);
    }

    fn renew(&self, caller: Arc<Caller>) {
        self.caller.send_replace(caller);
    }
}

/// Serves one socket to its end.
pub async fn serve(door: Arc<Door>, socket: WebSocket, opening: Opening) {
    let limits = &door.config.limits;
    let (outbox, inbox) = outbox(limits.socket_queue_frames, limits.socket_queue_bytes);
    let user = opening.caller.user_id.clone();
    let ended = door.entry.ended_families();
    let Opened { generation, link_up } = door.sockets.open(&user, &opening.caller.family, outbox.clone());
    let is_guest = opening.caller.is_guest();
    hello(&door, &outbox);
    let shared =
        Arc::new(Shared { caller: watch::Sender::new(opening.caller), positions: Mutex::new(opening.positions) });
    let (sink, stream) = socket.split();
    let mut reading = Reading {
        door: door.clone(),
        shared: shared.clone(),
        outbox: outbox.clone(),
        generation,
        address: opening.address,
        device: opening.device,
        requests: JoinSet::new(),
        permits: Arc::new(Semaphore::new(limits.socket_requests)),
        unanswered: 0,
        greeted: false,
    };
    tokio::select! {
        () = reading.run(stream) => {}
        () = write(sink, inbox, limits.heartbeat) => {}
        () = watch_token(&shared, &outbox, ended, |caller| door.entry.still_valid(caller.clone()).is_err()) => {}
        () = hear_calls(&door, &user, generation, &link_up), if !is_guest => {}
    }
    // Requests under way were acknowledged by nobody yet; what they did at the EIM stands, and the events tell.
    reading.requests.abort_all();
    let was_last = door.sockets.closed(&user, generation).await;
    if was_last && !is_guest {
        hear_no_calls(&door, &user, generation).await;
    }
}

/// Has the EIM tell the user's calls to this node, for as long as the socket is open.
async fn hear_calls(door: &Door, user: &UserId, generation: u64, link_up: &Notify) {
    let mut pause = SUBSCRIBE_RETRY.0;
    loop {
        let asked = door.calls.as_user("eim.user.subscribe", user, &claim(door, generation)).await;
        match asked {
            Err(refusal) if refusal.is_passing() => {
                // Sooner where the link comes back meanwhile.
                let is_up = timeout(pause, link_up.notified()).await.is_ok();
                pause = if is_up { SUBSCRIBE_RETRY.0 } else { (pause * 2).min(SUBSCRIBE_RETRY.1) };
            }
            Err(refusal) => {
                tracing::debug!(%user, key = refusal.key, "the EIM doesn't tell the user's calls");
                link_up.notified().await;
            }
            Ok(_) => link_up.notified().await,
        }
    }
}

/// Once: what the EIM doesn't hear is without harm, as nobody is here to be told, and the user's next socket replaces it.
async fn hear_no_calls(door: &Door, user: &UserId, generation: u64) {
    if !door.eim.health().borrow().up {
        return;
    }
    let asked = door.calls.as_user("eim.user.unsubscribe", user, &claim(door, generation)).await;
    if let Err(refusal) = asked {
        tracing::debug!(%user, key = refusal.key, "the EIM goes on telling the user's calls");
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
    let health = door.eim.health().borrow().clone();
    if !health.up {
        outbox.send(notification("degraded", &json!({"part": "eim", "since": health.since_ms})).into());
    }
}

/// The side that reads.
struct Reading {
    door: Arc<Door>,
    shared: Arc<Shared>,
    outbox: Outbox,
    generation: u64,
    address: IpAddr,
    device: Option<String>,
    requests: JoinSet<()>,
    permits: Arc<Semaphore>,
    /// Pings sent since anything was heard.
    unanswered: u32,
    greeted: bool,
}

impl Reading {
    async fn run(&mut self, mut stream: impl futures_util::Stream<Item = Result<Message, axum::Error>> + Unpin) {
        let heartbeat = self.door.config.limits.heartbeat;
        let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first = tokio::time::sleep(if self.has_positions() { Duration::ZERO } else { FIRST_FRAME });
        tokio::pin!(first);
        loop {
            tokio::select! {
                () = &mut first, if !self.greeted => self.greet(),
                message = stream.next() => match message {
                    Some(Ok(message)) => {
                        self.unanswered = 0;
                        if !self.message(message).await {
                            return;
                        }
                    }
                    _ => return,
                },
                _ = beat.tick() => {
                    self.unanswered += 1;
                    if self.unanswered > MISSED_PINGS {
                        self.outbox.close(Close::Silent);
                    }
                }
                Some(_) = self.requests.join_next() => {}
            }
        }
    }

    fn has_positions(&self) -> bool {
        !self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Answers whether the socket goes on.
    async fn message(&mut self, message: Message) -> bool {
        let text = match message {
            Message::Text(text) => text,
            // The stream ends by itself once the close frame is answered.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return true,
            // Only text frames are JSON-RPC: answered as a body that is none.
            Message::Binary(_) => Utf8Bytes::default(),
        };
        if !self.greeted {
            self.first_frame(text).await;
            return true;
        }
        // No permit: the client has as many requests under way as it may, and reading waits for one of them.
        if let Ok(permit) = self.permits.clone().acquire_owned().await {
            let answering = self.answering(text);
            self.requests.spawn(async move {
                answering.await;
                drop(permit);
            });
        }
        true
    }

    /// The first frame is answered before conferences are greeted, since it may say where to resume from.
    async fn first_frame(&mut self, text: Utf8Bytes) {
        if text.as_str().contains("events.resume") {
            self.answering(text).await;
            self.greet();
            return;
        }
        self.greet();
        let answering = self.answering(text);
        self.requests.spawn(answering);
    }

    fn answering(&self, text: Utf8Bytes) -> impl Future<Output = ()> + Send + 'static {
        let (door, shared, outbox) = (self.door.clone(), self.shared.clone(), self.outbox.clone());
        let (address, device) = (self.address, self.device.clone());
        async move {
            let context =
                Context { address, token: None, device, socket: Some(shared.as_ref()), set_device: Mutex::default() };
            if let Some(reply) = door.answer(&context, text.as_bytes()).await {
                let reply = Utf8Bytes::try_from(bytes::Bytes::from(reply)).expect("a reply is JSON text");
                outbox.send(reply);
            }
        }
    }

    /// Lets the socket listen to its user's conferences.
    fn greet(&mut self) {
        self.greeted = true;
        let (door, shared, generation) = (self.door.clone(), self.shared.clone(), self.generation);
        self.requests.spawn(async move {
            let caller = shared.caller();
            let mut positions = std::mem::take(&mut *shared.positions.lock().unwrap_or_else(PoisonError::into_inner));
            for conf in conferences_of(&door, &caller).await {
                let at = positions.iter().position(|(named, _)| *named == conf.conf_id);
                let position = at.map(|at| positions.swap_remove(at).1);
                door.sockets.attach_at(&caller.user_id, generation, &conf, position).await;
            }
        });
    }
}

/// The caller's conferences; asked for until the EIM answers, since a socket outlives the EIM's absence.
async fn conferences_of(door: &Door, caller: &Caller) -> Vec<Own> {
    let mut health = door.eim.health();
    loop {
        match own_conferences(&door.calls, caller).await {
            Ok(conferences) => return conferences,
            Err(refusal) => tracing::info!(key = refusal.key, "a socket's conferences can't be listed yet"),
        }
        // Asked again when the link changes, and now and then for answers that were lost.
        if timeout(Duration::from_secs(5), health.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return Vec::new();
        }
    }
}

/// The side that writes: queued frames and pings, until it is told to close or the peer takes nothing more.
pub async fn write(
    mut sink: impl futures_util::Sink<Message, Error = axum::Error> + Unpin,
    mut inbox: Inbox,
    heartbeat: Duration,
) {
    let patience = heartbeat * (MISSED_PINGS + 1);
    let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = inbox.close.clone();
    let why = loop {
        let pinged = inbox.pinged();
        let frame = tokio::select! {
            biased;
            why = closing.wait_for(Option::is_some) => break why.ok().and_then(|why| *why),
            frame = inbox.next() => match frame {
                Some(frame) => Message::Text(frame),
                None => break None,
            },
            () = pinged => Message::Ping(bytes::Bytes::new()),
            _ = beat.tick() => Message::Ping(bytes::Bytes::new()),
        };
        let sending = timeout(patience, sink.send(frame));
        let mut too_slow = inbox.close.clone();
        // A peer that takes nothing must not hold up the order to close.
        let sent = tokio::select! {
            sent = sending => sent,
            () = stuck(&mut too_slow) => break Some(Close::TooSlow),
        };
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    };
    let Some(why) = why else { return };
    // What was queued before the order is still the client's, if it takes it.
    let last_words = async {
        if why != Close::TooSlow {
            while let Some(frame) = inbox.try_next() {
                sink.feed(Message::Text(frame)).await?;
            }
        }
        sink.send(Message::Close(Some(CloseFrame { code: why.code(), reason: why.reason().into() }))).await?;
        sink.close().await
    };
    if timeout(CLOSING, last_words).await.is_err() {
        tracing::debug!("a socket took no close frame in time");
    }
}

/// Resolves some time after the order to close because the peer is too slow.
async fn stuck(close: &mut watch::Receiver<Option<Close>>) {
    if close.wait_for(|why| *why == Some(Close::TooSlow)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Ends the socket with its token: at the deadline, which a refresh moves, or at once when its family ends.
async fn watch_token(
    shared: &Shared,
    outbox: &Outbox,
    mut ended: broadcast::Receiver<String>,
    is_ended: impl Fn(&Arc<Caller>) -> bool,
) {
    let mut caller = shared.caller.subscribe();
    let mut warned_for = 0;
    loop {
        let current = caller.borrow_and_update().clone();
        let now = now_ms();
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
            family = ended.recv() => {
                let lagged = matches!(family, Err(broadcast::error::RecvError::Lagged(_)));
                if lagged && !is_ended(&current) {
                    continue;
                }
                if lagged || family.is_ok_and(|family| family == current.family) {
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
