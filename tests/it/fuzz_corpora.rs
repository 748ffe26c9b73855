//! The corpora of the fuzz targets, replayed: what once failed stays mended. And changed at random for a while, since the
//! coverage-guided fuzzer is no part of the tests.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::support::fuzz::{changes, fuzz, mutated};

#[path = "../../fuzz/targets.rs"]
mod targets;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// A target's kept inputs, by the files' names.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a corpus is readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has inputs");
    let read = |path: PathBuf| (path.clone(), std::fs::read(&path).expect("a corpus is readable"));
    paths.into_iter().map(read).collect()
}

#[test]
fn every_kept_input_of_a_fuzz_target_holds() {
    for (name, target) in targets::ALL {
        for (path, input) in inputs(name) {
            println!("{}", path.display());
            target(&input);
        }
    }
}

/// Two kept inputs, the beginning of one before the end of the other, with some changes.
fn spoiled(target: &str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = inputs(target).into_iter().map(|(_, input)| input).collect();
    let one = proptest::sample::select(seeds);
    (one.clone(), one, any::<u16>(), any::<bool>(), changes()).prop_map(|(first, second, at, joined, changes)| {
        let at = |of: &[u8]| of.len() * usize::from(at) / 65_536;
        let whole = if joined { [&first[..at(&first)], &second[at(&second)..]].concat() } else { first };
        mutated(&whole, &changes)
    })
}

fn holds_for_spoiled_inputs(name: &str) {
    let (_, target) = targets::ALL.into_iter().find(|(target, _)| *target == name).expect("a target's name");
    fuzz(&folder(name), &spoiled(name), Clone::clone, |input| target(&input));
}

#[test]
fn xml_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("xml");
}

#[test]
fn stream_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("stream");
}

#[test]
fn sdp_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("sdp");
}

#[test]
fn envelope_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("envelope");
}

#[test]
fn link_code_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("link_code");
}

#[test]
fn datagrams_holds_for_spoiled_inputs() {
    holds_for_spoiled_inputs("datagrams");
}
