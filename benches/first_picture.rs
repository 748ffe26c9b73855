//! How long a guest waits, from the click on a link to the first picture of somebody else: measured in the page, in a
//! real browser. `cargo bench --bench first_picture`

#[path = "../tests/it/browser_end_to_end/person.rs"]
#[allow(dead_code, reason = "as below")]
mod person;
#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, unused_macros, reason = "a vocabulary of which little is needed here")]
mod support;

use serde_json::json;

use support::browser::Browser;
use support::gateway::Gateway;
use support::wait::until_true;

const ROUNDS: usize = 20;

/// Types a name and enters as soon as the page lets it, and notes (in milliseconds since the click) when it could, when
/// the conference was there, and when the first picture of a tile was decoded and shown.
const GUEST: &str = r#"
    const find = name => document.querySelector(`[data-testid="${name}"]`);
    const times = window.times = {};
    const on = screen => document.body?.dataset.screen === screen;
    const look = setInterval(() => {
        if (on('door') && !times.door && find('name-input')) {
            times.door = performance.now();
            find('name-input').value = 'A guest';
            find('name-input').dispatchEvent(new Event('input', { bubbles: true }));
            find('enter').click();
        }
        if (on('conference')) times.conference ??= performance.now();
        const video = document.querySelector('.tile video');
        if (video && !times.tile) {
            times.tile = performance.now();
            video.requestVideoFrameCallback(() => { times.picture = performance.now(); clearInterval(look); });
        }
    }, 2);"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let gateway = Gateway::embedded().start().await;
    let printed = gateway.printed().await;
    let chair = Browser::start().await;
    chair.enter(&printed.chair, "Anna Schmidt").await;
    let user = chair.user_named("Anna Schmidt").await;
    chair.press("camera").await;
    chair.sees(&user, "video", "on").await;

    let guest = Browser::start().await;
    guest.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": GUEST })).await;
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        guest.goto("about:blank").await;
        guest.devtools("Network.clearBrowserCookies", json!({})).await;
        let origin = printed.guest.split('/').take(3).collect::<Vec<_>>().join("/");
        guest.devtools("Storage.clearDataForOrigin", json!({ "origin": origin, "storageTypes": "all" })).await;
        guest.goto(&printed.guest).await;
        until_true("a picture", async || guest.run("return window.times?.picture ?? null").await.is_number()).await;
        let times = guest.run("return window.times").await;
        // The first fills the browser's caches.
        if round > 0 {
            rounds.push(["door", "conference", "tile", "picture"].map(|name| times[name].as_f64().expect("a time")));
        }
    }
    println!("from the click on the link, {ROUNDS} rounds, ms:");
    for (place, name) in
        ["the door is shown", "in the conference", "the tile is there", "the first picture"].iter().enumerate()
    {
        let mut sorted: Vec<f64> = rounds.iter().map(|times| times[place]).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
        println!("  {name:<20} p50 {:>6.0}  p95 {:>6.0}", at(50), at(95));
    }
}
