//! The start tag of a stanza that is not kept: who asks whom, under which id.

use crate::xmpp::xml::{Stanza, read};

/// The attributes of a start tag that an answer needs.
const WANTED: [&str; 4] = ["type", "id", "from", "to"];
/// Most bytes of the stanza's name.
const NAME_MAX: usize = 16;
/// Most bytes of an attribute's value, as written. RFC 7622 allows an address 3071, which may be escaped.
const VALUE_MAX: usize = 8 * 1024;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the stanza's name, or in it.
    #[default]
    Name,
    /// Behind the name or a value.
    Tag,
    /// In an attribute's name.
    Attr,
    /// In a value, until this quote.
    Value(u8),
    /// Behind the start tag.
    Done,
}

/// Reads the tag as its bytes come. Keeps the four attributes that matter, and of the others nothing.
#[derive(Debug, Default)]
pub struct Head {
    at: At,
    name: Vec<u8>,
    /// The attribute under way; `None` where it is longer than what is wanted.
    attr: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    found: Vec<(&'static str, Vec<u8>)>,
}

impl Head {
    /// The tag at the beginning of this text.
    pub fn of(text: &str) -> Self {
        let mut head = Self::default();
        head.feed(text.as_bytes());
        head
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match self.at {
                At::Done => return,
                At::Value(quote) if byte == quote => self.attribute_ends(),
                At::Value(_) => push(&mut self.value, byte, VALUE_MAX),
                _ if byte == b'>' => self.at = At::Done,
                At::Name if byte == b'<' => {}
                At::Name if is_space(byte) || byte == b'/' => self.at = At::Tag,
                At::Name if self.name.len() < NAME_MAX => self.name.push(byte),
                At::Name => {}
                At::Tag | At::Attr if matches!(byte, b'"' | b'\'') => {
                    (self.at, self.value) = (At::Value(byte), Some(Vec::new()));
                }
                At::Tag if is_space(byte) || byte == b'/' => {}
                At::Tag => (self.at, self.attr) = (At::Attr, Some(vec![byte])),
                At::Attr if is_space(byte) || byte == b'=' => {}
                At::Attr => push(&mut self.attr, byte, NAME_MAX),
            }
        }
    }

    fn attribute_ends(&mut self) {
        self.at = At::Tag;
        let (Some(attr), Some(value)) = (self.attr.take(), self.value.take()) else { return };
        if let Some(name) = WANTED.iter().find(|wanted| wanted.as_bytes() == attr) {
            self.found.push((name, value));
        }
    }

    /// The stanza without its content. An attribute that can't be read is left out.
    pub fn into_stanza(self) -> Stanza {
        let mut stanza = Stanza::new(&String::from_utf8_lossy(&self.name));
        for (name, value) in self.found {
            let value = String::from_utf8(value).ok();
            if let Some(value) = value.as_deref().and_then(|value| read::attribute_value(value).ok()) {
                stanza.set(name, value);
            }
        }
        stanza
    }
}

fn push(text: &mut Option<Vec<u8>>, byte: u8, max: usize) {
    match text {
        Some(bytes) if bytes.len() < max => bytes.push(byte),
        text => *text = None,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_start_tag_only_what_an_answer_needs_is_kept_however_large_the_rest_is() {
        let huge = "x".repeat(1 << 20);
        let many: String = (0..50_000).map(|n| format!(" a{n}='{n}'")).collect();
        let text = format!(
            "<iq a='{huge}' type = \"get\"{many} id='&lt;7&apos;' {huge}='1' to='a>b'\n from='c'/><iq id='8'/>"
        );
        let mut head = Head::default();
        text.as_bytes().chunks(999).for_each(|chunk| head.feed(chunk));
        let stanza = head.into_stanza();
        assert_eq!(stanza.name, "iq");
        assert_eq!(["type", "id", "to", "from"].map(|n| stanza.attr(n).unwrap()), ["get", "<7'", "a>b", "c"]);
        let endless = format!("<iq type='get' id='{huge}'/>");
        assert_eq!(Head::of(&endless).into_stanza().attr("id"), None);
    }
}
