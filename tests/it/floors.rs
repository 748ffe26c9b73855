//! Imports point one way: down. Read from the sources' `crate::` paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each module and its floor; within a floor a module may use those listed before it.
const FLOORS: [&[&str]; 5] = [
    &[
        "clock", "ids", "names", "password", "trace", "refusal", "event", "address", "limiter", "budget", "account",
        "patient", "stall", "token", "bearer", "body", "outbox", "socket", "pump", "control", "trust", "dial",
        "config", "schema", "log", "print",
    ],
    &["store", "eim", "callgw", "media"],
    &["conference", "entry", "sockets", "placement"],
    &["admin", "rpc", "wss", "signal", "page"],
    &["http", "lifecycle", "demo", "app", "check", "cli", "main"],
];

/// Wires know each other not at all.
const WIRES: usize = 1;

fn rank(module: &str) -> (usize, usize) {
    let place = |floor: usize| FLOORS[floor].iter().position(|m| *m == module).map(|at| (floor, at));
    (0..FLOORS.len()).find_map(place).unwrap_or_else(|| panic!("src/{module} stands on no floor"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names as `crate::module`, tests at its end left out.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

/// Where the difference of two dates is meant, and why.
const DATES_APART: [&str; 4] = [
    // How long until a date, to sleep that long and then to look again.
    "wss",
    // Ends that other nodes have written since about the last look, by their dates.
    "app/tasks",
    // A certificate's first date.
    "http/tls",
    "clock",
];

/// How long something lasts or has lasted is `clock::Moment`'s to say: the wall clock may be set in between.
#[test]
fn durations_are_no_differences_of_dates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let reads_date = |text: &str| ["date_ms()", "now_ms()"].iter().any(|read| text.contains(read));
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for file in files {
        let path = file.strip_prefix(&root).expect("it is below").to_string_lossy().replace(".rs", "");
        let text = std::fs::read_to_string(&file).expect("a source is text");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        if !reads_date(code) || DATES_APART.contains(&path.as_str()) {
            continue;
        }
        looked_at += 1;
        let differs = |line: &&str| {
            let is_comment = line.trim_start().starts_with("//");
            let named = ["now", "date", "date_ms()", "now_ms()"]
                .iter()
                .any(|name| line.contains(&format!("{name}.saturating_sub(")) || line.contains(&format!("{name} - ")));
            !is_comment && (named || line.contains("saturating_sub(now") || line.contains("saturating_sub(date"))
        };
        wrong.extend(code.lines().filter(differs).map(|line| format!("{path}: {}", line.trim())));
    }
    assert!(looked_at > 10, "the files that read the date are found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("it is below").to_string_lossy().replace(".rs", "");
        let module = path.split('/').next().unwrap_or_default().to_owned();
        let is_test = path.split('/').any(|part| part.ends_with("tests") || part == "histories");
        if module == "lib" || is_test {
            continue;
        }
        let own = rank(&module);
        for other in used(&std::fs::read_to_string(&file).expect("a source is text")) {
            let theirs = rank(&other);
            let sideways = own.0 == theirs.0 && own.0 == WIRES;
            if other != module && (theirs > own || sideways) {
                wrong.push(format!("{path} uses {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
