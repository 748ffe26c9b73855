//! The gateway's own process: how tests start it, stop it, and learn what it said.

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn the_embedded_gateway_is_ready_and_has_printed_its_links_and_its_password() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    for link in [&printed.chair, &printed.guest] {
        assert!(link.starts_with("https://") && link.contains("/gzbwclient/conference/"), "{link}");
    }
    assert!(!printed.password.is_empty());
    assert_ne!(gateway.readyz().await, Value::Null);
    // Its certificate is trusted, and names the address.
    assert_eq!(gateway.client().get("/gzbwclient/openrpc.json").await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_is_killed_comes_back_at_the_same_addresses() {
    let mut gateway = Gateway::with("").start().await;
    let (http, admin) = (gateway.http(), gateway.admin());
    gateway.kill();
    assert!(tokio::net::TcpStream::connect(http).await.is_err());
    gateway.restart().await;
    assert_eq!((gateway.http(), gateway.admin()), (http, admin));
}

#[tokio::test]
async fn a_gateway_that_is_asked_to_stop_ends_with_0() {
    let mut gateway = Gateway::with("").start().await;
    let status = gateway.stop(PATIENCE).await.expect("nobody holds it up");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_configuration_ends_it_with_2_and_is_named() {
    let (status, output) = Gateway::with("[http]\nlisten = \"nowhere\"").fail().await;
    assert_eq!(status.code(), Some(2), "{output}");
    assert!(output.contains("http.listen"), "{output}");
}
