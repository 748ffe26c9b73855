//! The origin rule, CORS, and the security headers that every answer carries.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE, OPTIONS");
/// `If-Match` is WHIP's; `Prosody-Rest-Timeout` goes with an IQ.
const CORS_REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-match, prosody-rest-timeout");
/// `Location`, `ETag` and `Link` are WHIP's and WHEP's; `Retry-After` comes with 429.
const CORS_EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("Location, ETag, Link, Retry-After");
/// Seconds that a browser may remember a preflight: the longest that Chromium honours.
const CORS_MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// A year, the usual least for preload lists. Not for subdomains: they are not ours to speak for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// How many headers an answer is given, and how many more for another origin's page.
const OWN_HEADERS: usize = 6;
const CORS_HEADERS: usize = 4;
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// The browser features that our page uses. Frames that it embeds get none of them.
const PERMISSIONS: HeaderValue =
    HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self), autoplay=(self)");

/// The part of the configuration that concerns browsers.
#[derive(Debug, Clone, Default)]
pub struct GuardSettings {
    /// Where browsers reach us, if that isn't the address they name in `Host`: `https://meet.example.org`.
    pub public_url: Option<String>,
    /// Other origins whose pages may call and embed us: `https://intranet.example.org`.
    pub allowed_origins: Vec<String>,
    /// Addresses beside our own that our page connects to: `wss://` and `https://` of the call gateways.
    pub connect_urls: Vec<String>,
}

/// A setting that is no origin, or no address with one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin like https://meet.example.org")]
pub struct GuardError(String);

/// The guard's decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginCheck<'a> {
    /// No browser, our own page, or a socket of another gateway node's page.
    Own,
    /// A page of an allowed origin; its answer names that origin.
    Cors(&'a HeaderValue),
    /// A browser asks in the name of such a page whether it may; to be answered here.
    Preflight(&'a HeaderValue),
    /// A page of any other origin (`null` too): 403.
    Foreign,
    /// HTTP/1.1 without exactly one `Host`: 400 (RFC 9112, section 3.2).
    NoHost,
}

/// Decides by configuration, and by the other gateway nodes that there are then.
pub struct Guard {
    own: Option<HeaderValue>,
    allowed: Vec<HeaderValue>,
    neighbours: Neighbours,
}

/// The other gateway nodes whose call gateways our pages use, and whose pages use ours. Cloneable; written by the task
/// that reads their register.
#[derive(Clone)]
pub struct Neighbours(Arc<NeighbourState>);

struct NeighbourState {
    /// Origins that may embed us, and those beside our own that our page connects to, by configuration.
    embedders: Vec<String>,
    connect: Vec<String>,
    current: ArcSwap<Current>,
}

struct Current {
    origins: Vec<HeaderValue>,
    content_security_policy: HeaderValue,
}

impl Neighbours {
    fn new(embedders: Vec<String>, connect: Vec<String>) -> Result<Self, GuardError> {
        let content_security_policy = header_value(&content_security_policy(&embedders, &connect))?;
        let current = ArcSwap::from_pointee(Current { origins: Vec::new(), content_security_policy });
        Ok(Self(Arc::new(NeighbourState { embedders, connect, current })))
    }

    /// There are these, and no others: the origins of their pages, and the addresses of their call gateways. What is
    /// none is left out.
    pub fn set<'a>(&self, origins: impl Iterator<Item = &'a str>, urls: impl Iterator<Item = &'a str>) {
        let origins = origins.filter_map(|text| header_value(&parse_origin(text).ok()?).ok()).collect();
        let mut connect = self.0.connect.clone();
        for origin in urls.filter_map(|url| origin_of_url(url).ok()) {
            if !connect.contains(&origin) {
                connect.push(origin);
            }
        }
        if let Ok(policy) = header_value(&content_security_policy(&self.0.embedders, &connect)) {
            self.0.current.store(Arc::new(Current { origins, content_security_policy: policy }));
        }
    }

    /// Whether a page of that origin opens a WebSocket: at our call gateways it shows a token.
    fn opens_socket<B>(&self, origin: &HeaderValue, request: &Request<B>) -> bool {
        // RFC 8441: over HTTP/2 it is CONNECT.
        let is_upgrade = request.headers().contains_key(header::UPGRADE) || request.method() == Method::CONNECT;
        is_upgrade && self.0.current.load().origins.contains(origin)
    }
}

impl Guard {
    /// The guard of these settings.
    ///
    /// # Errors
    /// An origin that can't stand in a header.
    pub fn new(settings: &GuardSettings) -> Result<Self, GuardError> {
        let own = settings.public_url.as_deref().map(origin_of_url).transpose()?;
        let allowed = settings.allowed_origins.iter().map(|text| parse_origin(text)).collect::<Result<Vec<_>, _>>()?;
        let connect = settings.connect_urls.iter().map(|text| origin_of_url(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            own: own.as_deref().map(header_value).transpose()?,
            allowed: allowed.iter().map(|origin| header_value(origin)).collect::<Result<_, _>>()?,
            neighbours: Neighbours::new(allowed, connect)?,
        })
    }

    /// The other gateway nodes, to be set as they come and go.
    pub fn neighbours(&self) -> Neighbours {
        self.neighbours.clone()
    }

    /// Applies the origin rule.
    pub fn check<B>(&self, request: &Request<B>) -> OriginCheck<'_> {
        let headers = request.headers();
        if request.version() == Version::HTTP_11 && headers.get_all(header::HOST).iter().take(2).count() != 1 {
            return OriginCheck::NoHost;
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return OriginCheck::Own };
        if origins.next().is_some() {
            return OriginCheck::Foreign;
        }
        if self.own.as_ref() == Some(origin) || is_own_authority(origin, request.uri(), headers) {
            return OriginCheck::Own;
        }
        match self.allowed.iter().find(|allowed| *allowed == origin) {
            None if self.neighbours.opens_socket(origin, request) => OriginCheck::Own,
            None => OriginCheck::Foreign,
            Some(origin) if is_preflight(request) => OriginCheck::Preflight(origin),
            Some(origin) => OriginCheck::Cors(origin),
        }
    }

    /// Writes the headers that every answer carries; a policy that a page set for itself stays.
    pub fn apply_headers(&self, verdict: OriginCheck<'_>, headers: &mut HeaderMap) {
        headers.reserve(if matches!(verdict, OriginCheck::Own) { OWN_HEADERS } else { OWN_HEADERS + CORS_HEADERS });
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        headers.insert(header::REFERRER_POLICY, NO_REFERRER);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(PERMISSIONS_POLICY, PERMISSIONS);
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert_with(|| self.neighbours.0.current.load().content_security_policy.clone());
        if !self.allowed.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        match verdict {
            OriginCheck::Cors(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED_HEADERS);
            }
            OriginCheck::Preflight(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS);
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_REQUEST_HEADERS);
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE_S);
            }
            OriginCheck::Own | OriginCheck::Foreign | OriginCheck::NoHost => {}
        }
    }
}

fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// True where the page came from the authority that this request was sent to. Only `https`: nothing else is served here.
fn is_own_authority(origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) -> bool {
    let asked = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => headers.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes),
    };
    let Some(page) = origin.as_bytes().strip_prefix(b"https://") else { return false };
    let port = |authority: &'_ [u8]| authority.strip_suffix(b":443").map_or(authority.len(), <[u8]>::len);
    let (page, asked) = (&page[..port(page)], &asked[..port(asked)]);
    !page.is_empty() && page.eq_ignore_ascii_case(asked)
}

/// `scheme://host[:port]` as a browser writes it: lower case, without the scheme's own port.
fn parse_origin(text: &str) -> Result<String, GuardError> {
    let wrong = || GuardError(text.to_owned());
    let lower = text.trim().trim_end_matches('/').to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(wrong)?;
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    // No `*`, no user, and nothing that would begin another directive of the policy.
    let authority_fits =
        !authority.is_empty() && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    if !scheme_fits || !authority_fits || authority.parse::<http::uri::Authority>().is_err() {
        return Err(wrong());
    }
    let own_port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => "",
    };
    Ok(format!("{scheme}://{}", authority.strip_suffix(own_port).unwrap_or(authority)))
}

/// The origin of an address that may have a path.
fn origin_of_url(text: &str) -> Result<String, GuardError> {
    let wrong = || GuardError(text.to_owned());
    let (scheme, rest) = text.trim().split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    parse_origin(&format!("{scheme}://{authority}")).map_err(|_| wrong())
}

/// Our own scripts and styles only, nothing inline; media comes over WebRTC and needs no source.
fn content_security_policy(embedders: &[String], connect: &[String]) -> String {
    let mut connect_sources = vec!["'self'"];
    connect_sources.extend(connect.iter().map(String::as_str));
    let ancestors = if embedders.is_empty() { "'none'".to_owned() } else { embedders.join(" ") };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; \
         media-src 'self' blob:; connect-src {}; worker-src 'self'; manifest-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors {ancestors}",
        connect_sources.join(" ")
    )
}

fn header_value(text: &str) -> Result<HeaderValue, GuardError> {
    HeaderValue::from_str(text).map_err(|_| GuardError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(&GuardSettings {
            public_url: Some("https://Meet.example.org:443/gzbwclient".into()),
            allowed_origins: vec!["https://intranet.example.org/".into(), "http://localhost:3000".into()],
            connect_urls: vec!["wss://sfu1.example.org:8443/groupcall".into(), "https://whip.example.org/".into()],
        })
        .expect("settings")
    }

    fn request(host: &str, origin: Option<&str>) -> Request<()> {
        let mut request = Request::post("/gzbwclient/jsonrpc").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn the_origin_rule_holds_line_by_line() {
        let guard = guard();
        let intranet = HeaderValue::from_static("https://intranet.example.org");
        let local = HeaderValue::from_static("http://localhost:3000");
        let table: &[(&str, Option<&str>, OriginCheck<'_>)] = &[
            ("a:9092", None, OriginCheck::Own),
            ("a:9092", Some("https://a:9092"), OriginCheck::Own),
            ("A:9092", Some("https://a:9092"), OriginCheck::Own),
            ("a", Some("https://a:443"), OriginCheck::Own),
            ("a:443", Some("https://a"), OriginCheck::Own),
            ("[::1]:9092", Some("https://[::1]:9092"), OriginCheck::Own),
            ("a:9092", Some("https://meet.example.org"), OriginCheck::Own),
            ("a:9092", Some("https://intranet.example.org"), OriginCheck::Cors(&intranet)),
            ("a:9092", Some("http://localhost:3000"), OriginCheck::Cors(&local)),
            ("a:9092", Some("http://a:9092"), OriginCheck::Foreign),
            ("a:9092", Some("https://a:9093"), OriginCheck::Foreign),
            ("a:9092", Some("https://a"), OriginCheck::Foreign),
            ("a:9092", Some("null"), OriginCheck::Foreign),
            ("a:9092", Some(""), OriginCheck::Foreign),
            ("a:9092", Some("https://"), OriginCheck::Foreign),
            ("a:9092", Some("https://a:9092.evil.example"), OriginCheck::Foreign),
            ("a:9092", Some("https://intranet.example.org.evil.example"), OriginCheck::Foreign),
            ("a:9092", Some("http://intranet.example.org"), OriginCheck::Foreign),
            ("a:9092", Some("http://localhost:3001"), OriginCheck::Foreign),
        ];
        for (host, origin, verdict) in table {
            assert_eq!(guard.check(&request(host, *origin)), *verdict, "{host} {origin:?}");
        }
    }

    #[test]
    fn a_page_of_another_gateway_node_opens_sockets_and_nothing_else_while_that_node_is_there() {
        let guard = guard();
        let page = "https://n2.example.org:9092";
        let mut socket = request("a:9092", Some(page));
        socket.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
        assert_eq!(guard.check(&socket), OriginCheck::Foreign);
        let there = [page, "no origin"];
        guard.neighbours().set(there.into_iter(), ["wss://n2.example.org:9092/x/callgw", ""].into_iter());
        assert_eq!(guard.check(&socket), OriginCheck::Own);
        assert_eq!(guard.check(&request("a:9092", Some(page))), OriginCheck::Foreign);
        let policy = || {
            let mut headers = HeaderMap::new();
            guard.apply_headers(OriginCheck::Own, &mut headers);
            headers["content-security-policy"].to_str().expect("text").to_owned()
        };
        assert!(policy().contains(" https://whip.example.org wss://n2.example.org:9092;"), "{}", policy());
        guard.neighbours().set([].into_iter(), [].into_iter());
        assert_eq!(guard.check(&socket), OriginCheck::Foreign);
        assert!(!policy().contains("n2"), "{}", policy());
    }

    #[test]
    fn two_origins_are_foreign_and_no_host_is_no_request() {
        let mut twice = request("a", Some("https://a"));
        twice.headers_mut().append("origin", HeaderValue::from_static("https://a"));
        assert_eq!(guard().check(&twice), OriginCheck::Foreign);
        let mut hosts = request("a", None);
        hosts.headers_mut().append("host", HeaderValue::from_static("b"));
        assert_eq!(guard().check(&hosts), OriginCheck::NoHost);
        hosts.headers_mut().remove("host");
        assert_eq!(guard().check(&hosts), OriginCheck::NoHost);
        *hosts.version_mut() = Version::HTTP_10;
        assert_eq!(guard().check(&hosts), OriginCheck::Own);
    }

    #[test]
    fn a_preflight_is_answered_for_allowed_origins_only_and_never_with_credentials() {
        let guard = guard();
        let mut preflight = request("a", Some("https://intranet.example.org"));
        *preflight.method_mut() = Method::OPTIONS;
        preflight.headers_mut().insert("access-control-request-method", HeaderValue::from_static("POST"));
        let verdict = guard.check(&preflight);
        assert!(matches!(verdict, OriginCheck::Preflight(_)));
        let mut headers = HeaderMap::new();
        guard.apply_headers(verdict, &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "https://intranet.example.org");
        assert_eq!(headers["vary"], "origin");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        preflight.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
        assert_eq!(guard.check(&preflight), OriginCheck::Foreign);
    }

    #[test]
    fn every_answer_carries_the_security_headers() {
        let mut headers = HeaderMap::new();
        guard().apply_headers(OriginCheck::Own, &mut headers);
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers["permissions-policy"].to_str().is_ok_and(|p| p.contains("camera=(self), microphone=(self)")));
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.contains("connect-src 'self' wss://sfu1.example.org:8443 https://whip.example.org;"),
            "{policy}"
        );
        assert!(policy.ends_with("frame-ancestors https://intranet.example.org http://localhost:3000"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        assert!(!headers.contains_key("access-control-allow-origin"));
        let mut headers = HeaderMap::new();
        Guard::new(&GuardSettings::default()).expect("settings").apply_headers(OriginCheck::Own, &mut headers);
        assert!(headers["content-security-policy"].to_str().is_ok_and(|p| p.ends_with("frame-ancestors 'none'")));
        assert!(!headers.contains_key("vary"));
    }

    #[test]
    fn a_setting_that_is_no_origin_is_refused() {
        for text in [
            "*",
            "null",
            "example.org",
            "https://",
            "https://*.example.org",
            "https://a/b",
            "https://a;b",
            "https://u@a",
        ] {
            let settings = GuardSettings { allowed_origins: vec![text.into()], ..GuardSettings::default() };
            assert!(Guard::new(&settings).is_err(), "{text}");
        }
    }
}
