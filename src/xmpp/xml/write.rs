//! Text from a tree: the only place where XML is written that goes onto a stream.

use super::{CONTENT_NS, Element, Node, PREFIX_MAX, is_xml_char, leading};

/// Most bytes of a prefix, ours or a server's, that an attribute in a namespace is written with, and of what declares it.
const PREFIX_SIZE: usize = 2 * PREFIX_MAX + " xmlns:='':".len();

/// Bytes of the longest escape, `&quot;` or `&apos;`.
const ESCAPE_MAX: usize = 6;

/// Prefixes and their namespaces, the innermost last.
type Scope<'e> = Vec<(&'e str, &'e str)>;
/// Names and values.
type Attrs<'i, 'e> = &'i mut dyn Iterator<Item = (&'e str, &'e str)>;

/// Appends the element; `xmlns` stands where the namespace differs from `parent_ns`.
pub(in crate::xmpp) fn element(out: &mut String, element: &Element, parent_ns: &str) {
    write(out, element, parent_ns, &mut own(element), &mut Vec::new());
}

/// Appends the stanza with that in place of its `from`, or without one.
pub(super) fn stanza(out: &mut String, stanza: &Element, from: Option<&str>) {
    let mut attrs = stanza.attrs.iter().filter_map(|(name, value)| match name.as_str() {
        "from" => from.map(|from| ("from", from)),
        name => Some((name, value.as_str())),
    });
    write(out, stanza, CONTENT_NS, &mut attrs, &mut Vec::new());
}

fn own(element: &Element) -> impl Iterator<Item = (&str, &str)> {
    element.attrs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn write<'e>(out: &mut String, element: &'e Element, parent_ns: &str, attrs: Attrs<'_, 'e>, scope: &mut Scope<'e>) {
    out.push('<');
    out.push_str(&element.name);
    if element.ns != parent_ns {
        attr(out, "xmlns", &element.ns);
    }
    let outer = scope.len();
    for (prefix, ns) in &element.declared {
        attr(out, &format!("xmlns:{prefix}"), ns);
        scope.push((prefix, ns));
    }
    attributes(out, attrs, scope);
    if element.nodes.is_empty() {
        out.push_str("/>");
    } else {
        out.push('>');
        for node in &element.nodes {
            match node {
                Node::Element(child) => write(out, child, &element.ns, &mut own(child), scope),
                Node::Text(text) => escaped(out, text, false),
            }
        }
        out.push_str("</");
        out.push_str(&element.name);
        out.push('>');
    }
    scope.truncate(outer);
}

fn attributes<'e>(out: &mut String, attrs: Attrs<'_, 'e>, scope: &Scope<'e>) {
    // Prefixes that are made here for namespaces that have none.
    let mut made: Vec<(String, &str)> = Vec::new();
    for (name, value) in attrs {
        let Some((ns, local)) = name.strip_prefix('{').and_then(|name| name.rsplit_once('}')) else {
            attr(out, name, value);
            continue;
        };
        if let Some(prefix) = prefix_of(ns, scope) {
            attr(out, &format!("{prefix}:{local}"), value);
            continue;
        }
        let at = made.iter().position(|(_, known)| *known == ns).unwrap_or_else(|| {
            let is_free = |prefix: &String| {
                scope.iter().all(|(taken, _)| taken != prefix) && made.iter().all(|(taken, _)| taken != prefix)
            };
            let prefix =
                (1..).map(|n: usize| format!("ns{n}")).find(is_free).expect("there are more numbers than prefixes");
            attr(out, &format!("xmlns:{prefix}"), ns);
            made.push((prefix, ns));
            made.len() - 1
        });
        attr(out, &format!("{}:{local}", made[at].0), value);
    }
}

/// A prefix that stands for the namespace here, none that was declared anew within.
fn prefix_of<'e>(ns: &str, scope: &Scope<'e>) -> Option<&'e str> {
    let (at, (prefix, _)) = scope.iter().enumerate().rev().find(|(_, (_, known))| *known == ns)?;
    scope[at + 1..].iter().all(|(inner, _)| inner != prefix).then_some(*prefix)
}

/// Appends ` name="value"`, escaped.
pub(in crate::xmpp) fn attr(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escaped(out, value, true);
    out.push('"');
}

/// ASCII that stands for itself everywhere: nearly all text holds nothing else.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')
}

/// Appends the text, escaped. Characters that XML does not know become U+FFFD.
fn escaped(out: &mut String, text: &str, in_attribute: bool) {
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(leading(rest, is_plain));
        out.push_str(plain);
        let mut chars = behind.chars();
        match chars.next() {
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('&') => out.push_str("&amp;"),
            Some('"') if in_attribute => out.push_str("&quot;"),
            // Other white space than the blank would be normalized away by the reader (XML 1.0 sections 2.11, 3.3.3).
            Some('\r') => out.push_str("&#xD;"),
            Some('\n') if in_attribute => out.push_str("&#xA;"),
            Some('\t') if in_attribute => out.push_str("&#x9;"),
            Some(c) => out.push(if is_xml_char(c) { c } else { '\u{FFFD}' }),
            None => return,
        }
        rest = chars.as_str();
    }
}

/// Whether a server makes at most that many bytes of the element. Most are so small that no text needs to be looked at.
pub(super) fn fits(element: &Element, parent_ns: &str, max: usize) -> bool {
    size(element, parent_ns, |text| ESCAPE_MAX * text.len()) <= max || size(element, parent_ns, largest_text) <= max
}

fn size(element: &Element, parent_ns: &str, text_size: impl Fn(&str) -> usize + Copy) -> usize {
    let mut bytes = 2 * element.name.len() + "<></>".len();
    if element.ns != parent_ns {
        bytes += " xmlns=''".len() + text_size(&element.ns);
    }
    for (prefix, ns) in &element.declared {
        bytes += " xmlns:=''".len() + prefix.len() + text_size(ns);
    }
    for (name, value) in &element.attrs {
        bytes += " =''".len() + text_size(name) + text_size(value);
        bytes += if name.starts_with('{') { PREFIX_SIZE } else { 0 };
    }
    let content = element.nodes.iter().map(|node| match node {
        Node::Element(child) => size(child, &element.ns, text_size),
        Node::Text(text) => text_size(text),
    });
    bytes + content.sum::<usize>()
}

/// Most bytes of the text once escaped.
fn largest_text(text: &str) -> usize {
    let size = |byte: u8| match byte {
        b'"' | b'\'' => ESCAPE_MAX,
        b'&' | b'<' | b'>' | b'\r' | b'\n' | b'\t' => 5,
        _ => 1,
    };
    text.bytes().map(size).sum()
}
