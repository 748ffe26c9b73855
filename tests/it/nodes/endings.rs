//! What ends a login at one node ends it at the other within a second: the token is refused there, and the socket closed
//! with the code of the reason.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Cluster, enter};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::until;

const WITHIN: Duration = Duration::from_secs(1);
/// A busy machine's.
const TOLERANCE: Duration = Duration::from_millis(500);

/// The socket is closed with that code, and the token refused at that node, within a second of that moment.
async fn ends(since: Instant, node: &Client, socket: &mut EventSocket, code: u16) {
    let closed = async { (socket.close_code().await, since.elapsed()) };
    let refused = until(WITHIN + TOLERANCE, async || {
        let answer = node.rpc("conference.list", json!({})).await;
        (answer.0["error"]["code"] == -32001).then(|| since.elapsed())
    });
    let ((came, closed), refused) = tokio::join!(closed, refused);
    assert_eq!(came, code);
    assert!(closed < WITHIN + TOLERANCE, "closed after {closed:?}");
    assert!(refused.is_some_and(|after| after < WITHIN + TOLERANCE), "refused after {refused:?}");
}

/// A chair at the first node without a socket, so that only the store and the EIM bring news to the second.
struct Scene {
    cluster: Cluster,
    conf: String,
    code: String,
    chair: Client,
}

impl Scene {
    async fn start() -> Self {
        let cluster = Cluster::start(2, "[limits]\ngrace_ms = 60000\nresume_window_ms = 90000\n").await;
        let chair = cluster.chair(0).await;
        let (conf, code) = cluster.conference(&chair).await;
        Self { cluster, conf, code, chair }
    }

    async fn control(&self, action: &str, user: Option<&Client>) -> Instant {
        let mut params = json!({ "confId": self.conf, "action": action });
        if let Some(user) = user {
            params["userId"] = user.user_id().into();
        }
        let since = Instant::now();
        self.chair.rpc("conference.control", params).await.result();
        since
    }

    /// A guest with a socket at the second node, in the conference or only before it.
    async fn guest(&self, is_in: bool) -> (Client, EventSocket) {
        let guest = self.cluster.guest(1, &self.code, "Guest").await;
        let socket = if is_in { enter(&guest, &self.conf).await } else { guest.open_socket().await };
        (guest, socket)
    }
}

#[tokio::test]
async fn kick_and_ban_end_a_guests_login_on_the_other_node() {
    let scene = Scene::start().await;
    for action in ["kick", "ban"] {
        let (guest, mut socket) = scene.guest(true).await;
        let since = scene.control(action, Some(&guest)).await;
        ends(since, &guest, &mut socket, 4003).await;
    }
}

#[tokio::test]
async fn conferences_end_ends_its_guests_logins_on_the_other_node() {
    let scene = Scene::start().await;
    let ((inside, mut socket), (outside, mut other)) = (scene.guest(true).await, scene.guest(false).await);
    let since = scene.control("end", None).await;
    tokio::join!(ends(since, &inside, &mut socket, 4004), ends(since, &outside, &mut other, 4004));
}

#[tokio::test]
async fn logout_and_a_refresh_token_used_twice_end_a_login_on_the_other_node() {
    let scene = Scene::start().await;
    let (guest, mut socket) = scene.guest(true).await;
    let here = scene.cluster.at(0, &guest);
    let since = Instant::now();
    here.rpc("auth.http.logout", json!({})).await.result();
    ends(since, &guest, &mut socket, 4001).await;

    let (guest, mut socket) = scene.guest(true).await;
    let here = scene.cluster.at(0, &guest);
    here.refreshed().await;
    let since = Instant::now();
    let again = json!({ "grantType": "refresh_token", "refreshToken": here.login()["refreshToken"] });
    assert!(here.try_login(again).await.is_err());
    ends(since, &guest, &mut socket, 4001).await;
}

#[tokio::test]
async fn user_of_the_eim_hears_of_their_kick_on_the_other_node_and_keeps_the_socket() {
    let scene = Scene::start().await;
    let params = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
    let user = scene.cluster.nodes[1].client().try_login(params).await.expect("an open client");
    let mut socket = user.open_socket().await;
    socket.call("conference.join", json!({ "confId": scene.conf })).await.result();
    socket.wait_for("conference.snapshot").await;
    let since = scene.control("kick", Some(&user)).await;
    let left = loop {
        let event = socket.expect_event("member.left").await;
        if event["data"]["userId"] == user.user_id() {
            break event;
        }
    };
    assert_eq!(left["data"]["reason"], "kicked");
    assert!(since.elapsed() < WITHIN + TOLERANCE, "after {:?}", since.elapsed());
    socket.call("conference.list", json!({})).await.result();
    socket.call("conference.join", json!({ "confId": scene.conf })).await.error();
}
