//! Guests' accounts that nobody uses: they end by themselves, whatever their holder did or left undone, and give their
//! places back; those of guests who are there, wait or may come back stay.

use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::wait::until_true;
use crate::support::xmpp_server::XmppServer;
use crate::xmpp::has_account;

async fn is_refused(guest: &Client) -> bool {
    guest.rpc("config.getProperties", json!({ "keys": [] })).await.0["error"]["code"] == -32001
}

async fn join(guest: &Client, conf: &str) -> Value {
    guest.rpc("conference.join", json!({ "confId": conf })).await.result()["member"].clone()
}

#[tokio::test]
async fn guests_who_log_in_and_never_join_give_their_places_back() {
    let fixture = Fixture::with("[limits]\nguests_per_link = 3\nguest_idle_ms = 3000").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let [silent, refreshing, listening] = [
        fixture.guest(&code, "Silent").await,
        fixture.guest(&code, "Refreshing").await,
        fixture.guest(&code, "Listening").await,
    ];
    let mut socket = listening.open_socket().await;
    let refreshing = refreshing.refreshed().await;
    let login = json!({ "grantType": "conference_link", "link": code, "name": "Later" });
    let full = fixture.gateway.client().try_login(login.clone()).await.err().expect("the link is full");
    assert_eq!(full.refused(-32029)["data"]["key"], "link.full");

    assert_eq!(socket.close_code().await, 4001);
    for guest in [&silent, &refreshing, &listening] {
        until_true("the account has ended", async || is_refused(guest).await).await;
        let token = json!({ "grantType": "refresh_token", "refreshToken": guest.login()["refreshToken"] });
        let refused = guest.try_login(token).await.err().expect("the session has ended");
        assert_eq!(refused.refused(-32001)["data"]["key"], "auth.ended");
    }
    for name in ["One", "Two", "Three"] {
        join(&fixture.guest(&code, name).await, &conf).await;
    }
    let links = chair.rpc("conference.listLinks", json!({ "confId": conf })).await.result();
    assert_eq!(links["links"][0]["uses"], 6, "what was used stays used");
}

#[tokio::test]
async fn an_account_stays_while_its_guest_is_in_waits_or_may_come_back_and_not_much_longer() {
    let limits = "[limits]\nguest_idle_ms = 300\ngrace_ms = 100\nresume_window_ms = 8000";
    let fixture = Fixture::with(limits).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    join(&chair, &conf).await;
    let _chairs_socket = chair.open_socket().await;
    let [inside, away] = [fixture.guest(&code, "Inside").await, fixture.guest(&code, "Away").await];
    let (_socket, gone) = (inside.open_socket().await, away.open_socket().await);
    for guest in [&inside, &away] {
        assert_eq!(join(guest, &conf).await["state"], "joined");
    }
    chair.rpc("conference.update", json!({ "confId": conf, "lobby": true })).await.result();
    let waiting = fixture.guest(&code, "Waiting").await;
    let _waiters_socket = waiting.open_socket().await;
    assert_eq!(join(&waiting, &conf).await["state"], "waiting");

    // One who never joins is the clock.
    let left_off = gone.vanish();
    let idle = fixture.guest(&code, "Idle").await;
    until_true("the idle account has ended", async || is_refused(&idle).await).await;
    for guest in [&inside, &waiting, &away] {
        assert!(!is_refused(guest).await);
    }
    let mut back = away.resume_socket(left_off).await;
    back.expect("hello").await;
    back.vanish();
    until_true("the account of a guest who doesn't come back has ended", async || is_refused(&away).await).await;
    for guest in [&inside, &waiting] {
        assert!(!is_refused(guest).await);
    }
}

#[tokio::test]
async fn idle_accounts_of_before_a_crash_are_ended() {
    let mut fixture = Fixture::with("[limits]\nguests_per_link = 1\nguest_idle_ms = 1000").await;
    let chair = fixture.chair().await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let idle = fixture.guest(&code, "Idle").await;
    fixture.gateway.restart().await;
    until_true("the account has ended", async || is_refused(&idle).await).await;
    fixture.guest(&code, "Next").await;
}

async fn an_idle_guests_account_is_removed_from_the_server(server: XmppServer) {
    let fixture = Fixture::c2s(server, "starttls", "[limits]\nguest_idle_ms = 500").await;
    let chair = fixture.chair().await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let idle = fixture.guest(&code, "Idle").await;
    let server = fixture.server.as_ref().expect("a real one");
    until_true("the account is removed", async || !has_account(server, idle.user_id()).await).await;
    assert!(is_refused(&idle).await);
}

#[tokio::test]
async fn prosody_an_idle_guest_loses_their_account_at_the_server() {
    an_idle_guests_account_is_removed_from_the_server(XmppServer::prosody().await).await;
}

mod ejabberd {
    use super::*;

    #[tokio::test]
    async fn an_idle_guest_loses_their_account_at_the_server() {
        an_idle_guests_account_is_removed_from_the_server(XmppServer::ejabberd().await).await;
    }
}
