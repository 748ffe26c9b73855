//! Two gateway nodes that number one conference of an EIM without numbers, in one thread: with lost, late and doubled
//! events of the EIM's, cuts of their links, failed writes, crashes, pauses, takeovers, and an EIM that goes back to an
//! earlier state. Everything that happens follows from one seed.
//!
//! The pure cores are the product's own: `conference::core`, `conference::numbering`, `owner::places`, the link's frames.
//! The glue of `owner/{mod,task,peer,serve}.rs`, of `failover.rs` and of `store/numberings.rs` is imitated.
//!
//! Each frame that a client gets is compared with what the store has kept: no gap, no repeat, no number twice. After the
//! last fault one node is the owner, its roster is the EIM's, and each client that is in shows it.
//!
//! `CONFGATE_SIMULATION_SEED=n` runs that one alone, `CONFGATE_SIMULATION_SEEDS=n` so many.

mod actor;
mod client;
mod eim;
mod faults;
mod gateway;
mod link;
mod requests;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Tally, World};

const SEEDS: u64 = 500;

#[test]
fn clients_of_two_gateways_that_number_show_the_eims_roster_after_any_faults() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("CONFGATE_SIMULATION_SEED");
    let count = number("CONFGATE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let mut tally = Tally::default();
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new(seed, one.is_some()).run()));
        let Ok(found) = outcome else { panic!("seed {seed} fails") };
        tally = tally.plus(found);
    }
    println!("{tally:?}");
    if one.is_none() {
        tally.check(count);
    }
}
