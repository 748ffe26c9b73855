//! All parts on this machine, each a process of its own, with a breakable link between each two that talk.

use std::fmt::Write;

use tempfile::TempDir;

use super::guest::Home;
use crate::fixture::CLIENTS;
use crate::support::chaos::ChaosProxy;
use crate::support::gateway::{Eim, Gateway, eim_with};
use crate::support::mariadb::MariaDb;
use crate::support::media::{NODE_SECRET, builtin_node};
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::until_true;
use crate::support::xmpp_server::{COMPONENT, MODULES, SECOND_COMPONENT, THIRD_COMPONENT, XmppServer};

const COMPONENTS: [&str; 3] = [COMPONENT, SECOND_COMPONENT, THIRD_COMPONENT];
const MEDIA: [&str; 2] = ["m1", "m2"];

/// How long members without a socket are kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    pub grace_ms: u64,
    pub resume_window_ms: u64,
    /// A guest's account, after the window.
    pub guest_idle_ms: u64,
}

/// A member who comes back within a minute is where they were.
pub const LONG: Kept = Kept { grace_ms: 8000, resume_window_ms: 60_000, guest_idle_ms: 60_000 };

/// Bounds for hundreds of guests at one address.
const SETTINGS: &str = r#"
connects_per_minute = 100000
connections_per_block = 5000
sockets_per_block = 5000
sockets_per_minute = 100000
joins_per_minute = 100000
guesses_per_minute = 100000
guesses_total_per_minute = 1000000
login_failures_per_minute = 100000
guests_per_link = 2000
own_controls_per_minute = 10000
messages_per_minute = 10000
conference_acts_per_minute = 100000
conference_members = 2000
[callgw]
report_interval_ms = 500
"#;

/// Ends in this order: what talks before what is talked to.
pub struct Topology {
    pub gateways: Vec<Gateway>,
    pub eim: Eim,
    pub media: Vec<Gateway>,
    /// By who talks to whom: `gw1-broker`.
    links: Vec<(String, ChaosProxy)>,
    pub broker: RabbitMq,
    pub database: MariaDb,
    pub server: XmppServer,
    _trust: TempDir,
}

impl Topology {
    pub async fn start(gateways: usize, kept: Kept) -> Self {
        let Kept { grace_ms, resume_window_ms, guest_idle_ms } = kept;
        let (server, broker, database) = tokio::join!(XmppServer::ejabberd(), RabbitMq::start(), MariaDb::start());
        let mut links = Vec::new();
        let mut link = async |name: String, to| {
            let proxy = ChaosProxy::to(to).await;
            let address = proxy.address();
            links.push((name, proxy));
            address
        };
        let eim_server = link("eim-xmpp".to_owned(), server.door(MODULES[0]).port.address()).await;
        let eim_broker = link("eim-broker".to_owned(), broker.address()).await;
        let eim_database = link("eim-db".to_owned(), database.address()).await;
        let shared = |database: &str, broker: &str| {
            format!(
                "[store]\nurl = {database:?}\nwait_ms = 2000\n\
                 [events]\nmode = \"amqp\"\nurl = {broker:?}\nreconnect_min_ms = 50\nreconnect_max_ms = 1000\n\
                 timeout_ms = 2000\nheartbeat_s = 2\n"
            )
        };
        let eim = format!(
            "{}{}",
            server.eim_section_via(eim_server),
            shared(&database.url_at(eim_database), &broker.url_at(eim_broker))
        );
        let eim = eim_with(&eim).await;

        let mut media = Vec::new();
        for id in MEDIA {
            let own =
                format!("[node]\nid = \"{id}\"\n{}[callgw]\nthreads = 1\nreport_interval_ms = 500\n", builtin_node(id));
            media.push(Gateway::media(&own).start().await);
        }
        let trust = tempfile::tempdir().expect("the system's directory for temporary files is writable");
        let ca = trust.path().join("nodes.pem");
        let certificates: String =
            media.iter().map(|node| std::fs::read_to_string(node.certificate()).expect("it is PEM")).collect();
        std::fs::write(&ca, certificates).expect("the directory is writable");

        let mut nodes = Vec::new();
        for (at, component) in COMPONENTS.iter().take(gateways).enumerate() {
            let id = format!("gw{}", at + 1);
            let to_server = link(format!("{id}-xmpp"), server.door(component).port.address()).await;
            let to_broker = link(format!("{id}-broker"), broker.address()).await;
            let to_database = link(format!("{id}-db"), database.address()).await;
            let eim_section = server.component_section_via(to_server, component);
            let mut config = format!(
                "{CLIENTS}\n{eim_section}wait_ms = 1000\ntimeout_ms = 4000\nreconnect_min_ms = 50\n\
                 reconnect_max_ms = 1000\nkeepalive_ms = 2000\nping_interval_ms = 500\n{}[node]\nid = {id:?}\nlease_ms = 4000\n\
                 [limits]\ngrace_ms = {grace_ms}\nresume_window_ms = {resume_window_ms}\nguest_idle_ms = {guest_idle_ms}\n\
                 {SETTINGS}ca = {ca:?}\n",
                shared(&database.url_at(to_database), &broker.url_at(to_broker))
            );
            for (node, running) in MEDIA.iter().zip(&media) {
                let to_node = link(format!("{id}-{node}"), running.http()).await;
                let url = format!("wss://127.0.0.1:{}/gzbwclient/callgw", to_node.port());
                write!(
                    config,
                    "[[callgw.nodes]]\nid = {node:?}\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n"
                )
                .expect("a text takes any text");
            }
            nodes.push(Gateway::with(&config).environment("RUST_LOG", "info,confgate=debug").start().await);
        }
        let topology = Self { gateways: nodes, eim, media, links, broker, database, server, _trust: trust };
        topology.whole().await;
        topology
    }

    pub fn homes(&self) -> Vec<Home> {
        let home = |gateway: &Gateway| Home { address: gateway.http(), certificate: gateway.certificate() };
        self.gateways.iter().map(home).collect()
    }

    pub fn link(&self, name: &str) -> &ChaosProxy {
        let found = self.links.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no link {name}")).1
    }

    /// Whether every gateway says that all its parts are up.
    pub async fn is_whole(&self) -> bool {
        for gateway in &self.gateways {
            let readyz = gateway.readyz().await;
            let parts = readyz["parts"].as_array().cloned().unwrap_or_default();
            if parts.iter().any(|part| part["state"] != "up") {
                return false;
            }
        }
        true
    }

    async fn whole(&self) {
        until_true("every part of every gateway is up", async || self.is_whole().await).await;
    }
}
