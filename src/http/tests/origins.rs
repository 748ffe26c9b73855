//! The origin rule and the headers as a browser meets them.

use super::*;

const ALLOWED: &str = "https://intranet.example.org";

async fn server() -> TestServer {
    TestServer::open(|settings| settings.guard.allowed_origins = vec![ALLOWED.into()]).await
}

fn from(origin: &str) -> http::request::Builder {
    http::Request::get("/who").header("origin", origin)
}

#[tokio::test]
async fn calls_of_foreign_pages_are_403_and_never_reach_the_app() {
    let server = server().await;
    let mut http1 = server.http1().await;
    for origin in ["https://evil.example", "null", "http://localhost"] {
        let answer = http1.send(from(origin)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(http1.send(from("https://localhost")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_foreign_pages_web_socket_is_403() {
    let server = server().await;
    let upgrade = upgrade_request().header("origin", "https://evil.example");
    assert_eq!(server.http1().await.send(upgrade).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_allowed_page_is_answered_with_its_own_origin_and_without_credentials() {
    let server = server().await;
    let mut http1 = server.http1().await;
    let answer = http1.send(from(ALLOWED)).await;
    assert_eq!(answer.text, "127.0.0.1");
    assert_eq!(answer.headers["access-control-allow-origin"], ALLOWED);
    assert_eq!(answer.headers["vary"], "origin");
    let exposed = answer.headers["access-control-expose-headers"].to_str().expect("text");
    assert!(exposed.starts_with("Location, ETag, Link"), "{exposed}");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));

    let preflight = http::Request::options("/length")
        .header("origin", ALLOWED)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let answer = http1.send(preflight).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.headers["access-control-allow-origin"], ALLOWED);
    assert!(answer.headers["access-control-allow-headers"].to_str().is_ok_and(|h| h.contains("authorization")));
}

#[tokio::test]
async fn over_http2_the_own_origin_is_the_authority_asked() {
    let server = server().await;
    let mut http2 = server.http2().await;
    for (origin, status) in [("https://localhost", StatusCode::OK), ("https://evil.example", StatusCode::FORBIDDEN)] {
        let request = http::Request::get("https://localhost/who").header("origin", origin).body(Full::default());
        let answer = read_response(within(http2.sender.send_request(request.expect("a request"))).await).await;
        assert_eq!(answer.status, status, "{origin}");
        assert!(answer.headers.contains_key("strict-transport-security"));
    }
}
