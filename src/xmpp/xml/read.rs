//! A tree from text: the one place where text from outside is judged.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use smol_str::{SmolStr, format_smolstr};

use super::names::Names;
use super::{
    ATTRS_MAX, CONTENT_NS, DEPTH_MAX, Element, ILL_FORMED, Node, PREFIX_MAX, REPEATED_MAX, Result, SPACE, XmlError,
    are_xml_chars, is_xml_char, leading,
};

const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NS: &str = "http://www.w3.org/2000/xmlns/";
/// The content namespaces of RFC 6120 section 4.8.3 and XEP-0114.
const CONTENT_NAMESPACES: [&str; 3] = [CONTENT_NS, "jabber:component:accept", "jabber:server"];
const CONTENT: SmolStr = SmolStr::new_static(CONTENT_NS);
/// The names that may stand behind `xml:`. Prosody writes anything else so that its other components' streams break.
const XML_ATTRS: [&str; 4] = ["lang", "space", "base", "id"];

/// The origin of a text.
pub(in crate::xmpp) enum Source<'a> {
    /// Nobody's in particular: what is declared nowhere has no namespace.
    Document,
    /// A caller's stanza. An undeclared namespace is the stanza's own.
    Caller,
    /// An element of a stream, whose header has declared these prefixes.
    Stream(&'a [(SmolStr, SmolStr)]),
}

impl Source<'_> {
    fn names(&self) -> Names {
        if matches!(self, Self::Stream(_)) { Names::Any } else { Names::Portable }
    }
}

/// Reads exactly one element of at most [`DEPTH_MAX`] levels, white space around it apart, and nothing that XMPP
/// forbids.
pub(in crate::xmpp) fn element(text: &str, source: &Source<'_>) -> Result<Element> {
    if !are_xml_chars(text) {
        return Err(XmlError("a character that XML does not allow"));
    }
    // A byte order mark is white space for some readers and none for others.
    if text.trim_start_matches(SPACE).starts_with(|c| c != '<') {
        return Err(XmlError("text around the element"));
    }
    let mut tree = Tree { source, names: source.names(), scope: Vec::new(), open: Vec::new(), root: None, repeated: 0 };
    let mut reader = Reader::from_str(text);
    loop {
        let event = reader.read_event().map_err(|_| ILL_FORMED)?;
        let outside = tree.open.is_empty();
        match event {
            Event::Start(start) => tree.begin(&start)?,
            Event::Empty(start) => {
                tree.begin(&start)?;
                tree.end();
            }
            Event::End(_) => tree.end(),
            Event::Text(text) if outside => {
                if !text.xml10_content().trim_matches(SPACE).is_empty() {
                    return Err(XmlError("text around the element"));
                }
            }
            Event::Text(text) if text.bytes().any(|byte| byte == b'>') && text.contains("]]>") => {
                return Err(ILL_FORMED);
            }
            Event::Text(text) => tree.text(&text.xml10_content()),
            Event::CData(_) | Event::GeneralRef(_) if outside => return Err(XmlError("text around the element")),
            Event::CData(text) => tree.text(&text.xml10_content()),
            Event::GeneralRef(name) => tree.text(resolve(&name.xml10_content())?.encode_utf8(&mut [0; 4])),
            Event::Comment(_) => return Err(XmlError("a comment")),
            Event::PI(_) | Event::Decl(_) => return Err(XmlError("a processing instruction")),
            Event::DocType(_) => return Err(XmlError("a document type declaration")),
            Event::Eof if outside => return tree.root.ok_or(ILL_FORMED),
            Event::Eof => return Err(ILL_FORMED),
        }
    }
}

/// A stream's start tag as an element without content.
pub(in crate::xmpp) fn start_tag(tag: &str) -> Result<Element> {
    let inside = tag.strip_suffix('>').ok_or(ILL_FORMED)?;
    element(&format!("{inside}/>"), &Source::Stream(&[]))
}

/// The tree that has been read.
struct Tree<'s> {
    source: &'s Source<'s>,
    names: Names,
    /// Declarations in scope, the innermost last: how many elements are open around it, prefix, namespace.
    scope: Vec<(usize, SmolStr, SmolStr)>,
    open: Vec<Element>,
    root: Option<Element>,
    /// Bytes of namespaces that are repeated: see [`REPEATED_MAX`].
    repeated: usize,
}

impl Tree<'_> {
    fn begin(&mut self, start: &BytesStart<'_>) -> Result<()> {
        if self.root.is_some() {
            return Err(XmlError("more than one element"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(XmlError("too deep"));
        }
        let (prefix, local) = self.names.split(start.name().into_inner()).ok_or(NO_NAME)?;
        let mut element = Element { name: local.into(), ..Element::default() };
        let (mut count, mut has_prefixes) = (0, false);
        for attr in start.attributes() {
            let attr = attr.map_err(|_| ILL_FORMED)?;
            count += 1;
            if count > ATTRS_MAX {
                return Err(XmlError("too many attributes"));
            }
            let (name, value) = (attr.key.into_inner(), attribute_value(&attr.value)?.into());
            if !stands_apart(name, start) {
                return Err(ILL_FORMED);
            }
            match self.names.split(name).ok_or(NO_NAME)? {
                ("", "xmlns") => self.declare("", value, &mut element)?,
                ("xmlns", prefix) => self.declare(prefix, value, &mut element)?,
                (prefix, _) => {
                    has_prefixes |= !prefix.is_empty();
                    element.attrs.push((name.into(), value));
                }
            }
        }
        element.ns = self.namespace(prefix)?;
        if self.open.last().is_some_and(|parent| parent.ns != element.ns) {
            self.repeat(element.ns.len())?;
        }
        // An attribute may stand before the declaration of its prefix. Without prefixes the reader has found repeats.
        if has_prefixes {
            self.expand_names(&mut element.attrs)?;
        }
        self.open.push(element);
        Ok(())
    }

    fn repeat(&mut self, bytes: usize) -> Result<()> {
        self.repeated += bytes;
        if self.repeated > REPEATED_MAX { Err(XmlError("namespaces that repeat too often")) } else { Ok(()) }
    }

    fn expand_names(&mut self, attrs: &mut [(SmolStr, SmolStr)]) -> Result<()> {
        for (name, _) in attrs.iter_mut() {
            match name.split_once(':') {
                None => {}
                Some(("xml", local)) if self.names == Names::Any || XML_ATTRS.contains(&local) => {}
                Some(("xml", _)) => return Err(XmlError("an attribute that XML does not define")),
                Some((prefix, local)) => {
                    let ns = self.namespace(prefix)?;
                    self.repeat(ns.len())?;
                    *name = format_smolstr!("{{{ns}}}{local}");
                }
            }
        }
        if repeats_itself(attrs) { Err(ILL_FORMED) } else { Ok(()) }
    }

    fn declare(&mut self, prefix: &str, value: SmolStr, element: &mut Element) -> Result<()> {
        if prefix.len() > PREFIX_MAX {
            return Err(XmlError("a namespace prefix that is too long"));
        }
        if !is_declaration(prefix, &value) {
            return Err(XmlError("a namespace declaration that is not allowed"));
        }
        // It is declared ever, and for attributes only.
        if prefix == "xml" {
            return Ok(());
        }
        let depth = self.open.len();
        let is_content =
            depth == 0 && matches!(self.source, Source::Stream(_)) && CONTENT_NAMESPACES.contains(&value.as_str());
        let ns = if is_content { CONTENT } else { value };
        if !prefix.is_empty() {
            element.declared.push((prefix.into(), ns.clone()));
        }
        self.scope.push((depth, prefix.into(), ns));
        Ok(())
    }

    fn namespace(&self, prefix: &str) -> Result<SmolStr> {
        if let Some((.., ns)) = self.scope.iter().rev().find(|(_, known, _)| known == prefix) {
            return Ok(ns.clone());
        }
        match (prefix, self.source) {
            ("", Source::Document) => Ok(SmolStr::default()),
            ("", _) => Ok(CONTENT),
            (prefix, Source::Stream(declared)) => {
                let found = declared.iter().find(|(known, _)| known == prefix);
                found.map(|(_, ns)| ns.clone()).ok_or(UNDECLARED)
            }
            _ => Err(UNDECLARED),
        }
    }

    fn end(&mut self) {
        let done = self.open.pop().expect("the reader matches end tags");
        let depth = self.open.len();
        while self.scope.last().is_some_and(|(at, ..)| *at >= depth) {
            self.scope.pop();
        }
        match self.open.last_mut() {
            Some(parent) => parent.nodes.push(Node::Element(done)),
            None => self.root = Some(done),
        }
    }

    fn text(&mut self, text: &str) {
        let Some(parent) = self.open.last_mut().filter(|_| !text.is_empty()) else { return };
        match parent.nodes.last_mut() {
            Some(Node::Text(before)) => before.push_str(text),
            _ => parent.nodes.push(Node::Text(text.to_owned())),
        }
    }
}

const NO_NAME: XmlError = XmlError("a name that is no XML name");
const UNDECLARED: XmlError = XmlError("an undeclared namespace prefix");
const UNKNOWN_ENTITY: XmlError = XmlError("an entity that is not one of the five");

fn repeats_itself(attrs: &[(SmolStr, SmolStr)]) -> bool {
    let mut names: Vec<&str> = attrs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The value that an attribute written so has (XML 1.0 sections 2.11 and 3.3.3).
pub(in crate::xmpp) fn attribute_value(written: &str) -> Result<Cow<'_, str>> {
    if leading(written, |byte| !matches!(byte, b'&' | b'<' | b'\t' | b'\r' | b'\n')) == written.len() {
        return Ok(Cow::Borrowed(written));
    }
    let (mut value, mut rest) = (String::with_capacity(written.len()), written);
    while let Some(at) = rest.find(['&', '<', '\t', '\r', '\n']) {
        value.push_str(&rest[..at]);
        let special = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        match special {
            b'&' => {
                let (name, behind) = rest.split_once(';').ok_or(ILL_FORMED)?;
                value.push(resolve(name)?);
                rest = behind;
            }
            b'<' => return Err(ILL_FORMED),
            b'\r' if rest.starts_with('\n') => {}
            _ => value.push(' '),
        }
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

fn resolve(name: &str) -> Result<char> {
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => name.strip_prefix('#').ok_or(UNKNOWN_ENTITY)?,
    };
    let parsed = match number.strip_prefix('x') {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16),
        None if number.bytes().all(|b| b.is_ascii_digit()) => number.parse(),
        _ => return Err(ILL_FORMED),
    };
    let c = parsed.ok().and_then(char::from_u32).filter(|c| is_xml_char(*c));
    c.ok_or(XmlError("a character that XML does not allow"))
}

/// White space must stand before an attribute's name (XML 1.0 production 40); the reader is lenient there, servers are
/// not. The name is a part of the tag.
fn stands_apart(name: &str, tag: &str) -> bool {
    let at = name.as_ptr().addr().wrapping_sub(tag.as_ptr().addr());
    let before = tag.as_bytes().get(..at).and_then(<[u8]>::last);
    before.is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a parser with namespaces takes the declaration. A prefix can't be undeclared, the reserved namespaces belong
/// to their prefixes (Namespaces in XML 1.0 sections 3 and 5). Blanks are in no URI, and servers' parsers put a line
/// feed or another control character between namespace and name.
fn is_declaration(prefix: &str, value: &str) -> bool {
    let is_uri = !value.contains(|c: char| c.is_whitespace() || c.is_control());
    let fits = match prefix {
        "xml" => value == XML_NS,
        "xmlns" => false,
        "" => value != XML_NS,
        _ => value != XML_NS && !value.is_empty(),
    };
    is_uri && fits && value != XMLNS_NS
}
