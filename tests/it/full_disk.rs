//! A disk that takes nothing more, and then does again.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::wait::{PATIENCE, until, until_true};
use crate::support::xmpp_server::XmppServer;

/// No file of the process may grow beyond so many bytes: each write then fails in the system (EFBIG), as on a full disk.
fn limit_files(gateway: &Gateway, bytes: Option<u64>) {
    let pid = Pid::from_raw(gateway.pid() as i32);
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("its owner may limit a process");
}

fn refused_for_now(answer: &Value, what: &str) {
    assert_eq!((&answer["code"], &answer["data"]["key"]), (&json!(-32029), &json!("store.unavailable")), "{what}");
    assert!(answer["data"]["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{what}: {answer}");
}

async fn link_login(fixture: &Fixture, code: &str) -> Result<Client, Value> {
    let params = json!({ "grantType": "conference_link", "link": code, "name": "Guest" });
    fixture.gateway.client().try_login(params).await.map_err(|refusal| refusal.error())
}

/// The EIM is elsewhere, and does what the gateway's own store can't keep.
#[tokio::test]
async fn a_kick_and_an_end_that_were_acknowledged_on_a_full_disk_stand_once_there_is_room() {
    let fixture = Fixture::component(XmppServer::prosody().await, "").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (over, over_code) = fixture.conference(&chair, json!({})).await;
    let [guest, other] = [fixture.guest(&code, "Kicked").await, fixture.guest(&over_code, "Other").await];
    let user = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    for client in [&guest, &user] {
        client.rpc("conference.join", json!({ "confId": conf })).await.result();
    }

    limit_files(&fixture.gateway, Some(1));
    refused_for_now(&link_login(&fixture, &code).await.err().expect("no room"), "a guest's login");
    for client in [&guest, &user] {
        let kick = json!({ "confId": conf, "action": "kick", "userId": client.user_id() });
        chair.rpc("conference.control", kick).await.result();
    }
    chair.rpc("conference.end", json!({ "confId": over })).await.result();
    let waiting = async || fixture.gateway.metric("confgate_lifecycle_events_unsaved").await.unwrap_or_default();
    until_true("they wait for the store", async || waiting().await >= 3.0).await;

    limit_files(&fixture.gateway, None);
    for (who, client) in [("the kicked guest", &guest), ("the guest of what is over", &other)] {
        until_true(who, async || {
            client.rpc("config.getProperties", json!({ "keys": [] })).await.0.get("error").is_some()
        })
        .await;
        client.rpc("config.getProperties", json!({ "keys": [] })).await.refused(-32001);
    }
    until_true("nothing waits", async || waiting().await == 0.0).await;
}

#[tokio::test]
async fn on_a_full_disk_writes_are_refused_for_now_reads_go_on_and_room_mends_all() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let mut socket = chair.open_socket().await;
    socket.call("conference.join", json!({ "confId": conf })).await.result();

    limit_files(&fixture.gateway, Some(1));
    for _ in 0..3 {
        let begun = Instant::now();
        refused_for_now(&chair.rpc("conference.create", json!({ "name": "No room" })).await.error(), "create");
        let raise = json!({ "confId": conf, "action": "raiseHand" });
        refused_for_now(&socket.call("conference.control", raise).await.error(), "control");
        refused_for_now(&link_login(&fixture, &code).await.err().expect("no room"), "a guest's login");
        let params = json!({ "confId": conf, "role": "guest" });
        refused_for_now(&chair.rpc("conference.createLink", params).await.error(), "a link");
        // Reading.
        assert_eq!(chair.rpc("conference.get", json!({ "confId": conf })).await.result()["confId"], conf.as_str());
        let members = socket.call("conference.members", json!({ "confId": conf })).await.result();
        assert_eq!(members["members"][0]["hand"], false, "what was refused was not done: {members}");
        chair.rpc("conference.list", json!({})).await.result();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let down = until(PATIENCE, async || {
        let ready = fixture.gateway.readyz().await;
        ready.to_string().contains(r#""down""#).then_some(())
    });
    assert!(down.await.is_some(), "{}", fixture.gateway.readyz().await);

    limit_files(&fixture.gateway, None);
    let room = Instant::now();
    let works = until(Duration::from_secs(2), async || {
        let made = chair.rpc("conference.create", json!({ "name": "Room" })).await.0.get("result").is_some();
        let raise = json!({ "confId": conf, "action": "raiseHand" });
        let raised = socket.call("conference.control", raise).await.0.get("result").is_some();
        let guest = link_login(&fixture, &code).await.is_ok();
        (made && raised && guest).then_some(())
    });
    assert!(works.await.is_some(), "{}", fixture.gateway.logs());
    println!("all works {:?} after there was room", room.elapsed());
    let event = socket.expect_event("member.updated").await;
    assert_eq!(event["data"]["hand"], true);
    // Acknowledged writes are there after a crash.
    fixture.gateway.kill();
    fixture.gateway.restart().await;
    let members = chair.rpc("conference.members", json!({ "confId": conf })).await.result();
    assert_eq!(members["members"][0]["hand"], true);
}
