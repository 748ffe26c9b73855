//! Finds where one stanza ends and the next begins, byte by byte, without understanding either.
//!
//! Pure: bytes in, frames out. It knows just enough of XML to never be wrong about a boundary (quotes, CDATA, matching
//! end tags), and refuses what XMPP forbids (RFC 6120 section 11.1) or what another parser might read differently.
//! Of a stanza that is larger or deeper than allowed the elements are counted and the bytes thrown away as they come:
//! anybody can have a server send one, and only the server can have it send something ill-formed.

#[cfg(test)]
mod tests;

use super::head::Head;
use crate::xmpp::xml::{DEPTH_MAX, STANZA_MAX, XmlError};

/// One piece of a stream, borrowed from the splitter's buffer.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The stream's start tag, e.g. `<stream:stream id='x' ...>`.
    Open(&'a str),
    /// One whole child element of the stream.
    Stanza(&'a str),
    /// One whole child element that was not kept: its start tag, and why.
    Skipped(Head, XmlError),
    /// The stream's end tag.
    Close,
}

/// Why the bytes are no XMPP stream. After one the splitter must not be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FramingError(pub &'static str);

const ILL_FORMED: FramingError = FramingError("ill-formed XML on the stream");
const NO_STANZA: FramingError = FramingError("a stream's own tag larger than allowed");
const TOO_LARGE: XmlError = XmlError("too large");
const TOO_DEEP: XmlError = XmlError("too deep");
const CDATA: &[u8] = b"[CDATA[";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// After `<`.
    Less,
    /// In a start tag's name.
    Name,
    /// In a start tag behind its name.
    Tag,
    /// In an attribute value, until this quote.
    Quoted(u8),
    /// After `/` in a start tag: only `>` may follow.
    Slash,
    /// In an end tag.
    EndTag,
    /// After `<!` and this many bytes of `[CDATA[`.
    Bang(usize),
    /// In CDATA, after this many `]` (two at most are counted).
    CData(usize),
    /// In `<?`, which only the XML declaration before the stream may be.
    Declaration,
}

enum Found {
    Nothing,
    Open,
    Stanza,
    Close,
}

/// A stanza that is not kept.
struct Skipping {
    head: Head,
    why: XmlError,
    /// Elements of it that are open. Their names are not kept: that they match is the server's part.
    depth: usize,
}

/// See the module. Holds at most [`STANZA_MAX`] bytes of an unfinished stanza and what was fed at once.
pub struct Splitter {
    buf: Vec<u8>,
    /// Where the frame under way begins.
    start: usize,
    /// The next byte to look at.
    next: usize,
    at: At,
    /// Where the name in `at` begins.
    name_from: usize,
    /// The names of the open elements of the stanza under way, as ranges relative to `start`.
    open: Vec<(usize, usize)>,
    skipping: Option<Skipping>,
    /// The stream's own qualified name once its start tag was seen.
    stream: Option<Vec<u8>>,
    declared: bool,
    closed: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            buf: Vec::new(),
            start: 0,
            next: 0,
            at: At::Text,
            name_from: 0,
            open: Vec::with_capacity(8),
            skipping: None,
            stream: None,
            declared: false,
            closed: false,
        }
    }
}

impl Splitter {
    /// Adds bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buf.len() {
            self.buf.clear();
        } else {
            self.buf.drain(..self.start);
        }
        self.next -= self.start;
        self.name_from = self.name_from.saturating_sub(self.start);
        self.start = 0;
        self.buf.extend_from_slice(bytes);
    }

    /// Whether bytes were fed that no frame has taken yet.
    pub fn has_rest(&self) -> bool {
        self.start < self.buf.len()
    }

    /// The next frame, or `None` until more bytes are fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FramingError> {
        while self.next < self.buf.len() {
            let (before, was_skipping) = (self.next, self.skipping.is_some());
            let found = self.step()?;
            if self.next - self.start > STANZA_MAX && !was_skipping {
                if matches!(found, Found::Open | Found::Close) {
                    return Err(NO_STANZA);
                }
                self.skip(TOO_LARGE)?;
            }
            if let Some(skipping) = &mut self.skipping {
                let unseen = if was_skipping { before } else { self.start };
                skipping.head.feed(&self.buf[unseen..self.next]);
                self.start = self.next;
                if let Found::Stanza = found {
                    return Ok(self.skipping.take().map(|skipped| Frame::Skipped(skipped.head, skipped.why)));
                }
                continue;
            }
            if !matches!(found, Found::Nothing) {
                let range = self.start..self.next;
                self.start = self.next;
                let text = std::str::from_utf8(&self.buf[range]).map_err(|_| FramingError("not UTF-8"))?;
                return Ok(Some(match found {
                    Found::Open => Frame::Open(text),
                    Found::Close => Frame::Close,
                    Found::Stanza | Found::Nothing => Frame::Stanza(text),
                }));
            }
        }
        Ok(None)
    }

    /// Begins to throw the stanza under way away.
    fn skip(&mut self, why: XmlError) -> Result<(), FramingError> {
        if self.stream.is_none() || (self.at == At::EndTag && self.open.is_empty()) {
            return Err(NO_STANZA);
        }
        if self.skipping.is_none() {
            self.skipping = Some(Skipping { head: Head::default(), why, depth: self.open.len() });
            self.open.clear();
        }
        Ok(())
    }

    /// Elements of the stanza under way that are open.
    fn depth(&self) -> usize {
        self.skipping.as_ref().map_or(self.open.len(), |skipping| skipping.depth)
    }

    /// Takes one byte that matters and says whether it ended a frame.
    fn step(&mut self) -> Result<Found, FramingError> {
        if self.at == At::Text {
            self.skip_text()?;
            return Ok(Found::Nothing);
        }
        self.skip_dull();
        let Some(&byte) = self.buf.get(self.next) else { return Ok(Found::Nothing) };
        let here = self.next;
        self.next += 1;
        match (self.at, byte) {
            (At::Less, b'/') => (self.at, self.name_from) = (At::EndTag, here + 1),
            (At::Less, b'!') if self.depth() > 0 => self.at = At::Bang(0),
            (At::Less, b'?') if self.stream.is_none() && !self.declared => self.at = At::Declaration,
            (At::Less, _) if is_name_start(byte) => (self.at, self.name_from) = (At::Name, here),
            (At::Less, _) => return Err(FramingError("a comment, processing instruction or DTD on the stream")),
            (At::Name | At::Tag, b'<') | (At::Tag, b'&') => return Err(ILL_FORMED),
            (At::Name, b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.opened(here)?;
                return self.tag_goes_on(byte);
            }
            (At::Name, b'"' | b'\'' | b'=' | b'&') => return Err(ILL_FORMED),
            (At::Tag, _) => return self.tag_goes_on(byte),
            (At::Quoted(quote), _) if byte == quote => self.at = At::Tag,
            (At::Quoted(_), b'<') => return Err(ILL_FORMED),
            (At::Slash, b'>') => return self.closed_by(None),
            (At::Slash, _) => return Err(ILL_FORMED),
            (At::EndTag, b'>') => return self.closed_by(Some(here)),
            (At::EndTag, b'<' | b'/' | b'"' | b'\'' | b'=') => return Err(ILL_FORMED),
            (At::Bang(seen), _) if byte == CDATA[seen] => {
                self.at = if seen + 1 == CDATA.len() { At::CData(0) } else { At::Bang(seen + 1) };
            }
            (At::Bang(_), _) => return Err(FramingError("a comment or DTD on the stream")),
            (At::CData(2), b'>') => self.at = At::Text,
            (At::CData(brackets), b']') => self.at = At::CData((brackets + 1).min(2)),
            (At::CData(_), _) => self.at = At::CData(0),
            (At::Declaration, b'>') => {
                // No need to read it: RFC 6120 section 11.6 leaves UTF-8 as the only encoding.
                (self.at, self.declared, self.start) = (At::Text, true, self.next);
            }
            (At::Declaration, b'<') => return Err(ILL_FORMED),
            (At::Name | At::Quoted(_) | At::EndTag | At::Declaration, _) | (At::Text, _) => {}
        }
        Ok(Found::Nothing)
    }

    /// Runs over bytes that change nothing where we are: most of a stanza, so this is where the time goes.
    fn skip_dull(&mut self) {
        let rest = &self.buf[self.next..];
        let special = match self.at {
            At::Quoted(quote) => rest.iter().position(|b| *b == quote || *b == b'<'),
            At::Name => rest.iter().position(|b| !b.is_ascii_alphanumeric() && *b < 0x80),
            At::Tag => rest.iter().position(|b| matches!(b, b'<' | b'&' | b'>' | b'/' | b'"' | b'\'')),
            At::EndTag => rest.iter().position(|b| matches!(b, b'<' | b'/' | b'"' | b'\'' | b'=' | b'>')),
            At::CData(0) => rest.iter().position(|b| *b == b']'),
            _ => Some(0),
        };
        self.next += special.unwrap_or(rest.len());
    }

    /// Runs to the next `<`. Between stanzas only white space may stand (it keeps a connection alive).
    fn skip_text(&mut self) -> Result<(), FramingError> {
        let rest = &self.buf[self.next..];
        let run = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        let between = self.depth() == 0;
        if between && !rest[..run].iter().all(|b| is_space(*b)) {
            return Err(FramingError("text between stanzas"));
        }
        let found = run < rest.len();
        self.next += run;
        if between {
            self.start = self.next;
        }
        if found {
            if self.closed {
                return Err(FramingError("something behind the end of the stream"));
            }
            (self.at, self.next) = (At::Less, self.next + 1);
        }
        Ok(())
    }

    /// A start tag's name has ended before `here`.
    fn opened(&mut self, here: usize) -> Result<(), FramingError> {
        if self.open.len() >= DEPTH_MAX {
            self.skip(TOO_DEEP)?;
        }
        match &mut self.skipping {
            Some(skipping) => skipping.depth += 1,
            None => self.open.push((self.name_from - self.start, here - self.start)),
        }
        Ok(())
    }

    fn tag_goes_on(&mut self, byte: u8) -> Result<Found, FramingError> {
        self.at = match byte {
            b'>' if self.stream.is_none() => {
                let (from, to) = self.open.pop().unwrap_or_default();
                self.stream = Some(self.buf[self.start + from..self.start + to].to_vec());
                self.at = At::Text;
                return Ok(Found::Open);
            }
            b'>' => At::Text,
            b'/' => At::Slash,
            b'"' | b'\'' => At::Quoted(byte),
            _ => At::Tag,
        };
        Ok(Found::Nothing)
    }

    /// An element has ended: by `/>`, or by an end tag whose `>` stands at `end`.
    fn closed_by(&mut self, end: Option<usize>) -> Result<Found, FramingError> {
        self.at = At::Text;
        let Some(stream) = &self.stream else {
            return Err(FramingError("an element in place of a stream"));
        };
        if let Some(skipping) = &mut self.skipping {
            skipping.depth = skipping.depth.saturating_sub(1);
            return Ok(if skipping.depth == 0 { Found::Stanza } else { Found::Nothing });
        }
        let opened = self.open.pop();
        if let Some(end) = end {
            let mut name = &self.buf[self.name_from..end];
            while let [before @ .., last] = name
                && is_space(*last)
            {
                name = before;
            }
            let expected = match opened {
                Some((from, to)) => &self.buf[self.start + from..self.start + to],
                None => stream,
            };
            if name != expected {
                return Err(FramingError("an end tag that matches no start tag"));
            }
        }
        if opened.is_none() {
            self.closed = true;
            return Ok(Found::Close);
        }
        Ok(if self.open.is_empty() { Found::Stanza } else { Found::Nothing })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}
