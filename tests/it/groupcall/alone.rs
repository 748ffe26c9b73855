//! A node without a gateway, its configuration, its ports.

use http::StatusCode;

use super::SOME;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::janus::media_address;
use crate::support::media::{builtin_node, call, control_token};
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn a_node_runs_alone() {
    let config = format!("[node]\nid = \"n7\"\n{}", builtin_node("n7"));
    let mut alone = Gateway::media(&config).start().await;
    let client = alone.client();
    client.has_members("n7", "c1", &["anna", "ben"]).await;
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

/// Not every browser uses loopback addresses.
#[tokio::test]
async fn the_embedded_default_is_reached_at_the_machines_own_address_too() {
    let gateway = Gateway::with(&builtin_node("n1")).start().await;
    let client = gateway.client();
    client.has_members("n1", "c1", &["anna", "ben"]).await;
    let mut anna = client.joined("n1", "c1", "anna").await;
    let mut ben = client.joined("n1", "c1", "ben").await;
    let mut sends = anna.publish_from(media_address(), "anna").await;
    let mut sees = ben.watch("anna").await;
    call(&mut [&mut sends, &mut sees], "media flows", |peers| peers[1].frames() >= SOME).await;
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
