//! The refusals of WHIP and WHEP: a status, and problem details (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::{ACCEPT_PATCH, ACCEPT_POST, FRAGMENT};
use crate::http::body::BodyRefused;
use crate::media::message::Code;
use crate::media::session::{self, Unfit};

/// Seconds until asking again makes sense: when somebody sends, and when the node has room.
const LIVE_S: HeaderValue = HeaderValue::from_static("2");
const ROOM_S: HeaderValue = HeaderValue::from_static("5");

pub(super) struct Refused {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    title: &'static str,
    header: Option<(HeaderName, HeaderValue)>,
}

fn problem(status: StatusCode, code: &'static str, title: &'static str) -> Refused {
    Refused { status, code, title, header: None }
}

impl Refused {
    pub fn no_token() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"confgate\"");
        let title = "a call gateway token is required: Authorization: Bearer";
        problem(StatusCode::UNAUTHORIZED, "unauthorized", title).with(WWW_AUTHENTICATE, challenge)
    }

    pub fn bad_token() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"confgate\", error=\"invalid_token\"");
        let title = "not a token of this node's, or it has expired or been used";
        problem(StatusCode::UNAUTHORIZED, "unauthorized", title).with(WWW_AUTHENTICATE, challenge)
    }

    pub fn other_room() -> Self {
        problem(StatusCode::FORBIDDEN, "forbidden", "the token is for another conference or user")
    }

    pub fn no_name() -> Self {
        problem(StatusCode::BAD_REQUEST, "badName", "a stream's name is [A-Za-z0-9_-]{1,64}")
    }

    pub fn unavailable() -> Self {
        problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available now").with(RETRY_AFTER, ROOM_S)
    }

    pub fn gone() -> Self {
        problem(StatusCode::NOT_FOUND, "notFound", "there is no such session")
    }

    pub fn no_sdp() -> Self {
        problem(StatusCode::BAD_REQUEST, "badSdp", "the body is no SDP")
    }

    pub fn not_acceptable() -> Self {
        problem(StatusCode::NOT_ACCEPTABLE, "notAcceptable", "the answer is application/sdp")
    }

    pub fn wrong_type(wanted: &'static str) -> Self {
        let name = if wanted == FRAGMENT { ACCEPT_PATCH } else { ACCEPT_POST };
        let title = "the body is of another type than this address takes";
        problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrongType", title).with(name, HeaderValue::from_static(wanted))
    }

    /// The conference has gone to another node, whose tokens are others.
    pub fn moved() -> Self {
        let title = "the conference is on another call gateway: allocate anew";
        problem(StatusCode::SERVICE_UNAVAILABLE, "moved", title).with(RETRY_AFTER, ROOM_S)
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

impl From<BodyRefused> for Refused {
    fn from(refused: BodyRefused) -> Self {
        match refused {
            BodyRefused::TooLarge => problem(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", "the body is too large"),
            BodyRefused::TooSlow => problem(StatusCode::REQUEST_TIMEOUT, "tooSlow", "the body didn't come in time"),
            BodyRefused::NoRoom => problem(StatusCode::TOO_MANY_REQUESTS, "tooMany", "too much is under way"),
            BodyRefused::Broken => problem(StatusCode::BAD_REQUEST, "broken", "the body broke off"),
        }
    }
}

/// The refusal for the node's error code.
impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        match code {
            Code::Unauthorized => Self::bad_token(),
            Code::Expelled => problem(StatusCode::FORBIDDEN, code.name(), "removed from the conference"),
            Code::Ended => problem(StatusCode::NOT_FOUND, code.name(), "the conference is over"),
            Code::Replaced => problem(StatusCode::CONFLICT, code.name(), "the user has come from elsewhere"),
            Code::BadMessage => problem(StatusCode::BAD_REQUEST, code.name(), "not to be answered here"),
            Code::NoCommonCodec => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, code.name(), "no codec of the stream's is in the offer")
            }
            Code::BadSdp | Code::PayloadTypes | Code::DtlsFailed | Code::IceFailed => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, code.name(), "the offer can't be answered")
            }
            Code::NotLive => {
                problem(StatusCode::CONFLICT, code.name(), "nobody sends that now").with(RETRY_AFTER, LIVE_S)
            }
            Code::TooMany => problem(StatusCode::TOO_MANY_REQUESTS, code.name(), "more than a client may ask for")
                .with(RETRY_AFTER, ROOM_S),
            Code::Overloaded => {
                problem(StatusCode::SERVICE_UNAVAILABLE, code.name(), "no room for more now").with(RETRY_AFTER, ROOM_S)
            }
            Code::Unavailable => Self::unavailable(),
        }
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NoSdp => Self::no_sdp(),
            Unfit::Media(title) => problem(StatusCode::UNPROCESSABLE_ENTITY, "badSdp", title),
        }
    }
}

impl From<session::Refused> for Refused {
    fn from(refused: session::Refused) -> Self {
        match refused {
            session::Refused::NoCondition => problem(
                StatusCode::PRECONDITION_REQUIRED,
                "noCondition",
                "If-Match is required: the session's ETag, or *",
            ),
            session::Refused::Stale => {
                problem(StatusCode::PRECONDITION_FAILED, "stale", "If-Match names an ICE session that is over")
            }
            session::Refused::Unreadable(title) => problem(StatusCode::BAD_REQUEST, "badFragment", title),
            session::Refused::Unfit(title) => problem(StatusCode::UNPROCESSABLE_ENTITY, "unfit", title),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { status, code, title, header } = self;
        metrics::counter!("confgate_http_sessions_refused_total", "code" => code).increment(1);
        let body = json!({ "status": status.as_u16(), "title": title, "code": code }).to_string();
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
