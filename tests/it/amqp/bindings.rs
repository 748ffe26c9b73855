//! The gateway's queue, and what it is bound to.

use serde_json::json;

use super::{DEAD, QUEUE, Scene, enter, state};
use crate::support::client::Client;
use crate::support::event_socket::EventSocket;
use crate::support::wait::until_true;

/// Short: a conference is followed for as long as somebody may come back to their seat.
const LIMITS: &str = "[limits]\ngrace_ms = 300\nresume_window_ms = 600\n";

impl Scene {
    async fn bound_to(&self, mut expected: Vec<String>) {
        expected.sort();
        let what = format!("{QUEUE} is bound to {expected:?}");
        until_true(&what, async || self.broker.keys(QUEUE).await == expected).await;
    }
}

fn conference(conf: &str) -> String {
    format!("conf.{conf}.#")
}

fn user(client: &Client) -> String {
    format!("user.{}.#", client.user_id())
}

/// A conference that somebody makes who has a socket already, and a call.
async fn news_of_one_user_comes_under_their_key(scene: &Scene, chair: &Client, socket: &mut EventSocket) {
    let (made, _) = scene.fixture.conference(chair, json!({})).await;
    assert_eq!(socket.expect_event("conference.created").await["confId"], made);
    let login = json!({ "grantType": "client_credentials", "clientId": "u1074304" });
    let callee = scene.fixture.login(login).await;
    let mut callee_socket = callee.open_socket().await;
    callee_socket.expect("hello").await;
    let call = socket.call("call.start", json!({ "to": [callee.user_id()] })).await.result();
    assert_eq!(callee_socket.wait_for("call.incoming").await["callId"], call["callId"]);
    socket.call("call.cancel", json!({ "callId": call["callId"] })).await.result();
    assert_eq!(callee_socket.wait_for("call.cancelled").await["callId"], call["callId"]);
}

#[tokio::test]
async fn a_node_has_one_queue_bound_to_what_its_people_are_in() {
    let mut scene = Scene::start(LIMITS).await;
    scene.bound_to(vec![]).await;
    let chair = scene.fixture.chair().await;
    let (first, code) = scene.fixture.conference(&chair, json!({})).await;
    let (second, _) = scene.fixture.conference(&chair, json!({})).await;
    scene.bound_to(vec![]).await;

    let [one, other] = [scene.fixture.guest(&code, "One").await, scene.fixture.guest(&code, "Other").await];
    let one_socket = enter(&one, &first).await;
    scene.bound_to(vec![conference(&first), user(&one)]).await;
    let other_socket = enter(&other, &first).await;
    scene.bound_to(vec![conference(&first), user(&one), user(&other)]).await;
    one_socket.close().await;
    scene.bound_to(vec![conference(&first), user(&other)]).await;
    other_socket.close().await;
    scene.bound_to(vec![]).await;

    // A chair's socket hears of all their conferences.
    let mut chair_socket = chair.open_socket().await;
    scene.bound_to(vec![conference(&first), conference(&second), user(&chair)]).await;
    let queues = scene.broker.topology().await.queues;
    let queue = queues.get(QUEUE).unwrap_or_else(|| panic!("no {QUEUE} in {queues:?}"));
    assert!(queue.durable && queue.consumers == 1, "{queue:?}");
    assert_eq!(queue.arguments["x-expires"], 3_600_000, "{queue:?}");

    news_of_one_user_comes_under_their_key(&scene, &chair, &mut chair_socket).await;

    // The queue outlives the process, for as long as it may come back. Nobody is here then.
    drop(chair_socket);
    scene.fixture.gateway.kill();
    assert!(scene.broker.topology().await.queues.contains_key(QUEUE));
    scene.fixture.gateway.restart().await;
    state(scene.gateway(), "events", "up").await;
    let own = async || {
        let queues = scene.broker.topology().await.queues;
        queues.keys().filter(|name| name.starts_with("confgate.") && *name != DEAD).cloned().collect::<Vec<_>>()
    };
    assert_eq!(own().await, [QUEUE]);
    scene.bound_to(vec![]).await;
}
