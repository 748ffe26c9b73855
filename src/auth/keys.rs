//! The keys that sign tokens and links, and that seal the store's secrets.

use crate::config;
use crate::ids::{Secret, random_text};
use crate::store::encryption_at_rest::Sealer;
use crate::store::{Store, StoreError};
use crate::token::{Keys, Kind, KindKeys};

/// Characters of a key that is made here: some 256 bits.
const MADE: usize = 43;

/// The signing keys and what follows from them.
pub struct Secrets {
    /// The keys of tokens.
    pub keys: Keys,
    /// The keys of tokens with which gateway nodes open links to each other.
    pub nodes: KindKeys,
    /// Encrypts secrets in the store.
    pub sealer: Sealer,
    /// The key that signs now.
    pub first: Secret,
}

impl Secrets {
    /// The keys as configured; without any, one that is made once and kept in the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(config: &config::Auth, store: &Store) -> Result<Self, StoreError> {
        let mut keys: Vec<(String, Secret)> = config.keys.iter().map(|k| (k.id.clone(), k.secret.clone())).collect();
        if keys.is_empty() {
            let made = store.get_or_create("auth.key", || random_text(MADE)).await?;
            keys.push(("made".into(), Secret::new(made)));
        }
        let all: Vec<Secret> = keys.iter().map(|(_, secret)| secret.clone()).collect();
        let sealer = Sealer::new(&all).expect("without any key one was made");
        Ok(Self { keys: Keys::new(&keys), nodes: KindKeys::new(&keys, Kind::Node), sealer, first: all[0].clone() })
    }
}
