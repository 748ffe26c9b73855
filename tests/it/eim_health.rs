//! Reports about an EIM that is away behind a live XMPP server, that has lost its subscriptions, that refuses
//! subscriptions, or whose sessions are lost: to clients, in `readyz`, in the log and by `check`.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::component::Component;
use crate::support::event_socket::EventSocket;
use crate::support::gateway::{Gateway, eim};
use crate::support::wait::until_true;
use crate::support::xml_stream::Stanza;
use crate::support::xmpp_server::{COMPONENT, MODULES, SECOND_COMPONENT, XmppServer, on_each_server};
use crate::xmpp::check;

const CONFERENCE: &str = MODULES[0];
const NS: &str = "je:x:client:conference";
/// Hasty: the looks at the EIM are what these tests wait for.
const TIMES: &str = "timeout_ms = 1000\nwait_ms = 500\nreconnect_min_ms = 50\nreconnect_max_ms = 400\n\
                     ping_interval_ms = 200\nsnapshot_interval_ms = 300\n";
const CLIENT: &str = "[[auth.clients]]\nid = \"chair\"\nsecret = \"the chair's secret\"\n";

async fn gateway(server: &XmppServer) -> Gateway {
    Gateway::with(&format!("{}{TIMES}{CLIENT}", server.component_section(COMPONENT))).start().await
}

/// For a `check` beside a running gateway: over a component of its own, without provisioning.
fn beside(server: &XmppServer) -> String {
    let section = server.component_section(SECOND_COMPONENT);
    section.lines().filter(|line| !line.starts_with("admin_")).map(|line| format!("{line}\n")).collect()
}

async fn chair(gateway: &Gateway) -> Client {
    gateway.client().login_client("chair", "the chair's secret").await
}

fn part(readyz: &Value, name: &str) -> Value {
    let parts = readyz["parts"].as_array().expect("parts are listed");
    let found = parts.iter().find(|part| part["part"] == name);
    found.unwrap_or_else(|| panic!("no part {name} in {readyz}")).clone()
}

async fn state(gateway: &Gateway, name: &str, expected: &str) {
    until_true(&format!("{name} is {expected}"), async || part(&gateway.readyz().await, name)["state"] == expected)
        .await;
}

fn operation(name: &str, attrs: &str, content: &str) -> String {
    format!("<jeExtension xmlns='{NS}'><{name} {attrs}>{content}</{name}></jeExtension>")
}

/// The one conference that the played EIM knows.
fn conference() -> &'static str {
    "<conference confId='c1' confName='Weekly' state='0' chair='chair' locked='false' lobby='false' mutePolicy='free'/>"
}

fn roster(name: &str, epoch: &str, seq: u64) -> String {
    let member = "<member userId='chair' name='Chair' role='chair' state='joined' audio='on' video='off' \
                  hand='false' joinedAt='1'/>";
    let content = format!("{}<members>{member}</members><waiting/><messages/>", conference());
    operation(name, &format!("epoch='{epoch}' seq='{seq}'"), &content)
}

/// The chair's socket at an EIM that is played by `answer`: what it says to each request, if anything.
async fn socket_at(gateway: &Gateway) -> EventSocket {
    let mut socket = chair(gateway).await.open_socket().await;
    socket.expect("hello").await;
    socket
}

/// Answers whatever is asked by `say`, for as long as it is polled.
async fn play(eim: &mut Component, mut say: impl FnMut(&Stanza) -> Option<String>) {
    loop {
        let asked = eim.next().await;
        if !matches!(asked.attr("type"), "get" | "set") {
            continue;
        }
        let answer = match say(&asked) {
            Some(payload) => asked.result(&payload),
            None => asked.error("auth", "not-allowed"),
        };
        eim.answer(&answer).await;
    }
}

on_each_server! {
    async fn an_eim_that_is_away_behind_a_live_server_is_away(server) {
        let running = eim(server).await;
        let gateway = gateway(server).await;
        for address in [CONFERENCE, "jeorg.ips3000", "jecontacts.ips3000", "jecall.ips3000"] {
            state(&gateway, &format!("eim.{address}"), "up").await;
        }
        let caller = chair(&gateway).await;
        let mut socket = socket_at(&gateway).await;
        let (code, said) = check(&beside(server)).await;
        assert!(said.contains(&format!("ok     eim {CONFERENCE}: answers")), "{code:?} {said}");

        drop(running);
        assert_eq!(socket.wait_for("degraded").await["part"], "eim");
        let told = part(&gateway.readyz().await, "eim");
        assert_eq!(told["state"], "down");
        assert!(told["reason"].as_str().is_some_and(|why| why.contains("ips3000: the server says ")), "{told}");
        state(&gateway, &format!("eim.{CONFERENCE}"), "down").await;
        let refused = caller.rpc("conference.list", json!({})).await.refused(-32010);
        assert_eq!(refused["data"]["sent"], false, "{refused}");
        gateway.logged("an address of the EIM's is away").await;
        let (code, said) = check(&beside(server)).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("FAILED eim {CONFERENCE}: is away: ")), "{said}");
        // A new socket is told at once.
        let mut late = caller.open_socket().await;
        late.expect("hello").await;
        assert_eq!(late.expect("degraded").await["part"], "eim");

        let _running = eim(server).await;
        late.wait_for("restored").await;
        state(&gateway, &format!("eim.{CONFERENCE}"), "up").await;
        caller.rpc("conference.list", json!({})).await.result();
    }

    async fn an_eim_that_knows_no_pings_is_there_and_its_refusals_are_its_own(server) {
        let gateway = gateway(server).await;
        let mut eim = Component::of(server, CONFERENCE).await;
        let caller = chair(&gateway).await;
        let work = async {
            state(&gateway, &format!("eim.{CONFERENCE}"), "up").await;
            let refused = caller.rpc("conference.list", json!({})).await.refused(-32012);
            assert_eq!(refused["data"]["condition"], "service-unavailable");
            assert_eq!(part(&gateway.readyz().await, "eim")["state"], "up");
        };
        let refuse = async {
            loop {
                let Some(crate::support::xml_stream::Received::Stanza(asked)) =
                    eim.next_within(crate::support::wait::PATIENCE).await
                else {
                    panic!("the EIM's stream ended")
                };
                if matches!(asked.attr("type"), "get" | "set") {
                    eim.answer(&asked.error("cancel", "service-unavailable")).await;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = refuse => {}
        }
    }

    async fn an_eim_that_falls_silent_is_away(server) {
        let gateway = gateway(server).await;
        let mut eim = Component::of(server, CONFERENCE).await;
        let address = format!("eim.{CONFERENCE}");
        tokio::select! {
            () = state(&gateway, &address, "up") => {}
            () = eim.live() => {}
        }
        let mut socket = socket_at(&gateway).await;
        assert_eq!(socket.wait_for("degraded").await["part"], "eim");
        let told = part(&gateway.readyz().await, &format!("eim.{CONFERENCE}"));
        assert!(told["reason"].as_str().is_some_and(|why| why.contains("no answer within 1000 ms")), "{told}");
        tokio::select! {
            told = socket.wait_for("restored") => assert_eq!(told["part"], "eim"),
            () = eim.live() => {}
        }
    }

    async fn an_eim_that_has_forgotten_who_listens_is_subscribed_to_again(server) {
        let gateway = gateway(server).await;
        let mut eim = Component::of(server, CONFERENCE).await;
        let mut socket = chair(&gateway).await.open_socket().await;
        let state = std::sync::Mutex::new(("e1", 5, 0));
        let playing = play(&mut eim, |asked| {
            let mut state = state.lock().unwrap();
            let (epoch, seq, _) = *state;
            match &asked.text {
                text if text.contains("<list") => Some(operation("list", "", conference())),
                text if text.contains("<subscribe") => {
                    state.2 += 1;
                    Some(roster("subscribe", epoch, seq))
                }
                text if text.contains("<snapshot") => Some(roster("snapshot", epoch, seq)),
                _ => None,
            }
        });
        let watching = async {
            socket.expect("hello").await;
            assert_eq!(socket.wait_for("conference.snapshot").await["epoch"], "e1");
            let before = state.lock().unwrap().2;
            // As it is after a restart: it counts anew, and has nobody subscribed.
            (state.lock().unwrap().0, state.lock().unwrap().1) = ("e2", 1);
            let told = socket.wait_for("conference.snapshot").await;
            assert_eq!((&told["epoch"], &told["reason"]), (&json!("e2"), &json!("epoch")));
            until_true("it is subscribed again", async || state.lock().unwrap().2 > before).await;
            // The same count, but further: events were sent to nobody.
            let before = state.lock().unwrap().2;
            state.lock().unwrap().1 = 9;
            assert_eq!(socket.wait_for("conference.snapshot").await["seq"], 9);
            until_true("it is subscribed again", async || state.lock().unwrap().2 > before).await;
        };
        tokio::select! {
            () = watching => {}
            () = playing => {}
        }
    }

    async fn a_refused_subscription_is_logged_counted_and_told_until_it_is_granted(server) {
        let gateway = gateway(server).await;
        let mut eim = Component::of(server, CONFERENCE).await;
        let mut socket = chair(&gateway).await.open_socket().await;
        let willing = std::sync::atomic::AtomicBool::new(false);
        let playing = play(&mut eim, |asked| match &asked.text {
            text if text.contains("<list") => Some(operation("list", "", conference())),
            text if text.contains("<subscribe") && willing.load(std::sync::atomic::Ordering::Relaxed) => {
                Some(roster("subscribe", "e1", 5))
            }
            text if text.contains("<snapshot") => Some(roster("snapshot", "e1", 5)),
            _ => None,
        });
        let watching = async {
            socket.expect("hello").await;
            while socket.wait_for("degraded").await["part"] != "events" {}
            let events = part(&gateway.readyz().await, "events");
            assert!(events["state"] == "down" && events["reason"].is_string(), "{events}");
            let line = gateway.logged("operation=\"eim.subscribe\"").await;
            assert!(line.contains(CONFERENCE) && line.contains("not-allowed") && line.contains("of its own accord"), "{line}");
            assert!(gateway.metric("confgate_eim_own_requests_refused_total").await.is_some_and(|count| count >= 2.0));
            willing.store(true, std::sync::atomic::Ordering::Relaxed);
            while socket.wait_for("restored").await["part"] != "events" {}
            assert_eq!(socket.wait_for("conference.snapshot").await["seq"], 5);
            self::state(&gateway, "events", "up").await;
        };
        tokio::select! {
            () = watching => {}
            () = playing => {}
        }
    }

    async fn password_login_is_told_of_its_lost_session_after_a_restart(server) {
        let _eim = eim(server).await;
        server.register("u1", "pass").await;
        let config = format!("{}{TIMES}", server.c2s_section("starttls"));
        let mut gateway = Gateway::with(&config).start().await;
        let user = gateway.client().login_password("u1", "pass").await;
        user.rpc("conference.list", json!({})).await.result();
        gateway.restart().await;
        until_true("the session is known to be lost", async || {
            user.rpc("conference.list", json!({})).await.0["error"]["code"] == -32001
        })
        .await;
        let refused = user.rpc("conference.list", json!({})).await.refused(-32001);
        assert_eq!(refused["data"]["key"], "auth.sessionLost", "{refused}");
        let mut socket = user.open_socket().await;
        assert_eq!(socket.close_code().await, 4001);
        let refresh = json!({ "grantType": "refresh_token", "refreshToken": user.login()["refreshToken"] });
        let refused = gateway.client().try_login(refresh.clone()).await.err().expect("no new tokens").refused(-32001);
        assert_eq!(refused["data"]["key"], "auth.sessionLost", "{refused}");
        let again = gateway.client().login_password("u1", "pass").await;
        again.rpc("conference.list", json!({})).await.result();
        user.rpc("conference.list", json!({})).await.result();
        let refreshed = gateway.client().try_login(refresh).await;
        assert!(refreshed.is_ok(), "a refresh token that was refused for that serves when its owner has signed in");
    }

    async fn a_login_by_password_bears_the_persons_name(server) {
        let _eim = eim(server).await;
        let operator = "[[auth.clients]]\nid = \"operator\"\nsecret = \"s\"\npassword = \"pass\"\nscopes = [\"user.create\"]\n";
        server.register("operator", "pass").await;
        for section in [server.component_section(COMPONENT), server.c2s_section("starttls")] {
            let gateway = Gateway::with(&format!("{section}{operator}")).start().await;
            let client = gateway.client().login_client("operator", "s").await;
            let made = client.rpc("org.user.createUser", json!({ "name": "张三", "password": "pass-3" })).await.result();
            let user = made["userId"].as_str().expect("an id is made");
            let signed_in = gateway.client().login_password(user, "pass-3").await;
            assert_eq!(signed_in.login()["name"], "张三");
        }
    }
}
