//! A delivery's body, as JSON or XML.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use crate::xmpp::xml::Element;

/// Longest declaration before an XML body, in bytes: version, encoding and `standalone`.
const DECLARATION_MAX: usize = 128;

/// A body that several files look at, parsed once.
pub(super) struct Bodies<'b> {
    bytes: &'b [u8],
    json: OnceCell<Result<Value, Cow<'static, str>>>,
    xml: OnceCell<Result<Element, &'static str>>,
}

impl<'b> Bodies<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, json: OnceCell::new(), xml: OnceCell::new() }
    }

    /// Whether it can be XML: JSON begins with no such character.
    pub fn is_xml(&self) -> bool {
        self.bytes.trim_ascii_start().first() == Some(&b'<') || self.bytes.starts_with("\u{FEFF}<".as_bytes())
    }

    pub fn json(&self) -> &Result<Value, Cow<'static, str>> {
        self.json.get_or_init(|| json(self.bytes))
    }

    pub fn xml(&self) -> &Result<Element, &'static str> {
        self.xml.get_or_init(|| xml(self.bytes))
    }
}

pub(super) fn json(bytes: &[u8]) -> Result<Value, Cow<'static, str>> {
    serde_json::from_slice(bytes).map_err(|error| words_of(&error))
}

/// What XMPP allows as XML, and before it a byte order mark and a declaration, which documents have.
fn xml(bytes: &[u8]) -> Result<Element, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8")?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    Element::parse(without_declaration(text)?).map_err(|error| error.0)
}

fn without_declaration(text: &str) -> Result<&str, &'static str> {
    let Some(inside) = text.strip_prefix("<?xml ") else { return Ok(text) };
    let (declaration, rest) = inside.split_once("?>").ok_or("ill-formed XML")?;
    if declaration.len() > DECLARATION_MAX {
        return Err("ill-formed XML");
    }
    let encoding = declaration.split_once("encoding").map(|(_, rest)| rest.trim_start_matches([' ', '=', '\'', '"']));
    let is_utf8 = encoding.is_none_or(|name| {
        let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        ["utf-8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    if is_utf8 { Ok(rest) } else { Err("the body is not UTF-8") }
}

/// Why JSON can't be read. An error's own words may repeat what stands in the text; these name places only.
pub(super) fn words_of(error: &serde_json::Error) -> Cow<'static, str> {
    let text = error.to_string();
    let place =
        if error.line() > 0 { format!(" (line {}, column {})", error.line(), error.column()) } else { String::new() };
    let of_member = ["missing field", "duplicate field"].iter().any(|kind| text.starts_with(kind));
    let what = match text.rsplit_once(", expected ") {
        _ if of_member => text.split(" at line ").next().unwrap_or_default().to_owned(),
        Some((_, expected)) => format!("expected {}", expected.split(" at line ").next().unwrap_or_default()),
        None if error.is_data() => "a value is not of its type".to_owned(),
        None => "not JSON".to_owned(),
    };
    format!("{what}{place}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xml_document_may_begin_with_a_declaration_in_utf8_only() {
        let root = |text: &str| xml(text.as_bytes()).map(|element| element.name.to_string());
        for good in [
            "<a/>",
            "\u{FEFF}<a/>",
            "<?xml version=\"1.0\"?><a/>",
            "<?xml version='1.0' encoding='utf-8' standalone='yes'?>\n<a/>\n",
            "\u{FEFF}<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>",
        ] {
            assert_eq!(root(good).as_deref(), Ok("a"), "{good}");
        }
        for bad in [
            "",
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
            "<?xml version='1.0'",
            "<?xml version='1.0'?><?xml version='1.0'?><a/>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            "<a/><b/>",
            "<a><!-- --></a>",
            "\u{FEFF}\u{FEFF}<a/>",
        ] {
            assert!(root(bad).is_err(), "{bad}");
        }
        assert!(xml(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn the_reason_names_the_place_and_repeats_nothing() {
        use crate::event::AnyEvent;
        let words = |text: &str| words_of(&serde_json::from_str::<AnyEvent>(text).unwrap_err()).into_owned();
        for text in [
            r#"{"epoch":"secret","seq":"secret"}"#,
            r#"{"epoch":"e","seq":1,"confId":"secret!","time":1,"type":"message","data":{}}"#,
            r#"{"epoch":"e","seq":1,"confId":"c","time":1,"type":"message","data":"secret"}"#,
            r#"{"epoch":"e","seq":1,"confId":"c","time":1,"type":"member.left","data":{"userId":"u","reason":"secret"}}"#,
            r#"{"secret"#,
        ] {
            assert!(!words(text).contains("secret"), "{}", words(text));
        }
        assert!(words("{}").starts_with("missing field `confId`"), "{}", words("{}"));
    }
}
