//! Two nodes on one database: set back to an old dump, and with wall clocks that are minutes apart.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::store;
use crate::clock_steps::WallClock;
use crate::fixture::CLIENTS;
use crate::support::client::Client;
use crate::support::gateway::{Eim, Gateway, eim_with};
use crate::support::mariadb::MariaDb;
use crate::support::wait::{PATIENCE, until, until_true};
use crate::support::xmpp_server::{COMPONENT, SECOND_COMPONENT, XmppServer};

const KICK: Duration = Duration::from_secs(6);
/// How much later than that a bar may end: the machine is busy.
const LATE: Duration = Duration::from_millis(2500);

/// Two nodes whose EIM keeps a file of its own. They end in this order.
struct Pair {
    nodes: [Gateway; 2],
    _eim: Eim,
    _server: XmppServer,
    database: MariaDb,
}

impl Pair {
    /// The second one with that environment.
    async fn start(environment: &[(String, String)]) -> Self {
        let (server, database) = tokio::join!(XmppServer::prosody(), MariaDb::start());
        // The users ask all the time whether they may come in again.
        let limits = format!("[limits]\nkick_s = {}\nown_controls_per_minute = 100000\n", KICK.as_secs());
        let eim = eim_with(&format!("{}{limits}", server.eim_section())).await;
        let node = |id: &str, section: &str| {
            let store = store(&database.url());
            Gateway::with(&format!("{CLIENTS}\n{section}{store}[node]\nid = {id:?}\nlease_ms = 1000\n{limits}"))
        };
        let second = server.component_section(SECOND_COMPONENT);
        let second: String =
            second.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect();
        let two = node("gw2", &second);
        let two = environment.iter().fold(two, |node, (name, value)| node.environment(name, value));
        let one = node("gw1", &server.component_section(COMPONENT)).start().await;
        Self { nodes: [one, two.start().await], _eim: eim, _server: server, database }
    }

    /// Both renew their leases, and go on doing so.
    async fn both_renew(&self) {
        for id in ["gw1", "gw2"] {
            let renewed =
                async || self.database.number(&format!("SELECT expires_at FROM nodes WHERE node_id = '{id}'")).await;
            for _ in 0..2 {
                let before = renewed().await;
                until_true("the lease is renewed", async || renewed().await > before).await;
            }
        }
    }

    async fn end_well(mut self) {
        for node in &mut self.nodes {
            assert!(node.stop(PATIENCE).await.is_some_and(|status| status.success()), "{}", node.logs());
            assert!(!node.logs().contains("another process runs"), "{}", node.logs());
        }
    }
}

async fn chair(node: &Gateway) -> Client {
    node.client().login_client("chair", "the chair's secret").await
}

async fn conference(chair: &Client) -> (String, String) {
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["confId"]), text(&made["link"]["code"]))
}

async fn look(client: &Client) -> Value {
    client.rpc("config.getProperties", json!({ "keys": [] })).await.0["error"].clone()
}

/// A refusal that says what the client has to do, and no fault of ours.
fn is_proper(error: &Value, expected: &[i64]) {
    assert!(error["code"].as_i64().is_some_and(|code| expected.contains(&code)), "{error}");
}

#[tokio::test]
async fn nodes_go_on_when_the_database_is_set_back_to_yesterday_and_what_is_gone_is_refused_properly() {
    let mut pair = Pair::start(&[]).await;
    let chair = chair(&pair.nodes[0]).await;
    let (conf, code) = conference(&chair).await;
    let old = pair.nodes[1].client().login_link(&code, "Old").await;
    let yesterday = pair.database.dump().await;
    let link = chair.rpc("conference.createLink", json!({ "confId": conf })).await.result();
    let new = pair.nodes[1].client().login_link(link["code"].as_str().expect("a code"), "New").await;
    // Yesterday's number of this node is older than today's.
    pair.nodes[0].restart().await;

    pair.database.restore(&yesterday).await;
    pair.both_renew().await;
    assert_eq!(look(&old).await, Value::Null, "what was there yesterday serves");
    assert_eq!(old.refreshed().await.user_id(), old.user_id());
    // What was made since is gone; an access token serves without the database until it expires.
    let joined = new.rpc("conference.join", json!({ "confId": conf })).await.0;
    assert!(joined.get("result").is_some() || joined["error"]["code"] == -32001, "{joined}");
    let refresh = json!({ "grantType": "refresh_token", "refreshToken": new.login()["refreshToken"] });
    for node in &pair.nodes {
        is_proper(&node.client().try_login(refresh.clone()).await.err().expect("it is gone").error(), &[-32001]);
        let by_link = json!({ "grantType": "conference_link", "link": link["code"], "name": "Late" });
        let refused = node.client().try_login(by_link).await.err().expect("it is gone").error();
        is_proper(&refused, &[-32004, -32006]);
        node.client().login_link(&code, "Today").await;
    }
    assert_eq!(pair.database.number("SELECT COUNT(*) FROM links").await, 1);
    pair.end_well().await;
}

#[tokio::test]
async fn nodes_whose_clocks_are_five_minutes_apart_share_links_logins_and_leases() {
    let clock = WallClock::new();
    clock.set("+300");
    let pair = Pair::start(&clock.environment()).await;
    pair.both_renew().await;
    for (made_at, used_at) in [(0, 1), (1, 0)] {
        let chair = chair(&pair.nodes[made_at]).await;
        let (_, code) = conference(&chair).await;
        let elsewhere = &pair.nodes[used_at];
        let guest = elsewhere.client().login_link(&code, "Guest").await;
        for (who, made_at) in [(&chair, made_at), (&guest, used_at)] {
            let there = &pair.nodes[1 - made_at];
            let token = who.token().expect("a client that is logged in has a token");
            assert_eq!(look(&there.client().bearing(token)).await, Value::Null, "a login at {made_at}");
        }
        let refresh = json!({ "grantType": "refresh_token", "refreshToken": guest.login()["refreshToken"] });
        pair.nodes[made_at].client().try_login(refresh).await.unwrap_or_else(|refusal| panic!("{}", refusal.0));
    }
    pair.both_renew().await;
    pair.end_well().await;
}

/// How long the kick that the first client does bars the user of the second and third, who are at one node each.
async fn bars(chair: &Client, conf: &str, users: [&Client; 2]) {
    users[0].rpc("conference.join", json!({ "confId": conf })).await.result();
    let kick = json!({ "confId": conf, "action": "kick", "userId": users[0].user_id() });
    chair.rpc("conference.control", kick).await.result();
    let begun = Instant::now();
    let ended = async |user: &Client| {
        let looked = async || {
            let page = user.rpc("conference.join", json!({ "confId": conf })).await.0;
            page.get("result").map(|_| begun.elapsed())
        };
        until(KICK + LATE, looked).await
    };
    let [here, there] = <[_; 2]>::from(tokio::join!(ended(users[0]), ended(users[1])));
    for (place, lasted) in [("the first node", here), ("the second node", there)] {
        // The bar began a moment before the test's clock did.
        let early = Duration::from_millis(300);
        assert!(lasted.is_some_and(|lasted| lasted + early >= KICK), "{place}: {lasted:?} instead of {KICK:?}");
    }
}

#[tokio::test]
async fn a_kick_bars_as_long_at_a_node_whose_clock_is_five_minutes_ahead() {
    let clock = WallClock::new();
    clock.set("+300");
    let pair = Pair::start(&clock.environment()).await;
    let user = async |node: &Gateway| {
        let open = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
        node.client().try_login(open).await.unwrap_or_else(|refusal| panic!("{}", refusal.0))
    };
    let users = [user(&pair.nodes[0]).await, user(&pair.nodes[1]).await];
    for node in &pair.nodes {
        let chair = chair(node).await;
        let (conf, _) = conference(&chair).await;
        bars(&chair, &conf, [&users[0], &users[1]]).await;
    }
    pair.end_well().await;
}
