//! Request bodies with a bound on their bytes and on their time; answers' bodies in pieces.

mod unread;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::rate_limit::account::Held;

pub use self::unread::answered;

/// How much of a body that is too large is read and thrown away before the refusal. A client that is still writing does
/// not read: closing on it makes its system drop our answer (TCP reset), so up to this much it gets to read the 413.
const DISCARD_BYTES: u64 = 4 * 1024 * 1024;

/// The reason why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyRefused {
    /// More than the limit: 413.
    TooLarge,
    /// The client, or all together, hold as much as they may: 429.
    NoRoom,
    /// Not whole within its time: 408.
    TooSlow,
    /// The connection or the framing broke: 400, which hardly anybody will read.
    Broken,
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is too large",
            Self::NoRoom => "too much is under way",
            Self::TooSlow => "the body came too slowly",
            Self::Broken => "the body could not be read",
        })
    }
}

impl std::error::Error for BodyRefused {}

impl IntoResponse for BodyRefused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoRoom => StatusCode::TOO_MANY_REQUESTS,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}

/// A body that ends with [`BodyRefused`] at its limit of bytes or of time. Bytes over the limit are thrown away as they
/// comes; time runs from the first moment that the reader has to wait.
pub struct BoundedBody<B> {
    inner: B,
    left: u64,
    discard_left: u64,
    too_large: bool,
    /// The client has sent all of it.
    ended: bool,
    within: Duration,
    /// The reader has found nothing once, and asked again.
    asked_again: bool,
    /// Made only when the reader waits: most bodies are there with their head.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The bytes that the request holds. The bytes that the reader gets are added.
    held: Option<Arc<Held>>,
    /// Bytes of the body that are held already.
    held_ahead: usize,
}

impl<B> BoundedBody<B> {
    /// Bounds a body in bytes and in time.
    pub fn new(inner: B, max_bytes: u64, within: Duration) -> Self {
        Self {
            inner,
            left: max_bytes,
            discard_left: DISCARD_BYTES,
            too_large: false,
            ended: false,
            within,
            asked_again: false,
            deadline: None,
            held: None,
            held_ahead: 0,
        }
    }

    /// Counts what the reader gets, beyond the first `ahead` bytes, which are held already.
    pub fn counting(self, held: Arc<Held>, ahead: usize) -> Self {
        Self { held: Some(held), held_ahead: ahead, ..self }
    }

    fn has_room(&mut self, frame: &Frame<Bytes>) -> bool {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let beyond = bytes.saturating_sub(self.held_ahead);
        self.held_ahead = self.held_ahead.saturating_sub(bytes);
        beyond == 0 || self.held.as_ref().is_none_or(|held| held.hold(beyond).is_ok())
    }

    fn refuse_time(&mut self, cx: &mut Context<'_>) -> Poll<BodyRefused> {
        // hyper takes a body that is there already out of its buffer once somebody has asked for it: the second time it
        // is there, and needs no timer.
        if !std::mem::replace(&mut self.asked_again, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let within = self.within;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        let over = if self.too_large { BodyRefused::TooLarge } else { BodyRefused::TooSlow };
        // A client that sends without end has used up the task's budget (tokio::task::coop) whenever the timer is asked.
        if Instant::now() >= deadline.deadline() {
            return Poll::Ready(over);
        }
        deadline.as_mut().poll(cx).map(|()| over)
    }

    /// True where the frame fits; counts it either way.
    fn fits(&mut self, frame: &Frame<Bytes>) -> bool {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if !self.too_large && bytes <= self.left {
            self.left -= bytes;
            return true;
        }
        self.too_large = true;
        self.discard_left = self.discard_left.saturating_sub(bytes);
        false
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for BoundedBody<B> {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let this = self.get_mut();
        loop {
            let polled = match this.ended {
                true => Poll::Ready(None),
                false => Pin::new(&mut this.inner).poll_frame(cx),
            };
            this.ended = matches!(polled, Poll::Ready(None));
            match polled {
                Poll::Ready(Some(Ok(frame))) if this.fits(&frame) => {
                    let has_room = this.has_room(&frame);
                    return Poll::Ready(Some(if has_room { Ok(frame) } else { Err(BodyRefused::NoRoom) }));
                }
                Poll::Ready(Some(Ok(_))) if this.discard_left > 0 => {}
                Poll::Ready(_) if this.too_large => return Poll::Ready(Some(Err(BodyRefused::TooLarge))),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(BodyRefused::Broken))),
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return this.refuse_time(cx).map(|refused| Some(Err(refused))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.too_large && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reads a request's body whole, at most `max` bytes; a declared length above `max` is refused before a byte is read.
/// The listener's own bounds of bytes and time hold as well.
pub async fn bounded_body(mut body: axum::body::Body, max: usize) -> Result<Bytes, BodyRefused> {
    if body.size_hint().lower() > max as u64 {
        return Err(BodyRefused::TooLarge);
    }
    let mut whole = Bytes::new();
    let mut many = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(reason)?.into_data() else { continue };
        if whole.len() + many.len() + data.len() > max {
            return Err(BodyRefused::TooLarge);
        }
        if whole.is_empty() && many.is_empty() {
            whole = data; // nearly always the only frame: no copy
        } else {
            many.extend_from_slice(&std::mem::take(&mut whole));
            many.extend_from_slice(&data);
        }
    }
    Ok(if many.is_empty() { whole } else { many.freeze() })
}

fn reason(error: axum::Error) -> BodyRefused {
    error.into_inner().downcast::<BodyRefused>().map_or(BodyRefused::Broken, |refused| *refused)
}

/// An answer's bytes that are nobody else's; without this extension, all of its body's are. The rest is made once and
/// shared.
#[derive(Debug, Clone, Copy)]
pub struct OwnBytes(pub usize);

/// A body of pieces that are there already.
pub fn body_of(pieces: Vec<Bytes>) -> axum::body::Body {
    let left = pieces.iter().map(Bytes::len).sum();
    axum::body::Body::new(Pieces { pieces: pieces.into(), left })
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    left: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.pop_front();
        self.left -= next.as_ref().map_or(0, Bytes::len);
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{Full, StreamBody};

    type Chunk = Result<Frame<Bytes>, std::io::Error>;

    /// Bytes that one connection may hold.
    fn account(bytes: usize) -> Arc<crate::rate_limit::account::Account> {
        let bounds = crate::rate_limit::account::Bounds {
            connects_per_minute: 1,
            connections_per_block: 1,
            sockets_per_block: 1,
            bytes_per_connection: bytes,
            bytes_per_block: bytes,
            bytes,
        };
        let accounts = crate::rate_limit::account::Accounts::new(bounds);
        accounts.connect("192.0.2.1".parse().expect("an address")).expect("the first")
    }

    #[tokio::test]
    async fn bytes_that_are_held_before_they_come_are_counted_once() {
        for (room, fits) in [(15, true), (14, false)] {
            let held = Arc::new(Held::nothing(account(room)));
            held.hold(7).expect("there is room");
            let body = BoundedBody::new(chunks(&[5, 5, 5]), 100, Duration::from_secs(30)).counting(held, 7);
            let read = bounded_body(axum::body::Body::new(body), 100).await;
            assert_eq!(read.err(), (!fits).then_some(BodyRefused::NoRoom), "{room}");
        }
    }

    fn chunks(sizes: &[usize]) -> axum::body::Body {
        let frames: Vec<Chunk> = sizes.iter().map(|&n| Ok(Frame::data(Bytes::from(vec![b'x'; n])))).collect();
        axum::body::Body::new(StreamBody::new(stream::iter(frames)))
    }

    fn bounded(sizes: &[usize], max: u64) -> axum::body::Body {
        axum::body::Body::new(BoundedBody::new(chunks(sizes), max, Duration::from_secs(30)))
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_comes_whole() {
        assert_eq!(bounded_body(chunks(&[10]), 10).await.map(|b| b.len()), Ok(10));
        assert_eq!(bounded_body(chunks(&[4, 0, 3, 3]), 10).await.map(|b| b.len()), Ok(10));
        assert_eq!(bounded_body(bounded(&[4, 6], 10), 100).await.map(|b| b.len()), Ok(10));
        assert_eq!(bounded_body(axum::body::Body::empty(), 0).await.map(|b| b.len()), Ok(0));
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_too_large() {
        assert_eq!(bounded_body(chunks(&[11]), 10).await, Err(BodyRefused::TooLarge));
        assert_eq!(bounded_body(chunks(&[4, 4, 4]), 10).await, Err(BodyRefused::TooLarge));
        assert_eq!(bounded_body(bounded(&[4, 4, 4], 10), 100).await, Err(BodyRefused::TooLarge));
        let declared = axum::body::Body::new(Full::new(Bytes::from_static(b"0123456789a")));
        assert_eq!(bounded_body(declared, 10).await, Err(BodyRefused::TooLarge));
    }

    #[tokio::test]
    async fn body_over_the_limit_is_read_for_a_bounded_time_and_not_kept() {
        let read = std::cell::Cell::new(0_u64);
        let endless = stream::repeat_with(|| {
            read.set(read.get() + 65_536);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 65_536])))
        });
        let mut body = BoundedBody::new(StreamBody::new(endless), 100_000, Duration::from_secs(30));
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(matches!(body.frame().await, Some(Err(BodyRefused::TooLarge))));
        assert!(read.get() > DISCARD_BYTES && read.get() < 2 * DISCARD_BYTES);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_too_slow() {
        let silent = StreamBody::new(stream::pending::<Chunk>());
        let body = axum::body::Body::new(BoundedBody::new(silent, 10, Duration::from_millis(20)));
        assert_eq!(bounded_body(body, 10).await, Err(BodyRefused::TooSlow));
    }

    #[tokio::test]
    async fn a_client_that_sends_without_end_does_not_stop_the_clock() {
        let (send, mut ready) = tokio::sync::mpsc::unbounded_channel();
        send.send(()).expect("it is received below");
        // Takes the task's whole budget whenever it is asked, as a socket does in which there is always more.
        let busy = stream::poll_fn(move |cx| {
            while ready.poll_recv(cx).is_ready() {
                send.send(()).expect("it is received here");
            }
            Poll::<Option<Chunk>>::Pending
        });
        let body = axum::body::Body::new(BoundedBody::new(StreamBody::new(busy), 10, Duration::from_millis(20)));
        assert_eq!(bounded_body(body, 10).await, Err(BodyRefused::TooSlow));
    }

    #[tokio::test]
    async fn a_broken_body_is_broken() {
        let broken: Vec<Chunk> = vec![Ok(Frame::data(Bytes::from_static(b"a"))), Err(std::io::Error::other("cut"))];
        let body = BoundedBody::new(StreamBody::new(stream::iter(broken)), 10, Duration::from_secs(30));
        assert_eq!(bounded_body(axum::body::Body::new(body), 10).await, Err(BodyRefused::Broken));
    }
}
