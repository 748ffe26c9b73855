//! HTTP messages whose end two readers could find at different places, and what is served without being asked for.

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::wait::PATIENCE;

const CALL: &str = r#"{"id":1,"method":"config.getProperties","params":{"keys":["serverName"]}}"#;

/// Writes those bytes over a new HTTP/1.1 connection and reads until the server closes: the status of each answer.
async fn statuses(client: &Client, request: &str) -> Vec<u16> {
    let mut stream = client.connect("http/1.1").await.expect("the gateway listens");
    stream.write_all(request.as_bytes()).await.expect("a request is read");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "not closed within {PATIENCE:?}: {}", String::from_utf8_lossy(&answer));
    let text = String::from_utf8_lossy(&answer);
    text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().expect("a status")).collect()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}")
}

/// A request that ends the connection after its answer.
fn last() -> String {
    format!("GET {BASE}/docs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_request_whose_length_is_ambiguous_is_refused() {
    let fixture = Fixture::embedded().await;
    let client = fixture.gateway.client();
    let length = CALL.len();
    let well_formed = post(&format!("Content-Length: {length}"), CALL) + &last();
    assert_eq!(statuses(&client, &well_formed).await, [200, 200], "the same connection serves the next request");
    for (headers, body) in [
        (format!("Content-Length: {length}\r\nContent-Length: {}", length + 1), CALL),
        (format!("Content-Length: +{length}"), CALL),
        (format!("Content-Length: {length}, {length}1"), CALL),
        ("Content-Length: 99999999999999999999999".to_owned(), CALL),
        ("Transfer-Encoding: chunked, identity".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked".to_owned(), "0\r\n\r\n"),
        ("Transfer-Encoding : chunked".to_owned(), "0\r\n\r\n"),
        (" Content-Length: 5".to_owned(), "12345"),
        ("X: 1\r\n Content-Length: 5".to_owned(), "12345"),
        ("X\u{0}: 1".to_owned(), ""),
    ] {
        let seen = statuses(&client, &(post(&headers, body) + &last())).await;
        assert_eq!(seen, [400], "{headers:?}");
    }
}

#[tokio::test]
async fn a_chunked_body_ends_where_its_last_chunk_says() {
    let fixture = Fixture::embedded().await;
    let client = fixture.gateway.client();
    let chunked = |text: &str| format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    let both = post("Content-Length: 4\r\nTransfer-Encoding: chunked", &chunked(CALL)) + &last();
    // RFC 9112 section 6.3: Transfer-Encoding is the one that holds; the connection may be closed after the answer.
    let seen = statuses(&client, &both).await;
    assert!(matches!(seen[..], [200] | [200, 200] | [400]), "{seen:?}");
    for broken in ["fffffffffffffffff\r\n", "-1\r\n", "5\n12345\r\n0\r\n\r\n", "zz\r\n"] {
        let seen = statuses(&client, &(post("Transfer-Encoding: chunked", broken) + &last())).await;
        assert!(matches!(seen[..], [] | [400]), "{broken:?}: {seen:?}");
    }
}

/// A frame of RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as a literal without indexing (RFC 7541 section 6.2.2), both strings shorter than 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    [vec![0], string(name), string(value)].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Whether one HTTP/2 request with those further fields and that body is answered; `false` where its stream is reset or
/// the connection ended.
async fn http2_answers(client: &Client, more: &[(&str, &str)], body: &str) -> bool {
    let mut stream = client.connect("h2").await.expect("the gateway speaks HTTP/2");
    let mut fields = [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")];
    let path = format!("{BASE}/jsonrpc");
    fields[3].1 = &path;
    let block: Vec<u8> = fields.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &block));
    bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
    stream.write_all(&bytes).await.expect("a request is read");
    loop {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("answered, reset or closed");
        if read.is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            return false;
        }
        match head[3] {
            RST_STREAM | GOAWAY => return false,
            // Indexed in the static table (RFC 7541 appendix A): 8 is `:status: 200`, 12 is `:status: 400`.
            HEADERS => return payload.first() == Some(&0x88),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_http2_request_with_fields_of_http1_or_a_wrong_length_is_refused() {
    let fixture = Fixture::embedded().await;
    let client = fixture.gateway.client();
    let length = CALL.len().to_string();
    assert!(http2_answers(&client, &[], CALL).await);
    assert!(http2_answers(&client, &[("content-length", &length)], CALL).await);
    for wrong in [
        ("content-length", "5"),
        ("content-length", "5000"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("X-Upper", "1"),
        ("x-break", "a\r\nb: c"),
        ("x-null", "a\0b"),
    ] {
        assert!(!http2_answers(&client, &[wrong], CALL).await, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_connection_without_tls_gets_no_http_answer() {
    let fixture = Fixture::embedded().await;
    let mut stream = TcpStream::connect(fixture.gateway.http()).await.expect("the gateway listens");
    stream.write_all(last().as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed at once");
    // A reset is an end, too.
    drop(read);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn only_the_pages_own_files_are_served_and_only_by_their_methods() {
    let fixture = Fixture::embedded().await;
    let client = fixture.gateway.client();
    assert_eq!(client.get(&format!("{BASE}/assets/base.css")).await.status, StatusCode::OK);
    for path in [
        "/assets/",
        "/assets",
        "/assets/test/pure.test.js",
        "/assets/package.json",
        "/assets/jsconfig.json",
        "/assets/README.md",
        "/assets/guest.html",
        "/assets/../guest.html",
        "/assets/%2e%2e/guest.html",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2fetc%2fpasswd",
        "/.git/config",
        "/data/confgate.db",
        "/certs/key.pem",
        "/metrics",
        "/livez",
        "/readyz",
    ] {
        assert_eq!(client.get(&format!("{BASE}{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(client.get(path).await.status, StatusCode::NOT_FOUND, "{path} at the root");
    }
    for method in [Method::TRACE, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/jsonrpc", "/docs", "/assets/base.css", "/conference/x"] {
            let reply = client.request(method.clone(), &format!("{BASE}{path}"), &[], "").await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}
