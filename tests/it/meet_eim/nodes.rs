//! Several gateway nodes on one store, in front of the EIM without numbers: one of them numbers a conference, the others
//! hear it from that one; the next one goes on with the numbers when it is gone. The sockets' followers fail the test at a
//! gap and at a repeat.

use std::time::Duration;

use confgate::clock::Moment;
use confgate::config::Store as StoreSettings;
use confgate::ids::{ConfId, Secret};
use confgate::store::{NumberingOwner, Store};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{DIALECT_FOLDER, assert_only_known_questions, start_eim};
use crate::fixture::CLIENTS;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::mariadb::MariaDb;
use crate::support::process::Process;
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer};

const LEASE_MS: u64 = 2000;
/// Longer than it takes until another node goes on.
const GRACE_MS: u64 = 10_000;

/// The last one ends first.
struct Cluster {
    nodes: Vec<Gateway>,
    eim: Process,
    _broker: Option<RabbitMq>,
    database: Option<MariaDb>,
    _server: XmppServer,
    store: TempDir,
}

/// How the EIM's events come.
#[derive(Clone, Copy, PartialEq)]
enum Events {
    Broker,
    /// To the gateway through which somebody entered last, and to no other.
    Xmpp,
}

impl Cluster {
    async fn start(events: Events, database: Option<MariaDb>) -> Self {
        let server = XmppServer::prosody().await;
        let broker = if events == Events::Broker { Some(RabbitMq::start().await) } else { None };
        let eim = start_eim(&server, &broker.as_ref().map_or_else(|| "xmpp".to_owned(), RabbitMq::url), "").await;
        let store = tempfile::Builder::new().prefix("confgate-store-").tempdir();
        let store = store.expect("the system's directory for temporary files is writable");
        let mut cluster = Self { nodes: Vec::new(), eim, _broker: broker, database, _server: server, store };
        for (number, component) in [COMPONENT, SECOND_COMPONENT].into_iter().enumerate() {
            let node = cluster.node(number, component).await;
            cluster.nodes.push(node);
        }
        cluster
    }

    fn store_url(&self) -> (String, String) {
        let file = || format!("sqlite:{}", self.store.path().join("confgate.db").display());
        let ca = |database: &MariaDb| format!("ca = {:?}\n", database.ca());
        (self.database.as_ref().map_or_else(file, MariaDb::url), self.database.as_ref().map(ca).unwrap_or_default())
    }

    async fn node(&self, number: usize, component: &str) -> Gateway {
        let (url, ca) = self.store_url();
        let section = self._server.component_section(component);
        let broker = |broker: &RabbitMq| format!("[events]\nurl = {:?}\nreconnect_min_ms = 50\n", broker.url());
        let events = self._broker.as_ref().map_or_else(|| "[events]\nmode = \"xmpp\"\n".to_owned(), broker);
        let over = format!(
            "{CLIENTS}\n{section}\n{events}[node]\nid = \"{}\"\nlease_ms = {LEASE_MS}\n[store]\nurl = {url:?}\n{ca}\
             [limits]\ngrace_ms = {GRACE_MS}\nresume_window_ms = 20000\n",
            name(number)
        );
        Gateway::of_folder(DIALECT_FOLDER, &over).start().await
    }

    async fn chair(&self, node: usize) -> Client {
        self.nodes[node].client().login_client("chair", "the chair's secret").await
    }

    /// Logged in by the conference's link at that node.
    async fn guest(&self, node: usize, code: &str, name: &str) -> Client {
        self.nodes[node].client().login_link(code, name).await
    }

    /// The same person at another node.
    fn at(&self, node: usize, client: &Client) -> Client {
        self.nodes[node].client().as_logged_in(client)
    }

    /// How many conferences the node numbers.
    async fn numbers(&self, node: usize) -> f64 {
        self.nodes[node].metric("confgate_numberings").await.unwrap_or_default()
    }

    async fn store(&self) -> Store {
        let (url, _) = self.store_url();
        let settings = StoreSettings { url: Secret::new(url), ..StoreSettings::default() };
        Store::open(&settings).await.expect("the store is there")
    }
}

fn name(number: usize) -> String {
    format!("gw{}", number + 1)
}

/// The chair at one node, which owns the conference, and a guest at the other.
struct Scene {
    cluster: Cluster,
    conf: String,
    chair: Client,
    chairs: EventSocket,
    guest: Client,
    guests: EventSocket,
}

impl Scene {
    /// The chair is at that node, the guest at the other one.
    async fn start(cluster: Cluster, owner: usize) -> Self {
        let chair = cluster.chair(owner).await;
        let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {made}")).to_owned();
        let (conf, code) = (text(&made["confId"]), text(&made["link"]["code"]));
        let chairs = enter(&chair, &conf).await;
        let guest = cluster.guest(1 - owner, &code, "Guest").await;
        let guests = enter(&guest, &conf).await;
        assert_eq!(
            (cluster.numbers(owner).await, cluster.numbers(1 - owner).await),
            (1.0, 0.0),
            "one of them numbers it"
        );
        Self { cluster, conf, chair, chairs, guest, guests }
    }

    /// Both have those messages last, and the same roster under the same number.
    async fn until_both_have(&mut self, texts: &[&str]) {
        until_known(&mut self.chairs, &self.conf, texts).await;
        until_known(&mut self.guests, &self.conf, texts).await;
        loop {
            let (ours, theirs) = (self.chairs.follower.roster(&self.conf), self.guests.follower.roster(&self.conf));
            if ours.seq == theirs.seq {
                assert_eq!(ours, theirs);
                return;
            }
            let behind = if ours.seq < theirs.seq { &mut self.chairs } else { &mut self.guests };
            behind.next_notification(PATIENCE).await.expect("the other one has it");
        }
    }
}

async fn say(client: &Client, conf: &str, text: &str) {
    client.rpc("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
}

/// A member with a socket that has had the conference's state.
async fn enter(client: &Client, conf: &str) -> EventSocket {
    let mut socket = client.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    while socket.follower.positions().is_empty() || !is_in(&socket, conf, client) {
        socket.next_notification(PATIENCE).await.expect("a snapshot comes");
    }
    socket
}

fn is_in(socket: &EventSocket, conf: &str, client: &Client) -> bool {
    socket.follower.roster(conf).members.iter().any(|member| member.user_id.as_str() == client.user_id())
}

/// Reads until the client has those messages; what it has read beside events.
async fn until_known(socket: &mut EventSocket, conf: &str, expected: &[&str]) -> Vec<String> {
    let mut others = Vec::new();
    let texts = |socket: &EventSocket| -> Vec<String> {
        if socket.follower.positions().is_empty() {
            return Vec::new();
        }
        socket.follower.roster(conf).messages.iter().map(|message| message.text.clone()).collect()
    };
    while texts(socket) != expected {
        let next = socket.next_notification(PATIENCE).await;
        let next = next.unwrap_or_else(|| panic!("not {expected:?}, but {:?}; read {others:?}", texts(socket)));
        if next.method != "conference.event" {
            others.push(format!("{} {}", next.method, next.params["reason"].as_str().unwrap_or_default()));
        }
    }
    others
}

/// No fresh start: the client goes on from where it was.
fn assert_resumed(read: &[String]) {
    assert!(!read.iter().any(|method| method.starts_with("conference.snapshot")), "{read:?}");
}

/// Members at both nodes see the same under the same numbers, and go on so when they move.
async fn members_at_both_nodes_see_the_same(events: Events, database: Option<MariaDb>) {
    let mut scene = Scene::start(Cluster::start(events, database).await, 0).await;
    say(&scene.guest, &scene.conf, "one").await;
    say(&scene.chair, &scene.conf, "two").await;
    scene.chairs.call("conference.control", json!({ "confId": scene.conf, "action": "raiseHand" })).await.result();
    scene.until_both_have(&["one", "two"]).await;

    // The owner's last member moves to the other node: it hears the EIM all the same.
    let left_off = scene.chairs.vanish();
    scene.chair = scene.cluster.at(1, &scene.chair);
    say(&scene.guest, &scene.conf, "three").await;
    scene.chairs = scene.chair.resume_socket(left_off).await;
    let read = until_known(&mut scene.chairs, &scene.conf, &["one", "two", "three"]).await;
    assert_resumed(&read);
    say(&scene.chair, &scene.conf, "four").await;
    scene.until_both_have(&["one", "two", "three", "four"]).await;
    assert_eq!((scene.cluster.numbers(0).await, scene.cluster.numbers(1).await), (1.0, 0.0));
    assert_only_known_questions(&scene.cluster.eim);
}

#[tokio::test]
async fn prosody_members_at_two_nodes_see_the_same_numbers_by_events_of_a_broker() {
    members_at_both_nodes_see_the_same(Events::Broker, None).await;
}

#[tokio::test]
async fn prosody_members_at_two_nodes_see_the_same_numbers_by_events_that_one_node_alone_hears() {
    members_at_both_nodes_see_the_same(Events::Xmpp, None).await;
}

#[tokio::test]
async fn prosody_members_at_two_nodes_see_the_same_numbers_with_a_store_on_a_server() {
    members_at_both_nodes_see_the_same(Events::Broker, Some(MariaDb::start().await)).await;
}

/// The owner is killed: the other node goes on in its numbering, its members resume there, and who doesn't is gone, once.
#[tokio::test]
async fn prosody_guests_of_a_killed_owner_resume_at_the_other_node() {
    let mut scene = Scene::start(Cluster::start(Events::Broker, None).await, 0).await;
    say(&scene.guest, &scene.conf, "before").await;
    scene.until_both_have(&["before"]).await;
    let epoch = scene.chairs.follower.roster(&scene.conf).epoch.clone();
    scene.cluster.nodes[0].kill();
    let left_off = scene.chairs.vanish();
    // Nobody numbers while the lease runs; the EIM goes on.
    say(&scene.guest, &scene.conf, "meanwhile").await;
    scene.chair = scene.cluster.at(1, &scene.chair);
    scene.chairs = scene.chair.resume_socket(left_off).await;
    let read = until_known(&mut scene.chairs, &scene.conf, &["before", "meanwhile"]).await;
    assert_resumed(&read);
    say(&scene.chair, &scene.conf, "after").await;
    scene.until_both_have(&["before", "meanwhile", "after"]).await;
    assert_eq!(scene.chairs.follower.roster(&scene.conf).epoch, epoch);
    assert_eq!(scene.cluster.numbers(1).await, 1.0);
    let members = scene.chairs.follower.roster(&scene.conf).members.len();
    assert_eq!(members, 2, "nobody is lost");
}

#[tokio::test]
async fn prosody_a_member_who_does_not_come_back_from_a_killed_owner_is_gone_once() {
    let mut scene = Scene::start(Cluster::start(Events::Broker, None).await, 0).await;
    scene.cluster.nodes[0].kill();
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "member.left") {
        let event = scene.guests.wait_for("conference.event").await;
        if event["data"]["userId"] == scene.chair.user_id() {
            heard.push(event["type"].as_str().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(heard, ["member.updated", "member.left"], "reconnecting, then gone");
    while let Some(next) = scene.guests.next_notification(Duration::from_secs(3)).await {
        assert_ne!(next.params["data"]["userId"], scene.chair.user_id(), "{next:?}");
    }
}

/// The owner is stopped for longer than its lease, while the EIM goes on, and wakes up: what it has not shown it shows no
/// more under numbers of its own.
#[tokio::test]
async fn prosody_an_owner_that_was_stopped_longer_than_its_lease_shows_no_number_twice() {
    let mut scene = Scene::start(Cluster::start(Events::Broker, None).await, 0).await;
    say(&scene.guest, &scene.conf, "before").await;
    scene.until_both_have(&["before"]).await;
    scene.cluster.nodes[0].signal(Signal::STOP);
    say(&scene.guest, &scene.conf, "while it is stopped").await;
    let read = until_known(&mut scene.guests, &scene.conf, &["before", "while it is stopped"]).await;
    assert_resumed(&read);
    say(&scene.guest, &scene.conf, "and numbered elsewhere").await;
    until_known(&mut scene.guests, &scene.conf, &["before", "while it is stopped", "and numbered elsewhere"]).await;
    scene.cluster.nodes[0].signal(Signal::CONT);
    let texts = ["before", "while it is stopped", "and numbered elsewhere", "after"];
    say(&scene.guest, &scene.conf, "after").await;
    let read = until_known(&mut scene.chairs, &scene.conf, &texts).await;
    assert_resumed(&read);
    let is_owner = async || scene.cluster.numbers(0).await == 0.0 && scene.cluster.numbers(1).await == 1.0;
    until_true("the node that went on is the owner", is_owner).await;
    scene.until_both_have(&texts).await;
}

/// A node that stops by itself gives its conferences back at once: no lease is waited for.
#[tokio::test]
async fn prosody_the_owner_that_stops_is_followed_by_the_other_node() {
    let mut scene = Scene::start(Cluster::start(Events::Broker, None).await, 0).await;
    say(&scene.guest, &scene.conf, "before").await;
    scene.until_both_have(&["before"]).await;
    scene.cluster.nodes[0].signal(Signal::TERM);
    scene.chairs.wait_for("goingAway").await;
    scene.chair = scene.cluster.at(1, &scene.chair);
    let moved = scene.chair.resume_socket(scene.chairs.follower.clone()).await;
    scene.chairs = moved;
    say(&scene.chair, &scene.conf, "while it stops").await;
    let read = until_known(&mut scene.chairs, &scene.conf, &["before", "while it stops"]).await;
    assert_resumed(&read);
    assert!(scene.cluster.nodes[0].exit(PATIENCE).await.is_some_and(|status| status.success()));
    say(&scene.guest, &scene.conf, "after").await;
    scene.until_both_have(&["before", "while it stops", "after"]).await;
    assert_eq!(scene.cluster.numbers(1).await, 1.0);
}

/// The store names the other node while the owner lives: two take themselves for it, and one numbering is shown.
#[tokio::test]
async fn prosody_of_two_gateways_that_number_at_once_one_is_shown() {
    let mut scene = Scene::start(Cluster::start(Events::Broker, None).await, 0).await;
    let conf = ConfId::parse(&scene.conf).expect("an id");
    let epoch = scene.chairs.follower.roster(&scene.conf).epoch.clone();
    let store = scene.cluster.store().await;
    let (mut texts, mut owner) = (Vec::new(), 0);
    for round in 0..6 {
        let other = 1 - owner;
        let state = async |number| {
            let nodes = store.node_states().await.expect("it can be read");
            nodes.into_iter().find(|node| node.node_id == name(number)).expect("it is there")
        };
        let fence = state(other).await.fence;
        let lease = confgate::store::Lease { node_id: name(other), fence, took_over: false };
        let forced = store.under(&lease);
        let taken = async || {
            let inherited = forced.inherit(&state(owner).await).await.expect("it can be written");
            let owned = forced.take_numbering(&conf, Moment::now()).await.expect("it can be written");
            inherited || matches!(owned, NumberingOwner::This(_))
        };
        until_true("the store names the other node", taken).await;
        let (first, second) = (format!("one of {round}"), format!("two of {round}"));
        tokio::join!(say(&scene.guest, &scene.conf, &first), say(&scene.chair, &scene.conf, &second));
        let has_both = |socket: &EventSocket| {
            let roster = socket.follower.roster(&scene.conf);
            [&first, &second].iter().all(|text| roster.messages.iter().any(|message| message.text == ***text))
        };
        while !has_both(&scene.chairs) {
            scene.chairs.next_notification(PATIENCE).await.expect("both come");
        }
        texts = scene.chairs.follower.roster(&scene.conf).messages.iter().map(|m| m.text.clone()).collect::<Vec<_>>();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        scene.until_both_have(&texts).await;
        let of = async || (scene.cluster.numbers(0).await, scene.cluster.numbers(1).await);
        until_true("one of them is the owner", async || matches!(of().await, (1.0, 0.0) | (0.0, 1.0))).await;
        owner = usize::from(of().await == (0.0, 1.0));
    }
    assert_eq!(texts.len(), 12);
    assert_eq!(scene.guests.follower.roster(&scene.conf).epoch, epoch);
}

/// What a stranger asks of the link is refused.
#[tokio::test]
async fn the_link_between_nodes_opens_for_nodes_of_the_same_keys_only() {
    let cluster = Cluster::start(Events::Broker, None).await;
    let chair = cluster.chair(0).await;
    let client = cluster.nodes[0].client();
    for headers in [vec![], vec![format!("bearer.{}", chair.token().expect("a login"))]] {
        let offers = [vec!["confgate".to_owned()], headers].concat().join(", ");
        let refused = client.websocket("/gzbwclient/node", &[("sec-websocket-protocol", &offers)]).await;
        assert_eq!(refused.err().map(|reply| reply.status.as_u16()), Some(401), "{offers}");
    }
}
