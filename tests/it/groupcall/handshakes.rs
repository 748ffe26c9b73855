//! Clients whose DTLS handshake comes to nothing: refused, told, and named in log and metrics.

use http::{Method, StatusCode};

use super::node;
use crate::support::http_session::{HttpSession, whip};
use crate::support::media::{Media, token, tries_to_connect, with_another_fingerprint};
use crate::support::wait::until_true;

const LOG: &str = "a client's DTLS handshake failed";
const METRIC: &str = "confgate_media_dtls_failures_total";

#[tokio::test]
async fn sender_and_viewer_are_told_that_their_certificate_is_refused() {
    let gateway = node("").await;
    let client = gateway.client();
    let (mut anna, mut ben) = (client.joined("n1", "c1", "anna").await, client.joined("n1", "c1", "ben").await);
    ben.knows("anna").await;
    tries_to_connect(anna.connect_falsely("anna", Media::SENDS).await);
    assert_eq!(anna.wait_for("error").await["code"], "dtlsFailed");
    gateway.logged(LOG).await;
    until_true("it is counted", async || gateway.metric(METRIC).await == Some(1.0)).await;

    tries_to_connect(ben.connect_falsely("anna", Media::WATCHES).await);
    let told = ben.wait_for("error").await;
    assert_eq!((&told["code"], &told["name"]), (&"dtlsFailed".into(), &"anna".into()));
    until_true("it is counted", async || gateway.metric(METRIC).await == Some(2.0)).await;
    let errors = "confgate_groupcall_errors_total";
    until_true("both were told", async || gateway.metric(errors).await == Some(2.0)).await;
}

#[tokio::test]
async fn a_session_over_http_whose_certificate_is_refused_is_over_and_the_members_hear_of_it() {
    let gateway = node("").await;
    let client = gateway.client();
    let mut ben = client.joined("n1", "c1", "ben").await;
    let token = token("n1", "c1", "obs");
    let session = client.session_by(&whip("c1"), &token, Media::SENDS, with_another_fingerprint).await;
    let HttpSession { peer, location, .. } = session;
    tries_to_connect(peer);
    assert_eq!(ben.wait_for("participantLeft").await["name"], "obs");
    let bearer = format!("Bearer {token}");
    let ended = async || client.request(Method::DELETE, &location, &[("authorization", &bearer)], "").await.status;
    until_true("it is over", async || ended().await == StatusCode::NOT_FOUND).await;
    gateway.logged(LOG).await;
}
