//! `POST {base}/rest`: an XML IQ over HTTP, as Prosody's mod_rest has it (its statuses, its content type, its header for the
//! time limit), for every XMPP server. JSON, other stanzas, paths and call-backs of mod_rest are not offered.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use crate::refusal::{Kind, Refusal};
use crate::rpc::NotAnswered;

/// The type of a stanza as a document of its own.
const MEDIA_TYPE: &str = "application/xmpp+xml";
/// The header with the time limit, in seconds.
const TIMEOUT: &str = "prosody-rest-timeout";
/// When to try again where the EIM is away, in seconds.
const AWAY_RETRY_S: u64 = 5;

/// Refuses a request that shows no token, or has another body than a stanza.
///
/// # Errors
/// 401 and 415.
pub fn check_head(headers: &HeaderMap, has_token: bool) -> Result<(), StatusCode> {
    if !has_token {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(MEDIA_TYPE) { Ok(()) } else { Err(StatusCode::UNSUPPORTED_MEDIA_TYPE) }
}

/// The answer to a request whose head is refused.
pub fn refused_head(status: StatusCode) -> Response {
    let mut response = status.into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"confgate\""));
    }
    response
}

/// The time limit that the client wants; one that is no number of seconds above 0 is none, as in mod_rest.
pub fn limit(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(TIMEOUT)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|limit| !limit.is_zero())
}

/// The response: the answer as a stanza, or a refusal as JSON.
pub fn response(outcome: Result<String, NotAnswered>) -> Response {
    let not_answered = match outcome {
        Ok(xml) => return with_type(StatusCode::OK, MEDIA_TYPE, xml),
        Err(not_answered) => not_answered,
    };
    let refusal = not_answered.refusal();
    let status = status(&not_answered);
    let mut response = with_type(status, "application/json", refusal.to_json().to_string());
    if let Some(seconds) = retry_after_s(status, refusal) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn with_type(status: StatusCode, media_type: &'static str, body: String) -> Response {
    (status, [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "no-store")], body).into_response()
}

fn status(not_answered: &NotAnswered) -> StatusCode {
    match not_answered {
        NotAnswered::Malformed(_) => StatusCode::BAD_REQUEST,
        NotAnswered::Unsuitable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NotAnswered::Refused(refusal) => match refusal.kind {
            // A token was shown: it is not accepted.
            Kind::Unauthenticated | Kind::TokenExpired | Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Kind::InvalidParams => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::EimUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::EimTimeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

fn retry_after_s(status: StatusCode, refusal: &Refusal) -> Option<u64> {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Some(AWAY_RETRY_S),
        StatusCode::TOO_MANY_REQUESTS => {
            let wait_ms = refusal.data.get("retryAfterMs").and_then(Value::as_u64).unwrap_or(1000);
            Some(wait_ms.div_ceil(1000).max(1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(value: &'static str) -> Option<Duration> {
        limit(&HeaderMap::from_iter([(TIMEOUT.parse().unwrap(), HeaderValue::from_static(value))]))
    }

    #[test]
    fn a_limit_is_a_number_of_seconds() {
        assert_eq!(limit_of("2"), Some(Duration::from_secs(2)));
        assert_eq!(limit_of(" 0.25 "), Some(Duration::from_millis(250)));
        for none in ["", "abc", "0", "-1", "NaN", "inf", "1e300", "2 s"] {
            assert_eq!(limit_of(none), None, "{none}");
        }
    }
}
