//! Admission of connections: networks, the connections' limit, slow and silent clients, trusted proxies.

use super::*;
use tokio::io::AsyncWriteExt;

/// A PROXY v2 header of a TCP connection from `source`.
fn proxy_header(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend_from_slice(&source);
    header.extend_from_slice(&[10, 0, 0, 1, 0x12, 0x34, 1, 187]);
    header
}

#[tokio::test]
async fn a_denied_network_is_closed_before_tls() {
    let server = TestServer::open(|settings| settings.admission.denied = networks(&["127.0.0.0/8"])).await;
    let mut stream = server.connect_tcp().await;
    let mut bytes = [0; 16];
    assert!(matches!(within(stream.read(&mut bytes)).await, Ok(0) | Err(_)), "closed without a byte");
    let server = TestServer::open(|settings| settings.admission.allowed = networks(&["192.0.2.0/24"])).await;
    closed(server.connect_tcp().await).await;
}

#[tokio::test]
async fn one_connection_more_than_the_limit_is_closed_and_there_is_room_again_later() {
    let server = TestServer::open(|settings| settings.connections = 2).await;
    let (mut first, mut second) = (server.http1().await, server.http2().await);
    assert_eq!(first.get("/who").await.status, StatusCode::OK);
    assert_eq!(second.get("/who").await.status, StatusCode::OK);
    closed(server.connect_tcp().await).await;
    assert_eq!(first.get("/who").await.status, StatusCode::OK);
    drop(first);
    let third = within(async {
        loop {
            let stream = server.connect_tcp().await;
            if let Ok(tls) = server.try_tls(stream, &rustls::version::TLS13, &[b"http/1.1"]).await {
                break tls;
            }
        }
    });
    assert_eq!(http1_over(third.await).await.get("/who").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_open_web_socket_holds_its_place() {
    let server = TestServer::open(|settings| settings.connections = 1).await;
    let mut http1 = server.http1().await;
    let _socket = http1.open_web_socket().await;
    closed(server.connect_tcp().await).await;
}

fn impatient(settings: &mut HttpSettings) {
    settings.timeouts.header = Duration::from_millis(200);
    settings.timeouts.tls_handshake = Duration::from_millis(200);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut() {
    let server = TestServer::open(impatient).await;
    let silent = server.tls(&[b"http/1.1"]).await;
    closed(silent).await;
    let mut half = server.tls(&[b"http/1.1"]).await;
    half.write_all(b"GET /who HTTP/1.1\r\nHost: local").await.expect("written");
    closed(half).await;
    let silent = server.tls(&[b"h2"]).await;
    closed(silent).await;
    let mut half = server.tls(&[b"h2"]).await;
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01").await.expect("written");
    closed(half).await;
}

#[tokio::test]
async fn a_slow_second_head_is_cut_too() {
    let server = TestServer::open(impatient).await;
    let mut stream = server.tls(&[b"http/1.1"]).await;
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: loc").await.expect("written");
    closed(stream).await;
}

#[tokio::test]
async fn an_idle_connection_is_ended_in_good_order() {
    let server = TestServer::open(|settings| settings.timeouts.idle = Duration::from_millis(100)).await;
    let (mut http1, mut http2) = (server.http1().await, server.http2().await);
    assert_eq!(http1.get("/who").await.status, StatusCode::OK);
    assert_eq!(http2.get("/who").await.status, StatusCode::OK);
    assert!(within(http1.connection).await.expect("no panic").is_ok());
    assert!(within(http2.connection).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let server = TestServer::open(|settings| {
        impatient(settings);
        settings.timeouts.idle = Duration::from_millis(50);
    })
    .await;
    let mut http1 = server.http1().await;
    let waiting = tokio::spawn(async move { http1.get("/wait").await });
    within(server.waiting.notified()).await;
    // Another connection's whole life of being cut is longer than this one's limits.
    closed(server.tls(&[b"http/1.1"]).await).await;
    server.go_on.notify_one();
    assert_eq!(within(waiting).await.expect("no panic").text, "waited");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let server = TestServer::open(impatient).await;
    closed(server.connect_tcp().await).await;
}

#[tokio::test]
async fn a_trusted_proxys_header_names_the_client() {
    let server = TestServer::open(|settings| settings.trusted_proxies = networks(&["127.0.0.1"])).await;
    let mut stream = server.connect_tcp().await;
    stream.write_all(&proxy_header([192, 0, 2, 7])).await.expect("written");
    let tls = server.try_tls(stream, &rustls::version::TLS13, &[b"http/1.1"]).await.expect("a handshake");
    let mut http1 = http1_over(tls).await;
    assert_eq!(http1.get("/who").await.text, "192.0.2.7");
    // That client is no proxy, so what it says of itself is not believed.
    let spoofed = http::Request::get("/who").header("x-forwarded-for", "198.51.100.1");
    assert_eq!(http1.send(spoofed).await.text, "192.0.2.7");
}

#[tokio::test]
async fn nobody_elses_proxy_header_is_read() {
    let server = TestServer::open(|settings| settings.trusted_proxies = networks(&["10.0.0.0/8"])).await;
    let mut stream = server.connect_tcp().await;
    stream.write_all(&proxy_header([192, 0, 2, 7])).await.expect("written");
    assert!(server.try_tls(stream, &rustls::version::TLS13, &[b"http/1.1"]).await.is_err());
}

#[tokio::test]
async fn a_hostile_proxy_header_closes_its_connection_only() {
    let server = TestServer::open(|settings| {
        impatient(settings);
        settings.trusted_proxies = networks(&["127.0.0.1"]);
    })
    .await;
    let mut wrong_signature = proxy_header([192, 0, 2, 7]);
    wrong_signature[5] = 0xff;
    let mut too_short = proxy_header([192, 0, 2, 7]);
    too_short[15] = 3;
    let mut too_long = proxy_header([192, 0, 2, 7]);
    too_long[14] = 0xff;
    let cut_off = proxy_header([192, 0, 2, 7])[..20].to_vec();
    for header in [wrong_signature, too_short, too_long, cut_off, b"\r".to_vec(), b"PROXY TCP4 1.1.1.1".to_vec()] {
        let mut stream = server.connect_tcp().await;
        stream.write_all(&header).await.expect("written");
        closed(stream).await;
    }
    assert_eq!(server.http1().await.get("/who").await.text, "127.0.0.1");
}

#[tokio::test]
async fn a_proxied_client_of_a_denied_network_is_refused() {
    let server = TestServer::open(|settings| {
        settings.trusted_proxies = networks(&["127.0.0.1"]);
        settings.admission.allowed = networks(&["192.0.2.0/24"]);
    })
    .await;
    let mut stream = server.connect_tcp().await;
    stream.write_all(&proxy_header([198, 51, 100, 1])).await.expect("written");
    closed(stream).await;
    let mut http1 = server.http1().await;
    let from = |client: &str| http::Request::get("/who").header("x-forwarded-for", client);
    assert_eq!(http1.send(from("192.0.2.9")).await.text, "192.0.2.9");
    assert_eq!(http1.send(from("198.51.100.1")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_client_cannot_name_its_own_address() {
    let server = TestServer::open(|_| {}).await;
    let spoofed =
        http::Request::get("/who").header("x-forwarded-for", "192.0.2.7").header("forwarded", "for=192.0.2.7");
    assert_eq!(server.http1().await.send(spoofed).await.text, "127.0.0.1");
}
