//! WHIP and WHEP on the node.

use http::{Method, StatusCode};
use serde_json::json;

use super::{SOME, empty, node};
use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::http_session::{HttpSession, whep, whip};
use crate::support::media::{CallSocket, Media, Peer, call, claims, control_token, flows, signed, token};
use crate::support::wait::until_true;

const CANDIDATE: &str = "a=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n";
const INTRANET: &str = "https://intranet.example.org";

/// Ben is in the conference, and `obs` publishes to it over HTTP; ben has heard of it.
async fn fixture(client: &Client) -> (CallSocket, HttpSession) {
    let mut ben = client.joined("n1", "c1", "ben").await;
    let obs = client.publish_over_http(&whip("c1"), &token("n1", "c1", "obs")).await;
    assert_eq!(ben.expect("newParticipantArrived").await["name"], "obs");
    (ben, obs)
}

#[tokio::test]
async fn the_members_see_and_hear_who_publishes_over_http_until_it_ends() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut ben, mut obs) = fixture(&client).await;
    assert!(obs.location.starts_with(&format!("{}/~/", whip("c1"))), "{}", obs.location);
    assert!(obs.tag.starts_with('"') && obs.answer.contains("a=candidate:") && obs.answer.contains("a=recvonly"));
    let mut sees = ben.watch("obs").await;
    flows(&mut obs.peer, &mut sees).await;
    assert_eq!(gateway.metric("confgate_http_sessions").await, Some(1.0));
    assert_eq!(obs.delete(&client).await, StatusCode::OK);
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    assert_eq!(obs.delete(&client).await, StatusCode::NOT_FOUND);
    assert_eq!(obs.patch(&client, Some(&obs.tag), CANDIDATE).await.status, StatusCode::NOT_FOUND);
    call(&mut [&mut obs.peer], "the connection is closed", |peers| peers[0].is_over()).await;
    drop(ben);
    empty(&gateway).await;
    assert_eq!(gateway.metric("confgate_http_sessions").await, Some(0.0));
}

#[tokio::test]
async fn http_publisher_obeys_mute_expel_and_the_end() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    let (mut ben, mut obs) = fixture(&client).await;
    let mut sees = ben.watch("obs").await;
    flows(&mut obs.peer, &mut sees).await;
    link.send(json!({ "id": "permit", "room": "c1", "name": "obs", "audio": false, "video": true })).await;
    until_true("no sound", async || {
        let (frames, sounds) = (sees.frames(), sees.sounds());
        call(&mut [&mut obs.peer, &mut sees], "picture", |peers| peers[1].frames() >= frames + SOME).await;
        sees.sounds() == sounds
    })
    .await;
    let again = claims("n1", "c1", "obs");
    link.send(json!({ "id": "expel", "room": "c1", "name": "obs", "issuedUntil": again.issued_ms })).await;
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    until_true("the session is gone", async || obs.delete(&client).await == StatusCode::NOT_FOUND).await;
    let refused = client.offer(&whip("c1"), &signed(&again), obs.peer.offered().to_owned()).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::FORBIDDEN, &json!("expelled")));
    let later = client.publish_over_http(&whip("c1"), &token("n1", "c1", "late")).await;
    link.send(json!({ "id": "closeRoom", "room": "c1" })).await;
    assert_eq!(ben.closed().await.1, 4004);
    until_true("the session is gone", async || later.delete(&client).await == StatusCode::NOT_FOUND).await;
    let refused =
        client.offer(&whip("c1"), &signed(&claims("n1", "c1", "late")), later.peer.offered().to_owned()).await;
    // The order may be of the very millisecond of the token.
    assert!(refused.status == StatusCode::NOT_FOUND || refused.status == StatusCode::CREATED, "{refused:?}");
}

#[tokio::test]
async fn a_publisher_over_http_whose_path_is_lost_has_left() {
    let gateway = node("lost_timeout_ms = 300").await;
    let client = gateway.client();
    let (mut ben, mut obs) = fixture(&client).await;
    let mut sees = ben.watch("obs").await;
    flows(&mut obs.peer, &mut sees).await;
    // Nobody moves the peer any more: it is as silent as one whose cable is out.
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    until_true("the session is gone", async || obs.delete(&client).await == StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn http_viewer_sees_the_publisher_and_is_seen_by_nobody() {
    let gateway = node("").await;
    let client = gateway.client();
    let idle = client.offer(&whep("c1"), &token("n1", "c1", "v"), Peer::offer(Media::WATCHES)).await;
    assert_eq!((idle.status, idle.header("retry-after")), (StatusCode::CONFLICT, "2"));
    let (mut ben, mut obs) = fixture(&client).await;
    let mut main = client.watch_over_http(&whep("c1"), &token("n1", "c1", "v1")).await;
    let mut named = client.watch_over_http(&format!("{}/obs", whep("c1")), &token("n1", "c1", "v2")).await;
    assert!(main.answer.contains("a=sendonly"));
    call(&mut [&mut obs.peer, &mut main.peer, &mut named.peer], "both see it", |peers| {
        peers[1..].iter().all(|peer| peer.frames() >= SOME && peer.sounds() >= SOME)
    })
    .await;
    for (path, why) in [("/ben", "who sends nothing"), ("/nobody", "who isn't here"), ("/obs/screen", "no screen")] {
        let path = format!("{}{path}", whep("c1"));
        let refused = client.offer(&path, &token("n1", "c1", "v3"), Peer::offer(Media::WATCHES)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!("notLive")), "{why}");
    }
    ben.hears_nothing().await;
    assert_eq!(gateway.metric("confgate_groupcall_members").await, Some(2.0));
    assert_eq!(named.delete(&client).await, StatusCode::OK);
    let mut link = client.control_link(&control_token("n1")).await.unwrap();
    let until = confgate::clock::date_ms();
    link.send(json!({ "id": "expel", "room": "c1", "name": "v1", "issuedUntil": until })).await;
    until_true("the viewer is out", async || main.delete(&client).await == StatusCode::NOT_FOUND).await;
    let last = client.watch_over_http(&whep("c1"), &token("n1", "c1", "v4")).await;
    assert_eq!(obs.delete(&client).await, StatusCode::OK);
    until_true("nothing is left to watch", async || last.delete(&client).await == StatusCode::NOT_FOUND).await;
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
}

#[tokio::test]
async fn a_conferences_members_are_watched_over_http_too() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut sends = anna.publish("anna").await;
    let mut screen = anna.publish("anna/screen").await;
    let mut face = client.watch_over_http(&whep("c1"), &token("n1", "c1", "v1")).await;
    let mut shared = client.watch_over_http(&format!("{}/anna/screen", whep("c1")), &token("n1", "c1", "v2")).await;
    call(&mut [&mut sends, &mut screen, &mut face.peer, &mut shared.peer], "face and screen", |peers| {
        peers[2..].iter().all(|peer| peer.frames() >= SOME)
    })
    .await;
    anna.send(json!({ "id": "cancelVideoFrom", "sender": "anna/screen" })).await;
    until_true("the screen's viewer is gone", async || shared.delete(&client).await == StatusCode::NOT_FOUND).await;
    assert_eq!(face.delete(&client).await, StatusCode::OK);
}

#[tokio::test]
async fn candidates_trickle_and_ice_restarts_while_the_call_goes_on() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut ben, mut obs) = fixture(&client).await;
    let mut sees = ben.watch("obs").await;
    flows(&mut obs.peer, &mut sees).await;
    let trickled = obs.patch(&client, Some(&obs.tag), CANDIDATE).await;
    assert_eq!((trickled.status, trickled.header("etag")), (StatusCode::NO_CONTENT, ""));
    let refusals = [
        (None, CANDIDATE, StatusCode::PRECONDITION_REQUIRED),
        (Some("\"another\""), CANDIDATE, StatusCode::PRECONDITION_FAILED),
        (Some("*"), "no fragment", StatusCode::BAD_REQUEST),
        (Some("*"), "a=ice-ufrag:half\r\n", StatusCode::BAD_REQUEST),
    ];
    for (condition, fragment, status) in refusals {
        assert_eq!(obs.patch(&client, condition, fragment).await.status, status, "{condition:?} {fragment}");
    }
    let before = obs.tag.clone();
    obs.restart_ice(&client).await;
    flows(&mut obs.peer, &mut sees).await;
    assert_eq!(obs.patch(&client, Some(&before), CANDIDATE).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(obs.patch(&client, Some(&obs.tag), CANDIDATE).await.status, StatusCode::NO_CONTENT);

    let mut viewer = client.watch_over_http(&whep("c1"), &token("n1", "c1", "v1")).await;
    flows(&mut obs.peer, &mut viewer.peer).await;
    viewer.restart_ice(&client).await;
    flows(&mut obs.peer, &mut viewer.peer).await;
}

#[tokio::test]
async fn methods_and_headers_are_the_standards() {
    let turn = "turn = { urls = [\"stun:turn.example.org\", \"turn:turn.example.org:3478\"], secret = \"s\" }";
    let gateway = node(&format!("{turn}\n[http]\nallowed_origins = [{INTRANET:?}]")).await;
    let client = gateway.client();
    let asks =
        async |method: Method, path: &str, headers: &[(&str, &str)]| client.request(method, path, headers, "").await;
    for path in [whip("c1"), whep("c1"), format!("{}/anna", whep("c1"))] {
        let preflight = [("origin", INTRANET), ("access-control-request-method", "POST")];
        for headers in [&[][..], &preflight] {
            let options = asks(Method::OPTIONS, &path, headers).await;
            assert_eq!((options.status, options.header("accept-post")), (StatusCode::NO_CONTENT, "application/sdp"));
        }
        assert_eq!(asks(Method::PUT, &path, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asks(Method::DELETE, &path, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
        let foreign = asks(Method::OPTIONS, &path, &[("origin", "https://elsewhere.example")]).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    }
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(asks(method.clone(), &whip("c1"), &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(asks(method, &whep("c1"), &[]).await.status, StatusCode::NO_CONTENT);
    }
    let bearer = format!("Bearer {}", token("n1", "c1", "obs"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp"), ("origin", INTRANET)];
    let begun = client.request(Method::POST, &whip("c1"), &headers, Peer::offer(Media::SENDS)).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    assert_eq!(begun.header("access-control-allow-origin"), INTRANET);
    for exposed in ["Location", "ETag", "Link"] {
        assert!(begun.header("access-control-expose-headers").contains(exposed), "{exposed}");
    }
    let links: Vec<&str> = begun.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(links[0], "<stun:turn.example.org>; rel=\"ice-server\"");
    assert!(links[1].starts_with("<turn:turn.example.org:3478>; rel=\"ice-server\"; username=\""), "{links:?}");
    assert!(links[1].contains(":obs\"; credential=\"") && links[1].ends_with("; credential-type=\"password\""));
    let session = begun.header("location");
    let options =
        asks(Method::OPTIONS, session, &[("origin", INTRANET), ("access-control-request-method", "PATCH")]).await;
    assert!(options.header("access-control-allow-methods").contains("PATCH, DELETE"));
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
        assert_eq!(asks(method, session, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn without_a_token_of_this_node_and_conference_nobody_publishes_or_watches() {
    let gateway = node("open = true").await;
    let client = gateway.client();
    let (mut expired, mut elsewhere) = (claims("n1", "c1", "obs"), claims("n1", "c1", "obs"));
    (expired.exp, elsewhere.gateway_id) = (1, "n2".into());
    let offer = || Peer::offer(Media::SENDS);
    for path in [whip("c1"), whep("c1")] {
        let none = client.request(Method::POST, &path, &[("content-type", "application/sdp")], offer()).await;
        assert_eq!(
            (none.status, none.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"confgate\"")
        );
        let query = format!("{path}?token={}", token("n1", "c1", "obs"));
        let shown = client.request(Method::POST, &query, &[("content-type", "application/sdp")], offer()).await;
        assert_eq!(shown.status, StatusCode::UNAUTHORIZED, "a token in an address is none here");
        for bad in ["", "nonsense", &signed(&expired), &signed(&elsewhere), &control_token("n1")] {
            assert_eq!(client.offer(&path, bad, offer()).await.status, StatusCode::UNAUTHORIZED);
        }
        let other = client.offer(&path, &token("n1", "c2", "obs"), offer()).await;
        assert_eq!(other.status, StatusCode::FORBIDDEN);
    }
    let used = token("n1", "c1", "obs");
    let session = client.publish_over_http(&whip("c1"), &used).await;
    assert_eq!(client.offer(&whip("c1"), &used, offer()).await.status, StatusCode::UNAUTHORIZED, "it serves once");
    let delete =
        async |headers: &[(&str, &str)]| client.request(Method::DELETE, &session.location, headers, "").await.status;
    assert_eq!(delete(&[]).await, StatusCode::UNAUTHORIZED);
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(delete(&[("authorization", &bearer(&signed(&expired)))]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(delete(&[("authorization", &bearer(&token("n1", "c1", "ben")))]).await, StatusCode::FORBIDDEN);
    assert_eq!(delete(&[("authorization", &bearer(&token("n1", "c1", "obs")))]).await, StatusCode::OK, "a fresh one");
    empty(&gateway).await;
}

#[tokio::test]
async fn a_session_outlives_its_tokens_time() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut short = claims("n1", "c1", "obs");
    short.exp = confgate::clock::date_ms() / 1000 + 1;
    let mut obs = client.publish_over_http(&whip("c1"), &signed(&short)).await;
    call(&mut [&mut obs.peer], "it is connected", |peers| peers[0].is_connected()).await;
    until_true("the token is over", async || confgate::clock::date_ms() / 1000 > short.exp).await;
    assert_eq!(obs.patch(&client, Some(&obs.tag), CANDIDATE).await.status, StatusCode::NO_CONTENT);
    assert_eq!(obs.delete(&client).await, StatusCode::OK);
    let late = client.offer(&whip("c1"), &signed(&short), Peer::offer(Media::SENDS)).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn offer_unfit_for_a_session_is_refused_and_leaves_nothing() {
    let gateway = node("").await;
    let client = gateway.client();
    let good = Peer::offer(Media::SENDS);
    let (head, _) = good.split_at(good.find("m=").expect("it has media"));
    let many = format!("{good}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n".repeat(200));
    let unknown = good.replace("VP8/90000", "XYZ/90000");
    let channel = format!("{good}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
    let huge = format!("{good}{}", "a=x\r\n".repeat(20_000));
    let cases = [
        ("empty", String::new(), StatusCode::BAD_REQUEST),
        ("JSON", "{\"sdp\":1}".to_owned(), StatusCode::BAD_REQUEST),
        ("no media", head.to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
        ("200 lines", many, StatusCode::UNPROCESSABLE_ENTITY),
        ("to receive", Peer::offer(Media::WATCHES), StatusCode::UNPROCESSABLE_ENTITY),
        ("a data channel", channel, StatusCode::UNPROCESSABLE_ENTITY),
        ("half of it unknown", unknown, StatusCode::UNPROCESSABLE_ENTITY),
        ("no fingerprint", good.replace("a=fingerprint:", "a=x:"), StatusCode::UNPROCESSABLE_ENTITY),
        ("huge", huge, StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (what, offer, status) in cases {
        let refused = client.offer(&whip("c1"), &token("n1", "c1", "obs"), offer).await;
        assert_eq!(refused.status, status, "{what}: {refused:?}");
        assert_eq!(refused.header("location"), "", "{what}");
        assert_eq!(refused.header("content-type"), "application/problem+json", "{what}");
        assert!(refused.json()["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}: {refused:?}");
    }
    // A viewer's too: no counter-offer is made (406), which WHEP leaves to the server.
    let refused = client.offer(&whep("c1"), &token("n1", "c1", "v"), Peer::offer(Media::SENDS)).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("badSdp")));
    let binary = client.offer(&whip("c1"), &token("n1", "c1", "obs"), vec![0xff, 0xfe]).await;
    assert_eq!(binary.status, StatusCode::BAD_REQUEST);
    let bearer = format!("Bearer {}", token("n1", "c1", "obs"));
    for kind in ["application/json", "text/plain", ""] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let refused = client.request(Method::POST, &whip("c1"), &headers, good.clone()).await;
        let told = (refused.status, refused.header("accept-post"));
        assert_eq!(told, (StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/sdp"), "{kind}");
    }
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp"), ("accept", "text/html")];
    let refused = client.request(Method::POST, &whip("c1"), &headers, good.clone()).await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    for odd in ["c1/~/nothing", "%2e%2e", "c1/more"] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/trickle-ice-sdpfrag")];
        let lost = client.request(Method::PATCH, &whip(odd), &headers, CANDIDATE).await;
        assert!(lost.status.is_client_error(), "{odd}: {lost:?}");
    }
    empty(&gateway).await;
}

#[tokio::test]
async fn allocated_token_serves_for_publishing_until_the_kick() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let camera = fixture.guest(&code, "Camera").await;
    let mut events = camera.open_socket().await;
    events.call("conference.join", json!({ "confId": conf })).await.result();
    let given = camera.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    let url = given["url"].as_str().expect("an address");
    let path = &url[url.find("/gzbwclient").expect("our base path")..];
    let token = given["token"].as_str().expect("a token");
    let mut obs = camera.publish_over_http(&format!("{path}/whip/{conf}"), token).await;
    call(&mut [&mut obs.peer], "it is connected", |peers| peers[0].is_connected()).await;
    let kick = json!({ "confId": conf, "action": "kick", "userId": camera.user_id() });
    chair.rpc("conference.control", kick).await.result();
    call(&mut [&mut obs.peer], "it is cut", |peers| peers[0].is_over()).await;
    until_true("the session is gone", async || obs.delete(&camera).await == StatusCode::NOT_FOUND).await;
    let again = camera.offer(&format!("{path}/whip/{conf}"), token, Peer::offer(Media::SENDS)).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_full_node_refuses_sessions_with_a_time_to_come_again() {
    let gateway = node("connections = 1").await;
    let client = gateway.client();
    let obs = client.publish_over_http(&whip("c1"), &token("n1", "c1", "obs")).await;
    let offers = [(whip("c2"), "c2", Peer::offer(Media::SENDS)), (whep("c1"), "c1", Peer::offer(Media::WATCHES))];
    for (path, conf, offer) in offers {
        let refused = client.offer(&path, &token("n1", conf, "v"), offer).await;
        assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"), "{path}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(refused.json()["code"], "overloaded");
    }
    assert_eq!(obs.delete(&client).await, StatusCode::OK);
    empty(&gateway).await;
}
