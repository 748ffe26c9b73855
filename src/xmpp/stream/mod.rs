//! One XMPP stream over any byte stream: stanzas in, stanzas out, both moved by the same owner.
//!
//! [`XmppStream`] needs no lock and no second task: [`XmppStream::next`] writes what was queued while it waits for the
//! next stanza, so neither side can starve the other, and everything queued between two waits leaves in one write.
//!
//! It is the one writer and the one reader. What leaves is a tree that this module writes, from an address that is the
//! stream's own: see [`StreamIdentity`]. What comes and can't be kept is skipped: see [`Incoming`].

mod head;
mod identity;
pub mod splitter;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use smol_str::SmolStr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls_client::Io;
use crate::xmpp::xml::{CONTENT_NS, Element, Stanza, XmlError, read, write_attr, write_element};
use head::Head;
pub use identity::StreamIdentity;
use splitter::{Frame, FramingError, Splitter};

/// Bytes taken from the socket at once: some fifty stanzas of the usual size, and little enough for each of some
/// thousands of user sessions.
const READ_BYTES: usize = 8 * 1024;
/// Written bytes that may wait at the front of the queue before it is moved up.
const SHIFT_BYTES: usize = 64 * 1024;
const STREAM_NS: &str = "http://etherx.jabber.org/streams";
const STREAM_ERROR_NS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection has failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are no stream.
    #[error("{0}")]
    Framing(#[from] FramingError),
    /// Something that the stream can't go on without.
    #[error("{0}")]
    Xml(#[from] XmlError),
    /// The peer has ended the stream; the condition where it named one (RFC 6120 section 4.9.3), else `closed`.
    #[error("the server ended the stream: {0}")]
    Ended(String),
}

/// The tag that opened a stream, as attributes.
pub type Header = Element;

/// An item that comes in.
#[derive(Debug)]
pub enum Incoming {
    /// A stanza.
    Stanza(Stanza),
    /// A stanza that was not kept, too large, too deep or of XML that we don't read: without its content, of its
    /// attributes type, id, from and to. The stream is in step.
    Skipped(Stanza),
}

enum Piece {
    Header(Header),
    Incoming(Incoming),
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
    voice: StreamIdentity,
    /// The prefixes that the peer's header declares.
    declared: Vec<(SmolStr, SmolStr)>,
}

impl XmppStream {
    /// A stream over that connection.
    pub fn new(io: Box<dyn Io>, voice: StreamIdentity) -> Self {
        Self {
            io,
            splitter: Splitter::default(),
            scratch: Box::new([0; READ_BYTES]),
            out: String::new(),
            written: 0,
            unflushed: false,
            voice,
            declared: Vec::new(),
        }
    }

    /// Queues a stream's start tag, which stays open.
    pub fn queue_header(&mut self, content_ns: &str, attrs: &[(&str, &str)]) {
        let out = self.out_mut();
        out.push_str("<?xml version='1.0'?><stream:stream");
        let namespaces = [("xmlns", content_ns), ("xmlns:stream", STREAM_NS)];
        namespaces.iter().chain(attrs).for_each(|(name, value)| write_attr(out, name, value));
        out.push('>');
    }

    /// Queues an element of the negotiation.
    pub fn queue_element(&mut self, element: &Element) {
        write_element(self.out_mut(), element, CONTENT_NS);
    }

    /// Queues a stanza, `from` where the stream speaks from. False: it has no address that the stream could send it
    /// from or to, and is not sent.
    #[must_use]
    pub fn queue(&mut self, stanza: &Stanza) -> bool {
        self.out_mut();
        let sent = self.voice.write(stanza, &mut self.out);
        if !sent {
            metrics::counter!("confgate_eim_stanzas_unsent_total").increment(1);
        }
        sent
    }

    /// A component's stream: the server routes what is for that domain to it too, and lets it speak from there.
    pub fn speak_for(&mut self, domain: &str) {
        if let StreamIdentity::Component(domains) = &mut self.voice {
            domains.push(domain.to_owned());
        }
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

    /// The next item; until it is there, writes the queued bytes. Cancel-safe.
    pub async fn incoming(&mut self) -> Result<Incoming, StreamError> {
        match poll_fn(|cx| self.poll_piece(cx)).await? {
            Piece::Incoming(Incoming::Stanza(stanza)) if stanza.name == "error" => {
                Err(StreamError::Ended(condition(&stanza)))
            }
            Piece::Incoming(incoming) => Ok(incoming),
            Piece::Header(_) => Err(FramingError("a second stream header").into()),
        }
    }

    /// The next stanza, in a negotiation: none of its steps may be skipped. Cancel-safe.
    pub async fn next(&mut self) -> Result<Stanza, StreamError> {
        match self.incoming().await? {
            Incoming::Stanza(stanza) => Ok(stanza),
            Incoming::Skipped(_) => Err(XmlError("a stanza that cannot be read").into()),
        }
    }

    /// As [`XmppStream::incoming`], but reads only if `read`, else stays pending once all is written: for an owner who
    /// has no place for another stanza. Cancel-safe.
    pub async fn incoming_when(&mut self, read: bool) -> Result<Incoming, StreamError> {
        if !read {
            self.flush().await?;
            std::future::pending::<()>().await;
        }
        self.incoming().await
    }

    /// The peer's stream header; until it is there, writes what is queued. Cancel-safe.
    pub async fn next_header(&mut self) -> Result<Header, StreamError> {
        match poll_fn(|cx| self.poll_piece(cx)).await? {
            Piece::Header(header) => {
                self.declared.clone_from(&header.declared);
                Ok(header)
            }
            Piece::Incoming(_) => Err(FramingError("a stanza before the stream header").into()),
        }
    }

    /// Writes all that is queued. Cancel-safe.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        Ok(poll_fn(|cx| self.poll_write_out(cx)).await?)
    }

    /// Queues a stream error of RFC 6120 section 4.9.3, which the stream's end must follow.
    pub fn queue_error(&mut self, condition: &str) {
        let condition = Element::new(condition, STREAM_ERROR_NS).to_xml();
        self.out_mut().push_str(&format!("<stream:error>{condition}</stream:error>"));
    }

    /// Says the stream's end to the peer, as far as it takes it at once.
    pub async fn close(&mut self) {
        self.out_mut().push_str("</stream:stream>");
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
                return Poll::Ready(take_apart(frame, &self.declared));
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

fn take_apart(frame: Frame<'_>, declared: &[(SmolStr, SmolStr)]) -> Result<Piece, StreamError> {
    let incoming = match frame {
        Frame::Open(tag) => return Ok(Piece::Header(read::start_tag(tag)?)),
        Frame::Close => return Err(StreamError::Ended("closed".into())),
        Frame::Skipped(head, why) => skipped(head, why),
        Frame::Stanza(text) => match read::element(text, &read::Source::Stream(declared)) {
            Ok(element) => Incoming::Stanza(element.into()),
            Err(why) => skipped(Head::of(text), why),
        },
    };
    Ok(Piece::Incoming(incoming))
}

fn skipped(head: Head, why: XmlError) -> Incoming {
    let stanza = head.into_stanza();
    metrics::counter!("confgate_eim_stanzas_skipped_total").increment(1);
    tracing::debug!(name = stanza.name.as_str(), from = stanza.attr("from"), %why, "a stanza is skipped");
    Incoming::Skipped(stanza)
}

/// A stream error's defined condition.
fn condition(error: &Stanza) -> String {
    error.payload().map_or_else(|| "undefined-condition".to_owned(), |c| c.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const HEAD: &str = "<stream:stream xmlns:stream='s' id='7'>";

    fn stream(io: impl Io + 'static) -> XmppStream {
        XmppStream::new(Box::new(io), StreamIdentity::Server)
    }

    #[tokio::test]
    async fn queued_bytes_leave_while_the_next_stanza_is_awaited() {
        let (here, mut there) = duplex(16);
        let mut stream = stream(here);
        assert!(stream.queue(&Stanza::parse("<a>more than the pipe holds</a>").unwrap()));
        stream.queue_element(&Element::new("b", CONTENT_NS));
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
    async fn a_header_is_read_as_it_was_queued() {
        let (here, there) = duplex(1024);
        let (mut one, mut other) = (stream(here), stream(there));
        one.queue_header("jabber:client", &[("to", "a'b<"), ("version", "1.0")]);
        let (header, _) = tokio::join!(other.next_header(), one.flush());
        let header = header.unwrap();
        assert_eq!((header.name.as_str(), header.ns.as_str()), ("stream", STREAM_NS));
        assert_eq!((header.attr("to"), header.attr("version")), (Some("a'b<"), Some("1.0")));
    }

    #[tokio::test]
    async fn a_stanza_that_is_not_kept_is_told_without_its_content_and_the_stream_goes_on() {
        let (here, mut there) = duplex(1024 * 1024);
        let mut stream = stream(here);
        let (deep, wide) = ("<x>".repeat(40) + &"</x>".repeat(40), "a1='' a1=''");
        let large = "&apos;".repeat(60_000);
        for inside in
            [format!(">{deep}</iq>"), format!(" {wide}/>"), format!(">{large}</iq>"), "><p:x/></iq>".to_owned()]
        {
            let text = format!("<iq type='get' id='1' from='u@x/&apos;' to='y'{inside}<c/>");
            let text = if stream.declared.is_empty() { format!("{HEAD}{text}") } else { text };
            there.write_all(text.as_bytes()).await.unwrap();
            if stream.declared.is_empty() {
                stream.next_header().await.unwrap();
            }
            let Ok(Incoming::Skipped(iq)) = stream.incoming().await else { panic!("it is kept") };
            assert!(iq.is_request() && iq.nodes.is_empty());
            assert_eq!(["id", "from", "to"].map(|name| iq.attr(name).unwrap()), ["1", "u@x/'", "y"]);
            assert_eq!(stream.next().await.unwrap().name, "c");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_stream_says_why() {
        for (text, why) in [
            ("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "conflict"),
            ("</stream:stream>", "closed"),
            ("", "closed"),
        ] {
            let (here, mut there) = duplex(1024);
            let mut stream = stream(here);
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
        let mut stream = stream(here);
        there.write_all(format!("{HEAD}<proceed/><iq/>").as_bytes()).await.unwrap();
        stream.next_header().await.unwrap();
        assert_eq!(stream.next().await.unwrap().name, "proceed");
        assert!(stream.restart().is_err());
        assert!(stream.into_io().is_err());
    }
}
