//! Small secrets at rest: AES-256-GCM under keys derived from the signing secrets, so that the database alone opens none.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::Secret;

/// First byte of everything sealed: the algorithm and the layout behind it (nonce, ciphertext, tag).
const FORM: u8 = 1;

/// Keeps the derived key apart from those of tokens, which come from the same secrets.
const PURPOSE: &[&[u8]] = &[b"confgate seal"];

/// Seals with the first key, opens with any: as `auth.keys` sign and verify.
pub struct Sealer {
    keys: Vec<RandomizedNonceKey>,
}

impl Sealer {
    /// `None` without any key.
    pub fn new(keys: &[Secret]) -> Option<Self> {
        let keys: Vec<_> = keys.iter().map(derive).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Text for a column, bound to `owner` (a user's id): it opens for the same owner only, so that no row's secret can
    /// be moved to another. A key seals 2^32 secrets safely (random 96-bit nonces, NIST SP 800-38D, 8.3).
    pub fn seal(&self, owner: &str, secret: &Secret) -> String {
        let mut text = secret.expose().as_bytes().to_vec();
        let nonce = self.keys[0]
            .seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut text)
            .expect("a secret is shorter than AES-GCM's 64 GiB");
        let sealed = [&[FORM], nonce.as_ref().as_slice(), &text].concat();
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// `None` where it was not sealed for that owner by one of the keys.
    pub fn open(&self, owner: &str, sealed: &str) -> Option<Secret> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let rest = bytes.strip_prefix(&[FORM])?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let opened = self.keys.iter().find_map(|key| {
            let mut text = text.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut text).ok()?;
            String::from_utf8(opened.to_vec()).ok()
        })?;
        Some(Secret::new(opened))
    }
}

struct KeyBytes;

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

fn derive(secret: &Secret) -> RandomizedNonceKey {
    let root = Salt::new(HKDF_SHA256, &[]).extract(secret.expose().as_bytes());
    let mut bytes = vec![0; KeyBytes.len()];
    let derived = root.expand(PURPOSE, KeyBytes).and_then(|derived| derived.fill(&mut bytes));
    derived.expect("HKDF-SHA256 gives 32 bytes");
    RandomizedNonceKey::new(&AES_256_GCM, &bytes).expect("the key has AES-256's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(keys: &[&str]) -> Sealer {
        Sealer::new(&keys.iter().map(|key| Secret::new(*key)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn sealed_secret_opens_for_its_owner_alone() {
        let sealer = sealer(&["first"]);
        let sealed = sealer.seal("u1", &Secret::new("hush"));
        assert!(!sealed.contains("hush"));
        assert_eq!(sealer.open("u1", &sealed).unwrap().expose(), "hush");
        assert!(sealer.open("u2", &sealed).is_none());
    }

    #[test]
    fn a_key_that_no_longer_signs_still_opens() {
        let sealed = sealer(&["old"]).seal("u1", &Secret::new("hush"));
        assert!(sealer(&["new", "old"]).open("u1", &sealed).is_some());
        assert!(sealer(&["new"]).open("u1", &sealed).is_none());
        assert!(Sealer::new(&[]).is_none());
    }

    #[test]
    fn sealing_twice_shows_nothing_alike() {
        let sealer = sealer(&["first"]);
        assert_ne!(sealer.seal("u1", &Secret::new("hush")), sealer.seal("u1", &Secret::new("hush")));
    }

    #[test]
    fn nothing_that_was_changed_opens() {
        let sealer = sealer(&["first"]);
        let sealed = URL_SAFE_NO_PAD.decode(sealer.seal("u1", &Secret::new("hush"))).unwrap();
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(sealer.open("u1", &URL_SAFE_NO_PAD.encode(changed)).is_none(), "byte {i}");
        }
        for text in ["", "AQ", "not base64!", "AQAAAAAAAAAAAAAAAA"] {
            assert!(sealer.open("u1", text).is_none());
        }
    }
}
