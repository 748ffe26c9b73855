//! The server over real sockets on loopback.

mod admission;
mod bodies;
mod origins;
mod stop;
mod versions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Extension, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::body::bounded_body;
use crate::rate_limit::account::{Bounds, Client};

/// Long enough for anything that is to happen, on a loaded machine.
const SOON: Duration = Duration::from_secs(20);
const BODY_BYTES: usize = 10_000;

/// A running server, stopped when dropped.
struct TestServer {
    address: SocketAddr,
    files: CertificateFiles,
    soft: CancellationToken,
    hard: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    /// Told when `/wait` has begun; `/wait` answers when `go_on` is told.
    waiting: Arc<Notify>,
    go_on: Arc<Notify>,
    dir: tempfile::TempDir,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.hard.cancel();
        self.serving.abort();
    }
}

/// The defaults.
fn timeouts() -> Timeouts {
    Timeouts::from(&crate::config::Config::default())
}

impl TestServer {
    async fn open(adjust: impl FnOnce(&mut HttpSettings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let certificate = Certificate::SelfSigned { dir: dir.path().join("certs"), names: Vec::new() };
        let files = certificate.files().expect("a certificate");
        let mut settings = HttpSettings {
            listen: "127.0.0.1:0".into(),
            certificate,
            guard: GuardSettings::default(),
            admission: Admission::default(),
            trusted_proxies: Networks::default(),
            connections: 100,
            bounds: Bounds {
                connects_per_minute: 100_000,
                connections_per_block: 100,
                sockets_per_block: 100,
                bytes_per_connection: 1_000_000,
                bytes_per_block: 10_000_000,
                bytes: 10_000_000,
            },
            body_bytes: BODY_BYTES as u64,
            timeouts: Timeouts { certificate_check: Duration::from_millis(50), ..timeouts() },
        };
        adjust(&mut settings);
        let server = HttpServer::open(settings).await.expect("a free port");
        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let (waiting, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let address = server.address();
        let router = rooms(waiting.clone(), go_on.clone());
        let serving = tokio::spawn(server.serve(routed(router), soft.clone(), hard.clone()));
        Self { address, files, soft, hard, serving, waiting, go_on, dir }
    }

    async fn connect_tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// A client that speaks `version` only, offers `alpn`, and trusts the certificate that is on disk now.
    fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.files.cert).expect("a certificate")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// A TLS connection, or the error of its handshake.
    async fn try_tls(
        &self,
        stream: TcpStream,
        version: &'static SupportedProtocolVersion,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        handshake(self.client(version, alpn), stream).await
    }

    async fn tls(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let stream = self.connect_tcp().await;
        self.try_tls(stream, &rustls::version::TLS13, alpn).await.expect("a handshake")
    }

    async fn http1(&self) -> Http1 {
        http1_over(self.tls(&[b"http/1.1"]).await).await
    }

    async fn http2(&self) -> Http2 {
        let stream = self.tls(&[b"h2"]).await;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        Http2 { sender, connection: tokio::spawn(connection) }
    }

    /// Everything that the other end says to `request` until it closes.
    async fn raw(&self, request: &[u8]) -> String {
        use tokio::io::AsyncWriteExt;
        let mut stream = self.tls(&[b"http/1.1"]).await;
        stream.write_all(request).await.expect("written");
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.expect("an orderly end");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn handshake(client: Arc<ClientConfig>, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    within(TlsConnector::from(client).connect(name, stream)).await
}

fn rooms(waiting: Arc<Notify>, go_on: Arc<Notify>) -> Router {
    let wait = move || async move {
        waiting.notify_one();
        go_on.notified().await;
        "waited"
    };
    let who = |Extension(client): Extension<Client>| async move { client.address.to_string() };
    let length = |request: Request| async move {
        match bounded_body(request.into_body(), BODY_BYTES).await {
            Ok(body) => body.len().to_string().into_response(),
            Err(refused) => refused.into_response(),
        }
    };
    Router::new()
        .route("/who", get(who))
        .route("/wait", get(wait))
        .route("/length", post(length))
        .route("/echo", any(|upgrade: WebSocketUpgrade| async { echo(upgrade) }))
}

fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

struct Http1 {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

struct Http2 {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

async fn http1_over(stream: TlsStream<TcpStream>) -> Http1 {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    Http1 { sender, connection: tokio::spawn(connection.with_upgrades()) }
}

/// One answer, read whole.
#[derive(Debug)]
struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn read_response(response: Result<http::Response<hyper::body::Incoming>, hyper::Error>) -> TestResponse {
    let (head, body) = response.expect("an answer").into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    TestResponse { status: head.status, headers: head.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
}

impl Http1 {
    async fn send(&mut self, request: http::request::Builder) -> TestResponse {
        let mut request = request.body(Full::default()).expect("a request");
        request.headers_mut().insert("host", http::HeaderValue::from_static("localhost"));
        read_response(within(self.sender.send_request(request)).await).await
    }

    async fn get(&mut self, path: &str) -> TestResponse {
        self.send(http::Request::get(path)).await
    }

    async fn post(&mut self, path: &str, body: Vec<u8>) -> TestResponse {
        let request = http::Request::post(path).header("host", "localhost").body(Full::from(body)).expect("a request");
        read_response(within(self.sender.send_request(request)).await).await
    }
}

impl Http1 {
    async fn open_web_socket(&mut self) -> hyper::upgrade::Upgraded {
        let request = upgrade_request().body(Full::default()).expect("a request");
        let response = within(self.sender.send_request(request)).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        hyper::upgrade::on(response).await.expect("upgraded")
    }
}

fn upgrade_request() -> http::request::Builder {
    http::Request::get("/echo")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

impl Http2 {
    async fn get(&mut self, path: &str) -> TestResponse {
        let uri = format!("https://localhost{path}");
        let request = http::Request::get(uri).body(Full::default()).expect("a request");
        read_response(within(self.sender.send_request(request)).await).await
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it happens soon")
}

/// Waits until the other end closes; what it says before that is thrown away.
async fn closed(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while !matches!(within(stream.read(&mut bytes)).await, Ok(0) | Err(_)) {}
}

fn networks(texts: &[&str]) -> Networks {
    Networks::parse(texts).expect("networks")
}

fn swap_certificate(server: &TestServer) {
    let fresh: PathBuf = server.dir.path().join("fresh");
    let made = self_signed(&fresh, &[]).expect("a certificate");
    // One file after the other, as an operator's `cp` does: in between they do not fit together.
    std::fs::copy(made.cert, &server.files.cert).expect("copied");
    std::fs::copy(made.key, &server.files.key).expect("copied");
}
