//! The JSON-RPC door: reads requests, checks them against the schema and the caller's rights, and has them done.
//! The same over POST and over the event socket.

mod access;
mod batch;
mod call;
mod callgw;
mod conference;
mod contacts;
mod counters;
pub mod envelope;
pub mod event_socket;
mod iq;
mod links;
mod login;
mod properties;
mod rates;
mod reply;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth::{Caller, Entry};
use crate::callgw::Pool;
use crate::conference::{Conferences, Position};
use crate::config::Config;
use crate::eim::Eim;
use crate::eim::requests::Calls;
use crate::health::Health;
use crate::ids::ConfId;
use crate::placement::Placement;
use crate::rate_limit::account::Account;
use crate::rate_limit::budget::Budget;
use crate::refusal::{Reason, Refusal};
use crate::schema::{Access, Method, Schema};
use crate::store::Store;
use envelope::Request;

pub use conference::own_conferences;
pub use counters::Counters;
pub use login::FailedLogins;
pub use rates::{Act, Rates};
pub use reply::Reply;

/// The parts that methods work with. All are handles; the door owns no state.
pub struct Door {
    pub schema: Arc<Schema>,
    pub counters: Counters,
    /// What each address block may still ask for.
    pub budget: Budget,
    pub failed_logins: FailedLogins,
    pub rates: Rates,
    pub config: Arc<Config>,
    pub entry: Entry,
    pub conferences: Conferences,
    pub sockets: crate::conference::sockets::Sockets,
    pub calls: Calls,
    pub eim: Eim,
    pub pool: Pool,
    pub placement: Placement,
    pub store: Store,
    /// What sockets are told of: each part's name, and how it is.
    pub parts: [(&'static str, watch::Receiver<Health>); 3],
    /// Cancelled when nobody new is let in any more.
    pub draining: CancellationToken,
}

/// Where a request comes from.
pub struct Context<'a> {
    pub address: IpAddr,
    /// Its connection's.
    pub account: &'a Account,
    /// The access token as presented, not yet looked at.
    pub token: Option<&'a str>,
    /// The browser, where its cookie is ours.
    pub device: Option<String>,
    /// The event socket that it came over.
    pub socket: Option<&'a dyn SocketSide>,
    /// A device cookie to be set with the reply.
    pub set_device: Mutex<Option<String>>,
}

/// What methods may do with the event socket that a request came over.
pub trait SocketSide: Send + Sync {
    /// Whom the socket belongs to now.
    fn caller(&self) -> Arc<Caller>;
    /// The positions that the client resumes from, for conferences that have not been sent a snapshot yet.
    fn resume(&self, positions: Vec<(ConfId, Position)>);
    /// A new token for the same user: the socket lives as long as that one.
    fn renew(&self, caller: Arc<Caller>);
}

const PROPERTIES: &str = "config.getProperties";
const DISCOVER: &str = "rpc.discover";

/// When to try again, at another node or at this one after its restart.
const GOING_AWAY_RETRY_MS: u64 = 2000;

type Params = Map<String, Value>;
type Outcome = Result<Value, Refusal>;

/// What a method answers.
enum Answer {
    Value(Value),
    /// A JSON document that is made once.
    Document(Bytes),
}

impl Door {
    async fn perform(&self, context: &Context<'_>, request: &Request<'_>) -> Result<Answer, Refusal> {
        let Some(method) = self.schema.method(&request.method) else {
            self.counters.unknown();
            tracing::debug!("no such method");
            return Err(Refusal::of(Reason::MethodNotFound));
        };
        let began = Instant::now();
        let outcome = self.perform_method(context, method, request).await;
        let refused = outcome.as_ref().err();
        let kind = self.counters.count(method, refused, began.elapsed());
        let (code, key) = (refused.map(|refusal| refusal.kind.code()), refused.map(Refusal::key));
        tracing::debug!(method = %method.name, outcome = kind, code, key, "rpc");
        outcome
    }

    async fn perform_method(
        &self,
        context: &Context<'_>,
        method: &Method,
        request: &Request<'_>,
    ) -> Result<Answer, Refusal> {
        let caller = self.identify(context, method)?;
        let params = request.named_params()?;
        if let Err(errors) = method.validate_params(&params) {
            let errors = serde_json::to_value(errors).map_err(Refusal::fault)?;
            return Err(Refusal::of(Reason::InvalidParams).with("errors", errors));
        }
        if let Some(caller) = &caller {
            self.rates.request(caller, method, &params)?;
            self.authorize(caller, method, &params).await?;
        }
        if method.name == DISCOVER {
            return Ok(Answer::Document(self.schema.openrpc_json()));
        }
        let value = match caller {
            None if method.name == PROPERTIES => self.properties(None, &params),
            None => Box::pin(self.open_method(context, method, params)).await,
            Some(caller) => {
                // What is asked for again and again, in place; with all the others in place too, each request would
                // carry the room for the largest.
                match method.name.as_str() {
                    PROPERTIES => self.properties(Some(&caller), &params),
                    "org.user.processIQ" => self.process_iq(&caller, &params).await,
                    _ => Box::pin(self.method(context, method, &caller, params)).await,
                }
            }
        };
        value.map(Answer::Value)
    }

    /// Refuses who would come in while the node goes away.
    fn open_for_joins(&self) -> Result<(), Refusal> {
        if self.draining.is_cancelled() {
            Err(Refusal::too_many(Reason::GoingAway, GOING_AWAY_RETRY_MS))
        } else {
            Ok(())
        }
    }

    /// The caller, as far as the method asks for one.
    fn identify(&self, context: &Context<'_>, method: &Method) -> Result<Option<Arc<Caller>>, Refusal> {
        if method.name == "auth.http.login" {
            return Ok(None);
        }
        let caller = match (context.socket, context.token) {
            (Some(socket), _) => Some(self.entry.still_valid(socket.caller())?),
            (None, Some(token)) => Some(self.entry.authenticate(token)?),
            (None, None) => None,
        };
        if caller.is_none() && method.access != Access::Open {
            return Err(Refusal::unauthenticated());
        }
        Ok(caller)
    }

    /// Methods that need no token, called without one; but for [`PROPERTIES`].
    async fn open_method(&self, context: &Context<'_>, method: &Method, params: Params) -> Outcome {
        match method.name.as_str() {
            "auth.http.login" => self.login(context, params).await,
            // An integrator's own method; the gateway itself asks.
            _ => self.calls.as_gateway_method(method, &params).await,
        }
    }

    async fn method(&self, context: &Context<'_>, method: &Method, caller: &Caller, params: Params) -> Outcome {
        match method.name.as_str() {
            "auth.http.logout" => self.logout(caller).await,
            "org.user.createUser" => self.create_user(&params).await,
            "org.contacts.users" | "org.contacts.search" | "org.contacts.departments" => {
                self.contacts(method, caller, &params).await
            }
            "conference.create" => self.create_conference(method, caller, &params).await,
            "conference.join" => self.join(context, method, caller, params).await,
            "conference.control" => self.control(method, caller, &params).await,
            "conference.leave" => self.leave(method, caller, &params).await,
            "conference.end" => self.end(method, caller, &params).await,
            "conference.createLink" => self.create_link(caller, &params).await,
            "conference.revokeLink" => self.revoke_link(&params).await,
            "conference.listLinks" => self.list_links(&params).await,
            "call.start" | "call.accept" => self.enter_call(method, caller, params).await,
            "callgw.allocate" => self.allocate(caller, &params).await,
            "callgw.release" => self.release(caller),
            "callgw.report" => self.report(caller, &params).await,
            "callgw.list" => self.list_gateways(),
            "callgw.drain" => self.drain(&params).await,
            "events.resume" => resume(context, &params),
            _ => self.calls.as_user_method(method, &caller.user_id, &params).await,
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

/// A param that the schema demands, in its type.
fn typed<T: serde::de::DeserializeOwned>(params: &Params, name: &str) -> Result<T, Refusal> {
    let value = params.get(name).cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| Refusal::invalid_params(name, &error.to_string()))
}

fn text<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

/// The conference that the params name.
fn conf_id(params: &Params) -> Result<ConfId, Refusal> {
    typed(params, "confId")
}
