//! How much of a bound that all share one key may hold at a time.
//!
//! The last quarter of the whole is for those who hold little: however many keys fill their shares, another one's first
//! requests are taken.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync;

/// One part in so many of the whole is kept for keys that hold little.
const RESERVE_ONE_IN: usize = 4;
/// One part in so many of a share is little.
const LITTLE_ONE_IN: usize = 16;

/// A cloneable handle. No task; the lock is held for a look-up in a map of at most `whole` keys.
pub struct Shares<K: Eq + Hash>(Arc<Inner<K>>);

struct Inner<K> {
    whole: usize,
    each: usize,
    held: Mutex<Held<K>>,
}

struct Held<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

/// The bound that leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The key has its share.
    OfKey,
    /// The whole is taken, but for what is kept for others.
    AtAll,
}

/// One place, given back when it is dropped.
pub struct Share<K: Eq + Hash> {
    key: K,
    of: Arc<Inner<K>>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// `whole` for all together, `each` for one key; both at least 1.
    pub fn new(whole: usize, each: usize) -> Self {
        let held = Mutex::new(Held { all: 0, by_key: HashMap::new() });
        Self(Arc::new(Inner { whole: whole.max(1), each: each.max(1), held }))
    }

    /// Takes a place for the key.
    ///
    /// # Errors
    /// Its share, or the whole, doesn't allow it.
    pub fn take(&self, key: &K) -> Result<Share<K>, NoPlace> {
        let inner = &self.0;
        let mut held = inner.lock();
        let own = held.by_key.get(key).copied().unwrap_or(0);
        let unreserved = inner.whole - inner.whole / RESERVE_ONE_IN;
        let holds_little = own < (inner.each / LITTLE_ONE_IN).max(1);
        let bound = if holds_little { inner.whole } else { unreserved };
        if own >= inner.each {
            return Err(NoPlace::OfKey);
        }
        if held.all >= bound {
            return Err(NoPlace::AtAll);
        }
        held.all += 1;
        held.by_key.insert(key.clone(), own + 1);
        Ok(Share { key: key.clone(), of: Arc::clone(inner) })
    }

    /// Whether the key holds a place now.
    pub fn holds(&self, key: &K) -> bool {
        self.0.lock().by_key.contains_key(key)
    }

    /// Places held now.
    pub fn held(&self) -> usize {
        self.0.lock().all
    }
}

impl<K: Eq + Hash> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Inner<K> {
    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        sync::lock(&self.held)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        held.all -= 1;
        if let Some(own) = held.by_key.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                held.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_key_gets_its_share_and_leaves_the_rest_to_others() {
        let shares = Shares::new(100, 10);
        let held: Vec<_> = std::iter::from_fn(|| shares.take(&"greedy").ok()).collect();
        assert_eq!(held.len(), 10);
        assert_eq!(shares.take(&"greedy").err(), Some(NoPlace::OfKey));
        assert!(shares.take(&"other").is_ok());
        drop(held);
        assert_eq!(shares.held(), 0);
        assert!(shares.take(&"greedy").is_ok());
    }

    #[test]
    fn many_greedy_keys_leave_places_for_one_who_holds_little() {
        let shares = Shares::new(64, 32);
        let tried = (0..3).flat_map(|key| std::iter::repeat_n(key, 40));
        let held: Vec<_> = tried.filter_map(|key| shares.take(&key).ok()).collect();
        assert_eq!(held.len(), 48 + 2, "three quarters, and the last one's little");
        let little: Vec<_> = std::iter::from_fn(|| shares.take(&99).ok()).collect();
        assert_eq!(little.len(), 2, "a sixteenth of a share");
        assert_eq!(shares.take(&99).err(), Some(NoPlace::AtAll), "nobody's own share is used up by it");
    }

    proptest! {
        #[test]
        fn the_whole_and_each_share_are_never_exceeded_and_all_is_given_back(
            whole in 1usize..40, each in 1usize..20, steps in proptest::collection::vec((any::<bool>(), 0usize..5), 0..200),
        ) {
            let shares = Shares::new(whole, each);
            let mut held: Vec<(usize, Share<usize>)> = Vec::new();
            for (takes, n) in steps {
                if takes {
                    held.extend(shares.take(&n).ok().map(|share| (n, share)));
                } else if n < held.len() {
                    held.swap_remove(n);
                }
                prop_assert_eq!(shares.held(), held.len());
                prop_assert!(held.len() <= whole);
                for key in 0..5 {
                    prop_assert!(held.iter().filter(|(k, _)| *k == key).count() <= each);
                }
            }
            drop(held);
            prop_assert_eq!(shares.held(), 0);
            prop_assert!(shares.0.lock().by_key.is_empty());
        }
    }
}
