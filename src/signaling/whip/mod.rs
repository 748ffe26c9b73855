//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) on the node: offers, trickled candidates and ends over HTTP.
//!
//! | address | what |
//! |---|---|
//! | `{path}/whip/{confId}` | `POST` an offer to send: the token's user is in that conference, seen and heard |
//! | `{path}/whep/{confId}` | `POST` an offer to receive its main stream |
//! | `{path}/whep/{confId}/{userId}`, `.../{userId}/screen` | that one |
//! | `{path}/whip-open/{name}` | `POST` an offer to send outside conferences, with an operator's token |
//! | `.../{confId}/~/{session}` | `PATCH`, `DELETE`: what `Location` says of a session |

mod refusals;
mod session;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, patch, post};
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, LINK, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::oneshot;

use self::refusals::Refused;
pub(super) use self::sessions::Sessions;
use self::sessions::{SessionRequest, SessionRequests};
use super::Signal;
use crate::callgw::IceServer;
use crate::clock::date_ms;
use crate::event::Role;
use crate::http::bearer::authorization;
use crate::http::body::{BodyRefused, bounded_body};
use crate::ids::{ConfId, UserId};
use crate::media::group::FLAT;
use crate::media::session::{FRAGMENT_MAX, Offer, Side};
use crate::media::{ClientCredentials, Purpose, Session};
use crate::token::CallGatewayClaims;

/// How long the claims serve that an operator's stream is begun with: it goes on beyond them.
const OUTSIDE: Duration = Duration::from_secs(60);
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Where streams outside conferences are published.
const OPEN: &str = "whip-open";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

type Answer = Result<Response, Refused>;

pub(super) fn router(path: &str) -> Router<Arc<Signal>> {
    let (whip, whep) = (format!("{path}/whip/{{conf}}"), format!("{path}/whep/{{conf}}"));
    let open = format!("{path}/{OPEN}/{{name}}");
    Router::new()
        .route(&open, post(publish_outside).options(endpoint_options))
        .route(&format!("{open}/~/{{session}}"), session_methods())
        .route(&whip, post(publish).options(endpoint_options))
        .route(&whep, viewing(watch_main))
        .route(&format!("{whep}/{{stream}}"), viewing(watch))
        .route(&format!("{whep}/{{stream}}/screen"), viewing(watch_screen))
        .route(&format!("{whip}/~/{{session}}"), session_methods())
        .route(&format!("{whep}/~/{{session}}"), session_methods())
}

/// A viewer's endpoint: WHEP, other than WHIP, wants a `GET` answered with success.
fn viewing<H, T>(watch: H) -> MethodRouter<Arc<Signal>>
where
    H: axum::handler::Handler<T, Arc<Signal>>,
    T: 'static,
{
    get(async || StatusCode::NO_CONTENT).post(watch).options(endpoint_options)
}

fn session_methods() -> MethodRouter<Arc<Signal>> {
    patch(change).delete(end).options(session_options)
}

async fn endpoint_options() -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, "POST, OPTIONS"), (ACCEPT_POST, SDP)]).into_response()
}

async fn session_options() -> Response {
    (StatusCode::NO_CONTENT, [(ALLOW, "PATCH, DELETE, OPTIONS"), (ACCEPT_PATCH, FRAGMENT)]).into_response()
}

async fn publish(State(signal): State<Arc<Signal>>, Path(conf): Path<String>, request: Request) -> Answer {
    begin(signal, conf, Purpose::Publish, request).await
}

/// Outside conferences, in a room of its own: whoever may pull it by hand has it, and nobody else.
async fn publish_outside(State(signal): State<Arc<Signal>>, Path(name): Path<String>, request: Request) -> Answer {
    if let Some(refused) = signal.over_budget(&request) {
        return Ok(refused);
    }
    let (head, body) = request.into_parts();
    let token = authorization(&head.headers).ok_or(Refused::no_token())?;
    if !(signal.settings.operators)(token) {
        return Err(Refused::bad_token());
    }
    let name = ConfId::parse(&name).ok_or(Refused::no_name())?;
    let user = UserId::parse(FLAT).expect("a word");
    let claims = CallGatewayClaims::new(&signal.node, name, user, Role::Guest, OUTSIDE).outside_conferences();
    begin_as(signal, claims, Purpose::Publish, &head.headers, body).await
}

async fn watch_main(State(signal): State<Arc<Signal>>, Path(conf): Path<String>, request: Request) -> Answer {
    begin(signal, conf, Purpose::Watch(None), request).await
}

async fn watch(
    State(signal): State<Arc<Signal>>,
    Path((conf, stream)): Path<(String, String)>,
    request: Request,
) -> Answer {
    begin(signal, conf, Purpose::Watch(Some(stream)), request).await
}

async fn watch_screen(
    State(signal): State<Arc<Signal>>,
    Path((conf, member)): Path<(String, String)>,
    request: Request,
) -> Answer {
    begin(signal, conf, Purpose::Watch(Some(format!("{member}/screen"))), request).await
}

async fn begin(signal: Arc<Signal>, conf: String, purpose: Purpose, request: Request) -> Answer {
    if let Some(refused) = signal.over_budget(&request) {
        return Ok(refused);
    }
    let (head, body) = request.into_parts();
    let claims = signal.admits(&head.headers, &conf)?;
    begin_as(signal, claims, purpose, &head.headers, body).await
}

async fn begin_as(
    signal: Arc<Signal>,
    claims: CallGatewayClaims,
    purpose: Purpose,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    check_type(headers, SDP)?;
    check_accept(headers)?;
    let side = if purpose == Purpose::Publish { Side::Sends } else { Side::Receives };
    let offer = Offer::read(&text(body, confgate_sfu::sdp::SDP_MAX).await?, side)?;
    let user = claims.user_id.clone();
    let session = Session { claims: Box::new(claims.clone()), purpose, offer: offer.text().to_owned() };
    let place = signal.media.begin(session).await.ok_or(Refused::unavailable())?;
    let (reply, answer) = oneshot::channel();
    let location = session::start(&signal, side, claims, offer, place, reply);
    let begun = answer.await.map_err(|_| Refused::unavailable())??;
    metrics::counter!("confgate_http_sessions_total", "protocol" => protocol(side)).increment(1);
    let mut response = (
        StatusCode::CREATED,
        [(CONTENT_TYPE, SDP.to_owned()), (LOCATION, location), (ETAG, begun.entity_tag)],
        begun.answer,
    )
        .into_response();
    if let Some(turn) = &signal.settings.turn {
        let server = IceServer::new(turn, &user, date_ms());
        for link in links(&server) {
            response.headers_mut().append(LINK, link);
        }
    }
    Ok(response)
}

async fn change(State(signal): State<Arc<Signal>>, Path(at): Path<(String, String)>, request: Request) -> Answer {
    if let Some(refused) = signal.over_budget(&request) {
        return Ok(refused);
    }
    let (head, body) = request.into_parts();
    let requests = signal.session(&head.headers, &at)?;
    check_type(&head.headers, FRAGMENT)?;
    let condition = head.headers.get(IF_MATCH).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let fragment = text(body, FRAGMENT_MAX).await?;
    let (reply, done) = oneshot::channel();
    let gone = |_| Refused::gone();
    requests.send(SessionRequest::Patch { condition, fragment, reply }).await.map_err(|_| Refused::gone())?;
    match done.await.map_err(gone)?? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(restarted) => {
            let headers = [(CONTENT_TYPE, FRAGMENT.to_owned()), (ETAG, restarted.entity_tag)];
            Ok((StatusCode::OK, headers, restarted.answer).into_response())
        }
    }
}

async fn end(State(signal): State<Arc<Signal>>, Path(at): Path<(String, String)>, request: Request) -> Answer {
    if let Some(refused) = signal.over_budget(&request) {
        return Ok(refused);
    }
    let requests = signal.session(request.headers(), &at)?;
    let (reply, done) = oneshot::channel();
    requests.send(SessionRequest::End(reply)).await.map_err(|_| Refused::gone())?;
    // Gone by itself meanwhile is ended too.
    done.await.ok();
    Ok(StatusCode::OK.into_response())
}

impl Signal {
    /// The claims of the request's token, which must be valid for that conference.
    fn admits(&self, headers: &HeaderMap, conf: &str) -> Result<CallGatewayClaims, Refused> {
        let token = authorization(headers).ok_or(Refused::no_token())?;
        match self.tokens.client(token) {
            ClientCredentials::Claims(claims) if claims.conf_id.as_str() == conf => Ok(*claims),
            ClientCredentials::Claims(_) => Err(Refused::other_room()),
            ClientCredentials::Nothing | ClientCredentials::Refused | ClientCredentials::Pull(_) => {
                Err(Refused::bad_token())
            }
        }
    }

    /// The session at that address: for who bears the token that began it, which serves for that as long as it lasts,
    /// or a fresh one of the same user.
    fn session(&self, headers: &HeaderMap, (conf, name): &(String, String)) -> Result<SessionRequests, Refused> {
        let token = authorization(headers).ok_or(Refused::no_token())?;
        let found = self.sessions.find(name);
        if let Some((begun, requests)) = &found
            && begun.flat
        {
            let is_theirs = (self.settings.operators)(token) && begun.conf_id.as_str() == conf;
            return if is_theirs { Ok(requests.clone()) } else { Err(Refused::bad_token()) };
        }
        let shown = self.tokens.once(token).ok_or(Refused::bad_token())?;
        let (begun, requests) = found.ok_or(Refused::gone())?;
        if begun.conf_id.as_str() != conf {
            return Err(Refused::gone());
        }
        if (&begun.conf_id, &begun.user_id) != (&shown.conf_id, &shown.user_id) {
            return Err(Refused::other_room());
        }
        let serves = begun.nonce == shown.nonce || matches!(self.tokens.client(token), ClientCredentials::Claims(_));
        if serves { Ok(requests) } else { Err(Refused::bad_token()) }
    }
}

fn check_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Refused> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(Refused::wrong_type(wanted)) }
}

/// A client that takes no SDP can't be answered.
fn check_accept(headers: &HeaderMap) -> Result<(), Refused> {
    let mut asked = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    let fits = |list: &str| {
        list.split(',')
            .map(|one| one.split(';').next().unwrap_or_default().trim())
            .any(|kind| kind == "*/*" || kind.eq_ignore_ascii_case("application/*") || kind.eq_ignore_ascii_case(SDP))
    };
    if asked.peek().is_none() || asked.any(fits) { Ok(()) } else { Err(Refused::not_acceptable()) }
}

/// Read to its end, which the listener bounds, also where it is too long for here: a client that is still writing hears
/// no refusal.
async fn text(body: Body, max: usize) -> Result<String, Refused> {
    let bytes = bounded_body(body, usize::MAX).await?;
    if bytes.len() > max {
        return Err(BodyRefused::TooLarge.into());
    }
    String::from_utf8(bytes.into()).map_err(|_| Refused::no_sdp())
}

/// The protocol, as addresses and metrics have it.
fn protocol(side: Side) -> &'static str {
    match side {
        Side::Sends => "whip",
        Side::Receives => "whep",
    }
}

/// RFC 9725 section 4.6. A value that can't stand in a header is left out.
fn links(server: &IceServer) -> impl Iterator<Item = HeaderValue> {
    server.urls.iter().filter_map(|url| {
        let credentials = match (&server.username, &server.credential) {
            (Some(name), Some(credential)) if url.starts_with("turn") => {
                format!("; username=\"{name}\"; credential=\"{credential}\"; credential-type=\"password\"")
            }
            _ => String::new(),
        };
        HeaderValue::from_str(&format!("<{url}>; rel=\"ice-server\"{credentials}")).ok()
    })
}
