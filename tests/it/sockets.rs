//! The event socket: how it opens, what it says in which order, how it resumes, and why it is closed.

use std::time::Duration;

use confgate::clock::date_ms;
use confgate::event::{Member, Roster};
use confgate::ids::UserId;
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::event_socket::EventSocket;
use crate::support::follower::Follower;
use crate::support::wait::{PATIENCE, until_true};

/// A conference with its chair in it, on a socket.
struct Room {
    fixture: Fixture,
    conf: String,
    code: String,
    chair: Client,
    socket: EventSocket,
}

impl Room {
    async fn open(config: &str, terms: Value) -> Self {
        let fixture = Fixture::with(config).await;
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, terms).await;
        let mut socket = chair.open_socket().await;
        socket.call("conference.join", json!({ "confId": conf })).await.result();
        socket.wait_for("conference.snapshot").await;
        Self { fixture, conf, code, chair, socket }
    }

    async fn guest(&self, name: &str) -> Client {
        self.fixture.guest(&self.code, name).await
    }

    /// A guest who is in, on a socket that has had its snapshot.
    async fn member(&self, name: &str) -> (Client, EventSocket) {
        let guest = self.guest(name).await;
        let mut socket = guest.open_socket().await;
        socket.call("conference.join", json!({ "confId": self.conf })).await.result();
        while !self.is_in(&socket, &guest) {
            socket.next_notification(PATIENCE).await.expect("a snapshot comes");
        }
        (guest, socket)
    }

    fn is_in(&self, socket: &EventSocket, user: &Client) -> bool {
        !socket.follower.positions().is_empty() && socket.follower.roster(&self.conf).member(&id_of(user)).is_some()
    }

    async fn control(&self, who: &Client, action: &str, target: Option<&Client>) {
        let mut params = json!({ "confId": self.conf, "action": action });
        if let Some(target) = target {
            params["userId"] = target.user_id().into();
        }
        who.rpc("conference.control", params).await.result();
    }

    async fn send_message(&self, text: &str) {
        self.chair.rpc("conference.sendMessage", json!({ "confId": self.conf, "text": text })).await.result();
    }

    /// The chair's socket has seen the user in that state, or gone (`None`).
    async fn seen(&mut self, user: &Client, state: Option<&str>) {
        let id = id_of(user);
        loop {
            let member = self.socket.follower.roster(&self.conf).member(&id);
            let now = member.map(|m| serde_json::to_value(m.state).unwrap());
            if now == state.map(Value::from) {
                return;
            }
            let came = self.socket.next_notification(PATIENCE).await;
            assert!(came.is_some(), "{} is not {state:?} but {now:?}", user.user_id());
        }
    }

    fn member_of(&self, user: &Client) -> Member {
        self.socket.follower.roster(&self.conf).member(&id_of(user)).expect("they are in").clone()
    }
}

fn id_of(user: &Client) -> UserId {
    UserId::parse(user.user_id()).expect("a login answers a userId")
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list of members").iter().filter_map(|m| m["userId"].as_str()).collect()
}

#[tokio::test]
async fn the_chairs_open_socket_hears_that_their_conference_was_made_in_place_of_a_snapshot() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let mut socket = chair.open_socket().await;
    socket.expect("hello").await;
    // By a request beside the socket, and over it.
    for over_the_socket in [false, true] {
        let params = json!({ "name": "周会" });
        let made = match over_the_socket {
            false => chair.rpc("conference.create", params).await.result(),
            true => socket.call("conference.create", params).await.result(),
        };
        let told = socket.expect("conference.event").await;
        assert_eq!((told["type"].as_str(), told["seq"].as_u64()), (Some("conference.created"), Some(1)));
        assert_eq!((&told["confId"], &told["actor"]), (&made["confId"], &json!(chair.user_id())));
        assert_eq!(told["data"]["confName"], "周会");
        let conf = made["confId"].as_str().expect("an id");
        chair.rpc("conference.join", json!({ "confId": conf })).await.result();
        let next = socket.expect("conference.event").await;
        assert_eq!((next["type"].as_str(), next["seq"].as_u64()), (Some("member.joined"), Some(2)));
        // It is a roster to go on from, and to resume from.
        chair.rpc("conference.control", json!({ "confId": conf, "action": "lock" })).await.result();
        socket.expect_event("conference.locked").await;
        assert!(socket.follower.roster(conf).conference.locked);
    }
}

#[tokio::test]
async fn a_socket_opens_by_any_of_its_tokens_and_says_hello_first() {
    let fixture = Fixture::with("[node]\nid = \"n7\"").await;
    let chair = fixture.chair().await;
    let token = chair.token().unwrap().to_owned();
    let (bearer, offer) = (format!("Bearer {token}"), format!("confgate, bearer.{token}"));
    let hello = json!({ "node": "n7", "heartbeatMs": 10_000, "resumeWindowMs": 60_000 });
    let nobody = fixture.gateway.client();
    for (query, headers, selected) in [
        (format!("token={token}"), vec![], ""),
        (String::new(), vec![("authorization", bearer.as_str())], ""),
        (String::new(), vec![("sec-websocket-protocol", offer.as_str())], "confgate"),
    ] {
        let mut socket = nobody.upgrade(&query, &headers).await.unwrap_or_else(|refused| panic!("{refused:?}"));
        assert_eq!(socket.subprotocol(), selected);
        assert_eq!(socket.expect("hello").await, hello);
    }
    let mut socket = nobody.upgrade_http2(&[("sec-websocket-protocol", &offer)]).await.expect("it opens over h2 too");
    assert_eq!(socket.subprotocol(), "confgate");
    assert_eq!(socket.expect("hello").await, hello);
    assert_eq!(
        socket.call("config.getProperties", json!({ "keys": ["serverName"] })).await.result()["serverName"],
        "ips3000"
    );
    assert!(!fixture.gateway.logs().contains(&token), "a token must not be logged");
}

#[tokio::test]
async fn an_upgrade_without_a_valid_token_is_401() {
    let fixture = Fixture::embedded().await;
    let chair = fixture.chair().await;
    let refresh = chair.login()["refreshToken"].as_str().unwrap().to_owned();
    let ended = fixture.chair().await;
    ended.rpc("auth.http.logout", json!({})).await.result();
    for token in ["", "nonsense", "a.b.c", &refresh, ended.token().unwrap()] {
        let refused = fixture.gateway.client().upgrade(&format!("token={token}"), &[]).await.err().expect("refused");
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (401, &json!(-32001)), "{token}");
        let offer = format!("confgate, bearer.{token}");
        let refused =
            chair.stranger().upgrade_http2(&[("sec-websocket-protocol", &offer)]).await.err().expect("refused");
        assert_eq!(refused.status, 401);
    }
    let refused = chair.stranger().upgrade("", &[]).await.err().expect("refused");
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn a_newcomer_gets_a_snapshot_and_then_the_events_without_a_gap() {
    let mut room = Room::open("", json!({})).await;
    let first = room.member("First").await;
    room.seen(&first.0, Some("joined")).await;
    let later = room.guest("Later").await;
    later.rpc("conference.join", json!({ "confId": room.conf })).await.result();
    let mut socket = later.open_socket().await;
    socket.expect("hello").await;
    let snapshot = socket.expect("conference.snapshot").await;
    assert_eq!((&snapshot["reason"], &snapshot["confId"]), (&json!("join"), &json!(room.conf)));
    assert_eq!(names(&snapshot["members"]), [room.chair.user_id(), first.0.user_id(), later.user_id()]);
    room.control(&first.0, "raiseHand", None).await;
    let mut before = snapshot["seq"].as_u64().unwrap();
    loop {
        let event = socket.expect("conference.event").await;
        assert_eq!((&event["epoch"], event["seq"].as_u64()), (&snapshot["epoch"], Some(before + 1)));
        if event["actor"] == first.0.user_id() {
            assert_eq!((&event["type"], &event["data"]["hand"]), (&json!("member.updated"), &json!(true)));
            return;
        }
        before += 1;
    }
}

#[tokio::test]
async fn a_socket_resumes_by_its_address_or_by_its_first_call_with_the_missed_events_and_nothing_else() {
    let mut room = Room::open("", json!({})).await;
    for by_call in [false, true] {
        let (guest, socket) = room.member("Guest").await;
        let left_off = socket.vanish();
        room.seen(&guest, Some("reconnecting")).await;
        room.send_message("one").await;
        room.send_message("two").await;
        let mut socket = if by_call {
            let mut socket = resumed_by_call(&guest, left_off).await;
            socket.expect("hello").await;
            socket
        } else {
            let mut socket = guest.resume_socket(left_off).await;
            socket.expect("hello").await;
            socket
        };
        let kinds = [
            socket.expect("conference.event").await["type"].clone(),
            socket.expect("conference.event").await["type"].clone(),
            socket.expect("conference.event").await["type"].clone(),
        ];
        assert_eq!(kinds, ["member.updated", "message", "message"]);
        assert_eq!(socket.expect("conference.event").await["data"]["state"], "joined");
        room.seen(&guest, Some("joined")).await;
        assert_eq!(socket.follower.roster(&room.conf), room.socket.follower.roster(&room.conf));
        room.control(&room.chair, "kick", Some(&guest)).await;
        room.seen(&guest, None).await;
    }
}

/// Opens a socket whose first call is `events.resume`.
async fn resumed_by_call(guest: &Client, from: Follower) -> EventSocket {
    let positions: Vec<Value> = from
        .positions()
        .iter()
        .map(|position| {
            let parts: Vec<&str> = position.split(':').collect();
            json!({ "confId": parts[0], "epoch": parts[1], "seq": parts[2].parse::<u64>().unwrap() })
        })
        .collect();
    let mut socket = guest.open_socket().await;
    socket.follower = from;
    socket.call("events.resume", json!({ "positions": positions })).await.result();
    socket
}

#[tokio::test]
async fn a_position_that_is_no_more_gets_a_snapshot_that_says_why() {
    let mut room = Room::open("[limits]\nevent_log = 2", json!({})).await;
    let (guest, socket) = room.member("Guest").await;
    let position = socket.vanish().positions().remove(0);
    let parts: Vec<&str> = position.split(':').collect();
    let (conf, epoch, seq) = (parts[0], parts[1], parts[2].parse::<u64>().unwrap());
    room.seen(&guest, Some("reconnecting")).await;
    for text in ["1", "2", "3", "4"] {
        room.send_message(text).await;
    }
    for (position, reason) in [
        (format!("{conf}:{epoch}:{seq}"), "expired"),
        (format!("{conf}:{epoch}:{}", seq + 1_000), "gap"),
        (format!("{conf}:of-before:{seq}"), "epoch"),
        (format!("other:{epoch}:{seq}"), "join"),
    ] {
        let offer = format!("confgate, bearer.{}", guest.token().unwrap());
        let query = format!("resume={position}");
        let opened = guest.upgrade(&query, &[("sec-websocket-protocol", &offer)]).await;
        let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
        socket.expect("hello").await;
        let snapshot = socket.expect("conference.snapshot").await;
        assert_eq!(snapshot["reason"], reason, "{position}");
        assert_eq!(names(&snapshot["members"]), [room.chair.user_id(), guest.user_id()]);
    }
    let offer = format!("confgate, bearer.{}", guest.token().unwrap());
    let refused = guest.upgrade("resume=nonsense", &[("sec-websocket-protocol", &offer)]).await.err();
    assert_eq!(refused.expect("an ill-formed position is refused").status, 400);
}

#[tokio::test]
async fn a_second_socket_takes_over_and_the_first_ones_end_removes_nobody() {
    let mut room = Room::open("[limits]\ngrace_ms = 300", json!({})).await;
    let (guest, mut first) = room.member("Guest").await;
    let mut second = guest.open_socket().await;
    second.expect("hello").await;
    assert_eq!(first.close_code().await, 4009);
    drop(first);
    second.wait_for("conference.snapshot").await;
    assert_eq!(second.next_notification(Duration::from_millis(900)).await, None, "longer than the grace");
    room.send_message("still in?").await;
    assert_eq!(second.expect_event("message").await["data"]["text"], "still in?");
    room.socket.expect_event("message").await;
    assert_eq!(serde_json::to_value(room.member_of(&guest).state).unwrap(), "joined");
}

#[tokio::test]
async fn lost_member_is_reconnecting_then_gone_and_returns_to_its_seat_within_the_window() {
    let mut room = Room::open("[limits]\ngrace_ms = 300\nresume_window_ms = 30000", json!({})).await;
    let once = json!({ "confId": room.conf, "maxUses": 1 });
    let once = room.chair.rpc("conference.createLink", once).await.result();
    room.code = once["code"].as_str().unwrap().to_owned();
    let (guest, socket) = room.member("Guest").await;
    room.control(&guest, "raiseHand", None).await;
    room.control(&room.chair, "mute", Some(&guest)).await;
    room.socket.expect_event("member.updated").await;
    room.socket.expect_event("member.updated").await;
    let before = room.member_of(&guest);
    assert!(before.hand);

    let gone_at = Instant::now();
    let left_off = socket.vanish();
    room.seen(&guest, Some("reconnecting")).await;
    let noticed = gone_at.elapsed();
    println!("others see `reconnecting`: {noticed:?}");
    assert!(noticed < Duration::from_secs(1), "noticed after {noticed:?}");
    let left = room.socket.expect_event("member.left").await;
    assert_eq!(left["data"], json!({ "userId": guest.user_id(), "reason": "timeout" }));
    assert!(gone_at.elapsed() < Duration::from_secs(3), "gone after {:?}", gone_at.elapsed());

    let mut socket = guest.resume_socket(left_off).await;
    room.seen(&guest, Some("joined")).await;
    assert_eq!(room.member_of(&guest), before, "role, order, hand and mute are as they were");
    socket.expect("hello").await;
    socket.next_notification(PATIENCE).await.expect("events or a snapshot come");
    until_equal(&mut socket, &mut room).await;
}

async fn until_equal(socket: &mut EventSocket, room: &mut Room) {
    while socket.follower.roster(&room.conf).seq < room.socket.follower.roster(&room.conf).seq {
        socket.next_notification(PATIENCE).await.expect("what the chair saw comes");
    }
    assert_eq!(socket.follower.roster(&room.conf), room.socket.follower.roster(&room.conf));
}

#[tokio::test]
async fn member_by_call_without_a_socket_is_reconnecting_and_then_gone() {
    let mut room = Room::open("[limits]\ngrace_ms = 300\nresume_window_ms = 300", json!({})).await;
    let guest = room.guest("Guest").await;
    guest.rpc("conference.join", json!({ "confId": room.conf })).await.result();
    room.seen(&guest, Some("reconnecting")).await;
    room.seen(&guest, None).await;
}

#[tokio::test]
async fn waiting_member_sees_only_itself_and_everything_once_admitted() {
    let mut room = Room::open("", json!({ "lobby": true })).await;
    let guest = room.guest("Guest").await;
    let mut socket = guest.open_socket().await;
    socket.expect("hello").await;
    let joined = socket.call("conference.join", json!({ "confId": room.conf })).await.result();
    assert_eq!((&joined["member"]["state"], &joined["callGateway"]), (&json!("waiting"), &Value::Null));
    let added = room.socket.expect_event("waiting.added").await;
    assert_eq!(added["data"]["userId"], guest.user_id());
    loop {
        let snapshot = socket.wait_for("conference.snapshot").await;
        assert_eq!((snapshot.get("waiting"), snapshot.get("messages")), (None, None));
        if !snapshot["members"].as_array().unwrap().is_empty() {
            assert_eq!(names(&snapshot["members"]), [guest.user_id()]);
            assert_eq!(snapshot["members"][0]["state"], "waiting");
            break;
        }
    }
    room.send_message("behind the door").await;
    assert_eq!(socket.next_notification(Duration::from_millis(300)).await, None, "no events before admission");
    let own = guest.rpc("conference.members", json!({ "confId": room.conf })).await.result();
    assert_eq!(names(&own["members"]), [guest.user_id()]);
    guest.rpc("callgw.allocate", json!({ "confId": room.conf })).await.refused(-32003);
    guest.rpc("conference.messages", json!({ "confId": room.conf })).await.refused(-32003);

    room.control(&room.chair, "admit", Some(&guest)).await;
    let snapshot = socket.expect("conference.snapshot").await;
    assert_eq!(names(&snapshot["members"]), [room.chair.user_id(), guest.user_id()]);
    assert_eq!(snapshot["messages"][0]["text"], "behind the door");
    room.send_message("welcome").await;
    socket.expect_event("message").await;

    let refused = room.guest("Refused").await;
    let mut socket = refused.open_socket().await;
    socket.call("conference.join", json!({ "confId": room.conf })).await.result();
    room.control(&room.chair, "deny", Some(&refused)).await;
    assert_eq!(socket.close_code().await, 4003);
}

#[tokio::test]
async fn a_kick_a_ban_and_the_end_close_sockets_and_tokens_for_good() {
    let mut room = Room::open("", json!({})).await;
    for action in ["kick", "ban"] {
        let (guest, mut socket) = room.member("Rude").await;
        let acted = Instant::now();
        room.control(&room.chair, action, Some(&guest)).await;
        assert_eq!(socket.close_code().await, 4003, "{action}");
        println!("closed after a {action}: {:?}", acted.elapsed());
        assert!(acted.elapsed() < Duration::from_secs(1), "{action}: {:?}", acted.elapsed());
        guest.rpc("callgw.allocate", json!({ "confId": room.conf })).await.refused(-32001);
        let offer = format!("confgate, bearer.{}", guest.token().unwrap());
        let refused = guest.upgrade("", &[("sec-websocket-protocol", &offer)]).await.err();
        assert_eq!(refused.expect("the token is no more").status, 401);
        let refresh = json!({ "grantType": "refresh_token", "refreshToken": guest.login()["refreshToken"] });
        assert!(guest.try_login(refresh).await.is_err());
    }
    let (guest, mut socket) = room.member("Guest").await;
    room.chair.rpc("conference.end", json!({ "confId": room.conf })).await.result();
    assert_eq!(socket.close_code().await, 4004);
    room.socket.expect_event("conference.ended").await;
    guest.rpc("conference.members", json!({ "confId": room.conf })).await.refused(-32001);
}

#[tokio::test]
async fn a_logout_closes_the_sessions_socket_within_a_second() {
    let mut room = Room::open("", json!({})).await;
    let (guest, mut socket) = room.member("Guest").await;
    let begun = Instant::now();
    guest.rpc("auth.http.logout", json!({})).await.result();
    assert_eq!(socket.close_code().await, 4001);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    room.seen(&guest, None).await;
}

#[tokio::test]
async fn a_socket_that_never_reads_is_closed_as_too_slow_and_slows_nobody() {
    let mut room = Room::open(
        "[limits]\nsocket_queue_frames = 16\nrequests_per_minute = 100000\nmessages_per_minute = 100000\n\
         conference_acts_per_minute = 100000",
        json!({}),
    )
    .await;
    let (slow, mut stuck) = room.member("Slow").await;
    let (_, mut quick) = room.member("Quick").await;
    let text = "慢".repeat(4000);
    let mut slowest = Duration::ZERO;
    let deadline = Instant::now() + PATIENCE;
    // Until the kernel's buffers are full too.
    while room.fixture.gateway.metric("confgate_socket_lagged_total").await.unwrap_or_default() == 0.0 {
        assert!(Instant::now() < deadline, "never noticed");
        for _ in 0..50 {
            let said = Instant::now();
            room.send_message(&text).await;
            quick.expect_event("message").await;
            slowest = slowest.max(said.elapsed());
            room.socket.expect_event("message").await;
        }
    }
    assert!(slowest < Duration::from_secs(2), "a message took {slowest:?} to somebody who reads");
    room.seen(&slow, Some("reconnecting")).await;
    // It resumes from what it has got.
    let code = stuck.close_code().await;
    assert!(code == 4008 || code == 1006, "{code}");
    let mut socket = slow.resume_socket(stuck.vanish()).await;
    socket.expect("hello").await;
    room.seen(&slow, Some("joined")).await;
    until_equal(&mut socket, &mut room).await;
}

#[tokio::test]
async fn an_answer_larger_than_the_queue_is_still_delivered() {
    let mut room = Room::open("[limits]\nsocket_queue_bytes = 16384", json!({})).await;
    let text = "长".repeat(4000);
    for _ in 0..4 {
        room.chair.rpc("conference.sendMessage", json!({ "confId": room.conf, "text": text })).await.result();
        room.socket.expect_event("message").await;
    }
    let answer = room.socket.call("conference.messages", json!({ "confId": room.conf })).await.result();
    assert_eq!(answer["messages"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_socket_that_answers_no_pings_is_closed_and_one_that_does_is_not() {
    let mut room = Room::open("[limits]\nheartbeat_ms = 200", json!({})).await;
    let (silent, socket) = room.member("Silent").await;
    // The chair's own socket is read, which answers pings; the other isn't.
    room.seen(&silent, Some("reconnecting")).await;
    drop(socket);
    // Ten heartbeats of nothing but pings.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        room.socket.next_notification(Duration::from_millis(100)).await;
    }
    room.socket.send_frame(Message::Ping("from the client".into())).await;
    room.send_message("here").await;
    room.socket.expect_event("message").await;
}

#[tokio::test]
async fn a_token_is_said_to_expire_and_renewed_on_the_socket_or_the_socket_ends_with_it() {
    let fixture = Fixture::with("[auth]\naccess_ttl_s = 3").await;
    let chair = fixture.chair().await;
    let mut renewing = chair.open_socket().await;
    let mut expiring = fixture.operator().await.open_socket().await;
    for socket in [&mut renewing, &mut expiring] {
        socket.expect("hello").await;
        let deadline = socket.expect("auth.expiring").await["deadlineMs"].as_u64().unwrap();
        assert!(deadline > date_ms() && deadline <= date_ms() + 3000);
    }
    let first_deadline = chair.login()["deadline"].as_u64().unwrap();
    // In the middle of its life, so that the renewed one outlives the others by half of one.
    while date_ms() + 1500 < first_deadline {
        renewing.next_notification(Duration::from_millis(100)).await;
    }
    let refresh = json!({ "grantType": "refresh_token", "refreshToken": chair.login()["refreshToken"] });
    let renewed = renewing.call("auth.http.login", refresh).await.result();
    assert!(renewed["deadline"].as_u64() > Some(first_deadline));
    assert_eq!(expiring.close_code().await, 4001);
    while date_ms() <= first_deadline {
        renewing.next_notification(Duration::from_millis(100)).await;
    }
    renewing.call("conference.list", json!({})).await.result();
    assert_eq!(renewing.close_code().await, 4001, "the renewed one ends too");
}

#[tokio::test]
async fn going_away_is_said_first_and_the_program_ends_as_asked() {
    let mut room = Room::open("", json!({})).await;
    let begun = date_ms();
    room.fixture.gateway.signal(rustix::process::Signal::TERM);
    let deadline = room.socket.wait_for("goingAway").await["deadlineMs"].as_u64().unwrap();
    assert!(deadline >= begun && deadline <= begun + 30_000);
    assert_eq!(room.socket.close_code().await, 1001);
    let status = room.fixture.gateway.stop(PATIENCE).await.expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_socket_whose_upgrade_is_under_way_at_the_stop_is_sent_away_and_holds_nothing_up() {
    let mut fixture = Fixture::with("[limits]\ndrain_s = 60\n").await;
    let chair = fixture.chair().await;
    let mut stream = chair.connect("http/1.1").await.expect("the gateway listens");
    let head = format!(
        "GET {BASE}/websck HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: confgate, bearer.{}\r\n",
        chair.address(),
        chair.token().expect("a token"),
    );
    stream.write_all(head.as_bytes()).await.expect("the connection is open");
    // The head's beginning has come by the time that something sent later is answered.
    chair.rpc("conference.list", json!({})).await.result();
    fixture.gateway.signal(rustix::process::Signal::TERM);
    until_true("it drains", async || fixture.gateway.readyz().await["state"] == "draining").await;

    stream.write_all(b"\r\n").await.expect("the connection is open still");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("the upgrade is answered"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let closed = async {
        loop {
            if let Message::Close(frame) = socket.next().await.expect("a close frame").expect("whole frames") {
                return u16::from(frame.expect("a code").code);
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, closed).await.expect("it is closed"), 1001);
    drop(socket);
    assert_eq!(
        fixture.gateway.exit(PATIENCE).await.and_then(|status| status.code()),
        Some(0),
        "before the drain's end"
    );
}

/// Guests who come, go, act and are cut at random, with a fixed seed for each run.
struct History {
    room: Room,
    people: Vec<(Client, Option<EventSocket>, Follower)>,
    dice: StdRng,
}

impl History {
    async fn step(&mut self) {
        let who = self.dice.random_range(0..self.people.len());
        match self.dice.random_range(0..10) {
            0..=1 => self.cut(who),
            2..=4 => self.come_back(who).await,
            5 => self.take_over(who).await,
            6 => self.room.send_message("a word").await,
            _ => self.act(who).await,
        }
    }

    fn cut(&mut self, who: usize) {
        if let Some(socket) = self.people[who].1.take() {
            self.people[who].2 = socket.vanish();
        }
    }

    async fn come_back(&mut self, who: usize) {
        let (client, socket, left_off) = &mut self.people[who];
        if socket.is_none() {
            *socket = Some(client.resume_socket(std::mem::take(left_off)).await);
        }
    }

    /// A second page of the same person, which knows nothing of the first.
    async fn take_over(&mut self, who: usize) {
        let (client, socket, _) = &mut self.people[who];
        let next = client.open_socket().await;
        if let Some(mut old) = socket.replace(next) {
            assert_eq!(old.close_code().await, 4009);
        }
    }

    async fn act(&mut self, who: usize) {
        let actions = ["muteSelf", "unmuteSelf", "raiseHand", "lowerHand", "openCamera", "closeCamera"];
        let action = actions.choose(&mut self.dice).expect("there are some");
        self.room.control(&self.people[who].0, action, None).await;
    }

    /// Reads until the word is heard, which is said after everything else.
    async fn roster_after(socket: &mut EventSocket, conf: &str, word: &str) -> Roster {
        loop {
            let heard = !socket.follower.positions().is_empty()
                && socket.follower.roster(conf).messages.last().is_some_and(|m| m.text == word);
            if heard {
                return socket.follower.roster(conf).clone();
            }
            let came = socket.next_notification(PATIENCE).await;
            assert!(came.is_some(), "the last word does not come");
        }
    }
}

/// After any history of its sockets, each client has the EIM's roster at the end.
async fn history(seed: u64) {
    let room = Room::open("", json!({})).await;
    let mut people = Vec::new();
    for name in ["A", "B", "C"] {
        let (client, socket) = room.member(name).await;
        people.push((client, Some(socket), Follower::default()));
    }
    let mut history = History { room, people, dice: StdRng::seed_from_u64(seed) };
    for _ in 0..40 {
        history.step().await;
    }
    for who in 0..history.people.len() {
        history.come_back(who).await;
    }
    let ids: Vec<UserId> = history.people.iter().map(|(client, _, _)| id_of(client)).collect();
    for who in 0..ids.len() {
        let client = &history.people[who].0;
        let id = client.user_id().to_owned();
        crate::support::wait::until_true("everybody is back", async || {
            let all =
                history.room.chair.rpc("conference.members", json!({ "confId": history.room.conf })).await.result();
            let mut members = all["members"].as_array().unwrap().iter();
            members.any(|m| m["userId"] == id.as_str() && m["state"] == "joined")
        })
        .await;
    }
    history.room.send_message("the last word").await;
    let conf = history.room.conf.clone();
    let truth = history.room.chair.rpc("conference.members", json!({ "confId": conf })).await.result();
    let truth: Vec<Member> = serde_json::from_value(truth["members"].clone()).unwrap();
    let seen = History::roster_after(&mut history.room.socket, &conf, "the last word").await;
    assert_eq!(seen.members, truth, "seed {seed}: the chair's");
    for (client, socket, _) in &mut history.people {
        let socket = socket.as_mut().expect("they came back");
        let own = History::roster_after(socket, &conf, "the last word").await;
        assert_eq!(own.members, truth, "seed {seed}: {}", client.user_id());
        assert_eq!((own.seq, &own.epoch), (seen.seq, &seen.epoch), "seed {seed}");
    }
}

#[tokio::test]
async fn a_frame_that_is_no_text_or_too_large_closes_its_socket_alone_with_rfc_6455s_code() {
    let mut room = Room::open("", json!({})).await;
    let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"conference.list\"}";
    for (name, frame, code) in
        [("Binary", Message::binary(&request[..]), 1003), ("Large", Message::text("x".repeat(300 * 1024)), 1009)]
    {
        let (guest, mut socket) = room.member(name).await;
        socket.send_frame(frame).await;
        assert_eq!(socket.close_code().await, code, "{name}");
        room.seen(&guest, Some("reconnecting")).await;
        room.socket.call("conference.get", json!({ "confId": room.conf })).await.result();
    }
}

#[tokio::test]
async fn random_histories_leave_every_socket_with_the_eims_roster() {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    history(seed).await;
}

#[tokio::test]
async fn the_same_for_many_histories() {
    let runs = if crate::support::long() { 200 } else { 3 };
    for seed in 0..runs {
        history(seed).await;
    }
}
