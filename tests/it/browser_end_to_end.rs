//! The page on the real binary, in a real browser: what people see and do, from the link to the end.

pub mod person;

use fantoccini::Locator;
use serde_json::json;

use crate::support::browser::{Browser, DESKTOP, PHONE};
use crate::support::client::{BASE, Client};
use crate::support::gateway::{Gateway, Printed};
use person::id;

/// A name that a stranger may give.
const HOSTILE: &str = "<img src=x onerror=document.title='owned'>";

struct Product {
    gateway: Gateway,
    printed: Printed,
}

impl Product {
    async fn start() -> Self {
        let gateway = Gateway::embedded().start().await;
        let printed = gateway.printed().await;
        Self { gateway, printed }
    }

    fn address(&self, path: &str) -> String {
        format!("https://{}/gzbwclient/{path}", self.gateway.http())
    }

    async fn admin(&self) -> Client {
        self.gateway.client().login_password("admin", &self.printed.password).await
    }
}

#[tokio::test]
async fn a_chair_and_a_guest_walk_from_their_links_to_the_end() {
    let (mut product, chair, guest) = tokio::join!(Product::start(), Browser::start(), Browser::start());
    let Printed { chair: chair_link, guest: guest_link, .. } = product.printed.clone();
    chair.enter(&chair_link, "Anna Schmidt").await;
    guest.goto(&guest_link).await;
    guest.look_in_both_languages("door").await;
    guest.press("lang").await;
    guest.type_name("张伟").await;
    guest.is_on("conference").await;
    let user = chair.user_named("张伟").await;
    let anna = guest.user_named("Anna Schmidt").await;
    chair.sees(&user, "role", "guest").await;
    guest.sees(&anna, "role", "chair").await;

    states_are_seen_live(&chair, &guest, &user).await;
    chair.look_in_both_languages("conference-chair").await;
    guest.look_in_both_languages("conference-guest").await;
    the_chair_rules(&chair, &guest, &user).await;
    let third = Browser::start().await;
    a_third_knocks(&chair, &third, &guest_link).await;

    let login = guest.login().await;
    guest.page.refresh().await.expect("a page reloads");
    guest.is_on("conference").await;
    assert_eq!(guest.login().await, login, "a reload is no new login");
    guest.hears("你好").await;
    chair.sees(&user, "state", "joined").await;

    for browser in [&chair, &guest, &third] {
        browser.assert_quiet_console().await;
    }
    product.gateway.restart().await;
    both_come_back(&chair, &guest).await;
    chair.manages("end").await;
    chair.press("confirm-ok").await;
    for browser in [&chair, &guest] {
        browser.is_on("ended").await;
    }
    guest.look("ended").await;
}

async fn states_are_seen_live(chair: &Browser, guest: &Browser, user: &str) {
    // Nobody comes in live.
    for audio in ["off", "on", "off"] {
        chair.sees(user, "audio", audio).await;
        guest.press("mute").await;
    }
    chair.sees(user, "audio", "on").await;
    guest.press("hand").await;
    chair.sees(user, "hand", "true").await;
    guest.press("camera").await;
    chair.sees(user, "video", "on").await;
    guest.says("你好 <b>&amp;</b>").await;
    chair.hears("你好 <b>&amp;</b>").await;
    chair.says("Hello").await;
    guest.hears("Hello").await;
}

async fn the_chair_rules(chair: &Browser, guest: &Browser, user: &str) {
    let microphone = async |look: &str| {
        guest.holds(&format!("document.querySelector('{}').dataset.look === '{look}'", id("mute"))).await;
    };
    chair.does_to(user, "mute").await;
    microphone("forcedOff").await;
    guest.press("mute").await;
    guest.shows(&id("toasts"), "主席已将您禁言").await;
    chair.sees(user, "audio", "forcedOff").await;
    chair.does_to(user, "unmute").await;
    guest.has("ask", true).await;
    microphone("off").await;
    guest.press("ask-accept").await;
    microphone("on").await;
    guest.has("ask", false).await;
    chair.manages("mute-all").await;
    microphone("off").await;
    chair.does_to(user, "ask").await;
    guest.look_in_both_languages("asked").await;
    guest.press("ask-decline").await;
    guest.has("ask", false).await;
    microphone("off").await;
    chair.does_to(user, "lower").await;
    chair.sees(user, "hand", "false").await;
    chair.manages("lock").await;
    guest.has("chip-locked", true).await;
}

/// Locked out, kept waiting, let in, and sent out again.
async fn a_third_knocks(chair: &Browser, third: &Browser, link: &str) {
    third.goto(link).await;
    third.type_name(HOSTILE).await;
    third.shows(&id("error-text"), "locked").await;
    chair.manages("lock").await;
    chair.has("chip-locked", false).await;
    chair.manages("lobby").await;
    chair.has("chip-lobby", true).await;
    third.press("enter").await;
    third.is_on("waiting").await;
    let user = chair.user_named(HOSTILE).await;
    third.look_in_both_languages("waiting").await;
    chair.look("lobby").await;
    chair.press(&format!("admit-{user}")).await;
    third.is_on("conference").await;
    chair.sees(&user, "state", "joined").await;
    for browser in [chair, third] {
        browser.holds("document.images.length === 0 && document.title !== 'owned'").await;
    }
    chair.does_to(&user, "kick").await;
    chair.press("confirm-ok").await;
    third.is_on("kicked").await;
    third.look("kicked").await;
    // This browser stays out for a while, under any name.
    third.enter_in_vain(link).await;
}

/// After the server was gone, both are back without a hand's turn, and hear each other.
async fn both_come_back(chair: &Browser, guest: &Browser) {
    for browser in [chair, guest] {
        browser.has("banner", false).await;
        browser.is_on("conference").await;
    }
    guest.says("还在吗").await;
    chair.hears("还在吗").await;
    chair.says("still here").await;
    guest.hears("still here").await;
    for browser in [chair, guest] {
        // The browser's own words for a server that isn't there; nothing of ours.
        let errors = browser.console_errors().await;
        let others: Vec<_> = errors.iter().filter(|error| !error.contains("net::ERR_")).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

#[tokio::test]
async fn a_guest_waits_for_the_start_and_goes_in_by_themselves() {
    let (product, guest) = tokio::join!(Product::start(), Browser::start());
    let admin = product.admin().await;
    let in_an_hour = confgate::clock::date_ms() + 3_600_000;
    let made = admin.rpc("conference.create", json!({ "name": "周会 Weekly", "startAt": in_an_hour })).await.result();
    let link = made["link"]["url"].as_str().expect("a new conference has a link");
    guest.goto(link).await;
    guest.is_on("notStarted").await;
    guest.fill(&id("name-input"), "李娜").await;
    guest.look_in_both_languages("not-started").await;
    let conf = json!({ "confId": made["confId"] });
    admin.rpc("conference.join", conf.clone()).await.result();
    guest.is_on("conference").await;
    guest.shows(&id("members"), "Admin").await;

    admin.rpc("conference.end", conf).await.result();
    guest.is_on("ended").await;
    guest.goto(link).await;
    guest.is_on("ended").await;
    guest.shows(&id("conf-name"), "周会 Weekly").await;
    guest.look_in_both_languages("ended-link").await;
    guest.goto(&product.address("conference/no-such-link")).await;
    guest.is_on("unknown").await;
    guest.look_in_both_languages("unknown").await;
    guest.assert_quiet_console().await;
}

#[tokio::test]
async fn a_browser_that_stores_nothing_gets_in_too() {
    let (product, guest) = tokio::join!(Product::start(), Browser::start());
    let refusing = "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {
        get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); } });";
    guest.run_before_pages(refusing).await;
    guest.enter(&product.printed.guest, "李娜").await;
    guest.shows(&id("members"), "李娜").await;
    guest.press("lang").await;
    guest.press("leave").await;
    guest.press("rejoin").await;
    guest.is_on("conference").await;
    guest.assert_quiet_console().await;
}

#[tokio::test]
async fn somebody_with_an_account_makes_a_conference_and_hands_out_its_link() {
    let (product, browser) = tokio::join!(Product::start(), Browser::start());
    browser.goto(&product.address("")).await;
    browser.is_on("signIn").await;
    browser.look_in_both_languages("sign-in").await;
    browser.fill(&id("user-id"), "admin").await;
    browser.fill(&id("password"), "a wrong one").await;
    browser.press("sign-in").await;
    browser.shows(&id("error-text"), "wrong").await;
    browser.fill(&id("password"), &product.printed.password).await;
    browser.press("sign-in").await;
    browser.is_on("home").await;
    browser.shows(&id("conferences"), "Demo").await;

    let origin = format!("https://{}", product.gateway.http());
    let clipboard = json!({ "origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    browser.devtools("Browser.grantPermissions", clipboard).await;
    browser.fill(&id("create-name"), HOSTILE).await;
    browser.press("create").await;
    browser.shows(&id("made-name"), HOSTILE).await;
    browser.holds(&format!("document.querySelector('{}')?.naturalWidth > 0", id("qr"))).await;
    browser.press("copy-link").await;
    browser.shows(&id("toasts"), "copied").await;
    browser.look("made").await;
    let link = browser.find(&id("link-url")).await.prop("value").await.expect("it is a field").expect("it is filled");
    browser.press("dialog-close").await;
    browser.look_in_both_languages("home").await;
    assert!(link.starts_with(&origin), "{link}");
    let rows = browser.page.find_all(Locator::Css(".conf-card")).await.expect("the page is there");
    assert_eq!(rows.len(), 2, "the demo and the new one");
    browser.assert_quiet_console().await;

    browser.enter(&link, "张伟").await;
    browser.shows(&id("conf-name"), HOSTILE).await;
    browser.assert_quiet_console().await;
}

/// No EIM is needed for it: the page is made of the files.
#[tokio::test]
async fn the_page_for_developers_shows_an_operation_and_an_event_of_the_eims_own() {
    let dialect = "examples/dialects/unnumbered-xml/schema";
    let gateway = Gateway::of_folder("examples/dialects/own-operation", "").files("schema", dialect);
    let (gateway, browser) = tokio::join!(gateway.start(), Browser::start());
    browser.goto(&format!("https://{}{BASE}/docs", gateway.http())).await;
    browser.shows(&id("method-poll.open"), "Opens a poll in a conference").await;
    browser.shows(&id("notification-conference.event"), "A poll was opened: ask its question.").await;
    browser.find(&id("event-eim.poll.opened")).await;
    browser.run("document.querySelector('[data-testid=\"event-eim.poll.opened\"]').scrollIntoView()").await;
    browser.screenshot("docs-own-event").await;
    browser.fill(&id("docs-search"), "poll").await;
    browser.holds("document.getElementById('conference.join').hidden").await;
    browser.shows(&id("docs-methods"), "poll.open").await;
    browser.shows(&id("docs-notifications"), "conference.event").await;
    browser.assert_quiet_console().await;
}

#[tokio::test]
async fn the_page_for_developers_shows_the_real_schema_and_tries_it() {
    let (product, browser) = tokio::join!(Product::start(), Browser::start());
    browser.goto(&product.address("docs")).await;
    let all = product.gateway.client().rpc("rpc.discover", json!({})).await.result();
    for method in all["methods"].as_array().expect("methods") {
        browser.find(&id(&format!("method-{}", method["name"].as_str().expect("a name")))).await;
    }
    for told in ["hello", "conference.snapshot", "conference.event", "goingAway"] {
        browser.find(&id(&format!("notification-{told}"))).await;
    }
    browser.find(&id("event-member.joined")).await;
    browser.look_in_both_languages("docs").await;
    browser.run("document.getElementById('conference.event').scrollIntoView()").await;
    browser.screenshot("docs-event").await;
    let tried = "config.getProperties";
    browser.click(&format!("{} .docs-try summary", id(&format!("method-{tried}")))).await;
    for (form, size) in [("desk", DESKTOP), ("phone", PHONE), ("desk", DESKTOP)] {
        browser.resize(size).await;
        browser.run(&format!("document.getElementById('{tried}').scrollIntoView()")).await;
        browser.screenshot(&format!("docs-method-{form}")).await;
    }
    browser.fill(&id(&format!("try-params-{tried}")), r#"{"keys": ["serverName"]}"#).await;
    browser.press(&format!("try-{tried}")).await;
    browser.shows(&id(&format!("try-output-{tried}")), "serverName").await;
    browser.assert_quiet_console().await;
}
