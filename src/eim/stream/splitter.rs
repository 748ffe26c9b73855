//! Finds where one stanza ends and the next begins, byte by byte, without understanding either.
//!
//! Pure: bytes in, frames out. It knows just enough of XML to never be wrong about a boundary (quotes, CDATA, matching
//! end tags), and refuses what XMPP forbids (RFC 6120 section 11.1) or what another parser might read differently.

use crate::eim::xml::{DEPTH_MAX, STANZA_MAX};

/// One piece of a stream, borrowed from the splitter's buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The stream's start tag, e.g. `<stream:stream id='x' ...>`.
    Open(&'a str),
    /// One whole child element of the stream.
    Stanza(&'a str),
    /// The stream's end tag.
    Close,
}

/// Why the bytes are no XMPP stream. After one the splitter must not be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FramingError(pub &'static str);

const ILL_FORMED: FramingError = FramingError("ill-formed XML on the stream");
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
            stream: None,
            declared: false,
            closed: false,
        }
    }
}

impl Splitter {
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
            let found = self.step()?;
            if self.next - self.start > STANZA_MAX {
                return Err(FramingError("a stanza larger than allowed"));
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

    /// Takes one byte (or a run of text) and says whether it ended a frame.
    fn step(&mut self) -> Result<Found, FramingError> {
        if self.at == At::Text {
            self.skip_text()?;
            return Ok(Found::Nothing);
        }
        let (here, byte) = (self.next, self.buf[self.next]);
        self.next += 1;
        match (self.at, byte) {
            (At::Less, b'/') => (self.at, self.name_from) = (At::EndTag, here + 1),
            (At::Less, b'!') if !self.open.is_empty() => self.at = At::Bang(0),
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

    /// Runs to the next `<`. Between stanzas only white space may stand (it keeps a connection alive).
    fn skip_text(&mut self) -> Result<(), FramingError> {
        let rest = &self.buf[self.next..];
        let run = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        let between = self.open.is_empty();
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
            return Err(FramingError("elements nested deeper than allowed"));
        }
        self.open.push((self.name_from - self.start, here - self.start));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "<?xml version='1.0'?>\n<stream:stream xmlns:stream='s' id='a>b'>";

    fn frames(cuts: &[&[u8]]) -> Result<Vec<String>, FramingError> {
        let (mut splitter, mut out) = (Splitter::default(), Vec::new());
        for cut in cuts {
            splitter.feed(cut);
            while let Some(frame) = splitter.next_frame()? {
                out.push(match frame {
                    Frame::Open(t) => format!("open {t}"),
                    Frame::Stanza(t) => t.to_owned(),
                    Frame::Close => "close".to_owned(),
                });
            }
        }
        Ok(out)
    }

    fn after_head(text: &str) -> Result<Vec<String>, FramingError> {
        frames(&[HEAD.as_bytes(), text.as_bytes()]).map(|f| f[1..].to_vec())
    }

    #[test]
    fn stanzas_come_out_whole_however_the_bytes_are_cut() {
        let stanzas = [
            "<iq a='>' b=\"'/>\"><x><y/>t</x></iq>",
            "<handshake/>",
            "<m><![CDATA[</m>]] ><x>]]]></m>",
            "<会议 名='张'>\u{1F600}</会议 >",
            "<stream:error><a/></stream:error>",
        ];
        let text = format!("{HEAD} {} \n</stream:stream>", stanzas.join(" \n"));
        let mut expected = vec![format!("open {}", &HEAD[HEAD.find("<s").unwrap()..])];
        expected.extend(stanzas.map(str::to_owned));
        expected.push("close".into());
        assert_eq!(frames(&[text.as_bytes()]).unwrap(), expected);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_would_confuse_the_framing_is_refused() {
        let bad = [
            "x",
            "<!-- c -->",
            "<a><!-- c --></a>",
            "<a><!DOCTYPE b></a>",
            "<?pi?>",
            "<a><?pi?></a>",
            "<a></b>",
            "<a/ >",
            "<a / b='1'>",
            "<a b='<'/>",
            "<a <b/>>",
            "< a/>",
            "<>",
            "</other>",
            "<a></a/>",
            "<a'b'/>",
            "</stream:stream><a/>",
        ];
        for text in bad {
            assert!(after_head(text).is_err(), "accepted: {text}");
        }
        assert!(frames(&[b"<stream/>"]).is_err());
        assert!(frames(&[b"</stream>"]).is_err());
        assert!(frames(&[b"<?xml?><?xml?><s>"]).is_err());
        assert!(frames(&[HEAD.as_bytes(), b"<a>\xff</a>"]).is_err());
    }

    #[test]
    fn a_stanza_is_bounded_in_size_and_depth() {
        let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        assert_eq!(after_head(&deep(DEPTH_MAX)).unwrap().len(), 1);
        assert!(after_head(&deep(DEPTH_MAX + 1)).is_err());
        let sized = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
        assert_eq!(after_head(&sized(STANZA_MAX)).unwrap().len(), 1);
        assert!(after_head(&sized(STANZA_MAX + 1)).is_err());
        let unfinished = format!("<a>{}", "x".repeat(STANZA_MAX));
        assert!(after_head(&unfinished).is_err(), "kept an endless stanza");
        assert!(after_head(&" ".repeat(STANZA_MAX * 2)).unwrap().is_empty(), "white space is no stanza");
    }

    proptest! {
        #[test]
        fn random_cuts_change_nothing(
            texts in proptest::collection::vec("[a-z<>&;'\"\\]会 ]{0,40}", 1..6),
            cuts in proptest::collection::vec(1usize..30, 1..40),
        ) {
            let mut whole = HEAD.to_owned();
            for text in &texts {
                let mut element = crate::eim::xml::Element::new("m", "n").with("a", text.clone());
                element = element.with_text(text.clone()).with_child(crate::eim::xml::Element::new("c", "n"));
                whole.push_str(&element.to_xml());
            }
            let (mut rest, mut pieces) = (whole.as_bytes(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(head);
                rest = tail;
            }
            let at_once = frames(&[whole.as_bytes()]).unwrap();
            prop_assert_eq!(at_once.len(), texts.len() + 1);
            prop_assert_eq!(frames(&pieces).unwrap(), at_once);
        }

        #[test]
        fn no_bytes_make_it_panic_and_every_stanza_can_be_taken_apart(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b'<'), Just(b'>'), Just(b'/'), Just(b'a'), Just(b' '), Just(b'\''), Just(b'='), Just(b'!'),
                Just(b'['), Just(b'?'), any::<u8>()], 0..200),
        ) {
            if let Ok(found) = frames(&[HEAD.as_bytes(), &bytes]) {
                for stanza in found.iter().skip(1).filter(|f| *f != "close") {
                    let _ = crate::eim::xml::Stanza::split(stanza);
                }
            }
        }
    }
}
