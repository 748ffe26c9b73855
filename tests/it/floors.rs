//! The law of the sources: modules import downwards, files never in a circle, and crates stay where they belong. Read
//! from the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use confgate::refusal::Reason;

/// Each module and its floor, from the ground up; within a floor a module may use those listed before it.
const FLOORS: [&[&str]; 5] = [
    &[
        "sync",
        "clock",
        "ids",
        "health",
        "precis",
        "refusal",
        "event",
        "rate_limit",
        "token",
        "config",
        "tls_client",
        "schema",
        "node_protocol",
        "http",
        "xmpp",
    ],
    &["store", "eim", "builtin_eim", "callgw", "media"],
    &["conference", "auth", "placement"],
    &["admin", "rpc", "signaling"],
    &["app", "cli", "main"],
];

/// Wires know each other not at all.
const WIRES: usize = 1;

/// Crates that neither the ground's plain modules nor a pure core use: a runtime, a socket, a server, a database.
const SHELL_CRATES: [&str; 6] = ["axum", "tokio", "hyper", "sqlx", "rustls", "tungstenite"];

/// The ground's modules that are plain values and functions, and the rooms' pure cores.
const PURE: [&str; 25] = [
    "src/clock/",
    "src/sync.rs",
    "src/ids.rs",
    "src/health.rs",
    "src/precis/",
    "src/event/",
    "src/rate_limit/limiter.rs",
    "src/token/",
    "src/config/",
    "src/schema/",
    "src/node_protocol.rs",
    "src/xmpp/xml/",
    "src/xmpp/jid.rs",
    "src/xmpp/stream/splitter.rs",
    "src/eim/convert/",
    "src/eim/inbound/",
    "src/builtin_eim/",
    "src/conference/core",
    "src/conference/log.rs",
    "src/conference/numbering/",
    "src/placement/core.rs",
    "src/callgw/choice",
    "src/media/group/",
    "src/media/one_to_one/",
    "sfu/src/worker/",
];

/// Below a pure folder, and no part of the core.
const SHELLS: [&str; 2] = ["src/builtin_eim/runtime/", "src/clock/stall.rs"];

/// Most entries of `src/`: a newcomer reads them aloud and has described the product.
const ENTRIES_MAX: usize = 30;

/// Most lines of a function, comments not counted: what is longer does several things.
const FUNCTION_LINES_MAX: usize = 60;

/// Where the difference of two dates is meant, and why.
const DATES_APART: [&str; 4] = [
    // How long until a date, to sleep that long and then to look again.
    "src/rpc/event_socket/token_watch.rs",
    // Ends that other nodes have written since about the last look, by their dates.
    "src/app/tasks.rs",
    // A certificate's first date.
    "src/http/tls.rs",
    "src/clock/mod.rs",
];

/// Names whose meaning only their inventor knew. No type, module, function or constant is called so again: `docs/style.md`.
const GUESSED_NAMES: &str = "\
    Answers Ask asked attendance bar Barred Bars big book BREATH Census census complained converse cuts Deny dress \
    ear ears Entrance Exchange faces feeds Fuse give_way given GOODBYE greet Happening hear Heard heard heed house \
    Household hurry hush judge Keeping knock LAST_WORDS mend meter News now_ms Nowhere orders Outlet over Own Parcel \
    Patience Peer Permit Place pullers Reach Rewoken Rights Said said say settle Shown speak Standing straight \
    Strays Surroundings switchboard take_in tell Told told Unplaced unsigned Verdict vouch Way Written wss";

/// Verbs of talking that no item, field, variable or parameter is called: they hide what a value is. Nor does a name
/// begin with one (`told_subscribe`).
const TALK: [&str; 12] =
    ["ask", "ear", "ears", "greet", "hush", "said", "say", "says", "tell", "tells", "told", "vouched"];

/// A source file and its code: without comments, and without the tests at its end.
struct Source {
    /// From the repository's root.
    path: String,
    /// `["media", "group", "room"]` for `src/media/group/room.rs`; a folder's own file bears the folder's name.
    module: Vec<String>,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The sources below a folder, tests left out.
fn sources(folder: &str) -> Vec<Source> {
    let base = root().join(folder);
    let mut found = Vec::new();
    files(&base, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let below = path.strip_prefix(&base).expect("it is below").with_extension("");
        let mut module: Vec<_> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.iter().any(|part| part.ends_with("tests") || part.ends_with("histories") || part == "simulation") {
            return None;
        }
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let text = fs::read_to_string(&path).expect("a source is text");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let path = path.strip_prefix(root()).expect("it is below").to_string_lossy().into_owned();
        Some(Source { path, module, code })
    };
    found.into_iter().filter_map(read).collect()
}

/// Every path of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expanded(&format!("{}{part}", head.trim_start()))).collect()
}

/// The paths that a text names from `crate`, `super` or `self`.
fn named(code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let tree = statement.rsplit_once("use ").map(|(_, tree)| tree).filter(|tree| !tree.contains('('));
        if let Some(tree) = tree.filter(|tree| tree.contains('{')) {
            paths.extend(expanded(tree));
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in statement.match_indices(start) {
                let is_whole = !statement[..at].ends_with(|c: char| is_name(c) || c == ':');
                let text: String = statement[at..].chars().take_while(|c| is_name(*c) || *c == ':').collect();
                if is_whole {
                    paths.push(text.trim_end_matches(':').to_owned());
                }
            }
        }
    }
    paths.iter().map(|path| path.split("::").map(str::to_owned).collect()).collect()
}

/// A path of names from the crate's root. `None` for another crate's.
fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
        _ => None,
    }
}

/// For each module that hands names of its children on: name -> child.
fn handed_on(sources: &[Source]) -> BTreeMap<(Vec<String>, String), String> {
    let mut all = BTreeMap::new();
    for source in sources {
        for statement in source.code.split(';') {
            let Some((before, tree)) = statement.rsplit_once("use ") else { continue };
            let is_public = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            for path in expanded(tree).iter().filter(|_| is_public) {
                let parts: Vec<_> = path.trim_start_matches("self::").split("::").collect();
                if let [child, .., name] = parts[..] {
                    all.insert((source.module.clone(), name.to_owned()), child.to_owned());
                }
            }
        }
    }
    all
}

/// For each folder: which of its children uses which other one, and by which file.
type Uses = BTreeMap<Vec<String>, BTreeMap<(String, String), String>>;

fn uses(sources: &[Source]) -> Uses {
    let modules: BTreeSet<_> = sources.iter().map(|source| source.module.clone()).collect();
    let handed_on = handed_on(sources);
    let mut all = Uses::new();
    for source in sources {
        for path in named(&source.code).iter().filter_map(|path| absolute(path, &source.module)) {
            let known = (0..=path.len()).rev().find(|end| modules.contains(&path[..*end])).unwrap_or(0);
            let mut target = path[..known].to_vec();
            let child = path.get(known).and_then(|name| handed_on.get(&(target.clone(), name.clone())));
            target.extend(child.cloned());
            let shared = source.module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (source.module.get(shared), target.get(shared)) {
                let folder = source.module[..shared].to_vec();
                let arrow = (from.clone(), to.clone());
                all.entry(folder).or_default().entry(arrow).or_insert_with(|| source.path.clone());
            }
        }
    }
    all
}

/// Whether `to` leads back to `from`.
fn leads(arrows: &BTreeMap<(String, String), String>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(at) = next.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            next.extend(arrows.keys().filter(|(start, _)| start == at).map(|(_, end)| end.as_str()));
        }
    }
    false
}

fn rank(module: &str) -> (usize, usize) {
    let place = |floor: usize| FLOORS[floor].iter().position(|m| *m == module).map(|at| (floor, at));
    (0..FLOORS.len()).find_map(place).unwrap_or_else(|| panic!("src/{module} stands on no floor"))
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !source.module.is_empty()) {
        let (module, own) = (&source.module[0], rank(&source.module[0]));
        let named = named(&source.code);
        let others = named.iter().filter_map(|path| absolute(path, &source.module));
        for other in others.filter_map(|path| path.first().cloned()).filter(|other| other != module) {
            let theirs = rank(&other);
            if theirs > own || (theirs.0 == own.0 && own.0 == WIRES) {
                wrong.push(format!("{} uses {other}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for folder in ["src", "sfu/src"] {
        for (place, arrows) in uses(&sources(folder)).iter().filter(|(place, _)| folder != "src" || !place.is_empty()) {
            for ((from, to), file) in arrows {
                if leads(arrows, to, from) {
                    wrong.push(format!("{folder}/{}: {from} -> {to} ({file})", place.join("/")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_modules_use_no_runtime_no_socket_and_no_database() {
    let all: Vec<_> = ["src", "sfu/src"].into_iter().flat_map(sources).collect();
    let mut wrong = Vec::new();
    for pure in PURE {
        let of = |source: &&Source| source.path.starts_with(pure) && !SHELLS.iter().any(|s| source.path.starts_with(s));
        let files: Vec<_> = all.iter().filter(of).collect();
        assert!(!files.is_empty(), "{pure} is no source");
        for (file, name) in files.iter().flat_map(|file| SHELL_CRATES.map(|name| (file, name))) {
            let uses = |at: usize| !file.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if file.code.match_indices(&format!("{name}::")).any(|(at, _)| uses(at)) {
                wrong.push(format!("{} uses {name}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each function's first line and its number of lines, as rustfmt sets them.
fn functions(code: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let begins = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "fn").collect();
        let is_qualifier = |word: &&str| word.starts_with("pub") || ["async", "const", "unsafe"].contains(word);
        line.contains("fn ") && words.iter().all(is_qualifier)
    };
    let all = lines.iter().enumerate().filter(|(_, line)| begins(line));
    let length = |at: usize| {
        let end = format!("{}}}", lines[at].split(|c: char| !c.is_whitespace()).next().unwrap_or_default());
        lines[at..].iter().position(|line| **line == *end).map_or(1, |lines| lines + 1)
    };
    all.filter(|(_, line)| !line.ends_with(';') && !line.ends_with('}')).map(|(at, line)| (*line, length(at))).collect()
}

#[test]
fn functions_are_short() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in ["src", "sfu/src"].into_iter().flat_map(sources) {
        let all = functions(&source.code);
        seen += all.len();
        let long = all.iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX);
        wrong.extend(long.map(|(first, lines)| format!("{}: {lines} lines: {}", source.path, first.trim())));
    }
    assert!(seen > 1000, "the functions are found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn src_has_few_entries_and_each_is_named_in_the_documentation() {
    let entries = fs::read_dir(root().join("src")).expect("the sources are there").count();
    assert!(entries <= ENTRIES_MAX, "src/ has {entries} entries");
    for page in ["src/lib.rs", "docs/architecture.md"] {
        let text = fs::read_to_string(root().join(page)).expect("the page is there");
        for (floor, modules) in FLOORS.iter().enumerate() {
            let row = |line: &&str| line.trim_start_matches("//!").trim().starts_with(&format!("| {floor} "));
            let row = text.lines().find(row).unwrap_or_else(|| panic!("{page} has no row of floor {floor}"));
            for module in modules.iter().filter(|module| **module != "main") {
                assert!(row.contains(&format!("`{module}`")), "{page}: floor {floor} lacks {module}");
            }
        }
    }
}

#[test]
fn durations_are_no_differences_of_dates() {
    let reads_date = |text: &str| text.contains("date_ms()");
    let differs = |line: &&str| {
        let names = ["now", "date", "date_ms()"];
        let from_date =
            |name: &&str| line.contains(&format!("{name}.saturating_sub(")) || line.contains(&format!("{name} - "));
        names.iter().any(from_date) || line.contains("saturating_sub(now") || line.contains("saturating_sub(date")
    };
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for source in sources("src").iter().filter(|source| reads_date(&source.code)) {
        if !DATES_APART.contains(&source.path.as_str()) {
            looked_at += 1;
            wrong.extend(source.code.lines().filter(differs).map(|line| format!("{}: {}", source.path, line.trim())));
        }
    }
    assert!(looked_at > 10, "the files that read the date are found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A refusal is compared by its reason or its kind, and made from its reason.
#[test]
fn keys_and_codes_of_refusals_are_written_in_their_tables_only() {
    let keys: Vec<String> = Reason::ALL.iter().map(|reason| format!("\"{}\"", reason.key())).collect();
    let mut wrong = Vec::new();
    // Types of events have names of the same form.
    let elsewhere = |source: &&Source| !["src/refusal/", "src/event/"].iter().any(|own| source.path.starts_with(own));
    for source in sources("src").iter().filter(elsewhere) {
        let found = keys.iter().map(String::as_str).chain(["-320", "-326", "-327"]);
        wrong.extend(found.filter(|text| source.code.contains(text)).map(|text| format!("{}: {text}", source.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every path that the text names in backticks: of a file, or of a module.
fn named_in(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.starts_with("src/") || name.contains("::") && !name.contains(char::is_uppercase))
}

#[test]
fn every_path_on_the_architecture_page_exists() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the page is there");
    let mut missing = Vec::new();
    for name in named_in(&text) {
        let paths = if name.starts_with("src/") { vec![name.to_owned()] } else { expanded(name) };
        for path in paths.iter().map(|path| path.replace("::", "/")) {
            let below = if path.starts_with("src/") { path } else { format!("src/{path}") };
            if ![below.clone(), format!("{below}.rs")].iter().any(|path| root().join(path).exists()) {
                missing.push(below);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Code without its string literals.
fn without_strings(code: &str) -> String {
    let (mut kept, mut within, mut escaped) = (String::new(), false, false);
    let mut before = ' ';
    for c in code.chars() {
        match c {
            '"' if !escaped && (within || !['\'', '\\'].contains(&before)) => within = !within,
            _ if !within => kept.push(c),
            _ => {}
        }
        escaped = within && c == '\\' && !escaped;
        before = c;
    }
    kept
}

#[test]
fn no_value_is_named_by_a_verb_of_talking() {
    let mut named = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("sfu/src")) {
        let code = without_strings(&source.code);
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let wrong = words.filter(|word| {
            let first = word.split('_').next().unwrap_or_default();
            TALK.contains(word) || ["said", "tell", "told"].contains(&first)
        });
        named.extend(wrong.map(|word| format!("{}: {word}", source.path)));
    }
    assert!(named.is_empty(), "{named:#?}");
}

#[test]
fn no_item_has_a_name_that_must_be_guessed() {
    const ITEMS: [&str; 8] = ["struct", "enum", "trait", "type", "mod", "fn", "const", "static"];
    let names: BTreeSet<&str> = GUESSED_NAMES.split_whitespace().collect();
    let mut guessed = Vec::new();
    for source in sources("src").iter().chain(&sources("sfu/src")) {
        let words: Vec<&str> = source.code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let items = words.iter().zip(words.iter().skip(1)).filter(|(kind, _)| ITEMS.contains(kind));
        let wrong = items.filter(|(_, name)| names.contains(*name));
        guessed.extend(wrong.map(|(kind, name)| format!("{}: {kind} {name}", source.path)));
    }
    assert!(guessed.is_empty(), "{guessed:#?}");
}
