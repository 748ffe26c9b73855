//! The other end of a link ([`super::link`]): another gateway node asks about conferences whose numbers are here. It shows
//! a token that is made of `auth.keys`, for this node alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use http::StatusCode;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Owners;
use super::protocol::{FromOwner, REQUEST_MAX, ToOwner, of_eim};
use super::reply::Reply;
use crate::event::Event;
use crate::http::bearer::{PROTOCOL, presented_token};
use crate::http::ws::Frame;
use crate::http::ws::pump::{self, FrameHandler, IncomingFrame, Pace};
use crate::http::ws::send_queue::{Close, Outbox, outbox};
use crate::http::ws::socket::{UpgradeResult, WebSocket};
use crate::ids::ConfId;
use crate::rate_limit::account::{Client, SocketSlot};
use crate::rate_limit::budget::Budget;
use crate::token::{KindKeys, NodeClaims};

/// How often a link says that the process isn't stopped.
pub(super) const ALIVE: Duration = Duration::from_secs(1);
/// How long a link stays when this node ends.
const LINGER: Duration = Duration::from_millis(500);
/// Frames that wait for one node; when they are full the link is closed, and its conferences go on from their positions.
const QUEUE: usize = 4096;
/// Bytes that wait for one node: the events of some thousand conferences for a second.
const QUEUE_BYTES: usize = 8 << 20;

static LINKS: AtomicU64 = AtomicU64::new(0);

/// A link that is told of the conferences' events.
#[derive(Clone)]
pub(super) struct Watcher {
    link: u64,
    outbox: Outbox,
}

impl Watcher {
    /// Whether it is the same link.
    pub fn is(&self, other: &Self) -> bool {
        self.link == other.link
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// The conference's numbers aren't here.
    pub fn elsewhere(&self, conf: &ConfId) {
        self.queue_frame(&FromOwner::Elsewhere(conf.clone()));
    }

    /// The frame of an event, made once for all links.
    pub fn frame(event: Event) -> Frame {
        text(&FromOwner::Event(event)).into()
    }

    /// Queues a frame.
    pub fn send(&self, frame: Frame) {
        self.outbox.send(frame);
    }

    fn queue_frame(&self, frame: &FromOwner) {
        self.send(text(frame).into());
    }
}

fn text(frame: &FromOwner) -> String {
    serde_json::to_string(frame).expect("frames have string keys only")
}

/// What the route needs.
struct Site {
    owners: Owners,
    keys: Arc<KindKeys>,
    node: String,
    budget: Budget,
    pace: Pace,
}

/// The route of links at `path`. `node`: our own id; `keys` verify; `requests_per_minute`: of one address block.
pub fn router(
    owners: Owners,
    keys: Arc<KindKeys>,
    node: &str,
    path: &str,
    requests_per_minute: u32,
    pace: Pace,
) -> Router {
    let budget = Budget::per_minute(requests_per_minute);
    let site = Arc::new(Site { owners, keys, node: node.to_owned(), budget, pace });
    Router::new().route(path, any(open)).with_state(site)
}

async fn open(
    State(site): State<Arc<Site>>,
    Extension(client): Extension<Client>,
    upgrade: UpgradeResult,
    request: Request,
) -> Response {
    if site.budget.take(client.address).is_err() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let token = presented_token(request.headers(), request.uri());
    let claims = token.and_then(|token| site.keys.verify::<NodeClaims>(&token).ok());
    let Some(claims) = claims.filter(|claims| claims.serves_at(&site.node)) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let Ok(slot) = client.account.socket() else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    match upgrade {
        Ok(upgrade) => upgrade.accept(PROTOCOL, REQUEST_MAX, move |socket| serve(site, socket, claims.node, slot)),
        Err(rejection) => rejection.into_response(),
    }
}

async fn serve(site: Arc<Site>, socket: WebSocket, node: String, slot: SocketSlot) {
    tracing::info!(node, "another gateway node's link is open");
    let (outbox, inbox) = outbox(QUEUE, QUEUE_BYTES, slot.account());
    let watcher = Watcher { link: LINKS.fetch_add(1, Ordering::Relaxed), outbox };
    let mut asks = Asks { owners: site.owners.clone(), watcher: watcher.clone() };
    let farewell = tokio::select! {
        farewell = pump::run(socket, inbox, slot.account(), &mut asks, site.pace) => Some(farewell),
        () = send_alive(&watcher) => None,
        () = given_back(&site.owners) => None,
    };
    // Owners drop a closed link with the next event.
    watcher.outbox.close(Close::GoingAway);
    tracing::info!(node, "another gateway node's link has ended");
    if let Some(farewell) = farewell {
        farewell.send_close().await;
    }
}

/// A moment after this node has begun to give its conferences back: then others find them free.
async fn given_back(owners: &Owners) {
    owners.0.given_back.cancelled().await;
    sleep(LINGER).await;
}

async fn send_alive(watcher: &Watcher) {
    let mut tick = interval(ALIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        watcher.queue_frame(&FromOwner::Alive);
    }
}

struct Asks {
    owners: Owners,
    watcher: Watcher,
}

impl FrameHandler for Asks {
    async fn on_frame(&mut self, received: IncomingFrame) -> Result<(), Close> {
        let IncomingFrame::Text(text) = received else { return Ok(()) };
        match serde_json::from_str::<ToOwner>(&text) {
            Ok(ToOwner::OwnerRequest { number, conf, request }) => {
                let link = self.watcher.clone();
                let reply = Reply::new(move |answer| link.queue_frame(&FromOwner::Answer { number, answer }));
                self.owners.request_from(&conf, request, reply, &self.watcher);
            }
            Ok(ToOwner::Change(event)) => self.owners.change(of_eim(event), None),
            Ok(ToOwner::Doubt) => self.owners.doubt_here(),
            Err(error) => {
                metrics::counter!("confgate_node_link_unreadable_total").increment(1);
                tracing::warn!(%error, "a frame of another gateway node's can't be read");
            }
        }
        Ok(())
    }
}
