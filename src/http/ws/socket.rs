//! A WebSocket from its handshake on, which bounds what of a client's bytes becomes no message: fragments without end, and
//! the heads of many small ones. The protocol's implementation reads those on for as long as they come, and tells nobody.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::http::forward::forward_writes;

/// Messages are small; tungstenite's own default is 128 KiB for each socket.
const READ_BUFFER: usize = 4096;
/// The most that the heads of a frame and of its control frames take.
const HEADS: usize = 32;
/// Bytes that may become no message beside twice the largest one: what is read ahead.
const AHEAD: usize = 64 * 1024;

/// An accepted socket.
pub type WebSocket = WebSocketStream<Counted<TokioIo<Upgraded>>>;

/// A request for a socket that can be accepted.
pub struct Upgrade {
    handshake: WebSocketUpgrade,
    io: OnUpgrade,
}

/// The argument of a WebSocket route's handler. The handler answers a rejected upgrade itself.
pub type UpgradeResult = Result<Upgrade, WebSocketUpgradeRejection>;

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        // The handshake is axum's, the bytes after it are ours: it is left one that leads nowhere.
        let nowhere = || hyper::upgrade::on(http::Request::new(()));
        let io = parts.extensions.remove::<OnUpgrade>();
        if io.is_some() {
            parts.extensions.insert(nowhere());
        }
        let handshake = WebSocketUpgrade::from_request_parts(parts, state).await?;
        Ok(Self { handshake, io: io.unwrap_or_else(nowhere) })
    }
}

impl Upgrade {
    /// Accepts it, with that subprotocol where it is offered, and serves it in a task of its own. `largest`: bytes of a
    /// message.
    pub fn accept<F>(
        self,
        protocol: &'static str,
        largest: usize,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { handshake, io } = self;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        tokio::spawn(async move {
            // Otherwise the connection has ended before.
            if let Ok(io) = io.await {
                let io = Counted { io: TokioIo::new(io), idle: Idle::beside(largest) };
                serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
            }
        });
        handshake.protocols([protocol]).on_upgrade(|_nowhere| async {})
    }
}

/// Bytes that have become no message. Pure.
#[derive(Debug)]
struct Idle {
    bytes: usize,
    most: usize,
}

impl Idle {
    fn beside(largest: usize) -> Self {
        Self { bytes: 0, most: 2 * largest + AHEAD }
    }

    fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// A message of so many bytes may have had as many for the heads of its fragments.
    fn message(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(2 * bytes + HEADS);
    }

    fn is_flood(&self) -> bool {
        self.bytes > self.most
    }
}

/// A socket's bytes, below its messages.
pub struct Counted<IO> {
    io: IO,
    idle: Idle,
}

impl<IO> Counted<IO> {
    /// A message of so many bytes was read.
    pub fn message(&mut self, bytes: usize) {
        self.idle.message(bytes);
    }

    /// Nothing is read any more: what came became no message.
    pub fn is_flooded(&self) -> bool {
        self.idle.is_flood()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_flooded() {
            return Poll::Ready(Err(io::Error::other("too many bytes that become no message")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.idle.read(buf.filled().len() - before);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    forward_writes!(io);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fragments of so many bytes, 6 for the head of each; how many are read of those that come.
    fn read_of(fragments: usize, bytes: usize) -> usize {
        let mut idle = Idle::beside(1000);
        for read in 0..fragments {
            if idle.is_flood() {
                return read;
            }
            idle.read(bytes + 6);
        }
        fragments
    }

    #[test]
    fn fragments_without_end_are_a_flood() {
        for bytes in [0, 1] {
            assert_eq!(read_of(1_000_000, bytes), (2000 + AHEAD) / (bytes + 6) + 1);
        }
    }

    #[test]
    fn messages_in_fragments_are_none_however_many_come() {
        let mut idle = Idle::beside(1000);
        for _ in 0..10_000 {
            for _ in 0..50 {
                idle.read(20);
                assert!(!idle.is_flood());
            }
            idle.message(50 * 14);
            idle.read(6);
            idle.message(0);
        }
    }
}
