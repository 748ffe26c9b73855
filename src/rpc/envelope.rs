//! JSON-RPC 2.0's envelope, read leniently where the seed's clients need it and strictly everywhere else. Pure.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Answer;
use super::reply::Reply;
use crate::refusal::{Reason, Refusal};

/// Longest string id, in bytes.
const ID_MAX: usize = 256;
/// Longest method name that is looked up.
const METHOD_MAX: usize = 128;

/// A request as read: the id's text is kept to the letter.
#[derive(Debug)]
pub struct Request<'a> {
    /// `None` for a notification.
    pub id: Option<&'a RawValue>,
    /// The method's name.
    pub method: Cow<'a, str>,
    /// The params, as written.
    pub params: Option<&'a RawValue>,
}

/// The content of a body.
#[derive(Debug)]
pub enum Body<'a> {
    /// One request.
    Single(Result<Request<'a>, Rejected<'a>>),
    /// A batch.
    Batch(Vec<Result<Request<'a>, Rejected<'a>>>),
}

/// An entry that is no request, and the id to answer it under (null where none can be read).
#[derive(Debug)]
pub struct Rejected<'a> {
    /// The request's id, if it has a readable one.
    pub id: Option<&'a RawValue>,
    /// The refusal.
    pub refusal: Refusal,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a body. `max_batch`: most entries of a batch. `strict`: demand `"jsonrpc": "2.0"`.
pub fn parse(body: &[u8], max_batch: usize, strict: bool) -> Body<'_> {
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    if first != Some(&b'[') {
        return Body::Single(request(body, strict));
    }
    let entries: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(entries) => entries,
        Err(_) => return Body::Single(Err(ill_formed(body, "not a batch"))),
    };
    if entries.is_empty() {
        return Body::Single(Err(Rejected::new(None, "an empty batch")));
    }
    if entries.len() > max_batch {
        return Body::Single(Err(Rejected::new(None, "too many entries in a batch")));
    }
    Body::Batch(entries.into_iter().map(|entry| request(entry.get().as_bytes(), strict)).collect())
}

fn request(text: &[u8], strict: bool) -> Result<Request<'_>, Rejected<'_>> {
    // Not an object: said before serde says it, since a struct may also be read from an array.
    let object = text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    let envelope = match serde_json::from_slice::<Envelope>(text) {
        Ok(envelope) if object => envelope,
        _ => return Err(ill_formed(text, "not a request object")),
    };
    let id = match envelope.id {
        None => None,
        Some(id) if is_id(id) => Some(id),
        Some(_) => {
            return Err(Rejected::new(None, "id must be a string of at most 256 bytes, an integer or null"));
        }
    };
    match envelope.jsonrpc.map(string) {
        Some(Some(version)) if version == "2.0" => {}
        None if !strict => {}
        Some(_) | None => return Err(Rejected::new(id, "jsonrpc must be \"2.0\"")),
    }
    let Some(method) = envelope.method.and_then(string) else {
        return Err(Rejected::new(id, "method must be a string"));
    };
    if method.len() > METHOD_MAX {
        return Err(Rejected::new(id, "method is too long"));
    }
    if envelope.params.is_some_and(|p| !matches!(p.get().as_bytes().first(), Some(b'{' | b'['))) {
        return Err(Rejected::new(id, "params must be an object"));
    }
    Ok(Request { id, method, params: envelope.params })
}

/// The string that a value is. Without a backslash it says itself: the value is known to be JSON.
fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Unescaped<'a>(#[serde(borrow)] Cow<'a, str>);

    let quoted = value.get().strip_prefix('"')?;
    if !quoted.as_bytes().contains(&b'\\') {
        return quoted.strip_suffix('"').map(Cow::Borrowed);
    }
    serde_json::from_str(value.get()).ok().map(|Unescaped(text)| text)
}

impl<'a> Rejected<'a> {
    fn new(id: Option<&'a RawValue>, message: &'static str) -> Self {
        Self { id, refusal: Refusal::of(Reason::InvalidRequest).saying(message) }
    }
}

/// Text that is no JSON is a parse error; JSON that is no request an invalid one.
fn ill_formed<'a>(text: &'a [u8], message: &'static str) -> Rejected<'a> {
    if serde_json::from_slice::<IgnoredAny>(text).is_ok() && std::str::from_utf8(text).is_ok() {
        return Rejected::new(None, message);
    }
    Rejected { id: None, refusal: Refusal::of(Reason::ParseError) }
}

/// A string, an integer of any length, or null.
fn is_id(value: &RawValue) -> bool {
    match value.get().as_bytes() {
        b"null" => true,
        [b'"', ..] => string(value).is_some_and(|id| id.len() <= ID_MAX),
        [b'-', digits @ ..] | digits => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
    }
}

impl Request<'_> {
    /// The named params. Positional ones are refused, none are an empty object.
    pub fn named_params(&self) -> Result<Map<String, Value>, Refusal> {
        let Some(raw) = self.params else { return Ok(Map::new()) };
        if raw.get().starts_with('[') {
            return Err(Refusal::invalid_params("", "params are by name"));
        }
        serde_json::from_str(raw.get()).map_err(|error| {
            let message = if error.to_string().contains("recursion") { "nested too deep" } else { "cannot be read" };
            Refusal::invalid_params("", message)
        })
    }
}

/// Appends the reply for the id (null where there is none).
pub(super) fn write_reply(reply: &mut Reply, id: Option<&RawValue>, outcome: Result<&Answer, &Refusal>) {
    match outcome {
        Ok(answer) => {
            reply.write(br#"{"jsonrpc":"2.0","result":"#);
            match answer {
                Answer::Value(value) => reply.write_json(value),
                Answer::Document(document) => reply.share(document.clone()),
            }
        }
        Err(refusal) => {
            reply.write(br#"{"jsonrpc":"2.0","error":"#);
            reply.write_json(&refusal.to_json());
        }
    }
    reply.write(br#","id":"#);
    reply.write(id.map_or("null", RawValue::get).as_bytes());
    reply.write(b"}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::refusal::Kind;

    fn single(text: &str) -> Result<Request<'_>, Rejected<'_>> {
        match parse(text.as_bytes(), 50, false) {
            Body::Single(request) => request,
            Body::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn the_seeds_request_without_jsonrpc_is_accepted() {
        let r = single(r#"{"id":"xxxx","method":"auth.http.login","params":{"clientId":"u1"}}"#).unwrap();
        assert_eq!(r.id.unwrap().get(), r#""xxxx""#);
        assert_eq!(r.method, "auth.http.login");
        assert_eq!(r.named_params().unwrap()["clientId"], "u1");
    }

    #[test]
    fn an_id_is_kept_to_the_letter() {
        for id in [r#""a\u00e9""#, "0", "-7", "12345678901234567890123456789012345678901234567890", "null", r#""""#] {
            let text = format!(r#"{{"id":{id},"method":"m"}}"#);
            assert_eq!(single(&text).unwrap().id.unwrap().get(), id);
        }
        assert!(single(r#"{"method":"m"}"#).unwrap().id.is_none());
    }

    #[test]
    fn ids_of_other_forms_are_invalid_requests_with_id_null() {
        let long = format!("\"{}\"", "x".repeat(257));
        for id in ["1.5", "1e3", "true", "{}", "[]", long.as_str()] {
            let text = format!(r#"{{"id":{id},"method":"m"}}"#);
            let rejected = single(&text).unwrap_err();
            assert_eq!(rejected.refusal.kind, Kind::InvalidRequest, "{id}");
            assert!(rejected.id.is_none());
        }
    }

    #[test]
    fn ill_formed_requests_say_what_they_are() {
        let cases = [
            ("", Kind::ParseError),
            ("{", Kind::ParseError),
            ("{\"a\":}", Kind::ParseError),
            ("x", Kind::ParseError),
            ("{}x", Kind::ParseError),
            ("1", Kind::InvalidRequest),
            ("null", Kind::InvalidRequest),
            ("\"x\"", Kind::InvalidRequest),
            ("{}", Kind::InvalidRequest),
            ("[]", Kind::InvalidRequest),
            (r#"{"method":5}"#, Kind::InvalidRequest),
            (r#"{"method":"m","params":5}"#, Kind::InvalidRequest),
            (r#"{"method":"m","params":null}"#, Kind::InvalidRequest),
            (r#"{"jsonrpc":"1.0","method":"m"}"#, Kind::InvalidRequest),
            (r#"{"jsonrpc":2.0,"method":"m"}"#, Kind::InvalidRequest),
            ("[1,", Kind::ParseError),
            (r#"{"method":"a","method":"b"}"#, Kind::InvalidRequest),
        ];
        for (text, expected) in cases {
            assert_eq!(single(text).unwrap_err().refusal.kind, expected, "{text}");
        }
    }

    #[test]
    fn a_batch_is_bounded_and_its_entries_fail_alone() {
        let Body::Batch(entries) = parse(br#"[{"method":"m","id":1}, 5, []]"#, 3, false) else { panic!("no batch") };
        assert!(entries[0].is_ok() && entries[1].is_err() && entries[2].is_err());
        assert!(matches!(parse(b"[1,1,1,1]", 3, false), Body::Single(Err(_))));
    }

    #[test]
    fn strictly_read_a_request_needs_its_version() {
        assert!(matches!(parse(br#"{"method":"m"}"#, 1, true), Body::Single(Err(_))));
        assert!(matches!(parse(br#"{"jsonrpc":"2.0","method":"m"}"#, 1, true), Body::Single(Ok(_))));
    }

    #[test]
    fn the_version_is_compared_as_json_means_it() {
        for version in [r#""2.0""#, r#""\u0032.0""#, r#""2\u002e\u0030""#] {
            let text = format!(r#"{{"jsonrpc":{version},"method":"m"}}"#);
            assert!(matches!(parse(text.as_bytes(), 1, true), Body::Single(Ok(_))), "{version}");
        }
        for version in [r#""2.0 ""#, r#""\u0033.0""#, "2.0", "null", r#"["2.0"]"#] {
            let text = format!(r#"{{"jsonrpc":{version},"method":"m"}}"#);
            assert!(matches!(parse(text.as_bytes(), 1, false), Body::Single(Err(_))), "{version}");
        }
    }

    #[test]
    fn positional_and_bottomless_params_are_refused() {
        assert_eq!(
            single(r#"{"method":"m","params":[1]}"#).unwrap().named_params().unwrap_err().kind,
            Kind::InvalidParams
        );
        let deep = format!(r#"{{"method":"m","params":{{"a":{}{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(single(&deep).unwrap().named_params().unwrap_err().kind, Kind::InvalidParams);
    }

    #[test]
    fn a_reply_has_the_seeds_members() {
        let mut out = Reply::new();
        let id: Box<RawValue> = serde_json::from_str(r#""xxx""#).unwrap();
        write_reply(&mut out, Some(&id), Ok(&Answer::Value(json!({"a": 1}))));
        assert_eq!(out.into_bytes(), r#"{"jsonrpc":"2.0","result":{"a":1},"id":"xxx"}"#);
        let mut out = Reply::new();
        write_reply(&mut out, None, Err(&Refusal::too_many(Reason::TooManyRequests, 5)));
        let reply: Value = serde_json::from_slice(&out.into_bytes()).unwrap();
        assert_eq!(reply["error"]["data"]["key"], "http.tooMany");
        assert_eq!(reply["error"]["data"]["retryAfterMs"], 5);
        assert!(reply["error"]["data"]["traceId"].is_string());
        assert!(reply["id"].is_null());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&body, 10, false);
        }

        #[test]
        fn nothing_json_like_panics(body in r#"[\[\]{}",:0-9a-e.\\ ]{0,60}"#) {
            parse(body.as_bytes(), 10, false);
        }
    }
}
