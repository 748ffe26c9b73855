//! TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2, WebSocket over both, the certificate's replacement: all on the one port.

use super::*;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

#[tokio::test]
async fn either_http_is_spoken_over_either_tls_on_the_one_port() {
    let server = TestServer::open(|_| {}).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (offered, agreed) in [
            (&[b"h2".as_slice(), b"http/1.1"][..], Some(b"h2".as_slice())),
            (&[b"http/1.1".as_slice()][..], Some(b"http/1.1".as_slice())),
            (&[][..], None),
        ] {
            let tls = server.try_tls(server.connect_tcp().await, version, offered).await.expect("a handshake");
            assert_eq!(tls.get_ref().1.alpn_protocol(), agreed);
            let answer = if agreed == Some(b"h2") {
                let io = TokioIo::new(tls);
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
                Http2 { sender, connection: tokio::spawn(connection) }.get("/who").await
            } else {
                http1_over(tls).await.get("/who").await
            };
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "127.0.0.1"));
        }
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = TestServer::open(|_| {}).await;
    let (mut http1, mut http2) = (server.http1().await, server.http2().await);
    for _ in 0..3 {
        assert_eq!(http1.get("/who").await.text, "127.0.0.1");
        assert_eq!(http2.get("/who").await.text, "127.0.0.1");
    }
    assert!(!http1.connection.is_finished() && !http2.connection.is_finished());
}

#[tokio::test]
async fn a_session_is_resumed_until_the_certificate_changes() {
    use rustls::HandshakeKind::{Full, Resumed};
    use tokio::io::AsyncWriteExt;
    const LAST_REQUEST: &[u8] = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let server = TestServer::open(|_| {}).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = server.client(version, &[b"http/1.1"]);
        for kind in [Full, Resumed, Resumed] {
            let mut tls = handshake(client.clone(), server.connect_tcp().await).await.expect("a handshake");
            assert_eq!(tls.get_ref().1.handshake_kind(), Some(kind));
            tls.write_all(LAST_REQUEST).await.expect("written");
            closed(tls).await; // the session's ticket comes with the answer
        }
    }
    let before = server.client(&rustls::version::TLS13, &[b"http/1.1"]);
    let mut tls = handshake(before.clone(), server.connect_tcp().await).await.expect("a handshake");
    tls.write_all(LAST_REQUEST).await.expect("written");
    closed(tls).await;
    swap_certificate(&server);
    let refused = async { while handshake(before.clone(), server.connect_tcp().await).await.is_ok() {} };
    within(refused).await; // nobody goes on under the old certificate
}

/// A WebSocket round trip over an upgraded stream.
async fn echoes(upgraded: hyper::upgrade::Upgraded) {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    socket.send(Message::text("hello")).await.expect("sent");
    let echoed = within(socket.next()).await.expect("an answer").expect("a message");
    assert_eq!(echoed, Message::text("hello"));
}

#[tokio::test]
async fn a_web_socket_opens_over_http1() {
    let server = TestServer::open(|_| {}).await;
    let mut http1 = server.http1().await;
    echoes(http1.open_web_socket().await).await;
}

#[tokio::test]
async fn a_web_socket_opens_over_http2() {
    let server = TestServer::open(|_| {}).await;
    let mut http2 = server.http2().await;
    assert_eq!(http2.get("/who").await.status, StatusCode::OK); // the server's settings have arrived
    let mut request = http::Request::connect("https://localhost/echo")
        .header("sec-websocket-version", "13")
        .body(Full::default())
        .expect("a request");
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let response = within(http2.sender.send_request(request)).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    echoes(hyper::upgrade::on(response).await.expect("upgraded")).await;
}

#[tokio::test]
async fn a_changed_certificate_is_served_within_two_seconds_and_open_connections_go_on() {
    let server = TestServer::open(|settings| settings.timeouts.certificate_check = timeouts().certificate_check).await;
    let mut old = server.http1().await;
    assert_eq!(old.get("/who").await.status, StatusCode::OK);
    swap_certificate(&server);
    let swapped = std::time::Instant::now();
    // The client trusts the new certificate only: the first handshake that succeeds was served with it.
    let mut new = loop {
        match server.try_tls(server.connect_tcp().await, &rustls::version::TLS13, &[b"http/1.1"]).await {
            Ok(stream) => break http1_over(stream).await,
            Err(_) => assert!(swapped.elapsed() < Duration::from_secs(2), "the old certificate is still served"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(new.get("/who").await.status, StatusCode::OK);
    assert_eq!(old.get("/who").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_broken_certificate_on_disk_leaves_the_old_one_in_service() {
    let server = TestServer::open(|_| {}).await;
    let good = std::fs::read(&server.files.key).expect("the key");
    std::fs::write(&server.files.key, "half a ke").expect("written");
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..4 {
        looks.tick().await;
        assert_eq!(server.http1().await.get("/who").await.status, StatusCode::OK);
    }
    std::fs::write(&server.files.key, &good).expect("written");
    assert_eq!(server.http1().await.get("/who").await.status, StatusCode::OK);
}

#[tokio::test]
async fn plain_http_gets_no_answer_on_the_tls_port() {
    use tokio::io::AsyncWriteExt;
    let server = TestServer::open(|_| {}).await;
    let mut stream = server.connect_tcp().await;
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
}

#[tokio::test]
async fn the_command_lines_client_talks_to_it_with_its_certificate_as_the_root() {
    let server = TestServer::open(|_| {}).await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/length", server.address.port());
        let body = Bytes::from_static(b"{\"a\":1}");
        let answer = client::post_json(&url, HeaderMap::new(), body, Some(&server.files.cert)).await;
        assert_eq!(answer.expect("an answer"), (StatusCode::OK, Bytes::from_static(b"7")));
    }
    let url = format!("https://localhost:{}/length", server.address.port());
    let unknown = client::post_json(&url, HeaderMap::new(), Bytes::new(), None).await;
    assert!(matches!(unknown, Err(client::ClientError::Connect { .. } | client::ClientError::NoRoots)), "{unknown:?}");
    let plain = client::post_json("http://localhost/", HeaderMap::new(), Bytes::new(), None).await;
    assert!(matches!(plain, Err(client::ClientError::Url(_))));
}
