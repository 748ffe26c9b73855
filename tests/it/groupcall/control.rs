//! Orders of gateways, and the node's reports to them.

use http::StatusCode;
use serde_json::json;

use super::{SOME, node};
use crate::support::media::{Peer, call, claims, control_token, signed, token};
use crate::support::wait::{PATIENCE, until_true};

#[tokio::test]
async fn tracks_forbidden_by_a_gateway_are_not_forwarded() {
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
    // Packets that were on their way arrive with the next frames; from then on there is no sound.
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
            assert!(draining["deadlineMs"].as_u64().is_some_and(|at| at > confgate::clock::date_ms() - 5000));
            assert_eq!(link.wait_for("load").await["draining"], true);
        }
        assert_eq!(anna.closed().await, (vec![], 1001));
    };
    let (status, ()) = tokio::join!(stopping, heard);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}
