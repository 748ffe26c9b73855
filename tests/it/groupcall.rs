//! The call gateway node: Kurento's group call over wss, with real WebRTC peers, and what a gateway orders.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::stage::Stage;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::media::{CallSocket, Media, Peer, builtin_node, call, claims, control_token, signed, token};
use crate::support::wait::{PATIENCE, until_true};

/// Enough that media flows, few enough that it takes no second.
const SOME: usize = 20;

/// A gateway whose own node is `n1`.
async fn node(more: &str) -> Gateway {
    let config = format!("{}[callgw]\nthreads = 1\nreport_interval_ms = 50\n{more}", builtin_node("n1"));
    Gateway::with(&config).start().await
}

/// All have left: nothing of them is kept.
async fn empty(gateway: &Gateway) {
    for gauge in ["confgate_groupcall_sockets", "confgate_groupcall_rooms", "confgate_media_endpoints"] {
        until_true(gauge, async || gateway.metric(gauge).await == Some(0.0)).await;
    }
}

#[tokio::test]
async fn three_people_see_and_hear_each_other() {
    let gateway = node("").await;
    let client = gateway.client();
    let names = ["anna", "ben", "carl"];
    let (mut sockets, mut peers) = (Vec::new(), Vec::new());
    for name in names {
        sockets.push(client.joined("n1", "c1", name).await);
    }
    for (socket, name) in sockets.iter_mut().zip(names) {
        peers.push(socket.publish(name).await);
    }
    let mut viewers = Vec::new();
    for (socket, name) in sockets.iter_mut().zip(names) {
        for other in names.iter().filter(|other| **other != name) {
            viewers.push(socket.watch(other).await);
        }
    }
    let mut all: Vec<&mut Peer> = viewers.iter_mut().chain(&mut peers).collect();
    call(&mut all, "everybody sees and hears everybody", |peers| {
        peers[..6].iter().all(|viewer| viewer.frames() >= SOME && viewer.sounds() >= SOME)
    })
    .await;
    until_true("three members", async || gateway.metric("confgate_groupcall_members").await == Some(3.0)).await;
    drop(sockets);
    empty(&gateway).await;
}

#[tokio::test]
async fn newcomers_and_leavers_are_told_as_kurentos_page_expects() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.call_socket(Some(&token("n1", "c1", "anna"))).await.unwrap();
    assert_eq!(anna.headers["sec-websocket-protocol"], "confgate", "the token must not come back");
    assert_eq!(anna.join("c1", "anna").await, [""; 0]);
    let mut ben = client.call_socket(Some(&token("n1", "c1", "ben"))).await.unwrap();
    assert_eq!(ben.join("c1", "ben").await, ["anna"]);
    assert_eq!(anna.expect("newParticipantArrived").await["name"], "ben");
    let _annas = anna.publish("anna").await;
    let _viewed = ben.watch("anna").await;
    ben.send(json!({ "id": "leaveRoom" })).await;
    assert_eq!(anna.expect("participantLeft").await["name"], "ben");
    drop(ben);
    anna.hears_nothing().await;
    let mut other_room = client.call_socket(Some(&token("n1", "c2", "anna"))).await.unwrap();
    assert_eq!(other_room.join("c2", "anna").await, [""; 0], "two rooms have an Anna each");
    anna.hears_nothing().await;
}

#[tokio::test]
async fn a_shared_screen_is_a_second_stream_of_its_member() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let mut screen = anna.publish("anna/screen").await;
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "anna/screen");
    let mut viewed = ben.watch("anna/screen").await;
    call(&mut [&mut screen, &mut viewed], "the screen is seen", |peers| peers[1].frames() >= SOME).await;
    let mut carl = client.call_socket(Some(&token("n1", "c1", "carl"))).await.unwrap();
    assert_eq!(carl.join("c1", "carl").await, ["anna", "anna/screen", "ben"]);
    anna.send(json!({ "id": "cancelVideoFrom", "sender": "anna/screen" })).await;
    ben.expect("newParticipantArrived").await;
    assert_eq!(ben.expect("participantLeft").await["name"], "anna/screen");
    call(&mut [&mut viewed], "the viewer's connection ends", |peers| peers[0].is_over()).await;
}

#[tokio::test]
async fn a_token_is_shown_in_any_of_four_places_over_either_http() {
    let gateway = node("").await;
    let client = gateway.client();
    let (path, shown) = (format!("{BASE}/callgw"), |name: &str| token("n1", "c1", name));
    let mut sockets = vec![client.call_socket(Some(&shown("a"))).await.unwrap()];
    let bearer = format!("Bearer {}", shown("b"));
    sockets.push(CallSocket::new(client.websocket(&path, &[("authorization", &bearer)]).await.unwrap()));
    let query = format!("/groupcall?token={}", shown("c"));
    sockets.push(CallSocket::new(client.websocket(&query, &[]).await.unwrap()));
    let protocols = format!("confgate, bearer.{}", shown("d"));
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    sockets.push(CallSocket::new(client.websocket_http2(&path, &headers).await.unwrap()));
    for (socket, name) in sockets.iter_mut().zip(["a", "b", "c", "d"]) {
        socket.join("c1", name).await;
    }
    let mut late = client.call_socket(None).await.unwrap();
    late.send(json!({ "id": "joinRoom", "room": "c1", "name": "e", "token": shown("e") })).await;
    assert_eq!(late.expect("existingParticipants").await["data"], json!(["a", "b", "c", "d"]));
}

#[tokio::test]
async fn without_a_token_of_this_node_room_and_name_nobody_enters() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut expired, mut kind) = (claims("n1", "c1", "anna"), claims("n1", "c1", "anna"));
    (expired.exp, kind.gateway_id) = (1, "n2".into());
    let bad = ["nonsense".to_owned(), signed(&expired), signed(&kind), control_token("n1")];
    for token in &bad {
        let refused = client.call_socket(Some(token)).await.err().expect("it is refused before the upgrade");
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    let good = token("n1", "c1", "anna");
    let joins = [
        json!({ "id": "joinRoom", "room": "c1", "name": "anna" }),
        json!({ "id": "joinRoom", "room": "c1", "name": "anna", "token": bad[1] }),
        json!({ "id": "joinRoom", "room": "c2", "name": "anna", "token": good }),
        json!({ "id": "joinRoom", "room": "c1", "name": "ben", "token": good }),
    ];
    for join in joins {
        let mut socket = client.call_socket(None).await.unwrap();
        socket.send(join).await;
        assert_eq!(socket.closed().await, (vec!["unauthorized".to_owned()], 4001));
    }
    let foreign = [("origin", "https://elsewhere.example")];
    let refused = client.websocket(&format!("{BASE}/callgw"), &foreign).await.err().expect("another origin");
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_serves_once_and_again_when_its_socket_is_gone() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut ben = client.joined("n1", "c1", "ben").await;
    let token = token("n1", "c1", "anna");
    let mut first = client.call_socket(Some(&token)).await.unwrap();
    first.join("c1", "anna").await;
    let mut second = client.call_socket(Some(&token)).await.unwrap();
    second.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    assert_eq!(second.closed().await, (vec!["unauthorized".to_owned()], 4001));
    first.hears_nothing().await;
    drop(first);
    ben.wait_for("participantLeft").await;
    let mut third = client.call_socket(Some(&token)).await.unwrap();
    third.join("c1", "anna").await;
}

#[tokio::test]
async fn the_same_user_from_another_socket_takes_over_at_once() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut ben = client.joined("n1", "c1", "ben").await;
    let mut old = client.joined("n1", "c1", "anna").await;
    let mut new = client.call_socket(Some(&token("n1", "c1", "anna"))).await.unwrap();
    assert_eq!(new.join("c1", "anna").await, ["ben"]);
    assert_eq!(old.closed().await, (vec!["replaced".to_owned()], 4009));
    for (id, name) in
        [("newParticipantArrived", "anna"), ("participantLeft", "anna"), ("newParticipantArrived", "anna")]
    {
        assert_eq!(ben.expect(id).await["name"], name);
    }
    ben.hears_nothing().await;
}

#[tokio::test]
async fn nonsense_is_answered_and_harms_nobody() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    anna.expect("newParticipantArrived").await;
    for text in ["", "{", "[]", "{\"id\":5}", "{\"id\":\"receiveVideoFrom\",\"sender\":\"ben\"}"] {
        anna.text(text).await;
        anna.refused("badMessage").await;
    }
    anna.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    anna.refused("badMessage").await;
    anna.send(json!({ "id": "receiveVideoFrom", "sender": "nobody", "sdpOffer": "v=0" })).await;
    assert_eq!(anna.refused("badMessage").await["name"], "nobody");
    anna.send(json!({ "id": "receiveVideoFrom", "sender": "ben", "sdpOffer": "v=0" })).await;
    assert_eq!(anna.refused("badSdp").await["name"], "ben");
    for ignored in [json!({ "id": "cancelVideoFrom", "sender": "nobody" }), json!({ "id": "somethingNew" })] {
        anna.send(ignored).await;
    }
    anna.hears_nothing().await;
    anna.text(&format!("{{\"id\":\"{}\"}}", "x".repeat(64 * 1024))).await;
    assert_eq!(anna.closed().await.1, 1009);
    assert_eq!(ben.expect("participantLeft").await["name"], "anna");
}

#[tokio::test]
async fn ten_thousand_messages_at_once_end_their_socket_and_no_other_call() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let (mut sends, mut sees) = (anna.publish("anna").await, ben.watch("anna").await);
    call(&mut [&mut sends, &mut sees], "the call runs", |peers| peers[1].frames() >= SOME).await;
    let mut flood = client.joined("n1", "c2", "flood").await;
    let flooding = tokio::spawn(async move {
        for _ in 0..10_000 {
            if !flood.pour(r#"{"id":"cancelVideoFrom","sender":"x"}"#).await {
                break;
            }
        }
        flood.closed().await
    });
    let before = sees.frames();
    call(&mut [&mut sends, &mut sees], "the call goes on", |peers| peers[1].frames() >= before + SOME).await;
    assert_eq!(flooding.await.unwrap(), (vec!["tooMany".to_owned()], 4008));
    ben.hears_nothing().await;
}

#[tokio::test]
async fn a_socket_that_stops_reading_is_closed_and_the_others_go_on() {
    let gateway = node("messages_per_minute = 100000000\n[limits]\nheartbeat_ms = 3600000").await;
    let client = gateway.client();
    let mut deaf = client.joined("n1", "c1", "deaf").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    // Each is answered, until the answers fill its queue.
    while ben.next(Duration::ZERO).await.is_none() {
        for _ in 0..500 {
            deaf.pour("no JSON").await;
        }
    }
    ben.hears_nothing().await;
    assert_eq!(gateway.metric("confgate_socket_lagged_total").await, Some(1.0));
}

#[tokio::test]
async fn an_open_node_keeps_strangers_apart_from_conferences() {
    let gateway = node("open = true").await;
    let client = gateway.client();
    let mut member = client.joined("n1", "c1", "anna").await;
    let mut stranger = client.call_socket_at("/groupcall", None).await.unwrap();
    assert_eq!(stranger.join("c1", "Ben Müller").await, [""; 0]);
    let mut other = client.call_socket_at("/groupcall", None).await.unwrap();
    assert_eq!(other.join("c1", "anna").await, ["Ben Müller"]);
    stranger.expect("newParticipantArrived").await;
    member.hears_nothing().await;
    stranger.send(json!({ "id": "receiveVideoFrom", "sender": "anna", "sdpOffer": Peer::offer(Media::WATCHES) })).await;
    assert_eq!(stranger.expect("receiveVideoAnswer").await["name"], "anna");
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    link.send(json!({ "id": "closeRoom", "room": "c1" })).await;
    assert_eq!(member.closed().await, (vec!["ended".to_owned()], 4004));
    stranger.hears_nothing().await;
}

#[tokio::test]
async fn what_a_gateway_forbids_is_not_forwarded() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let (mut sends, mut sees) = (anna.publish("anna").await, ben.watch("anna").await);
    let pair: &mut [&mut Peer] = &mut [&mut sends, &mut sees];
    call(pair, "picture and sound", |peers| peers[1].frames() >= SOME && peers[1].sounds() >= SOME).await;
    let permit = |audio: bool| json!({ "id": "permit", "room": "c1", "name": "anna", "audio": audio, "video": true });
    link.send(permit(false)).await;
    let enforced = anna.wait_for("enforce").await;
    assert_eq!((&enforced["audio"], &enforced["video"]), (&json!(false), &json!(true)));
    // What was on its way arrives with the next frames; from then on there is no sound.
    let frames = pair[1].frames();
    call(pair, "picture", |peers| peers[1].frames() >= frames + SOME).await;
    let (frames, sounds) = (pair[1].frames(), pair[1].sounds());
    call(pair, "picture without sound", |peers| peers[1].frames() >= frames + 2 * SOME).await;
    assert_eq!(pair[1].sounds(), sounds);
    link.send(permit(true)).await;
    call(pair, "sound again", |peers| peers[1].sounds() >= sounds + SOME).await;
}

#[tokio::test]
async fn the_expelled_are_out_at_once_and_stay_out() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    anna.expect("newParticipantArrived").await;
    let unused = claims("n1", "c1", "anna");
    let expel = json!({ "id": "expel", "room": "c1", "name": "anna", "issuedUntil": unused.issued_ms });
    link.send(expel).await;
    assert_eq!(anna.closed().await, (vec!["expelled".to_owned()], 4003));
    assert_eq!(ben.expect("participantLeft").await["name"], "anna");
    let mut again = client.call_socket(Some(&signed(&unused))).await.unwrap();
    again.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    assert_eq!(again.closed().await, (vec!["expelled".to_owned()], 4003));
    link.send(json!({ "id": "move", "room": "c1", "url": "wss://n2.example/callgw" })).await;
    assert_eq!(ben.expect("moved").await["url"], "wss://n2.example/callgw");
    let mut late = client.call_socket(Some(&signed(&unused))).await.unwrap();
    late.send(json!({ "id": "joinRoom", "room": "c1", "name": "anna" })).await;
    assert_eq!(late.closed().await.1, 4003, "what bars her still bars her");
    link.send(json!({ "id": "closeRoom", "room": "c1" })).await;
    assert_eq!(ben.closed().await, (vec!["ended".to_owned()], 4004));
}

#[tokio::test]
async fn gateways_hear_how_busy_the_node_is_and_that_it_stops() {
    let mut gateway = node("").await;
    let client = gateway.client();
    let wrong = client.control_link(&token("n1", "c1", "anna")).await.err().expect("a client's token is no gateway's");
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let mut links = Vec::new();
    for _ in 0..2 {
        links.push(client.control_link(&control_token("n1")).await.unwrap());
    }
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut sends = anna.publish("anna").await;
    call(&mut [&mut sends], "two reports each, with the load", |_| true).await;
    for link in &mut links {
        let first = link.expect("load").await;
        assert_eq!(first["draining"], false);
        assert!(first["packetsPerSMax"].as_u64().is_some_and(|most| most > 0), "{first}");
        until_true("the load is told", async || link.expect("load").await["endpoints"] == 1).await;
    }
    let stopping = gateway.stop(PATIENCE);
    let heard = async {
        for link in &mut links {
            let draining = link.wait_for("draining").await;
            assert!(draining["deadlineMs"].as_u64().is_some_and(|at| at > confgate::ids::now_ms() - 5000));
            assert_eq!(link.wait_for("load").await["draining"], true);
        }
        assert_eq!(anna.closed().await, (vec![], 1001));
    };
    let (status, ()) = tokio::join!(stopping, heard);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[tokio::test]
async fn a_node_runs_alone() {
    let config = format!("[node]\nid = \"n7\"\n{}", builtin_node("n7"));
    let mut alone = Gateway::media(&config).start().await;
    let client = alone.client();
    let mut anna = client.joined("n7", "c1", "anna").await;
    let mut ben = client.joined("n7", "c1", "ben").await;
    let (mut sends, mut sees) = (anna.publish("anna").await, ben.watch("anna").await);
    call(&mut [&mut sends, &mut sees], "media flows", |peers| peers[1].frames() >= SOME).await;
    assert_eq!(alone.readyz().await["parts"][0]["part"], "media");
    assert_eq!(client.get(&format!("{BASE}/jsonrpc")).await.status, StatusCode::NOT_FOUND, "no gateway");
    let mut link = client.control_link(&control_token("n7")).await.unwrap();
    let (status, ()) = tokio::join!(alone.stop(PATIENCE), async {
        link.wait_for("draining").await;
        // Until a gateway moves them, they talk on.
        let frames = sees.frames();
        call(&mut [&mut sends, &mut sees], "media flows on", |peers| peers[1].frames() >= frames + SOME).await;
        drop((anna, ben));
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0), "it stops when the last one has left");
}

#[tokio::test]
async fn a_node_that_does_not_know_who_it_is_is_refused() {
    let cases = [
        ("[node]\nid = \"n7\"\n", "callgw.nodes"),
        ("[node]\nid = \"n7\"\n[[callgw.nodes]]\nid = \"n7\"\nkind = \"builtin\"\n", "callgw.nodes[0].secret"),
        ("[callgw]\njoin_timeout_ms = 0\nmessages_per_minute = 0\n", "callgw.messages_per_minute"),
    ];
    for (config, key) in cases {
        let (status, output) = Gateway::media(config).fail().await;
        assert_eq!(status.code(), Some(2), "{output}");
        assert!(output.contains(key), "{output}");
    }
}

#[tokio::test]
async fn a_check_tries_the_medias_ports() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!("[callgw]\nudp_listen = \"{address}\"\n");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("confgate.toml"), &config).unwrap();
    let check = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_confgate"));
        command.args(["check", "--config", "confgate.toml"]).current_dir(directory.path()).output().unwrap()
    };
    let output = String::from_utf8(check().stdout).unwrap();
    assert!(output.contains(&format!("FAILED media: {address}")), "{output}");
    drop(taken);
    let output = String::from_utf8(check().stdout).unwrap();
    assert!(output.contains("ok     media"), "{output}");
}

/// Joins the conference and goes to the call gateway that is given, as the page does.
async fn on_the_phone(member: &Client, conf: &str) -> CallSocket {
    member.rpc("conference.join", json!({ "confId": conf })).await.result();
    let allocated = member.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let (url, token) = (allocated["url"].as_str().unwrap(), allocated["token"].as_str().unwrap());
    let own = format!("wss://{}", member.address());
    let path = url.strip_prefix(&own).unwrap_or_else(|| panic!("{url} is not this gateway's"));
    let mut socket = member.call_socket_at(path, Some(token)).await.unwrap();
    socket.join(conf, member.user_id()).await;
    socket
}

#[tokio::test]
async fn by_default_a_conference_is_called_and_governed_without_anything_else() {
    let stage = Stage::embedded().await;
    let chair = stage.chair().await;
    let (conf, code) = stage.conference(&chair, json!({})).await;
    let (anna, ben) = (stage.guest(&code, "Anna").await, stage.guest(&code, "Ben").await);
    // Whoever has no event socket has left after a while.
    let _sockets = (anna.open_socket().await, ben.open_socket().await);
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let (mut annas, mut bens) = (on_the_phone(&anna, &conf).await, on_the_phone(&ben, &conf).await);
    let (mut sends, mut sees) = (annas.publish(anna.user_id()).await, bens.watch(anna.user_id()).await);
    let pair: &mut [&mut Peer] = &mut [&mut sends, &mut sees];
    call(pair, "picture and sound", |peers| peers[1].frames() >= SOME && peers[1].sounds() >= SOME).await;

    let control = async |action: &str, user: &Client| {
        let params = json!({ "confId": conf, "action": action, "userId": user.user_id() });
        chair.rpc("conference.control", params).await.result();
    };
    control("mute", &anna).await;
    assert_eq!(annas.wait_for("enforce").await["audio"], false, "enforced at the node, whatever her browser does");
    control("kick", &anna).await;
    assert_eq!(annas.closed().await, (vec!["expelled".to_owned()], 4003));
    assert_eq!(bens.wait_for("participantLeft").await["name"], anna.user_id());
    call(&mut [&mut sees], "her stream is over", |peers| peers[0].is_over()).await;
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    assert_eq!(bens.closed().await, (vec!["ended".to_owned()], 4004));
}
