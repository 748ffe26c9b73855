//! Several gateway nodes that share a store, an EIM and its users, as one: each is a process with component addresses of
//! its own at a real XMPP server. Judged by clients with sockets on all of them.

mod endings;
mod failover;
mod provisioning;
mod resume;
mod takeover;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::CLIENTS;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Builder, Eim, Gateway, eim_with};
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, THIRD_COMPONENT, XmppServer};

/// Each node's own address for callers; the one for provisioning goes with it.
const COMPONENTS: [&str; 3] = [COMPONENT, SECOND_COMPONENT, THIRD_COMPONENT];

/// All parts, each a process of its own. They end in this order.
struct Cluster {
    nodes: Vec<Gateway>,
    eim: Eim,
    _broker: Option<RabbitMq>,
    server: XmppServer,
    store: TempDir,
    /// The configuration that is the same for all nodes.
    common: String,
}

impl Cluster {
    /// So many nodes, with that configuration besides what every node needs.
    async fn start(nodes: usize, more: &str) -> Self {
        Self::with(XmppServer::prosody().await, None, nodes, more).await
    }

    /// The same, where events come over a broker.
    async fn with_broker(nodes: usize, more: &str) -> Self {
        let (server, broker) = tokio::join!(XmppServer::prosody(), RabbitMq::start());
        Self::with(server, Some(broker), nodes, more).await
    }

    async fn with(server: XmppServer, broker: Option<RabbitMq>, nodes: usize, more: &str) -> Self {
        let section = |broker: &RabbitMq| format!("[events]\nmode = \"amqp\"\nurl = {:?}\n", broker.url());
        let events = broker.as_ref().map(section).unwrap_or_default();
        let eim = eim_with(&format!("{}{events}", server.eim_section())).await;
        let store = tempfile::Builder::new().prefix("confgate-store-").tempdir();
        let store = store.expect("the system's directory for temporary files is writable");
        let common = format!("{events}{more}");
        let mut cluster = Self { nodes: Vec::new(), eim, _broker: broker, server, store, common };
        for number in 0..nodes {
            let node = cluster.node(number).start().await;
            cluster.nodes.push(node);
        }
        for node in &cluster.nodes {
            // The broker too: events from before that come as a snapshot.
            until_true("all parts of each node are up", async || {
                let readyz = node.readyz().await;
                readyz["parts"].as_array().is_some_and(|parts| parts.iter().all(|part| part["state"] == "up"))
            })
            .await;
        }
        cluster
    }

    /// The node of that number, not yet started.
    fn node(&self, number: usize) -> Builder {
        let (eim, file) = (self.server.component_section(COMPONENTS[number]), self.store.path().join("confgate.db"));
        let id = name(number);
        let own =
            format!("[node]\nid = \"{id}\"\nlease_ms = {LEASE_MS}\n[store]\nurl = \"sqlite:{}\"\n", file.display());
        Gateway::with(&format!("{CLIENTS}\n{eim}\n{own}\n{}", self.common))
    }

    /// Logged in as the chair at that node.
    async fn chair(&self, node: usize) -> Client {
        self.nodes[node].client().login_client("chair", "the chair's secret").await
    }

    /// A conference of the chair's: its id and its link's code.
    async fn conference(&self, chair: &Client) -> (String, String) {
        let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {made}")).to_owned();
        (text(&made["confId"]), text(&made["link"]["code"]))
    }

    async fn guest(&self, node: usize, code: &str, name: &str) -> Client {
        self.nodes[node].client().login_link(code, name).await
    }

    /// The same person at another node.
    fn at(&self, node: usize, client: &Client) -> Client {
        self.nodes[node].client().as_logged_in(client)
    }
}

/// Short, for tests that wait for its end.
const LEASE_MS: u64 = 2000;

/// The id of the node of that number.
fn name(number: usize) -> String {
    format!("gw{}", number + 1)
}

/// A member with a socket that has had the conference's state.
async fn enter(client: &Client, conf: &str) -> EventSocket {
    let mut socket = client.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    let id = id_of(client);
    while socket.follower.positions().is_empty() || socket.follower.roster(conf).member(&id).is_none() {
        socket.next_notification(PATIENCE).await.expect("a snapshot comes");
    }
    socket
}

fn id_of(client: &Client) -> confgate::ids::UserId {
    confgate::ids::UserId::parse(client.user_id()).expect("a login answers a userId")
}

/// The member's state as the EIM has it; `None`: not in.
async fn state_of(chair: &Client, conf: &str, user: &Client) -> Option<String> {
    let answer = chair.rpc("conference.members", json!({ "confId": conf })).await.result();
    let members = answer["members"].as_array().expect("members are listed").clone();
    let found = members.iter().find(|member| member["userId"] == user.user_id())?;
    found["state"].as_str().map(str::to_owned)
}

async fn until_state(chair: &Client, conf: &str, user: &Client, state: Option<&str>) {
    let is_so = async || state_of(chair, conf, user).await.as_deref() == state;
    until_true(&format!("{} is {state:?}", user.user_id()), is_so).await;
}
