//! An integrator's small changes of the built-in files: other namespaces and addresses for all that asks the EIM
//! (`dialect.json`), and a merge patch (RFC 7396) of a single file (`*.patch.json`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The file's name in `eim.schema_dir`.
pub(super) const FILE: &str = "dialect.json";
/// How the name of a file ends that changes a built-in one.
pub(super) const PATCH: &str = ".patch.json";

/// `dialect.json`: what the `x-iq` of the built-in files have, and what stands there in its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dialect {
    /// Namespaces.
    #[serde(default)]
    ns: BTreeMap<String, String>,
    /// Addresses, `{domain}` included.
    #[serde(default)]
    to: BTreeMap<String, String>,
    /// The element around each operation; `null`: none.
    #[serde(default, deserialize_with = "present")]
    wrapper: Option<Value>,
}

/// `Some` for null too, which is not the same as an absent member.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl Dialect {
    /// Changes the built-in files. Answers the places of what none of them has.
    pub fn apply<'f>(&self, files: impl Iterator<Item = &'f mut Value>) -> Vec<String> {
        let mut unused: Vec<(&str, &str)> = Vec::new();
        unused.extend(self.ns.keys().map(|name| ("ns", name.as_str())));
        unused.extend(self.to.keys().map(|name| ("to", name.as_str())));
        for x_iq in files.filter_map(|file| file.get_mut("x-iq")?.as_object_mut()) {
            for (member, others) in [("ns", &self.ns), ("to", &self.to)] {
                let Some(Value::String(built_in)) = x_iq.get_mut(member) else { continue };
                if let Some((name, other)) = others.get_key_value(built_in) {
                    unused.retain(|place| *place != (member, name.as_str()));
                    built_in.clone_from(other);
                }
            }
            match &self.wrapper {
                None => {}
                Some(Value::Null) => drop(x_iq.remove("wrapper")),
                Some(wrapper) => drop(x_iq.insert("wrapper".to_owned(), wrapper.clone())),
            }
        }
        unused.into_iter().map(|(member, name)| format!("{member}.{name}: no built-in file has it")).collect()
    }
}

/// RFC 7396, section 2.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (member, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(&member)),
            value => merge(target.entry(member).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::merge;

    /// The table of RFC 7396, appendix A.
    #[test]
    fn a_merge_patch_gives_what_the_rfcs_examples_say() {
        let cases: [(Value, Value, Value); 15] = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            let case = format!("{target} with {patch}");
            merge(&mut target, patch);
            assert_eq!(target, expected, "{case}");
        }
    }
}
