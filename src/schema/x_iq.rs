//! `x-iq`, parsed: which IQ a method is at the EIM, and which value of the answer is which member of the result.
//! The text form is pinned by `rpc-schema/x-iq.schema.json`; what comes here has passed it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error;
use serde_json::Value;

use super::value::{Named, Step, ValueRule, named, split_last, steps_of};
use crate::refusal::Kind;

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
