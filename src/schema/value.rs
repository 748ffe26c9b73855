//! The rule by which one value is read, from the EIM's answer (`x-iq.result`) or from its message (`x-event`).

use serde::Deserialize;
use serde::de::Error;
use serde_json::{Map, Value};

/// Most steps of a path: what is written must stay well below the depth that a stanza may have.
const STEPS_MAX: usize = 8;
/// What stands in a map for all words that it doesn't name.
const OTHERS: &str = "*";

/// One element on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The element's local name.
    pub name: String,
    /// Written `{ns}name`; the operation's namespace where `None`.
    pub ns: Option<String>,
}

/// Where one value stands and what it is. `P`: a place in XML, or in JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRule<P = Where> {
    /// The place.
    pub source: ValueSource<P>,
    /// The form.
    pub form: ValueForm<P>,
    /// Every match of the last step instead of the first.
    pub list: bool,
    /// The value for an absent one; without a default the member is left out.
    pub default: Option<Value>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueSource<P> {
    /// From there, relative to the element that the rule is for; `root`: to the whole.
    Path {
        /// The place.
        place: P,
        /// Whether it is relative to the whole.
        root: bool,
    },
    /// From the routing key.
    Key(KeyPart),
    /// It is ever the same.
    Const(Value),
}

/// A part of a routing key that is a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum KeyPart {
    /// `{confId}`
    #[serde(rename = "confId")]
    ConfId,
    /// `{userId}`
    #[serde(rename = "userId")]
    UserId,
    /// `{type}`
    #[serde(rename = "type")]
    Type,
}

/// The form in which a value is read.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueForm<P> {
    /// A text.
    String,
    /// Text that is shown as a name.
    Name,
    /// A decimal number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// JSON text, or in JSON the value itself.
    Json,
    /// Base64 of JSON text.
    Base64Json,
    /// The element as XML text.
    Xml,
    /// A user's id, or an address of theirs.
    User,
    /// Seconds since 1970, as milliseconds.
    Seconds,
    /// A date and time of XEP-0082, as milliseconds since 1970.
    DateTime,
    /// What each word of the EIM's means.
    Words(Words),
    /// An object, by its members' rules.
    Object(Vec<(String, ValueRule<P>)>),
}

/// The EIM's words and what they mean to us.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Words {
    /// In the file's order.
    pub known: Vec<(String, Value)>,
    /// What all other words mean. Without it they mean nothing.
    pub others: Option<Value>,
}

impl Words {
    /// From a JSON object.
    pub(super) fn of(map: Map<String, Value>) -> Self {
        let (others, known): (Vec<_>, Vec<_>) = map.into_iter().partition(|(word, _)| word == OTHERS);
        Self { known, others: others.into_iter().next().map(|(_, value)| value) }
    }

    /// The meaning of the word.
    pub fn get(&self, word: &str) -> Option<&Value> {
        let known = self.known.iter().find(|(known, _)| known == word).map(|(_, value)| value);
        known.or(self.others.as_ref())
    }

    /// All meanings.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.known.iter().map(|(_, value)| value).chain(&self.others)
    }
}

/// A place as it stands in a file.
pub trait ValuePath: Sized {
    /// # Errors
    /// Where the text is no place.
    fn parse(path: &str) -> Result<Self, String>;
    /// Whether an object can stand there.
    fn holds_object(&self) -> bool;
    /// Whether several values can stand there.
    fn holds_list(&self) -> bool;
}

/// The place of a value in XML: `.`, `@attr`, `a/b`, `a/b@attr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// From the element that the rule is relative to; empty for that element itself.
    pub steps: Vec<Step>,
    /// The attribute; the element's text (or the element, for an object) where `None`.
    pub attr: Option<String>,
}

/// The place of a value in JSON (RFC 6901): the names and indices on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(pub Vec<String>);

impl ValuePath for Where {
    fn parse(path: &str) -> Result<Self, String> {
        let (steps, attr) = match path.rsplit_once('@') {
            // An `@` within braces belongs to a namespace.
            Some((steps, attr)) if !attr.contains('}') => (steps, Some(attr.to_owned())),
            _ => (path, None),
        };
        if attr.as_deref().is_some_and(|attr| !is_name(attr.strip_prefix("xml:").unwrap_or(attr))) {
            return Err(format!("not a path: {path}"));
        }
        let steps = if steps == "." { "" } else { steps };
        Ok(Self { steps: steps_of(steps)?, attr })
    }

    fn holds_object(&self) -> bool {
        self.attr.is_none()
    }

    fn holds_list(&self) -> bool {
        !self.steps.is_empty()
    }
}

impl ValuePath for Pointer {
    fn parse(path: &str) -> Result<Self, String> {
        let Some(inner) = path.strip_prefix('/') else {
            return if path.is_empty() { Ok(Self(Vec::new())) } else { Err(format!("not a JSON pointer: {path}")) };
        };
        let steps: Vec<String> = inner.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        if steps.len() > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps: {path}"));
        }
        Ok(Self(steps))
    }

    fn holds_object(&self) -> bool {
        true
    }

    fn holds_list(&self) -> bool {
        true
    }
}

/// Entries of a JSON object, in its order.
pub(super) fn named<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Named,
{
    let entries = Map::deserialize(deserializer)?;
    entries.into_iter().map(|(name, value)| T::read(name, value).map_err(D::Error::custom)).collect()
}

/// An entry of such an object.
pub(super) trait Named: Sized {
    fn read(name: String, value: Value) -> Result<Self, String>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueText {
    path: Option<String>,
    key: Option<KeyPart>,
    #[serde(default, deserialize_with = "present")]
    r#const: Option<Value>,
    #[serde(default)]
    root: bool,
    r#type: Option<String>,
    map: Option<Map<String, Value>>,
    #[serde(default)]
    list: bool,
    /// `Some(Null)` where `null` is written.
    #[serde(default, deserialize_with = "present")]
    default: Option<Value>,
    members: Option<Map<String, Value>>,
}

/// Keeps a `null` that is there apart from a member that isn't.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl<P: ValuePath> Named for (String, ValueRule<P>) {
    fn read(name: String, value: Value) -> Result<Self, String> {
        let rule = ValueRule::read(value).map_err(|why| join(&name, &why))?;
        Ok((name, rule))
    }
}

/// The place of what is wrong, below a member.
fn join(member: &str, why: &str) -> String {
    let is_place = why.split_once(": ").is_some_and(|(place, _)| !place.contains(' '));
    if is_place { format!("{member}.{why}") } else { format!("{member}: {why}") }
}

impl<P: ValuePath> ValueRule<P> {
    /// # Errors
    /// What is wrong with the rule.
    pub(super) fn read(value: Value) -> Result<Self, String> {
        let mut text: ValueText = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let source = match (text.path.take(), text.key, text.r#const.take()) {
            (Some(path), None, None) => ValueSource::Path { place: P::parse(&path)?, root: text.root },
            (None, Some(key), None) => ValueSource::Key(key),
            (None, None, Some(value)) => return text.constant(value),
            _ => return Err("exactly one of `path`, `key` and `const`".to_owned()),
        };
        let form = text.form(&source)?;
        let is_listable = matches!(&source, ValueSource::Path { place, .. } if place.holds_list());
        if text.list && !is_listable {
            return Err("a list needs an element in its path".to_owned());
        }
        Ok(Self { source, form, list: text.list, default: text.default })
    }
}

impl ValueText {
    fn constant<P>(self, value: Value) -> Result<ValueRule<P>, String> {
        let is_alone = self.r#type.is_none() && self.map.is_none() && self.members.is_none();
        if !is_alone || self.list || self.root || self.default.is_some() {
            return Err("a `const` has nothing beside it".to_owned());
        }
        Ok(ValueRule { source: ValueSource::Const(value), form: ValueForm::Json, list: false, default: None })
    }

    fn form<P: ValuePath>(&mut self, source: &ValueSource<P>) -> Result<ValueForm<P>, String> {
        let kind = match (self.r#type.as_deref(), self.map.take()) {
            (Some(kind), None) => kind,
            (None, Some(map)) if !map.is_empty() && self.members.is_none() => {
                return Ok(ValueForm::Words(Words::of(map)));
            }
            _ => return Err("exactly one of `type` and `map`".to_owned()),
        };
        let holds_object = matches!(source, ValueSource::Path { place, .. } if place.holds_object());
        if self.members.is_some() && kind != "object" {
            return Err("`members` are an object's".to_owned());
        }
        Ok(match kind {
            "string" => ValueForm::String,
            "name" => ValueForm::Name,
            "integer" => ValueForm::Integer,
            "boolean" => ValueForm::Boolean,
            "json" => ValueForm::Json,
            "base64json" => ValueForm::Base64Json,
            "xml" => ValueForm::Xml,
            "user" => ValueForm::User,
            "seconds" => ValueForm::Seconds,
            "dateTime" => ValueForm::DateTime,
            "object" if !holds_object => return Err("an attribute is no object".to_owned()),
            "object" => {
                let members = self.members.take().ok_or("an object has `members`")?;
                let read = |(name, value)| <(String, ValueRule<P>)>::read(name, value);
                ValueForm::Object(members.into_iter().map(read).collect::<Result<_, _>>()?)
            }
            other => return Err(format!("no such type: {other}")),
        })
    }
}

/// The path without its last part, and that part.
pub(super) fn split_last(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some((before, last)) if !last.contains('}') => (before, last),
        _ => ("", path),
    }
}

/// `a/{ns}b/c`; the empty path has no steps.
pub(super) fn steps_of(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (ns, named) = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(ns, named)| (Some(ns.to_owned()), named)).ok_or(path)?,
            None => (None, rest),
        };
        let (name, after) = named.split_once('/').unwrap_or((named, ""));
        if !is_name(name) || (named.len() > name.len() && after.is_empty()) {
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

/// A name as files may write it: XML has more.
fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
