//! The end: nothing new, what is under way is finished, and no longer than told.

use super::*;

#[tokio::test]
async fn a_soft_stop_finishes_the_request_under_way_and_takes_no_more() {
    for http2 in [false, true] {
        let mut house = TestServer::open(|_| {}).await;
        let (mut one, mut two) = (house.http1().await, house.http2().await);
        let waiting = tokio::spawn(async move { if http2 { two.get("/wait").await } else { one.get("/wait").await } });
        within(house.waiting.notified()).await;
        house.soft.cancel();
        let refused = async {
            while TcpStream::connect(house.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        within(refused).await;
        assert!(!house.serving.is_finished());
        house.go_on.notify_one();
        assert_eq!(within(waiting).await.expect("no panic").text, "waited");
        within(&mut house.serving).await.expect("no panic");
    }
}

#[tokio::test]
async fn a_soft_stop_ends_idle_connections_at_once() {
    let mut house = TestServer::open(|_| {}).await;
    let (mut http1, mut http2) = (house.http1().await, house.http2().await);
    assert_eq!(http1.get("/who").await.status, StatusCode::OK);
    assert_eq!(http2.get("/who").await.status, StatusCode::OK);
    let _silent = house.tls(&[b"http/1.1"]).await;
    let _unspoken = house.connect_tcp().await;
    house.soft.cancel();
    within(&mut house.serving).await.expect("no panic");
    assert!(within(http1.connection).await.expect("no panic").is_ok());
    assert!(within(http2.connection).await.expect("no panic").is_ok());
}

#[tokio::test]
async fn an_open_web_socket_is_waited_for_until_the_hard_stop() {
    let mut house = TestServer::open(|_| {}).await;
    let mut http1 = house.http1().await;
    let socket = http1.open_web_socket().await;
    house.soft.cancel();
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut house.serving).await.is_err());
    drop(socket);
    within(&mut house.serving).await.expect("no panic");
}

#[tokio::test]
async fn a_hard_stop_waits_for_nobody() {
    let mut house = TestServer::open(|_| {}).await;
    let mut http1 = house.http1().await;
    let waiting = tokio::spawn(async move {
        let request = http::Request::get("/wait").header("host", "localhost").body(Full::default()).expect("a request");
        http1.sender.send_request(request).await.is_err()
    });
    within(house.waiting.notified()).await;
    house.soft.cancel();
    house.hard.cancel();
    within(&mut house.serving).await.expect("no panic");
    assert!(within(waiting).await.expect("no panic"), "the request was cut");
}
