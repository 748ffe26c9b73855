//! One request to the server, over a connection of its own: as rare as somebody coming, going, or finding a path.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confgate_sfu::protocol::{MemberId, RoomId, Source, StreamId};
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH, LOCATION};
use http::{HeaderValue, Method, Request as HttpRequest, Response, StatusCode, Uri};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use crate::clock::stall::patience;
use crate::event::Role;
use crate::http::client;
use crate::http::dial::{self, Tls};
use crate::ids::{ConfId, Secret, UserId};
use crate::media::session::Side;
use crate::token::{CallGatewayClaims, Kind, KindKeys};

/// The characters that stand in an address as they are (RFC 3986 section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How long a token serves that is signed for a session's beginning.
const TOKEN_TTL: Duration = Duration::from_secs(60);

/// The address and settings of one server.
#[derive(Clone)]
pub struct WhipServer {
    /// The common prefix of its addresses: http(s).
    pub base: Uri,
    /// The path for a client that sends a stream, with `{room}` and `{stream}` in it; and for one that watches it.
    pub whip_path: String,
    /// The path for a viewer.
    pub whep_path: String,
    /// The trust of its certificate.
    pub tls: Tls,
    /// The bearer token.
    pub bearer: Bearer,
    /// For each request.
    pub timeout: Duration,
    /// Between two looks whether it answers, and for that answer.
    pub probe_interval: Duration,
    /// For the answer to a probe.
    pub probe_timeout: Duration,
    /// Connections that count as a full server.
    pub endpoints_max: u64,
}

/// The bearer token for the server.
#[derive(Clone)]
pub enum Bearer {
    /// No token.
    Nothing,
    /// The configured token.
    Fixed(Secret),
    /// A call gateway token for each session, as another confgate's node wants: that node's id and keys.
    Signed(String, Arc<KindKeys>),
}

/// The result of a request.
#[derive(Debug)]
pub enum Done {
    Begun(Result<Begun, Failure>),
    /// `false`: the server takes no candidates.
    Trickled(bool),
    Ended,
}

/// A request of the driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Begin { side: Side, room: RoomId, stream: StreamId, viewer: MemberId, offer: String },
    Trickle { session: Session, fragment: String },
    End { session: Session },
}

/// A session at the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    pub address: Uri,
    pub tag: Option<String>,
    pub bearer: SessionBearer,
}

/// The token that began the session: sent again with each request.
#[derive(Clone, PartialEq)]
pub struct SessionBearer(Option<Secret>);

#[cfg(test)]
impl SessionBearer {
    pub fn nothing() -> Self {
        Self(None)
    }
}

impl std::fmt::Debug for SessionBearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionBearer")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    pub answer: String,
    pub session: Session,
}

/// The reason why no session has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nobody sends the stream yet, as far as the server knows.
    NotLive,
    BadSdp,
    Full,
    Unreachable,
}

impl Bearer {
    /// For the node of that id, whose tokens that secret signs.
    pub fn signed(id: &str, secret: &Secret) -> Self {
        let keys = KindKeys::new(&[(id.to_owned(), secret.clone())], Kind::CallGateway);
        Self::Signed(id.to_owned(), Arc::new(keys))
    }
}

impl WhipServer {
    /// Whether the server answers as one that is well.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<(), String> {
        patience(self.probe_timeout, self.look()).await.map_err(|_| "no answer in time".to_owned())?
    }

    async fn look(&self) -> Result<(), String> {
        let path = self.path(&self.whip_path, "probe", "probe");
        let address = self.address(&path).ok_or("the node's addresses are no URLs")?;
        let reply = self.exchange(Method::OPTIONS, &address, &SessionBearer(None), None, String::new()).await?;
        // A server that asks for a token, or has no use for OPTIONS, is there. A server that knows no such path isn't
        // the configured one.
        let is_there = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
        match reply.status() {
            status if status.is_success() || is_there.contains(&status) => Ok(()),
            status => Err(format!("it answers {status} at {path}")),
        }
    }

    /// Carries one request out.
    pub(super) async fn carry(&self, request: Request) -> Done {
        match request {
            Request::Begin { side, room, stream, viewer, offer } => {
                Done::Begun(self.begin(side, &room, &stream, &viewer, offer).await)
            }
            Request::Trickle { session, fragment } => {
                let headers = ("application/trickle-ice-sdpfrag", session.tag.as_deref());
                let reply =
                    self.exchange(Method::PATCH, &session.address, &session.bearer, Some(headers), fragment).await;
                Done::Trickled(reply.is_ok_and(|reply| reply.status().is_success()))
            }
            Request::End { session } => {
                let ended = self.exchange(Method::DELETE, &session.address, &session.bearer, None, String::new()).await;
                if let Err(why) = ended {
                    tracing::warn!(why, "a session may go on at the media server");
                }
                Done::Ended
            }
        }
    }

    async fn begin(
        &self,
        side: Side,
        room: &RoomId,
        stream: &StreamId,
        viewer: &MemberId,
        offer: String,
    ) -> Result<Begun, Failure> {
        let (room, name) = (room_name(room), stream_name(stream));
        let (template, user) = match side {
            Side::Sends => (&self.whip_path, name.as_str()),
            Side::Receives => (&self.whep_path, &**viewer),
        };
        let address = self.address(&self.path(template, &room, &name)).ok_or(Failure::Unreachable)?;
        let bearer = self.bearer(&room, user);
        let sent = self.exchange(Method::POST, &address, &bearer, Some(("application/sdp", None)), offer).await;
        let reply = sent.map_err(|why| {
            tracing::warn!(why, "the media server can't be asked");
            Failure::Unreachable
        })?;
        if reply.status() != StatusCode::CREATED {
            tracing::debug!(status = %reply.status(), "the media server begins no session");
            return Err(failure(reply.status()));
        }
        let header = |name| reply.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let place = header(LOCATION).and_then(|place| resolved(&address, place)).ok_or(Failure::Unreachable)?;
        let tag = header(ETAG).map(str::to_owned);
        let answer = String::from_utf8(reply.body().to_vec()).map_err(|_| Failure::Unreachable)?;
        Ok(Begun { answer, session: Session { address: place, tag, bearer } })
    }

    /// No redirect is followed.
    async fn exchange(
        &self,
        method: Method,
        address: &Uri,
        bearer: &SessionBearer,
        of_body: Option<(&'static str, Option<&str>)>,
        body: String,
    ) -> Result<Response<Bytes>, String> {
        let path = address.path_and_query().map_or("/", |path| path.as_str());
        let authority = address.authority().map_or("", |authority| authority.as_str());
        let mut request = HttpRequest::builder().method(method).uri(path).header(HOST, authority);
        if let Some((kind, condition)) = of_body {
            request = request.header(CONTENT_TYPE, kind);
            if let Some(tag) = condition {
                request = request.header(IF_MATCH, tag);
            }
        }
        // For the server that it was given for, and no other.
        if let Some(secret) = bearer.0.as_ref().filter(|_| address.authority() == self.base.authority()) {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose())).map_err(|e| e.to_string())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        timeout(self.timeout, send(address, &self.tls, request)).await.map_err(|_| "no answer in time".to_owned())?
    }

    fn bearer(&self, room: &str, user: &str) -> SessionBearer {
        SessionBearer(match &self.bearer {
            Bearer::Nothing => None,
            Bearer::Fixed(secret) => Some(secret.clone()),
            Bearer::Signed(gateway, keys) => ConfId::parse(room).zip(UserId::parse(user)).map(|(conf, user)| {
                // This node ends the session with the member's place; the server needs no roster.
                let claims = CallGatewayClaims::new(gateway, conf, user, Role::Guest, TOKEN_TTL);
                Secret::new(keys.sign(&claims.without_roster()))
            }),
        })
    }

    fn path(&self, template: &str, room: &str, stream: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        template.replace("{room}", &encoded(room)).replace("{stream}", &encoded(stream))
    }

    fn address(&self, path: &str) -> Option<Uri> {
        let base = self.base.to_string();
        format!("{}{path}", base.trim_end_matches('/')).parse().ok()
    }
}

async fn send(address: &Uri, tls: &Tls, request: HttpRequest<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let stream = dial::stream(address, tls).await.map_err(|error| error.to_string())?;
    let exchange = client::exchange(stream, request, confgate_sfu::sdp::SDP_MAX);
    exchange.await.map_err(|error| error.to_string())
}

fn failure(status: StatusCode) -> Failure {
    match status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => Failure::NotLive,
        StatusCode::BAD_REQUEST | StatusCode::NOT_ACCEPTABLE | StatusCode::UNPROCESSABLE_ENTITY => Failure::BadSdp,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Full,
        _ => Failure::Unreachable,
    }
}

/// A `Location`: a whole address, or a path at the same server.
fn resolved(address: &Uri, place: &str) -> Option<Uri> {
    if place.starts_with("http://") || place.starts_with("https://") {
        return place.parse().ok();
    }
    let origin = format!("{}://{}", address.scheme_str()?, address.authority()?);
    let path = match place.starts_with('/') {
        true => place.to_owned(),
        // Relative to the endpoint's own folder (RFC 3986 section 5.2.3).
        false => format!("{}{place}", &address.path()[..=address.path().rfind('/')?]),
    };
    format!("{origin}{path}").parse().ok()
}

/// The room's name at the server: a conference's id, or for an open room a name that no id can be.
fn room_name(room: &RoomId) -> String {
    match room.split_once('/') {
        Some(("conf", id)) => id.to_owned(),
        Some((space, name)) => format!("{space}~{name}"),
        None => room.to_string(),
    }
}

fn stream_name(stream: &StreamId) -> String {
    match stream.source {
        Source::Camera => stream.member.to_string(),
        Source::Screen => format!("{}..screen", stream.member),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_place_is_resolved_against_its_endpoint() {
        let endpoint: Uri = "https://media.example:8889/c1/anna/whip".parse().unwrap();
        for (place, whole) in [
            ("/whip/1", "https://media.example:8889/whip/1"),
            ("1?a=b", "https://media.example:8889/c1/anna/1?a=b"),
            ("http://other.example/x", "http://other.example/x"),
        ] {
            assert_eq!(resolved(&endpoint, place), Some(whole.parse().unwrap()), "{place}");
        }
        assert_eq!(resolved(&endpoint, "/ \u{1}"), None);
    }

    #[test]
    fn rooms_of_two_spaces_never_have_one_name() {
        assert_eq!(room_name(&"conf/c1".into()), "c1");
        assert_eq!(room_name(&"open/c1".into()), "open~c1");
    }
}
