//! The HTTP routes: JSON-RPC, the event socket's upgrade, the guest page and what belongs to it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use crate::app::rest;
use crate::app::web_assets::{WebAssets, shared};
use crate::auth::AuthService;
use crate::http::bearer::{authorization, presented_token, query};
use crate::http::body::{OwnBytes, body_of, bounded_body};
use crate::http::ws::socket::UpgradeResult;
use crate::http::{Handler, routed};
use crate::rate_limit::account::Client;
use crate::rate_limit::budget::Budget;
use crate::refusal::{Kind, Reason, Refusal, request_id};
use crate::rpc::event_socket::{self, EventSockets};
use crate::rpc::{Act, Context, REQ_XML_MAX, Rates, Reply, Rpc};
use crate::schema::Schema;

const COOKIE_NAME: &str = "confgate_device";
/// Headers of an answer, those that the listener adds included.
const HEADERS: usize = 8;
/// A browser keeps its name for a year.
const COOKIE_AGE_S: u32 = 31_536_000;
/// When to try again where an address block has as many sockets as one may.
const SOCKETS_RETRY_MS: u64 = 5000;

/// Handles to the parts that the routes lead to.
pub struct Handles {
    /// The methods.
    pub rpc: Arc<Rpc>,
    /// The open event sockets.
    pub sockets: Arc<EventSockets>,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The budget of each address block.
    pub budget: Arc<Budget>,
    /// The users' rates.
    pub rates: Arc<Rates>,
    /// The schema.
    pub schema: Arc<Schema>,
    /// `limits.body_bytes`.
    pub body_bytes: usize,
}

/// The state that the routes share.
struct Site {
    handles: Handles,
    base: String,
    assets: WebAssets,
}

/// All of them, below the base path, and `more`. What is asked most often is found without the router.
pub fn handler(handles: Handles, base: &str, more: Router) -> Handler {
    let site = Arc::new(Site { handles, base: base.to_owned(), assets: WebAssets::load(base) });
    let (rpc_path, routed) = (format!("{base}/jsonrpc"), routed(router(site.clone()).merge(more)));
    Arc::new(move |client, request| {
        if request.method() == Method::POST && request.uri().path() == rpc_path {
            return Box::pin(jsonrpc(site.clone(), client, request));
        }
        routed(client, request)
    })
}

fn router(site: Arc<Site>) -> Router {
    let base = site.base.clone();
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        // All but posts, which don't come here.
        .route(&at("/jsonrpc"), any((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "POST")])))
        .route(&at("/rest"), post(send_iq))
        .route(&at("/websck"), any(websck))
        .route(&at("/conference/{*code}"), get(guest_page).post(conference))
        .route(&at("/conference/"), get(guest_page).post(conference))
        .route(&base, get(to_home))
        .route(&at("/"), get(home))
        .route(&at("/docs"), get(docs))
        .route(&at("/openrpc.json"), get(openrpc))
        .route(&at("/asyncapi.json"), get(asyncapi))
        .route(&at("/assets/{*file}"), get(asset))
        .with_state(site)
}

impl Site {
    /// Counts one request. `Some`: the address is over its budget, and that is the answer.
    fn over_budget(&self, address: IpAddr) -> Option<Response> {
        self.handles.budget.take(address).err().map(too_many)
    }

    fn device(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
        self.handles.auth.device(value)
    }

    fn set_cookie(&self, headers: &mut HeaderMap, value: &str) {
        let base = &self.base;
        let cookie =
            format!("{COOKIE_NAME}={value}; Path={base}; Max-Age={COOKIE_AGE_S}; HttpOnly; Secure; SameSite=Strict");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

async fn jsonrpc(site: Arc<Site>, client: Client, request: Request) -> Response {
    if let Some(response) = site.over_budget(client.address) {
        return response;
    }
    let (head, body) = request.into_parts();
    let body = match bounded_body(body, site.handles.body_bytes).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let context = Context {
        address: client.address,
        account: &client.account,
        token: authorization(&head.headers),
        device: site.device(&head.headers),
        socket: None,
        set_device: Mutex::default(),
    };
    let Some(reply) = site.handles.rpc.answer(&context, &body).await else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut response = reply_response(reply);
    if let Some(cookie) = context.set_device.into_inner().unwrap_or_else(PoisonError::into_inner) {
        site.set_cookie(response.headers_mut(), &cookie);
    }
    response
}

async fn send_iq(State(site): State<Arc<Site>>, Extension(client): Extension<Client>, request: Request) -> Response {
    if let Some(response) = site.over_budget(client.address) {
        return response;
    }
    let (head, body) = request.into_parts();
    let token = authorization(&head.headers);
    if let Err(status) = rest::check_head(&head.headers, token.is_some()) {
        return rest::refused_head(status);
    }
    let body = match bounded_body(body, site.handles.body_bytes.min(REQ_XML_MAX)).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let context = Context {
        address: client.address,
        account: &client.account,
        token,
        device: site.device(&head.headers),
        socket: None,
        set_device: Mutex::default(),
    };
    let answer = site.handles.rpc.process_iq(&context, &body, rest::limit(&head.headers));
    // The refusal in the response names the id that the log has.
    request_id::request(async { rest::response(answer.await) }).await
}

async fn websck(
    State(site): State<Arc<Site>>,
    Extension(client): Extension<Client>,
    upgrade: UpgradeResult,
    request: Request,
) -> Response {
    if let Some(response) = site.over_budget(client.address) {
        return response;
    }
    let (headers, uri) = (request.headers(), request.uri());
    let caller = match presented_token(headers, uri).map(|token| site.handles.auth.authenticate(&token)) {
        Some(Ok(caller)) => caller,
        Some(Err(refusal)) => return refused(StatusCode::UNAUTHORIZED, &refusal),
        None => return refused(StatusCode::UNAUTHORIZED, &Refusal::unauthenticated()),
    };
    if let Err(refusal) = site.handles.rates.act(&caller.user_id, Act::Socket) {
        return too_many_of(&refusal);
    }
    let resume: Vec<String> = query(uri, "resume").collect();
    let positions = match event_socket::positions(resume.iter().map(String::as_str)) {
        Ok(positions) => positions,
        Err(refusal) => return refused(StatusCode::BAD_REQUEST, &refusal),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Ok(slot) = client.account.socket() else { return too_many(SOCKETS_RETRY_MS) };
    let sockets = site.handles.sockets.clone();
    let generation = sockets.next_generation();
    let (address, device) = (client.address, site.device(headers));
    let opening = event_socket::Opening { caller, address, device, positions, slot, generation };
    upgrade.accept("confgate", site.handles.body_bytes, move |socket| sockets.serve(socket, opening))
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], refusal.to_json().to_string()).into_response()
}

/// The address of a link below the base path, as it was written.
fn link_of<'u>(uri: &'u Uri, base: &str) -> &'u str {
    uri.path().strip_prefix(base).unwrap_or_default()
}

async fn conference(State(site): State<Arc<Site>>, Extension(client): Extension<Client>, request: Request) -> Response {
    if let Some(response) = site.over_budget(client.address) {
        return response;
    }
    match site.handles.auth.page(link_of(request.uri(), &site.base), client.address).await {
        Ok(page) => {
            let mut response = json_response(serde_json::to_vec(&page).expect("a page has string keys").into());
            give_device(&site, request.headers(), &mut response);
            response
        }
        Err(refusal) if refusal.kind == Kind::TooMany => too_many_of(&refusal),
        Err(refusal) => {
            let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, &refusal);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
    }
}

/// Gives a browser without a name one.
fn give_device(site: &Site, headers: &HeaderMap, response: &mut Response) {
    if site.device(headers).is_none() {
        site.set_cookie(response.headers_mut(), &site.handles.auth.new_device().1);
    }
}

fn too_many_of(refusal: &Refusal) -> Response {
    too_many(refusal.data.get("retryAfterMs").and_then(Value::as_u64).unwrap_or(1000))
}

fn too_many(wait_ms: u64) -> Response {
    let refusal = Refusal::too_many(Reason::TooManyRequests, wait_ms);
    let seconds = wait_ms.div_ceil(1000).max(1).to_string();
    let headers = [(CONTENT_TYPE, "application/json".to_owned()), (RETRY_AFTER, seconds)];
    (StatusCode::TOO_MANY_REQUESTS, headers, refusal.to_json().to_string()).into_response()
}

fn reply_response(reply: Reply) -> Response {
    let own = reply.own_len();
    if own == reply.len() {
        return json_response(reply.into_bytes().into());
    }
    let mut response = json_response(body_of(reply.into_pieces()));
    response.extensions_mut().insert(OwnBytes(own));
    response
}

fn json_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn to_home(State(site): State<Arc<Site>>) -> Response {
    Redirect::permanent(&format!("{}/", site.base)).into_response()
}

async fn guest_page(State(site): State<Arc<Site>>, request: Request) -> Response {
    let mut response = site.assets.page("guest.html");
    give_device(&site, request.headers(), &mut response);
    response
}

async fn home(State(site): State<Arc<Site>>) -> Response {
    site.assets.page("home.html")
}

async fn docs(State(site): State<Arc<Site>>) -> Response {
    site.assets.page("docs.html")
}

async fn openrpc(State(site): State<Arc<Site>>) -> Response {
    shared(json_response(site.handles.schema.openrpc_json().into()))
}

async fn asyncapi(State(site): State<Arc<Site>>) -> Response {
    shared(json_response(site.handles.schema.asyncapi_json().into()))
}

async fn asset(State(site): State<Arc<Site>>, request: Request) -> Response {
    let prefix = format!("{}/assets/", site.base);
    let name = request.uri().path().strip_prefix(&prefix).unwrap_or_default();
    site.assets.asset(name, request.headers())
}
