//! Where a request shows its token: `Authorization`, a subprotocol of a WebSocket's upgrade, or the query.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

/// The subprotocol that is answered to whoever offers `confgate, bearer.T`: the token does not come back.
pub const PROTOCOL: &str = "confgate";

/// What a client of ours offers to show that token.
pub fn offer(token: &str) -> String {
    format!("{PROTOCOL}, bearer.{token}")
}

/// The token of an upgrade, from whichever of the three places has one.
pub fn presented_token<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<Cow<'a, str>> {
    let in_headers = offered(headers).or_else(|| authorization(headers)).map(Cow::Borrowed);
    in_headers.or_else(|| query(uri, "token").next().map(Cow::Owned))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
pub fn authorization(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a subprotocol `bearer.T`, offered beside `confgate`.
fn offered(headers: &HeaderMap) -> Option<&str> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|offers| offers.split(',')).find_map(|offer| offer.trim().strip_prefix("bearer."))
}

/// The parameters of a query, decoded. Not as a form's, as crates read them: a `+` is itself, in tokens and positions.
pub fn query<'a>(uri: &'a Uri, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_comes_from_the_subprotocol_or_the_authorization() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("confgate, bearer.a.b.c"));
        assert_eq!(offered(&headers), Some("a.b.c"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer x.y.z"));
        assert_eq!(authorization(&headers), Some("x.y.z"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic abc"));
        assert_eq!(authorization(&headers), None);
    }

    #[test]
    fn a_query_is_decoded() {
        let uri: Uri = "/x?token=a%2Eb&resume=c1:e%3A1:7&resume=c2:e:8".parse().unwrap();
        assert_eq!(query(&uri, "token").next().as_deref(), Some("a.b"));
        assert_eq!(query(&uri, "resume").collect::<Vec<_>>(), ["c1:e:1:7", "c2:e:8"]);
    }
}
