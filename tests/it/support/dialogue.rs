//! Replays `rpc-schema/dialogues/*.dialogue`: what is said to the gateway and what it answers, as files that run.
//! Their format is described beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Values that a reply gave to a name, for the lines after it.
pub type Captures = BTreeMap<String, Value>;

/// The role where no `as:` says otherwise: a client without a token.
pub const NOBODY: &str = "nobody";

/// One file.
#[derive(Debug, Clone)]
pub struct Dialogue {
    /// The file's name without its ending.
    pub name: String,
    /// Keys of the configuration that its gateway has besides the world's, and their values.
    pub configuration: Vec<(String, String)>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    /// Of its line, counted from 1.
    line: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// The role of the following requests.
    Role(String),
    /// The text that is sent, as written: it need not be JSON.
    Request(String),
    /// The expected reply; `None` where none is expected.
    Reply(Option<Value>),
}

impl Dialogue {
    /// All of the project, by name.
    pub fn all() -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("rpc-schema/dialogues");
        let entries = std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "dialogue"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text)
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let (mut steps, mut configuration) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let kind = if line.is_empty() || line.starts_with("//") {
                continue;
            } else if let Some(setting) = line.strip_prefix("with:") {
                let (key, value) = setting.split_once('=').unwrap_or_else(|| panic!("{name}:{number}: KEY = VALUE"));
                configuration.push((key.trim().to_owned(), value.trim().to_owned()));
                continue;
            } else if let Some(role) = line.strip_prefix("as:") {
                Kind::Role(role.trim().to_owned())
            } else if let Some(request) = line.strip_prefix(">>") {
                Kind::Request(request.trim().to_owned())
            } else if let Some(reply) = line.strip_prefix("<<") {
                let read = |text| serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}:{number}: {e}"));
                Kind::Reply(Some(reply.trim()).filter(|text| !text.is_empty()).map(read))
            } else {
                panic!("{name}:{number}: not a line of a dialogue: {line}");
            };
            steps.push(Step { line: number, kind });
        }
        let spoken: Vec<&Step> = steps.iter().filter(|step| !matches!(step.kind, Kind::Role(_))).collect();
        for pair in spoken.chunks(2) {
            let paired = matches!(pair, [Step { kind: Kind::Request(_), .. }, Step { kind: Kind::Reply(_), .. }]);
            assert!(paired, "{name}:{}: a request and its reply come in pairs", pair[0].line);
        }
        Self { name: name.to_owned(), configuration, steps }
    }

    /// The keys of the refusals that it expects.
    pub fn refusals(&self) -> impl Iterator<Item = &str> {
        let replies = self.steps.iter().filter_map(|step| match &step.kind {
            Kind::Reply(Some(reply)) => Some(reply),
            _ => None,
        });
        let single = |reply| std::slice::from_ref(reply);
        let entries =
            replies.flat_map(move |reply: &Value| reply.as_array().map_or_else(|| single(reply), Vec::as_slice));
        entries.filter_map(|entry| entry["error"]["data"]["key"].as_str())
    }

    /// Says each request by `say(role, text)`, which gives the reply's body, empty where there is none, and compares.
    /// The role is [`NOBODY`] before the first `as:`. Gives what was captured.
    pub async fn replay(&self, mut captures: Captures, mut say: impl AsyncFnMut(&str, String) -> String) -> Captures {
        let mut role = NOBODY;
        let mut came = String::new();
        for Step { line, kind } in &self.steps {
            let place = format!("{}:{line}", self.name);
            match kind {
                Kind::Role(next) => role = next,
                Kind::Request(text) => came = say(role, filled(text, &captures, &place)).await,
                Kind::Reply(expected) => {
                    compare(expected.as_ref(), &came, &mut captures).unwrap_or_else(|e| panic!("{place}: {e}\n{came}"));
                }
            }
        }
        captures
    }
}

/// The request's text with each `${name}` replaced: a captured string stands as it is, escaped (it is within quotes),
/// anything else as JSON.
fn filled(text: &str, captures: &Captures, place: &str) -> String {
    fill(text, captures, place, |value| match value {
        Value::String(_) => {
            let quoted = value.to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        value => value.to_string(),
    })
}

/// The meaning of an expected text with `${name}` in it: the captured value itself where it is nothing else.
fn meant(text: &str, captures: &Captures, place: &str) -> Value {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match name.and_then(|name| captures.get(name)) {
        Some(value) => value.clone(),
        None => {
            fill(text, captures, place, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).into()
        }
    }
}

fn fill(text: &str, captures: &Captures, place: &str, write: impl Fn(&Value) -> String) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or_else(|| panic!("{place}: `${{` without `}}`"));
        let value = captures.get(name).unwrap_or_else(|| panic!("{place}: nothing was captured as {name}"));
        filled.push_str(&write(value));
        filled.push_str(rest);
    }
    filled
}

fn compare(expected: Option<&Value>, came: &str, captures: &mut Captures) -> Result<(), String> {
    match expected {
        None if came.is_empty() => Ok(()),
        None => Err("no reply was expected, came:".to_owned()),
        Some(expected) => {
            let came = serde_json::from_str(came).map_err(|e| format!("no JSON ({e}):"))?;
            matches(expected, &came, "$", captures)
        }
    }
}

/// Whether the value is what is expected, placeholders given. The error says where it isn't.
fn matches(expected: &Value, came: &Value, path: &str, captures: &mut Captures) -> Result<(), String> {
    match (expected, came) {
        (Value::String(text), _) if text.starts_with('<') && text.ends_with('>') => {
            placeholder(&text[1..text.len() - 1], came, path, captures)
        }
        (Value::String(text), _) if text.contains("${") => {
            let wanted = meant(text, captures, path);
            if *came == wanted { Ok(()) } else { Err(format!("{path} is {came}, not {wanted}")) }
        }
        (Value::Object(expected), Value::Object(came)) => members(expected, came, path, captures),
        (Value::Array(expected), Value::Array(came)) => entries(expected, came, path, captures),
        _ if expected == came => Ok(()),
        _ => Err(format!("{path} is {came}, not {expected}")),
    }
}

fn placeholder(name: &str, came: &Value, path: &str, captures: &mut Captures) -> Result<(), String> {
    let fits = match name {
        "any" => true,
        "int" => came.is_i64() || came.is_u64(),
        "string" => came.is_string(),
        "bool" => came.is_boolean(),
        "array" => came.is_array(),
        "object" => came.is_object(),
        _ => match name.strip_prefix("capture:") {
            Some(capture) => {
                captures.insert(capture.to_owned(), came.clone());
                true
            }
            None => return Err(format!("{path}: no such placeholder: <{name}>")),
        },
    };
    if fits { Ok(()) } else { Err(format!("{path} is {came}, not <{name}>")) }
}

/// The mark of "and whatever else": the member `"...": "..."`, or the entry `"..."` at a list's end.
const MORE: &str = "...";

type Members = serde_json::Map<String, Value>;

fn members(expected: &Members, came: &Members, path: &str, captures: &mut Captures) -> Result<(), String> {
    for (name, value) in expected.iter().filter(|(name, _)| *name != MORE) {
        let came = came.get(name).ok_or_else(|| format!("{path}.{name} is missing"))?;
        matches(value, came, &format!("{path}.{name}"), captures)?;
    }
    let surplus = came.keys().find(|name| !expected.contains_key(*name) && !expected.contains_key(MORE));
    surplus.map_or(Ok(()), |name| Err(format!("{path}.{name} was not expected")))
}

fn entries(expected: &[Value], came: &[Value], path: &str, captures: &mut Captures) -> Result<(), String> {
    let open = expected.last().is_some_and(|last| last == MORE);
    let named = &expected[..expected.len() - usize::from(open)];
    let fits = if open { came.len() >= named.len() } else { came.len() == named.len() };
    if !fits {
        return Err(format!("{path} has {} entries, not {}", came.len(), named.len()));
    }
    for (place, (expected, came)) in named.iter().zip(came).enumerate() {
        matches(expected, came, &format!("{path}[{place}]"), captures)?;
    }
    Ok(())
}
