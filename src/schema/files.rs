//! The schema's files: those built into the binary, and a directory of the integrator's over them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rust_embed::Embed;
use serde_json::{Map, Value};

use super::dialect::{self, Dialect};

/// Largest file, in bytes; the built-in ones stay below 20 KiB.
const FILE_MAX: u64 = 1024 * 1024;
/// Most files of `eim.schema_dir`.
const FILES_MAX: usize = 1000;
/// Folders of a schema that hold methods; its own level is another.
const FOLDERS: [&str; 2] = ["methods", "eim"];
/// The folder of what the EIM sends of its own accord.
const EVENTS: &str = "events";
/// The members by which such a file is known outside its folder.
const OF_EVENTS: [&str; 3] = ["x-event", "x-request", "x-reason"];

#[derive(Embed)]
#[folder = "rpc-schema/"]
struct BuiltIn;

/// One method's file.
pub(super) struct MethodFile {
    /// For messages.
    pub origin: String,
    pub value: Value,
    /// Whether the gateway itself can answer a method of that name.
    pub built_in: bool,
}

/// A file of `events/`.
pub(super) struct EventFile {
    /// For messages.
    pub origin: String,
    pub value: Value,
}

/// All files, parsed, not yet checked.
#[derive(Default)]
pub(super) struct Files {
    /// `openrpc.json`: everything but the methods.
    pub head: Value,
    pub asyncapi: Value,
    pub method_schema: Value,
    pub x_iq_schema: Value,
    pub event_schema: Value,
    pub x_event_schema: Value,
    /// By the method's name.
    pub methods: BTreeMap<String, MethodFile>,
    /// By their name.
    pub events: BTreeMap<String, EventFile>,
    /// The shapes of events and what is in them, as the gateway itself has them.
    pub vocabulary: Map<String, Value>,
}

/// The kind of a file, by its path in the layout.
enum Kind {
    Head,
    AsyncApi,
    Method,
    Event,
    /// Names and addresses in place of the built-in files'.
    Dialect,
    /// Read from the built-in schema only.
    Rules,
    /// Not for the gateway: dialogues, notes.
    Other,
}

impl Kind {
    fn of(path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match (folder, name) {
            ("", "openrpc.json") => Self::Head,
            ("", "asyncapi.json") => Self::AsyncApi,
            ("", dialect::FILE) => Self::Dialect,
            ("", name) if name.ends_with(".schema.json") => Self::Rules,
            (folder, name) if name.ends_with(".json") && !name.starts_with('.') => match folder {
                EVENTS => Self::Event,
                _ if folder.is_empty() || FOLDERS.contains(&folder) => Self::Method,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl Files {
    pub fn read(dir: Option<&Path>, errors: &mut Vec<String>) -> Self {
        let mut files = Self::default();
        for path in BuiltIn::iter() {
            let text = BuiltIn::get(&path).map(|file| file.data).unwrap_or_default();
            files.add_built_in(&path, text, errors);
        }
        files.vocabulary = files.shapes();
        if let Some(dir) = dir {
            files.overlay(dir, errors);
        }
        files
    }

    fn add_built_in(&mut self, path: &str, text: Cow<'static, [u8]>, errors: &mut Vec<String>) {
        let origin = format!("rpc-schema/{path}");
        let kind = Kind::of(path);
        if matches!(kind, Kind::Other) {
            return;
        }
        let Some(value) = parse(&origin, &text, errors) else { return };
        match kind {
            Kind::Head => self.head = value,
            Kind::AsyncApi => self.asyncapi = value,
            Kind::Rules => self.add_rules(path, value),
            Kind::Event => {
                if let Some(name) = name_of(&origin, &value, errors) {
                    self.events.insert(name, EventFile { origin, value });
                }
            }
            Kind::Method | Kind::Dialect | Kind::Other => {
                if let Some(name) = name_of(&origin, &value, errors) {
                    self.methods.insert(name, MethodFile { origin, value, built_in: true });
                }
            }
        }
    }

    fn add_rules(&mut self, path: &str, value: Value) {
        match path {
            "x-iq.schema.json" => self.x_iq_schema = value,
            "event.schema.json" => self.event_schema = value,
            "x-event.schema.json" => self.x_event_schema = value,
            _ => self.method_schema = value,
        }
    }

    /// The schemas of both documents.
    fn shapes(&self) -> Map<String, Value> {
        let of = |document: &Value| document.pointer("/components/schemas").and_then(Value::as_object).cloned();
        [&self.asyncapi, &self.head].into_iter().filter_map(of).flatten().collect()
    }

    fn overlay(&mut self, dir: &Path, errors: &mut Vec<String>) {
        let mut seen: BTreeMap<(bool, String), String> = BTreeMap::new();
        let mut listed = list(dir, errors);
        // The patches are made of what it has changed.
        listed.sort_by_key(|(path, _)| path != dialect::FILE);
        for (path, file) in listed {
            let origin = file.display().to_string();
            let kind = Kind::of(&path);
            if matches!(kind, Kind::Rules | Kind::Other) {
                continue;
            }
            let Some(text) = read(&file, errors) else { continue };
            let Some(value) = parse(&origin, &text, errors) else { continue };
            match kind {
                Kind::Head => self.overlay_head(&origin, value, errors),
                Kind::AsyncApi => self.asyncapi = value,
                Kind::Dialect => self.overlay_dialect(&origin, value, errors),
                _ => {
                    let Some(name) = name_of(&origin, &value, errors) else { continue };
                    let is_patch = path.ends_with(dialect::PATCH);
                    let is_event = matches!(kind, Kind::Event) || OF_EVENTS.iter().any(|of| value.get(of).is_some());
                    if let Some(other) = seen.insert((is_event, name.clone()), origin.clone()) {
                        errors.push(format!("{origin}: name: {name} is declared in {other} too"));
                    } else if is_patch {
                        self.patch(is_event, &name, origin, value, errors);
                    } else {
                        self.insert(is_event, name, origin, value);
                    }
                }
            }
        }
    }

    fn insert(&mut self, is_event: bool, name: String, origin: String, value: Value) {
        if is_event {
            self.events.insert(name, EventFile { origin, value });
        } else {
            let built_in = self.methods.get(&name).is_some_and(|old| old.built_in);
            self.methods.insert(name, MethodFile { origin, value, built_in });
        }
    }

    /// Changes the built-in file of that name by a merge patch (RFC 7396).
    fn patch(&mut self, is_event: bool, name: &str, origin: String, patch: Value, errors: &mut Vec<String>) {
        let old = if is_event {
            self.events.get_mut(name).map(|file| (&mut file.origin, &mut file.value))
        } else {
            self.methods.get_mut(name).map(|file| (&mut file.origin, &mut file.value))
        };
        let Some((of_file, value)) = old else {
            return errors.push(format!("{origin}: name: {name} is no built-in file's, so there is nothing to patch"));
        };
        dialect::merge(value, patch);
        *of_file = origin;
    }

    fn overlay_dialect(&mut self, origin: &str, value: Value, errors: &mut Vec<String>) {
        match serde_json::from_value::<Dialect>(value) {
            Ok(dialect) => {
                let unused = dialect.apply(self.methods.values_mut().map(|file| &mut file.value));
                errors.extend(unused.into_iter().map(|place| format!("{origin}: {place}")));
            }
            Err(why) => errors.push(format!("{origin}: {why}")),
        }
    }

    /// `info` and `servers` replace the built-in ones; components are added, or replaced by name.
    fn overlay_head(&mut self, origin: &str, over: Value, errors: &mut Vec<String>) {
        let (Value::Object(over), Value::Object(head)) = (over, &mut self.head) else {
            return errors.push(format!("{origin}: not an object"));
        };
        for (member, value) in over {
            match (member.as_str(), value) {
                ("components", Value::Object(kinds)) => overlay_components(origin, head, kinds, errors),
                ("info" | "servers", value) => {
                    head.insert(member, value);
                }
                ("openrpc" | "$schema", _) => {}
                _ => errors.push(format!("{origin}: {member}: only info, servers and components can be overridden")),
            }
        }
    }

    /// `components.<kind>` of the head.
    pub fn components(&self, kind: &str) -> Option<&Map<String, Value>> {
        self.head.get("components")?.get(kind)?.as_object()
    }
}

fn overlay_components(origin: &str, head: &mut Map<String, Value>, over: Map<String, Value>, errors: &mut Vec<String>) {
    let components = head.entry("components").or_insert_with(|| Value::Object(Map::new()));
    for (kind, over) in over {
        let old = components.as_object_mut().map(|c| c.entry(&kind).or_insert_with(|| Value::Object(Map::new())));
        match (old, over) {
            (Some(Value::Object(old)), Value::Object(over)) => old.extend(over),
            _ => errors.push(format!("{origin}: components.{kind}: not an object")),
        }
    }
}

/// The schema files below `dir`, each with its path there, in a stable order.
fn list(dir: &Path, errors: &mut Vec<String>) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for folder in ["", EVENTS].into_iter().chain(FOLDERS) {
        let at = if folder.is_empty() { dir.to_owned() } else { dir.join(folder) };
        if !folder.is_empty() && !at.is_dir() {
            continue;
        }
        let entries = match std::fs::read_dir(&at) {
            Ok(entries) => entries,
            Err(e) => {
                errors.push(format!("{}: cannot be read: {e}", at.display()));
                continue;
            }
        };
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            found.push((path, entry.path()));
        }
    }
    if found.len() > FILES_MAX {
        errors.push(format!("{}: {} files; at most {FILES_MAX} are read", dir.display(), found.len()));
        found.clear();
    }
    found.sort();
    found
}

fn read(file: &Path, errors: &mut Vec<String>) -> Option<Vec<u8>> {
    let size = std::fs::metadata(file).map_or(0, |m| m.len());
    if size > FILE_MAX {
        errors.push(format!("{}: {size} bytes; at most {FILE_MAX} are read", file.display()));
        return None;
    }
    let text = std::fs::read(file);
    text.inspect_err(|e| errors.push(format!("{}: cannot be read: {e}", file.display()))).ok()
}

fn parse(origin: &str, text: &[u8], errors: &mut Vec<String>) -> Option<Value> {
    serde_json::from_slice(text).inspect_err(|e| errors.push(format!("{origin}: not JSON: {e}"))).ok()
}

fn name_of(origin: &str, value: &Value, errors: &mut Vec<String>) -> Option<String> {
    let name = value.get("name").and_then(Value::as_str);
    if name.is_none() {
        errors.push(format!("{origin}: name: is required"));
    }
    name.map(str::to_owned)
}
