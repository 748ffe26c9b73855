//! Gateway nodes on one store, each with its built-in call gateway: they use each other's, and no conference is split.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::call_failover::Member;
use crate::fixture::CLIENTS;
use crate::support::browser::Browser;
use crate::support::certificate::Certificate;
use crate::support::client::{BASE, Client};
use crate::support::gateway::{Builder, Eim, Gateway, eim};
use crate::support::media::{CallSocket, NODE_SECRET, Peer, SOME, call};
use crate::support::wait::until_true;
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer};
use crate::webrtc_browsers::Person;

const IDS: [&str; 2] = ["a", "b"];
/// Of somebody who comes, until the other node has heard that the first one is full: reports come every second.
const TRIES: usize = 40;
/// So many fill a node together with two others: each publishes, and watches each other.
const FILLERS: usize = 4;
/// Of a node that is 0.9 full with the fillers and two others who see each other: 16 and 4.
const CONNECTIONS: usize = 22;
/// From a node's death until every member has been told where to go.
const SOON: Duration = Duration::from_secs(5);

/// Two gateway nodes on one store, with the EIM at an XMPP server.
struct Site {
    nodes: [Gateway; 2],
    store: Store,
    server: XmppServer,
    _eim: Eim,
}

/// A store's folder.
struct Store(TempDir);

impl Store {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("the system's directory for temporary files is writable"))
    }

    fn section(&self) -> String {
        let url = format!("sqlite://{}", self.0.path().join("shared.db").display());
        format!("[store]\nurl = {url:?}\n")
    }
}

/// The sections of the node that comes as `nth`: provisioning is the first one's.
fn eim_section(server: &XmppServer, nth: usize) -> String {
    let section = server.component_section([COMPONENT, SECOND_COMPONENT][nth]);
    let is_kept = |line: &&str| nth == 0 || !line.starts_with("admin_");
    section.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

impl Site {
    /// Both have that configuration besides their own id, and the one of its number.
    async fn start(common: &str, own: [&str; 2]) -> Self {
        let (server, store) = (XmppServer::prosody().await, Store::new());
        let eim = eim(&server).await;
        let node = |nth: usize| Self::node(&server, &store, nth, &format!("{common}\n{}", own[nth]));
        let nodes = [node(0).start().await, node(1).start().await];
        let site = Self { nodes, store, server, _eim: eim };
        for at in [0, 1] {
            site.all_are_well_at(at).await;
        }
        site
    }

    fn node(server: &XmppServer, store: &Store, nth: usize, more: &str) -> Builder {
        let (eim, store, id) = (eim_section(server, nth), store.section(), IDS[nth]);
        Gateway::with(&format!("{CLIENTS}\n{eim}\n{store}[node]\nid = {id:?}\n{more}"))
    }

    async fn all_are_well_at(&self, at: usize) {
        let operator = self.operator(at).await;
        until_true("both call gateways are well", async || {
            let listed = list(&operator).await;
            listed.len() == 2 && listed.iter().all(|node| node["healthy"] == true && node["load"].is_number())
        })
        .await;
    }

    async fn operator(&self, at: usize) -> Client {
        self.nodes[at].client().login_client("operator", "the operator's secret").await
    }

    async fn chair(&self, at: usize) -> Client {
        self.nodes[at].client().login_client("chair", "the chair's secret").await
    }

    fn at(&self, id: &str) -> usize {
        IDS.into_iter().position(|known| known == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    fn url(&self, at: usize) -> String {
        format!("wss://{}{BASE}/callgw", self.nodes[at].http())
    }

    /// A guest of that gateway node.
    async fn member(&self, at: usize, code: &str, conf: &str) -> Member {
        let client = self.nodes[at].client().login_link(code, "Guest").await;
        let mut socket = client.open_socket().await;
        let joined = client.rpc("conference.join", json!({ "confId": conf })).await.result();
        socket.wait_for("conference.snapshot").await;
        let gateway = joined["callGateway"]["gatewayId"].as_str().expect("there is one").to_owned();
        Member { client, socket, gateway }
    }

    /// A guest of that gateway node who takes part where they are sent.
    async fn guest(&self, at: usize, code: &str, conf: &str) -> Guest {
        Guest::connect(self, self.member(at, code, conf).await, conf).await
    }

    /// Other calls fill the node nearly.
    async fn fill(&self, chair: &Client, at: usize) -> Vec<Guest> {
        for _ in 0..TRIES {
            let (conf, code) = conference(chair).await;
            let joined = chair.rpc("conference.join", json!({ "confId": conf })).await.result();
            if joined["callGateway"]["gatewayId"] != IDS[at] {
                continue;
            }
            let mut fillers = Vec::new();
            for _ in 0..FILLERS {
                fillers.push(self.guest(at, &code, &conf).await);
            }
            let users: Vec<String> = fillers.iter().map(|filler: &Guest| filler.user.clone()).collect();
            for filler in &mut fillers {
                for other in users.iter().filter(|other| **other != filler.user) {
                    filler.socket.knows(other).await;
                    filler.sees.push(filler.socket.watch(other).await);
                }
            }
            return fillers;
        }
        panic!("no conference is placed at {}", IDS[at]);
    }

    /// A guest of the gateway node `through` who comes while the call gateway `full` is: who comes before that is known
    /// goes again.
    async fn at_the_other(&self, through: usize, full: usize, code: &str, conf: &str) -> Member {
        for _ in 0..TRIES {
            let member = self.member(through, code, conf).await;
            if member.gateway != IDS[full] {
                return member;
            }
            member.client.rpc("conference.leave", json!({ "confId": conf })).await.result();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        panic!("the conference doesn't grow: {:?}", list(&self.operator(through).await).await);
    }
}

async fn list(operator: &Client) -> Vec<Value> {
    let listed = operator.rpc("callgw.list", json!({})).await.result();
    listed["nodes"].as_array().expect("a list").clone()
}

async fn conference(chair: &Client) -> (String, String) {
    let made = chair.rpc("conference.create", json!({ "name": "周会 Weekly" })).await.result();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {made}")).to_owned();
    (text(&made["confId"]), text(&made["link"]["code"]))
}

async fn allocate(client: &Client, conf: &str) -> Value {
    client.rpc("callgw.allocate", json!({ "confId": conf })).await.result()
}

/// Somebody with their sockets, what they send and what they see.
struct Guest {
    member: Member,
    user: String,
    socket: CallSocket,
    sends: Peer,
    sees: Vec<Peer>,
}

impl Guest {
    async fn connect(site: &Site, member: Member, conf: &str) -> Self {
        let user = member.client.user_id().to_owned();
        member.client.opens_devices(conf).await;
        let given = allocate(&member.client, conf).await;
        let gateway = given["gatewayId"].as_str().expect("an id").to_owned();
        let at = site.at(&gateway);
        assert_eq!(given["url"], site.url(at), "each is announced by its own address");
        let mut socket = site.nodes[at].client().call_socket(given["token"].as_str()).await.expect("the token admits");
        socket.join(conf, &user).await;
        let sends = socket.publish(&user).await;
        Self { member: Member { gateway, ..member }, user, socket, sends, sees: Vec::new() }
    }
}

/// Lets each watch each other, until each sees and hears each other.
async fn all_see_and_hear_each_other(guests: &mut [&mut Guest], what: &str) {
    let users: Vec<String> = guests.iter().map(|guest| guest.user.clone()).collect();
    for guest in guests.iter_mut() {
        guest.sees.clear();
        for other in users.iter().filter(|user| **user != guest.user) {
            guest.socket.knows(other).await;
            guest.sees.push(guest.socket.watch(other).await);
        }
    }
    let senders = guests.len();
    let (mut sends, mut sees) = (Vec::new(), Vec::new());
    for guest in guests.iter_mut() {
        sends.push(&mut guest.sends);
        sees.extend(guest.sees.iter_mut());
    }
    sends.extend(sees);
    call(&mut sends, what, |peers| peers[senders..].iter().all(|peer| peer.frames() >= SOME && peer.sounds() >= SOME))
        .await;
}

async fn links(node: &Gateway) -> Option<f64> {
    node.metric("confgate_pull_links").await
}

#[tokio::test]
async fn a_conference_of_two_default_gateway_nodes_is_at_one_call_gateway_and_outgrows_it_onto_the_other() {
    let small = format!("[callgw]\nthreads = 1\nconnections = {CONNECTIONS}\nconnect_timeout_ms = 120000\n");
    let mut site = Site::start(&small, ["", ""]).await;
    let chair = site.chair(0).await;
    let (conf, code) = conference(&chair).await;
    let mut anna = site.guest(0, &code, &conf).await;
    let mut ben = site.guest(1, &code, &conf).await;
    assert_eq!(anna.member.gateway, ben.member.gateway, "one conference, one call gateway");
    all_see_and_hear_each_other(&mut [&mut anna, &mut ben], "two of two gateway nodes").await;

    let first = site.at(&anna.member.gateway);
    let other = 1 - first;
    let fillers = site.fill(&chair, first).await;
    // Carl's gateway node is the one that stays.
    let carl = site.at_the_other(other, first, &code, &conf).await;
    let mut carl = Guest::connect(&site, carl, &conf).await;
    assert_eq!(carl.member.gateway, IDS[other]);
    drop(fillers);
    all_see_and_hear_each_other(&mut [&mut anna, &mut ben, &mut carl], "three at two call gateways").await;
    for node in &site.nodes {
        until_true("each pulls from the other", async || links(node).await == Some(1.0)).await;
    }

    // The one with most of the media dies, and with it the gateway node.
    site.nodes[first].kill();
    let killed = tokio::time::Instant::now();
    let expected = json!({ "confId": conf, "from": IDS[first], "to": IDS[other], "reason": "down" });
    assert_eq!(carl.member.socket.wait_for("callgw.changed").await, expected);
    assert_eq!(carl.member.client.offered_gateways().await, site.url(other));
    println!("a gateway node died, and everybody of the other one knows: {:?}", killed.elapsed());
    assert!(killed.elapsed() < SOON, "it took {:?}", killed.elapsed());
    let [guest_of_dead, guest_of_living] = if first == 0 { [anna, ben] } else { [ben, anna] };
    let mut living = guest_of_living.member;
    assert_eq!(living.socket.wait_for("callgw.changed").await, expected);
    // Who was at the dead gateway node goes on at the other with the same login.
    let login = guest_of_dead.member.client.login().clone();
    let refreshed = json!({ "grantType": "refresh_token", "refreshToken": login["refreshToken"] });
    let client = site.nodes[other].client().try_login(refreshed).await;
    let client = client.unwrap_or_else(|refusal| panic!("the login is refused: {}", refusal.0));
    let mut socket = client.open_socket().await;
    client.rpc("conference.join", json!({ "confId": conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let moved = Member { client, socket, gateway: String::new() };
    let mut moved = Guest::connect(&site, moved, &conf).await;
    let mut living = Guest::connect(&site, living, &conf).await;
    assert_eq!([&moved.member.gateway, &living.member.gateway], [IDS[other]; 2]);
    all_see_and_hear_each_other(&mut [&mut moved, &mut living, &mut carl], "all at the one that lives").await;

    // It returns, and its gateway node sends people to where the conference is.
    site.nodes[first].restart().await;
    for at in [0, 1] {
        site.all_are_well_at(at).await;
    }
    let dora = site.member(first, &code, &conf).await;
    assert_eq!(dora.gateway, IDS[other], "the conference stays where it went");
}

#[tokio::test]
async fn a_node_that_returns_elsewhere_with_another_certificate_is_used_there() {
    let mut site = Site::start("", ["", ""]).await;
    let before = site.url(0);
    site.nodes[0].kill();
    let again = Site::node(&site.server, &site.store, 0, "");
    // In a folder of its own, so with other ports and another certificate.
    site.nodes[0] = again.start().await;
    assert_ne!(site.url(0), before);
    let operator = site.operator(1).await;
    until_true("it is used at its new address", async || {
        list(&operator).await.iter().any(|node| node["url"] == site.url(0) && node["healthy"] == true)
    })
    .await;
    site.all_are_well_at(0).await;
    let chair = site.chair(1).await;
    for _ in 0..TRIES {
        let (conf, code) = conference(&chair).await;
        let member = site.member(1, &code, &conf).await;
        if member.gateway == IDS[0] {
            Guest::connect(&site, member, &conf).await;
            return;
        }
    }
    panic!("no conference is placed there");
}

#[tokio::test]
async fn a_node_that_renews_its_certificate_is_believed_by_the_new_one() {
    let mut site = Site::start("", ["", ""]).await;
    let certificates = site.nodes[0].directory().join("certs");
    Certificate::for_names(&["localhost", "127.0.0.1"]).write(&certificates);
    until_true("the node shows the new one", async || {
        site.nodes[0].metric("confgate_http_certificate_reloads_total").await == Some(1.0)
    })
    .await;
    // It knows nothing of the old one, and its links are new.
    site.nodes[1].restart().await;
    for at in [0, 1] {
        site.all_are_well_at(at).await;
    }
}

#[tokio::test]
async fn a_node_that_stops_is_left_at_once_and_is_then_no_longer_in_the_register() {
    let mut site = Site::start("lease_ms = 3000\n", ["", ""]).await;
    let (conf, code, at) = conference_at(&site).await;
    let mut member = site.member(1 - at, &code, &conf).await;
    assert!(site.nodes[at].stop(Duration::from_secs(20)).await.is_some_and(|status| status.success()));
    let told = member.socket.wait_for("callgw.changed").await;
    assert_eq!(told, json!({ "confId": conf, "from": IDS[at], "to": IDS[1 - at], "reason": "drain" }));
    let operator = site.operator(1 - at).await;
    until_true("it is gone", async || list(&operator).await.len() == 1).await;
    assert_eq!(site.nodes[1 - at].metric("confgate_call_gateways_registered").await, Some(0.0));
}

/// A conference, and at which call gateway it is.
async fn conference_at(site: &Site) -> (String, String, usize) {
    let chair = site.chair(0).await;
    let (conf, code) = conference(&chair).await;
    let at = site.at(&site.member(0, &code, &conf).await.gateway);
    (conf, code, at)
}

#[tokio::test]
async fn a_configured_node_precedes_a_registered_one_of_its_id_and_a_secret_of_its_own_is_shared_sealed() {
    let (server, store) = (XmppServer::prosody().await, Store::new());
    let eim = eim(&server).await;
    let own = format!("[[callgw.nodes]]\nkind = \"builtin\"\nsecret = {NODE_SECRET:?}\n");
    let first = Site::node(&server, &store, 0, &own).start().await;
    let url = format!("wss://{}{BASE}/callgw", first.http());
    // Without callgw.ca: by its entry in the register it would be believed.
    let configured =
        format!("[[callgw.nodes]]\nid = \"a\"\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n");
    let own = "[[callgw.nodes]]\nkind = \"builtin\"\n";
    let second = Site::node(&server, &store, 1, &format!("{configured}{own}")).start().await;
    let operator = second.client().login_client("operator", "the operator's secret").await;
    let of_a = async |operator: &Client| {
        let listed = list(operator).await;
        assert_eq!(listed.iter().filter(|node| node["gatewayId"] == "a").count(), 1, "{listed:?}");
        listed.into_iter().find(|node| node["gatewayId"] == "a").expect("it is there")
    };
    until_true("it is not believed", async || {
        of_a(&operator).await["reason"].as_str().is_some_and(|why| why.contains("callgw.ca"))
    })
    .await;
    drop(second);
    let bytes = std::fs::read(store.0.path().join("shared.db")).expect("the store's file");
    assert!(!bytes.windows(NODE_SECRET.len()).any(|part| part == NODE_SECRET.as_bytes()), "no secret in the clear");
    let site = Site { nodes: [first, Site::node(&server, &store, 1, "").start().await], store, server, _eim: eim };
    for at in [0, 1] {
        site.all_are_well_at(at).await;
    }
}

#[tokio::test]
async fn a_node_whose_address_or_id_is_another_ones_too_is_refused_and_says_what_to_set() {
    let balanced = "[http]\npublic_url = \"https://meet.example.org\"\n";
    let (server, store) = (XmppServer::prosody().await, Store::new());
    let _eim = eim(&server).await;
    let first = Site::node(&server, &store, 0, balanced).start().await;
    let fail = async |more: &str| {
        let (status, text) = Site::node(&server, &store, 1, more).fail().await;
        assert_eq!(status.code(), Some(1), "{text}");
        text
    };
    let text = fail(balanced).await;
    assert!(
        text.contains("callgw.own_url") && text.contains("wss://meet.example.org") && text.contains("node a"),
        "{text}"
    );
    let text = fail("[[callgw.nodes]]\nid = \"a\"\nkind = \"builtin\"\n").await;
    assert!(text.contains("callgw.nodes") && text.contains("node a"), "{text}");

    let own = format!("{balanced}[callgw]\nown_url = \"wss://node-b.example.org:9092\"\n");
    let second = Site::node(&server, &store, 1, &own).start().await;
    let operator = first.client().login_client("operator", "the operator's secret").await;
    until_true("it is known by its own address", async || {
        list(&operator).await.iter().any(|node| node["url"] == format!("wss://node-b.example.org:9092{BASE}/callgw"))
    })
    .await;
    drop(second);
}

#[tokio::test]
async fn browser_people_at_two_default_gateway_nodes_see_and_hear_each_other() {
    let site = Site::start("", ["", ""]).await;
    let (_, code) = conference(&site.chair(0).await).await;
    let link = |at: usize| format!("https://{}{BASE}/conference/{code}", site.nodes[at].http());
    let (first, second) = tokio::join!(Browser::start(), Browser::start());
    let anna = Person::enter(first, &link(0), "Anna Schmidt").await;
    let zhang = Person::enter(second, &link(1), "张伟").await;
    for (sees, other) in [(&anna, &zhang), (&zhang, &anna)] {
        sees.browser.sees_moving(&other.user).await;
        sees.browser.hears_sound(&other.user).await;
        sees.browser.assert_quiet_console().await;
    }
}
