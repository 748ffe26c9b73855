//! Over HTTP/1.1.

use std::time::Duration;

use super::{Flood, LIMITS, are_survived};
use crate::fixture::Fixture;
use crate::support::client::BASE;

/// Pieces of one write.
const TOGETHER: usize = 200;

fn flood(name: &'static str, first: &str, again: &str) -> Flood {
    let (first, again) = (first.as_bytes().to_vec(), again.repeat(TOGETHER).into_bytes());
    Flood {
        name,
        protocol: "http/1.1",
        first,
        again: Box::new(move |_| again.clone()),
        reads: true,
        pause: Duration::ZERO,
    }
}

#[tokio::test]
async fn endless_http1_input_is_cut_and_harms_nobody_else() {
    let fixture = Fixture::quiet(LIMITS).await;
    let chunked = format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let get = format!("GET {BASE}/openrpc.json HTTP/1.1\r\nHost: a\r\n\r\n");
    let slow = |flood: Flood| {
        let pieces = (flood.again)(0);
        let one = pieces[..pieces.len() / TOGETHER].to_vec();
        Flood { again: Box::new(move |_| one.clone()), pause: Duration::from_millis(100), ..flood }
    };
    let floods = vec![
        flood("a chunk's extension", &format!("{chunked}1;"), "a"),
        flood("a chunk's size", &chunked, "0"),
        flood("extensions of many chunks", &chunked, "1;abcdefgh=ijklmnopq\r\n \r\n"),
        flood("trailers", &format!("{chunked}0\r\n"), "x-more: x\r\n"),
        flood("chunks of one byte", &chunked, "1\r\n \r\n"),
        flood("fields of a head", "GET / HTTP/1.1\r\nHost: a\r\n", "x-more: x\r\n"),
        flood("a field", "GET / HTTP/1.1\r\nHost: a\r\nx-more: ", "x"),
        flood("a path", "GET /", "x"),
        flood("empty lines", "", "\r\n"),
        Flood { reads: false, ..flood("requests whose answers aren't read", "", &get) },
        slow(flood("a slow head", "GET / HTTP/1.1\r\nHost: a\r\n", "x-more: x\r\n")),
        slow(flood("slow empty lines", "", "\r\n")),
        slow(flood(
            "a slow body",
            &format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"),
            " ",
        )),
        slow(flood("slow chunks", &chunked, "1\r\n \r\n")),
    ];
    are_survived(&fixture, floods).await;
}
