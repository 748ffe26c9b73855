//! Access tokens whose signature has been verified, so that a caller's next request need not verify it again.
//!
//! Kept by the token's SHA-256, so that no token is kept and none can be found out by how long a look-up takes. What
//! is found here is a caller as the token names them and nothing more: whether the token has ended since is asked anew
//! for each request.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};

use super::Caller;

use crate::sync;

/// Most callers of each generation; twice as many are kept.
const GENERATION: usize = 8192;

type Hash = [u8; 32];

type Callers = HashMap<Hash, Arc<Caller>, BuildHasherDefault<FirstBytes>>;

/// Takes a hash's first bytes for the map's: they are as good as any, and only tokens that we signed come into the map.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some((first, _)) = bytes.split_first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // An array's length is none of the hash.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Two generations: what was not asked for while a generation filled up is forgotten with the next one.
#[derive(Default)]
pub struct Verified(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: Callers,
    old: Callers,
}

impl Verified {
    /// The token's caller, if it was verified before, else as `verify` says.
    pub fn caller<E>(&self, token: &str, verify: impl FnOnce() -> Result<Caller, E>) -> Result<Arc<Caller>, E> {
        let hash = hash(token);
        if let Some(known) = self.with(|generations| generations.find(&hash)) {
            return Ok(known);
        }
        let caller = Arc::new(verify()?);
        self.with(|generations| generations.keep(hash, caller.clone()));
        Ok(caller)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Generations) -> T) -> T {
        act(&mut sync::lock(&self.0))
    }
}

impl Generations {
    fn find(&mut self, hash: &Hash) -> Option<Arc<Caller>> {
        if let Some(caller) = self.young.get(hash) {
            return Some(caller.clone());
        }
        let caller = self.old.remove(hash)?;
        self.keep(*hash, caller.clone());
        Some(caller)
    }

    fn keep(&mut self, hash: Hash, caller: Arc<Caller>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, caller);
    }
}

fn hash(token: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::token::{Access, audience};

    fn caller(user: &str) -> Caller {
        Caller::new(Access {
            typ: Access::typ(),
            aud: audience(),
            grant_type: "password".into(),
            creation_date: 0,
            user_name: user.into(),
            deadline: 0,
            exp: 0,
            nonce: String::new(),
            user_id: UserId::parse(user).unwrap(),
            user_client_type: "password".into(),
            corp_id: None,
            client_id: None,
            scope: String::new(),
            conf_id: None,
            role: None,
            sid: String::new(),
        })
    }

    fn verified(verified: &Verified, token: &str, user: &str) -> Result<Arc<Caller>, ()> {
        verified.caller(token, || Ok(caller(user)))
    }

    #[test]
    fn a_token_is_verified_once_and_is_nobody_elses() {
        let known = Verified::default();
        assert_eq!(verified(&known, "a", "u1").unwrap().user_id.as_str(), "u1");
        assert_eq!(known.caller("a", || Err(())).unwrap().user_id.as_str(), "u1");
        assert_eq!(verified(&known, "b", "u2").unwrap().user_id.as_str(), "u2");
    }

    #[test]
    fn a_token_that_was_refused_is_looked_at_again() {
        let known = Verified::default();
        assert!(known.caller("a", || Err(())).is_err());
        assert!(known.caller("a", || Err(())).is_err());
        assert!(verified(&known, "a", "u1").is_ok());
    }

    #[test]
    fn a_flood_of_tokens_is_bounded_and_whoever_keeps_asking_stays_known() {
        let known = Verified::default();
        verified(&known, "busy", "u1").unwrap();
        for n in 0..3 * GENERATION {
            verified(&known, &n.to_string(), "u2").unwrap();
            assert!(known.caller("busy", || Err(())).is_ok());
        }
        assert!(known.caller("0", || Err(())).is_err(), "long not asked for");
        assert!(known.with(|generations| generations.young.len().max(generations.old.len())) <= GENERATION);
    }
}
