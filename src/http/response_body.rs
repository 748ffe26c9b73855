//! An answer's body on its way: what it holds is given back when its last byte has left, and on HTTP/2, where a client
//! can hold up one stream and go on with the others, each stream's progress is watched.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};

use super::activity::Activity;
use super::progress::Progress;
use crate::http::body::OwnBytes;
use crate::rate_limit::account::{Full, Held};

/// A stream's answer is handed over in pieces of at most this many bytes; each that leaves is progress.
const PIECE: usize = 8 * 1024;

/// An answer of so many bytes waits for nobody on HTTP/1.1: it is a small part of the connection's write buffer.
const SMALL_BYTES: u64 = 4 * 1024;

/// Lets the answer hold what its body takes, in place of what its request held.
///
/// # Errors
/// The bound that leaves no room for it.
pub fn hold_response_bytes(response: Response, held: Arc<Held>, activity: &Arc<Activity>) -> Result<Response, Full> {
    let size = response.body().size_hint();
    if size.upper() == Some(0) {
        return Ok(response);
    }
    let own = response.extensions().get::<OwnBytes>().map_or(size.lower() as usize, |own| own.0);
    // A small body goes into the connection's write buffer at once, which is counted as the connection's own.
    if size.upper().is_some_and(|size| size <= SMALL_BYTES) && !activity.is_http2() {
        return Ok(response);
    }
    held.set(own)?;
    let progress = activity.is_http2().then(|| {
        let progress = Arc::new(activity.progress());
        activity.watch(&progress);
        progress
    });
    Ok(response.map(|body| Body::new(ResponseBody { body, rest: Bytes::new(), held, progress })))
}

struct ResponseBody {
    body: Body,
    /// Of the piece that the body gave last.
    rest: Bytes,
    held: Arc<Held>,
    progress: Option<Arc<Progress>>,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let most = if this.progress.is_some() { PIECE } else { usize::MAX };
        let bytes = this.rest.split_to(this.rest.len().min(most));
        let piece = Piece { bytes, progress: this.progress.clone(), _held: this.held.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut size = SizeHint::new();
        if let Some(upper) = body.upper() {
            size.set_upper(upper + rest);
        }
        size.set_lower(body.lower() + rest);
        size
    }
}

/// Bytes that know when they have left.
struct Piece {
    bytes: Bytes,
    progress: Option<Arc<Progress>>,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.record();
        }
    }
}
