//! The gateway's wires and rooms, started in the order in which one needs another.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call_gateways::{self, Routers};
use super::listeners::{External, gateway_readiness};
use super::routes::{self, Handles};
use super::{Base, eim};
use crate::admin::ReadinessSource;
use crate::app::lifecycle::{Failure, Lifecycle};
use crate::auth::{AuthService, Secrets};
use crate::callgw::Pool;
use crate::conference::owner::{self, Dialer, OwnerNotice, Owners};
use crate::conference::sockets::Sockets;
use crate::conference::{Conferences, EventReceivers, Limits, Source};
use crate::config::Config;
use crate::eim::Eim;
use crate::eim::amqp;
use crate::eim::amqp::bindings::Bindings;
use crate::eim::amqp::consumer::{Consumer, NOT_YET};
use crate::eim::events::Inbound;
use crate::eim::inbound::InboundSchema;
use crate::eim::requests::Requests;
use crate::event::NumberedBy;
use crate::health::Health;
use crate::http::dial::Tls;
use crate::http::ws::pump::Pace;
use crate::http::{Certificate, Handler, Neighbours};
use crate::placement::{self, Placement};
use crate::rate_limit::budget::Budget;
use crate::rpc::event_socket::EventSockets;
use crate::rpc::{self, Rates, Rpc};
use crate::schema::Schema;
use crate::store::Store;
use crate::token::KindKeys;

/// Handles to all of them.
pub(super) struct Parts {
    pub config: Arc<Config>,
    pub schema: Arc<Schema>,
    pub store: Store,
    pub eim: Eim,
    pub calls: Requests,
    pub conferences: Conferences,
    /// Where the gateway numbers events.
    pub owners: Option<Owners>,
    pub sockets: Sockets,
    pub auth: AuthService,
    pub pool: Pool,
    pub placement: Placement,
    /// How each part is whose trouble sockets are told of.
    pub health: Vec<(&'static str, watch::Receiver<Health>)>,
    pub store_health: watch::Receiver<Health>,
    /// Of what only some gateways have.
    pub external: External,
    /// The tasks that answer requests of the EIM.
    pub tracker: TaskTracker,
}

/// The parts' event receivers and health senders: each is one task's.
pub(super) struct Ends {
    pub inbound: mpsc::Receiver<Inbound>,
    /// The broker's consumer, and what it delivers.
    pub broker: Option<(Consumer, mpsc::Receiver<Inbound>)>,
    pub conferences: EventReceivers,
    /// The events that the gateway has numbered.
    pub numbered: Option<mpsc::Receiver<OwnerNotice>>,
    pub placement: placement::Task,
    pub store_health_sender: watch::Sender<Health>,
    pub gateways_health_sender: watch::Sender<Health>,
}

impl Parts {
    pub(super) async fn start(
        base: Base,
        http: SocketAddr,
        neighbours: Neighbours,
        lifecycle: &mut Lifecycle,
    ) -> Result<(Self, Ends, Routers), Failure> {
        let tracker = TaskTracker::new();
        let (eim, inbound, rooms_health) = eim::start(&base, lifecycle, &tracker).await?;
        let Base { config, schema, store } = base;
        let calls = Requests::new(eim.clone(), schema.clone(), &config.eim.domain, config.eim.timeout);
        let (node, generation) = (config.node.id.clone(), store.next_generations().await?);
        let broker = amqp::Settings::of(&config.events);
        let bindings = broker.as_ref().map_or_else(Bindings::none, |broker| Bindings::new(broker.timeout));
        let Secrets { keys, nodes, sealer, first } = Secrets::load(&config.auth, &store).await?;
        let wires = (&calls, &store, &bindings, &tracker);
        let Numbers { source, owners, numbered, route } = Numbers::start(&config, wires, nodes, http, lifecycle)?;
        let (conferences, receivers) =
            Conferences::new(source, Limits::from(&*config), node, generation, bindings.clone(), tracker.clone());
        let (sockets, address) = (Sockets::new(conferences.clone()), config.http.web_address(http));
        let auth = AuthService::new(config.clone(), address, keys, sealer, store.clone(), calls.clone(), eim.clone());

        let process = call_gateways::Process { http, neighbours, tracker: tracker.clone() };
        let (pool, placement, placing, routers) =
            call_gateways::start(&config, &first, &auth, &store, process, lifecycle).await?;

        let (store_health_sender, store_health) = watch::channel(Health::up());
        let (gateways_health_sender, gateways_health) = watch::channel(Health::up());
        let mut health = vec![("eim", eim.health()), ("store", store_health.clone()), ("callgw", gateways_health)];
        let (events, broker_events) = consumer(broker, &config, &schema, bindings).unzip();
        let (consumer, events_health) = events.unzip();
        let external = External { broker: events_health, rooms: rooms_health };
        health.extend(external.parts());
        let ends = Ends {
            inbound,
            broker: consumer.zip(broker_events),
            conferences: receivers,
            numbered,
            placement: placing,
            store_health_sender,
            gateways_health_sender,
        };
        let parts = Self {
            config,
            schema,
            store,
            eim,
            calls,
            conferences,
            owners,
            sockets,
            auth,
            pool,
            placement,
            health,
            store_health,
            external,
            tracker,
        };
        Ok((parts, ends, routers.beside(route)))
    }

    /// The parts that `/readyz` names.
    pub(super) fn readiness(&self, soft: CancellationToken) -> ReadinessSource {
        let (store, eim) = (self.store_health.clone(), self.eim.clone());
        gateway_readiness(store, eim, self.external.clone(), self.conferences.clone(), self.pool.clone(), soft)
    }

    /// The routes, those of the call gateway among them, and what answers behind them.
    pub(super) fn handler(&self, draining: CancellationToken, call_gateway: Router) -> Result<Handler, Failure> {
        let parts = self.of_rpc(draining);
        let rpc = Arc::new(Rpc::new(&parts)?);
        let authorization = parts.authorization();
        let rpc::Parts { config, schema, auth, sockets, calls, eim, budget, rates, .. } = parts;
        let (base, body_bytes) = (config.http.base_path.as_str().to_owned(), config.limits.body_bytes);
        let sockets = Arc::new(EventSockets {
            rpc: rpc.clone(),
            config,
            auth: auth.clone(),
            sockets,
            calls,
            eim,
            authorization,
            health: self.health.clone(),
        });
        let handles = Handles { rpc, sockets, auth, budget, rates, schema, body_bytes };
        Ok(routes::handler(handles, &base, call_gateway))
    }

    /// The parts that JSON-RPC's methods work with.
    fn of_rpc(&self, draining: CancellationToken) -> rpc::Parts {
        rpc::Parts {
            config: self.config.clone(),
            schema: self.schema.clone(),
            auth: self.auth.clone(),
            conferences: self.conferences.clone(),
            sockets: self.sockets.clone(),
            calls: self.calls.clone(),
            eim: self.eim.clone(),
            pool: self.pool.clone(),
            placement: self.placement.clone(),
            store: self.store.clone(),
            budget: Arc::new(Budget::per_minute(self.config.limits.requests_per_minute)),
            rates: Arc::new(Rates::new(&self.config.limits)),
            draining,
        }
    }
}

/// Who numbers the conferences' events.
struct Numbers {
    source: Source,
    owners: Option<Owners>,
    numbered: Option<mpsc::Receiver<OwnerNotice>>,
    /// Of other nodes' links.
    route: Router,
}

/// What owners of numbers need.
type Wires<'a> = (&'a Requests, &'a Store, &'a Bindings, &'a TaskTracker);

/// Where nodes' links are, below the base path.
const LINK_PATH: &str = "/node";

impl Numbers {
    fn start(
        config: &Config,
        wires: Wires<'_>,
        keys: KindKeys,
        http: SocketAddr,
        lifecycle: &mut Lifecycle,
    ) -> Result<Self, Failure> {
        let (calls, store, bindings, tracker) = wires;
        if config.events.numbered == NumberedBy::Eim {
            return Ok(Self { source: Source::Eim(calls.clone()), owners: None, numbered: None, route: Router::new() });
        }
        let (node, limits, keys) = (&config.node.id, Limits::from(config), Arc::new(keys));
        let dialer = Dialer::new(node, keys.clone(), Tls::load(config.callgw.ca.as_deref())?, store.clone());
        let (owners, numbered) =
            Owners::new(calls.clone(), store.clone(), bindings.clone(), limits, dialer, tracker.clone());
        let pace = Pace {
            heartbeat: config.limits.heartbeat,
            write_timeout: config.limits.write_timeout,
            pings_per_minute: config.limits.socket_pings_per_minute,
        };
        let path = format!("{}{LINK_PATH}", config.http.base_path.as_str());
        let route = owner::serve::router(owners.clone(), keys, node, &path, config.limits.requests_per_minute, pace);
        let url = format!("{}{LINK_PATH}", call_gateways::own_url(config, http));
        let certificate = Certificate::from(&config.http).files()?.cert;
        if http.ip().is_unspecified() && config.callgw.own_url.is_none() && config.http.public_url.is_none() {
            tracing::warn!(
                "callgw.own_url: to be set before another gateway node is on the store, which can't reach {url}"
            );
        } else {
            lifecycle.work("node address", owner::keep_address(store.clone(), url, certificate));
        }
        let source = Source::Owners(owners.clone());
        Ok(Self { source, owners: Some(owners), numbered: Some(numbered), route })
    }
}

/// What comes from the broker, and how that is.
type BrokerEnds = ((Consumer, watch::Receiver<Health>), mpsc::Receiver<Inbound>);

fn consumer(
    settings: Option<amqp::Settings>,
    config: &Config,
    schema: &Schema,
    bindings: Bindings,
) -> Option<BrokerEnds> {
    let (settings, schema) = (settings?, Arc::new(InboundSchema::new(schema, &config.eim.domain)));
    let (sender, inbound) = mpsc::channel(settings.prefetch.into());
    let (health_sender, health) = watch::channel(Health::down(NOT_YET));
    Some(((Consumer::new(settings, &config.node.id, schema, bindings, sender, health_sender), health), inbound))
}
