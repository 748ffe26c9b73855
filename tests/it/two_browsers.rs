//! A Firefox and a Chromium in one conference: they number codecs differently, and Firefox uses no loopback address.

use serde_json::json;

use crate::fixture::Fixture;
use crate::support::browser::Browser;
use crate::support::client::BASE;
use crate::support::gateway::Gateway;
use crate::support::janus::Janus;
use crate::support::wait::until_true;
use crate::webrtc_browsers::Person;

async fn see_and_hear_each_other([first, second]: [&str; 2]) {
    let (chromium, firefox) = tokio::join!(Browser::start(), Browser::firefox());
    let anna = Person::enter(chromium, first, "Anna Schmidt").await;
    let li = Person::enter(firefox, second, "李娜").await;
    for (sees, other) in [(&anna, &li), (&li, &anna)] {
        sees.browser.sees_moving(&other.user).await;
        sees.browser.hears_sound(&other.user).await;
    }
}

#[tokio::test]
async fn browser_firefox_and_chromium_see_and_hear_each_other_in_the_embedded_default() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    see_and_hear_each_other([&printed.chair, &printed.guest]).await;
}

#[tokio::test]
async fn browser_firefox_and_chromium_see_and_hear_each_other_on_janus() {
    let janus = Janus::start().await;
    let fixture = Fixture::with(&janus.node("j1")).await;
    let chair = fixture.chair().await;
    until_true("Janus is offered", async || chair.offered_gateways().await.ends_with("/callgw/at/j1")).await;
    let (_, code) = fixture.conference(&chair, json!({})).await;
    let link = format!("https://{}{BASE}/conference/{code}", fixture.gateway.http());
    see_and_hear_each_other([&link, &link]).await;
}
