//! A link's address, its code or a conference's password, as people hand it on, taken apart. Pure.
//!
//! The one reader of it: for the page's own address and for a login alike. Text that mail and chat programs append to
//! an address (a query, blanks, brackets, a full stop, percent-encoding, characters without width) does not change
//! where it leads. A password may hold all that itself, so what was written is tried first, and what is left of it
//! after.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use crate::ids::random_text;
use crate::precis::password::is_conference_password;

/// Longest text that is looked at, in bytes: as the schema bounds a login's link.
const TEXT_MAX: usize = 4096;
/// The prefix of a signed code. Neither a legacy code nor a password that is tried has it.
const SIGNED: char = '~';
/// Random characters before a legacy code's password.
const SALT: usize = 4;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A code's own characters that programs hang on its end, too: tried without them last.
const AT_THE_END: [char; 7] = ['.', '~', '_', '-', '/', '+', '='];

/// The meanings that a text may have, each in the order in which it is tried. Nothing is in a list twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Code {
    /// Signed tokens.
    pub signed: Vec<String>,
    /// Passwords of legacy codes.
    pub legacy: Vec<String>,
    /// Passwords as they are.
    pub raw: Vec<String>,
}

/// Takes a code, a password, or a whole address (then what follows `conference/`) apart.
pub fn read(text: &str) -> Code {
    let mut code = Code::default();
    if text.len() > TEXT_MAX {
        return code;
    }
    let behind = behind_conference(text);
    let decoded = percent_decode_str(behind).decode_utf8().unwrap_or(Cow::Borrowed(behind));
    let visible: String = decoded.chars().filter(|c| !has_no_width(*c)).collect();
    let bare = visible.trim_start_matches(is_around);
    // Behind the code's own characters comes what is none of it.
    let end = bare.find(|c: char| !is_of_code(c)).unwrap_or(bare.len());
    let run = bare[..end].trim_end_matches('.');
    if let Some(token) = run.strip_prefix(SIGNED) {
        add(&mut code.signed, token, |_| true);
        add(&mut code.signed, token.trim_end_matches(AT_THE_END), |_| true);
        return code;
    }
    for body in [&*decoded, run, run.trim_end_matches(AT_THE_END)] {
        if let Some(password) = legacy(body) {
            add(&mut code.legacy, &password, is_conference_password);
        }
    }
    let cut = visible.split(['?', '#']).next().unwrap_or_default();
    let around = |text: &str| text.trim_matches(is_around).to_owned();
    for password in [&*decoded, behind, visible.trim(), &around(&visible), &around(cut)] {
        add(&mut code.raw, password, is_conference_password);
    }
    code
}

/// The code of a signed token.
pub fn signed_code(token: &str) -> String {
    format!("{SIGNED}{token}")
}

/// Seed 001's code: four random characters and the password in base64.
pub fn legacy_code(password: &str) -> String {
    random_text(SALT) + &URL_SAFE_NO_PAD.encode(password)
}

fn behind_conference(text: &str) -> &str {
    let of_address = text.split_once("/conference/").map(|(_, behind)| behind);
    let trimmed = text.trim_start_matches(is_around);
    of_address.or_else(|| trimmed.strip_prefix("conference/")).unwrap_or_else(|| {
        // An address of another page is no code.
        if trimmed.contains("://") { "" } else { text }
    })
}

fn add(list: &mut Vec<String>, text: &str, fits: impl Fn(&str) -> bool) {
    if !text.is_empty() && fits(text) && list.iter().all(|known| known != text) {
        list.push(text.to_owned());
    }
}

fn legacy(code: &str) -> Option<String> {
    let (salt, body) = code.split_at_checked(SALT)?;
    if !salt.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let bytes = STANDARD.decode(body).or_else(|_| URL_SAFE.decode(body)).ok()?;
    String::from_utf8(bytes).ok()
}

/// A character of signed or legacy codes.
fn is_of_code(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '~' | '.' | '_' | '-' | '+' | '/' | '=')
}

/// Characters around an address in a text, beside blanks: brackets, quotes, and marks that end or part a sentence.
const AROUND: &str = "<>()[]{}\"'`*_|.,;:!“”„‘’«»‹›…。，、；：！．｡､（）［］｛｝＜＞「」『』《》〈〉【】";

fn is_around(c: char) -> bool {
    c.is_whitespace() || has_no_width(c) || AROUND.contains(c)
}

/// Characters that programs put into long words, to break them or to mark a text's direction.
fn has_no_width(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legacies(text: &str) -> Vec<String> {
        read(text).legacy
    }

    #[test]
    fn the_seeds_code_is_its_password() {
        assert_eq!(legacies("xY7aMTIzNDU2"), ["123456"]);
        assert_eq!(legacies("https://h:1/gzbwclient/conference/xY7aMTIzNDU2"), ["123456"]);
    }

    #[test]
    fn both_alphabets_and_paddings_are_read() {
        for password in ["1", "12", "123", "a?b>c~", "会议", "ÿÿÿ"] {
            for body in [
                base64::engine::general_purpose::STANDARD.encode(password),
                base64::engine::general_purpose::STANDARD_NO_PAD.encode(password),
                base64::engine::general_purpose::URL_SAFE.encode(password),
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(password),
            ] {
                assert_eq!(legacies(&format!("aB3x{body}"))[0], password);
            }
        }
    }

    #[test]
    fn additions_of_mail_and_chat_to_an_address_change_nothing() {
        for code in ["~aB3_x-9", "~a.b.c", "xY7aMTIzNDU2", "xY7aMTI/ND+2"] {
            let expected = read(code);
            let encoded = code.replace('~', "%7E").replace('/', "%2F");
            for address in [
                "https://h.example:1/gz/conference/",
                "HTTPS://H/conference/",
                "h.example/gz/conference/",
                "/conference/",
                "conference/",
                "",
            ] {
                for (before, after) in [
                    ("", ""),
                    (" ", "\r\n"),
                    ("\n\t", " "),
                    ("<", ">"),
                    ("(", ")"),
                    ("\"", "\""),
                    ("“", "”"),
                    ("「", "」"),
                    ("*", "*"),
                    ("", "."),
                    ("", ","),
                    ("", "。"),
                    ("", "，请"),
                    ("（", "）。"),
                    ("", ">."),
                    ("", "?utm_source=mail"),
                    ("", "#top"),
                    ("", "?a=1&b=~c#d"),
                    ("\u{FEFF}", "\u{200B}"),
                    ("Join: ", " now"),
                ] {
                    if before == "Join: " && !address.contains("/conference/") {
                        continue;
                    }
                    for code in [code, &encoded] {
                        let text = format!("{before}{address}{code}{after}");
                        let read = read(&text);
                        assert_eq!(read.signed.first(), expected.signed.first(), "{text}");
                        assert_eq!(read.legacy.first(), expected.legacy.first(), "{text}");
                    }
                }
            }
        }
        assert_eq!(read("https://h/conference/~ab\u{200B}cd\u{AD}ef").signed, ["abcdef"]);
        assert_eq!(read("_https://h/conference/~abc_").signed, ["abc_", "abc"]);
        assert_eq!(legacies("xY7aMTIzNDU2/"), legacies("xY7aMTIzNDU2"));
    }

    #[test]
    fn a_raw_password_is_tried_as_it_was_written_before_anything_is_taken_off() {
        for (text, tried) in [
            ("open sesame", &["open sesame"][..]),
            ("it is 5.", &["it is 5.", "it is 5"]),
            (" (secret) ", &[" (secret) ", "(secret)", "secret"]),
            ("what?ever", &["what?ever", "what"]),
            ("100%25", &["100%", "100%25"]),
            ("%E4%BC%9A", &["会", "%E4%BC%9A"]),
            ("%", &["%"]),
            ("%ff", &["%ff"]),
            ("a/b", &["a/b"]),
        ] {
            assert_eq!(read(text).raw, tried, "{text}");
        }
    }

    #[test]
    fn every_password_that_a_conference_may_have_is_read_from_its_code() {
        for password in ["会".repeat(64), "회".repeat(64), "😀".repeat(64), "x".repeat(64), "\u{3000}1".to_owned()]
        {
            assert_eq!(legacies(&legacy_code(&password)), [password.as_str()]);
            assert_eq!(read(&password).raw[0], password);
        }
        assert_eq!(legacies(&legacy_code(&"x".repeat(65))), [""; 0]);
        assert_eq!(read(&"x".repeat(65)).raw, [""; 0]);
    }

    #[test]
    fn text_that_begins_like_a_signed_code_is_no_password() {
        for text in ["~", "~!!!!", "~~~~", "~secret", " (~secret)", "%7Esecret", "~xY7aMTIzNDU2", "conference/~1 2 3"] {
            let read = read(text);
            assert_eq!((read.legacy, read.raw), (vec![], vec![]), "{text}");
        }
        assert_eq!(read("a~secret").raw, ["a~secret"]);
    }

    #[test]
    fn ill_formed_codes_stand_for_nothing_more_than_a_raw_password() {
        for code in ["abc", "abcd", "ab~dMTIz", "xY7a/w==", "会议会议"] {
            assert_eq!(read(code), Code { raw: vec![code.to_owned()], ..Code::default() }, "{code}");
        }
        for nothing in ["", "   ", "https://h/other", "conference/", &"x".repeat(TEXT_MAX + 1)] {
            assert_eq!(read(nothing).signed, [""; 0], "{nothing}");
            assert_eq!(read(nothing).legacy, [""; 0], "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn a_legacy_code_gives_its_password_back(password in "\\PC{1,64}") {
            prop_assume!(is_conference_password(&password));
            let code = legacy_code(&password);
            prop_assert!(code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            let read = read(&code);
            prop_assert_eq!(read.legacy.first(), Some(&password));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            read(&text);
        }
    }
}
