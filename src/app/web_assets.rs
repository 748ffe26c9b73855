//! The page's files, as they are sent.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use rust_embed::RustEmbed;

use crate::http::body::OwnBytes;

/// The page's files, in the binary.
#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "test/*"]
#[exclude = "*.md"]
#[exclude = "package.json"]
#[exclude = "jsconfig.json"]
struct Files;

/// A file, as it is sent.
struct File {
    bytes: Bytes,
    tag: HeaderValue,
}

/// All by name, made once.
pub(super) struct WebAssets(HashMap<String, File>);

impl WebAssets {
    /// Pages are told where they live.
    pub fn load(base: &str) -> Self {
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
        Self(Files::iter().filter_map(made).collect())
    }

    pub fn page(&self, name: &str) -> Response {
        let Some(file) = self.0.get(name) else { return StatusCode::NOT_FOUND.into_response() };
        let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        shared((headers, file.bytes.clone()).into_response())
    }

    /// A file that pages load. A browser that knows the file already is told so.
    pub fn asset(&self, name: &str, headers: &HeaderMap) -> Response {
        let file = self.0.get(name).filter(|_| !name.ends_with(".html"));
        let Some(file) = file else { return StatusCode::NOT_FOUND.into_response() };
        let of_file = [(ETAG, file.tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == file.tag) {
            return (StatusCode::NOT_MODIFIED, of_file).into_response();
        }
        shared((of_file, [(CONTENT_TYPE, content_type(name))], file.bytes.clone()).into_response())
    }
}

/// Says that the body is made once, and no answer's own.
pub(super) fn shared(mut response: Response) -> Response {
    response.extensions_mut().insert(OwnBytes(0));
    response
}

/// For the five kinds of files that the page has. `mime_guess` would bring a table of all kinds, and names no character
/// set.
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
