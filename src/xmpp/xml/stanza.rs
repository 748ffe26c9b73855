//! A stanza: an element of a stream's content namespace.

use std::ops::{Deref, DerefMut};

use smol_str::SmolStr;

use super::read::{self, Source};
use super::{CONTENT_NS, Element, Node, Result, write};

/// `iq`, `message`, `presence`, or a stream-level element. Boxed, because it is handed on from task to task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza(Box<Element>);

impl Deref for Stanza {
    type Target = Element;

    fn deref(&self) -> &Element {
        &self.0
    }
}

impl DerefMut for Stanza {
    fn deref_mut(&mut self) -> &mut Element {
        &mut self.0
    }
}

impl From<Element> for Stanza {
    fn from(element: Element) -> Self {
        Self(Box::new(element))
    }
}

impl Stanza {
    /// A stanza without attributes.
    pub fn new(name: &str) -> Self {
        Element::new(name, CONTENT_NS).into()
    }

    /// An IQ request.
    pub fn iq(kind: &str, payload: Element) -> Self {
        Self::new("iq").with("type", kind).with_child(payload)
    }

    /// Reads a caller's text: exactly one element, nothing but white space around it, and nothing in it for which a
    /// server would end the stream that it is written to.
    pub fn parse(text: &str) -> Result<Self> {
        read::element(text, &Source::Caller).map(Self::from)
    }

    /// Sets an attribute.
    pub fn with(mut self, name: &str, value: impl Into<SmolStr>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a child.
    pub fn with_child(mut self, child: Element) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    /// The first child element. `None` where there is none (an empty result).
    pub fn payload(&self) -> Option<&Element> {
        self.children().next()
    }

    /// Whether it is a request, which has to be answered (RFC 6120 section 8.2.3).
    pub fn is_request(&self) -> bool {
        self.name == "iq" && matches!(self.attr("type"), Some("get" | "set"))
    }

    /// Appends the stanza as it stands on a stream.
    pub fn write(&self, out: &mut String) {
        write::element(out, &self.0, CONTENT_NS);
    }

    /// As [`Stanza::write`], from that address, whatever the stanza says.
    pub(in crate::xmpp) fn write_from(&self, out: &mut String, from: Option<&str>) {
        write::stanza(out, &self.0, from);
    }

    /// The stanza as XML.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(256);
        self.write(&mut out);
        out
    }

    /// Whether a server makes at most that many bytes of the stanza, with everything escaped that can be.
    pub fn fits(&self, max: usize) -> bool {
        write::fits(&self.0, CONTENT_NS, max)
    }
}
