//! The load: one request again and again over a number of keep-alive HTTP/1.1 connections with TLS, one at a time on
//! each. The request's bytes are made once and the answer is only counted, so that the client costs little and the
//! same whoever answers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::certificate::trusting;

/// The result of one round.
pub struct Done {
    pub requests: u64,
    pub elapsed: Duration,
    /// Of each request, in the order of their ends.
    pub latencies: Vec<Duration>,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// In microseconds.
    pub fn median_latency(&self) -> f64 {
        super::median(self.latencies.iter().map(|latency| latency.as_secs_f64() * 1e6))
    }
}

/// A POST of that JSON, with that token.
pub fn post(path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{authorization}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A connection to that server.
pub async fn connect(server: SocketAddr, certificate: &Path) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(trusting(certificate, &["http/1.1"]));
    let socket = TcpStream::connect(server).await.expect("the server listens");
    socket.set_nodelay(true).expect("a TCP socket");
    let stream = connector.connect(ServerName::from(server.ip()), socket).await;
    stream.expect("the certificate is the server's")
}

/// Open connections to one server, and the request that is sent over them.
pub struct Load {
    connections: Vec<TlsStream<TcpStream>>,
    request: Vec<u8>,
    /// The first answer as it came; all others are as long.
    pub answer: Vec<u8>,
}

impl Load {
    pub async fn open(server: SocketAddr, certificate: &Path, connections: usize, request: Vec<u8>) -> Self {
        let mut open = Vec::with_capacity(connections);
        let mut answer = Vec::new();
        for _ in 0..connections {
            let mut stream = connect(server, certificate).await;
            answer = exchange(&mut stream, &request).await;
            open.push(stream);
        }
        Self { connections: open, request, answer }
    }

    /// Asks on every connection for that long.
    pub async fn run(&mut self, length: Duration) -> Done {
        let (request, size, begun) = (self.request.as_slice(), self.answer.len(), Instant::now());
        let each = self.connections.iter_mut().map(|stream| ask(stream, request, size, begun + length));
        let latencies: Vec<Duration> = join_all(each).await.into_iter().flatten().collect();
        Done { requests: latencies.len() as u64, elapsed: begun.elapsed(), latencies }
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &[u8], size: usize, until: Instant) -> Vec<Duration> {
    let mut answer = vec![0; size];
    let mut latencies = Vec::new();
    let mut begun = Instant::now();
    while begun < until {
        stream.write_all(request).await.expect("the server reads");
        stream.read_exact(&mut answer).await.expect("the server answers");
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        let now = Instant::now();
        latencies.push(now - begun);
        begun = now;
    }
    latencies
}

/// Sends the request and gives the answer as it comes.
pub async fn exchange(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.expect("the server reads");
    let mut answer = Vec::new();
    while whole_size(&answer) != Some(answer.len()) {
        let read = stream.read_buf(&mut answer).await.expect("the server answers");
        assert_ne!(read, 0, "the server closed the connection");
    }
    answer
}

/// Head and body together, once the head is there.
fn whole_size(answer: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(answer).expect("our answers are UTF-8");
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    Some(head.len() + 4 + length.expect("a length").parse::<usize>().expect("a number"))
}
