//! Over HTTP/2, with frames written by hand.

use std::time::Duration;

use super::frames::{
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, LAST_INDEXED, NO_ERROR,
    PING, PRIORITY, RST_STREAM, WINDOW_UPDATE, frame, indexed, literal, opening, request, settings, stream,
};
use super::{Flood, LIMITS, are_survived};
use crate::fixture::Fixture;
use crate::support::client::BASE;

/// Frames of one write: a client that wants to flood doesn't pay for a system call each.
const TOGETHER: u32 = 200;

fn flood(name: &'static str, again: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Flood {
    flood_after(name, Vec::new(), again)
}

/// So many of them in each write.
fn flood_after(name: &'static str, first: Vec<u8>, again: impl Fn(u32) -> Vec<u8> + Send + 'static) -> Flood {
    let together = move |n: u32| (0..TOGETHER).flat_map(|m| again(n * TOGETHER + m)).collect();
    let first = [opening(&[]), first].concat();
    Flood { name, protocol: "h2", first, again: Box::new(together), reads: true, pause: Duration::ZERO }
}

fn get(n: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &request("GET", path))
}

/// A request whose body is still to come.
fn post(n: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream(n), &request("POST", &format!("{BASE}/jsonrpc")))
}

fn reset(n: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream(n), &code.to_be_bytes())
}

fn window_update(of: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, of, &by.to_be_bytes())
}

#[tokio::test]
async fn frames_that_carry_nothing_end_their_http2_connection_and_nobody_else_notices() {
    let fixture = Fixture::quiet(LIMITS).await;
    let ping = |flags| move |n: u32| frame(PING, flags, 0, &u64::from(n).to_be_bytes());
    let settings_of = |n: u32| settings(&[(INITIAL_WINDOW_SIZE, 65_535 + n % 2)]);
    let floods = vec![
        flood("pings", ping(0)),
        flood("answers to pings that nobody sent", ping(ACK)),
        flood("empty settings", |_| settings(&[])),
        flood_after("settings that change all windows", (0..90).flat_map(post).collect(), settings_of),
        flood("priorities", |n| frame(PRIORITY, 0, stream(n % 1000 + 1), &[0, 0, 0, 0, 16])),
        flood("frames of no known kind", |_| frame(0x77, 0, 0, b"")),
        flood("window updates of one byte", |_| window_update(0, 1)),
        flood_after("window updates of one byte of a stream", post(0), |_| window_update(stream(0), 1)),
        flood_after("empty data", post(0), |_| frame(DATA, 0, stream(0), b"")),
        flood_after("padding only", post(0), |_| frame(DATA, 8, stream(0), &[3, 0, 0, 0])),
        Flood { reads: false, ..flood("pings whose answers aren't read", ping(0)) },
        Flood { reads: false, ..flood("settings whose answers aren't read", |_| settings(&[])) },
    ];
    are_survived(&fixture, floods).await;
}

#[tokio::test]
async fn streams_that_are_opened_to_be_reset_end_their_http2_connection_and_nobody_else_notices() {
    let fixture = Fixture::quiet(LIMITS).await;
    let path = format!("{BASE}/openrpc.json");
    let reset_by_client = move |n: u32| [get(n, &path), reset(n, CANCEL)].concat();
    let reset_before_body = |n: u32| [post(n), reset(n, NO_ERROR)].concat();
    // The client does something wrong, for which we reset the stream.
    let reset_by_us = |n: u32| [post(n), window_update(stream(n), 0)].concat();
    let beyond_the_bound = |n: u32| post(n);
    let malformed = |n: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &literal(":unknown", b"x"));
    let floods = vec![
        flood("streams reset at once", reset_by_client),
        flood("streams reset before their bodies", reset_before_body),
        flood("streams that we have to reset", reset_by_us),
        flood("streams beyond those at once", beyond_the_bound),
        flood("requests that are none", malformed),
    ];
    are_survived(&fixture, floods).await;
}

#[tokio::test]
async fn heads_without_end_or_larger_than_they_look_end_their_http2_connection_and_nobody_else_notices() {
    let fixture = Fixture::quiet(LIMITS).await;
    let open_head = |flags: u8| frame(HEADERS, flags, stream(0), &request("GET", "/"));
    let more = |payload: Vec<u8>| move |_: u32| frame(CONTINUATION, 0, stream(0), &payload);
    let field = literal("x-more", &[b'x'; 8_000]);
    // One field of 4000 bytes, named by one byte each time.
    let bomb = |n: u32| {
        let first = if n == 0 { indexed("x-bomb", &[b'x'; 4_000]) } else { Vec::new() };
        let fields = [request("GET", "/"), first, vec![LAST_INDEXED; 10_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &fields)
    };
    let huge = move |n: u32| {
        let fields = [request("GET", "/"), field.clone()].concat();
        let head = frame(HEADERS, END_STREAM, stream(n), &fields);
        let rest = (0..8).map(|part| frame(CONTINUATION, if part == 7 { END_HEADERS } else { 0 }, stream(n), &field));
        [head, rest.collect::<Vec<_>>().concat()].concat()
    };
    let trailers = |n: u32| {
        let fields = literal("x-more", &[b'x'; 16_000]);
        [post(n), frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &fields)].concat()
    };
    let floods = vec![
        flood_after("empty continuations", open_head(END_STREAM), more(Vec::new())),
        flood_after("continuations", open_head(END_STREAM), more(literal("x-more", b"x"))),
        flood_after(
            "a field that never ends",
            frame(HEADERS, 0, stream(0), &[0, 127, 255, 255, 127]),
            more(vec![b'x'; 999]),
        ),
        flood("fields out of the table", bomb),
        flood("huge heads", huge),
        flood("huge trailers", trailers),
    ];
    are_survived(&fixture, floods).await;
}

#[tokio::test]
async fn streams_that_stand_still_end_their_http2_connection_and_nobody_else_notices() {
    let fixture = Fixture::quiet(LIMITS).await;
    let path = format!("{BASE}/openrpc.json");
    let answers: Vec<u8> = (0..100).flat_map(|n| get(n, &path)).collect();
    let halves: Vec<u8> = (0..100).flat_map(|n| [post(n), frame(DATA, 0, stream(n), b"{")].concat()).collect();
    let slow = |flood: Flood| Flood { pause: Duration::from_millis(100), ..flood };
    let ping = |_: u32| frame(PING, 0, 0, &[7; 8]);
    let no_window = |first: Vec<u8>| [opening(&[(INITIAL_WINDOW_SIZE, 0)]), first].concat();
    let one_ping = || Box::new(ping);
    let floods = vec![
        Flood {
            first: no_window(answers.clone()),
            again: one_ping(),
            ..slow(flood("a window that never opens", ping))
        },
        Flood {
            first: [opening(&[]), halves].concat(),
            again: one_ping(),
            ..slow(flood("bodies that never end", ping))
        },
        Flood {
            first: [opening(&[]), frame(HEADERS, 0, stream(0), &request("GET", "/"))].concat(),
            again: Box::new(|_| Vec::new()),
            ..slow(flood("a head that never ends", ping))
        },
        Flood { again: one_ping(), ..slow(flood("pings and no request", ping)) },
        Flood {
            first: no_window(answers),
            again: one_ping(),
            reads: false,
            ..slow(flood("answers that nobody reads", ping))
        },
    ];
    are_survived(&fixture, floods).await;
}
