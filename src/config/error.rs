//! One thing that is wrong with a configuration, in words an operator can act on.

use std::fmt;
use std::path::Path;

use toml::Value;

use super::example::without_indices;

/// Longest value that an error repeats, in characters.
const SHOWN_MAX: usize = 120;

/// Keys whose values are never shown, wherever they stand.
const SECRETS: [&str; 4] = ["secret", "token", "password", "admin_secret"];

/// Keys that other versions may have, and this one hasn't.
const NOT_AVAILABLE: [&str; 1] = ["live"];

/// Keys of lists and tables that hold such keys.
const HOLDERS: [&str; 5] = ["auth.clients", "auth.keys", "eim.users", "callgw.nodes", "callgw.turn"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    /// With the value as shown.
    Wrong(String),
    Unset,
    /// The value isn't shown: a misspelt key may hold a secret.
    Unknown,
    File(String),
}

/// Names the key, its value (secrets masked), and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// `section.key`, with `[index]` inside lists; a file's path where that can't be read.
    pub key: String,
    /// The allowed values of the key.
    pub allowed: String,
    /// The environment variable that the value came from.
    pub variable: Option<String>,
    problem: Problem,
}

impl ConfigError {
    /// `value`: `None` where the key isn't set.
    pub(super) fn wrong(key: &str, value: Option<&Value>, allowed: &str) -> Self {
        let problem = value.map_or(Problem::Unset, |value| Problem::Wrong(shown(key, value)));
        Self { key: key.to_owned(), allowed: allowed.to_owned(), variable: None, problem }
    }

    pub(super) fn unknown(key: &str, known: &str) -> Self {
        Self { key: key.to_owned(), allowed: known.to_owned(), variable: None, problem: Problem::Unknown }
    }

    pub(super) fn file(path: &Path, reason: &str) -> Self {
        Self {
            key: path.display().to_string(),
            allowed: "a TOML file in UTF-8".to_owned(),
            variable: None,
            problem: Problem::File(reason.to_owned()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Wrong(value) => write!(f, "{} = {value}", self.key)?,
            Problem::Unset => write!(f, "{} is not set", self.key)?,
            Problem::Unknown if NOT_AVAILABLE.contains(&self.key.as_str()) => {
                write!(f, "{} is not available in this version", self.key)?;
            }
            Problem::Unknown => write!(f, "{} is not a key", self.key)?,
            Problem::File(reason) => write!(f, "{}: {reason}", self.key)?,
        }
        if let Some(variable) = &self.variable {
            write!(f, " (from {variable})")?;
        }
        write!(f, "; allowed: {}", self.allowed)
    }
}

impl std::error::Error for ConfigError {}

/// The value as it may be printed.
fn shown(key: &str, value: &Value) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let last = last.split('[').next().unwrap_or(last);
    if SECRETS.contains(&last) {
        return "***".to_owned();
    }
    let nested =
        matches!(value, Value::Table(_)) || value.as_array().is_some_and(|list| list.iter().any(Value::is_table));
    if nested || HOLDERS.contains(&without_indices(key).as_str()) {
        return "{...}".to_owned();
    }
    let text = match value {
        Value::String(text) => format!("{:?}", without_credentials(text)),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// `scheme://user:password@host` with the credentials masked.
fn without_credentials(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}***{}", &text[..scheme + 3], &text[at..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_masked() {
        let error = ConfigError::wrong("store.url", Some(&Value::from("http://me:p@ss@db/x")), "sqlite:PATH");
        assert_eq!(error.to_string(), "store.url = \"http://***@db/x\"; allowed: sqlite:PATH");
    }

    #[test]
    fn a_secret_is_masked_in_a_list_too() {
        let error = ConfigError::wrong("auth.clients[3].secret", Some(&Value::from(5)), "a text");
        assert_eq!(error.to_string(), "auth.clients[3].secret = ***; allowed: a text");
        let error = ConfigError::wrong("auth.clients", Some(&Value::from("[{\"secret\":\"x\"")), "a list");
        assert_eq!(error.to_string(), "auth.clients = {...}; allowed: a list");
        let error = ConfigError::wrong("auth.keys[0]", Some(&Value::from(vec!["k", "x"])), "a table");
        assert_eq!(error.to_string(), "auth.keys[0] = {...}; allowed: a table");
    }
}
