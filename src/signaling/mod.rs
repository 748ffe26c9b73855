//! The call gateway node's interfaces: clients' sockets with Kurento's group call and one-to-one call, sessions over
//! HTTP (WHIP, WHEP), and gateways' control links.

mod client;
mod control;
mod whip;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::config::{Config, Turn};
use crate::http::bearer::{PROTOCOL, presented_token};
use crate::http::ws::pump::Pace;
use crate::http::ws::socket::{UpgradeResult, WebSocket};
use crate::media::message::MESSAGE_MAX;
use crate::media::{ClientCredentials, Media, Tokens};
use crate::rate_limit::account::{Client, SocketSlot};
use crate::rate_limit::budget::Budget;
use crate::refusal::Refusal;

/// Kurento's pages ask for these at the port's root.
const ALIASES: [&str; 3] = ["/groupcall", "/one2one", "/call"];

/// Whether a token is an operator's.
pub type Operators = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The settings.
#[derive(Clone)]
pub struct Settings {
    /// The pace of sockets.
    pub pace: Pace,
    /// Frames and bytes that may wait for one socket.
    pub queue_frames: usize,
    /// Bytes that may wait for one socket.
    pub queue_bytes: usize,
    /// Upgrades that one address may ask for.
    pub requests_per_minute: u32,
    /// The TURN server for sessions over HTTP.
    pub turn: Option<Turn>,
    /// The operators that may publish outside conferences.
    pub operators: Operators,
}

impl Settings {
    /// `operators`: who may publish outside conferences.
    pub fn new(config: &Config, operators: Operators) -> Self {
        let limits = &config.limits;
        let pace = Pace {
            heartbeat: limits.heartbeat,
            write_timeout: limits.write_timeout,
            pings_per_minute: limits.socket_pings_per_minute,
        };
        Self {
            pace,
            queue_frames: limits.socket_queue_frames,
            queue_bytes: limits.socket_queue_bytes,
            requests_per_minute: limits.requests_per_minute,
            turn: config.callgw.turn.clone(),
            operators,
        }
    }
}

/// The state that the call socket, WHIP and WHEP share.
pub struct Signal {
    media: Media,
    /// The node's id.
    node: String,
    tokens: Tokens,
    settings: Settings,
    budget: Budget,
    /// Open sessions over HTTP: each one's task takes its own out.
    sessions: whip::Sessions,
}

/// The routes of one node: clients at `path`, gateways at `{path}/control`; where the node is the port's own, Kurento's
/// too, and WHIP's and WHEP's at `{path}/whip` and `{path}/whep`.
pub fn router(media: Media, tokens: Tokens, settings: Settings, path: &str, own: bool) -> Router {
    let budget = Budget::per_minute(settings.requests_per_minute);
    let node = tokens.node().to_owned();
    let control = format!("{path}/control");
    let mut router = Router::new().route(path, any(client_socket)).route(&control, any(control_link));
    if own {
        router = ALIASES.iter().fold(router, |router, alias| router.route(alias, any(client_socket)));
        router = router.merge(whip::router(path));
    }
    router.with_state(Arc::new(Signal { media, node, tokens, settings, budget, sessions: whip::Sessions::new(path) }))
}

async fn client_socket(
    State(signal): State<Arc<Signal>>,
    Extension(client): Extension<Client>,
    upgrade: UpgradeResult,
    request: Request,
) -> Response {
    if let Some(refused) = signal.over_budget(&request) {
        return refused;
    }
    // Without a token here, `joinRoom` brings one.
    let credentials = presented_token(request.headers(), request.uri())
        .map_or(ClientCredentials::Nothing, |token| signal.tokens.client(&token));
    if matches!(credentials, ClientCredentials::Refused) {
        return unauthorized();
    }
    accept(upgrade, &client, move |socket, slot| client::serve(signal, socket, credentials, slot))
}

async fn control_link(
    State(signal): State<Arc<Signal>>,
    Extension(client): Extension<Client>,
    upgrade: UpgradeResult,
    request: Request,
) -> Response {
    if let Some(refused) = signal.over_budget(&request) {
        return refused;
    }
    let gateway = presented_token(request.headers(), request.uri()).and_then(|token| signal.tokens.gateway(&token));
    let Some(gateway) = gateway else { return unauthorized() };
    accept(upgrade, &client, move |socket, slot| control::serve(signal, socket, gateway, slot))
}

fn accept<F>(
    upgrade: UpgradeResult,
    client: &Client,
    serve: impl FnOnce(WebSocket, SocketSlot) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(slot) = client.account.socket() else { return StatusCode::TOO_MANY_REQUESTS.into_response() };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    // A message that is somewhat too long is answered; beyond that the socket is cut.
    upgrade.accept(PROTOCOL, 2 * MESSAGE_MAX, move |socket| serve(socket, slot))
}

fn unauthorized() -> Response {
    let body = Refusal::unauthenticated().to_json().to_string();
    (StatusCode::UNAUTHORIZED, [(CONTENT_TYPE, "application/json")], body).into_response()
}

impl Signal {
    /// Counts one request. `Some`: that is the answer to it.
    fn over_budget(&self, request: &Request) -> Option<Response> {
        let Some(client) = request.extensions().get::<Client>() else {
            return Some(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        };
        self.budget.take(client.address).err().map(|_| StatusCode::TOO_MANY_REQUESTS.into_response())
    }
}
