//! The interface as a client speaks it that nobody here wrote: jsonrpsee's, over HTTP and over the event socket.

use std::fmt::Debug;
use std::net::SocketAddr;

use confgate::eim::requests::object;
use jsonrpsee_core::client::{ClientT, Error, Subscription, SubscriptionClientT};
use jsonrpsee_core::params::BatchRequestBuilder;
use jsonrpsee_http_client::types::{Id, Request};
use jsonrpsee_http_client::{HeaderMap, HeaderValue, HttpClientBuilder};
use jsonrpsee_ws_client::WsClientBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::fixture::Fixture;
use crate::support::client::BASE;
use crate::support::wait::PATIENCE;

/// A way to the gateway for clients without TLS of their own.
async fn tunnel(fixture: &Fixture) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let gateway = fixture.gateway.client();
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let mut secured = gateway.connect("http/1.1").await.expect("the gateway accepts");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut plain, &mut secured).await });
        }
    });
    address
}

fn bearing(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
    HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
}

/// Code and data of a refusal.
#[track_caller]
fn refused<T: Debug>(outcome: Result<T, Error>) -> (i32, Value) {
    match outcome {
        Err(Error::Call(error)) => {
            let data = error.data().expect("a refusal has data");
            (error.code(), serde_json::from_str(data.get()).expect("JSON"))
        }
        other => panic!("no refusal: {other:?}"),
    }
}

async fn next(subscription: &mut Subscription<Value>) -> Value {
    let next = timeout(PATIENCE, subscription.next()).await.expect("it comes in time");
    next.expect("the socket is open").expect("params are JSON")
}

#[tokio::test]
async fn jsonrpsees_http_client_logs_in_calls_and_is_refused() {
    let fixture = Fixture::embedded().await;
    let url = format!("http://{}{BASE}/jsonrpc", tunnel(&fixture).await);
    let nobody = HttpClientBuilder::default().build(&url).expect("an address");
    let refusal = refused(nobody.request::<Value, _>("conference.list", object(json!({}))).await);
    assert_eq!((refusal.0, &refusal.1["key"]), (-32001, &json!("auth.required")));
    let login = json!({ "grantType": "client_credentials", "clientId": "chair", "clientSecret": "the chair's secret" });
    let session: Value = nobody.request("auth.http.login", object(login)).await.expect("a session");

    let token = session["accessToken"].as_str().expect("a token");
    let chair = HttpClientBuilder::default().set_headers(bearing(token)).build(&url).expect("an address");
    let keys = || object(json!({ "keys": ["serverName"] }));
    let properties: Value = chair.request("config.getProperties", keys()).await.expect("properties");
    assert_eq!(properties, json!({ "serverName": "ips3000" }));
    let positional = refused(chair.request::<Value, _>("config.getProperties", [["serverName"]]).await);
    assert_eq!((positional.0, positional.1["errors"].is_array()), (-32602, true), "{positional:?}");
    chair.notification("config.getProperties", keys()).await.expect("a notification has no answer");

    let mut batch = BatchRequestBuilder::new();
    batch.insert("config.getProperties", keys()).expect("params");
    batch.insert("no.such.method", object(json!({}))).expect("params");
    batch.insert("conference.create", object(json!({ "name": "Weekly" }))).expect("params");
    let answers = chair.batch_request::<Value>(batch).await.expect("an answer for each");
    assert_eq!((answers.num_successful_calls(), answers.num_failed_calls()), (2, 1));
    let answers: Vec<_> = answers.into_iter().collect();
    assert_eq!(answers[0].as_ref().expect("properties"), &properties);
    assert_eq!(answers[1].as_ref().map_err(|error| error.code()), Err(-32601));
    assert_eq!(answers[2].as_ref().expect("a conference")["confName"], "Weekly");
}

#[tokio::test]
async fn jsonrpsees_socket_client_calls_and_hears_events() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let made = chair.rpc("conference.create", json!({ "name": "Weekly" })).await.result();
    let url = format!("ws://{}{BASE}/websck", tunnel(&fixture).await);
    let headers = bearing(chair.token().expect("a token"));
    let socket = WsClientBuilder::default().set_headers(headers).build(&url).await.expect("the socket opens");
    let mut snapshots = socket.subscribe_to_method("conference.snapshot").await.expect("a subscription");
    let mut events = socket.subscribe_to_method("conference.event").await.expect("a subscription");
    assert_eq!(next(&mut snapshots).await["confId"], made["confId"]);

    let conference = || object(json!({ "confId": made["confId"] }));
    let joined: Value = socket.request("conference.join", conference()).await.expect("a member");
    assert_eq!(joined["member"]["role"], "chair");
    let event = next(&mut events).await;
    assert_eq!((&event["type"], &event["confId"]), (&json!("member.joined"), &made["confId"]));
    let unknown = object(json!({ "confId": "nowhere" }));
    let refusal = refused(socket.request::<Value, _>("conference.get", unknown).await);
    assert_eq!((refusal.0, &refusal.1["key"]), (-32004, &json!("conference.notFound")));
    socket.notification("conference.leave", conference()).await.expect("a notification has no answer");
    assert_eq!(next(&mut events).await["type"], "member.left");
}

/// Why ids, and with them requests and replies, are not of jsonrpsee's types: theirs don't come back to the letter, and
/// a request without a version, as clients of the original interface send it, is none for them.
#[test]
fn jsonrpsees_types_neither_keep_ids_to_the_letter_nor_read_requests_without_a_version() {
    let is_kept = |id: &str| {
        let read = serde_json::from_str::<Id>(id);
        read.is_ok_and(|read| serde_json::to_string(&read).is_ok_and(|written| written == id))
    };
    for id in ["null", "0", "18446744073709551615", r#""a""#] {
        assert!(is_kept(id), "{id}");
    }
    for id in ["-1", "18446744073709551616", r#""\u0061""#, r#""a\/b""#] {
        assert!(!is_kept(id), "{id}: what docs/architecture.md says against jsonrpsee's types holds no longer");
    }
    assert!(serde_json::from_str::<Request>(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#).is_ok());
    assert!(serde_json::from_str::<Request>(r#"{"id":1,"method":"m"}"#).is_err());
}
