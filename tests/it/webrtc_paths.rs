//! The ways that media take between browsers and a call gateway: over TCP where a network lets no UDP out, through a
//! TURN server where it lets nothing out but that, and to a Janus.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::client::{BASE, Client};
use crate::support::gateway::Gateway;
use crate::support::janus::Janus;
use crate::support::turn::Turn;
use crate::support::wait::until_true;
use crate::webrtc_browsers::Round;

/// Chromium then opens no UDP socket of its own.
pub const NO_UDP: &str = "--webrtc-ip-handling-policy=disable_non_proxied_udp";
/// And none to the call gateway either: what is left is the TURN server.
pub const NOTHING_DIRECT: &str = "
    const Direct = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Direct {
        constructor(options = {}) { super({ ...options, iceTransportPolicy: 'relay' }); }
    };";

async fn three(flags: &[&str]) -> [Browser; 3] {
    let (anna, zhang, li) = tokio::join!(Browser::with(flags), Browser::with(flags), Browser::with(flags));
    [anna, zhang, li]
}

/// Into a new conference, for one and for the others: all are guests.
async fn links(fixture: &Fixture, chair: &Client) -> [String; 2] {
    let (_, code) = fixture.conference(chair, json!({})).await;
    let link = format!("https://{}{BASE}/conference/{code}", fixture.gateway.http());
    [link.clone(), link]
}

#[tokio::test]
async fn browser_people_without_udp_see_and_hear_each_other_over_tcp() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    let round = Round::with(three(&[NO_UDP]).await, [printed.chair, printed.guest]).await;
    round.all_see_and_hear_each_other().await;
    for person in &round.people {
        let ways = person.browser.paths().await;
        assert_eq!(ways.len(), 3, "one's own and two others: {ways:?}");
        assert!(ways.iter().all(|way| way["protocol"] == "tcp" && way["by"] != "relay"), "{ways:?}");
    }
    round.assert_quiet_consoles().await;
}

#[tokio::test]
async fn browser_people_who_reach_only_the_turn_server_see_and_hear_each_other() {
    let turn = Turn::start(IpAddr::V4(Ipv4Addr::LOCALHOST)).await;
    let fixture = Fixture::with(&turn.section()).await;
    let links = links(&fixture, &fixture.chair().await).await;
    let browsers = three(&[NO_UDP]).await;
    for browser in &browsers {
        browser.run_before_pages(NOTHING_DIRECT).await;
    }
    let round = Round::with(browsers, links).await;
    round.all_see_and_hear_each_other().await;
    for person in &round.people {
        let ways = person.browser.paths().await;
        assert_eq!(ways.len(), 3, "one's own and two others: {ways:?}");
        let relayed = |way: &Value| way["by"] == "relay" && way["relayProtocol"] == "tcp";
        assert!(ways.iter().all(relayed), "{ways:?}");
    }
    round.assert_quiet_consoles().await;
}

#[tokio::test]
async fn browser_three_people_on_janus_see_and_hear_each_other() {
    let janus = Janus::start().await;
    let fixture = Fixture::with(&janus.node("j1")).await;
    let chair = fixture.chair().await;
    until_true("Janus is offered", async || chair.offered_gateways().await.ends_with("/callgw/at/j1")).await;
    let round = Round::with(three(&[]).await, links(&fixture, &chair).await).await;
    round.all_see_and_hear_each_other().await;
    round.assert_quiet_consoles().await;
}
