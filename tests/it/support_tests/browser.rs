//! The real browsers, on a page that comes over TLS.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;

use super::tls_server::TlsServer;
use crate::support::browser::{Browser, DESKTOP, PHONE};
use crate::support::wait::until_true;

const PAGE: &str = r#"<!doctype html><html lang="zh"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>会议</title>
<h1>会议 conference</h1><input id="name"><button id="go">go</button><p id="said"></p>
<script>
  document.querySelector('#go').onclick = () => {
    document.querySelector('#said').textContent = 'hello ' + document.querySelector('#name').value;
  };
</script></html>"#;

async fn server() -> TlsServer {
    let broken = r#"<!doctype html><link rel="icon" href="data:,"><script>missing()</script>"#;
    let routes = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/broken", get(move || async move { Html(broken) }));
    TlsServer::start(routes).await
}

/// A PNG's width and height: the first two numbers of its header.
fn size(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

async fn a_page_is_used_and_seen(browser: Browser, name: &str) {
    let server = server().await;
    browser.goto(&format!("https://{}/", server.address)).await;
    browser.fill("#name", "Анна 张").await;
    browser.click("#go").await;
    browser.shows("#said", "hello Анна 张").await;
    assert_eq!(browser.text("h1").await, "会议 conference");

    for (form, viewport) in [("desktop", DESKTOP), ("phone", PHONE)] {
        browser.resize(viewport).await;
        browser.holds(&format!("innerWidth === {} && innerHeight === {}", viewport.0, viewport.1)).await;
        let png = std::fs::read(browser.screenshot(&format!("harness-{name}-{form}")).await);
        assert_eq!(size(&png.expect("it was just written")), viewport);
    }
    browser.assert_quiet_console().await;
    an_error_is_told_once(&browser, &server).await;
    a_camera_and_a_microphone_are_there(&browser, &server).await;
}

async fn an_error_is_told_once(browser: &Browser, server: &TlsServer) {
    browser.goto(&format!("https://{}/broken", server.address)).await;
    let mut errors = Vec::new();
    until_true("the console has the error", async || {
        errors.extend(browser.console_errors().await);
        errors.iter().any(|error: &String| error.contains("missing is not defined"))
    })
    .await;
    assert!(browser.console_errors().await.is_empty(), "an error is told once");
}

async fn a_camera_and_a_microphone_are_there(browser: &Browser, server: &TlsServer) {
    browser.run_before_pages("window.early = 'yes'").await;
    browser.goto(&format!("https://{}/", server.address)).await;
    browser.holds("window.early === 'yes'").await;
    let script = "const done = arguments[0];
        navigator.mediaDevices.getUserMedia({ audio: true, video: true })
            .then(stream => done(stream.getTracks().map(track => track.kind).sort()), error => done(String(error)));";
    let tracks = browser.page.execute_async(script, Vec::new()).await.expect("the script runs");
    assert_eq!(tracks, json!(["audio", "video"]));
}

#[tokio::test]
async fn a_page_over_tls_is_used_and_seen_in_chromium() {
    a_page_is_used_and_seen(Browser::start().await, "chromium").await;
}

#[tokio::test]
async fn a_page_over_tls_is_used_and_seen_in_firefox() {
    a_page_is_used_and_seen(Browser::firefox().await, "firefox").await;
}
