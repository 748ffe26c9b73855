//! A standing attack: hostile clients at every target at once, for seconds in the gate and for two minutes with
//! `tests/run --full`, beside a small conference that goes on as if nothing were.

mod nonsense;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::hostile_clients::members::Members;
use crate::support::media::flows;
use crate::support::ports::Port;
use crate::support::steal;
use crate::support::wait::PATIENCE;
use crate::support::xml_stream::Received;
use crate::support::xmpp_server::{COMPONENT, XmppServer};
use nonsense::{Nonsense, Targets};

const MEMBERS: usize = 6;
/// Another address block than the members'.
const ELSEWHERE: &str = "127.1.0.1";

fn time() -> Duration {
    Duration::from_secs(if crate::support::long() { 120 } else { 4 })
}

/// Nothing of ours panicked, and nothing was logged as our fault.
fn is_well(logs: &str) {
    let faults: Vec<&str> = logs.lines().filter(|line| line.contains("panicked") || line.contains(" ERROR ")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn nonsense_at_every_entrance_at_once_is_noticed_by_no_member() {
    let media = [Port::claim(), Port::claim()];
    let [udp, tcp] = [&media[0], &media[1]].map(Port::address);
    let fixture = Fixture::with(&format!(
        "[callgw]\nudp_listen = \"{udp}\"\ntcp_listen = \"{tcp}\"\n[limits]\njoins_per_minute = 100000\n\
         connects_per_minute = 1000000"
    ))
    .await;
    let chair = fixture.chair().await;
    let hostile = hostile(&fixture, udp, tcp).await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut seen = fixture.guest(&code, "Seen").await;
    let mut calls = Vec::new();
    for person in [&mut seen, &mut fixture.guest(&code, "Sees").await] {
        person.rpc("conference.join", json!({ "confId": conf })).await.result();
        for action in ["unmuteSelf", "openCamera"] {
            person.rpc("conference.control", json!({ "confId": conf, "action": action })).await.result();
        }
        let given = person.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
        let mut call = person.call_socket(given["token"].as_str()).await.expect("the token admits");
        call.join(&conf, person.user_id()).await;
        calls.push((call, person.open_socket().await));
    }
    let (mut sends, mut sees) = (calls[0].0.publish(seen.user_id()).await, calls[1].0.watch(seen.user_id()).await);
    flows(&mut sends, &mut sees).await;
    // A client that doesn't read answers no pings, and is closed.
    let (mut reading, longest) = (JoinSet::new(), time() + PATIENCE);
    for (mut call, mut events) in calls {
        reading.spawn(async move { while call.next(longest).await.is_some() {} });
        reading.spawn(async move { while events.next_notification(longest).await.is_some() {} });
    }
    let members = Members::enter(&fixture, chair, &conf, &code, MEMBERS).await;

    let attack = Nonsense::begin(hostile);
    let end = Instant::now() + time();
    let since = steal::Since::now();
    let (sent, heard) = (sends.frames_sent(), sees.sounds());
    while Instant::now() < end {
        flows(&mut sends, &mut sees).await;
    }
    attack.end();
    let (sent, heard) = (sends.frames_sent() - sent, sees.sounds() - heard);
    println!("{:.1} % of the machine taken by others, {heard} of {sent} packets of sound arrived", since.stolen());
    // Sound is not sent again. In the gate other tests take the machine from the media thread.
    assert!(!crate::support::long() || heard * 10 >= sent * 8, "{heard} of {sent} packets of sound arrived");
    assert!(reading.try_join_next().is_none(), "their sockets stay open");
    members.have_heard_everything().await;
    is_well(&fixture.gateway.logs());
}

/// Where nonsense goes, and a guest of another conference whose tokens it shows.
async fn hostile(fixture: &Fixture, udp: std::net::SocketAddr, tcp: std::net::SocketAddr) -> Targets {
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({ "name": "Hostile" })).await;
    let client = fixture.gateway.client().from(ELSEWHERE);
    let guest = client.login_link(&code, "Hostile").await;
    guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    let given = guest.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
    Targets {
        access_token: guest.token().expect("they are logged in").to_owned(),
        session_token: given["token"].as_str().expect("a token").to_owned(),
        client: Arc::new(client),
        conf,
        admin: fixture.gateway.admin(),
        udp,
        tcp,
    }
}

/// Stanzas that an account of the server may send to the gateway's address, `{to}`.
const STANZAS: [&str; 7] = [
    "<message to='{to}' type='headline'><event xmlns='je:x:client:event'>{\"epoch\":\"e\",\"seq\":1}</event></message>",
    "<message to='chair%ips3000@{to}/uc'><body>hello</body></message>",
    "<iq to='{to}' type='set' id='1'><end xmlns='je:x:client:conference' confId='c1'/></iq>",
    "<iq to='{to}' type='result' id='1'/>",
    "<iq to='chair%ips3000@{to}/uc' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<presence to='{to}' type='subscribe'/>",
    "<iq to='{to}' type='error' id='1'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
];

#[tokio::test]
async fn prosody_stanzas_of_an_account_that_never_stop_are_noticed_by_no_member() {
    let server = XmppServer::prosody().await;
    let fixture = Fixture::component(server, "[limits]\njoins_per_minute = 100000").await;
    let server = fixture.server.as_ref().expect("a fixture on a server");
    server.register("mallory", "password").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let members = Members::enter(&fixture, chair, &conf, &code, MEMBERS).await;
    let mut session = server.login("mallory", "password").await;
    let end = Instant::now() + time();
    let deep = format!("<message to='{{to}}'>{}{}</message>", "<a>".repeat(40), "</a>".repeat(40));
    // The server writes each of them as six bytes.
    let large = format!("<message to='{{to}}'><body>{}</body></message>", "'".repeat(60_000));
    let mut sent = 0_usize;
    while Instant::now() < end {
        let stanzas = STANZAS.iter().copied().chain([deep.as_str(), large.as_str()]);
        for stanza in stanzas {
            session.stream.send(&stanza.replace("{to}", COMPONENT)).await.expect("the server reads");
            sent += 1;
        }
        // Answers are read, or the server would stop reading.
        while let Some(came) = session.stream.next_within(Duration::from_millis(20)).await {
            assert!(matches!(came, Received::Stanza(_)), "the server has ended the account's session");
        }
    }
    println!("{sent} stanzas");
    members.have_heard_everything().await;
    is_well(&fixture.gateway.logs());
}
