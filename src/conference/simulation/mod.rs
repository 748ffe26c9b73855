//! A whole installation in one thread: two gateway nodes, the EIM with its store, the broker, and clients, with cuts,
//! delays, crashes and restarts. Everything that happens follows from one seed.
//!
//! The pure cores are the product's own: `conference::core`, the built-in EIM with its outbox and its documents, and the
//! table of the broker's bindings. What is no pure core there is imitated here, and each file says what it stands for.
//!
//! After the last fault everything is given time, and then each client that is in the conference shows the EIM's
//! roster, number by number; what was acknowledged is in the store; who is gone has left, once; who is connected is in.
//!
//! That it can fail: with the comparison of an event's number left out in `Log::apply` it fails at the first seed; with
//! `Core::away_since_restart` without effect at the 32nd of a part; with a transaction in a hundred lost at the 12th; with
//! nothing bound again after a connection of the broker's at the 224th. A lost publication, a gap that isn't asked about
//! or a missing look at the roster alone is not found: each of the three is healed by another.
//!
//! A seed that fails is run again with a trace, which is printed. `CONFGATE_SIMULATION_SEED=n` runs that one alone.

mod broker;
mod client;
mod consumer;
mod eim_host;
mod history;
mod installation;
mod messages;
mod node;
mod requests;
mod schedule;

use std::panic::{AssertUnwindSafe, catch_unwind};

use installation::{Installation, Tally};

/// Histories at a gate, and with `tests/run --full`.
const SEEDS: u64 = 1000;
const LONG_SEEDS: u64 = 100_000;
/// The tests that share the seeds, so that they run in parallel.
const PARTS: u64 = 2;

fn seeds() -> u64 {
    let long = std::env::var_os("CONFGATE_TEST_LONG").is_some_and(|value| value == "1");
    let count = std::env::var("CONFGATE_SIMULATION_SEEDS").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(if long { LONG_SEEDS } else { SEEDS })
}

fn run(seed: u64) -> Tally {
    let outcome = catch_unwind(AssertUnwindSafe(|| Installation::new(seed, false).run()));
    outcome.unwrap_or_else(|_| {
        let mut traced = Installation::new(seed, true);
        let again = catch_unwind(AssertUnwindSafe(|| traced.run()));
        println!("{}", traced.trace());
        panic!("seed {seed} fails{}", if again.is_ok() { ", and did not fail when it was run again" } else { "" });
    })
}

/// One of [`PARTS`] of the seeds.
fn run_part(part: u64) {
    if let Some(seed) = std::env::var("CONFGATE_SIMULATION_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("seed {seed}: {:?}", run(seed));
        return;
    }
    let seeds = (0..seeds()).filter(|seed| seed % PARTS == part);
    let tally = seeds.map(run).fold(Tally::default(), Tally::plus);
    println!("{tally:?}");
    tally.check();
}

#[test]
fn an_installation_becomes_whole_after_any_faults_even_seeds() {
    run_part(0);
}

#[test]
fn an_installation_becomes_whole_after_any_faults_odd_seeds() {
    run_part(1);
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    let trace = |seed| {
        let mut installation = Installation::new(seed, true);
        installation.run();
        installation.trace()
    };
    for seed in 0..3 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
