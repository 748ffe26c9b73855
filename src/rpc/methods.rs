//! The method table: for each method that clients may name, who answers it, at what rate, and how it is counted.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::auth::Caller;
use crate::conference::Position;
use crate::eim::requests::Requests;
use crate::ids::ConfId;
use crate::refusal::{Reason, Refusal};
use crate::schema::{Method, Schema};

use super::auth::AuthMethods;
use super::call::CallMethods;
use super::callgw::CallgwMethods;
use super::conference::ConferenceMethods;
use super::config::ConfigMethods;
use super::contacts::ContactsMethods;
use super::context::{Context, Outcome, Params, typed};
use super::counters::MethodCounters;
use super::links::LinkMethods;
use super::rates::ActRule;
use super::users::UserMethods;

/// The handler of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    Login,
    Logout,
    EnterCall,
    Allocate,
    Drain,
    ListNodes,
    Release,
    Report,
    Control,
    CreateConference,
    CreateLink,
    End,
    Join,
    Leave,
    ListLinks,
    RevokeLink,
    Properties,
    Resume,
    Contacts,
    CreateUser,
    ProcessIq,
    Discover,
    /// The EIM, by the schema's conversion alone.
    Eim,
}

/// The methods that the gateway has a part in.
const HANDLERS: [(&str, Handler); 25] = [
    ("auth.http.login", Handler::Login),
    ("auth.http.logout", Handler::Logout),
    ("call.accept", Handler::EnterCall),
    ("call.start", Handler::EnterCall),
    ("callgw.allocate", Handler::Allocate),
    ("callgw.drain", Handler::Drain),
    ("callgw.list", Handler::ListNodes),
    ("callgw.release", Handler::Release),
    ("callgw.report", Handler::Report),
    ("conference.control", Handler::Control),
    ("conference.create", Handler::CreateConference),
    ("conference.createLink", Handler::CreateLink),
    ("conference.end", Handler::End),
    ("conference.join", Handler::Join),
    ("conference.leave", Handler::Leave),
    ("conference.listLinks", Handler::ListLinks),
    ("conference.revokeLink", Handler::RevokeLink),
    ("config.getProperties", Handler::Properties),
    ("events.resume", Handler::Resume),
    ("org.contacts.departments", Handler::Contacts),
    ("org.contacts.search", Handler::Contacts),
    ("org.contacts.users", Handler::Contacts),
    ("org.user.createUser", Handler::CreateUser),
    ("org.user.processIQ", Handler::ProcessIq),
    ("rpc.discover", Handler::Discover),
];

/// One method, ready to be called.
pub(super) struct Registered {
    /// The method.
    pub method: Arc<Method>,
    /// The handler.
    pub handler: Handler,
    /// How often a caller may ask for it.
    pub act: Option<ActRule>,
    /// The counters.
    pub counters: MethodCounters,
}

/// All of them by name. Made once, from the schema.
pub(super) struct MethodTable(HashMap<String, Registered>);

impl MethodTable {
    /// # Errors
    /// A method of the schema that nobody answers; a handler of a method that the schema lacks.
    pub fn new(schema: &Schema) -> Result<Self, String> {
        let mut handlers: HashMap<&str, Handler> = HANDLERS.into_iter().collect();
        let mut table = HashMap::new();
        for method in schema.shared_methods() {
            let handler = match handlers.remove(method.name.as_str()) {
                Some(handler) => handler,
                None if method.x_iq.is_some() => Handler::Eim,
                None => return Err(format!("nobody answers the schema's method {}", method.name)),
            };
            let (act, counters) = (ActRule::of(method), MethodCounters::new(&method.name));
            table.insert(method.name.clone(), Registered { method: method.clone(), handler, act, counters });
        }
        match handlers.into_keys().next() {
            Some(name) => Err(format!("the schema has no method {name}")),
            None => Ok(Self(table)),
        }
    }

    /// The method of that name.
    pub fn get(&self, name: &str) -> Option<&Registered> {
        self.0.get(name)
    }
}

/// The methods' parts, by the namespaces of their names.
pub(super) struct Namespaces {
    /// `auth.*`
    pub auth: AuthMethods,
    /// `call.*`
    pub call: CallMethods,
    /// `callgw.*`
    pub callgw: CallgwMethods,
    /// `conference.*`
    pub conference: ConferenceMethods,
    /// Links.
    pub links: LinkMethods,
    /// `config.*`
    pub config: ConfigMethods,
    /// `org.contacts.*`
    pub contacts: ContactsMethods,
    /// The user.
    pub user: UserMethods,
    /// For what the gateway has no part in.
    pub calls: Requests,
}

impl Namespaces {
    /// The answer to one request that may be made.
    pub async fn answer(
        &self,
        context: &Context<'_>,
        Registered { method, handler, .. }: &Registered,
        caller: Option<&Caller>,
        params: Params,
    ) -> Outcome {
        // Frequent methods are awaited in place; with all the others in place too, each request would carry the room
        // for the largest.
        match (handler, caller) {
            (Handler::Properties, caller) => self.config.properties(caller, &params),
            (Handler::ProcessIq, Some(caller)) => self.user.process_iq(caller, &params).await,
            (handler, Some(caller)) => Box::pin(self.answer_caller(context, *handler, method, caller, params)).await,
            (Handler::Login, None) => Box::pin(self.auth.login(context, params)).await,
            // An integrator's own method that needs no token; the gateway itself asks.
            (_, None) => Box::pin(self.calls.as_gateway_method(method, &params)).await,
        }
    }

    async fn answer_caller(
        &self,
        context: &Context<'_>,
        handler: Handler,
        method: &Method,
        caller: &Caller,
        params: Params,
    ) -> Outcome {
        match handler {
            Handler::Logout => self.auth.logout(caller).await,
            Handler::EnterCall => self.call.enter(method, caller, params).await,
            Handler::Allocate => self.callgw.allocate(caller, &params).await,
            Handler::Drain => self.callgw.drain(&params).await,
            Handler::ListNodes => self.callgw.list_gateways(),
            Handler::Release => self.callgw.release(caller),
            Handler::Report => self.callgw.report(caller, &params).await,
            Handler::Control => self.conference.control(method, caller, &params).await,
            Handler::CreateConference => self.conference.create(method, caller, &params).await,
            Handler::CreateLink => self.links.create(caller, &params).await,
            Handler::End => self.conference.end(method, caller, &params).await,
            Handler::Join => self.conference.join(context, method, caller, params).await,
            Handler::Leave => self.conference.leave(method, caller, &params).await,
            Handler::ListLinks => self.links.list(&params).await,
            Handler::RevokeLink => self.links.revoke(&params).await,
            Handler::Resume => resume(context, &params),
            Handler::Contacts => self.contacts.list(method, caller, &params).await,
            Handler::CreateUser => self.user.create(&params).await,
            // Answered before the caller is known, or in place.
            Handler::Login | Handler::Properties | Handler::ProcessIq | Handler::Discover | Handler::Eim => {
                self.calls.as_user_method(method, &caller.user_id, &params).await
            }
        }
    }
}

fn resume(context: &Context<'_>, params: &Params) -> Outcome {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        conf_id: ConfId,
        epoch: String,
        seq: u64,
    }
    let socket = context.socket.ok_or_else(|| Refusal::of(Reason::SocketOnly))?;
    let named: Vec<Named> = typed(params, "positions")?;
    socket.resume(named.into_iter().map(|n| (n.conf_id, Position { epoch: n.epoch, seq: n.seq })).collect());
    Ok(Value::Object(Map::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_schema_and_the_handlers_fit() {
        let schema = Schema::load(None).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        let table = MethodTable::new(&schema).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(table.0.len(), schema.methods().count());
        assert_eq!(table.get("conference.sendMessage").map(|r| r.handler), Some(Handler::Eim));
        assert!(table.get("eim.snapshot").is_none(), "what only the gateway asks is no method");
    }
}
