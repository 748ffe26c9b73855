//! A call gateway node pulls streams from another one: by hand, as Flashphoner's WCS is asked for it. Both are real, and
//! so are those who are seen and those who see.

use std::net::SocketAddr;
use std::time::Duration;

use confgate::ids::{ConfId, Secret};
use confgate::token::{Kind, KindKeys, PullClaims};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::call_gateway::Trust;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::http_session::whip;
use crate::support::media::{Media, NODE_SECRET, Peer, builtin_node, call, control_token};
use crate::support::ports::Port;
use crate::support::wait::until_true;

/// Enough that media flows, few enough that it takes no second.
const SOME: usize = 20;

/// Nodes that know each other by their addresses and secrets.
struct Nodes {
    a: Gateway,
    b: Gateway,
    // Their files and addresses, held for restarts.
    _held: (Trust, [Port; 2]),
}

impl Nodes {
    /// `a` may pull from `b`'s address, and `b` has `a` among its nodes.
    async fn start(more: &str) -> Self {
        let (trust, ports) = (Trust::new(), [Port::claim(), Port::claim()]);
        let [at_a, at_b] = ports.each_ref().map(Port::address);
        let known = format!(
            "[[callgw.nodes]]\nid = \"a\"\nkind = \"confgate\"\nurl = \"wss://{at_a}/gzbwclient/callgw\"\n\
             secret = {NODE_SECRET:?}\n"
        );
        let b = node("b", at_b, &trust, more, &known).await;
        let a =
            node("a", at_a, &trust, &format!("pull_allow = [\"wss://{at_b}\", \"wss://{at_a}\"]\n{more}"), "").await;
        let nodes = Self { a, b, _held: (trust, ports) };
        nodes.have_members().await;
        nodes
    }

    async fn have_members(&self) {
        for (id, node) in [("a", &self.a), ("b", &self.b)] {
            for room in ["c1", "c2"] {
                node.client().has_members(id, room, &["anna", "ben", "boris", "carl"]).await;
            }
        }
    }

    fn triple(from: &Gateway, remote: &str, local: &str) -> Value {
        json!({ "uri": format!("wss://{}", from.http()), "remoteStreamName": remote, "localStreamName": local })
    }
}

async fn node(id: &str, at: SocketAddr, trust: &Trust, callgw: &str, nodes: &str) -> Gateway {
    let [cert, key] = trust.files();
    let http = format!("[http]\nlisten = \"{at}\"\ncert = {cert:?}\nkey = {key:?}\n");
    let callgw = format!("[callgw]\nca = {cert:?}\nthreads = 1\nreport_interval_ms = 50\n{callgw}");
    Gateway::media(&format!("[node]\nid = \"{id}\"\n{http}{callgw}{}{nodes}", builtin_node(id))).start().await
}

async fn pull(node: &Gateway, what: &str, triple: &Value) -> StatusCode {
    pull_as(node, None, what, triple).await
}

async fn pull_as(node: &Gateway, token: Option<&str>, what: &str, triple: &Value) -> StatusCode {
    let (status, body) = node.admin_post_as(&format!("/rest-api/pull/{what}"), triple, token).await;
    println!("{what} {triple}: {status} {body}");
    assert!(status != StatusCode::OK || body.is_empty(), "{body}");
    status
}

async fn found(node: &Gateway) -> Value {
    let (status, body) = node.admin_post("/rest-api/pull/find_all", &json!({})).await;
    if status == StatusCode::NOT_FOUND { Value::Null } else { serde_json::from_str(&body).expect("a list") }
}

fn more_than(frames: usize) -> impl Fn(&[&mut Peer]) -> bool {
    move |peers| peers[1..].iter().all(|peer| peer.frames() >= frames + SOME && peer.sounds() >= SOME)
}

#[tokio::test]
async fn a_flat_stream_outside_conferences_is_an_operators_and_is_pulled_by_its_name() {
    let admin = "the operator's token";
    let nodes = Nodes::start(&format!("[admin]\ntoken = {admin:?}\n")).await;
    let (near, far) = (&nodes.b, &nodes.a);
    let client = far.client();
    let open = format!("{BASE}/callgw/whip-open/testStream");
    let of_a_conference = crate::support::media::token("a", "testStream", "anna");
    for (path, token) in [(&open, of_a_conference.as_str()), (&open, "wrong"), (&whip("testStream"), admin)] {
        let refused = client.offer(path, token, Peer::offer(Media::SENDS)).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let mut cam = client.publish_over_http(&open, admin).await;
    assert!(cam.location.starts_with(&format!("{open}/~/")), "{}", cam.location);
    call(&mut [&mut cam.peer], "it is connected", |peers| peers[0].is_connected()).await;
    // A conference of that name has nothing of it.
    client.has_members("a", "testStream", &["anna"]).await;
    let mut stranger = client.call_socket(Some(&of_a_conference)).await.unwrap();
    assert_eq!(stranger.join("testStream", "anna").await, Vec::<String>::new());

    let flat = Nodes::triple(far, "testStream", "testStream");
    assert_eq!(pull_as(near, Some(admin), "pull", &Nodes::triple(far, "testStream", "c1/cam")).await, StatusCode::OK);
    assert_eq!(pull_as(near, Some(admin), "pull", &flat).await, StatusCode::OK);
    assert_eq!(pull_as(near, Some(admin), "pull", &flat).await, StatusCode::CONFLICT);
    assert_eq!(pull_as(near, Some(admin), "pull", &Nodes::triple(far, "none", "none")).await, StatusCode::NOT_FOUND);
    let mut ben = near.client().call_socket(Some(&crate::support::media::token("b", "c1", "ben"))).await.unwrap();
    assert_eq!(ben.join("c1", "ben").await, ["cam"]);
    let mut sees = ben.watch("cam").await;
    call(&mut [&mut cam.peer, &mut sees], "he sees and hears it", more_than(0)).await;
    assert_eq!(pull_as(near, Some(admin), "terminate", &flat).await, StatusCode::OK);
    assert_eq!(pull_as(near, Some(admin), "terminate", &flat).await, StatusCode::NOT_FOUND);
    assert_eq!(cam.delete(&client).await, StatusCode::OK);
}

#[tokio::test]
async fn a_stream_is_pulled_once_however_many_see_it_and_no_longer_than_wanted() {
    let nodes = Nodes::start("").await;
    let (near, far) = (&nodes.b, &nodes.a);
    let mut anna = far.client().joined("a", "c1", "anna").await;
    let mut sends = anna.publish("anna").await;
    call(&mut [&mut sends], "she is connected", |peers| peers[0].is_connected()).await;

    let triple = Nodes::triple(far, "c1/anna", "c1/anna");
    let mut ben = near.client().joined("b", "c1", "ben").await;
    assert_eq!(pull(near, "pull", &triple).await, StatusCode::OK);
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "anna");
    let mut carl = near.client().call_socket(Some(&crate::support::media::token("b", "c1", "carl"))).await.unwrap();
    assert_eq!(carl.join("c1", "carl").await, ["ben", "anna"]);
    let (mut sees, mut sees_too) = (ben.watch("anna").await, carl.watch("anna").await);
    call(&mut [&mut sends, &mut sees, &mut sees_too], "both see and hear her", more_than(0)).await;

    let mut suffixed = triple.clone();
    suffixed["uri"] = json!(format!("wss://{}/websocket", far.http()));
    for same in [&triple, &suffixed] {
        assert_eq!(pull(near, "pull", same).await, StatusCode::CONFLICT, "it is pulled already");
    }
    until_true("one copy crosses", async || far.metric("confgate_media_endpoints").await == Some(2.0)).await;
    assert_eq!(far.metric("confgate_groupcall_members").await, Some(1.0), "the node is no member there");
    let listed = found(near).await;
    let session = &listed[0]["localMediaSessionId"];
    assert!(session.as_str().is_some_and(|id| !id.is_empty()), "{listed}");
    let expected = json!([{
        "localMediaSessionId": session, "remoteMediaSessionId": null, "localStreamName": "c1/anna",
        "remoteStreamName": "c1/anna", "uri": triple["uri"], "status": "PUBLISHING",
    }]);
    assert_eq!(listed, expected);
    let other = Nodes::triple(far, "c1/zoe", "c1/anna");
    assert_eq!(pull(near, "pull", &other).await, StatusCode::CONFLICT);
    assert_eq!(pull(near, "terminate", &other).await, StatusCode::NOT_FOUND);

    assert_eq!(pull(near, "terminate", &suffixed).await, StatusCode::OK);
    for viewer in [&mut ben, &mut carl] {
        assert_eq!(viewer.wait_for("participantLeft").await["name"], "anna");
    }
    assert_eq!((found(near).await, pull(near, "terminate", &triple).await), (Value::Null, StatusCode::NOT_FOUND));
    until_true("nothing crosses", async || far.metric("confgate_media_endpoints").await == Some(1.0)).await;
}

#[tokio::test]
async fn mute_at_the_source_node_holds_at_every_pulling_node() {
    let nodes = Nodes::start("").await;
    let (near, far) = (&nodes.b, &nodes.a);
    let mut anna = far.client().joined("a", "c1", "anna").await;
    let mut gateway = far.client().control_link(&control_token("a")).await.unwrap();
    let mut sends = anna.publish("anna").await;
    assert_eq!(pull(near, "pull", &Nodes::triple(far, "c1/anna", "c2/visitor")).await, StatusCode::OK);
    let mut ben = near.client().joined("b", "c2", "ben").await;
    let mut sees = ben.watch("visitor").await;
    call(&mut [&mut sends, &mut sees], "he sees and hears her", more_than(0)).await;

    gateway.send(json!({ "id": "permit", "room": "c1", "name": "anna", "audio": false, "video": true })).await;
    anna.wait_for("enforce").await;
    let silent_after = sees.sounds() + SOME;
    let frames = sees.frames();
    call(&mut [&mut sends, &mut sees], "pictures go on", |peers| peers[1].frames() >= frames + 5 * SOME).await;
    assert!(sees.sounds() < silent_after, "sound doesn't");
    let until = confgate::clock::date_ms();
    gateway.send(json!({ "id": "expel", "room": "c1", "name": "anna", "issuedUntil": until })).await;
    assert_eq!(ben.wait_for("participantLeft").await["name"], "visitor");
    until_true("the pull has ended with her", async || found(near).await == Value::Null).await;
}

#[tokio::test]
async fn a_pull_outlives_the_other_nodes_crash() {
    let mut nodes = Nodes::start("reconnect_max_ms = 300\n").await;
    let triple = Nodes::triple(&nodes.a, "c1/anna", "c1/anna");
    let mut ben = nodes.b.client().joined("b", "c1", "ben").await;
    {
        let mut anna = nodes.a.client().joined("a", "c1", "anna").await;
        let _sends = anna.publish("anna").await;
        assert_eq!(pull(&nodes.b, "pull", &triple).await, StatusCode::OK);
        ben.expect("newParticipantArrived").await;
        nodes.a.kill();
    }
    assert_eq!(ben.wait_for("participantLeft").await["name"], "anna");
    until_true("it waits", async || found(&nodes.b).await[0]["status"] == "PENDING").await;
    nodes.a.restart().await;
    nodes.have_members().await;
    let mut anna = nodes.a.client().joined("a", "c1", "anna").await;
    let mut sends = anna.publish("anna").await;
    assert_eq!(ben.wait_for("newParticipantArrived").await["name"], "anna");
    let mut sees = ben.watch("anna").await;
    call(&mut [&mut sends, &mut sees], "he sees and hears her again", more_than(0)).await;
    until_true("it flows", async || found(&nodes.b).await[0]["status"] == "PUBLISHING").await;
    assert_eq!(pull(&nodes.b, "terminate", &triple).await, StatusCode::OK);
}

#[tokio::test]
async fn impossible_pull_is_refused_with_its_reason() {
    let dead = Port::claim();
    let nodes = Nodes::start("").await;
    let (near, far) = (&nodes.b, &nodes.a);
    let mut anna = far.client().joined("a", "c1", "anna").await;
    let _sends = anna.publish("anna").await;
    let refused = async |node: &Gateway, triple: Value, status: StatusCode| {
        assert_eq!(pull(node, "pull", &triple).await, status, "{triple}");
        assert_eq!(found(node).await, Value::Null, "nothing is left of {triple}");
    };
    for stream in ["c1/zoe", "c9/anna", "c1/anna/screen", "none", "a b", "", "c1/anna/x"] {
        refused(near, Nodes::triple(far, stream, "c1/local"), StatusCode::NOT_FOUND).await;
    }
    refused(near, Nodes::triple(far, "c1/anna", "a b"), StatusCode::NOT_FOUND).await;
    for uri in [format!("wss://{}", dead.address()), format!("ws://{}", far.http()), "https://a".into(), String::new()]
    {
        let triple = json!({ "uri": uri, "remoteStreamName": "c1/anna", "localStreamName": "c1/anna" });
        refused(near, triple, StatusCode::NOT_FOUND).await;
    }
    for body in [json!({}), json!([]), json!({ "uri": 7 }), json!("x")] {
        refused(near, body, StatusCode::BAD_REQUEST).await;
    }
    let itself = Nodes::triple(far, "c1/anna", "c1/echo");
    refused(far, itself, StatusCode::CONFLICT).await;
    refused(far, Nodes::triple(near, "c1/anna", "c1/anna"), StatusCode::CONFLICT).await;

    // From a to b, and back under another name: the way is told with the stream.
    assert_eq!(pull(near, "pull", &Nodes::triple(far, "c1/anna", "c1/anna")).await, StatusCode::OK);
    refused(far, Nodes::triple(near, "c1/anna", "c1/echo"), StatusCode::CONFLICT).await;
    let (status, _) = near.admin_post("/rest-api/pull/pull", &json!("x".repeat(100_000))).await;
    assert!(status.is_client_error(), "{status}");
}

#[tokio::test]
async fn a_node_that_is_away_is_an_error_within_the_time_that_is_given() {
    let mut nodes = Nodes::start("pull_timeout_ms = 1000\n").await;
    let triple = Nodes::triple(&nodes.a, "c1/anna", "c1/anna");
    nodes.a.kill();
    assert_eq!(pull(&nodes.b, "pull", &triple).await, StatusCode::INTERNAL_SERVER_ERROR);
    // One that takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind(nodes.a.http()).await.expect("its port is free now");
    assert_eq!(pull(&nodes.b, "pull", &triple).await, StatusCode::INTERNAL_SERVER_ERROR);
    drop(silent);
    assert_eq!(found(&nodes.b).await, Value::Null);
}

fn pull_token(secret: &str, node: Option<&str>, stream: &str, ttl_s: u64) -> String {
    let conf = ConfId::parse("c1").expect("an id");
    let claims = PullClaims::new(node, conf, Some(stream), Duration::from_secs(ttl_s));
    KindKeys::new(&[("pull".into(), Secret::new(secret))], Kind::Pull).sign(&claims)
}

#[tokio::test]
async fn a_pull_token_serves_for_its_stream_at_its_node_once_and_not_for_long() {
    let nodes = Nodes::start("open = true\n").await;
    let client = nodes.a.client();
    let mut anna = client.joined("a", "c1", "anna").await;
    let _boris = client.joined("a", "c1", "boris").await;
    anna.expect("newParticipantArrived").await;
    let bad = [
        pull_token(NODE_SECRET, Some("a"), "anna", 0),
        pull_token(NODE_SECRET, Some("b"), "anna", 60),
        pull_token("the secret of another node", Some("a"), "anna", 60),
    ];
    for token in bad {
        assert_eq!(client.call_socket(Some(&token)).await.err().expect("no socket").status, StatusCode::UNAUTHORIZED);
    }
    let token = pull_token(NODE_SECRET, Some("a"), "anna", 60);
    let mut puller = client.call_socket(Some(&token)).await.unwrap();
    assert_eq!(puller.join("c1", "b").await, ["anna"]);
    anna.hears_nothing().await;
    let mut again = client.call_socket(Some(&token)).await.unwrap();
    again.send(json!({ "id": "joinRoom", "room": "c1", "name": "b" })).await;
    assert_eq!(again.closed().await, (vec!["unauthorized".to_owned()], 4001), "it serves once");
    let mut elsewhere = client.call_socket(Some(&pull_token(NODE_SECRET, None, "anna", 60))).await.unwrap();
    elsewhere.send(json!({ "id": "joinRoom", "room": "c2", "name": "b" })).await;
    assert_eq!(elsewhere.closed().await, (vec!["unauthorized".to_owned()], 4001));

    let offer = Peer::offer(crate::support::media::Media::SENDS);
    for sender in ["boris", "b", "nobody"] {
        puller.send(json!({ "id": "receiveVideoFrom", "sender": sender, "sdpOffer": offer })).await;
        puller.refused("badMessage").await;
    }
    drop(anna);
    assert_eq!(puller.expect("participantLeft").await["name"], "anna");
}
