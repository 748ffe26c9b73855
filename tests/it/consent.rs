//! A microphone or a camera opens only by an act of its owner on that device, and what they chose goes with them: seen
//! on the page, in a real browser.

use serde_json::json;

use crate::browser_end_to_end::person::id;
use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::client::{BASE, Client};
use crate::support::wait::until_true;

/// A page whose network a test can take away: `away()` cuts its sockets and has new ones and requests fail, `back()`.
const NETWORK: &str = "
    window.network = { isAway: false, sockets: new Set() };
    const Native = window.WebSocket;
    window.WebSocket = class extends Native {
        constructor(url, protocols) {
            super(network.isAway ? 'wss://127.0.0.1:1/' : url, protocols);
            network.sockets.add(this);
        }
    };
    const fetched = window.fetch;
    window.fetch = (...what) => network.isAway ? Promise.reject(new TypeError('no network')) : fetched(...what);
    window.away = () => { network.isAway = true; for (const each of network.sockets) each.close(); };
    window.back = () => { network.isAway = false; window.dispatchEvent(new Event('online')); };";

/// A conference with a chair who rules it by requests, and a guest at its door.
struct Scene {
    chair: Client,
    conf: String,
    link: String,
    guest: Browser,
    fixture: Fixture,
}

impl Scene {
    async fn start(limits: &str) -> Self {
        let (fixture, guest) = tokio::join!(Fixture::with(limits), Browser::start());
        let chair = fixture.chair().await;
        let (conf, code) = fixture.conference(&chair, json!({})).await;
        let link = format!("https://{}{BASE}/conference/{code}", fixture.gateway.http());
        Self { chair, conf, link, guest, fixture }
    }

    async fn control(&self, action: &str, user: &str) {
        let params = json!({ "confId": self.conf, "action": action, "userId": user });
        self.chair.rpc("conference.control", params).await.result();
    }

    /// Waits until the guest's own list, and so the roster, has them so.
    async fn shows(&self, user: &str, states: [(&str, &str); 3]) {
        for (what, value) in states {
            self.guest.sees(user, what, value).await;
        }
    }

    /// Whether the browser really sends: the microphone's track is live and enabled.
    async fn is_live(&self) -> bool {
        let live =
            "return captured.some(track => track.kind === 'audio' && track.readyState === 'live' && track.enabled)";
        self.guest.run(live).await.as_bool().expect("a track is live or not")
    }
}

/// Remembers every track that the page captures.
const CAPTURED: &str = "
    window.captured = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async what => {
        const media = await open(what);
        captured.push(...media.getTracks());
        return media;
    };";

const SILENT: [(&str, &str); 3] = [("audio", "off"), ("video", "off"), ("hand", "false")];

async fn with_script(browser: &Browser, script: &str) {
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
}

#[tokio::test]
async fn browser_nobody_enters_live_unasked_and_the_door_remembers_what_was_chosen() {
    let scene = Scene::start("").await;
    let guest = &scene.guest;
    with_script(guest, CAPTURED).await;
    guest.goto(&scene.link).await;
    assert_eq!((guest.is_switched_on("microphone").await, guest.is_switched_on("camera").await), (false, false));
    guest.look_in_both_languages("door-devices").await;
    guest.type_name("张伟").await;
    guest.is_on("conference").await;
    let user = guest.user_named("张伟").await;
    scene.shows(&user, SILENT).await;
    assert_eq!(guest.run("return captured.length").await, json!(0), "no device was touched");

    // Left and opened again: by the keyboard alone, and remembered from then on.
    guest.press("leave").await;
    guest.goto(&scene.link).await;
    guest.is_on("door").await;
    guest.run(&format!("document.querySelector('{}').focus()", id("door-microphone"))).await;
    let keys = guest.page.active_element().await.expect("the switch has the focus");
    keys.send_keys(" ").await.expect("the space bar is pressed");
    assert!(guest.is_switched_on("microphone").await);
    guest.look("door-live").await;
    guest.press("enter").await;
    guest.is_on("conference").await;
    let user = guest.user_named("张伟").await;
    scene.shows(&user, [("audio", "on"), ("video", "off"), ("hand", "false")]).await;
    assert!(scene.is_live().await);
    guest.press("mute").await;
    guest.sees(&user, "audio", "off").await;
    guest.press("leave").await;
    guest.press("rejoin").await;
    guest.is_on("conference").await;
    scene.shows(&guest.user_named("张伟").await, SILENT).await;
    guest.goto(&scene.link).await;
    guest.is_on("conference").await;
    guest.press("leave").await;
    guest.goto(&scene.link).await;
    assert_eq!((guest.is_switched_on("microphone").await, guest.is_switched_on("camera").await), (true, false));
    guest.assert_quiet_console().await;
}

#[tokio::test]
async fn browser_who_was_away_longer_than_their_seat_is_kept_comes_back_as_they_were_and_is_told() {
    // Nothing of a seat is kept.
    let scene = Scene::start("[limits]\ngrace_ms = 300\nresume_window_ms = 300").await;
    let guest = &scene.guest;
    with_script(guest, NETWORK).await;
    with_script(guest, CAPTURED).await;
    guest.goto(&scene.link).await;
    guest.switches("microphone", true).await;
    guest.type_name("张伟").await;
    guest.is_on("conference").await;
    let user = guest.user_named("张伟").await;
    guest.sees(&user, "audio", "on").await;
    guest.press("mute").await;
    guest.press("camera").await;
    guest.press("hand").await;
    let muted = [("audio", "off"), ("video", "on"), ("hand", "true")];
    scene.shows(&user, muted).await;
    comes_back(&scene, &user, muted).await;
    assert!(!scene.is_live().await);
    guest.shows(&id("toasts"), "back").await;
    guest.look("back").await;

    // A second time, live and with the hand down; what the chair forces meanwhile holds.
    guest.press("mute").await;
    guest.press("hand").await;
    let live = [("audio", "on"), ("video", "on"), ("hand", "false")];
    scene.shows(&user, live).await;
    comes_back(&scene, &user, live).await;
    assert!(scene.is_live().await);
    scene.control("mute", &user).await;
    let forced = [("audio", "forcedOff"), ("video", "on"), ("hand", "false")];
    scene.shows(&user, forced).await;
    comes_back(&scene, &user, forced).await;
    scene.control("unmute", &user).await;
    guest.has("ask", true).await;
    assert!(!scene.is_live().await);
}

/// Away until the roster has forgotten them, and then back in a new seat.
async fn comes_back(scene: &Scene, user: &str, states: [(&str, &str); 3]) {
    let seat = async || {
        let all = scene.chair.rpc("conference.members", json!({ "confId": scene.conf })).await.result();
        let mut members = all["members"].as_array().expect("members").iter();
        members.find(|member| member["userId"] == user).map(|member| member["joinedAt"].clone())
    };
    let before = seat().await;
    scene.guest.run("away()").await;
    until_true("the seat is gone", async || seat().await.is_none()).await;
    scene.guest.run("back()").await;
    until_true("there is a new one", async || seat().await.is_some()).await;
    assert_ne!(seat().await, before);
    scene.guest.has("banner", false).await;
    scene.shows(user, states).await;
}

#[tokio::test]
async fn browser_a_reload_opens_what_was_open_and_nothing_else() {
    let scene = Scene::start("").await;
    let guest = &scene.guest;
    with_script(guest, CAPTURED).await;
    guest.enter(&scene.link, "张伟").await;
    let user = guest.user_named("张伟").await;
    guest.sees(&user, "audio", "on").await;
    guest.page.refresh().await.expect("a page reloads");
    guest.is_on("conference").await;
    guest.holds("captured.some(track => track.kind === 'audio' && track.enabled)").await;
    guest.press("mute").await;
    guest.press("camera").await;
    scene.shows(&user, [("audio", "off"), ("video", "on"), ("hand", "false")]).await;
    guest.page.refresh().await.expect("a page reloads");
    guest.is_on("conference").await;
    guest.holds("captured.some(track => track.kind === 'video')").await;
    scene.shows(&user, [("audio", "off"), ("video", "on"), ("hand", "false")]).await;
    assert!(!scene.is_live().await);
}

#[tokio::test]
async fn browser_the_chairs_unmute_asks_and_only_a_press_opens_the_microphone() {
    let scene = Scene::start("").await;
    let guest = &scene.guest;
    with_script(guest, CAPTURED).await;
    guest.goto(&scene.link).await;
    guest.type_name("张伟").await;
    guest.is_on("conference").await;
    let user = guest.user_named("张伟").await;
    for order in ["unmute", "unmuteAll"] {
        scene.control(order, &user).await;
        guest.has("ask", true).await;
        guest.sees(&user, "audio", "off").await;
        guest.press("ask-decline").await;
        guest.has("ask", false).await;
    }
    scene.control("mute", &user).await;
    guest.sees(&user, "audio", "forcedOff").await;
    scene.control("unmute", &user).await;
    guest.has("ask", true).await;
    assert_eq!(guest.run("return captured.length").await, json!(0), "no device was touched");
    // The question is still there after a reload.
    guest.page.refresh().await.expect("a page reloads");
    guest.has("ask", true).await;
    guest.press("ask-accept").await;
    guest.sees(&user, "audio", "on").await;
    guest.has("ask", false).await;
    assert!(scene.is_live().await);
    guest.assert_quiet_console().await;
}

#[tokio::test]
async fn browser_what_was_chosen_at_the_door_comes_through_the_lobby_and_the_chair_opens_nothing() {
    let scene = Scene::start("").await;
    let guest = &scene.guest;
    scene.chair.rpc("conference.update", json!({ "confId": scene.conf, "lobby": true })).await.result();
    with_script(guest, CAPTURED).await;
    guest.goto(&scene.link).await;
    guest.switches("microphone", true).await;
    guest.type_name("张伟").await;
    guest.is_on("waiting").await;
    guest.page.refresh().await.expect("a page reloads");
    guest.is_on("waiting").await;
    let user = guest.login().await[0].as_str().expect("a login has a user").to_owned();
    scene.control("admit", &user).await;
    guest.is_on("conference").await;
    scene.shows(&user, [("audio", "on"), ("video", "off"), ("hand", "false")]).await;
    assert!(scene.is_live().await);
    // Forced to be silent, and made the chair: that lifts it, and opens nothing.
    scene.control("mute", &user).await;
    guest.sees(&user, "audio", "forcedOff").await;
    scene.control("setChair", &user).await;
    guest.sees(&user, "role", "chair").await;
    scene.shows(&user, SILENT).await;
    assert!(!scene.is_live().await);
    guest.press("mute").await;
    guest.sees(&user, "audio", "on").await;
}

#[tokio::test]
async fn browser_a_window_that_takes_over_opens_only_what_was_open() {
    let scene = Scene::start("").await;
    let (fixture, home) = (&scene.fixture, &scene.guest);
    let account = json!({ "userId": "anna", "name": "Anna", "password": "their password" });
    fixture.operator().await.rpc("org.user.createUser", account).await.result();
    let anna = fixture.login(json!({ "grantType": "password", "userId": "anna", "password": "their password" })).await;
    let (conf, _) = fixture.conference(&anna, json!({})).await;
    with_script(home, CAPTURED).await;
    let sign_in = async || {
        home.goto(&format!("https://{}{BASE}/", fixture.gateway.http())).await;
        home.is_on("signIn").await;
        home.fill(&id("user-id"), "anna").await;
        home.fill(&id("password"), "their password").await;
        home.press("sign-in").await;
        home.press(&format!("enter-{conf}")).await;
        home.is_on("conference").await;
    };
    // She speaks from another device: what is open there opens nothing here.
    anna.rpc("conference.join", json!({ "confId": conf })).await.result();
    for action in ["unmuteSelf", "openCamera"] {
        anna.rpc("conference.control", json!({ "confId": conf, "action": action })).await.result();
    }
    sign_in().await;
    scene.shows("anna", SILENT).await;
    assert_eq!(home.run("return captured.length").await, json!(0), "no device was touched");

    home.press("camera").await;
    home.sees("anna", "video", "on").await;
    let first = home.page.window().await.expect("a window");
    let second = home.page.new_window(true).await.expect("another window").handle;
    home.page.switch_to_window(second).await.expect("it is there");
    with_script(home, CAPTURED).await;
    sign_in().await;
    home.sees("anna", "video", "on").await;
    home.holds("captured.some(track => track.kind === 'video' && track.readyState === 'live')").await;
    home.press("camera").await;
    home.sees("anna", "video", "off").await;
    home.page.switch_to_window(first).await.expect("it is there");
    home.is_on("takenOver").await;
    home.press("take-back").await;
    home.is_on("conference").await;
    scene.shows("anna", SILENT).await;
}
