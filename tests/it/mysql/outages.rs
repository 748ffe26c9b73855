//! The server goes away, each way in which it can, and comes back: what needs it is refused for now, the rest goes on, and
//! what was acknowledged is there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::store;
use crate::fixture::CLIENTS;
use crate::support::chaos::ChaosProxy;
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Eim, Gateway, eim};
use crate::support::mariadb::MariaDb;
use crate::support::wait::{PATIENCE, until, until_true};
use crate::support::xmpp_server::{COMPONENT, XmppServer};

/// `store.wait_ms` and a moment: how long a refusal may take.
const REFUSED_WITHIN: Duration = Duration::from_millis(1000 + 1500);
/// How long after the server is back all has to be well.
const WELL_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// It is killed.
    Crash,
    /// It is stopped: it accepts and never answers.
    Halt,
    /// It answers, and keeps nothing.
    ReadOnly,
    /// Whatever it answers comes too late.
    Late,
    /// Connections are closed, and new ones at once.
    Cut,
}

/// All parts, each a process of its own; the EIM keeps a file of its own. They end in this order.
struct Scene {
    gateway: Gateway,
    _eim: Eim,
    _server: XmppServer,
    proxy: ChaosProxy,
    database: MariaDb,
}

impl Scene {
    async fn start() -> Self {
        let (server, database) = tokio::join!(XmppServer::prosody(), MariaDb::start());
        let proxy = ChaosProxy::to(database.address()).await;
        let eim = eim(&server).await;
        let (section, store) = (server.component_section(COMPONENT), store(&database.url_at(proxy.address())));
        let gateway = Gateway::with(&format!("{CLIENTS}\n{section}{store}")).start().await;
        Self { gateway, _eim: eim, _server: server, proxy, database }
    }

    async fn begin(&mut self, outage: Outage) {
        match outage {
            Outage::Crash => self.database.cut(),
            Outage::Halt => self.database.pause(),
            Outage::ReadOnly => self.database.read_only(true).await,
            Outage::Late => self.proxy.stall(),
            Outage::Cut => self.proxy.cut(),
        }
    }

    async fn end(&mut self, outage: Outage) {
        match outage {
            Outage::Crash => self.database.restart().await,
            Outage::Halt => self.database.resume(),
            Outage::ReadOnly => self.database.read_only(false).await,
            Outage::Late | Outage::Cut => self.proxy.restore(),
        }
    }

    async fn enters(&self, code: &str) -> Result<Client, Value> {
        let params = json!({ "grantType": "conference_link", "link": code, "name": "Guest" });
        self.gateway.client().try_login(params).await.map_err(|refusal| refusal.error())
    }

    fn store(readyz: &Value) -> &Value {
        let mut parts = readyz["parts"].as_array().expect("parts are listed").iter();
        parts.find(|part| part["part"] == "store").expect("the store is a part")
    }

    async fn is_unready(&self) {
        until_true("readyz names the store", async || {
            let (status, body) = self.gateway.admin_get("/readyz").await;
            let readyz = serde_json::from_str(&body).expect("JSON");
            let part = Self::store(&readyz);
            status == 503 && part["state"] == "down" && part["reason"].is_string()
        })
        .await;
    }

    /// A login and a link, which the store is needed for, are refused in time.
    async fn refuses(&self, outage: Outage, chair: &Client, conf: &str, code: &str) {
        let begun = Instant::now();
        let refused = self.enters(code).await.err();
        for_now(outage, "a login", refused, begun);
        let begun = Instant::now();
        let link = chair.rpc("conference.createLink", json!({ "confId": conf })).await.0;
        for_now(outage, "a link", link.get("error").cloned(), begun);
    }
}

fn for_now(outage: Outage, what: &str, error: Option<Value>, begun: Instant) {
    let (took, error) = (begun.elapsed(), error.unwrap_or_default());
    assert_eq!(error["data"]["key"], "store.unavailable", "{outage:?}, {what}: {error}");
    assert!(error["data"]["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{outage:?}, {what}: {error}");
    assert!(took < REFUSED_WITHIN, "{outage:?}: {what} is refused after {took:?}");
}

async fn until_store(socket: &mut EventSocket, method: &str) {
    while socket.wait_for(method).await["part"] != "store" {}
}

async fn outage(outage: Outage) {
    let mut scene = Scene::start().await;
    let chair = scene.gateway.client().login_client("chair", "the chair's secret").await;
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (conf, code) = (text(&made["confId"]), text(&made["link"]["code"]));
    let mut sockets = Vec::new();
    for client in [&chair, &scene.enters(&code).await.expect("a guest enters")] {
        let mut socket = client.open_socket().await;
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        sockets.push(socket);
    }
    // The last words before the outage.
    let kept = text(&chair.rpc("conference.createLink", json!({ "confId": conf })).await.result()["code"]);
    let guest = scene.enters(&code).await.expect("a guest enters");

    scene.begin(outage).await;
    scene.refuses(outage, &chair, &conf, &code).await;
    for socket in &mut sockets {
        until_store(socket, "degraded").await;
    }
    scene.is_unready().await;
    scene.refuses(outage, &chair, &conf, &kept).await;
    sockets[1].call("conference.sendMessage", json!({ "confId": conf, "text": "still here" })).await.result();
    for socket in &mut sockets {
        assert_eq!(socket.expect_event("message").await["data"]["text"], "still here");
    }

    scene.end(outage).await;
    let back = Instant::now();
    let well = until(WELL_WITHIN, async || {
        let (status, _) = scene.gateway.admin_get("/readyz").await;
        (status == 200 && scene.enters(&kept).await.is_ok()).then_some(())
    });
    assert!(well.await.is_some(), "{outage:?}: {}", scene.gateway.readyz().await);
    println!("{outage:?}: all is well {:?} after the server is back", back.elapsed());
    for socket in &mut sockets {
        until_store(socket, "restored").await;
    }
    assert_eq!(guest.refreshed().await.user_id(), guest.user_id());
    chair.rpc("conference.createLink", json!({ "confId": conf })).await.result();
    assert!(scene.gateway.stop(PATIENCE).await.is_some_and(|status| status.success()), "{}", scene.gateway.logs());
}

#[tokio::test]
async fn a_crash_of_the_database_is_told_and_survived() {
    outage(Outage::Crash).await;
}

#[tokio::test]
async fn a_database_that_accepts_and_never_answers_is_told_and_survived() {
    outage(Outage::Halt).await;
}

#[tokio::test]
async fn a_database_that_is_made_read_only_is_told_and_survived() {
    outage(Outage::ReadOnly).await;
}

#[tokio::test]
async fn answers_of_the_database_that_come_too_late_are_told_and_survived() {
    outage(Outage::Late).await;
}

#[tokio::test]
async fn a_cut_network_to_the_database_is_told_and_survived() {
    outage(Outage::Cut).await;
}

#[tokio::test]
async fn a_socket_that_is_opened_while_the_database_is_away_listens_once_it_is_back() {
    let mut scene = Scene::start().await;
    let chair = scene.gateway.client().login_client("chair", "the chair's secret").await;
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let code = made["link"]["code"].as_str().expect("a code").to_owned();
    let guest = scene.enters(&code).await.expect("the store is there");
    guest.rpc("conference.join", json!({ "confId": made["confId"] })).await.result();
    scene.begin(Outage::Halt).await;
    scene.is_unready().await;
    let mut socket = guest.open_socket().await;
    socket.expect("hello").await;
    // Meanwhile it can't be looked up whether the socket's user is barred: each of these waits as long for the store.
    for _ in 0..3 {
        assert!(scene.enters(&code).await.is_err());
    }
    scene.end(Outage::Halt).await;
    let begun = Instant::now();
    socket.wait_for("conference.snapshot").await;
    assert!(begun.elapsed() <= WELL_WITHIN, "after {:?}", begun.elapsed());
}
