//! The side of the socket that reads, and the requests that it has under way.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::http::ws::Frame;
use crate::http::ws::pump::{FrameHandler, IncomingFrame};
use crate::http::ws::send_queue::{Close, Outbox};
use crate::rate_limit::account::{Account, Held};
use crate::rpc::socket_session::SocketSession;
use crate::rpc::{Context, Rpc};

use super::{EventSockets, Opening};

/// How long requests under way hold up the close: what led to it, a conference's end or a logout, is one of them.
const ANSWERS: Duration = Duration::from_millis(500);

/// One for each socket, in its connection's task.
pub(super) struct SocketReader {
    rpc: Arc<Rpc>,
    session: Arc<SocketSession>,
    outbox: Outbox,
    address: IpAddr,
    account: Arc<Account>,
    device: Option<String>,
    requests: JoinSet<()>,
    /// `limits.socket_requests`.
    most_requests: usize,
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
            let others = self.most_requests - 1;
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
                if first {
                    self.session.first_frame(resumes);
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
    /// The reader of a new socket.
    pub fn new(sockets: &EventSockets, session: &Arc<SocketSession>, outbox: &Outbox, opening: &Opening) -> Self {
        let most_requests = sockets.config.limits.socket_requests;
        Self {
            rpc: sockets.rpc.clone(),
            session: session.clone(),
            outbox: outbox.clone(),
            address: opening.address,
            account: opening.slot.account().clone(),
            device: opening.device.clone(),
            requests: JoinSet::new(),
            most_requests,
            permits: Arc::new(Semaphore::new(most_requests)),
            permit: None,
            whole: None,
            heard: false,
        }
    }

    /// Waits for the answers to what is under way, for a moment.
    pub async fn finish(&mut self) {
        timeout(ANSWERS, async { while self.requests.join_next().await.is_some() {} }).await.ok();
    }

    /// Ends what is under way: it was acknowledged by nobody yet; what it did at the EIM stands, and the events tell.
    pub fn abort(&mut self) {
        self.requests.abort_all();
    }

    /// Begins to answer the frame, and holds the permits until it is answered.
    fn begin(&mut self, text: Utf8Bytes, permits: impl Send + 'static) {
        let held = Held::nothing(self.account.clone());
        if held.hold(text.len()).is_err() {
            return self.outbox.close(Close::Later);
        }
        let (rpc, session, outbox) = (self.rpc.clone(), self.session.clone(), self.outbox.clone());
        let (address, account, device) = (self.address, self.account.clone(), self.device.clone());
        self.requests.spawn(async move {
            let context = Context {
                address,
                account: &account,
                token: None,
                device,
                socket: Some(session.as_ref()),
                set_device: Mutex::default(),
            };
            let reply = rpc.answer(&context, text.as_bytes()).await;
            session.answered();
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
