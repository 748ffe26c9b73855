//! One request: the guard around the app's answers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use tower::Service;

use super::activity::Activity;
use super::client_addr::client_address;
use super::guard::{Guard, OriginCheck};
use super::networks::{Admission, Networks};
use super::response_body;
use crate::http::body::{BodyRefused, BoundedBody, answered};
use crate::rate_limit::account::{Account, Accounts, Client, Held};

/// Bytes that a request takes besides its head and its body: its task, and the head of its response.
const REQUEST_BYTES: usize = 4096;

/// A declared body of at most so many bytes is counted with its head, before it comes.
const BODY_AHEAD_BYTES: u64 = 16 * 1024;

/// The answers to requests that the listener lets in.
pub type Handler = Arc<dyn Fn(Client, Request<Body>) -> BoxFuture<'static, Response> + Send + Sync>;

/// A router's answers; the client is an extension of the request.
pub fn routed(router: Router) -> Handler {
    Arc::new(move |client, mut request| {
        request.extensions_mut().insert(client);
        let answer = router.clone().call(request);
        answer.map(|answer| answer.unwrap_or_else(|never| match never {})).boxed()
    })
}

/// The state that all connections share; never changed after start.
pub struct ServiceState {
    pub handler: Handler,
    pub guard: Guard,
    pub admission: Admission,
    pub trusted_proxies: Networks,
    pub accounts: Accounts,
    pub body_bytes: u64,
    pub body_within: std::time::Duration,
    /// By the status code's first digit, 1xx first: looked up once, not for every request.
    pub responses: [metrics::Counter; 5],
}

/// The state that the requests of one connection share.
pub struct Caller {
    pub answers: Arc<ServiceState>,
    /// The socket's address, or the one out of its PROXY header.
    pub address: IpAddr,
    pub account: Arc<Account>,
    pub activity: Arc<Activity>,
}

impl Caller {
    /// Answers one request; there is always an answer.
    pub async fn respond(&self, request: Request<Incoming>) -> Response {
        let under_way = self.activity.begin_request();
        let answers = &*self.answers;
        let address = client_address(self.address, request.headers(), &answers.trusted_proxies);
        let (account, admitted) = match address == self.address {
            true => (self.account.clone(), true),
            false => (answers.accounts.behind_proxy(address), answers.admission.admits(address)),
        };
        let held = Arc::new(Held::nothing(account.clone()));
        let client = Client { address, account };
        let verdict = answers.guard.check(&request);
        let asks_upgrade = request.method() == Method::CONNECT;
        let declared = request.body().size_hint().upper().filter(|size| *size <= BODY_AHEAD_BYTES);
        let ahead = declared.map_or(0, |size| size as usize);
        let bound =
            |body| BoundedBody::new(body, answers.body_bytes, answers.body_within).counting(held.clone(), ahead);
        let handle = async |request: Request<Body>| match verdict {
            _ if held.hold(REQUEST_BYTES + head_bytes(&request) + ahead).is_err() => no_room(),
            _ if !admitted => (StatusCode::FORBIDDEN, "this network is not allowed").into_response(),
            OriginCheck::Own | OriginCheck::Cors(_) => self.pass(request, client).await,
            OriginCheck::Preflight(_) => Box::pin(self.preflight(request, client)).await,
            OriginCheck::Foreign => (StatusCode::FORBIDDEN, "this origin is not allowed").into_response(),
            OriginCheck::NoHost => (StatusCode::BAD_REQUEST, "one Host header is required").into_response(),
        };
        let mut response = answered(request, bound, handle).await;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS || (asks_upgrade && status.is_success()) {
            self.activity.set_upgraded();
        } else {
            response = response_body::hold_response_bytes(response, held, &self.activity).unwrap_or_else(|_| no_room());
        }
        answers.guard.apply_headers(verdict, response.headers_mut());
        if let Some(counter) = answers.responses.get(usize::from(response.status().as_u16() / 100).wrapping_sub(1)) {
            counter.increment(1);
        }
        drop(under_way);
        response
    }

    /// An address that answers `OPTIONS` itself may say more than the guard does: what it accepts.
    async fn preflight(&self, request: Request<Body>, client: Client) -> Response {
        let response = self.pass(request, client).await;
        if response.status() == StatusCode::NO_CONTENT { response } else { StatusCode::NO_CONTENT.into_response() }
    }

    fn pass(&self, request: Request<Body>, client: Client) -> impl Future<Output = Response> + use<> {
        if request.body().size_hint().lower() > self.answers.body_bytes {
            return Either::Left(ready(BodyRefused::TooLarge.into_response()));
        }
        Either::Right((self.answers.handler)(client, request))
    }
}

/// The size of the request line and the header fields.
fn head_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    request.uri().path().len() + request.uri().query().map_or(0, str::len) + fields.sum::<usize>()
}

/// Nothing that could wait for the client in its turn.
fn no_room() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, HeaderValue::from_static("1"))]).into_response()
}
