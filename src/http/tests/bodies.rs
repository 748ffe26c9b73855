//! Bodies and heads above their limits.

use super::*;

const ONE_MORE: usize = BODY_BYTES + 1;

#[tokio::test]
async fn a_body_of_the_limit_passes_and_one_byte_more_is_413() {
    let server = TestServer::open(|_| {}).await;
    let mut http1 = server.http1().await;
    let answer = http1.post("/length", vec![b'x'; BODY_BYTES]).await;
    assert_eq!((answer.status, answer.text), (StatusCode::OK, BODY_BYTES.to_string()));
    assert_eq!(http1.post("/length", vec![b'x'; ONE_MORE]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut http2 = server.http2().await;
    let request = http::Request::post("https://localhost/length").body(Full::from(vec![b'x'; ONE_MORE]));
    let response = within(http2.sender.send_request(request.expect("a request"))).await;
    assert_eq!(answer_status(response), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(http2.get("/who").await.status, StatusCode::OK);
}

fn answer_status(response: Result<http::Response<hyper::body::Incoming>, hyper::Error>) -> StatusCode {
    response.expect("an answer").status()
}

#[tokio::test]
async fn a_chunked_body_above_the_limit_is_413() {
    let server = TestServer::open(|_| {}).await;
    let mut request =
        b"POST /length HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        request.extend_from_slice(format!("{:x}\r\n", BODY_BYTES / 2).as_bytes());
        request.extend_from_slice(&vec![b'x'; BODY_BYTES / 2]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = server.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_still_gets_to_read_the_413() {
    let server = TestServer::open(|_| {}).await;
    let body = vec![b'x'; 2 * 1024 * 1024];
    let mut request =
        format!("POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    request.extend_from_slice(&body);
    let answer = server.raw(&request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_writes() {
    let server = TestServer::open(|_| {}).await;
    let request = "POST /length HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n";
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = TestServer::open(|settings| settings.timeouts.body = Duration::from_millis(100)).await;
    let request = "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_head_above_the_limit_is_431() {
    let server = TestServer::open(|_| {}).await;
    let request = format!("GET /who HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn http_1_1_without_a_host_is_400() {
    let server = TestServer::open(|_| {}).await;
    let answer = server.raw(b"GET /who HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
