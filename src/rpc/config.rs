//! `config.getProperties`: the properties that clients may read.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::auth::Caller;
use crate::callgw::Pool;
use crate::config::Config;

use super::context::{Outcome, Params};

/// Their parts.
pub(super) struct ConfigMethods {
    /// The configuration.
    pub config: Arc<Config>,
    /// The call gateways.
    pub pool: Pool,
}

impl ConfigMethods {
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

    /// `webrtcAddress`: the living nodes, the caller's own first.
    fn addresses(&self, caller: &Caller) -> String {
        self.pool.addresses(self.pool.last_of(&caller.user_id).as_deref()).join(",")
    }
}
