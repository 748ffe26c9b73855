//! JSON-RPC: reads requests, checks them against the schema and the caller's rights, and has them answered. The same
//! over POST and over the event socket.

mod access;
mod admission;
mod allocations;
mod auth;
mod batch;
mod call;
mod callgw;
mod conference;
mod config;
mod contacts;
mod context;
mod counters;
pub mod envelope;
pub mod event_socket;
mod iq;
mod links;
mod methods;
mod rates;
mod reply;
mod rest;
mod socket_session;
mod users;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use metrics::Counter;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::auth::{AuthService, Caller};
use crate::callgw::Pool;
use crate::conference::Conferences;
use crate::conference::sockets::Sockets;
use crate::config::Config;
use crate::eim::Eim;
use crate::eim::requests::Requests;
use crate::placement::Placement;
use crate::rate_limit::budget::Budget;
use crate::refusal::{Reason, Refusal};
use crate::schema::{Access, Schema};
use crate::store::Store;
use admission::Admission;
use allocations::Allocations;
use envelope::Request;
use methods::{Handler, MethodTable, Namespaces, Registered};

pub use access::Authorization;
pub use context::Context;
pub use iq::REQ_XML_MAX;
pub use rates::{Act, Rates};
pub use reply::Reply;
pub use rest::NotAnswered;

/// Handles to the parts that methods work with.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The schema.
    pub schema: Arc<Schema>,
    /// Logins, links and guests.
    pub auth: AuthService,
    /// The conferences.
    pub conferences: Conferences,
    /// The open event sockets.
    pub sockets: Sockets,
    /// Requests to the EIM.
    pub calls: Requests,
    /// The links to the EIM.
    pub eim: Eim,
    /// The call gateways.
    pub pool: Pool,
    /// The placement of conferences.
    pub placement: Placement,
    /// The store.
    pub store: Store,
    /// The budget of each address block.
    pub budget: Arc<Budget>,
    /// The users' rates.
    pub rates: Arc<Rates>,
    /// Cancelled when nobody new is let in any more.
    pub draining: CancellationToken,
}

/// Answers requests. Owns no state but its counters; its parts are handles.
pub struct Rpc {
    methods: MethodTable,
    unknown_methods: Counter,
    namespaces: Namespaces,
    authorization: Authorization,
    auth: AuthService,
    budget: Arc<Budget>,
    rates: Arc<Rates>,
    config: Arc<Config>,
    /// The answer of `rpc.discover`.
    document: Bytes,
}

/// The answer of a method.
enum Answer {
    Value(Value),
    /// A JSON document that is made once.
    Document(Bytes),
}

impl Parts {
    /// The checks of access, over these parts.
    pub fn authorization(&self) -> Authorization {
        Authorization {
            conferences: self.conferences.clone(),
            auth: self.auth.clone(),
            calls: self.calls.clone(),
            eim: self.eim.clone(),
        }
    }

    fn allocations(&self) -> Allocations {
        Allocations {
            pool: self.pool.clone(),
            placement: self.placement.clone(),
            conferences: self.conferences.clone(),
            authorization: self.authorization(),
            p2p: self.config.callgw.p2p,
        }
    }

    fn conference_methods(&self) -> conference::ConferenceMethods {
        conference::ConferenceMethods {
            calls: self.calls.clone(),
            auth: self.auth.clone(),
            conferences: self.conferences.clone(),
            sockets: self.sockets.clone(),
            store: self.store.clone(),
            allocations: self.allocations(),
            authorization: self.authorization(),
            admission: Admission(self.draining.clone()),
        }
    }

    fn callgw_methods(&self) -> callgw::CallgwMethods {
        callgw::CallgwMethods {
            allocations: self.allocations(),
            pool: self.pool.clone(),
            placement: self.placement.clone(),
            conferences: self.conferences.clone(),
            auth: self.auth.clone(),
            authorization: self.authorization(),
            drain: self.config.limits.drain,
        }
    }

    fn namespaces(&self) -> Namespaces {
        let (auth, calls, admission) = (&self.auth, &self.calls, Admission(self.draining.clone()));
        Namespaces {
            auth: auth::AuthMethods::new(auth.clone(), admission.clone()),
            call: call::CallMethods {
                calls: calls.clone(),
                conferences: self.conferences.clone(),
                sockets: self.sockets.clone(),
                admission,
            },
            callgw: self.callgw_methods(),
            conference: self.conference_methods(),
            links: links::LinkMethods { auth: auth.clone(), authorization: self.authorization() },
            config: config::ConfigMethods { config: self.config.clone(), pool: self.pool.clone() },
            contacts: contacts::ContactsMethods { calls: calls.clone(), auth: auth.clone() },
            user: users::UserMethods {
                config: self.config.clone(),
                calls: calls.clone(),
                eim: self.eim.clone(),
                rates: self.rates.clone(),
            },
            calls: calls.clone(),
        }
    }
}

impl Rpc {
    /// # Errors
    /// The schema and the handlers of methods don't fit.
    pub fn new(parts: &Parts) -> Result<Self, String> {
        Ok(Self {
            methods: MethodTable::new(&parts.schema)?,
            unknown_methods: counters::unknown_methods(),
            namespaces: parts.namespaces(),
            authorization: parts.authorization(),
            auth: parts.auth.clone(),
            budget: parts.budget.clone(),
            rates: parts.rates.clone(),
            config: parts.config.clone(),
            document: parts.schema.openrpc_json(),
        })
    }

    async fn perform(&self, context: &Context<'_>, request: &Request<'_>) -> Result<Answer, Refusal> {
        let Some(registered) = self.methods.get(&request.method) else {
            self.unknown_methods.increment(1);
            tracing::debug!("no such method");
            return Err(Refusal::of(Reason::MethodNotFound));
        };
        let began = Instant::now();
        let outcome = self.perform_method(context, registered, request).await;
        let refused = outcome.as_ref().err();
        let kind = registered.counters.count(refused, began.elapsed());
        let (code, key) = (refused.map(|refusal| refusal.kind.code()), refused.map(Refusal::key));
        tracing::debug!(method = %registered.method.name, outcome = kind, code, key, "rpc");
        outcome
    }

    async fn perform_method(
        &self,
        context: &Context<'_>,
        registered: &Registered,
        request: &Request<'_>,
    ) -> Result<Answer, Refusal> {
        let caller = self.identify(context, registered)?;
        let params = request.named_params()?;
        let method = &registered.method;
        if let Err(errors) = method.validate_params(&params) {
            let errors = serde_json::to_value(errors).map_err(Refusal::fault)?;
            return Err(Refusal::of(Reason::InvalidParams).with("errors", errors));
        }
        if let Some(caller) = &caller {
            self.rates.request(caller, registered.act, &params)?;
            self.authorization.check(caller, method, &params).await?;
        }
        if registered.handler == Handler::Discover {
            return Ok(Answer::Document(self.document.clone()));
        }
        self.namespaces.answer(context, registered, caller.as_deref(), params).await.map(Answer::Value)
    }

    /// The caller, as far as the method asks for one.
    fn identify(&self, context: &Context<'_>, registered: &Registered) -> Result<Option<Arc<Caller>>, Refusal> {
        if registered.handler == Handler::Login {
            return Ok(None);
        }
        let caller = match (context.socket, context.token) {
            (Some(socket), _) => Some(self.auth.still_valid(socket.caller())?),
            (None, Some(token)) => Some(self.auth.authenticate(token)?),
            (None, None) => None,
        };
        if caller.is_none() && registered.method.access != Access::Open {
            return Err(Refusal::unauthenticated());
        }
        Ok(caller)
    }
}
