//! Names and secrets: the newtypes of checked text, random generators.

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Longest id of any kind, in bytes.
pub const ID_MAX: usize = 64;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// `None` where the text is empty, longer than [`ID_MAX`] or has a character that is not allowed.
            pub fn parse(text: &str) -> Option<Self> {
                let allowed: fn(u8) -> bool = $allowed;
                let fits = !text.is_empty() && text.len() <= ID_MAX && text.bytes().all(allowed);
                fits.then(|| Self(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text).ok_or_else(|| format!("not a {}", stringify!($name)))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// A conference's id: `[A-Za-z0-9_-]{1,64}`.
    ConfId,
    |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
);
id_type!(
    /// A call's id: `[A-Za-z0-9_-]{1,64}`.
    CallId,
    |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
);
id_type!(
    /// A user's id: `[a-z0-9._-]{1,64}`, so that it is a JID's local part without escaping.
    UserId,
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
);

/// Text that must never be printed: no `Display`, and a `Debug` that says nothing.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in constant time (for equal lengths).
    pub fn matches(&self, other: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), other.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `n` random bytes from the operating system's generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

fn random_of(alphabet: &[u8], n: usize) -> String {
    let mut rng = rand::rng();
    (0..n).map(|_| alphabet[rng.random_range(0..alphabet.len())] as char).collect()
}

/// Random text of `[A-Za-z0-9]`.
pub fn random_text(n: usize) -> String {
    random_of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", n)
}

/// Random decimal digits.
pub fn random_digits(n: usize) -> String {
    random_of(b"0123456789", n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_its_own_characters_only() {
        assert!(ConfId::parse("Ab_9-").is_some());
        assert!(ConfId::parse("").is_none());
        assert!(ConfId::parse(&"a".repeat(65)).is_none());
        assert!(ConfId::parse("a b").is_none());
        assert!(UserId::parse("u1.b_c-d").is_some());
        assert!(UserId::parse("U1").is_none());
        assert!(UserId::parse("a%b").is_none());
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hush")), "***");
        assert!(Secret::new("hush").matches("hush"));
        assert!(!Secret::new("hush").matches("husk"));
    }
}
