//! The HTTP routes: the JSON-RPC door, the event socket's upgrade, the guest page and what belongs to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use rust_embed::RustEmbed;
use serde_json::Value;

use crate::http::bearer::{authorization, presented_token, query};
use crate::http::body::{OwnBytes, body_of, bounded_body};
use crate::http::ws::socket::UpgradeResult;
use crate::rate_limit::account::Account;
use crate::rate_limit::address::ClientAddr;
use crate::refusal::{Kind, Reason, Refusal};
use crate::rpc::event_socket;
use crate::rpc::{Act, Context, Door};

/// The page's files, in the binary.
#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "test/*"]
#[exclude = "*.md"]
#[exclude = "package.json"]
struct Files;

const COOKIE_NAME: &str = "confgate_device";
/// A browser keeps its name for a year.
const COOKIE_AGE_S: u32 = 31_536_000;
/// When to try again where an address block has as many sockets as one may.
const SOCKETS_RETRY_MS: u64 = 5000;

/// What the routes share.
pub struct Site {
    pub door: Arc<Door>,
    base: String,
    /// The page's files by name, made once.
    files: HashMap<String, File>,
}

/// A file, as it is sent.
struct File {
    bytes: Bytes,
    tag: HeaderValue,
}

pub fn router(door: Arc<Door>) -> Router {
    let base = door.config.http.base_path.as_str().to_owned();
    let files = files(&base);
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/jsonrpc"), post(jsonrpc))
        .route(&at("/websck"), any(websck))
        .route(&at("/conference/{*code}"), get(guest_page).post(conference))
        .route(&at("/conference/"), get(guest_page).post(conference))
        .route(&base, get(to_home))
        .route(&at("/"), get(home))
        .route(&at("/docs"), get(docs))
        .route(&at("/openrpc.json"), get(openrpc))
        .route(&at("/asyncapi.json"), get(asyncapi))
        .route(&at("/assets/{*file}"), get(asset))
        .with_state(Arc::new(Site { door, base: base.clone(), files }))
}

impl Site {
    /// Counts one request. `Some`: the address is over its budget, and that is the answer.
    fn over_budget(&self, address: ClientAddr) -> Option<Response> {
        self.door.budget.take(address.0).err().map(too_many)
    }

    fn device(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
        self.door.entry.device(value)
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

async fn jsonrpc(State(site): State<Arc<Site>>, request: Request) -> Response {
    let Some(address) = request.extensions().get::<ClientAddr>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Some(response) = site.over_budget(address) {
        return response;
    }
    let Some(account) = request.extensions().get::<Arc<Account>>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (head, body) = request.into_parts();
    let body = match bounded_body(body, site.door.config.limits.body_bytes).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let context = Context {
        address: address.0,
        account: &account,
        token: authorization(&head.headers),
        device: site.device(&head.headers),
        socket: None,
        set_device: Mutex::default(),
    };
    let Some(reply) = site.door.answer(&context, &body).await else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let own = OwnBytes(reply.own_len());
    let mut response = json_response(body_of(reply.into_pieces()));
    response.extensions_mut().insert(own);
    if let Some(cookie) = context.set_device.into_inner().unwrap_or_else(PoisonError::into_inner) {
        site.set_cookie(response.headers_mut(), &cookie);
    }
    response
}

async fn websck(State(site): State<Arc<Site>>, upgrade: UpgradeResult, request: Request) -> Response {
    let Some(address) = request.extensions().get::<ClientAddr>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Some(response) = site.over_budget(address) {
        return response;
    }
    let (headers, uri) = (request.headers(), request.uri());
    let caller = match presented_token(headers, uri).map(|token| site.door.entry.authenticate(&token)) {
        Some(Ok(caller)) => caller,
        Some(Err(refusal)) => return refused(StatusCode::UNAUTHORIZED, &refusal),
        None => return refused(StatusCode::UNAUTHORIZED, &Refusal::unauthenticated()),
    };
    if let Err(refusal) = site.door.rates.act(&caller.user_id, Act::Socket) {
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
    let Some(account) = request.extensions().get::<Arc<Account>>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let Ok(slot) = account.socket() else { return too_many(SOCKETS_RETRY_MS) };
    let opening = event_socket::Opening { caller, address: address.0, device: site.device(headers), positions, slot };
    let door = site.door.clone();
    let max = door.config.limits.body_bytes;
    upgrade.accept("confgate", max, move |socket| event_socket::serve(door, socket, opening))
}

fn refused(status: StatusCode, refusal: &Refusal) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], refusal.to_json().to_string()).into_response()
}

/// The address of a link below the base path, as it was written.
fn link_of<'u>(uri: &'u Uri, base: &str) -> &'u str {
    uri.path().strip_prefix(base).unwrap_or_default()
}

async fn conference(State(site): State<Arc<Site>>, request: Request) -> Response {
    let Some(address) = request.extensions().get::<ClientAddr>().copied() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Some(response) = site.over_budget(address) {
        return response;
    }
    match site.door.entry.page(link_of(request.uri(), &site.base), address.0).await {
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
        site.set_cookie(response.headers_mut(), &site.door.entry.new_device().1);
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

fn json_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn to_home(State(site): State<Arc<Site>>) -> Response {
    Redirect::permanent(&format!("{}/", site.base)).into_response()
}

async fn guest_page(State(site): State<Arc<Site>>, request: Request) -> Response {
    let mut response = html(&site, "guest.html");
    give_device(&site, request.headers(), &mut response);
    response
}

async fn home(State(site): State<Arc<Site>>) -> Response {
    html(&site, "home.html")
}

async fn docs(State(site): State<Arc<Site>>) -> Response {
    html(&site, "docs.html")
}

async fn openrpc(State(site): State<Arc<Site>>) -> Response {
    shared(json_response(site.door.schema.openrpc_json().into()))
}

async fn asyncapi(State(site): State<Arc<Site>>) -> Response {
    shared(json_response(site.door.schema.asyncapi_json().into()))
}

/// Says that the body is made once, and no answer's own.
fn shared(mut response: Response) -> Response {
    response.extensions_mut().insert(OwnBytes(0));
    response
}

/// All files; pages are told where they live.
fn files(base: &str) -> HashMap<String, File> {
    let made = |name: Cow<'static, str>| {
        let file = Files::get(&name)?;
        let bytes = match file.data {
            data if name.ends_with(".html") => String::from_utf8_lossy(&data).replace("__BASE__", base).into(),
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let tag: String = file.metadata.sha256_hash()[..12].iter().map(|b| format!("{b:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"{tag}\"")).ok()?;
        Some((name.into_owned(), File { bytes, tag }))
    };
    Files::iter().filter_map(made).collect()
}

fn html(site: &Site, name: &str) -> Response {
    let Some(file) = site.files.get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    shared((headers, file.bytes.clone()).into_response())
}

async fn asset(State(site): State<Arc<Site>>, request: Request) -> Response {
    let prefix = format!("{}/assets/", site.base);
    let name = request.uri().path().strip_prefix(&prefix).unwrap_or_default();
    let file = site.files.get(name).filter(|_| !name.ends_with(".html"));
    let Some(file) = file else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(ETAG, file.tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if request.headers().get(IF_NONE_MATCH).is_some_and(|known| *known == file.tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    shared((headers, [(CONTENT_TYPE, content_type(name))], file.bytes.clone()).into_response())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}
