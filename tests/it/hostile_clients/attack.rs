//! The attacks of hostile clients, each over a connection of its own, again and again until the attack ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::fixture::Fixture;
use crate::support::client::{BASE, Client};
use crate::support::wait::until_true;

/// Another address block than the members'.
const ELSEWHERE: &str = "127.1.0.1";
/// Handshakes at once: what they cost this machine is not what is tried.
const AT_ONCE: usize = 4;
/// Bytes that a hostile client's system takes in unread.
const UNREAD: u32 = 4096;
/// Between two bytes of something slow, and between two attempts.
const SLOW: Duration = Duration::from_millis(500);
/// Streams of one HTTP/2 connection: few enough that all connections stand before the first is cut.
const STREAMS: usize = 4;
/// Between two pings: a flood of them ends its socket at once, and what is tried is a socket that stays.
const BETWEEN_PINGS: Duration = Duration::from_millis(50);
/// Event sockets need an account each.
const ACCOUNTS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    BatchesUnread,
    StreamsUnread,
    EventSocketPings,
    CallSocketPings,
    SlowHeads,
    SlowBodies,
    HandshakesUnfinished,
}

pub const ENTRANCES: [Target; 7] = [
    Target::BatchesUnread,
    Target::StreamsUnread,
    Target::EventSocketPings,
    Target::CallSocketPings,
    Target::SlowHeads,
    Target::SlowBodies,
    Target::HandshakesUnfinished,
];

pub struct Attack {
    standing: Arc<AtomicUsize>,
    over: oneshot::Sender<()>,
    /// Its clients are on a thread of their own: they must not slow down the members, who are in this process too.
    thread: thread::JoinHandle<()>,
}

/// One hostile client.
#[derive(Clone)]
struct Hostile {
    client: Arc<Client>,
    token: Option<String>,
    handshakes: Arc<Semaphore>,
    standing: Arc<AtomicUsize>,
}

impl Attack {
    /// Returns when as many connections stand as there can be.
    pub async fn begin(fixture: &Fixture, entrance: Target, connections: usize) -> Self {
        let (standing, handshakes) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(AT_ONCE)));
        let tokens = if entrance == Target::EventSocketPings { tokens(fixture).await } else { Vec::new() };
        let connections = if tokens.is_empty() { connections } else { tokens.len() };
        let hostile = |n: usize| Hostile {
            client: Arc::new(fixture.gateway.client().from(ELSEWHERE)),
            token: tokens.get(n).cloned(),
            handshakes: handshakes.clone(),
            standing: standing.clone(),
        };
        let clients: Vec<Hostile> = (0..connections).map(hostile).collect();
        let (over, is_over) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut attacking: JoinSet<()> = clients.into_iter().map(|client| client.attack(entrance)).collect();
                is_over.await.expect_err("its sender is dropped");
                attacking.shutdown().await;
            });
        });
        let enough = connections * 9 / 10;
        until_true("the attack stands", async || standing.load(Relaxed) >= enough).await;
        Self { standing, over, thread }
    }

    pub fn standing(&self) -> usize {
        self.standing.load(Relaxed)
    }

    pub fn end(self) {
        drop(self.over);
        self.thread.join().expect("the attack ends");
    }
}

/// Access tokens of guests of a conference of their own.
async fn tokens(fixture: &Fixture) -> Vec<String> {
    let operator = fixture.chair().await;
    let (_, code) = fixture.conference(&operator, json!({ "name": "Hostile" })).await;
    let mut tokens = Vec::new();
    let client = fixture.gateway.client().from(ELSEWHERE);
    for n in 0..ACCOUNTS {
        let guest = client.login_link(&code, &format!("Hostile {n}")).await;
        tokens.push(guest.token().expect("it has logged in").to_owned());
    }
    tokens
}

/// Counts as standing while it is held.
struct NodeStatus(Arc<AtomicUsize>);

impl Drop for NodeStatus {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Hostile {
    fn stands(&self) -> NodeStatus {
        self.standing.fetch_add(1, Relaxed);
        NodeStatus(self.standing.clone())
    }

    async fn tcp(&self) -> std::io::Result<TcpStream> {
        self.client.connect_tcp(UNREAD).await
    }

    async fn tls(&self, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let _one_of_few = self.handshakes.acquire().await.expect("never closed");
        let stream = self.tcp().await?;
        self.client.connect_over(stream, protocol).await
    }

    /// Cut, or refused, it comes again.
    async fn attack(self, entrance: Target) {
        loop {
            self.strike(entrance).await.ok();
            sleep(SLOW).await;
        }
    }

    /// Until it is cut.
    async fn strike(&self, entrance: Target) -> std::io::Result<()> {
        match entrance {
            Target::BatchesUnread => self.batches_unread().await,
            Target::StreamsUnread => self.streams_unread().await,
            Target::EventSocketPings => self.pings(&format!("{BASE}/websck")).await,
            Target::CallSocketPings => self.pings(&format!("{BASE}/callgw")).await,
            Target::SlowHeads => self.slow(b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-More: x\r\n").await,
            Target::SlowBodies => {
                let head = format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 262144\r\n\r\n");
                self.slow(&[head.as_bytes(), &[b' '; 100_000]].concat(), b" ").await
            }
            Target::HandshakesUnfinished => {
                let mut stream = self.tcp().await?;
                let _standing = self.stands();
                loop {
                    stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await?;
                    sleep(100 * SLOW).await;
                }
            }
        }
    }

    async fn batches_unread(&self) -> std::io::Result<()> {
        let mut stream = self.tls("http/1.1").await?;
        let _standing = self.stands();
        let entry = |id: usize| json!({ "jsonrpc": "2.0", "id": id, "method": "rpc.discover" });
        let body = (0..50).map(entry).collect::<Value>().to_string();
        let head = format!("POST {BASE}/jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        loop {
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
            stream.flush().await?;
            sleep(SLOW).await;
        }
    }

    async fn streams_unread(&self) -> std::io::Result<()> {
        let stream = self.tls("h2").await?;
        let made = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(TokioIo::new(stream))
            .await;
        let (mut sender, driver) = made.map_err(std::io::Error::other)?;
        let driver = tokio::spawn(driver);
        let mut unread = Vec::new();
        for _ in 0..STREAMS {
            let request = Request::get(format!("https://localhost{BASE}/openrpc.json"));
            let request = request.body(Empty::<Bytes>::new()).map_err(std::io::Error::other)?;
            unread.push(sender.send_request(request).await.map_err(std::io::Error::other)?);
        }
        let _standing = self.stands();
        driver.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)
    }

    async fn pings(&self, path: &str) -> std::io::Result<()> {
        let offer = self.token.as_ref().map(|token| format!("confgate, bearer.{token}"));
        let headers: Vec<(&str, &str)> = offer.iter().map(|offer| ("sec-websocket-protocol", offer.as_str())).collect();
        let opened = {
            let _one_of_few = self.handshakes.acquire().await.expect("never closed");
            let stream = self.tcp().await?;
            let stream = self.client.connect_over(stream, "http/1.1").await?;
            self.client.websocket_over(Box::new(stream), path, &headers).await
        };
        let (mut socket, _) = opened.map_err(|refused| std::io::Error::other(format!("{refused:?}")))?;
        let _standing = self.stands();
        loop {
            let ping = Message::Ping(Bytes::from_static(&[7; 125]));
            socket.send(ping).await.map_err(std::io::Error::other)?;
            sleep(BETWEEN_PINGS).await;
        }
    }

    /// Sends the first at once, then the rest again and again, slowly.
    async fn slow(&self, first: &[u8], rest: &[u8]) -> std::io::Result<()> {
        let mut stream = self.tls("http/1.1").await?;
        let _standing = self.stands();
        stream.write_all(first).await?;
        loop {
            stream.write_all(rest).await?;
            stream.flush().await?;
            sleep(SLOW).await;
        }
    }
}
