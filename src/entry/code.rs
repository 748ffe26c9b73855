//! A link's code taken apart: signed, legacy, raw. Pure.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ids::random_text;

/// Longest code that is looked at, in bytes.
pub const CODE_MAX: usize = 2048;
/// Longest password, in bytes.
pub const PASSWORD_MAX: usize = 128;
/// Random characters before a legacy code's password.
const SALT: usize = 4;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a code may stand for, in the order in which it is tried.
#[derive(Debug, PartialEq, Eq)]
pub struct Code<'a> {
    /// The compact signed token after `~`.
    pub signed: Option<&'a str>,
    /// The password of a legacy code.
    pub legacy: Option<String>,
    /// The code itself as a password.
    pub raw: Option<&'a str>,
}

/// Takes a code, or a whole link (then what follows `conference/`), apart.
pub fn parse(text: &str) -> Code<'_> {
    let code = match text.split_once("://") {
        Some((_, rest)) => rest.split_once("/conference/").map_or("", |(_, code)| code),
        None => text,
    };
    if code.is_empty() || code.len() > CODE_MAX {
        return Code { signed: None, legacy: None, raw: None };
    }
    Code { signed: code.strip_prefix('~'), legacy: legacy(code), raw: (code.len() <= PASSWORD_MAX).then_some(code) }
}

fn legacy(code: &str) -> Option<String> {
    let (salt, body) = code.split_at_checked(SALT)?;
    if !salt.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let bytes = STANDARD.decode(body).or_else(|_| URL_SAFE.decode(body)).ok()?;
    let password = String::from_utf8(bytes).ok()?;
    (!password.is_empty() && password.len() <= PASSWORD_MAX).then_some(password)
}

/// Seed 001's code: four random characters and the password in base64.
pub fn legacy_code(password: &str) -> String {
    random_text(SALT) + &URL_SAFE_NO_PAD.encode(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_code_is_its_password() {
        assert_eq!(parse("xY7aMTIzNDU2").legacy.as_deref(), Some("123456"));
        assert_eq!(parse("https://h:1/gzbwclient/conference/xY7aMTIzNDU2").legacy.as_deref(), Some("123456"));
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
                assert_eq!(parse(&format!("aB3x{body}")).legacy.as_deref(), Some(password));
            }
        }
    }

    #[test]
    fn ill_formed_codes_stand_for_nothing_more_than_a_raw_password() {
        for code in ["abc", "abcd", "ab~dMTIz", "xY7a!!!!", "xY7a/w==", "会议会议"] {
            assert_eq!(parse(code), Code { signed: None, legacy: None, raw: Some(code) }, "{code}");
        }
        assert_eq!(parse("").raw, None);
        assert_eq!(parse(&"x".repeat(CODE_MAX + 1)).raw, None);
        assert_eq!(parse("~a.b.c").signed, Some("a.b.c"));
    }

    proptest! {
        #[test]
        fn a_legacy_code_gives_its_password_back(password in "\\PC{1,40}") {
            prop_assume!(password.len() <= PASSWORD_MAX);
            let code = legacy_code(&password);
            prop_assert!(code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(parse(&code).legacy, Some(password));
        }

        #[test]
        fn no_code_panics(code in "\\PC{0,80}") {
            parse(&code);
        }
    }
}
