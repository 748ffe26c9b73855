//! Nobody uses up what all share: what one user, one member, one guest takes, and what is left to the others.

use confgate::config;
use confgate::ids::{ConfId, Secret};
use confgate::store::Store;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::support::client::Client;
use crate::support::component::Component;
use crate::support::gateway::Gateway;
use crate::support::wait::{PATIENCE, until_true};
use crate::support::xmpp_server::{COMPONENT, DOMAIN, on_each_server};

fn batch(method: &str, params: &Value, entries: usize) -> Value {
    (0..entries).map(|id| json!({ "id": id, "method": method, "params": params })).collect()
}

/// The answers to so many of the same, sent at once in batches of fifty.
async fn flood(client: &Client, method: &str, params: Value, batches: usize) -> Vec<Value> {
    let mut answers = Vec::new();
    for _ in 0..batches {
        let reply = client.post(&batch(method, &params, 50)).await.json();
        answers.extend(reply.as_array().expect("a batch is answered by one").clone());
    }
    answers
}

/// How many were done; each other one was told when to try again, and by which key.
fn done(answers: &[Value], keys: &[&str]) -> usize {
    let is_done = |answer: &&Value| {
        if answer.get("result").is_some() {
            return true;
        }
        assert_eq!(answer["error"]["code"], -32029, "{answer}");
        assert!(answer["error"]["data"]["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
        assert!(keys.contains(&answer["error"]["data"]["key"].as_str().unwrap_or_default()), "{answer}");
        false
    };
    answers.iter().filter(is_done).count()
}

#[tokio::test]
async fn a_guest_who_floods_a_conference_is_slowed_and_told_and_quick_clicks_are_not() {
    let mut fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    chair.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();
    chair.rpc("conference.control", json!({ "confId": conf, "action": "unlock" })).await.result();
    let [calm, wild] = [fixture.guest(&code, "Calm").await, fixture.guest(&code, "Wild").await];
    for guest in [&calm, &wild] {
        guest.rpc("conference.join", json!({ "confId": conf })).await.result();
    }
    let hand = |action: &str| json!({ "confId": conf, "action": action });
    for click in 0..10 {
        calm.rpc("conference.control", hand(if click % 2 == 0 { "raiseHand" } else { "lowerHand" })).await.result();
    }
    let raised = flood(&wild, "conference.control", hand("raiseHand"), 10).await;
    assert!(done(&raised, &["rpc.tooFast"]) < 150);
    let written = flood(&wild, "conference.sendMessage", json!({ "confId": conf, "text": "x" }), 10).await;
    assert!(done(&written, &["rpc.tooFast"]) < 150);
    assert!(done(&written, &["rpc.tooFast"]) > 10, "messages have a rate of their own");
    for action in ["join", "leave"] {
        let gone = flood(&wild, &format!("conference.{action}"), json!({ "confId": conf }), 1).await;
        assert!(done(&gone, &["rpc.tooFast"]) < 30, "coming and going is an act too");
    }
    // The others notice nothing.
    calm.rpc("conference.control", hand("raiseHand")).await.result();
    calm.rpc("conference.sendMessage", json!({ "confId": conf, "text": "hello" })).await.result();

    // A guest's refused attempts are kept apart from the chair's actions.
    let tried = flood(&calm, "conference.control", hand("lock"), 8).await;
    assert!(tried.iter().all(|answer| answer["error"]["data"]["key"] == "conference.chairOnly"), "{:?}", tried[0]);
    chair.rpc("conference.end", json!({ "confId": conf })).await.result();
    let kept = audit(&mut fixture, &conf).await;
    let of_chair: Vec<&str> = kept.iter().filter(|(_, outcome)| outcome == "done").map(|(a, _)| a.as_str()).collect();
    assert_eq!(of_chair, ["end", "unlock", "lock"]);
    assert_eq!(kept.iter().filter(|(_, outcome)| outcome != "done").count(), 200);
}

/// The conference's audit, newest first: actions with their outcomes. The gateway is stopped for it.
async fn audit(fixture: &mut Fixture, conf: &str) -> Vec<(String, String)> {
    assert!(fixture.gateway.stop(PATIENCE).await.is_some(), "it stops");
    let file = fixture.gateway.directory().join("data/confgate.db");
    let url = Secret::new(format!("sqlite:{}", file.display()));
    let store = Store::open(&config::Store { url, ..config::Store::default() }).await.expect("the store opens");
    let conf = ConfId::parse(conf).expect("it is an id");
    let entries = store.audit_of(&conf, 10_000).await.expect("the store is read");
    entries.into_iter().map(|entry| (entry.action, entry.outcome)).collect()
}

#[tokio::test]
async fn one_user_cannot_make_all_conferences_there_may_be() {
    let fixture = Fixture::with("[limits]\nconferences_per_user = 30\nconference_creates_per_minute = 60").await;
    let chair = fixture.chair().await;
    let made = flood(&chair, "conference.create", json!({ "name": "x" }), 4).await;
    assert_eq!(done(&made, &["conference.tooManyOfUser", "rpc.tooFast"]), 30);
    let keys: Vec<&Value> = made.iter().map(|answer| &answer["error"]["data"]["key"]).collect();
    assert!(keys.contains(&&json!("rpc.tooFast")) && keys.contains(&&json!("conference.tooManyOfUser")));
    let other = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    other.rpc("conference.create", json!({ "name": "y" })).await.result();
}

#[tokio::test]
async fn one_conference_is_not_flooded_by_many_guests_together() {
    let fixture = Fixture::with("[limits]\nconference_acts_per_minute = 20").await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    let (quiet, quiet_code) = fixture.conference(&chair, json!({})).await;
    let guests = join_all((0..4).map(|n| fixture.guest(&code, if n == 0 { "A" } else { "B" })));
    let mut done_in_all = 0;
    for guest in guests.await {
        guest.rpc("conference.join", json!({ "confId": conf })).await;
        let raised = flood(&guest, "conference.control", json!({ "confId": conf, "action": "raiseHand" }), 1).await;
        done_in_all += raised.iter().filter(|answer| answer.get("result").is_some()).count();
        assert!(raised.iter().any(|answer| answer["error"]["data"]["key"] == "conference.tooBusy"));
    }
    assert!(done_in_all <= 30, "{done_in_all}");
    // The chair's orders go through, and other conferences are not concerned.
    chair.rpc("conference.control", json!({ "confId": conf, "action": "muteAll" })).await.result();
    let elsewhere = fixture.guest(&quiet_code, "C").await;
    elsewhere.rpc("conference.join", json!({ "confId": quiet })).await.result();
}

/// Two users.
const USERS: &str = r#"
[[auth.clients]]
id = "greedy"
secret = "s"
password = "pass"

[[auth.clients]]
id = "modest"
secret = "s"
password = "pass"
"#;
/// A component that reads everything and answers pings only.
const SILENT: &str = "jeprivacy.ips3000";

on_each_server! {
    async fn one_users_unanswered_requests_leave_room_for_others(server) {
        for user in ["greedy", "modest"] {
            server.register(user, "pass").await;
        }
        for section in [server.component_section(COMPONENT), server.c2s_section("starttls")] {
            let mut silent = Component::of(server, SILENT).await;
            let gateway = Gateway::with(&format!("{section}{USERS}")).start().await;
            let reading = async { loop { silent.next().await; } };
            tokio::select! {
                () = one_is_greedy(&gateway) => {}
                () = reading => {}
            }
        }
    }
}

on_each_server! {
    async fn beyond_the_requests_that_the_gateway_may_have_under_way_all_are_told_to_wait(server) {
        server.register("greedy", "pass").await;
        let mut silent = Component::of(server, SILENT).await;
        let few = "under_way = 8\nunder_way_per_user = 100";
        let section = server.component_section(COMPONENT).replace("[eim]", &format!("[eim]\n{few}"));
        let gateway = Gateway::with(&format!("{section}{USERS}")).start().await;
        let greedy = gateway.client().login_client("greedy", "s").await;
        let iq = format!("<iq to='{SILENT}' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>");
        let requests = batch("org.user.processIQ", &json!({ "reqXml": iq, "timeoutMs": 2000 }), 50);
        let reading = async { loop { silent.next().await; } };
        let answers = tokio::select! {
            answers = greedy.post(&requests) => answers.json(),
            () = reading => unreachable!("the component goes on"),
        };
        let refused: Vec<&Value> =
            answers.as_array().expect("a batch").iter().filter(|answer| answer["error"]["code"] == -32029).collect();
        assert!((42..50).contains(&refused.len()), "{answers}");
        assert_eq!(done(&refused.into_iter().cloned().collect::<Vec<_>>(), &["eim.busy"]), 0);
    }
}

#[tokio::test]
async fn of_one_address_only_so_many_passwords_are_proved_at_once() {
    let fixture = Fixture::with("[limits]\nlogin_failures_per_minute = 1000").await;
    let login = json!({ "grantType": "password", "userId": "admin", "password": "not the admin's" });
    let tried = fixture.gateway.client().post(&batch("auth.http.login", &login, 50)).await.json();
    let of =
        |key: &str| tried.as_array().expect("a batch").iter().filter(|it| it["error"]["data"]["key"] == key).count();
    assert!(of("entry.busy") > 0 && of("auth.failed") >= 32, "{tried}");
    assert_eq!(of("entry.busy") + of("auth.failed"), 50, "{tried}");
}

async fn one_is_greedy(gateway: &Gateway) {
    let greedy = gateway.client().login_client("greedy", "s").await;
    let modest = gateway.client().login_client("modest", "s").await;
    let iq = |to: &str| format!("<iq to='{to}' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>");
    let flooding = join_all((0..24).map(|_| {
        let client = gateway.client().bearing(greedy.token().expect("it has logged in"));
        let requests = batch("org.user.processIQ", &json!({ "reqXml": iq(SILENT) }), 50);
        async move { client.post(&requests).await.json() }
    }));
    let served = async {
        let key = async || {
            let params = json!({ "reqXml": iq(SILENT), "timeoutMs": 1 });
            greedy.rpc("org.user.processIQ", params).await.0["error"]["data"]["key"].clone()
        };
        until_true("the greedy one's share is used up", async || key().await == "eim.tooManyOfUser").await;
        let answer = modest.rpc("org.user.processIQ", json!({ "reqXml": iq(DOMAIN) })).await;
        assert_eq!(key().await, "eim.tooManyOfUser", "still used up when the modest one has been answered");
        answer.result();
    };
    let (answers, ()) = tokio::join!(flooding, served);
    let answers = answers.iter().flat_map(|batch| batch.as_array().into_iter().flatten());
    let refused = answers.filter(|answer| answer["error"]["data"]["key"] == "eim.tooManyOfUser").count();
    assert!((1200 - 128..1200).contains(&refused), "{refused}");
}
