//! XML as XMPP allows it: a strict check for text that comes from outside, stanzas whose payload stays as written,
//! and a small element tree for those who must look inside.
//!
//! What is refused is what RFC 6120 section 11.1 forbids (DTD, entities but the five, comments, processing
//! instructions) and whatever a server's parser would close our shared stream for: a name that is no name, a prefix
//! that nobody declared, a character that XML does not know.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::{escape, partial_escape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};
use quick_xml::reader::NsReader;

/// Most bytes of one stanza, whoever sends it.
pub const STANZA_MAX: usize = 256 * 1024;
/// Deepest nesting of elements, the stanza itself counted.
pub const DEPTH_MAX: usize = 32;
/// Most attributes of one element.
const ATTRS_MAX: usize = 256;

/// Why a text is not acceptable. The message names the rule, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct XmlError(pub &'static str);

type Result<T> = std::result::Result<T, XmlError>;

const ILL_FORMED: XmlError = XmlError("ill-formed XML");

/// One element with its namespace resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Namespace; empty for none.
    pub ns: String,
    /// In order, without namespace declarations. A prefixed attribute keeps its prefix (`xml:lang`).
    pub attrs: Vec<(String, String)>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub fn new(name: &str, ns: &str) -> Self {
        Self { name: name.into(), ns: ns.into(), ..Self::default() }
    }

    /// Parses exactly one element, nothing but white space around it, as strictly as [`check`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_in(text, "")
    }

    /// As [`Element::parse`], with the namespace that an element without `xmlns` stands in.
    pub fn parse_in(text: &str, default_ns: &str) -> Result<Self> {
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        walk(text, |step| match step {
            Step::Open { name, ns, attrs, .. } => {
                let parent_ns = || open.last().map_or(default_ns, |p| p.ns.as_str());
                let ns = ns.map_or_else(|| parent_ns().to_owned(), str::to_owned);
                let attrs =
                    attrs.filter(|(k, _)| !is_namespace(k)).map(|(k, v)| (k.to_owned(), v.into_owned())).collect();
                open.push(Element { name: name.to_owned(), ns, attrs, nodes: Vec::new() });
            }
            Step::Close { .. } => {
                let done = open.pop().expect("the reader matches end tags");
                match open.last_mut() {
                    Some(parent) => parent.nodes.push(Node::Element(done)),
                    None => root = Some(done),
                }
            }
            Step::Text(text) => {
                if let Some(parent) = open.last_mut() {
                    match parent.nodes.last_mut() {
                        Some(Node::Text(before)) => before.push_str(&text),
                        _ => parent.nodes.push(Node::Text(text.into_owned())),
                    }
                }
            }
        })?;
        root.ok_or(ILL_FORMED)
    }

    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Sets the attribute, in its old place if it was there.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.attrs.iter_mut().find(|(k, _)| k == name) {
            Some((_, old)) => *old = value.into(),
            None => self.attrs.push((name.into(), value.into())),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub fn with_child(mut self, child: Element) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.nodes.push(Node::Text(text.into()));
        self
    }

    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|n| match n {
            Node::Element(e) => Some(e),
            Node::Text(_) => None,
        })
    }

    /// The first child of that local name, whatever its namespace.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children().find(|e| e.name == name)
    }

    /// The element's own text, that of its children left out.
    pub fn text(&self) -> String {
        self.nodes.iter().fold(String::new(), |mut all, n| {
            if let Node::Text(t) = n {
                all.push_str(t);
            }
            all
        })
    }

    /// Writes the element; `xmlns` stands where the namespace differs from `parent_ns`.
    pub fn write(&self, out: &mut String, parent_ns: &str) {
        out.push('<');
        out.push_str(&self.name);
        if self.ns != parent_ns {
            write_attr(out, "xmlns", &self.ns);
        }
        for (k, v) in &self.attrs {
            write_attr(out, k, v);
        }
        if self.nodes.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.nodes {
            match node {
                Node::Element(e) => e.write(out, &self.ns),
                Node::Text(t) => write_text(out, t),
            }
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }

    /// The element as text that stands alone.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(128);
        self.write(&mut out, "");
        out
    }
}

/// Appends ` name="value"`, escaped. Characters that XML does not know become U+FFFD.
pub fn write_attr(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    if value.bytes().all(is_plain) {
        out.push_str(value);
        out.push('"');
        return;
    }
    let value = known_chars(value);
    // White space other than the blank would be normalized away by the reader (XML 1.0 section 3.3.3).
    for part in escape(value).split_inclusive(['\n', '\r', '\t']) {
        let (text, last) = match part.as_bytes().last() {
            Some(b'\n') => (&part[..part.len() - 1], "&#xA;"),
            Some(b'\r') => (&part[..part.len() - 1], "&#xD;"),
            Some(b'\t') => (&part[..part.len() - 1], "&#x9;"),
            _ => (part, ""),
        };
        out.push_str(text);
        out.push_str(last);
    }
    out.push('"');
}

/// ASCII that stands for itself in an attribute: nearly all values hold nothing else.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')
}

/// Appends escaped character data. Characters that XML does not know become U+FFFD.
pub fn write_text(out: &mut String, text: &str) {
    for (i, part) in partial_escape(known_chars(text)).split('\r').enumerate() {
        if i > 0 {
            out.push_str("&#xD;");
        }
        out.push_str(part);
    }
}

fn known_chars(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_xml_char(c) { c } else { '\u{FFFD}' }).collect::<String>().into()
}

/// A stanza: its own tag taken apart, its content as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stanza {
    /// `iq`, `message`, `presence`, or a stream-level element's name.
    pub name: String,
    /// In order, unescaped, without `xmlns`; other namespace declarations and `xml:lang` are kept.
    pub attrs: Vec<(String, String)>,
    /// Everything between the tags: well-formed XML, still escaped.
    pub inner: String,
}

impl Stanza {
    pub fn iq(kind: &str, payload: &Element) -> Self {
        let mut stanza = Self { name: "iq".into(), ..Self::default() };
        stanza.set("type", kind);
        payload.write(&mut stanza.inner, "");
        stanza
    }

    /// Takes one element's text apart. Strict: see [`check`].
    pub fn parse(text: &str) -> Result<Self> {
        check(text, STANZA_MAX).map(|(stanza, _)| stanza)
    }

    /// Takes apart the text of one element that is known to be well-formed (it came through a
    /// [`Splitter`](super::stream::splitter::Splitter) before).
    pub fn split(text: &str) -> Result<Self> {
        let text = text.trim_matches(SPACE);
        let (mut stanza, content) = Self::split_tag(text)?;
        if let Some(from) = content {
            let to = text.rfind("</").filter(|to| *to >= from).ok_or(ILL_FORMED)?;
            stanza.inner = text[from..to].to_owned();
        }
        Ok(stanza)
    }

    /// Takes apart a start tag that stands alone: a stream's header.
    pub fn split_open(tag: &str) -> Result<Self> {
        Self::split_tag(tag).map(|(stanza, _)| stanza)
    }

    /// The text's first tag, and where its content begins unless it is empty.
    fn split_tag(text: &str) -> Result<(Self, Option<usize>)> {
        let mut reader = quick_xml::Reader::from_str(text);
        let (start, empty) = match reader.read_event() {
            Ok(Event::Start(start)) => (start, false),
            Ok(Event::Empty(start)) => (start, true),
            _ => return Err(ILL_FORMED),
        };
        let mut stanza = Self { name: start.local_name().as_ref().to_owned(), ..Self::default() };
        for attr in start.attributes().with_checks(false) {
            let attr = attr.map_err(|_| ILL_FORMED)?;
            let name = attr.key.as_ref();
            if name != "xmlns" {
                let value = attr.normalized_value(XmlVersion::Implicit1_0).map_err(|_| ILL_FORMED)?;
                stanza.attrs.push((name.to_owned(), value.into_owned()));
            }
        }
        let content = (!empty).then(|| reader.buffer_position() as usize);
        Ok((stanza, content))
    }

    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        match self.attrs.iter_mut().find(|(k, _)| k == name) {
            Some((_, old)) => *old = value.into(),
            None => self.attrs.push((name.into(), value.into())),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    pub fn remove(&mut self, name: &str) {
        self.attrs.retain(|(k, _)| k != name);
    }

    /// The first child element, parsed. `None` where there is none (an empty result).
    pub fn payload(&self) -> Result<Option<Element>> {
        Ok(self.children()?.into_iter().next())
    }

    /// All child elements, parsed.
    pub fn children(&self) -> Result<Vec<Element>> {
        let mut text = String::with_capacity(self.inner.len() + 64);
        text.push_str("<_");
        for (k, v) in self.attrs.iter().filter(|(k, _)| k.starts_with("xmlns:")) {
            write_attr(&mut text, k, v);
        }
        text.push('>');
        text.push_str(&self.inner);
        text.push_str("</_>");
        let holder = Element::parse(&text)?;
        Ok(holder.nodes.into_iter().filter_map(|n| if let Node::Element(e) = n { Some(e) } else { None }).collect())
    }

    /// Appends the stanza's text.
    pub fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (k, v) in &self.attrs {
            write_attr(out, k, v);
        }
        if self.inner.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        out.push_str(&self.inner);
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }

    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(self.inner.len() + 128);
        self.write(&mut out);
        out
    }
}

/// What a checked text holds, beside the stanza's own tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The root's namespace, `None` where nothing is declared.
    pub ns: Option<String>,
    /// Local name and namespace of each child element of the root.
    pub children: Vec<(String, Option<String>)>,
    /// Whether text other than white space stands directly in the root.
    pub text: bool,
}

/// Takes apart exactly one well-formed element of at most `max_bytes` and [`DEPTH_MAX`] levels, white space around it
/// apart, and nothing that XMPP forbids.
pub fn check(text: &str, max_bytes: usize) -> Result<(Stanza, Outline)> {
    if text.len() > max_bytes {
        return Err(XmlError("too large"));
    }
    let (mut stanza, mut outline) = (Stanza::default(), Outline::default());
    let (mut depth, mut content) = (0usize, 0usize);
    walk(text, |step| match step {
        Step::Open { name, ns, attrs, end } => {
            let ns = ns.map(str::to_owned);
            match depth {
                0 => {
                    stanza.name = name.to_owned();
                    stanza.attrs.extend(attrs.map(|(name, value)| (name.to_owned(), value.into_owned())));
                    outline.ns = ns;
                    content = end;
                }
                1 => outline.children.push((name.to_owned(), ns)),
                _ => {}
            }
            depth += 1;
        }
        Step::Close { begin } => {
            depth -= 1;
            if depth == 0 {
                stanza.inner = text.get(content..begin).unwrap_or_default().to_owned();
            }
        }
        Step::Text(text) => outline.text |= depth == 1 && !text.trim_matches(SPACE).is_empty(),
    })?;
    Ok((stanza, outline))
}

/// White space of XML 1.0 section 2.3.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

enum Step<'a, 'b> {
    /// `ns` is `None` where no declaration is in scope. `attrs`: all but `xmlns`. `end`: where the tag ends.
    Open {
        name: &'a str,
        ns: Option<&'a str>,
        attrs: &'a mut dyn Iterator<Item = (&'b str, Cow<'b, str>)>,
        end: usize,
    },
    /// `begin`: where the end tag begins; of an empty element where its one tag ends.
    Close {
        begin: usize,
    },
    Text(Cow<'a, str>),
}

/// Reads one element strictly and tells each step. The one place where text from outside is judged.
fn walk(text: &str, mut tell: impl FnMut(Step<'_, '_>)) -> Result<()> {
    if !are_xml_chars(text) {
        return Err(XmlError("a character that XML does not allow"));
    }
    let mut reader = NsReader::from_str(text);
    let (mut depth, mut seen_root) = (0usize, false);
    loop {
        let begin = reader.buffer_position() as usize;
        let event = reader.read_event().map_err(|_| ILL_FORMED)?;
        let outside = depth == 0;
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                if outside && seen_root {
                    return Err(XmlError("more than one element"));
                }
                seen_root = true;
                if depth >= DEPTH_MAX {
                    return Err(XmlError("too deep"));
                }
                open(&reader, start, &mut tell)?;
                if matches!(event, Event::Empty(_)) {
                    tell(Step::Close { begin: reader.buffer_position() as usize });
                } else {
                    depth += 1;
                }
            }
            Event::End(_) => {
                depth -= 1;
                tell(Step::Close { begin });
            }
            Event::Text(t) => {
                let content = t.xml10_content();
                if t.contains("]]>") {
                    return Err(ILL_FORMED);
                }
                if outside && !content.trim_matches(SPACE).is_empty() {
                    return Err(XmlError("text around the element"));
                }
                tell(Step::Text(content));
            }
            Event::CData(c) if !outside => tell(Step::Text(c.xml10_content())),
            Event::GeneralRef(r) if !outside => {
                let name = r.xml10_content();
                let resolved = resolve(&name)?;
                tell(Step::Text(resolved.to_string().into()));
            }
            Event::CData(_) | Event::GeneralRef(_) => return Err(XmlError("text around the element")),
            Event::Comment(_) => return Err(XmlError("a comment")),
            Event::PI(_) | Event::Decl(_) => return Err(XmlError("a processing instruction")),
            Event::DocType(_) => return Err(XmlError("a document type declaration")),
            Event::Eof if depth == 0 && seen_root => return Ok(()),
            Event::Eof => return Err(ILL_FORMED),
        }
    }
}

fn open(reader: &NsReader<&[u8]>, start: &BytesStart<'_>, tell: &mut impl FnMut(Step<'_, '_>)) -> Result<()> {
    let (resolved, local) = reader.resolver().resolve_element(start.name());
    let ns = match resolved {
        ResolveResult::Bound(ns) => Some(ns.into_inner()),
        ResolveResult::Unbound => None,
        ResolveResult::Unknown(_) => return Err(XmlError("an undeclared namespace prefix")),
    };
    if !is_qname(start.name()) {
        return Err(XmlError("a name that is no XML name"));
    }
    if !attributes_stand_apart(start) {
        return Err(ILL_FORMED);
    }
    let mut attrs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    let mut bound: Vec<(String, &str)> = Vec::new();
    for attr in start.attributes() {
        let attr = attr.map_err(|_| ILL_FORMED)?;
        if attrs.len() >= ATTRS_MAX {
            return Err(XmlError("too many attributes"));
        }
        if !is_qname(attr.key) || attr.value.contains('<') {
            return Err(ILL_FORMED);
        }
        let value = attr
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|_| XmlError("an entity that is not one of the five"))?;
        // As written they were looked at with all of the text.
        if matches!(value, Cow::Owned(_)) && !are_xml_chars(&value) {
            return Err(XmlError("a character that XML does not allow"));
        }
        let name = attr.key.into_inner();
        if is_namespace(name) {
            if !is_declaration(name, &attr.value) {
                return Err(XmlError("a namespace declaration that is not allowed"));
            }
            if name != "xmlns" {
                attrs.push((name, value));
            }
            continue;
        }
        match reader.resolver().resolve_attribute(attr.key) {
            (ResolveResult::Bound(ns), local) => bound.push((ns.into_inner().to_owned(), local.into_inner())),
            (ResolveResult::Unknown(_), _) => return Err(XmlError("an undeclared namespace prefix")),
            (ResolveResult::Unbound, _) => {}
        }
        attrs.push((name, value));
    }
    bound.sort_unstable();
    if bound.windows(2).any(|w| w[0] == w[1]) {
        return Err(ILL_FORMED);
    }
    let end = reader.buffer_position() as usize;
    tell(Step::Open { name: local.into_inner(), ns, attrs: &mut attrs.into_iter(), end });
    Ok(())
}

fn predefined(name: &str) -> Option<&'static str> {
    Some(match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "apos" => "'",
        "quot" => "\"",
        _ => return None,
    })
}

fn resolve(name: &str) -> Result<char> {
    if let Some(five) = predefined(name) {
        return five.chars().next().ok_or(ILL_FORMED);
    }
    let number = name.strip_prefix('#').ok_or(XmlError("an entity that is not one of the five"))?;
    let parsed = match number.strip_prefix('x') {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
        None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse(),
        _ => return Err(ILL_FORMED),
    };
    let c = parsed.ok().and_then(char::from_u32).filter(|c| is_xml_char(*c));
    c.ok_or(XmlError("a character that XML does not allow"))
}

/// XML 1.0 section 2.2.
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn are_xml_chars(text: &str) -> bool {
    // Byte by byte where that says it all: nearly everywhere.
    let is_known = |byte: u8| matches!(byte, b' '..=b'\x7f' | b'\t' | b'\n' | b'\r');
    text.bytes().all(is_known) || text.chars().all(is_xml_char)
}

/// Whether the attribute declares a namespace.
fn is_namespace(name: &str) -> bool {
    name.strip_prefix("xmlns").is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// White space must follow an attribute's value (XML 1.0 production 40); the reader is lenient there, servers are not.
fn attributes_stand_apart(tag: &str) -> bool {
    let (mut quote, mut just_closed) = (None, false);
    tag.bytes().all(|c| {
        let apart = !just_closed || matches!(c, b' ' | b'\t' | b'\r' | b'\n');
        just_closed = quote == Some(c);
        quote = match quote {
            Some(open) if open == c => None,
            None if matches!(c, b'"' | b'\'') => Some(c),
            open => open,
        };
        apart
    })
}

/// Whether a parser with namespaces takes `name="value"` (as written) for a declaration. A prefix can't be undeclared,
/// the reserved namespaces belong to their prefixes (Namespaces in XML 1.0 sections 3 and 5). Blanks are in no URI, and
/// servers' parsers put a line feed between namespace and name. References would hide what two declarations share.
fn is_declaration(name: &str, value: &str) -> bool {
    const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";
    const XMLNS_NS: &str = "http://www.w3.org/2000/xmlns/";
    let is_uri = !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '&');
    let fits = match name {
        "xmlns:xml" => value == XML_NS,
        "xmlns" => value != XML_NS,
        _ => value != XML_NS && !value.is_empty(),
    };
    is_uri && fits && value != XMLNS_NS
}

/// A qualified name: one or two names with one colon between (Namespaces in XML 1.0 section 4).
fn is_qname(name: QName<'_>) -> bool {
    let text = name.into_inner();
    match text.split_once(':') {
        Some((prefix, local)) => is_ncname(prefix) && is_ncname(local),
        None => is_ncname(text),
    }
}

/// A name without colon: of ASCII or of a script in use. Narrower than XML 1.0 on purpose: expat, which reads the
/// shared stream in ejabberd and Prosody, follows the fourth edition and ends the stream at a name it doesn't know.
fn is_ncname(text: &str) -> bool {
    let start = |c: char| {
        matches!(c, 'A'..='Z' | '_' | 'a'..='z'
            | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{131}' | '\u{134}'..='\u{13E}'
            | '\u{141}'..='\u{148}' | '\u{14A}'..='\u{17E}' // Latin
            | '\u{38E}'..='\u{3A1}' | '\u{3A3}'..='\u{3CE}' // Greek
            | '\u{401}'..='\u{40C}' | '\u{40E}'..='\u{44F}' | '\u{451}'..='\u{45C}' // Cyrillic
            | '\u{5D0}'..='\u{5EA}' | '\u{621}'..='\u{63A}' | '\u{641}'..='\u{64A}' // Hebrew, Arabic
            | '\u{E01}'..='\u{E2E}' | '\u{3041}'..='\u{3094}' | '\u{30A1}'..='\u{30FA}' // Thai, Kana
            | '\u{3007}' | '\u{4E00}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7A3}') // Han, Hangul
    };
    let inside = |c: char| start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}');
    let mut chars = text.chars();
    chars.next().is_some_and(start) && chars.all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_refused_for_anything_that_would_break_the_shared_stream() {
        let bad = [
            "",
            " ",
            "x",
            "<iq/>x",
            "x<iq/>",
            "<iq/><iq/>",
            "<iq>",
            "</iq>",
            "<iq></iq></iq>",
            "<a></b>",
            "<!DOCTYPE x><iq/>",
            "<?xml version='1.0'?><iq/>",
            "<iq><!-- c --></iq>",
            "<iq><?pi?></iq>",
            "<iq>&nbsp;</iq>",
            "<iq a='&x;'/>",
            "<iq>&#0;</iq>",
            "<iq>&#xFFFE;</iq>",
            "<iq>\u{1}</iq>",
            "<iq a='&#1;'/>",
            "<iq a='<'/>",
            "<iq a='1' a='2'/>",
            "<p:iq/>",
            "<iq p:a='1'/>",
            "<1a/>",
            "<iq 1a=''/>",
            "<iq a:b:c='1' xmlns:a='x'/>",
            "<iq>]]></iq>",
            "<iq xmlns:p='x' xmlns:q='x' p:a='1' q:a='2'/>",
            "<iq xmlns:p=''/>",
            "<iq>&#x;</iq>",
            "<iq>& </iq>",
            "&amp;<iq/>",
            "<iq><\u{10000}/></iq>",
            "<iq \u{218}='1'/>",
            "<iq xmlns='a&#10;b'/>",
            "<iq xmlns:xml='x'/>",
            "<iq xmlns:xmlns='x'/>",
            "<iq xmlns='http://www.w3.org/2000/xmlns/'/>",
            "<iq xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
            "<iq xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "<iq xmlns:p='x' xmlns:q='&#120;' p:a='1' q:a='2'/>",
            "<iq a='1'b='2'/>",
            "<![CDATA[x]]><iq/>",
        ];
        for text in bad {
            assert!(check(text, STANZA_MAX).is_err(), "accepted: {text}");
            assert!(Element::parse(text).is_err(), "parsed: {text}");
        }
    }

    #[test]
    fn what_xml_allows_passes() {
        let good = [
            " <iq/>\n",
            "<iq xmlns:p='x' p:a='1'><p:b/></iq>",
            "<iq>&#x4F1A;&lt;&#65;</iq>",
            "<iq><![CDATA[<x>]]></iq>",
            "<会议 名=\"张\"/>",
            "<iq xml:lang='zh' a='&quot;&apos;'/>",
        ];
        for text in good {
            assert!(check(text, STANZA_MAX).is_ok(), "refused: {text}");
        }
        let deep = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        assert!(check(&deep(DEPTH_MAX), STANZA_MAX).is_ok());
        assert_eq!(check(&deep(DEPTH_MAX + 1), STANZA_MAX), Err(XmlError("too deep")));
        assert_eq!(check("<iq/>", 4), Err(XmlError("too large")));
    }

    #[test]
    fn an_element_survives_writing_and_reading() {
        let e = Element::new("jeExtension", "je:x:client:config")
            .with("a", "1 < 2 & \"x\"\n\t\r'")
            .with_child(Element::new("getMainTabs", "je:x:client:config").with_text("a<b&\r\n会议]]>"))
            .with_child(Element::new("x", "other"));
        assert_eq!(Element::parse(&e.to_xml()).unwrap(), e);
    }

    #[test]
    fn a_stanza_keeps_its_payload_as_written() {
        let text = "<iq xmlns='jabber:client' type='get' id='01'><a xmlns='x'> <b c='&amp;'/></a></iq>";
        let stanza = Stanza::parse(text).unwrap();
        assert_eq!(stanza.attr("id"), Some("01"));
        assert_eq!(stanza.inner, "<a xmlns='x'> <b c='&amp;'/></a>");
        assert_eq!(stanza.to_xml(), r#"<iq type="get" id="01"><a xmlns='x'> <b c='&amp;'/></a></iq>"#);
        assert_eq!(stanza.payload().unwrap().unwrap().child("b").unwrap().attr("c"), Some("&"));
        assert_eq!(Stanza::parse("<iq/>").unwrap().payload(), Ok(None));
    }

    #[test]
    fn text_from_outside_is_taken_apart_as_a_servers_is() {
        for text in [
            "<iq/>",
            " <iq ></iq >\n",
            "<iq xmlns='jabber:client' xmlns:p='q' xml:lang='en' p:a='&lt;&#x4F1A;' b='\n'><p:x/> t</iq>",
            "<p:iq xmlns:p='x' a=\"'\"><![CDATA[</iq>]]><iq/></p:iq>",
        ] {
            assert_eq!(Stanza::parse(text), Stanza::split(text), "{text}");
        }
    }

    #[test]
    fn an_outline_names_the_children() {
        let (_, o) = check("<iq xmlns='jabber:client'>\n<a xmlns='x'/><b/></iq>", STANZA_MAX).unwrap();
        assert_eq!(o.ns.as_deref(), Some("jabber:client"));
        assert_eq!(o.children[0], ("a".into(), Some("x".into())));
        assert_eq!(o.children[1], ("b".into(), Some("jabber:client".into())));
        assert!(!o.text);
        assert!(check("<iq>x</iq>", STANZA_MAX).unwrap().1.text);
    }
}
