//! A tree of elements, namespaces resolved.

use smol_str::SmolStr;

use super::read::{self, Source};
use super::{Result, write};

/// One element with its namespace resolved. Its names and values are nearly always short: texts that need no memory of
/// their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Local name.
    pub name: SmolStr,
    /// Namespace; empty for none.
    pub ns: SmolStr,
    /// In order. A name in a namespace is written `{namespace}local`, one of XML's own as ever (`xml:lang`).
    pub attrs: Vec<(SmolStr, SmolStr)>,
    /// The prefixes that are declared here, with their namespaces: content may refer to them.
    pub declared: Vec<(SmolStr, SmolStr)>,
    /// Children and texts, in order.
    pub nodes: Vec<Node>,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// A text.
    Text(String),
}

impl Element {
    /// An element without attributes.
    pub fn new(name: &str, ns: &str) -> Self {
        Self { name: name.into(), ns: ns.into(), ..Self::default() }
    }

    /// Parses exactly one element, nothing but white space around it.
    pub fn parse(text: &str) -> Result<Self> {
        read::element(text, &Source::Document)
    }

    /// The attribute's value.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// Sets the attribute, in its old place if it was there.
    pub fn set(&mut self, name: &str, value: impl Into<SmolStr>) {
        match self.attrs.iter_mut().find(|(k, _)| k == name) {
            Some((_, old)) => *old = value.into(),
            None => self.attrs.push((name.into(), value.into())),
        }
    }

    /// Removes an attribute.
    pub fn remove(&mut self, name: &str) {
        self.attrs.retain(|(k, _)| k != name);
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

    /// Adds a text.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.nodes.push(Node::Text(text.into()));
        self
    }

    /// The child elements.
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

    /// As `Stanza::fits`, for an element that stands alone.
    pub fn fits(&self, max: usize) -> bool {
        write::fits(self, "", max)
    }

    /// The element as text that stands alone.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(128);
        write::element(&mut out, self, "");
        out
    }
}
