//! Where a request comes from, and its params.

use std::net::IpAddr;
use std::sync::Mutex;

use serde_json::{Map, Value};

use crate::ids::ConfId;
use crate::rate_limit::account::Account;
use crate::refusal::Refusal;

use super::socket_session::SocketSession;

pub(super) type Params = Map<String, Value>;
pub(super) type Outcome = Result<Value, Refusal>;

/// Where a request comes from.
pub struct Context<'a> {
    /// The address.
    pub address: IpAddr,
    /// Its connection's.
    pub account: &'a Account,
    /// The access token as presented, not yet looked at.
    pub token: Option<&'a str>,
    /// The browser, where its cookie is ours.
    pub device: Option<String>,
    /// The event socket that it came over.
    pub socket: Option<&'a SocketSession>,
    /// A device cookie to be set with the reply.
    pub set_device: Mutex<Option<String>>,
}

/// A param that the schema demands, in its type.
pub(super) fn typed<T: serde::de::DeserializeOwned>(params: &Params, name: &str) -> Result<T, Refusal> {
    let value = params.get(name).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| Refusal::invalid_params(name, &error.to_string()))
}

pub(super) fn text<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

/// The conference that the params name.
pub(super) fn conf_id(params: &Params) -> Result<ConfId, Refusal> {
    typed(params, "confId")
}
