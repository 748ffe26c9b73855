//! XML as XMPP allows it: `read` checks text and makes a tree of it, `write` makes text of a tree.
//! Nothing that comes in goes out but through both.
//!
//! Refused is everything that RFC 6120 section 11.1 forbids (DTD, entities but the five, comments, processing
//! instructions) and everything for which a server's parser would close our shared stream: a name that is no name, a
//! prefix that nobody declared, a character that XML does not know.

mod element;
mod names;
pub(in crate::xmpp) mod read;
mod stanza;
mod write;

#[cfg(test)]
mod tests;

pub use element::{Element, Node};
pub use stanza::Stanza;
pub(in crate::xmpp) use write::{attr as write_attr, element as write_element};

/// Most bytes of one stanza, whoever sends it. What a server sends on has more escapes than what it was sent.
pub const STANZA_MAX: usize = 256 * 1024;
/// Most bytes that a stanza of ours may have however a server escapes it; the rest of [`STANZA_MAX`] is for the
/// addresses, ids and languages that servers add. Prosody closes a client's stream above 256 KiB by default.
pub const SENT_MAX: usize = STANZA_MAX - 8 * 1024;
/// Deepest nesting of elements, the stanza itself counted.
pub const DEPTH_MAX: usize = 32;
/// Most bytes of namespaces that a stanza's elements and attributes repeat when each names its own: a text that declares
/// a long one once and uses it often would become many times as long, in memory and when it is written.
const REPEATED_MAX: usize = 4 * STANZA_MAX;
/// Longest prefix of a namespace, in bytes. An attribute may be written with another prefix than it was read with.
const PREFIX_MAX: usize = 64;
/// Most attributes of one element, declarations of namespaces counted.
const ATTRS_MAX: usize = 256;

/// The namespace of stanzas and of what stands in them without a declaration. `jabber:component:accept` and
/// `jabber:server` are read as it: which of the three is meant is the stream's affair (RFC 6120 section 4.8.3).
pub const CONTENT_NS: &str = "jabber:client";

/// Why a text is not acceptable. The message names the rule, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct XmlError(pub &'static str);

type Result<T> = std::result::Result<T, XmlError>;

const ILL_FORMED: XmlError = XmlError("ill-formed XML");

/// White space of XML 1.0 section 2.3.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// XML 1.0 section 2.2.
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn are_xml_chars(text: &str) -> bool {
    // Byte by byte where that says it all: nearly everywhere.
    let is_known = |byte: u8| matches!(byte, b' '..=b'\x7f' | b'\t' | b'\n' | b'\r');
    leading(text, is_known) == text.len() || text.chars().all(is_xml_char)
}

/// How many bytes at the beginning are such. Looked at in blocks without a branch in them, which compilers make a few
/// instructions of.
fn leading(text: &str, is_such: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = text.as_bytes().as_chunks::<16>();
    let whole =
        blocks.iter().take_while(|block| block.iter().fold(true, |all, byte| all & is_such(*byte))).count() * 16;
    whole + text.as_bytes()[whole..].iter().take_while(|byte| is_such(**byte)).count()
}
