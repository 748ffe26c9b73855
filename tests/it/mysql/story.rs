//! A guest's whole visit, on two nodes and an EIM whose stores are MariaDB's.

use serde_json::{Value, json};

use super::store;
use crate::end_to_end::whole_story;
use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Eim, Gateway, eim_with};
use crate::support::mariadb::MariaDb;
use crate::support::rabbitmq::RabbitMq;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer};

/// All parts, each a process of its own. They end in this order.
struct Site {
    one: Gateway,
    two: Gateway,
    eim: Eim,
    _broker: RabbitMq,
    server: XmppServer,
    database: MariaDb,
}

impl Site {
    async fn start(server: XmppServer, eims_database: &str) -> Self {
        let (broker, database) = tokio::join!(RabbitMq::start(), MariaDb::start());
        if eims_database != MariaDb::DATABASE {
            database.database(eims_database).await;
        }
        let events = format!("[events]\nmode = \"amqp\"\nurl = {:?}\nreconnect_min_ms = 50\n", broker.url());
        let eims_store = store(&database.url_of(eims_database));
        let eim = eim_with(&format!("{}{events}{eims_store}", server.eim_section())).await;
        let node = |id: &str, section: &str| {
            let store = store(&database.url());
            Gateway::with(&format!("{CLIENTS}\n{section}{events}{store}[node]\nid = {id:?}\n"))
        };
        // A component's address is one connection's: the second node has no part in provisioning.
        let second = server.component_section(SECOND_COMPONENT);
        let second: String =
            second.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect();
        let one = node("gw1", &server.component_section(COMPONENT));
        let two = node("gw2", &second);
        let (one, two) = tokio::join!(one.start(), two.start());
        for gateway in [&one, &two] {
            all_up(gateway).await;
        }
        Self { one, two, eim, _broker: broker, server, database }
    }
}

async fn all_up(gateway: &Gateway) {
    until_true("all parts are up", async || {
        let readyz = gateway.readyz().await;
        let parts = readyz["parts"].as_array().expect("parts are listed");
        parts.iter().all(|part| part["state"] == "up")
    })
    .await;
}

async fn enter(client: &Client, conf: &str) -> EventSocket {
    let mut socket = client.open_socket().await;
    socket.wait_for("conference.snapshot").await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();
    socket
}

async fn visit(site: Site) {
    let Site { one, two, eim, _broker, server, database } = site;
    whole_story(Fixture::of(one, eim, server)).await;
    assert!(database.number("SELECT COUNT(*) FROM audit").await > 0, "the story is on record at MariaDB");
    assert!(database.number("SELECT COUNT(*) FROM documents").await > 0, "and so are the EIM's documents");
    drop(two);
}

#[tokio::test]
async fn ejabberd_a_guest_walks_in_with_the_store_on_mariadb() {
    visit(Site::start(XmppServer::ejabberd().await, MariaDb::DATABASE).await).await;
}

#[tokio::test]
async fn prosody_a_guest_walks_in_with_the_store_on_mariadb() {
    visit(Site::start(XmppServer::prosody().await, MariaDb::DATABASE).await).await;
}

async fn uses(chair: &Client, conf: &str, link_id: &Value) -> Value {
    let all = chair.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
    let mut links = all["links"].as_array().expect("links are listed").iter();
    links.find(|link| link["linkId"] == *link_id).expect("the link is listed")["uses"].clone()
}

/// A chair at the first node and a guest at the second one hear each other.
async fn hear_each_other(conf: &str, chair: &mut EventSocket, guest: &mut EventSocket, text: &str) {
    chair.call("conference.sendMessage", json!({ "confId": conf, "text": text })).await.result();
    while guest.expect_event("message").await["data"]["text"] != text {}
    let answer = format!("{text}, too");
    guest.call("conference.sendMessage", json!({ "confId": conf, "text": answer })).await.result();
    while chair.expect_event("message").await["data"]["text"] != *answer {}
}

#[tokio::test]
async fn prosody_what_one_node_made_serves_at_the_other_and_outlives_a_restart_of_all() {
    let mut site = Site::start(XmppServer::prosody().await, "eim").await;
    let chair = site.one.client().login_client("chair", "the chair's secret").await;
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let conf = made["confId"].as_str().expect("a conference has an id").to_owned();
    let link = chair.rpc("conference.createLink", json!({ "confId": conf, "maxUses": 3 })).await.result();
    let code = link["code"].as_str().expect("a link has a code");
    let guest = site.two.client().login_link(code, "Guest").await;
    let rude = site.two.client().login_link(code, "Rude").await;
    let open = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
    let phone = site.two.client().try_login(open).await.unwrap_or_else(|refusal| panic!("{}", refusal.0));
    let (mut chairs, mut guests) = (enter(&chair, &conf).await, enter(&guest, &conf).await);
    hear_each_other(&conf, &mut chairs, &mut guests, "hello").await;
    for client in [&rude, &phone] {
        client.rpc("conference.join", json!({ "confId": conf })).await.result();
        let kick = json!({ "confId": conf, "action": "kick", "userId": client.user_id() });
        chair.rpc("conference.control", kick).await.result();
    }
    let barred = phone.rpc("conference.join", json!({ "confId": conf })).await.error();
    let code_of =
        async |who: &Client| who.rpc("config.getProperties", json!({ "keys": [] })).await.0["error"]["code"].clone();
    until_true("a kick at one node ends the guest at the other", async || code_of(&rude).await == -32001).await;

    drop((chairs, guests));
    site.one.kill();
    site.two.kill();
    site.eim.kill();
    site.eim.restart().await;
    tokio::join!(site.one.restart(), site.two.restart());
    for gateway in [&site.one, &site.two] {
        all_up(gateway).await;
    }
    assert_eq!(uses(&chair, &conf, &link["linkId"]).await, 2);
    site.one.client().login_link(code, "Third").await;
    assert_eq!(uses(&chair, &conf, &link["linkId"]).await, 3);
    let fourth = json!({ "grantType": "conference_link", "link": code, "name": "Fourth" });
    let refused = site.two.client().try_login(fourth).await.err().expect("three uses are all").error();
    assert_eq!(refused["data"]["key"], "link.exhausted", "{refused}");
    let still = phone.rpc("conference.join", json!({ "confId": conf })).await.error();
    assert_eq!(still["data"]["key"], barred["data"]["key"], "{still}");
    assert_eq!(code_of(&rude).await, -32001);
    let back = guest.refreshed().await;
    assert_eq!(back.user_id(), guest.user_id());
    let (mut chairs, mut guests) = (enter(&chair, &conf).await, enter(&back, &conf).await);
    hear_each_other(&conf, &mut chairs, &mut guests, "back again").await;
    assert!(site.one.stop(PATIENCE).await.is_some_and(|status| status.success()), "{}", site.one.logs());
}
