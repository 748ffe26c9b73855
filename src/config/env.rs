//! Overriding keys from the environment: `CONFGATE_<SECTION>__<KEY>`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::check;

const PREFIX: &str = "CONFGATE_";

/// The process's own variables, those of other programs and those that aren't UTF-8 left out.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// Lays the variables over the table and returns, for each key set, its variable's name.
///
/// A name without `__` isn't ours: Kubernetes sets `CONFGATE_PORT` and the like beside a service named confgate.
/// An empty value puts the key back to its default.
pub(super) fn lay_over(
    table: &mut Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (name, text) in environment {
        let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) else { continue };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
        // A section that the file holds as something else is an error of the file's.
        let Some(entry) = entry.as_table_mut() else { continue };
        if text.is_empty() {
            entry.remove(&key);
        } else {
            entry.insert(key.clone(), typed(&section, &key, &text));
        }
        variables.insert(format!("{section}.{key}"), name);
    }
    variables
}

/// The text in the type that its key takes: text as it is, else JSON for lists and tables, else an integer or boolean.
/// Where none fits, the nearest guess is left for the check to refuse.
fn typed(section: &str, key: &str, text: &str) -> Value {
    let as_text = Value::from(text);
    if check::takes(section, key, &as_text) {
        return as_text;
    }
    let json =
        || serde_json::from_str::<serde_json::Value>(text).ok().filter(|json| json.is_array() || json.is_object());
    let guess = text.parse::<i64>().map(Value::from).ok();
    let guess = guess.or_else(|| text.parse::<bool>().map(Value::from).ok());
    guess.or_else(|| json().and_then(|json| Value::try_from(json).ok())).unwrap_or(as_text)
}
