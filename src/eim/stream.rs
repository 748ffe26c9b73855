//! One XMPP stream over any byte stream: stanzas in, text out, both moved by the same owner.
//!
//! [`XmppStream`] needs no lock and no second task: [`XmppStream::next`] writes what was queued while it waits for the
//! next stanza, so neither side can starve the other, and everything queued between two waits leaves in one write.

pub mod splitter;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::eim::xml::{Stanza, XmlError};
use splitter::{Frame, FramingError, Splitter};

/// Bytes taken from the socket at once: some fifty stanzas of the usual size, and little enough for each of some
/// thousands of user sessions.
const READ_BYTES: usize = 8 * 1024;
/// Written bytes that may wait at the front of the queue before it is moved up.
const SHIFT_BYTES: usize = 64 * 1024;

/// What a stream runs over: TCP, TLS, or an in-process pipe.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Framing(#[from] FramingError),
    #[error("{0}")]
    Xml(#[from] XmlError),
    /// The peer has ended the stream; the condition where it named one (RFC 6120 section 4.9.3), else `closed`.
    #[error("the server ended the stream: {0}")]
    Ended(String),
}

/// The tag that opened a stream, as attributes.
pub type Header = Stanza;

enum Piece {
    Header(Header),
    Stanza(Stanza),
}

/// See the module.
pub struct XmppStream {
    io: Box<dyn Io>,
    splitter: Splitter,
    scratch: Box<[u8; READ_BYTES]>,
    /// Text to write; the first `written` bytes are gone already.
    out: String,
    written: usize,
    /// TLS and buffered transports keep written bytes until flushed.
    unflushed: bool,
}

impl XmppStream {
    pub fn new(io: impl Io + 'static) -> Self {
        Self::over(Box::new(io))
    }

    pub fn over(io: Box<dyn Io>) -> Self {
        Self {
            io,
            splitter: Splitter::default(),
            scratch: Box::new([0; READ_BYTES]),
            out: String::new(),
            written: 0,
            unflushed: false,
        }
    }

    /// Appends text to what the next wait writes. The text must be whole stanzas that are well-formed.
    pub fn queue(&mut self, text: &str) {
        self.out_mut().push_str(text);
    }

    /// As [`XmppStream::queue`], without a copy in between.
    pub fn queue_stanza(&mut self, stanza: &Stanza) {
        stanza.write(self.out_mut());
    }

    fn out_mut(&mut self) -> &mut String {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        &mut self.out
    }

    /// Bytes that are queued and not yet written: the owner's measure for when to stop queueing.
    pub fn queued(&self) -> usize {
        self.out.len() - self.written
    }

    /// The next stanza; until it is there, writes what is queued. Cancel-safe.
    pub async fn next(&mut self) -> Result<Stanza, StreamError> {
        match poll_fn(|cx| self.poll_piece(cx)).await? {
            Piece::Stanza(stanza) if stanza.name == "error" => Err(StreamError::Ended(condition(&stanza))),
            Piece::Stanza(stanza) => Ok(stanza),
            Piece::Header(_) => Err(FramingError("a second stream header").into()),
        }
    }

    /// As [`XmppStream::next`], but reads only if `read`, else stays pending once all is written: for an owner who has
    /// no place for another stanza. Cancel-safe.
    pub async fn next_when(&mut self, read: bool) -> Result<Stanza, StreamError> {
        if !read {
            self.flush().await?;
            std::future::pending::<()>().await;
        }
        self.next().await
    }

    /// The peer's stream header; until it is there, writes what is queued. Cancel-safe.
    pub async fn next_header(&mut self) -> Result<Header, StreamError> {
        match poll_fn(|cx| self.poll_piece(cx)).await? {
            Piece::Header(header) => Ok(header),
            Piece::Stanza(_) => Err(FramingError("a stanza before the stream header").into()),
        }
    }

    /// Writes all that is queued. Cancel-safe.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        Ok(poll_fn(|cx| self.poll_write_out(cx)).await?)
    }

    /// Says the stream's end to the peer, as far as it takes it at once.
    pub async fn close(&mut self) {
        self.queue("</stream:stream>");
        let _ = self.flush().await;
        let _ = poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await;
    }

    /// Starts over on the same bytes (after SASL, RFC 6120 section 4.3.3): the peer's next header opens a new stream.
    /// Refused where the peer has sent more than the old stream's last stanza.
    pub fn restart(&mut self) -> Result<(), StreamError> {
        self.nothing_left_over()?;
        self.splitter = Splitter::default();
        Ok(())
    }

    /// The transport itself, to put TLS over it. Refused where the peer has sent more than it was asked for: what
    /// came before TLS must not be taken for what came through it.
    pub fn into_io(self) -> Result<Box<dyn Io>, StreamError> {
        self.nothing_left_over()?;
        Ok(self.io)
    }

    fn nothing_left_over(&self) -> Result<(), StreamError> {
        if self.splitter.has_rest() { Err(FramingError("bytes ahead of their turn").into()) } else { Ok(()) }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, StreamError>> {
        loop {
            // All frames of one read are handed out before the next write, so their answers leave together.
            if let Some(frame) = self.splitter.next_frame()? {
                return Poll::Ready(take_apart(frame));
            }
            if let Poll::Ready(Err(e)) = self.poll_write_out(cx) {
                return Poll::Ready(Err(e.into()));
            }
            let mut buf = ReadBuf::new(&mut self.scratch[..]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Err(StreamError::Ended("closed".into())));
            }
            self.splitter.feed(buf.filled());
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out.as_bytes()[self.written..];
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.unflushed = true;
            self.shift();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the queue's memory near what is really queued.
    fn shift(&mut self) {
        if self.written == self.out.len() {
            self.out.clear();
            self.out.shrink_to(SHIFT_BYTES);
            self.written = 0;
        } else if self.written >= SHIFT_BYTES && self.out.is_char_boundary(self.written) {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }
}

fn take_apart(frame: Frame<'_>) -> Result<Piece, StreamError> {
    match frame {
        Frame::Open(tag) => Ok(Piece::Header(Stanza::split_open(tag)?)),
        Frame::Stanza(text) => Ok(Piece::Stanza(Stanza::split(text)?)),
        Frame::Close => Err(StreamError::Ended("closed".into())),
    }
}

/// A stream error's defined condition.
fn condition(error: &Stanza) -> String {
    let children = error.children().unwrap_or_default();
    children.first().map_or_else(|| "undefined-condition".to_owned(), |c| c.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const HEAD: &str = "<stream:stream xmlns:stream='s' id='7'>";

    #[tokio::test]
    async fn what_is_queued_leaves_while_the_next_stanza_is_awaited() {
        let (here, mut there) = duplex(16);
        let mut stream = XmppStream::new(here);
        stream.queue("<a>more than the pipe holds</a>");
        stream.queue("<b/>");
        let peer = tokio::spawn(async move {
            let mut got = [0; 35];
            there.read_exact(&mut got).await.unwrap();
            there.write_all(format!("{HEAD}<c/>").as_bytes()).await.unwrap();
            (got, there)
        });
        assert_eq!(stream.next_header().await.unwrap().attr("id"), Some("7"));
        assert_eq!(stream.next().await.unwrap().name, "c");
        assert_eq!(&peer.await.unwrap().0, b"<a>more than the pipe holds</a><b/>");
        assert_eq!(stream.queued(), 0);
    }

    #[tokio::test]
    async fn the_end_of_a_stream_says_why() {
        for (text, why) in [
            ("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "conflict"),
            ("</stream:stream>", "closed"),
            ("", "closed"),
        ] {
            let (here, mut there) = duplex(1024);
            let mut stream = XmppStream::new(here);
            there.write_all(format!("{HEAD}{text}").as_bytes()).await.unwrap();
            drop(there);
            stream.next_header().await.unwrap();
            let Err(StreamError::Ended(condition)) = stream.next().await else { panic!("{text} went on") };
            assert_eq!(condition, why);
        }
    }

    #[tokio::test]
    async fn bytes_before_tls_are_not_taken_for_bytes_through_it() {
        let (here, mut there) = duplex(1024);
        let mut stream = XmppStream::new(here);
        there.write_all(format!("{HEAD}<proceed/><iq/>").as_bytes()).await.unwrap();
        stream.next_header().await.unwrap();
        assert_eq!(stream.next().await.unwrap().name, "proceed");
        assert!(stream.restart().is_err());
        assert!(stream.into_io().is_err());
    }
}
