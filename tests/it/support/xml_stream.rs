//! An XMPP stream from the tests' side, written apart from the product's: frames what comes with a plain XML reader,
//! writes whatever it is told to, ill-formed text too.

use std::net::SocketAddr;
use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wait::PATIENCE;

/// One top-level element as it was written on the wire.
#[derive(Debug, Clone)]
pub struct Stanza {
    pub text: String,
    /// With its prefix, as written.
    pub name: String,
    attrs: Vec<(String, String)>,
}

impl Stanza {
    fn new(text: &str) -> Self {
        let mut reader = Reader::from_str(text);
        let (Ok(Event::Start(start)) | Ok(Event::Empty(start))) = reader.read_event() else {
            panic!("not an element: {text}");
        };
        let attrs = start.attributes().map(|attr| {
            let attr = attr.unwrap_or_else(|e| panic!("{e}: {text}"));
            let value = quick_xml::escape::unescape(&attr.value).unwrap_or_else(|e| panic!("{e}: {text}"));
            (attr.key.as_ref().to_owned(), value.into_owned())
        });
        Self { name: start.name().as_ref().to_owned(), attrs: attrs.collect(), text: text.to_owned() }
    }

    /// Empty where it is absent.
    pub fn attr(&self, name: &str) -> &str {
        self.attrs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The result that answers this request, with that payload.
    pub fn result(&self, payload: &str) -> Answer {
        Answer::new(self, "result", payload)
    }

    /// The refusal of this request: a condition of RFC 6120 section 8.3.3, and its error type.
    pub fn error(&self, kind: &str, condition: &str) -> Answer {
        let stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";
        Answer::new(self, "error", &format!("<error type='{kind}'><{condition} xmlns='{stanzas}'/></error>"))
    }
}

/// An answer to an IQ; honest unless told otherwise.
#[derive(Debug, Clone)]
pub struct Answer {
    pub kind: String,
    pub id: String,
    pub from: String,
    pub to: String,
    pub payload: String,
}

impl Answer {
    fn new(iq: &Stanza, kind: &str, payload: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            id: iq.attr("id").to_owned(),
            from: iq.attr("to").to_owned(),
            to: iq.attr("from").to_owned(),
            payload: payload.to_owned(),
        }
    }

    /// The same under another id.
    pub fn under_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// The same from another sender.
    pub fn sent_by(self, from: &str) -> Self {
        Self { from: from.to_owned(), ..self }
    }

    pub fn to_xml(&self) -> String {
        let Self { kind, id, from, to, payload } = self;
        let [id, from, to] = [id, from, to].map(|value| quick_xml::escape::escape(value.as_str()));
        format!("<iq type='{kind}' id='{id}' from='{from}' to='{to}'>{payload}</iq>")
    }
}

/// An item of a stream.
#[derive(Debug, Clone)]
pub enum Received {
    Stanza(Stanza),
    /// The other side ended the stream or the connection.
    End,
}

pub struct XmlStream {
    socket: TcpStream,
    /// Received and not yet framed.
    waiting: Vec<u8>,
}

impl XmlStream {
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, waiting: Vec::new() })
    }

    /// For what follows the XML, once the other side has been told.
    pub fn into_socket(self) -> TcpStream {
        assert!(self.waiting.is_empty(), "bytes of the stream would be lost");
        self.socket
    }

    /// Writes that text.
    pub async fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.socket.write_all(text.as_bytes()).await
    }

    /// Sends the header of a (new) stream and reads the other side's: its attributes as a stanza's.
    pub async fn open(&mut self, namespace: &str, to: &str, version: &str) -> std::io::Result<Stanza> {
        let streams = "http://etherx.jabber.org/streams";
        self.send(&format!(
            "<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='{streams}' to='{to}' {version}>"
        ))
        .await?;
        loop {
            if let Some(end) = header_end(&self.waiting) {
                let header: Vec<u8> = self.waiting.drain(..end).collect();
                let header = String::from_utf8_lossy(&header);
                let begin = header.find("<stream:stream").expect("header_end found it");
                return Ok(Stanza::new(&header[begin..]));
            }
            self.read().await?;
        }
    }

    /// The next element, within [`PATIENCE`].
    pub async fn next(&mut self) -> Stanza {
        match self.next_within(PATIENCE).await {
            Some(Received::Stanza(stanza)) => stanza,
            other => panic!("no stanza came: {other:?}"),
        }
    }

    /// `None` where nothing came within that time.
    pub async fn next_within(&mut self, within: Duration) -> Option<Received> {
        timeout(within, self.next_or_end()).await.ok()
    }

    async fn next_or_end(&mut self) -> Received {
        loop {
            match first_element(&self.waiting) {
                Some(0) => return Received::End,
                Some(end) => {
                    let text: Vec<u8> = self.waiting.drain(..end).collect();
                    return Received::Stanza(Stanza::new(String::from_utf8_lossy(&text).trim_start()));
                }
                None if self.read().await.is_err() => return Received::End,
                None => {}
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<()> {
        match self.socket.read_buf(&mut self.waiting).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Where the stream header ends, once it is there whole.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).ok()?;
    let begin = text.find("<stream:stream")?;
    Some(begin + text[begin..].find('>')? + 1)
}

/// Where the first element ends (white space before it included), once it is there whole; 0 where the stream ends
/// instead.
fn first_element(bytes: &[u8]) -> Option<usize> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // The rest of the last character is still on its way.
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?,
    };
    if text.trim_start().starts_with("</") {
        return Some(0);
    }
    let mut reader = Reader::from_str(text);
    let mut depth = 0;
    loop {
        // An error is an element of which a part is still on its way.
        match reader.read_event().ok()? {
            Event::Start(_) => depth += 1,
            Event::End(_) if depth == 1 => return Some(reader.buffer_position() as usize),
            Event::End(_) => depth -= 1,
            Event::Empty(_) if depth == 0 => return Some(reader.buffer_position() as usize),
            Event::Eof => return None,
            _ => {}
        }
    }
}
