//! The real browser, on a page that comes over TLS.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;

use super::tls_server::TlsServer;
use crate::support::browser::{Browser, DESKTOP, PHONE};

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

#[tokio::test]
async fn a_page_over_tls_is_used_and_seen_on_a_desk_and_on_a_telephone() {
    let server = server().await;
    let browser = Browser::start().await;
    browser.goto(&format!("https://{}/", server.address)).await;
    browser.fill("#name", "Анна 张").await;
    browser.click("#go").await;
    browser.shows("#said", "hello Анна 张").await;
    assert_eq!(browser.text("h1").await, "会议 conference");

    for (name, viewport) in [("harness-desktop", DESKTOP), ("harness-phone", PHONE)] {
        browser.resize(viewport).await;
        browser.holds(&format!("innerWidth === {} && innerHeight === {}", viewport.0, viewport.1)).await;
        let png = std::fs::read(browser.screenshot(name).await).expect("it was just written");
        assert_eq!(size(&png), viewport);
    }
    browser.assert_quiet_console().await;
}

#[tokio::test]
async fn an_error_of_the_page_is_found_on_its_console() {
    let server = server().await;
    let browser = Browser::start().await;
    browser.goto(&format!("https://{}/broken", server.address)).await;
    let errors = browser.console_errors().await;
    assert!(errors.iter().any(|error| error.contains("missing is not defined")), "{errors:?}");
    assert!(browser.console_errors().await.is_empty(), "an error is told once");
}

#[tokio::test]
async fn a_camera_and_a_microphone_are_there_without_a_question() {
    let server = server().await;
    let browser = Browser::start().await;
    browser.goto(&format!("https://{}/", server.address)).await;
    let script = "const done = arguments[0];
        navigator.mediaDevices.getUserMedia({ audio: true, video: true })
            .then(stream => done(stream.getTracks().map(track => track.kind).sort()), error => done(String(error)));";
    let tracks = browser.page.execute_async(script, Vec::new()).await.expect("the script runs");
    assert_eq!(tracks, json!(["audio", "video"]));
}
