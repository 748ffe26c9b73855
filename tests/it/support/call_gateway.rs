//! Call gateways as far as the gateway sees them from outside: something that answers probes, or that also speaks the
//! control link over wss as a node does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use confgate::ids::Secret;
use confgate::node_protocol::{CascadeMethod, FromNode, ToNode};
use confgate::token::{ControlClaims, Kind, KindKeys};
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::certificate::Certificate;
use super::gateway::Gateway;
use super::ports::Port;
use super::wait::{PATIENCE, until, until_true};

/// The secret that nodes share with the gateway.
pub const SECRET: &str = "the secret that the node shares";

/// How often a controlled node reports.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// A certificate that controlled nodes show and the gateway trusts.
pub struct Trust(TempDir);

impl Trust {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("the system's directory for temporary files is writable");
        Certificate::for_names(&["127.0.0.1"]).write(directory.path());
        Self(directory)
    }

    /// The certificate's file and its key's.
    pub fn files(&self) -> [PathBuf; 2] {
        ["cert.pem", "key.pem"].map(|name| self.0.path().join(name))
    }

    /// The gateway's `[callgw]` section, all else as by default.
    pub fn section(&self) -> String {
        format!("[callgw]\nca = {:?}\n", self.0.path().join("cert.pem"))
    }

    /// The same for a gateway that expects reports every [`REPORT_INTERVAL`], so that tests wait less.
    pub fn hasty_section(&self) -> String {
        format!("{}report_interval_ms = {}\n", self.section(), REPORT_INTERVAL.as_millis())
    }

    fn acceptor(&self) -> TlsAcceptor {
        let (cert, key) = (self.0.path().join("cert.pem"), self.0.path().join("key.pem"));
        let chain = CertificateDer::pem_file_iter(cert).expect("it was written").collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_file(key).expect("it was written");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs has TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain.expect("a certificate"), key)
            .expect("they belong together");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The state of a controlled node: shared by its connections.
#[derive(Clone)]
struct Control {
    id: &'static str,
    tls: TlsAcceptor,
    /// The report that it sends; `None`: nothing, though its connections stay open.
    report: watch::Sender<Option<FromNode>>,
    heard: Arc<Mutex<Vec<(Instant, ToNode)>>>,
}

/// A call gateway as far as a probe sees one: it answers WebSocket handshakes. A controlled one also reports and listens.
pub struct Node {
    pub id: &'static str,
    port: Port,
    serving: Option<JoinHandle<()>>,
    control: Option<Control>,
    region: Option<&'static str>,
}

impl Node {
    pub async fn start(id: &'static str) -> Self {
        Self::revived(id, None).await
    }

    /// One that speaks the control link, over TLS.
    pub async fn controlled(id: &'static str, trust: &Trust) -> Self {
        let (report, heard) = (watch::Sender::new(Some(load(0.1, false))), Arc::default());
        Self::revived(id, Some(Control { id, tls: trust.acceptor(), report, heard })).await
    }

    pub async fn in_region(id: &'static str, region: &'static str, trust: &Trust) -> Self {
        Self { region: Some(region), ..Self::controlled(id, trust).await }
    }

    async fn revived(id: &'static str, control: Option<Control>) -> Self {
        let mut node = Self { id, port: Port::claim(), serving: None, control, region: None };
        node.revive().await;
        node
    }

    pub fn url(&self) -> String {
        let scheme = if self.control.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}/groupcall", self.port.address())
    }

    pub fn section(&self) -> String {
        let (id, url) = (self.id, self.url());
        let region = self.region.map_or(String::new(), |region| format!("region = \"{region}\"\n"));
        format!(
            "[[callgw.nodes]]\nid = \"{id}\"\nkind = \"confgate\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n{region}"
        )
    }

    pub async fn revive(&mut self) {
        let listener = TcpListener::bind(self.port.address()).await.expect("the port is ours");
        let control = self.control.clone();
        self.serving = Some(tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let control = control.clone();
                // A gateway that goes away in the middle is none of the node's business.
                connections.spawn(async move {
                    match control {
                        None => drop(tokio_tungstenite::accept_async(stream).await),
                        Some(control) => {
                            if let Ok(stream) = control.tls.clone().accept(stream).await {
                                control.serve(stream).await;
                            }
                        }
                    }
                });
            }
        }));
    }

    pub async fn kill(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Over once the listener is closed.
            serving.await.ok();
        }
    }

    /// Sets the report that it sends from now on; `None`: nothing, and yet nothing is closed.
    pub fn report(&self, report: Option<FromNode>) {
        self.controls().report.send_replace(report);
    }

    /// Takes the commands that it has got so far.
    pub fn take_heard(&self) -> Vec<ToNode> {
        let mut heard = self.controls().heard.lock().expect("nobody panics with it");
        heard.drain(..).map(|(_, command)| command).collect()
    }

    /// Waits for that command; when it came.
    pub async fn hears(&self, what: &str, is_it: impl Fn(&ToNode) -> bool) -> Instant {
        let heard = || self.controls().heard.lock().expect("nobody panics with it").clone();
        let found = until(PATIENCE, async || heard().into_iter().find(|(_, command)| is_it(command)));
        found.await.unwrap_or_else(|| panic!("{} doesn't hear {what}, but {:?}", self.id, heard())).0
    }

    fn controls(&self) -> &Control {
        self.control.as_ref().expect("a controlled node")
    }
}

/// A report of a node that is so busy.
pub fn load(busiest: f64, draining: bool) -> FromNode {
    FromNode::Load {
        packets_per_s: 10,
        packets_per_s_max: 1000,
        busiest,
        rooms: 1,
        endpoints: 2,
        draining,
        cascades: Some(CascadeMethod::Webrtc),
    }
}

impl Control {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut is_control = false;
        let id = self.id;
        let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            is_control = request.uri().path() == "/groupcall/control";
            if is_control {
                let refused = || {
                    let mut refusal = ErrorResponse::new(None);
                    *refusal.status_mut() = http::StatusCode::UNAUTHORIZED;
                    refusal
                };
                admit(id, request).ok_or_else(refused)?;
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("confgate"));
            }
            Ok(response)
        };
        let Ok(socket) = accept_hdr_async(stream, check).await else { return };
        if !is_control {
            return;
        }
        let (mut sink, mut stream) = socket.split();
        let mut report = self.report.subscribe();
        let mut tick = interval(REPORT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Ok(()) = report.changed() => {}
                frame = stream.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        let command = serde_json::from_str(&text).expect("a gateway says what nodes understand");
                        self.heard.lock().expect("nobody panics with it").push((Instant::now(), command));
                        continue;
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return,
                },
            }
            let said = report.borrow_and_update().clone();
            if let Some(said) = said {
                let text = serde_json::to_string(&said).expect("a report is JSON");
                if sink.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether the request shows a control token for the node, as the second subprotocol.
fn admit(id: &str, request: &Request) -> Option<ControlClaims> {
    let protocols = request.headers().get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let token = protocols.strip_prefix("confgate, bearer.")?;
    let keys = KindKeys::new(&[(id.to_owned(), Secret::new(SECRET))], Kind::Control);
    keys.verify::<ControlClaims>(token).ok().filter(|claims| claims.gateway_id == id)
}

/// Waits until the gateway has found each of the nodes alive.
pub async fn probed(gateway: &Gateway, nodes: &[&Node]) {
    for node in nodes {
        until_true("every node is probed", async || {
            let parts = gateway.readyz().await.to_string();
            parts.contains(&format!("callgw.{}", node.id)) && !parts.contains("\"down\"")
        })
        .await;
    }
}
