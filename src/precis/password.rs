//! Passwords as they are compared, whoever asks: the OpaqueString profile of RFC 8265 section 4.2.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Longest password of a conference, in characters as they are compared.
pub const CONFERENCE_MAX: usize = 64;

/// The text as OpaqueString has it: blanks of any kind are U+0020, characters are composed (NFC). Characters that the
/// profile forbids are left as they are; the maker of a password refuses them.
pub fn opaque(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || (!text.contains(is_blank) && is_nfc_quick(text.chars()) == IsNormalized::Yes) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_blank(c) { ' ' } else { c }).nfc().collect::<String>().into()
}

/// Whether it could be a conference's.
pub fn is_conference_password(text: &str) -> bool {
    let opaque = opaque(text);
    !opaque.is_empty() && (opaque.len() <= CONFERENCE_MAX || opaque.chars().count() <= CONFERENCE_MAX)
}

/// Unicode's category Zs, but for the blank itself.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_or_not_and_with_whatever_blank_a_password_is_the_same() {
        for (written, same) in [
            ("plain \"ASCII\"", "plain \"ASCII\""),
            ("Zoe\u{308}", "Zoë"),
            ("\u{1112}\u{116C}", "회"),
            ("正\u{3000}确", "正 确"),
            ("a\u{A0}b\u{2009}c", "a b c"),
            ("Ａ", "Ａ"),
            ("ﬁ", "ﬁ"),
            ("Case", "Case"),
        ] {
            assert_eq!(opaque(written), same);
            assert_eq!(opaque(same), same);
        }
    }

    #[test]
    fn a_conferences_password_is_measured_as_it_is_compared() {
        assert!(is_conference_password(&"회".repeat(CONFERENCE_MAX)));
        assert!(is_conference_password(&"\u{1112}\u{116C}".repeat(CONFERENCE_MAX)));
        assert!(!is_conference_password(&"회".repeat(CONFERENCE_MAX + 1)));
        assert!(!is_conference_password(""));
    }
}
