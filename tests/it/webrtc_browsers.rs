//! People see and hear each other: a Chromium for each, with the devices that Chromium makes up (a moving picture and
//! a beep every second), and the call gateway that is in the binary.

use std::time::Duration;

use confgate::clock::date_ms;
use serde_json::json;

use crate::browser_end_to_end::person::id;
use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::call_gateway::Trust;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::media::{NODE_SECRET, builtin_node};
use crate::support::ports::Port;
use crate::support::wait::until_true;

/// How soon after a call gateway's death everybody is to see and hear everybody again, on a slow machine.
const SOON: Duration = Duration::from_secs(10);

/// Three who are in a conference, each with a browser.
pub struct Round {
    pub people: [Person; 3],
}

pub struct Person {
    pub browser: Browser,
    pub user: String,
}

impl Round {
    /// The demo conference's chair and two guests, all with microphone and camera open.
    async fn start() -> (Gateway, Self) {
        let gateway = Gateway::embedded().start().await;
        let printed = gateway.printed().await;
        (gateway, Self::of([printed.chair, printed.guest]).await)
    }

    /// By the first one's link, and the others'.
    async fn of(links: [String; 2]) -> Self {
        let (anna, zhang, li) = tokio::join!(Browser::start(), Browser::start(), Browser::start());
        Self::with([anna, zhang, li], links).await
    }

    /// The same with those browsers.
    pub async fn with([anna, zhang, li]: [Browser; 3], [chair, guest]: [String; 2]) -> Self {
        let (anna, zhang, li) = tokio::join!(
            Person::enter(anna, &chair, "Anna Schmidt"),
            Person::enter(zhang, &guest, "张伟"),
            Person::enter(li, &guest, "李娜"),
        );
        Self { people: [anna, zhang, li] }
    }

    pub async fn all_see_and_hear_each_other(&self) {
        let [anna, zhang, li] = &self.people;
        tokio::join!(
            anna.sees_and_hears([zhang, li]),
            zhang.sees_and_hears([anna, li]),
            li.sees_and_hears([anna, zhang])
        );
    }

    pub async fn assert_quiet_consoles(&self) {
        for person in &self.people {
            person.browser.assert_quiet_console().await;
        }
    }
}

impl Person {
    pub async fn enter(browser: Browser, link: &str, name: &str) -> Self {
        browser.watch_media().await;
        browser.enter(link, name).await;
        let user = browser.user_named(name).await;
        browser.press("camera").await;
        browser.sees(&user, "video", "on").await;
        Self { browser, user }
    }

    pub async fn sees_and_hears(&self, others: [&Person; 2]) {
        for other in others {
            self.browser.sees_moving(&other.user).await;
            self.browser.hears_sound(&other.user).await;
        }
    }
}

fn tile(stream: &str) -> String {
    format!(".tile[data-stream=\"{stream}\"]")
}

#[tokio::test]
async fn browser_three_people_see_and_hear_each_other() {
    let (_gateway, round) = Round::start().await;
    round.all_see_and_hear_each_other().await;
    let [anna, zhang, li] = &round.people;

    for (person, name) in [(anna, "chair"), (zhang, "guest")] {
        person.browser.look_in_both_languages(&format!("faces-{name}")).await;
    }
    the_stage_is_as_it_should(&li.browser, &anna.user, &zhang.user).await;
    the_camera_is_sent_in_three_sizes(&li.browser).await;
    the_devices_are_chosen(&zhang.browser).await;
    round.all_see_and_hear_each_other().await;
    round.assert_quiet_consoles().await;
}

/// A small one and the main one swap, one's own is at the lower right, and what is closed can come back.
async fn the_stage_is_as_it_should(browser: &Browser, chair: &str, other: &str) {
    let main = async |stream: &str| {
        browser.holds(&format!("document.querySelector('{}').dataset.stream === '{stream}'", id("main-tile"))).await;
    };
    // From here on it is the reader's choice, and not who speaks.
    browser.does_to(chair, "pick").await;
    main(chair).await;
    browser.click(&id(&format!("tile-{other}"))).await;
    main(other).await;
    browser.sees_moving(other).await;
    browser.find(&id(&format!("tile-{chair}"))).await;
    browser.click(&id(&format!("tile-{chair}"))).await;
    main(chair).await;
    browser.sees_moving(chair).await;
    let sizes = format!(
        "(() => {{ const box = name => document.querySelector(`[data-testid=\"${{name}}\"]`).getBoundingClientRect();
            const [small, own, main] = ['tile-{other}', 'self-tile', 'main-tile'].map(box);
            return small.width === 192 && small.height === 108 && small.bottom <= main.top
                && Math.abs(main.width / main.height - 16 / 9) < 0.01
                && main.right - own.right < 20 && main.bottom - own.bottom < 20; }})()"
    );
    browser.holds(&sizes).await;

    browser.run(&format!("document.querySelector('{} .tile-face').focus()", tile(other))).await;
    let keys = browser.page.active_element().await.expect("the tile has the focus");
    keys.send_keys("\u{e017}").await.expect("the Delete key is pressed");
    browser.has(&format!("tile-{other}"), false).await;
    browser.hears_sound(other).await;
    browser.does_to(other, "reopen").await;
    browser.sees_moving(other).await;
}

/// All are listed; what is chosen is used at once, and again after a reload.
async fn the_devices_are_chosen(browser: &Browser) {
    browser.press("devices").await;
    browser.holds(&format!("document.querySelector('{}').options.length === 3", id("choose-camera"))).await;
    browser.holds(&format!("document.querySelector('{}').options.length >= 2", id("choose-microphone"))).await;
    browser.holds(&format!("document.querySelector('{}').value > 0", id("loudness"))).await;
    let set = async |name: &str, change: &str| {
        browser.run(&format!("const field = document.querySelector('{}'); {change}", id(name))).await;
    };
    set("volume", "field.value = 30; field.dispatchEvent(new Event('input'))").await;
    browser.holds("[...document.querySelectorAll('audio')].every(each => each.volume === 0.3)").await;
    // The one between is a depth camera, whose pictures no codec takes.
    set("choose-camera", "field.selectedIndex = 2; field.dispatchEvent(new Event('change'))").await;
    let chosen = format!(
        "document.querySelector('{} video')?.srcObject.getTracks()[0].label === 'fake_device_2'",
        id("self-tile")
    );
    browser.holds(&chosen).await;
    browser.look("devices").await;
    browser.press("dialog-close").await;
    browser.page.refresh().await.expect("a page reloads");
    browser.is_on("conference").await;
    browser.holds(&chosen).await;
    browser.holds("document.querySelector('audio')?.volume === 0.3").await;
}

/// So that the gateway has a picture for each size in which it is shown.
async fn the_camera_is_sent_in_three_sizes(browser: &Browser) {
    until_true("three sizes are sent", async || {
        let sent = browser.sent().await;
        let rids: Vec<_> = sent.iter().filter(|each| each["kind"] == "video").map(|each| &each["rid"]).collect();
        ["q", "h", "f"].iter().all(|rid| rids.contains(&&json!(rid)))
    })
    .await;
}

#[tokio::test]
async fn browser_mute_camera_and_screen_reach_the_others() {
    let (_gateway, round) = Round::start().await;
    round.all_see_and_hear_each_other().await;
    let [anna, zhang, li] = &round.people;

    anna.browser.does_to(&zhang.user, "mute").await;
    for viewer in [anna, li] {
        viewer.browser.sees(&zhang.user, "audio", "forcedOff").await;
        viewer.browser.hears_nothing(&zhang.user, &zhang.user).await;
    }
    zhang.browser.has("chip-enforced", true).await;
    anna.browser.does_to(&zhang.user, "unmute").await;
    zhang.browser.has("chip-enforced", false).await;
    zhang.browser.press("mute").await;
    for viewer in [anna, li] {
        viewer.browser.hears_sound(&zhang.user).await;
    }

    zhang.browser.press("camera").await;
    for viewer in [anna, li] {
        viewer.browser.sees(&zhang.user, "video", "off").await;
        viewer.browser.holds(&format!("!document.querySelector('{} video')", tile(&zhang.user))).await;
    }
    zhang.browser.press("camera").await;
    for viewer in [anna, li] {
        viewer.browser.sees_moving(&zhang.user).await;
    }
    a_screen_is_shared(anna, zhang, li).await;
    round.assert_quiet_consoles().await;
}

async fn a_screen_is_shared(anna: &Person, zhang: &Person, li: &Person) {
    let screen = format!("{}/screen", zhang.user);
    zhang.browser.press("share").await;
    for viewer in [anna, li] {
        viewer.browser.holds(&format!("document.querySelector('{}')", tile(&screen))).await;
        viewer.browser.sees_moving(&screen).await;
        viewer.browser.sees_moving(&zhang.user).await;
    }
    anna.browser.look("faces-screen").await;
    zhang.browser.press("share").await;
    for viewer in [anna, li] {
        viewer.browser.holds(&format!("!document.querySelector('{}')", tile(&screen))).await;
    }
}

#[tokio::test]
async fn browser_a_reload_and_the_gateways_restart_bring_the_pictures_back() {
    let (mut gateway, round) = Round::start().await;
    round.all_see_and_hear_each_other().await;
    round.people[1].browser.page.refresh().await.expect("a page reloads");
    round.people[1].browser.is_on("conference").await;
    round.all_see_and_hear_each_other().await;
    round.assert_quiet_consoles().await;

    gateway.restart().await;
    for person in &round.people {
        person.browser.has("banner", false).await;
    }
    round.all_see_and_hear_each_other().await;
}

#[tokio::test]
async fn browser_somebody_without_devices_watches_and_is_told_why() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    let (anna, zhang) = tokio::join!(Browser::start(), Browser::start());
    let refusing = "navigator.mediaDevices.getUserMedia = async () => {
        throw new DOMException('Permission denied', 'NotAllowedError'); };";
    zhang.run_before_pages(refusing).await;
    for browser in [&anna, &zhang] {
        browser.watch_media().await;
    }
    anna.enter(&printed.chair, "Anna Schmidt").await;
    anna.press("camera").await;
    zhang.enter(&printed.guest, "张伟").await;
    zhang.shows(&id("toasts"), "microphone").await;
    let (user, chair) = (anna.user_named("张伟").await, zhang.user_named("Anna Schmidt").await);
    anna.sees(&user, "audio", "off").await;
    zhang.sees_moving(&chair).await;
    zhang.hears_sound(&chair).await;
    zhang.press("camera").await;
    zhang.shows(&id("toasts"), "camera").await;
    anna.sees(&user, "video", "off").await;
    zhang.look("faces-watching").await;
    for browser in [&anna, &zhang] {
        browser.assert_quiet_console().await;
    }
}

/// A `confgate media` for the pages of that origin, with that certificate.
pub async fn media_node(id: &str, origin: &str, trust: &Trust) -> Gateway {
    let [cert, key] = trust.files();
    let http = format!("[http]\nallowed_origins = [{origin:?}]\ncert = {cert:?}\nkey = {key:?}\n");
    let node = format!("[node]\nid = {id:?}\n[callgw]\nthreads = 1\nreport_interval_ms = 200\n");
    Gateway::media(&format!("{http}{node}{}", builtin_node(id))).start().await
}

#[tokio::test]
async fn browser_when_a_call_gateway_dies_all_are_on_the_other_soon_and_no_picture_vanishes() {
    let (trust, page) = (Trust::new(), Port::claim());
    let origin = format!("https://{}", page.address());
    let mut nodes = [media_node("n1", &origin, &trust).await, media_node("n2", &origin, &trust).await];
    let section = |(at, node): (usize, &Gateway)| {
        let url = format!("wss://{}{BASE}/callgw", node.http());
        let id = at + 1;
        format!("[[callgw.nodes]]\nid = \"n{id}\"\nkind = \"confgate\"\nurl = {url:?}\nsecret = {NODE_SECRET:?}\n")
    };
    let sections: String = nodes.iter().enumerate().map(section).collect();
    let fixture =
        Fixture::with(&format!("[http]\nlisten = \"{}\"\n{sections}{}", page.address(), trust.section())).await;
    let chair = fixture.chair().await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let link = format!("{origin}{BASE}/conference/{code}");
    let round = Round::of([link.clone(), link]).await;
    round.all_see_and_hear_each_other().await;

    let members = async |node: &Gateway| node.metric("confgate_groupcall_members").await.unwrap_or_default();
    let here = usize::from(members(&nodes[1]).await > 0.0);
    assert_eq!(members(&nodes[here]).await, 3.0, "a conference is on one node");
    let watch = "window.vanished = 0; new MutationObserver(() => {
        const tiles = [...document.querySelectorAll('.tile[data-kind=\"member\"]')];
        vanished += tiles.filter(tile => !tile.querySelector('video')).length;
    }).observe(document.body, { childList: true, subtree: true });";
    for person in &round.people {
        person.browser.run(watch).await;
        let others: Vec<_> = round.people.iter().map(|each| &*each.user).filter(|user| *user != person.user).collect();
        person.browser.notes_return_of(&others).await;
    }
    let killed_at = date_ms();
    nodes[here].kill();
    until_true("all are on the other node", async || members(&nodes[1 - here]).await == 3.0).await;
    for person in &round.people {
        let took = Duration::from_millis(person.browser.all_back(2).await.saturating_sub(killed_at));
        println!("{} sees and hears everybody {took:?} after the call gateway's death", person.user);
        assert!(took < SOON, "it took {took:?}");
    }
    round.all_see_and_hear_each_other().await;
    for person in &round.people {
        assert_eq!(person.browser.run("return vanished").await, json!(0), "no tile was without its picture");
    }
}
