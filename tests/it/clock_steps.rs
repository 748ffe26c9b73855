//! The wall clock is set while people are in: everybody stays, and what lasts a while lasts as long as it should. The
//! gateway is the real one, under libfaketime; the test's own clocks go on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{CLIENTS, Fixture};
use crate::support::client::{BASE, Client};
use crate::support::event_socket::EventSocket;
use crate::support::gateway::Gateway;
use crate::support::wait::{PATIENCE, until, until_true};

/// Of Debian's package `libfaketime`, for whatever machine.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

const GRACE: Duration = Duration::from_millis(2000);
const RESUME_WINDOW: Duration = Duration::from_millis(8000);
const RING: Duration = Duration::from_millis(2500);
const GUEST_IDLE: Duration = Duration::from_millis(3000);
const KICK: Duration = Duration::from_secs(4);
/// How much later than that something may be told: the gateway looks at intervals, and the machine is busy.
const LATE: Duration = Duration::from_millis(2500);

/// The wall clock of one process.
pub struct WallClock(TempDir);

impl WallClock {
    pub fn new() -> Self {
        let clock = Self(tempfile::tempdir().expect("a folder"));
        clock.set("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }

    /// Sets it, as an offset from the true time. The file is replaced as a whole: it is read at any moment.
    pub fn set(&self, offset: &str) {
        let next = self.0.path().join("next");
        std::fs::write(&next, offset).expect("the folder is writable");
        std::fs::rename(next, self.file()).expect("the folder is writable");
    }

    pub fn environment(&self) -> [(String, String); 4] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}

fn library() -> PathBuf {
    let machines = std::fs::read_dir("/usr/lib").expect("a Debian machine").flatten();
    let found = machines.map(|machine| machine.path().join(LIBRARY)).find(|path| Path::exists(path));
    found.expect("libfaketime is installed: see tests/run")
}

/// The embedded product with a wall clock of its own.
async fn fixture(clock: &WallClock) -> Fixture {
    let ms = |duration: Duration| duration.as_millis();
    let limits = format!(
        "[node]\nlease_ms = 1000\n[limits]\ngrace_ms = {}\nresume_window_ms = {}\nring_ms = {}\nguest_idle_ms = {}\nkick_s = {}\n\
         own_controls_per_minute = 100000\nmessages_per_minute = 100000\n",
        ms(GRACE),
        ms(RESUME_WINDOW),
        ms(RING),
        ms(GUEST_IDLE),
        KICK.as_secs(),
    );
    let builder = Gateway::with(&format!("{CLIENTS}\n{limits}"));
    let builder = clock.environment().iter().fold(builder, |builder, (name, value)| builder.environment(name, value));
    Fixture::on(builder.start().await)
}

/// A guest who is in, with a hand up and a place at the call gateway.
struct Guest {
    client: Client,
    socket: EventSocket,
}

impl Guest {
    async fn enter(fixture: &Fixture, code: &str, conf: &str, name: &str) -> Self {
        let client = fixture.guest(code, name).await;
        let mut socket = client.open_socket().await;
        let joined = socket.call("conference.join", json!({ "confId": conf })).await.result();
        assert_eq!(joined["member"]["state"], "joined");
        let raise = json!({ "confId": conf, "action": "raiseHand" });
        socket.call("conference.control", raise).await.result();
        client.rpc("callgw.allocate", json!({ "confId": conf })).await.result();
        Self { client, socket }
    }
}

async fn time_of_a_message(chair: &Client, conf: &str) -> u64 {
    let said = json!({ "confId": conf, "text": "what time is it?" });
    chair.rpc("conference.sendMessage", said).await.result()["time"].as_u64().expect("a time")
}

/// Until the gateway's own dates say that its clock is so much off.
async fn is_set(chair: &Client, conf: &str, offset_s: i64) {
    until_true("the gateway sees the wall clock set", async || {
        let off_ms = time_of_a_message(chair, conf).await.cast_signed() - confgate::clock::date_ms().cast_signed();
        (off_ms - offset_s * 1000).abs() < 5000
    })
    .await;
}

fn lasts(what: &str, begun: Instant, expected: Duration) {
    let lasted = begun.elapsed();
    println!("{what}: {lasted:?}, expected {expected:?}");
    // The gateway began a moment before or after the test did.
    assert!(lasted + Duration::from_millis(300) >= expected, "{what} was over too early: {lasted:?}");
    assert!(lasted <= expected + LATE, "{what} was over too late: {lasted:?}");
}

/// The reason why that member has left; nobody else of the conference may.
async fn why_left(socket: &mut EventSocket, conf: &str, user: &str) -> Value {
    loop {
        let event = socket.expect_event("member.left").await;
        if event["data"]["userId"] == user {
            return event["data"]["reason"].clone();
        }
        // Of an earlier conference.
        assert_ne!(event["confId"], conf, "somebody else was lost: {event}");
    }
}

/// Everything that takes a while begins, then the clock is set.
async fn set_while_all_goes_on(fixture: &Fixture, clock: &WallClock, chair: &Client, offset: (&str, i64)) {
    let (conf, code) = fixture.conference(chair, json!({})).await;
    let mut chairs = chair.open_socket().await;
    chairs.call("conference.join", json!({ "confId": conf })).await.result();
    let [mut stays, lost, back] = [
        Guest::enter(fixture, &code, &conf, "Stays").await,
        Guest::enter(fixture, &code, &conf, "Lost").await,
        Guest::enter(fixture, &code, &conf, "Back").await,
    ];
    let kicked = fixture.login(json!({ "grantType": "client_credentials", "clientId": "u1074304" })).await;
    let mut phone = kicked.open_socket().await;
    phone.call("conference.join", json!({ "confId": conf })).await.result();
    let idle = fixture.guest(&code, "Idle").await;
    let began_idle = Instant::now();
    let kick = json!({ "confId": conf, "action": "kick", "userId": kicked.user_id() });
    chairs.call("conference.control", kick).await.result();
    let began_kick = Instant::now();
    assert_eq!(why_left(&mut chairs, &conf, kicked.user_id()).await, "kicked");
    phone.call("call.start", json!({ "to": [chair.user_id()] })).await.result();
    let began_ring = Instant::now();
    let (lost_client, lost_from) = (lost.client, lost.socket.vanish());
    let began_grace = Instant::now();
    let (back_client, back_from) = (back.client, back.socket.vanish());

    clock.set(offset.0);
    let mut returned = back_client.resume_socket(back_from).await;
    returned.expect("hello").await;
    is_set(chair, &conf, offset.1).await;

    // Conferences without an end go on, new ones may begin.
    stays.socket.call("conference.members", json!({ "confId": conf })).await.result();
    let newcomer = Guest::enter(fixture, &code, &conf, "Newcomer").await;
    assert_eq!(chair.post(&json!({ "id": 1, "method": "conference.list" })).await.status, 200);
    let looked_up = chair.request(Method::POST, &format!("{BASE}/conference/{code}"), &[], "").await;
    assert_eq!((looked_up.status.as_u16(), &looked_up.json()["state"]), (200, &json!(0)));

    let ((), (), (), ()) = tokio::join!(
        async {
            until(PATIENCE, async || is_ended(&idle).await.then_some(())).await.expect("the idle guest's login ends");
            lasts("an idle guest's account", began_idle, GUEST_IDLE);
        },
        async {
            let joins =
                async || kicked.rpc("conference.join", json!({ "confId": conf })).await.0.get("result").cloned();
            until(PATIENCE, joins).await.expect("the kick ends");
            lasts("a kick", began_kick, KICK);
        },
        async {
            assert_eq!(why_left(&mut chairs, &conf, lost_client.user_id()).await, "timeout");
            lasts("the grace of a lost socket", began_grace, GRACE);
        },
        async {
            phone.wait_for("call.missed").await;
            lasts("ringing", began_ring, RING);
        },
    );
    // The seat is kept beyond the grace, with what belongs to it.
    let mut again = lost_client.resume_socket(lost_from).await;
    until_true("who was lost is back in their seat", async || {
        let answer = again.call("conference.members", json!({ "confId": conf })).await.0;
        let members = answer["result"]["members"].as_array().cloned().unwrap_or_default();
        members.iter().any(|member| member["userId"] == lost_client.user_id() && member["hand"] == true)
    })
    .await;
    let heard: Vec<Value> = heard_by(&mut stays.socket, &conf).await;
    assert!(heard.iter().all(|said| said["method"] != "callgw.changed"), "{heard:?}");
    let ready = fixture.gateway.readyz().await;
    assert!(!ready.to_string().contains("\"down\""), "{ready}");
    drop((newcomer, returned));
}

/// All that the socket was told until now.
async fn heard_by(socket: &mut EventSocket, conf: &str) -> Vec<Value> {
    let said = json!({ "confId": conf, "text": "the last word" });
    socket.call("conference.sendMessage", said).await.result();
    let mut heard = Vec::new();
    loop {
        let next = socket.next_notification(PATIENCE).await.expect("the last word comes");
        let is_last = next.params["data"]["text"] == "the last word";
        heard.push(json!({ "method": next.method, "params": next.params }));
        if is_last {
            return heard;
        }
    }
}

async fn is_ended(guest: &Client) -> bool {
    guest.rpc("config.getProperties", json!({ "keys": [] })).await.0["error"]["code"] == -32001
}

#[tokio::test]
async fn nobody_is_refused_moved_or_lost_when_the_wall_clock_is_set_and_durations_stay() {
    let clock = WallClock::new();
    let mut fixture = fixture(&clock).await;
    let chair = fixture.chair().await;
    for offset in [("-1h", -3600), ("-3570", -3570), ("+30", 30)] {
        set_while_all_goes_on(&fixture, &clock, &chair, offset).await;
    }
    let logs = fixture.gateway.logs();
    for bad in ["another process runs", "could not be renewed", "panicked"] {
        assert!(!logs.contains(bad), "{bad}: {logs}");
    }
    assert_eq!(fixture.gateway.stop(PATIENCE).await.and_then(|status| status.code()), Some(0));
}

#[tokio::test]
async fn a_conference_starts_by_the_wall_clock_also_where_that_is_set() {
    let clock = WallClock::new();
    let fixture = fixture(&clock).await;
    let chair = fixture.chair().await;
    let in_half_an_hour = confgate::clock::date_ms() + 1_800_000;
    let (conf, _) = fixture.conference(&chair, json!({ "startAt": in_half_an_hour })).await;
    let state = async || chair.rpc("conference.get", json!({ "confId": conf })).await.result()["state"].clone();
    assert_eq!(state().await, 30);
    clock.set("+1h");
    until_true("the conference starts", async || state().await == 0).await;
}

#[tokio::test]
async fn seats_outlive_a_restart_and_a_clock_that_is_set_meanwhile() {
    let clock = WallClock::new();
    let mut fixture = fixture(&clock).await;
    let chair = fixture.chair().await;
    let (conf, code) = fixture.conference(&chair, json!({})).await;
    chair.rpc("conference.join", json!({ "confId": conf })).await.result();
    let guest = Guest::enter(&fixture, &code, &conf, "Guest").await;
    clock.set("-1h");
    is_set(&chair, &conf, -3600).await;
    let from = guest.socket.vanish();
    fixture.gateway.restart().await;
    let mut back = guest.client.resume_socket(from).await;
    let members = back.call("conference.members", json!({ "confId": conf })).await.result();
    let all = members["members"].as_array().expect("members");
    let own = all.iter().find(|member| member["userId"] == guest.client.user_id());
    assert!(own.is_some_and(|own| own["hand"] == true), "{members}");
}
