//! `x-iq`, parsed: which IQ a method is at the EIM, and which value of the answer is which member of the result.
//! The text form is pinned by `rpc-schema/x-iq.schema.json`; what comes here has passed it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error;
use serde_json::{Map, Value};

use crate::refusal::Kind;

/// Most steps of a path: what is written must stay well below the depth that a stanza may have.
const STEPS_MAX: usize = 8;

/// The IQ of one method.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct XIq {
    /// The address, with `{domain}` in it; see [`XIq::address`].
    to: String,
    /// `get` or `set`.
    #[serde(rename = "type")]
    pub kind: IqKind,
    /// Namespace of the operation element, and of its children where a path names no other.
    pub ns: String,
    /// Local name of the operation element.
    pub element: String,
    /// The element around the operation.
    pub wrapper: Option<Wrapper>,
    /// The user or the gateway in whose name the IQ goes out.
    #[serde(default, rename = "as")]
    pub speaker: Speaker,
    /// The rules by which params are written.
    #[serde(default, deserialize_with = "named")]
    pub params: Vec<WriteRule>,
    /// Members of the result; the one entry named [`XIq::WHOLE`] is the result itself.
    #[serde(default, deserialize_with = "named")]
    pub result: Vec<(String, ValueRule)>,
    /// Stanza error conditions of RFC 6120 section 8.3.3 and the JSON-RPC error code that each becomes.
    #[serde(default, deserialize_with = "kinds")]
    errors: BTreeMap<String, Kind>,
}

/// The `type` of an IQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IqKind {
    /// `get`
    Get,
    /// `set`
    Set,
}

impl IqKind {
    /// The stanza's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
        }
    }
}

/// In whose name the EIM is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// The caller.
    #[default]
    User,
    /// The gateway itself, from its provisioning domain.
    Gateway,
}

/// The element around the operation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapper {
    /// The element's name.
    pub element: String,
    /// That of the operation where absent.
    pub ns: Option<String>,
}

/// Where one param is written, and in which form.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteRule {
    /// The param's name.
    pub name: String,
    /// The place.
    pub place: WritePlace,
    /// The form.
    pub form: WriteForm,
}

/// The place of a param in the operation element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WritePlace {
    /// An attribute of the descendant at the path; of the operation element itself where the path is empty.
    Attr(Vec<Step>, String),
    /// The text of the descendant at the path, which is not empty.
    Child(Vec<Step>),
    /// The text of the operation element.
    Text,
}

/// The form in which a param is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteForm {
    /// A text.
    String,
    /// A decimal number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// The value as JSON text.
    Json,
    /// One element for each entry.
    List,
}

/// One element on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The element's local name.
    pub name: String,
    /// Written `{ns}name`; the operation's namespace where `None`.
    pub ns: Option<String>,
}

/// Where one value of the answer stands and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRule {
    /// The place.
    pub place: Where,
    /// The form.
    pub form: ValueForm,
    /// Every match of the last step instead of the first.
    pub list: bool,
    /// The value for an absent one; without a default the member is left out.
    pub default: Option<Value>,
}

/// The place of a value in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// From the element that the rule is relative to; empty for that element itself.
    pub steps: Vec<Step>,
    /// The attribute; the element's text (or the element, for an object) where `None`.
    pub attr: Option<String>,
}

/// The form in which a value is read.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueForm {
    /// A text.
    String,
    /// Text that is shown as a name.
    Name,
    /// A decimal number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// JSON text.
    Json,
    /// Base64 of JSON text.
    Base64Json,
    /// An object, by its members' rules.
    Object(Vec<(String, ValueRule)>),
}

impl XIq {
    /// The name of the result entry that is the whole result.
    pub const WHOLE: &'static str = "$";

    /// The address that the IQ goes to.
    pub fn address(&self, domain: &str) -> String {
        self.to.replace("{domain}", domain)
    }

    /// The refusal that the entry itself makes of a condition.
    pub fn refusal(&self, condition: &str) -> Option<Kind> {
        self.errors.get(condition).copied()
    }
}

fn kinds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Kind>, D::Error> {
    let kind = |(condition, code)| match Kind::of_code(code) {
        Some(kind) => Ok((condition, kind)),
        None => Err(D::Error::custom(format!("{code} is no error code"))),
    };
    BTreeMap::<String, i32>::deserialize(deserializer)?.into_iter().map(kind).collect()
}

/// Entries of a JSON object, in its order.
fn named<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Named,
{
    let entries = Map::deserialize(deserializer)?;
    entries.into_iter().map(|(name, value)| T::read(name, value).map_err(D::Error::custom)).collect()
}

trait Named: Sized {
    fn read(name: String, value: Value) -> Result<Self, String>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteText {
    attr: Option<String>,
    child: Option<String>,
    text: Option<bool>,
    #[serde(rename = "type")]
    form: WriteForm,
}

impl Named for WriteRule {
    fn read(name: String, value: Value) -> Result<Self, String> {
        let rule: WriteText = serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
        let place = match (rule.attr, rule.child, rule.text) {
            (Some(path), None, None) => {
                let (steps, attr) = split_last(&path);
                WritePlace::Attr(steps_of(steps)?, attr.to_owned())
            }
            (None, Some(path), None) => WritePlace::Child(steps_of(&path)?),
            (None, None, Some(true)) => WritePlace::Text,
            _ => return Err(format!("{name}: exactly one of `attr`, `child` and `text: true`")),
        };
        if rule.form == WriteForm::List && !matches!(place, WritePlace::Child(_)) {
            return Err(format!("{name}: a list is written as `child` only"));
        }
        Ok(Self { name, place, form: rule.form })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueText {
    path: String,
    #[serde(rename = "type")]
    form: String,
    #[serde(default)]
    list: bool,
    /// `Some(Null)` where `null` is written.
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
    #[serde(default, deserialize_with = "named")]
    members: Vec<(String, ValueRule)>,
}

/// Keeps a `null` that is there apart from a member that isn't.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Named for (String, ValueRule) {
    fn read(name: String, value: Value) -> Result<Self, String> {
        let rule: ValueText = serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
        let place = Where::parse(&rule.path)?;
        let form = match rule.form.as_str() {
            "string" => ValueForm::String,
            "name" => ValueForm::Name,
            "integer" => ValueForm::Integer,
            "boolean" => ValueForm::Boolean,
            "json" => ValueForm::Json,
            "base64json" => ValueForm::Base64Json,
            "object" if place.attr.is_none() => ValueForm::Object(rule.members),
            "object" => return Err(format!("{name}: an attribute is no object")),
            other => return Err(format!("{name}: no such type: {other}")),
        };
        if rule.list && place.steps.is_empty() {
            return Err(format!("{name}: a list needs an element in its path"));
        }
        Ok((name, ValueRule { place, form, list: rule.list, default: rule.default }))
    }
}

impl Where {
    /// `.`, `@attr`, `a/b`, `a/b@attr`.
    fn parse(path: &str) -> Result<Self, String> {
        let (steps, attr) = match path.rsplit_once('@') {
            // An `@` within braces belongs to a namespace.
            Some((steps, attr)) if !attr.contains('}') => (steps, Some(attr.to_owned())),
            _ => (path, None),
        };
        let steps = if steps == "." { "" } else { steps };
        Ok(Self { steps: steps_of(steps)?, attr })
    }
}

/// The path without its last part, and that part.
fn split_last(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some((before, last)) if !last.contains('}') => (before, last),
        _ => ("", path),
    }
}

/// `a/{ns}b/c`; the empty path has no steps.
fn steps_of(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (ns, named) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(ns, named)| (Some(ns.to_owned()), named)).ok_or(path)?,
            None => (None, rest),
        };
        let (name, after) = named.split_once('/').unwrap_or((named, ""));
        if name.is_empty() || (named.len() > name.len() && after.is_empty()) {
            return Err(format!("not a path: {path}"));
        }
        steps.push(Step { name: name.to_owned(), ns });
        rest = after;
    }
    if steps.len() > STEPS_MAX {
        return Err(format!("more than {STEPS_MAX} steps: {path}"));
    }
    Ok(steps)
}
