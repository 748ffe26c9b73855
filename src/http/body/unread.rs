//! The part of a body that the request's handler leaves unread.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Request, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::{BodyRefused, BoundedBody};

use crate::sync;

/// How long an answer waits for the rest of a body that nobody wants: a small one is there with its head.
const DISCARD_WITHIN: Duration = Duration::from_secs(2);

/// Lets `handle` answer a request, and reads what it leaves of the body before the answer goes out: an answer that
/// overtakes the body ends the HTTP/1.1 connection in the client's hands, or resets the HTTP/2 stream (RFC 9112,
/// section 9.3; RFC 9113, section 8.1). A body that is too long or too late for that ends an HTTP/1.1 connection, by a
/// header in the response.
pub async fn answered<F>(
    request: Request<Incoming>,
    bound: impl FnOnce(Incoming) -> BoundedBody<Incoming>,
    handle: impl FnOnce(Request<axum::body::Body>) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let http1 = request.version() <= Version::HTTP_11;
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut rest = None;
    // In one expression, so that this future has no room for a second request.
    let mut response = handle(request.map(|body| {
        if body.is_end_stream() {
            return axum::body::Body::empty();
        }
        axum::body::Body::new(rest.insert(SharedBody::new(bound(body))).clone())
    }))
    .await;
    if let Some(rest) = rest
        && !rest.discard(asks_first, DISCARD_WITHIN).await
        && http1
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that its handler reads, and its listener after it.
struct SharedBody<B>(Arc<Mutex<Shared<B>>>);

struct Shared<B> {
    body: BoundedBody<B>,
    /// A client that asks before it sends (`Expect: 100-continue`) has been told to go on.
    wanted: bool,
}

impl<B> Clone for SharedBody<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> SharedBody<B> {
    fn new(body: BoundedBody<B>) -> Self {
        Self(Arc::new(Mutex::new(Shared { body, wanted: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        // Held for the time of a poll.
        sync::lock(&self.0)
    }
}

impl<B: Body<Data = Bytes> + Unpin> SharedBody<B> {
    /// Reads the rest and keeps nothing of it; whether that was all.
    async fn discard(mut self, asks_first: bool, within: Duration) -> bool {
        {
            let mut shared = self.lock();
            if shared.body.ended || shared.body.is_end_stream() {
                return true;
            }
            if asks_first && !shared.wanted {
                return false;
            }
            shared.body.too_large = true;
        }
        let reading = async { while let Some(Ok(_)) = self.frame().await {} };
        let in_time = timeout(within, reading).await.is_ok();
        in_time && self.lock().body.ended
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for SharedBody<B> {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let mut shared = self.lock();
        shared.wanted = true;
        Pin::new(&mut shared.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::StreamBody;

    fn body(chunks: usize, max: u64) -> BoundedBody<impl Body<Data = Bytes, Error = std::io::Error> + Unpin> {
        let frames = (0..chunks).map(|_| Ok(Frame::data(Bytes::from_static(b"12345"))));
        BoundedBody::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())), max, Duration::from_secs(30))
    }

    #[tokio::test]
    async fn the_rest_is_read_whatever_the_handler_took() {
        for (taken, max) in [(0, 100), (1, 100), (3, 100), (1, 7), (2, 7)] {
            let mut shared = SharedBody::new(body(3, max));
            let rest = shared.clone();
            for _ in 0..taken {
                drop(shared.frame().await);
            }
            drop(shared);
            assert!(rest.discard(false, DISCARD_WITHIN).await, "{taken} of {max}");
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_first_isnt_told_to_send_what_nobody_wants() {
        let shared = SharedBody::new(body(3, 100));
        assert!(!shared.discard(true, DISCARD_WITHIN).await);
        let mut shared = SharedBody::new(body(3, 100));
        let rest = shared.clone();
        drop(shared.frame().await);
        assert!(rest.discard(true, DISCARD_WITHIN).await, "it has been told to go on");
    }

    #[tokio::test]
    async fn absent_body_is_awaited_for_a_bounded_time() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        let shared = SharedBody::new(BoundedBody::new(silent, 10, Duration::from_secs(30)));
        assert!(!shared.discard(false, Duration::from_millis(20)).await);
    }
}
