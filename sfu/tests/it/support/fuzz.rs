//! Fuzzing on stable Rust: inputs that were met in earnest, mutated for a time. An input that once failed stays in the
//! corpus and is replayed in each run.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// Seconds for each target; a run of all tests gives it one.
const TIME: &str = "CONFGATE_FUZZ_S";

/// The files of a target's corpus, as name and text, in order.
pub fn corpus(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has seeds", folder.display());
    let read = |path: &PathBuf| (path.display().to_string(), std::fs::read_to_string(path).unwrap());
    paths.iter().map(read).collect()
}

/// A small change to bytes, as a place (in 1/65536 of the length) and what is done there.
#[derive(Debug, Clone)]
pub enum Change {
    Flip(u16, u8),
    Set(u16, u8),
    Insert(u16, Vec<u8>),
    Remove(u16, u8),
    Repeat(u16, u8),
    Cut(u16),
    Grow(u16),
}

pub fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<u16>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        // The first bytes say what it is.
        2 => (0u16..2_000, any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (any::<u16>(), prop_oneof![Just(0), Just(0xff), Just(0x7f), Just(0x80), any::<u8>()])
            .prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (any::<u16>(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<u16>(), 1u8..16).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<u16>(), 1u8..64).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => any::<u16>().prop_map(Change::Cut),
        1 => (0u16..1_500).prop_map(Change::Grow),
    ]
}

/// Most changes to one input; none leaves it as it was met.
pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 0..5)
}

pub fn mutated(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let place = |at: u16| bytes.len() * usize::from(at) / 65_536;
        match change {
            Change::Flip(..) | Change::Set(..) if bytes.is_empty() => {}
            Change::Flip(at, bit) => {
                let at = place(*at);
                bytes[at] ^= 1 << bit;
            }
            Change::Set(at, byte) => {
                let at = place(*at);
                bytes[at] = *byte;
            }
            Change::Insert(at, more) => {
                let at = place(*at);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = place(*at);
                let end = (at + usize::from(*count)).min(bytes.len());
                bytes.drain(at..end);
            }
            Change::Repeat(at, count) => {
                let at = place(*at);
                let end = (at + usize::from(*count)).min(bytes.len());
                let more = bytes[at..end].to_vec();
                bytes.splice(at..at, more);
            }
            Change::Cut(at) => bytes.truncate(place(*at)),
            Change::Grow(by) => bytes.resize(bytes.len() + usize::from(*by), 0x41),
        }
    }
    bytes
}

/// Tries inputs for the target's time. One that fails is made small and written to the corpus, as what it is replayed by.
pub fn fuzz<S: Strategy, B: AsRef<[u8]>>(
    folder: &Path,
    inputs: &S,
    written: impl Fn(&S::Value) -> B,
    test: impl Fn(S::Value),
) where
    S::Value: Debug,
{
    let seconds = std::env::var(TIME).map_or(1, |text| text.parse().expect("CONFGATE_FUZZ_S is a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let config = Config { cases: 8, failure_persistence: None, max_shrink_time: 20_000, ..Config::default() };
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        // A runner counts its cases over all of its runs.
        match TestRunner::new(config.clone()).run(inputs, |input| {
            test(input);
            Ok(())
        }) {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => {
                let file = folder.join(format!("failed-{rounds}-{}", std::process::id()));
                std::fs::write(&file, written(&input)).expect("the corpus is writable");
                panic!("{reason}\nkept as {}", file.display());
            }
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
    println!("{} inputs", rounds * 8);
}
