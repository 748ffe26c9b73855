//! How often somebody may try: joins, guesses at passwords, failed logins.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::address::AddressBlock;
use crate::clock::Moment;
use crate::config;
use crate::limiter::{Limiter, Rate};
use crate::refusal::Refusal;

/// Most addresses that each limiter remembers.
const ADDRESSES: usize = 65_536;
/// How long a success counts as recent.
const RECENT: Duration = Duration::from_secs(3600);

/// One lock for all: each is held for the time of a look-up in a map.
pub struct Limits(Mutex<Inner>);

struct Inner {
    joins: Limiter<AddressBlock>,
    guesses: Limiter<AddressBlock>,
    all_guesses: Limiter<()>,
    failures_by_address: Limiter<AddressBlock>,
    failures_by_id: Limiter<String>,
    /// When an address last came in with a right password.
    successes: HashMap<AddressBlock, Moment>,
}

impl Limits {
    pub fn new(limits: &config::Limits) -> Self {
        let guesses = Rate::per_minute(limits.guesses_per_minute);
        let failures = Rate::per_minute(limits.login_failures_per_minute);
        Self(Mutex::new(Inner {
            joins: Limiter::new(Rate::per_minute(limits.joins_per_minute), ADDRESSES),
            guesses: Limiter::new(guesses, ADDRESSES),
            all_guesses: Limiter::new(Rate::per_minute(limits.guesses_total_per_minute), 1),
            failures_by_address: Limiter::new(failures, ADDRESSES),
            failures_by_id: Limiter::new(failures, ADDRESSES),
            successes: HashMap::new(),
        }))
    }

    /// Counts one login by link.
    pub fn join(&self, address: IpAddr) -> Result<(), Refusal> {
        let joined = self.lock().joins.allow(&AddressBlock::host(address), Moment::now());
        joined.map_err(|wait| Refusal::too_many("entry.tooManyJoins", wait))
    }

    /// Takes one guess from the address's budget before the look-up, so that guesses at the same time can't slip
    /// past; [`Limits::guessed_right`] gives it back. `Err`: wait so many ms.
    pub fn guess(&self, address: IpAddr) -> Result<(), u64> {
        let (site, now) = (AddressBlock::site(address), Moment::now());
        let mut inner = self.lock();
        inner.guesses.allow(&site, now)?;
        let known = inner.successes.get(&site).is_some_and(|at| *at + RECENT > now);
        match inner.all_guesses.allow(&(), now) {
            Err(wait) if !known => {
                inner.guesses.refund(&site);
                Err(wait)
            }
            _ => Ok(()),
        }
    }

    /// The guess was none: it is given back, and the address is known for a while.
    pub fn guessed_right(&self, address: IpAddr) {
        let (site, now) = (AddressBlock::site(address), Moment::now());
        let mut inner = self.lock();
        inner.guesses.refund(&site);
        inner.all_guesses.refund(&());
        if inner.successes.len() >= ADDRESSES {
            inner.successes.retain(|_, at| *at + RECENT > now);
        }
        if inner.successes.len() < ADDRESSES {
            inner.successes.insert(site, now);
        }
    }

    /// Takes one failure from the address's and the id's budgets before the login is tried.
    pub fn try_login(&self, address: IpAddr, id: &str) -> Result<(), Refusal> {
        let (host, now) = (AddressBlock::host(address), Moment::now());
        let mut inner = self.lock();
        let refused = |wait| Refusal::too_many("auth.tooManyFailures", wait);
        inner.failures_by_address.allow(&host, now).map_err(refused)?;
        if let Err(wait) = inner.failures_by_id.allow(&id.to_owned(), now) {
            inner.failures_by_address.refund(&host);
            return Err(refused(wait));
        }
        Ok(())
    }

    /// Whether the address and the id have failures left; takes none.
    pub fn may_login(&self, address: IpAddr, id: &str) -> Result<(), Refusal> {
        self.try_login(address, id)?;
        self.login_was_no_failure(address, id);
        Ok(())
    }

    /// Takes one failure, as far as there are any left.
    pub fn login_failed(&self, address: IpAddr, id: &str) {
        // Those who tried at the same time may have taken the last one.
        let _ = self.try_login(address, id);
    }

    /// The login was right, or failed for no fault of the caller's.
    pub fn login_was_no_failure(&self, address: IpAddr, id: &str) {
        let mut inner = self.lock();
        inner.failures_by_address.refund(&AddressBlock::host(address));
        inner.failures_by_id.refund(&id.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each limiter is whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
