//! Over WebSockets, with frames written by hand (RFC 6455), on HTTP/1.1.

use std::time::Duration;

use super::{Flood, LIMITS, are_survived};
use crate::fixture::Fixture;
use crate::support::client::BASE;

/// Frames of one write.
const TOGETHER: usize = 200;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A frame of a client's, masked with zeros.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    [&[head, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// An upgrade, and the first frame.
fn opening(path: &str, protocols: &str, first: &[u8]) -> Vec<u8> {
    let head = format!(
        "GET {BASE}/{path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{protocols}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    [head.as_bytes(), first].concat()
}

#[tokio::test]
async fn endless_socket_input_is_cut_and_harms_nobody_else() {
    let fixture = Fixture::quiet(LIMITS).await;
    let chair = fixture.chair().await;
    let token = chair.token().expect("they are logged in");
    let protocols = format!("Sec-WebSocket-Protocol: confgate, bearer.{token}\r\n");
    let mut floods = Vec::new();
    for (path, protocols) in [("websck", protocols.as_str()), ("callgw", "")] {
        let flood = |name: &'static str, first: &[u8], again: Vec<u8>| {
            let (first, again) = (opening(path, protocols, first), again.repeat(TOGETHER));
            let again = Box::new(move |_: u32| again.clone());
            Flood { name, protocol: "http/1.1", first, again, reads: true, pause: Duration::ZERO }
        };
        let beside = [frame(CONTINUATION, b""), frame(PONG | FIN, b"")].concat();
        floods.extend([
            flood("empty fragments", &frame(TEXT, b"{"), frame(CONTINUATION, b"")),
            flood("empty fragments of nothing", &frame(BINARY, b""), frame(CONTINUATION, b"")),
            flood("empty fragments and pongs", &frame(TEXT, b"{"), beside),
            flood("fragments of one byte", &frame(TEXT, b"{"), frame(CONTINUATION, b" ")),
            flood("pongs", b"", frame(PONG | FIN, b"")),
            flood("pings", b"", frame(PING | FIN, b"")),
        ]);
        if path == "callgw" {
            floods.push(flood("empty messages", b"", frame(TEXT | FIN, b"")));
            floods.push(flood("messages of one byte", b"", frame(TEXT | FIN, b" ")));
        }
    }
    are_survived(&fixture, floods).await;
}
