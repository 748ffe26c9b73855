//! How many requests one address block may ask for, or connections it may open: one budget for everything that counts in
//! it.

use std::net::IpAddr;
use std::sync::Mutex;

use crate::clock::Moment;
use crate::rate_limit::address::AddressBlock;
use crate::rate_limit::limiter::{Limiter, Rate};
use crate::sync;

/// Most address blocks whose budgets are remembered.
const BLOCKS: usize = 65_536;

/// `limits.requests_per_minute`, where an entry of a batch is one request; `limits.connects_per_minute`.
pub struct Budget(Mutex<Limiter<AddressBlock>>);

impl Budget {
    /// So many uses a minute of each address block.
    pub fn per_minute(uses: u32) -> Self {
        Self(Mutex::new(Limiter::new(Rate::per_minute(uses), BLOCKS)))
    }

    /// Counts one use. `Err` is how many ms the address must wait; then nothing was counted.
    pub fn take(&self, address: IpAddr) -> Result<(), u64> {
        let mut limiter = sync::lock(&self.0);
        limiter.allow(&AddressBlock::host(address), Moment::now())
    }
}
