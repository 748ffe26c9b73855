//! `deny.toml`, held to without the tool that it is for: which licences dependencies have, where they come from, and
//! which crates there must not be.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What `cargo metadata` says of every package that a build for this machine takes.
fn packages() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let asked = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform];
    let told = Command::new(env!("CARGO")).args(asked).current_dir(root).output().expect("cargo runs");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let mut told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    serde_json::from_value(told["packages"].take()).expect("a list")
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(path).expect("deny.toml is there").parse().expect("it is TOML")
}

fn texts(list: &toml::Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|value| value.as_str().expect("a text")).collect()
}

/// Whether an SPDX expression can be met with those licences. `/` is how older crates write `OR`.
fn is_met(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = all_of(words, allowed);
    while let [first, rest @ ..] = words
        && *first == "OR"
    {
        *words = rest;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &[&str]) -> bool {
    let mut met = licence(words, allowed);
    while let [first, rest @ ..] = words
        && *first == "AND"
    {
        *words = rest;
        met &= licence(words, allowed);
    }
    met
}

fn licence(words: &mut &[&str], allowed: &[&str]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    *words = rest;
    if *first == "(" {
        let met = any_of(words, allowed);
        *words = words.get(1..).unwrap_or_default();
        return met;
    }
    if let [with, _exception, rest @ ..] = words
        && *with == "WITH"
    {
        // A licence with an exception is another licence.
        *words = rest;
        return false;
    }
    allowed.contains(first)
}

#[test]
fn dependencies_are_of_allowed_licences_and_sources() {
    let (packages, rules) = (packages(), rules());
    let allowed = texts(&rules["licenses"]["allow"]);
    let dependencies: Vec<_> = packages.iter().filter(|package| !package["source"].is_null()).collect();
    assert!(dependencies.len() > 100, "the dependencies are found");
    assert_eq!(packages.len() - dependencies.len(), 2, "our own two");
    let mut wrong = Vec::new();
    for package in &dependencies {
        let text = |member: &str| package[member].as_str().unwrap_or("none");
        if !is_met(text("license"), &allowed) {
            wrong.push(format!("{}: licence {}", text("name"), text("license")));
        }
        // Anything but a registry: a repository or a folder. There is one registry, the first package's.
        if !text("source").starts_with("registry+") || package["source"] != dependencies[0]["source"] {
            wrong.push(format!("{}: from {}", text("name"), text("source")));
        }
    }
    let banned = rules["bans"]["deny"].as_array().expect("a list").iter().filter_map(|rule| rule["crate"].as_str());
    wrong.extend(banned.filter(|name| packages.iter().any(|package| package["name"] == *name)).map(str::to_owned));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let allowed = ["MIT", "ISC"];
    for met in
        ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND ISC", "X WITH Y OR MIT", "ISC AND (A OR MIT)"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["", "none", "GPL-3.0", "MIT AND GPL-3.0", "MIT WITH Y", "MIT AND (A OR B)", "MIT ISC"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn readme_names_the_rust_version_that_is_needed() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there");
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let version = manifest["package"]["rust-version"].as_str().expect("a text");
    assert!(read("README.md").contains(&format!("needs Rust {version} or newer")));
}
