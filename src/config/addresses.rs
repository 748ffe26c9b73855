//! Addresses as types: a URL, a web origin, the path in front of every route.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An absolute URL with a host, without credentials and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    text: String,
    uri: http::Uri,
}

impl Url {
    /// `None` where the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let authority = uri.authority()?.as_str();
        let whole = uri.scheme().is_some() && !authority.contains('@') && !text.contains('#');
        whole.then(|| Self { text: text.to_owned(), uri })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a URI.
    pub fn uri(&self) -> &http::Uri {
        &self.uri
    }

    /// With that path, unless it has one of its own.
    pub(super) fn at(self, path: &str) -> Self {
        let is_bare = matches!(self.uri.path(), "" | "/") && self.uri.query().is_none();
        let text = format!("{}{path}", self.text.trim_end_matches('/'));
        if is_bare { Self::parse(&text).unwrap_or(self) } else { self }
    }

    /// The scheme.
    pub fn scheme(&self) -> &str {
        self.uri.scheme_str().expect("a Url has a scheme: see parse")
    }

    /// Without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.uri.host().expect("a Url has a host: see parse").trim_matches(['[', ']'])
    }

    /// The one written, else the scheme's own.
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(match self.scheme() {
            "https" | "wss" => 443,
            _ => 80,
        })
    }
}

impl TryFrom<String> for Url {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("URL")
    }
}

impl From<Url> for String {
    fn from(url: Url) -> String {
        url.text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A web origin as a browser writes it in `Origin`: `https://host[:port]`, lower case, the scheme's own port left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// `None` for anything but `http(s)://host[:port]`; one trailing slash is forgiven.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        let url = Url::parse(&text)?;
        let authority = url.uri.authority()?.as_str();
        let bare = text == format!("{}://{authority}", url.scheme()) && !authority.contains('*');
        // `http::Uri` takes a port of any text after the colon; a browser never sends one that isn't a number.
        let port_is_number = authority.len() == url.uri.host()?.len() || url.uri.port_u16().is_some();
        if !bare || !port_is_number {
            return None;
        }
        match (url.scheme(), url.uri.port_u16()) {
            ("https", Some(443)) | ("http", Some(80)) => Some(Self(format!("{}://{}", url.scheme(), url.uri.host()?))),
            ("https" | "http", _) => Some(Self(text)),
            _ => None,
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("origin")
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path in front of every route: `/segment[/segment...]`, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BasePath(String);

impl BasePath {
    /// `None` where the text is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let segment = |s: &str| {
            !s.is_empty()
                && !s.bytes().all(|b| b == b'.')
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~'))
        };
        let good = text.len() <= 128 && text.strip_prefix('/')?.split('/').all(segment);
        good.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BasePath {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("path")
    }
}

impl From<BasePath> for String {
    fn from(path: BasePath) -> String {
        path.0
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        let origin = |text| Origin::parse(text).map(String::from);
        assert_eq!(origin("https://Conf.Example.org:443/").as_deref(), Some("https://conf.example.org"));
        assert_eq!(origin("http://localhost:3000").as_deref(), Some("http://localhost:3000"));
        assert_eq!(origin("https://[::1]:9092").as_deref(), Some("https://[::1]:9092"));
        for bad in [
            "*",
            "null",
            "https://*.example.org",
            "https://a/b",
            "https://a?b",
            "wss://a",
            "https://u:p@a",
            "a.org",
            "",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host_and_no_credentials() {
        assert_eq!(Url::parse("wss://[::1]/x").unwrap().host(), "::1");
        assert_eq!(Url::parse("wss://media.example.org").unwrap().port(), 443);
        for bad in ["/x", "host:80", "wss://u:p@host/", "wss://", "wss://a/#b"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_base_path_has_no_trailing_slash_and_no_dots_that_climb() {
        assert!(BasePath::parse("/gzbwclient").is_some());
        assert!(BasePath::parse("/a/b.c").is_some());
        for bad in ["", "/", "a", "/a/", "//", "/../a", "/a b", "/{a}", "/a?"] {
            assert_eq!(BasePath::parse(bad), None, "{bad}");
        }
    }
}
