//! The cost that the gateway adds to a request: `config.getProperties` over TLS on keep-alive connections, side by side
//! with a bare hyper and tokio-rustls server that answers the same bytes to everything. CPU of the server processes, as
//! ratios. `cargo bench --bench rpc`

mod measure;
#[path = "../tests/it/support/mod.rs"]
#[allow(unused_imports, unused_macros, reason = "a vocabulary of which little is needed here")]
mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use measure::Compared;
use measure::load::{Load, post};
use support::cpu;
use support::gateway::Gateway;
use support::process::Process;
use support::steal::Since;
use support::wait::PATIENCE;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 8;
/// Says that this process is to be the bare server; then come the certificate's directory and the answer's file.
const BARE: &str = "--bare";

const CONFIG: &str = r#"
[limits]
requests_per_minute = 10000000
[[auth.clients]]
id = "bench"
secret = "the bench's secret"
"#;
const BODY: &str = r#"{"jsonrpc":"2.0","id":"1","method":"config.getProperties","params":{"keys":["serverName"]}}"#;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == BARE) {
        Some(at) => bare(Path::new(&arguments[at + 1]), Path::new(&arguments[at + 2])),
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(compare());
        }
    }
}

async fn compare() {
    let gateway = Gateway::with(CONFIG).environment("RUST_LOG", "info").start().await;
    let login = gateway.client().login_client("bench", "the bench's secret").await;
    println!("config.getProperties, HTTP/1.1 over TLS, {CONNECTIONS} connections, medians of {ROUNDS} rounds");
    Compared::head(["gateway", "bare"]);
    for (title, token) in [("without a token", None), ("with a token", login.token())] {
        let begun = Since::now();
        let rounds = alternate(&gateway, post("/gzbwclient/jsonrpc", token, BODY)).await;
        report(&format!("{title}: CPU, us per request"), &rounds, |round| round.cpu);
        report("  requests per second", &rounds, |round| round.per_second);
        report("  latency, us", &rounds, |round| round.latency);
        println!("  other machines took {:.0} % of the cores", begun.stolen());
    }
}

/// One side's numbers of one round.
struct Round {
    /// Microseconds per request.
    cpu: f64,
    per_second: f64,
    /// Microseconds.
    latency: f64,
}

fn report(title: &str, rounds: &[[Round; 2]], value: impl Fn(&Round) -> f64) {
    Compared::of(rounds.iter().map(|[gateway, bare]| [value(gateway), value(bare)])).print(title);
}

/// The gateway's and the bare server's numbers of each round.
async fn alternate(gateway: &Gateway, request: Vec<u8>) -> Vec<[Round; 2]> {
    let certificate = gateway.certificate();
    let mut to_gateway = Load::open(gateway.http(), &certificate, CONNECTIONS, request.clone()).await;
    let file = gateway.directory().join("answer");
    std::fs::write(&file, &to_gateway.answer).expect("our own directory is writable");
    let executable = std::env::current_exe().expect("this program is a file");
    let certificates = certificate.parent().expect("it is in a directory");
    let process = Process::start("bare", Command::new(executable).arg(BARE).arg(certificates).arg(&file));
    let address = process.line(PATIENCE, |line| line.text.strip_prefix("listening ")?.parse::<SocketAddr>().ok());
    let address = address.await.expect("the bare server listens");
    let mut to_bare = Load::open(address, &certificate, CONNECTIONS, request).await;
    assert_eq!(to_bare.answer.len(), to_gateway.answer.len(), "both answer the same");

    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let sides = [measured(&mut to_gateway, gateway.pid()).await, measured(&mut to_bare, process.pid()).await];
        // The first round warms both up.
        if round > 0 {
            rounds.push(sides);
        }
    }
    rounds
}

async fn measured(load: &mut Load, pid: u32) -> Round {
    let before = cpu::used(pid);
    let done = load.run(ROUND).await;
    let used = cpu::used(pid) - before;
    let cpu = used.as_secs_f64() * 1e6 / done.requests as f64;
    Round { cpu, per_second: done.per_second(), latency: done.median_latency() }
}

/// The peer: hyper over tokio-rustls with the gateway's TLS settings, which reads each request and answers what is in
/// the file.
fn bare(certificates: &Path, answer: &Path) {
    let (head, body) = read_answer(answer);
    let tls = TlsAcceptor::from(Arc::new(tls(certificates)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("listening {}", listener.local_addr().expect("it listens"));
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(socket, tls.clone(), head.clone(), body.clone()));
        }
    });
}

async fn serve(socket: TcpStream, tls: TlsAcceptor, head: http::HeaderMap, body: Bytes) {
    socket.set_nodelay(true).expect("a TCP socket");
    let Ok(stream) = tls.accept(socket).await else { return };
    let service = service_fn(|request: http::Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = head.clone();
        async move {
            let _read = request.into_body().collect().await;
            Ok::<_, Infallible>(response)
        }
    });
    // The client ends it by going away.
    let _gone = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The header fields (but those that hyper writes itself) and the body of the gateway's answer.
fn read_answer(file: &Path) -> (http::HeaderMap, Bytes) {
    let answer = std::fs::read_to_string(file).expect("the answer's file");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let fields = fields.filter(|(name, _)| !matches!(*name, "date" | "content-length"));
    let parsed = |(name, value): (&str, &str)| (name.parse().expect("a name"), value.parse().expect("a value"));
    (fields.map(parsed).collect::<http::HeaderMap>(), Bytes::copy_from_slice(body.as_bytes()))
}

fn tls(certificates: &Path) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(certificates.join("cert.pem")).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certificates.join("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        config.expect("TLS 1.2 and 1.3").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("a ticketer");
    config
}
