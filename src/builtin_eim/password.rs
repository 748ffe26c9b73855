//! Passwords of accounts: kept as PBKDF2 hashes, verified away from the EIM's own thread of work.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ids::Secret;
use crate::precis::password::opaque;

/// Rounds of PBKDF2-HMAC-SHA-256 for new hashes: some 20 ms of one core, with the guesses limited by the gateway.
/// Tests, where aws-lc may be built without optimization, need no time to pass.
const ROUNDS: NonZeroU32 = NonZeroU32::new(if cfg!(test) { 10 } else { 100_000 }).expect("not zero");
const HASH_LEN: usize = 32;
pub(super) const SALT_LEN: usize = 16;

/// The stored form that a password is compared with.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Stored {
    Hashed {
        rounds: NonZeroU32,
        /// Base64, as is the hash.
        salt: String,
        hash: String,
    },
    /// From the configuration file, where it stands in the clear anyway. Never kept on disk.
    #[serde(skip)]
    Configured(Secret),
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Takes tens of milliseconds.
pub(super) fn hash(password: &Secret, salt: &[u8; SALT_LEN]) -> Stored {
    let hash = derive(ROUNDS, salt, password);
    Stored::Hashed { rounds: ROUNDS, salt: STANDARD_NO_PAD.encode(salt), hash: STANDARD_NO_PAD.encode(hash) }
}

/// Whether the password is the stored one. Takes as long where there is none (`None`), so that an unknown user isn't
/// told by time.
pub(super) fn verify(stored: Option<&Stored>, password: &Secret) -> bool {
    match stored {
        Some(Stored::Hashed { rounds, salt, hash }) => {
            let (Ok(salt), Ok(hash)) = (STANDARD_NO_PAD.decode(salt), STANDARD_NO_PAD.decode(hash)) else {
                return false;
            };
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, *rounds, &salt, opaque(password.expose()).as_bytes(), &hash)
                .is_ok()
        }
        other => {
            derive(ROUNDS, &[0; SALT_LEN], password);
            let is = |right: &Secret| Secret::new(opaque(right.expose())).matches(&opaque(password.expose()));
            matches!(other, Some(Stored::Configured(right)) if is(right))
        }
    }
}

fn derive(rounds: NonZeroU32, salt: &[u8], password: &Secret) -> [u8; HASH_LEN] {
    let mut out = [0; HASH_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, opaque(password.expose()).as_bytes(), &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_password_verifies_only_itself() {
        let stored = hash(&Secret::new("correct horse"), &[7; SALT_LEN]);
        let again: Stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert!(verify(Some(&again), &Secret::new("correct horse")));
        assert!(!verify(Some(&again), &Secret::new("correct horsf")));
        assert!(!verify(None, &Secret::new("correct horse")));
        let configured = Stored::Configured(Secret::new("x"));
        assert!(verify(Some(&configured), &Secret::new("x")));
        assert!(!verify(Some(&configured), &Secret::new("")));
        assert_eq!(format!("{again:?}"), "***");
    }

    #[test]
    fn a_password_verifies_composed_or_not_and_with_any_blank() {
        for (one, other) in [("Zoe\u{308} 1", "Zoë\u{3000}1"), ("Zoë\u{A0}1", "Zoe\u{308} 1")] {
            let (one, other) = (Secret::new(one), Secret::new(other));
            assert!(verify(Some(&hash(&one, &[7; SALT_LEN])), &other));
            assert!(verify(Some(&Stored::Configured(one)), &other));
        }
    }
}
