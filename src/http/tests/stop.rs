//! The end: nothing new, what is under way is finished, and no longer than told.

use super::*;

#[tokio::test]
async fn a_soft_stop_finishes_the_request_under_way_and_takes_no_more() {
    for http2 in [false, true] {
        let mut server = TestServer::open(|_| {}).await;
        let (mut one, mut two) = (server.http1().await, server.http2().await);
        let waiting = tokio::spawn(async move { if http2 { two.get("/wait").await } else { one.get("/wait").await } });
        within(server.waiting.notified()).await;
        server.soft.cancel();
        let refused = async {
            while TcpStream::connect(server.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        within(refused).await;
        assert!(!server.serving.is_finished());
        server.go_on.notify_one();
        assert_eq!(within(waiting).await.expect("no panic").text, "waited");
        within(&mut server.serving).await.expect("no panic");
    }
}

#[tokio::test]
async fn a_soft_stop_ends_idle_connections_at_once() {
    let mut server = TestServer::open(|_| {}).await;
    let (mut http1, mut http2) = (server.http1().await, server.http2().await);
    assert_eq!(http1.get("/who").await.status, StatusCode::OK);
    assert_eq!(http2.get("/who").await.status, StatusCode::OK);
    let _silent = server.tls(&[b"http/1.1"]).await;
    let _unspoken = server.connect_tcp().await;
    server.soft.cancel();
    within(&mut server.serving).await.expect("no panic");
    assert!(within(http1.connection).await.expect("no panic").is_ok());
    assert!(within(http2.connection).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn an_open_web_socket_is_waited_for_until_the_hard_stop() {
    let mut server = TestServer::open(|_| {}).await;
    let mut http1 = server.http1().await;
    let socket = http1.open_web_socket().await;
    server.soft.cancel();
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut server.serving).await.is_err());
    drop(socket);
    within(&mut server.serving).await.expect("no panic");
}

#[tokio::test]
async fn a_hard_stop_waits_for_nobody() {
    let mut server = TestServer::open(|_| {}).await;
    let mut http1 = server.http1().await;
    let waiting = tokio::spawn(async move {
        let request = http::Request::get("/wait").header("host", "localhost").body(Full::default()).expect("a request");
        http1.sender.send_request(request).await.is_err()
    });
    within(server.waiting.notified()).await;
    server.soft.cancel();
    server.hard.cancel();
    within(&mut server.serving).await.expect("no panic");
    assert!(within(waiting).await.expect("no panic"), "the request was cut");
}
