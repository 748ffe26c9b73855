//! Stanzas for a report: without secrets, and not too long to be read.

use crate::xmpp::xml::{Element, Node, Stanza};

/// In the place of a secret.
const MASK: &str = "***";
/// Most characters of a stanza that are shown.
const SHOWN_MAX: usize = 2000;
/// What the name of an attribute or an element that holds a secret contains, in lower case.
const SECRET_NAMES: [&str; 3] = ["password", "secret", "token"];

/// The stanza as text. Hides the values of what is named as a secret, and `secrets` wherever they stand.
pub fn masked(stanza: &Stanza, secrets: &[String]) -> String {
    let mut copy = stanza.clone();
    hide(&mut copy);
    let text = masked_text(&copy.to_xml(), secrets);
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// The text without `secrets`.
pub fn masked_text(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

fn hide(element: &mut Element) {
    let names: Vec<_> = element.attrs.iter().map(|(name, _)| name.clone()).filter(|name| is_secret(name)).collect();
    for name in names {
        element.set(&name, MASK);
    }
    let is_hidden = is_secret(&element.name);
    for node in &mut element.nodes {
        match node {
            Node::Element(child) => hide(child),
            Node::Text(text) if is_hidden => MASK.clone_into(text),
            Node::Text(_) => {}
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_wherever_they_stand() {
        let text = "<iq type='set'><create xmlns='a:b' password='p1' name='x'><passWord>p1</passWord><note>of s3cret!</note></create></iq>";
        let shown = masked(&Stanza::parse(text).unwrap(), &["s3cret".to_owned()]);
        assert!(!shown.contains("p1") && !shown.contains("s3cret"), "{shown}");
        assert!(shown.contains(r#"name="x""#) && shown.contains("of ***!"), "{shown}");
    }

    #[test]
    fn a_long_stanza_is_cut_at_a_character() {
        let stanza = Stanza::iq("set", Element::new("x", "a:b").with_text("\u{4f1a}".repeat(SHOWN_MAX)));
        let shown = masked(&stanza, &[]);
        assert!(shown.ends_with(" bytes)") && shown.chars().count() < SHOWN_MAX + 40, "{shown}");
    }
}
