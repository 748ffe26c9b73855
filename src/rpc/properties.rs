//! `config.getProperties`: the properties that clients may read.

use serde_json::{Map, Value};

use crate::auth::Caller;

use super::{Door, Outcome, Params};

impl Door {
    /// Keys that nobody may read, or that don't exist, are left out.
    pub(super) fn properties(&self, caller: Option<&Caller>, params: &Params) -> Outcome {
        let keys = params.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut properties = Map::new();
        for key in keys.iter().filter_map(Value::as_str) {
            let value = match (key, caller) {
                ("serverName", _) => self.config.eim.domain.clone(),
                ("webrtcAddress", Some(caller)) => self.addresses(caller),
                _ => continue,
            };
            properties.insert(key.to_owned(), value.into());
        }
        Ok(Value::Object(properties))
    }
}
