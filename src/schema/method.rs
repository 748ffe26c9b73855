//! One method: its access, its conversion, its compiled schemas.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::param_error::explain;
use super::{Access, ParamError, XIq};

/// A method object of `rpc-schema/`, ready to run.
pub struct Method {
    /// The method's name.
    pub name: String,
    /// The access that it demands.
    pub access: Access,
    /// The IQ to the EIM; `None` where the gateway answers by itself.
    pub x_iq: Option<XIq>,
    pub(super) params: Vec<Param>,
    /// `x-params`: what holds between params, which OpenRPC can't say.
    pub(super) together: Option<Arc<Validator>>,
    pub(super) result: Option<Arc<Validator>>,
}

pub(super) struct Param {
    pub name: String,
    pub required: bool,
    pub validator: Arc<Validator>,
}

impl Method {
    /// Whether the params are what the schema says. Members that it doesn't name are left alone: a client may be
    /// newer than the gateway.
    ///
    /// # Errors
    /// Each missing or ill-formed param.
    pub fn validate_params(&self, params: &Map<String, Value>) -> Result<(), Vec<ParamError>> {
        let mut errors = Vec::new();
        for param in &self.params {
            match params.get(&param.name) {
                Some(value) if param.validator.is_valid(value) => {}
                Some(value) => errors.extend(explain(&param.name, param.validator.iter_errors(value))),
                None if param.required => errors.push(ParamError::required(&param.name)),
                None => {}
            }
        }
        if let Some(rule) = &self.together
            && errors.is_empty()
        {
            let known = Value::Object(self.known(params));
            if !rule.is_valid(&known) {
                errors = explain("", rule.iter_errors(&known));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether the value is what the method promises to answer.
    ///
    /// # Errors
    /// Each place that differs.
    pub fn validate_result(&self, result: &Value) -> Result<(), Vec<ParamError>> {
        match &self.result {
            Some(schema) if !schema.is_valid(result) => Err(explain("", schema.iter_errors(result))),
            _ => Ok(()),
        }
    }

    /// The params that the schema names, in its order.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|p| p.name.as_str())
    }

    fn known(&self, params: &Map<String, Value>) -> Map<String, Value> {
        let named = self.params.iter().filter_map(|p| params.get_key_value(&p.name));
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
