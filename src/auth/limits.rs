//! How often somebody may try: joins, guesses at passwords, failed logins.
//!
//! A use is taken before the attempt, so that attempts at the same time can't slip past, and given back when it was no
//! failure. Attempts that are too frequent from one block of addresses are refused there. Attempts that are too
//! frequent from everywhere is slowed: whoever knows the password, and comes from elsewhere, gets in a little later.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Moment;
use crate::config;
use crate::rate_limit::address::AddressBlock;
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::refusal::{Reason, Refusal};
use crate::sync;

/// Most keys that each limiter remembers.
const KEYS: usize = 65_536;
/// How long a success counts as recent.
const RECENT: Duration = Duration::from_secs(3600);
/// While the whole server is guessed at, a block without a recent success has one part in so many of its guesses.
const FEW_ONE_IN: u32 = 4;

/// One lock for all: each is held for the time of a look-up in a map.
pub struct Limits(Mutex<Inner>);

type Pair = (String, AddressBlock);

struct Inner {
    joins: Limiter<AddressBlock>,
    guesses: Limiter<AddressBlock>,
    few_guesses: Limiter<AddressBlock>,
    all_guesses: Limiter<()>,
    guessers: Recent<AddressBlock>,
    failures_by_address: Limiter<AddressBlock>,
    failures_by_pair: Limiter<Pair>,
    failures_by_id: Limiter<String>,
    owners: Recent<Pair>,
    slow: Duration,
}

/// A look-up by password that may be made now. Dropped, it counts as a wrong guess.
#[must_use]
pub struct Guess {
    site: AddressBlock,
    /// Which of the three budgets it was taken from, besides the block's own.
    of_few: bool,
    of_all: bool,
    /// How long it is to be held first.
    pub hold: Duration,
}

/// A login that may be tried now. Dropped, it counts as a failure.
#[must_use]
pub struct Attempt {
    pair: Pair,
    of_address: bool,
    of_id: bool,
    /// How long it is to be held first.
    pub hold: Duration,
}

/// Lets so much time pass; where that is none, nobody else gets between.
pub async fn held(hold: Duration) {
    if !hold.is_zero() {
        sleep(hold).await;
    }
}

impl Limits {
    /// The limiters of the configured rates.
    pub fn new(limits: &config::Limits) -> Self {
        let guesses = Rate::per_minute(limits.guesses_per_minute);
        let few = Rate::per_minute((limits.guesses_per_minute / FEW_ONE_IN).max(1));
        let failures = Rate::per_minute(limits.login_failures_per_minute);
        Self(Mutex::new(Inner {
            joins: Limiter::new(Rate::per_minute(limits.joins_per_minute), KEYS),
            guesses: Limiter::new(guesses, KEYS),
            few_guesses: Limiter::new(few, KEYS),
            all_guesses: Limiter::new(Rate::per_minute(limits.guesses_total_per_minute), 1),
            guessers: Recent::default(),
            failures_by_address: Limiter::new(failures, KEYS),
            failures_by_pair: Limiter::new(failures, KEYS),
            failures_by_id: Limiter::new(failures, KEYS),
            owners: Recent::default(),
            slow: limits.slow_login,
        }))
    }

    /// Counts one login by link.
    pub fn join(&self, address: IpAddr) -> Result<(), Refusal> {
        let joined = self.lock().joins.allow(&AddressBlock::host(address), Moment::now());
        joined.map_err(|wait| Refusal::too_many(Reason::TooManyJoins, wait))
    }

    /// Takes a guess from the address's budget and from that of the whole server. Once that one is used up, addresses
    /// without a recent success have fewer and are held.
    pub fn guess(&self, address: IpAddr) -> Result<Guess, Refusal> {
        let (site, now) = (AddressBlock::site(address), Moment::now());
        let mut inner = self.lock();
        let refused = |wait| Refusal::too_many(Reason::TooManyGuesses, wait);
        inner.guesses.allow(&site, now).map_err(refused)?;
        let of_all = inner.all_guesses.allow(&(), now).is_ok();
        let is_slowed = !of_all && !inner.guessers.has(&site, now);
        if is_slowed && let Err(wait) = inner.few_guesses.allow(&site, now) {
            inner.guesses.refund(&site);
            return Err(refused(wait));
        }
        let hold = if is_slowed { inner.slow } else { Duration::ZERO };
        Ok(Guess { site, of_few: is_slowed, of_all, hold })
    }

    /// The guess was none: it is given back.
    pub fn no_guess(&self, guess: &Guess) {
        let mut inner = self.lock();
        inner.guesses.refund(&guess.site);
        if guess.of_few {
            inner.few_guesses.refund(&guess.site);
        }
        if guess.of_all {
            inner.all_guesses.refund(&());
        }
    }

    /// The password was right: the guess is given back, and the address is known for a while.
    pub fn guessed_right(&self, guess: &Guess) {
        self.no_guess(guess);
        self.lock().guessers.add(&guess.site, Moment::now());
    }

    /// Takes a failure from the budgets of the address, of the id from that address, and of the id from anywhere. Once
    /// the last is used up, addresses without a recent login as that id are held. One that has had such a login has its
    /// own budget only: what others do at the same address is not its fault.
    pub fn try_login(&self, address: IpAddr, id: &str) -> Result<Attempt, Refusal> {
        let (host, now) = (AddressBlock::host(address), Moment::now());
        let pair = (id.to_owned(), host);
        let mut inner = self.lock();
        let refused = |wait| Refusal::too_many(Reason::TooManyFailures, wait);
        inner.failures_by_pair.allow(&pair, now).map_err(refused)?;
        if inner.owners.has(&pair, now) {
            return Ok(Attempt { pair, of_address: false, of_id: false, hold: Duration::ZERO });
        }
        if let Err(wait) = inner.failures_by_address.allow(&host, now) {
            inner.failures_by_pair.refund(&pair);
            return Err(refused(wait));
        }
        let of_id = inner.failures_by_id.allow(&pair.0, now).is_ok();
        let hold = if of_id { Duration::ZERO } else { inner.slow };
        Ok(Attempt { pair, of_address: true, of_id, hold })
    }

    /// It failed for no fault of the caller's: what was taken is given back.
    pub fn no_failure(&self, attempt: &Attempt) {
        let mut inner = self.lock();
        inner.failures_by_pair.refund(&attempt.pair);
        if attempt.of_address {
            inner.failures_by_address.refund(&attempt.pair.1);
        }
        if attempt.of_id {
            inner.failures_by_id.refund(&attempt.pair.0);
        }
    }

    /// The login was right: what was taken is given back, and the id is known from there for a while.
    pub fn logged_in(&self, attempt: &Attempt) {
        self.no_failure(attempt);
        self.lock().owners.add(&attempt.pair, Moment::now());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        sync::lock(&self.0)
    }
}

/// When each key last had a success; at most [`KEYS`] of them.
struct Recent<K>(HashMap<K, Moment>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Recent<K> {
    fn has(&self, key: &K, now: Moment) -> bool {
        self.0.get(key).is_some_and(|at| *at + RECENT > now)
    }

    fn add(&mut self, key: &K, now: Moment) {
        if self.0.len() >= KEYS {
            self.0.retain(|_, at| *at + RECENT > now);
        }
        if self.0.len() < KEYS {
            self.0.insert(key.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0A00_0000 + n * 256).into()
    }

    fn limits() -> Limits {
        Limits::new(&config::Limits::default())
    }

    #[test]
    fn an_id_that_is_tried_from_everywhere_is_slowed_and_never_locked() {
        let limits = limits();
        for n in 0..1000 {
            for _ in 0..10 {
                assert!(limits.try_login(address(n), "admin").is_ok());
            }
            assert!(limits.try_login(address(n), "admin").is_err(), "ten from one address");
        }
        let owner = limits.try_login(address(5000), "admin").unwrap();
        assert_eq!(owner.hold, Duration::from_secs(2));
        limits.logged_in(&owner);
        let again = limits.try_login(address(5000), "admin").unwrap();
        assert_eq!(again.hold, Duration::ZERO, "known there by now");
        assert_eq!(limits.try_login(address(6000), "other").unwrap().hold, Duration::ZERO);
    }

    #[test]
    fn former_login_from_an_address_is_not_locked_by_others_there() {
        let limits = limits();
        limits.logged_in(&limits.try_login(address(1), "owner").unwrap());
        for n in 0..10 {
            assert!(limits.try_login(address(1), &format!("nobody{n}")).is_ok());
        }
        assert!(limits.try_login(address(1), "nobody").is_err());
        assert!(limits.try_login(address(1), "owner").is_ok());
    }

    #[test]
    fn attempts_that_are_no_failures_cost_nothing() {
        let limits = limits();
        for _ in 0..100 {
            limits.no_failure(&limits.try_login(address(1), "u").unwrap());
            limits.no_guess(&limits.guess(address(1)).unwrap());
        }
    }

    #[test]
    fn guesses_from_everywhere_slow_newcomers_and_lock_nobody() {
        let limits = limits();
        let known = limits.guess(address(9999)).unwrap();
        limits.guessed_right(&known);
        for n in 0..1000 {
            while limits.guess(address(n)).is_ok() {}
        }
        assert_eq!(limits.guess(address(5000)).unwrap().hold, Duration::from_secs(2));
        assert_eq!(limits.guess(address(9999)).unwrap().hold, Duration::ZERO);
        let newcomer = (0..20).take_while(|_| limits.guess(address(6000)).is_ok()).count();
        assert_eq!(newcomer, 5, "fewer than usual");
    }

    #[test]
    fn attempt_that_was_not_counted_is_not_given_back() {
        let limits = limits();
        let known = limits.guess(address(9999)).unwrap();
        limits.guessed_right(&known);
        for n in 0..31 {
            while limits.guess(address(n)).is_ok() {}
        }
        for _ in 0..100 {
            limits.guessed_right(&limits.guess(address(9999)).unwrap());
        }
        assert_eq!(limits.guess(address(5000)).unwrap().hold, Duration::from_secs(2));
    }
}
