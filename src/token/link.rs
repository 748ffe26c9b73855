//! The tokens of links: a random id and a truncated MAC of it. The terms of a link are in the store, under its id.
//!
//! The MAC is checked before the store is asked, so that a made-up token costs no look-up. An id alone is no token: a
//! conference's chairs see its links' ids, and so does who reads the store.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Kind, KindKeys, derive};
use crate::ids::{Secret, random_text};

/// Characters of an id: of 62 kinds each, so that it has 130 bits.
const ID: usize = 22;
/// Bytes of the MAC that are kept: half of HMAC-SHA256's, the least that RFC 2104 section 5 advises. Written in
/// base64url without padding they end in `A`, `Q`, `g` or `w`, never in what a program may take for punctuation.
const MAC_BYTES: usize = 16;
/// The purpose for which the key is derived.
const PURPOSE: &str = "link code";

/// The keys for links' tokens.
pub struct LinkKeys {
    /// The first signs, all verify.
    keys: Vec<hmac::Key>,
    /// For tokens as they were made before: signed claims.
    former: KindKeys,
}

/// The claims of a former token that are needed: the store has the others too.
#[derive(Deserialize)]
struct FormerClaims {
    jti: String,
}

impl LinkKeys {
    /// # Panics
    /// Without any key.
    pub(super) fn new(configured: &[(String, Secret)]) -> Self {
        let derived =
            |(_, secret): &(String, Secret)| hmac::Key::new(hmac::HMAC_SHA256, &derive(secret.expose(), PURPOSE));
        Self { keys: configured.iter().map(derived).collect(), former: KindKeys::new(configured, Kind::Link) }
    }

    /// A new link's id, and its token.
    pub fn issue(&self) -> (String, String) {
        let id = random_text(ID);
        let token = format!("{id}{}", mac(&self.keys[0], &id));
        (id, token)
    }

    /// The id of the link, if the token is one of ours.
    pub fn link_id(&self, token: &str) -> Option<String> {
        if token.contains('.') {
            return self.former.verify::<FormerClaims>(token).ok().map(|claims| claims.jti);
        }
        let (id, given) = token.split_at_checked(ID)?;
        let is_of = |key| verify_slices_are_equal(mac(key, id).as_bytes(), given.as_bytes()).is_ok();
        self.keys.iter().any(is_of).then(|| id.to_owned())
    }
}

fn mac(key: &hmac::Key, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(&hmac::sign(key, id.as_bytes()).as_ref()[..MAC_BYTES])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Most characters of a token: behind `~`, a code has 48.
    const TOKEN: usize = 47;
    /// Made by another implementation of RFC 5869, RFC 2104 and RFC 4648 (Python's `hmac` and `base64`), with the key
    /// "secret of a".
    const CODE: &str = "Zq3hT0vYb9KxW2mRc7uLpAwLfzCgqu_bmzGwNHcC6mfA";
    /// Likewise, RFC 7515 with the claims of links that were made before; `nbf` is a time to come.
    const FORMER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJ0eXAiOiJsaW5rIiwiYXVkIjoiY29uZmdhdGUiLCJqdGkiOiJsOEhxMm1ONHhLMWMiLCJjaWQiOiIxMTIzNCIsInJvbGUiOiJndWVzdCIsIm5iZiI6NDEwMjQ0NDgwMCwiZXhwIjo0MTAyNDQ4NDAwLCJtYXgiOjV9._26VPN6xZ0MxmRS6CbAqUoDu6DohwVtqH2t2W0HYNuo";

    fn keys(ids: &[&str]) -> LinkKeys {
        LinkKeys::new(
            &ids.iter().map(|id| (id.to_string(), Secret::new(format!("secret of {id}")))).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_token_is_short_unguessable_and_leads_to_its_id() {
        let keys = keys(&["a"]);
        let mut ids = BTreeSet::new();
        for _ in 0..100 {
            let (id, token) = keys.issue();
            assert!(token.len() <= TOKEN, "{token}");
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{token}");
            assert!(token.ends_with(['A', 'Q', 'g', 'w']), "{token}");
            assert!(
                id.len() as f64 * 62f64.log2() >= 128.0 && (token.len() - id.len()) * 6 >= 128,
                "bits of each half"
            );
            assert_eq!(keys.link_id(&token), Some(id.clone()));
            assert!(ids.insert(id));
        }
    }

    #[test]
    fn tokens_are_as_another_implementation_makes_them() {
        let keys = keys(&["a"]);
        assert_eq!(keys.link_id(CODE).as_deref(), Some(&CODE[..ID]));
        assert_eq!(keys.link_id(FORMER).as_deref(), Some("l8Hq2mN4xK1c"));
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let (id, old) = keys(&["a"]).issue();
        assert_eq!(keys(&["b", "a"]).link_id(&old), Some(id));
        for token in [&*old, FORMER] {
            assert_eq!(keys(&["b"]).link_id(token), None);
            assert_eq!(keys(&["b", "c"]).link_id(token), None);
            assert!(keys(&["b", "a"]).link_id(token).is_some());
        }
    }

    #[test]
    fn a_token_that_is_not_quite_one_is_refused() {
        let keys = keys(&["a"]);
        let (id, token) = keys.issue();
        let (other, _) = keys.issue();
        let tag = &token[ID..];
        let bad = [
            format!("{other}{tag}"),
            format!("{token}A"),
            format!("{token}="),
            format!("{token}\n"),
            format!(" {token}"),
            token[..token.len() - 1].to_owned(),
            // The last character stands for two bits and four that are zero.
            format!("{}{}", &token[..token.len() - 1], token.chars().last().map(|c| (c as u8 + 1) as char).unwrap()),
            token.to_lowercase(),
            id,
            tag.to_owned(),
            String::new(),
            "会".repeat(16),
            format!("{FORMER}A"),
            format!("{FORMER}."),
            FORMER.replacen('.', "", 1),
        ];
        bad.iter().for_each(|token| assert_eq!(keys.link_id(token), None, "{token}"));
    }

    proptest! {
        #[test]
        fn a_token_with_one_character_changed_is_none(at in 0usize..44, by in "[A-Za-z0-9_-]") {
            let keys = keys(&["a"]);
            let (_, token) = keys.issue();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &by);
            prop_assert_eq!(keys.link_id(&changed).is_some(), changed == token);
        }
    }
}
