//! Kurento's one-to-one call over wss, with real WebRTC peers that the node relays between.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::media::{CallSocket, Peer, SOME, builtin_node, call, claims, control_token, signed, token};
use crate::support::wait::until_true;

async fn node(more: &str) -> Gateway {
    let config = format!("{}[callgw]\nthreads = 1\n{more}", builtin_node("n1"));
    let gateway = Gateway::with(&config).start().await;
    for room in ["c1", "c2"] {
        gateway.client().has_members("n1", room, &["anna", "ben", "carl", "dora", "emil"]).await;
    }
    gateway
}

impl CallSocket {
    async fn register(&mut self, name: &str) -> String {
        self.send(json!({ "id": "register", "name": name })).await;
        self.expect("registerResponse").await["response"].as_str().expect("a text").to_owned()
    }

    /// Calls as Kurento's page does.
    async fn dial(&mut self, from: &str, to: &str) -> Peer {
        let peer = Peer::of_pair().await;
        self.send(json!({ "id": "call", "from": from, "to": to, "sdpOffer": peer.offered() })).await;
        peer
    }

    async fn accept(&mut self, from: &str) -> Peer {
        assert_eq!(self.expect("incomingCall").await["from"], from);
        let mut peer = Peer::of_pair().await;
        let response =
            json!({ "id": "incomingCallResponse", "from": from, "callResponse": "accept", "sdpOffer": peer.offered() });
        self.send(response).await;
        peer.answered(self.expect("startCommunication").await["sdpAnswer"].as_str().expect("the answer is SDP"));
        peer
    }

    /// The refusal's words.
    async fn is_refused(&mut self) -> String {
        let response = self.expect("callResponse").await;
        assert_ne!(response["response"], "accepted");
        response["message"].as_str().expect("a refusal has a message").to_owned()
    }

    async fn is_through(&mut self, peer: &mut Peer) {
        let response = self.expect("callResponse").await;
        assert_eq!(response["response"], "accepted");
        peer.answered(response["sdpAnswer"].as_str().expect("the answer is SDP"));
    }

    async fn stop(&mut self) {
        self.send(json!({ "id": "stop" })).await;
    }

    async fn is_stopped(&mut self) -> String {
        self.expect("stopCommunication").await["message"].as_str().expect("a text").to_owned()
    }
}

/// Registered by a token for the conference.
/// Two in a call, each with what they send and receive by.
async fn anna_and_ben(client: &Client) -> (CallSocket, Peer, CallSocket, Peer) {
    let (mut anna, mut ben) = (by_token(client, "c1", "anna").await, by_token(client, "c1", "ben").await);
    let mut annas = anna.dial("anna", "ben").await;
    let bens = ben.accept("anna").await;
    anna.is_through(&mut annas).await;
    (anna, annas, ben, bens)
}

async fn by_token(client: &Client, conf: &str, name: &str) -> CallSocket {
    let mut socket = client.call_socket(Some(&token("n1", conf, name))).await.expect("a good token opens");
    assert_eq!(socket.register(name).await, "accepted");
    socket
}

/// Registered at Kurento's address without a token.
async fn openly(client: &Client, alias: &str, name: &str) -> CallSocket {
    let mut socket = client.call_socket_at(alias, None).await.expect("it is open");
    assert_eq!(socket.register(name).await, "accepted");
    socket
}

async fn talk(one: &mut Peer, other: &mut Peer) {
    let (frames, more) = ([one.frames(), other.frames()], SOME);
    let sounds = [one.sounds(), other.sounds()];
    call(&mut [one, other], "both see and hear each other", |peers| {
        (0..2).all(|i| peers[i].frames() >= frames[i] + more && peers[i].sounds() >= sounds[i] + more)
    })
    .await;
}

/// All have gone: nothing of them is kept.
async fn empty(gateway: &Gateway) {
    for gauge in ["confgate_groupcall_sockets", "confgate_one2one_calls", "confgate_media_endpoints"] {
        until_true(gauge, async || gateway.metric(gauge).await == Some(0.0)).await;
    }
}

#[tokio::test]
async fn two_call_each_other_and_are_relayed() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut anna, mut annas, mut ben, mut bens) = anna_and_ben(&client).await;
    talk(&mut annas, &mut bens).await;

    let mut carl = by_token(&client, "c1", "carl").await;
    carl.dial("carl", "ben").await;
    assert_eq!(carl.is_refused().await, "bussy");

    // A mute holds in the media, whatever her client sends.
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    link.send(json!({ "id": "permit", "room": "c1", "name": "anna", "audio": false, "video": true })).await;
    assert_eq!(anna.expect("enforce").await["audio"], false);
    let (frames, sounds) = (bens.frames(), bens.sounds());
    call(&mut [&mut annas, &mut bens], "her picture goes on", |peers| peers[1].frames() >= frames + 2 * SOME).await;
    assert!(bens.sounds() <= sounds + 5, "{} sounds after the mute", bens.sounds() - sounds);

    anna.stop().await;
    assert_eq!(ben.is_stopped().await, "remote user hanged out");
    call(&mut [&mut bens], "his connection ends", |peers| peers[0].is_over()).await;
    // The other way round, on the same sockets.
    link.send(json!({ "id": "permit", "room": "c1", "name": "anna", "audio": true, "video": true })).await;
    assert_eq!(anna.expect("enforce").await["audio"], true);
    let mut bens = ben.dial("ben", "anna").await;
    let mut annas = anna.accept("ben").await;
    ben.is_through(&mut bens).await;
    talk(&mut annas, &mut bens).await;
    link.send(json!({ "id": "expel", "room": "c1", "name": "anna", "issuedUntil": u64::MAX / 2 })).await;
    assert_eq!(anna.closed().await, (vec!["expelled".to_owned()], 4003));
    assert_eq!(ben.is_stopped().await, "remote user hanged out");
    drop((ben, carl));
    empty(&gateway).await;
}

#[tokio::test]
async fn a_call_is_declined_taken_back_or_rings_out() {
    let gateway = node("ring_timeout_ms = 600").await;
    let client = gateway.client();
    let (mut anna, mut ben) = (by_token(&client, "c1", "anna").await, by_token(&client, "c1", "ben").await);
    anna.dial("anna", "ben").await;
    ben.expect("incomingCall").await;
    ben.send(json!({ "id": "incomingCallResponse", "from": "anna", "callResponse": "reject", "message": "稍后" }))
        .await;
    assert_eq!(anna.is_refused().await, "稍后");

    anna.dial("anna", "ben").await;
    ben.expect("incomingCall").await;
    anna.stop().await;
    assert_eq!(ben.is_stopped().await, "the caller has given up");

    anna.dial("anna", "ben").await;
    ben.expect("incomingCall").await;
    assert_eq!(anna.is_refused().await, "no answer");
    assert_eq!(ben.is_stopped().await, "no answer");

    anna.dial("anna", "ben").await;
    ben.expect("incomingCall").await;
    drop(ben);
    assert_eq!(anna.is_refused().await, "user declined");
    anna.dial("anna", "ben").await;
    assert_eq!(anna.is_refused().await, "rejected: user 'ben' is not registered");
    drop(anna);
    empty(&gateway).await;
}

#[tokio::test]
async fn nobody_is_called_in_anothers_name() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = by_token(&client, "c1", "anna").await;
    let mut ben = by_token(&client, "c1", "ben").await;
    anna.dial("carl", "ben").await;
    assert_eq!(anna.is_refused().await, "`from` is another name than the registered one");
    ben.hears_nothing().await;

    let good = token("n1", "c1", "dora");
    let mut expired = claims("n1", "c1", "anna");
    expired.exp = 1;
    let registers = [
        json!({ "id": "register", "name": "anna" }),
        json!({ "id": "register", "name": "ben", "token": good }),
        json!({ "id": "register", "name": "anna", "token": signed(&expired) }),
    ];
    for register in registers {
        let mut socket = client.call_socket_at("/one2one", None).await.unwrap();
        socket.send(register).await;
        assert_eq!(socket.expect("registerResponse").await["response"], "rejected");
        assert_eq!(socket.closed().await, (vec!["unauthorized".to_owned()], 4001));
    }
    let mut dora = client.call_socket_at("/call", None).await.unwrap();
    dora.send(json!({ "id": "register", "name": "dora", "token": good })).await;
    assert_eq!(dora.expect("registerResponse").await["response"], "accepted");
    // Another conference's members are nobody here; the same user from elsewhere takes over.
    let mut other = by_token(&client, "c2", "emil").await;
    other.dial("emil", "anna").await;
    assert_eq!(other.is_refused().await, "rejected: user 'anna' is not registered");
    let _again = by_token(&client, "c1", "anna").await;
    assert_eq!(anna.closed().await, (vec!["replaced".to_owned()], 4009));
    let refused = client.call_socket_at("/one2one", Some("nonsense")).await.err().expect("refused before the upgrade");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn unmodified_kurento_pages_call_each_other_on_an_open_node_apart_from_conferences() {
    let gateway = node("open = true").await;
    let client = gateway.client();
    let mut member = by_token(&client, "c1", "anna").await;
    let mut anna = openly(&client, "/one2one", "anna").await;
    let mut ben = openly(&client, "/call", "Ben Müller").await;
    let mut same = client.call_socket_at(&format!("{BASE}/callgw"), None).await.unwrap();
    // She is asked whether she is there, and is.
    let (taken, said) = tokio::join!(same.register("anna"), anna.next(Duration::from_secs(1)));
    assert_eq!((taken.as_str(), said), ("rejected: user 'anna' already registered", None));
    let mut bens = ben.dial("Ben Müller", "anna").await;
    let mut annas = anna.accept("Ben Müller").await;
    ben.is_through(&mut bens).await;
    talk(&mut annas, &mut bens).await;
    member.hears_nothing().await;
    // One whose socket has gone makes room.
    drop(anna);
    assert_eq!(ben.is_stopped().await, "remote user hanged out");
    assert_eq!(same.register("anna").await, "accepted");
    let mut annas = same.dial("anna", "Ben Müller").await;
    let mut bens = ben.accept("anna").await;
    same.is_through(&mut annas).await;
    talk(&mut annas, &mut bens).await;
    // One that is still open, but whose client is silent, as after a cut: it is replaced.
    let mut third = client.call_socket_at("/one2one", None).await.unwrap();
    assert_eq!(third.register("anna").await, "accepted");
    assert_eq!(ben.is_stopped().await, "remote user hanged out");
}

#[tokio::test]
async fn nonsense_harms_nobody_elses_call() {
    let gateway = node("").await;
    let client = gateway.client();
    let (_anna, mut annas, _ben, mut bens) = anna_and_ben(&client).await;
    let mut carl = by_token(&client, "c1", "carl").await;
    for text in ["{", r#"{"id":"call"}"#, r#"{"id":"leaveRoom"}"#, r#"{"id":"joinRoom","room":"c1","name":"carl"}"#] {
        carl.text(text).await;
        carl.refused("badMessage").await;
    }
    carl.send(json!({ "id": "incomingCallResponse", "from": "anna", "callResponse": "accept", "sdpOffer": "x" })).await;
    assert_eq!(carl.is_stopped().await, "the call is over");
    carl.send(json!({ "id": "play", "user": "anna", "sdpOffer": "x" })).await;
    assert_eq!(carl.expect("playResponse").await["response"], "rejected");
    let mut dora = by_token(&client, "c1", "dora").await;
    carl.send(json!({ "id": "call", "from": "carl", "to": "dora", "sdpOffer": "no SDP" })).await;
    dora.expect("incomingCall").await;
    let offer = Peer::of_pair().await;
    let response =
        json!({ "id": "incomingCallResponse", "from": "carl", "callResponse": "accept", "sdpOffer": offer.offered() });
    dora.send(response).await;
    assert_eq!(carl.is_refused().await, "an offer can't be answered");
    assert_eq!(dora.is_stopped().await, "an offer can't be answered");
    talk(&mut annas, &mut bens).await;
}

/// The mode that `callgw.allocate` gives, and the socket that it leads to, in the call's room.
async fn at_the_node(member: &Client, conf: &str) -> (String, CallSocket) {
    let allocated = member.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let text = |name: &str| allocated[name].as_str().unwrap_or_else(|| panic!("no {name}: {allocated}")).to_owned();
    let own = format!("wss://{}", member.address());
    let path = text("url").strip_prefix(&own).expect("this gateway's own node").to_owned();
    let mut socket = member.call_socket_at(&path, Some(&text("token"))).await.expect("a good token opens");
    socket.join(conf, member.user_id()).await;
    (text("mode"), socket)
}

#[tokio::test]
async fn call_mode_is_allocated_and_a_mute_moves_p2p_media_to_the_node() {
    for p2p in [true, false] {
        let fixture = Fixture::with(&format!("[callgw]\np2p = {p2p}\n")).await;
        let chair = fixture.chair().await;
        let zhang = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
        let _sockets = (chair.open_socket().await, zhang.open_socket().await);
        let started = chair.rpc("call.start", json!({ "to": [zhang.user_id()] })).await.result();
        let conf = started["confId"].as_str().expect("a call has a conference");
        zhang.rpc("call.accept", json!({ "callId": started["callId"] })).await.result();
        let (mode, mut chairs) = at_the_node(&chair, conf).await;
        if !p2p {
            assert_eq!(mode, "group");
            chairs.hears_nothing().await;
            continue;
        }
        assert_eq!((mode.as_str(), &chairs.expect("mode").await["mode"]), ("p2p", &json!("p2p")));
        let (_, mut zhangs) = at_the_node(&zhang, conf).await;
        assert_eq!(zhangs.expect("mode").await["mode"], "p2p");
        chairs.expect("newParticipantArrived").await;
        let description = json!({ "type": "offer", "sdp": "v=0" });
        zhangs.send(json!({ "id": "signal", "to": chair.user_id(), "description": description })).await;
        let heard = chairs.expect("signal").await;
        assert_eq!((&heard["from"], &heard["description"]), (&json!(zhang.user_id()), &description));

        let mute = json!({ "confId": conf, "action": "mute", "userId": zhang.user_id() });
        chair.rpc("conference.control", mute).await.result();
        for socket in [&mut chairs, &mut zhangs] {
            assert_eq!(socket.expect("mode").await, json!({ "id": "mode", "mode": "group", "reason": "enforced" }));
        }
        assert_eq!(zhangs.expect("enforce").await["audio"], false);
        zhangs.send(json!({ "id": "signal", "to": chair.user_id(), "candidate": null })).await;
        chairs.hears_nothing().await;
    }
}
