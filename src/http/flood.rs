//! HTTP/2 frames that carry nothing of a request: pings, settings, priorities, resets, window updates, empty data. A client
//! may send them as long as it likes, and each is work (RFC 9113, section 10.5); the protocol's implementation below us
//! bounds only what grows by them. Here each connection has a rate for them, and one that exceeds it is cut. So it is for
//! heads that take more than their bytes in work: a large one may name the same large field ten thousand times.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::forward::forward_flushes;
use crate::clock::Moment;
use crate::rate_limit::limiter::{Limiter, Rate};

/// Such frames that a connection may send: so many at once, and 100 a second. A client that takes answers in small pieces
/// sends as many window updates as there are pieces: those are paid for by what is written.
const RATE: Rate = Rate { count: 10_000, window_ms: 100_000 };
/// Bytes written that pay for one of them.
const BYTES_FOR_ONE: usize = 1024;
/// Bytes of a request's head that count as one of them; browsers' are smaller.
const HEAD_FOR_ONE: usize = 1024;

/// The length of the client's connection preface (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// How many may follow HEADERS is bounded by the protocol's implementation.
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// The frames that a client sends, told apart as their bytes come. Pure.
struct Frames {
    budget: Limiter<()>,
    /// Bytes of the preface, or of a frame's payload, that are still to come.
    skip: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes written that haven't paid for a frame yet.
    written: usize,
}

/// More frames that carry nothing than a connection may send.
#[derive(Debug, PartialEq, Eq)]
struct Flooded;

impl Frames {
    fn new() -> Self {
        let budget = Limiter::new(RATE, 1);
        Self { budget, skip: PREFACE_BYTES, head: [0; HEAD_BYTES], have: 0, written: 0 }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flooded> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            let (head, rest) = bytes[skipped..].split_at((bytes.len() - skipped).min(HEAD_BYTES - self.have));
            self.head[self.have..self.have + head.len()].copy_from_slice(head);
            self.have += head.len();
            bytes = rest;
            if self.have == HEAD_BYTES {
                self.have = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Flooded> {
        let [a, b, c, kind, flags, ..] = self.head;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let counts_as = match kind {
            HEADERS | CONTINUATION => self.skip / HEAD_FOR_ONE,
            DATA => usize::from(self.skip == 0 && flags & END_STREAM == 0),
            _ => 1,
        };
        let mut counted = (0..counts_as).map(|_| self.budget.allow(&(), Moment::now()));
        counted.try_for_each(|one| one.map_err(|_wait_ms| Flooded))
    }

    fn write(&mut self, bytes: usize) {
        self.written += bytes;
        while self.written >= BYTES_FOR_ONE {
            self.written -= BYTES_FOR_ONE;
            self.budget.refund(&());
        }
    }
}

/// A connection's bytes, below HTTP: an error where its client floods.
pub struct Counted<IO> {
    io: IO,
    /// On HTTP/2.
    frames: Option<Frames>,
    activity: Arc<Activity>,
}

impl<IO> Counted<IO> {
    pub fn new(io: IO, activity: Arc<Activity>) -> Self {
        Self { io, frames: activity.is_http2().then(Frames::new), activity }
    }

    fn wrote(&mut self, polled: &Poll<io::Result<usize>>) {
        if let (Some(frames), Poll::Ready(Ok(bytes))) = (&mut self.frames, polled) {
            frames.write(*bytes);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let this = &mut *self;
        if let Some(Err(Flooded)) = this.frames.as_mut().map(|frames| frames.read(&buf.filled()[before..])) {
            this.activity.set_flooded();
            return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(&polled);
        polled
    }

    forward_flushes!(io);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], vec![kind; payload].as_slice()].concat()
    }

    fn preface() -> Frames {
        let mut frames = Frames::new();
        frames.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        frames
    }

    /// How many of these frames are read before the flood is noticed.
    fn until_flooded(frame: &[u8]) -> usize {
        let mut frames = preface();
        (0..2 * RATE.count as usize).take_while(|_| frames.read(frame).is_ok()).count()
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_when_there_are_too_many() {
        let (burst, all) = (RATE.count as usize, 2 * RATE.count as usize);
        for (kind, flags, payload) in
            [(PING, 0, 8), (PING, 1, 8), (SETTINGS, 0, 0), (RST_STREAM, 0, 4), (0x77, 0, 3), (DATA, 0, 0)]
        {
            let read = until_flooded(&frame(kind, flags, payload));
            assert!((burst..burst + burst / 10).contains(&read), "{read} of kind {kind}");
        }
        let large = until_flooded(&frame(HEADERS, 5, 10 * HEAD_FOR_ONE));
        assert!((burst / 10..burst / 5).contains(&large), "{large} large heads");
        for (kind, flags, payload) in [(DATA, 0, 1), (DATA, END_STREAM, 0), (HEADERS, 5, 20), (CONTINUATION, 4, 9)] {
            assert_eq!(until_flooded(&frame(kind, flags, payload)), all, "kind {kind}");
        }
    }

    #[test]
    fn window_updates_are_paid_for_by_what_is_written() {
        let mut frames = preface();
        for _ in 0..5 * RATE.count {
            frames.write(BYTES_FOR_ONE);
            frames.read(&frame(WINDOW_UPDATE, 0, 4)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn frames_are_told_apart_however_their_bytes_come(
            sent in proptest::collection::vec((any::<u8>(), any::<u8>(), 0usize..40), 0..20), piece in 1usize..30,
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|&(kind, flags, payload)| frame(kind, flags, payload)).collect();
            let (mut whole, mut pieces) = (preface(), preface());
            whole.read(&bytes).unwrap();
            for piece in bytes.chunks(piece) {
                pieces.read(piece).unwrap();
            }
            prop_assert_eq!((whole.skip, whole.have, pieces.skip, pieces.have), (0, 0, 0, 0));
            prop_assert_eq!(whole.head, pieces.head);
        }
    }
}
