//! The RPC schema, loaded: what each method takes, gives, demands of its caller and says to the EIM.
//!
//! `rpc-schema/` is built into the binary; the files of `eim.schema_dir` lie over it. Everything is checked once, at
//! start, so that nothing is looked up, parsed or compiled while a request runs.

mod access;
mod compile;
mod dialect;
mod document;
mod files;
mod inbound;
mod method;
mod param_error;
mod routing_key;
mod titles;
mod value;
mod x_iq;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::event::NumberedBy;

pub use access::Access;
pub use inbound::{
    Condition, Demand, EventBody, EventRule, EventRules, InboundExample, InboundFiles, KindRule, OWN_TYPE, OwnType,
    QName, XEvent, XReason, XRequest,
};
pub use method::Method;
pub use param_error::ParamError;
pub use routing_key::{KeyPattern, KeyValues};
pub use value::{KeyPart, Pointer, Step, ValueForm, ValuePath, ValueRule, ValueSource, Where, Words};
pub use x_iq::{IqKind, Speaker, Wrapper, WriteForm, WritePlace, WriteRule, XIq};

/// All methods and internal entries. Immutable after [`Schema::load`]; shared as `Arc<Schema>`.
pub struct Schema {
    methods: BTreeMap<String, Arc<Method>>,
    internal: BTreeMap<String, Arc<Method>>,
    openrpc: Value,
    openrpc_json: Bytes,
    asyncapi: Value,
    asyncapi_json: Bytes,
    inbound: InboundFiles,
}

impl Schema {
    /// Loads the built-in schema and, over it, the files of `dir`: each overrides or adds the method, or the event's
    /// file, that it names.
    ///
    /// # Errors
    /// Everything that is wrong, one line each: file, place in the file, what.
    pub fn load(dir: Option<&Path>) -> Result<Self, Vec<String>> {
        Self::load_for(dir, NumberedBy::Eim)
    }

    /// The same for an EIM whose events are numbered by it, or by the gateway.
    ///
    /// # Errors
    /// As for [`Schema::load`].
    pub fn load_for(dir: Option<&Path>, numbered: NumberedBy) -> Result<Self, Vec<String>> {
        let mut errors = Vec::new();
        let files = files::Files::read(dir, &mut errors);
        let compiler = compile::Compiler::new(&files, &mut errors);
        let (mut methods, mut internal) = (BTreeMap::new(), BTreeMap::new());
        for file in files.methods.values() {
            if let Some(method) = compiler.method(file, &mut errors) {
                let list = if method.access == Access::Internal { &mut internal } else { &mut methods };
                list.insert(method.name.clone(), Arc::new(method));
            }
        }
        let inbound = inbound::InboundCompiler::new(&files, numbered, &mut errors).compile(&mut errors);
        let openrpc = document::openrpc(&files);
        let types = inbound.iter().flat_map(|inbound| inbound.types.iter());
        let types: Vec<_> = types
            .map(|own| document::DescribedType { name: &own.name, summary: &own.summary, schema: &own.schema })
            .collect();
        let asyncapi = document::asyncapi(&files, &types, &mut errors);
        let Some(inbound) = inbound.filter(|_| errors.is_empty()) else { return Err(errors) };
        let (openrpc_json, asyncapi_json) = (openrpc.to_string().into(), asyncapi.to_string().into());
        Ok(Self { methods, internal, openrpc, openrpc_json, asyncapi, asyncapi_json, inbound })
    }

    /// The same with documents that say where they are served: `https://host:port{base}`.
    pub fn served_at(mut self, web_address: &str) -> Self {
        document::serve_at(&mut self.openrpc, &mut self.asyncapi, web_address);
        (self.openrpc_json, self.asyncapi_json) = (self.openrpc.to_string().into(), self.asyncapi.to_string().into());
        self
    }

    /// A method that clients may name.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.methods.get(name).map(Arc::as_ref)
    }

    /// An entry that only the gateway itself uses towards the EIM (`eim.*`).
    pub fn internal(&self, name: &str) -> Option<&Method> {
        self.internal.get(name).map(Arc::as_ref)
    }

    /// The methods that clients may name, by name.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.values().map(Arc::as_ref)
    }

    /// The same, to be kept beside what else belongs to each.
    pub fn shared_methods(&self) -> impl Iterator<Item = &Arc<Method>> {
        self.methods.values()
    }

    /// The entries that only the gateway itself uses, by name.
    pub fn internals(&self) -> impl Iterator<Item = &Method> {
        self.internal.values().map(Arc::as_ref)
    }

    /// The addresses at which the EIM is asked, each once.
    pub fn addresses(&self, domain: &str) -> Vec<String> {
        let asked = self.methods().chain(self.internals()).filter_map(|entry| entry.x_iq.as_ref());
        asked.map(|x_iq| x_iq.address(domain)).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// What the EIM sends of its own accord, and how it is read.
    pub fn inbound(&self) -> &InboundFiles {
        &self.inbound
    }

    /// The whole OpenRPC document: the answer of `rpc.discover`. `x-access`, `x-params` and `x-iq` are kept, for those
    /// who read what a method demands and says to the EIM.
    pub fn openrpc(&self) -> &Value {
        &self.openrpc
    }

    /// The same as text, made once and shared by all who are sent it.
    pub fn openrpc_json(&self) -> Bytes {
        self.openrpc_json.clone()
    }

    /// The AsyncAPI document of the event socket; shapes that OpenRPC has too are taken from there.
    pub fn asyncapi(&self) -> &Value {
        &self.asyncapi
    }

    /// The same as text, made once.
    pub fn asyncapi_json(&self) -> Bytes {
        self.asyncapi_json.clone()
    }
}

#[cfg(test)]
mod tests;
