//! `x-reason`: where the reason of a refusal stands in a stanza error.

use std::collections::BTreeMap;

use serde::Deserialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XReason {
    /// The namespace of the reason's element, a child of `<error>`.
    pub ns: String,
    /// The element's name; `None`: its name is the reason (RFC 6120 section 8.3.4).
    pub element: Option<String>,
    /// The attribute that holds the reason; `None`: the element's text does.
    pub attr: Option<String>,
    #[serde(default)]
    map: BTreeMap<String, String>,
}

impl XReason {
    /// Our key for the EIM's word; a word without one stays.
    pub fn key<'r>(&'r self, word: &'r str) -> &'r str {
        self.map.get(word).map_or(word, String::as_str)
    }
}
