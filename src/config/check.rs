//! Finding all that is wrong: each leaf is tried alone, so that one bad value hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use toml::{Table, Value};

use super::error::ConfigError;
use super::{Auth, Callgw, Config, Eim, Events, Http, Limits, Node, Range, Store, example};

/// Members without a default, by the list or table they stand in.
pub(super) const REQUIRED: [(&str, &[&str]); 5] = [
    ("auth.clients", &["id"]),
    ("auth.keys", &["id", "secret"]),
    ("eim.users", &["user_id", "name"]),
    ("callgw.nodes", &["kind"]),
    ("callgw.turn", &["urls", "secret"]),
];

/// Every integer key that isn't bounded by its type alone.
pub(super) const RANGES: [&[Range]; 8] = [
    Http::RANGES,
    Node::RANGES,
    Store::RANGES,
    Auth::RANGES,
    Eim::RANGES,
    Events::RANGES,
    Callgw::RANGES,
    Limits::RANGES,
];

/// The errors found so far, over the table as it was written.
pub(super) struct Findings<'a> {
    written: &'a Table,
    variables: &'a BTreeMap<String, String>,
    errors: Vec<ConfigError>,
    /// Elements that [`types`] took out of a list, by the list's key: the rules see the list without them.
    dropped: BTreeMap<String, BTreeSet<usize>>,
}

impl<'a> Findings<'a> {
    pub fn new(written: &'a Table, variables: &'a BTreeMap<String, String>) -> Self {
        Self { written, variables, errors: Vec::new(), dropped: BTreeMap::new() }
    }

    /// Refuses a key for what it means together with others; nothing is added for a key already refused.
    pub fn refuse(&mut self, key: &str, allowed: &str) {
        let key = self.as_written(key);
        if !self.errors.iter().any(|error| error.key == key || error.key.starts_with(&format!("{key}["))) {
            self.push(ConfigError::wrong(&key, lookup(self.written, &key), allowed));
        }
    }

    /// Refuses each element of a list whose `member` an earlier one has too.
    pub fn refuse_repeats<T: Display>(&mut self, list: &str, member: &str, ids: impl Iterator<Item = T>) {
        let mut seen = BTreeSet::new();
        for (i, id) in ids.enumerate() {
            if !seen.insert(id.to_string()) {
                self.refuse(&format!("{list}[{i}].{member}"), "a value that no other element has");
            }
        }
    }

    /// Refuses the whole, where no leaf could be blamed.
    pub fn refuse_whole(&mut self, reason: &str) {
        if self.errors.is_empty() {
            self.push(ConfigError::unknown("the configuration", &expectation(reason)));
        }
    }

    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    pub fn into_result(self) -> Result<(), Vec<ConfigError>> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }

    fn push(&mut self, mut error: ConfigError) {
        let of_key = |key: &&String| error.key == **key || is_within(&error.key, key) || is_within(key, &error.key);
        error.variable = self.variables.keys().find(of_key).map(|key| self.variables[key].clone());
        self.errors.push(error);
    }

    /// The key with its index as in the file, before elements were dropped.
    fn as_written(&self, key: &str) -> String {
        let Some((list, rest)) = key.split_once('[') else { return key.to_owned() };
        let (Some(dropped), Some((index, rest))) = (self.dropped.get(list), rest.split_once(']')) else {
            return key.to_owned();
        };
        let mut kept = (0..).filter(|i| !dropped.contains(i));
        let index: usize = index.parse().expect("rules write indices as numbers");
        let original = kept.nth(index).unwrap_or(index);
        format!("{list}[{original}]{rest}")
    }
}

/// Whether the key stands inside the other: `auth.clients[0].id` in `auth.clients`.
fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// Whether the key takes that value as it is.
pub(super) fn takes(section: &str, key: &str, value: &Value) -> bool {
    matches!(probe(in_table(section, in_table(key, value.clone()))), Probe::Fits)
}

/// Refuses each value that its key cannot take, and takes it out of the table, so that the rest can be checked.
pub(super) fn types(table: &mut Table, found: &mut Findings) {
    let mut blamed = Vec::new();
    for (section, value) in table.iter() {
        blame(section.clone(), value, &|value| in_table(section, value), &mut blamed);
    }
    for error in blamed {
        prune(table, &error.key, found);
        found.push(error);
    }
    for (list, dropped) in &found.dropped {
        if let Some(Value::Array(elements)) = lookup_mut(table, list) {
            let mut i = 0..;
            elements.retain(|_| i.next().is_some_and(|i| !dropped.contains(&i)));
        }
    }
}

/// Refuses each integer that is out of its range.
pub(super) fn ranges(found: &mut Findings) {
    for (key, least, most) in RANGES.into_iter().flatten() {
        let Some(value) = lookup(found.written, key).and_then(Value::as_integer) else { continue };
        // A negative one has been refused by its type.
        if u64::try_from(value).is_ok_and(|value| value < *least || value > *most) {
            found.refuse(key, &format!("{least} to {most}"));
        }
    }
}

enum Probe {
    Fits,
    /// Fits, but its element wants further members.
    Incomplete,
    Unknown(String),
    Wrong(String),
}

/// Tries a configuration in which everything else is left at its default.
fn probe(config: Value) -> Probe {
    match config.try_into::<Config>() {
        Ok(_) => Probe::Fits,
        Err(error) if error.message().starts_with("missing field") => Probe::Incomplete,
        Err(error) if error.message().starts_with("unknown field") => Probe::Unknown(expectation(error.message())),
        Err(error) => Probe::Wrong(expectation(error.message())),
    }
}

/// Finds the smallest parts of `value` that do not fit. `whole` puts a part back into an otherwise empty configuration.
fn blame(key: String, value: &Value, whole: &dyn Fn(Value) -> Value, blamed: &mut Vec<ConfigError>) {
    match probe_shell(value, whole) {
        Probe::Fits | Probe::Incomplete => {}
        Probe::Unknown(known) => return blamed.push(ConfigError::unknown(&key, &known)),
        Probe::Wrong(reason) => {
            let allowed = example::allowed(&key).unwrap_or(reason);
            return blamed.push(ConfigError::wrong(&key, Some(value), &allowed));
        }
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                blame(format!("{key}[{i}]"), item, &|item| whole(Value::Array(vec![item])), blamed);
            }
        }
        Value::Table(members) => {
            for (name, member) in members {
                blame(format!("{key}.{name}"), member, &|member| whole(in_table(name, member)), blamed);
            }
            blame_missing(&key, members, blamed);
        }
        _ => {}
    }
}

/// Tries a leaf as it is, and of a list or table only whether one may stand here.
fn probe_shell(value: &Value, whole: &dyn Fn(Value) -> Value) -> Probe {
    let table = || probe(whole(Value::Table(Table::new())));
    match value {
        Value::Table(_) => table(),
        // serde fills a struct from a list too, by position: that isn't ours.
        Value::Array(_) if matches!(table(), Probe::Fits | Probe::Incomplete) => Probe::Wrong("a table".to_owned()),
        Value::Array(_) => probe(whole(Value::Array(Vec::new()))),
        leaf => probe(whole(leaf.clone())),
    }
}

fn blame_missing(key: &str, members: &Table, blamed: &mut Vec<ConfigError>) {
    let path = example::without_indices(key);
    let required = REQUIRED.iter().find(|(holder, _)| *holder == path).map_or(&[][..], |(_, members)| members);
    for name in required.iter().filter(|name| !members.contains_key(**name)) {
        let member = format!("{key}.{name}");
        let allowed = example::allowed(&member).unwrap_or_default();
        blamed.push(ConfigError::wrong(&member, None, &allowed));
    }
}

/// Takes the blamed value out: an element of a list whole (remembered, to be dropped at the end), any other key alone.
fn prune(table: &mut Table, key: &str, found: &mut Findings) {
    if let Some((list, rest)) = key.split_once('[') {
        let index: Option<usize> = rest.split(']').next().and_then(|index| index.parse().ok());
        found.dropped.entry(list.to_owned()).or_default().extend(index);
        return;
    }
    let mut steps = key.split('.');
    let (section, name) = (steps.next().unwrap_or_default(), steps.next());
    match (name, table.get_mut(section).and_then(Value::as_table_mut)) {
        (Some(name), Some(section)) => section.remove(name),
        _ => table.remove(section),
    };
}

fn in_table(key: &str, value: Value) -> Value {
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

/// The type that serde expected, without the value that it found, which may be a secret.
fn expectation(reason: &str) -> String {
    let expected = reason.split_once("expected ").map_or("", |(_, expected)| expected);
    expected.trim_start_matches("one of ").replace('`', "")
}

/// The value at `section.key[0].member`.
fn lookup<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    let mut steps = path.split(['.', '[']);
    let first = table.get(steps.next()?)?;
    steps.try_fold(first, |value, step| match step.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(step),
    })
}

fn lookup_mut<'t>(table: &'t mut Table, path: &str) -> Option<&'t mut Value> {
    let mut steps = path.split('.');
    let first = table.get_mut(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get_mut(step))
}
