//! TCP connections for media are bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Blocks of addresses without a connection whose rate is remembered.
const BLOCKS: usize = 4_096;

/// The period of a rate.
const MINUTE: Duration = Duration::from_secs(60);

/// How many connections there are, in all and of each block of addresses, and how fast each block opens them; shared by
/// the acceptor and the connections' ends.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    max: usize,
    /// One connection's part of a minute.
    price: Duration,
    blocks: Arc<Mutex<HashMap<IpAddr, Block>>>,
}

/// The use of a block of addresses.
#[derive(Debug)]
pub(crate) struct Block {
    open: usize,
    /// Until when its rate is used up.
    spent: Instant,
}

/// Held as long as the connection.
#[derive(Debug)]
pub(crate) struct Slot {
    of: IpAddr,
    slots: Slots,
}

/// The reason why a connection isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotRefused {
    Limit,
    Rate,
}

/// The addresses that one client has for nothing: an IPv4 address, an IPv6 /64.
fn block_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
    }
}

impl Slots {
    pub(crate) fn new(max: usize, connects_per_minute: u32) -> Slots {
        Slots { max, price: MINUTE / connects_per_minute.max(1), blocks: Arc::default() }
    }

    pub(crate) fn take(&self, of: IpAddr, now: Instant) -> Result<Slot, SlotRefused> {
        let of = block_of(of);
        let mut blocks = lock(&self.blocks);
        if blocks.len() >= self.max + BLOCKS {
            blocks.retain(|_, block| block.open > 0);
        }
        let all: usize = blocks.values().map(|block| block.open).sum();
        let block = blocks.entry(of).or_insert(Block { open: 0, spent: now });
        if all >= self.max || block.open >= self.max.div_ceil(4) {
            return Err(SlotRefused::Limit);
        }
        let spent = block.spent.max(now) + self.price;
        if spent > now + MINUTE {
            return Err(SlotRefused::Rate);
        }
        (block.open, block.spent) = (block.open + 1, spent);
        Ok(Slot { of, slots: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut blocks = lock(&self.slots.blocks);
        if let Some(block) = blocks.get_mut(&self.of) {
            block.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_block_has_a_quarter_of_the_connections_whatever_address_of_its_it_comes_from() {
        let (slots, now) = (Slots::new(8, 1_000), Instant::now());
        let _held: Vec<Slot> = ["2001:db8::1", "2001:db8::2"].map(|of| slots.take(ip(of), now).unwrap()).into();
        assert_eq!(slots.take(ip("2001:db8::ffff:3"), now).err(), Some(SlotRefused::Limit));
        assert!(slots.take(ip("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_block_opens_so_many_connections_in_a_minute_and_no_other_block_pays_for_it() {
        let (slots, now) = (Slots::new(8, 60), Instant::now());
        for _ in 0..60 {
            slots.take(ip("192.0.2.1"), now).unwrap();
        }
        assert_eq!(slots.take(ip("192.0.2.1"), now).err(), Some(SlotRefused::Rate));
        assert!(slots.take(ip("192.0.2.2"), now).is_ok());
        assert!(slots.take(ip("192.0.2.1"), now + Duration::from_secs(1)).is_ok());
        assert_eq!(slots.take(ip("192.0.2.1"), now + Duration::from_secs(1)).err(), Some(SlotRefused::Rate));
    }

    #[test]
    fn the_number_of_blocks_that_are_remembered_is_bounded() {
        let (slots, now) = (Slots::new(4, 60), Instant::now());
        for n in 0..3 * BLOCKS as u32 {
            let _ = slots.take(IpAddr::V4((0x0a00_0000 + n).into()), now);
        }
        assert!(slots.blocks.lock().unwrap().len() <= 4 + BLOCKS);
    }
}
