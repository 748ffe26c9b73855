//! `eim.admin_domains`: `confgate eim` believes each node's own address for provisioning, and no other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{COMPONENTS, Cluster};
use crate::fixture::CLIENTS;
use crate::support::gateway::{Gateway, eim_with};
use crate::support::xmpp_server::{SECOND_ADMIN_COMPONENT, XmppServer};

#[tokio::test]
async fn each_node_makes_accounts_from_its_own_provisioning_address() {
    let cluster = Cluster::start(2, "").await;
    let chair = cluster.chair(0).await;
    let (conf, code) = cluster.conference(&chair).await;
    for node in 0..2 {
        let guest = cluster.guest(node, &code, "Guest").await;
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    }
}

#[tokio::test]
async fn eim_refuses_a_provisioning_address_that_is_not_on_its_list() {
    let server = XmppServer::prosody().await;
    let section = server.eim_section().replace(&format!(", \"{SECOND_ADMIN_COMPONENT}\""), "");
    let _eim = eim_with(&section).await;
    let node = |number: usize| {
        let own = format!("[node]\nid = \"gw{number}\"\n");
        Gateway::with(&format!("{CLIENTS}\n{}\n{own}", server.component_section(COMPONENTS[number])))
    };
    let (listed, other) = (node(0).start().await, node(1).start().await);
    let chair = listed.client().login_client("chair", "the chair's secret").await;
    let password = "a password of its own";
    let made = chair.rpc("conference.create", json!({ "name": "Weekly", "password": password })).await.result();
    // A store of its own knows no link of the other's, but a code of the former form leads there too.
    let code = format!("AAAA{}", STANDARD.encode(password));
    let params = json!({ "grantType": "conference_link", "link": code, "name": "Guest" });
    assert!(listed.client().try_login(params.clone()).await.is_ok(), "{made}");
    let refusal = other.client().try_login(params).await.map(|_| ()).unwrap_err().error();
    assert!([-32012, -32003, -32603].contains(&refusal["code"].as_i64().unwrap_or_default()), "{refusal}");
}
