//! The operator's listener: plain HTTP, `/livez`, `/readyz`, `/metrics`, and whatever else is for operators only.

mod pull;
mod readiness;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config;
use crate::http::accept::Connections;
use crate::http::bearer::authorization;
use crate::http::body::{BoundedBody, answered};
use crate::http::write_timeout::WriteTimeout;
use crate::ids::Secret;
use crate::rate_limit::account::{Account, Accounts, Bounds, Client, Full, Held};

pub use pull::router as pull_router;
use readiness::readyz;
pub use readiness::{Part, PartState, Phase, Readiness, ReadinessSource};

/// Connections at once: a few probes, a scraper, the other nodes' pull requests.
const CONNECTIONS: usize = 256;
/// The bounds of one address block here: its connections, how fast it opens them, the bytes of requests under way.
const BOUNDS: Bounds = Bounds {
    connects_per_minute: 12_000,
    connections_per_block: CONNECTIONS / 2,
    sockets_per_block: 0,
    bytes_per_connection: 128 * 1024,
    bytes_per_block: 4 * 1024 * 1024,
    bytes: 8 * 1024 * 1024,
};
/// For a request's head, its body, a write to make progress, and between two requests of one connection.
const CLIENT_TIME: Duration = Duration::from_secs(30);
/// Largest request body.
const BODY_BYTES: u64 = 64 * 1024;
/// How often histograms are folded, so that they don't grow while nobody scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// `admin.listen` and `admin.token`.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// The address to listen at.
    pub listen: SocketAddr,
    /// The bearer token that callers must show; required beyond loopback.
    pub token: Option<Secret>,
}

impl From<&config::Admin> for AdminSettings {
    fn from(admin: &config::Admin) -> Self {
        Self { listen: admin.listen, token: admin.token.clone() }
    }
}

/// Sets the gauges that nobody sets until they are asked for.
pub type Sampler = Arc<dyn Fn() + Send + Sync>;

/// The reason why the admin listener can't open.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum AdminError {
    /// The listener would be reachable from elsewhere without a token.
    #[error("admin.listen {0} is beyond loopback: admin.token is required")]
    TokenRequired(SocketAddr),
    /// The address can't be listened at.
    #[error("listening on {listen}: {source}")]
    Listen { listen: SocketAddr, source: io::Error },
}

/// The listening socket.
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
}

impl Admin {
    /// Takes the address; refused beyond loopback without a token.
    pub async fn open(settings: AdminSettings) -> Result<Self, AdminError> {
        let AdminSettings { listen, token } = settings;
        let token = token.filter(|token| !token.is_empty());
        if !listen.ip().to_canonical().is_loopback() && token.is_none() {
            return Err(AdminError::TokenRequired(listen));
        }
        let wrong = |source| AdminError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { listener, address, token })
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `end`, so through the drain too. `sample` is called before each answer of `/metrics`. `more`: further
    /// routes, behind the same rules.
    pub async fn serve(
        self,
        readiness: ReadinessSource,
        metrics: PrometheusHandle,
        sample: Sampler,
        more: Router,
        end: CancellationToken,
    ) -> io::Result<()> {
        // It may have been made in another runtime, whose driver must not be waited for.
        let listener = TcpListener::from_std(self.listener.into_std()?)?;
        let connections = Connections::new(listener, metrics::counter!("confgate_admin_accept_errors_total"))?;
        let gate = Gate { token: self.token, beyond_loopback: !self.address.ip().to_canonical().is_loopback() };
        let router =
            routes(readiness, metrics.clone(), sample).merge(more).layer(from_fn_with_state(Arc::new(gate), admit));
        tokio::select! {
            () = end.cancelled() => {}
            () = accept(connections, router, end.clone()) => {}
            () = upkeep(metrics) => {}
        }
        Ok(())
    }
}

fn routes(readiness: ReadinessSource, metrics: PrometheusHandle, sample: Sampler) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readyz(&readiness()) }))
        .route("/metrics", get(move || async move { prometheus_text(&metrics, &sample) }))
}

fn prometheus_text(metrics: &PrometheusHandle, sample: &Sampler) -> Response {
    sample();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// The condition of access: see [`admit`].
struct Gate {
    token: Option<Secret>,
    beyond_loopback: bool,
}

/// Beyond loopback every request shows the token. On loopback a configured token is asked for too, but not by the two
/// probes. A request from a web page is refused: the operator's own browser may be on this machine.
async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not for web pages").into_response();
    }
    let probe = matches!(request.uri().path(), "/livez" | "/readyz");
    let required = gate.token.as_ref().filter(|_| gate.beyond_loopback || !probe);
    if required.is_some_and(|token| !authorization(request.headers()).is_some_and(|shown| token.matches(shown))) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "admin.token is required").into_response();
    }
    next.run(request).await
}

async fn accept(mut connections: Connections, router: Router, end: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let accounts = Accounts::new(BOUNDS);
    loop {
        let (stream, peer) = connections.next().await;
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            refused("limit");
            continue;
        };
        let account = match accounts.connect(peer) {
            Ok(account) => account,
            Err(full) => {
                refused(if full == Full::Rate { "rate" } else { "block" });
                continue;
            }
        };
        let (router, end) = (router.clone(), end.clone());
        tokio::spawn(async move {
            let _slot = slot;
            if let Some(Err(error)) = end.run_until_cancelled(handle_connection(stream, peer, account, router)).await {
                tracing::debug!(%peer, %error, "admin connection cut");
            }
        });
    }
}

fn refused(reason: &'static str) {
    metrics::counter!("confgate_admin_connections_refused_total", "reason" => reason).increment(1);
}

async fn handle_connection(
    stream: TcpStream,
    peer: IpAddr,
    account: Arc<Account>,
    router: Router,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let (router, account) = (router.clone(), account.clone());
        let held = Arc::new(Held::nothing(account.clone()));
        let bound = |body| BoundedBody::new(body, BODY_BYTES, CLIENT_TIME).counting(held, 0);
        let handle = async move |mut request: Request| {
            request.extensions_mut().insert(Client { address: peer, account });
            router.oneshot(request).await.unwrap_or_else(|never| match never {})
        };
        async move { Ok::<_, Infallible>(answered(request, bound, handle).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIME)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, CLIENT_TIME)), service)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::post;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn ready(phase: Phase) -> Readiness {
        let (name, reason) = ("store".to_owned(), String::new());
        let store = Part { name, state: PartState::Up, since: 1_700_000_000_000, vital: true, reason };
        Readiness { phase, parts: vec![store] }
    }

    fn guarded(token: Option<&str>, beyond_loopback: bool) -> Router {
        let gate = Gate { token: token.map(Secret::new), beyond_loopback };
        let source: ReadinessSource = Arc::new(|| ready(Phase::Serving));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let more = Router::new().route("/rest-api/pull/pull", post(|| async { "pulled" }));
        routes(source, metrics, Arc::new(|| {})).merge(more).layer(from_fn_with_state(Arc::new(gate), admit))
    }

    async fn status(router: &Router, path: &str, header: Option<(&str, &str)>) -> u16 {
        let mut request = Request::builder().uri(path);
        if path.starts_with("/rest-api") {
            request = request.method("POST");
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).expect("a request");
        router.clone().oneshot(request).await.expect("infallible").status().as_u16()
    }

    #[tokio::test]
    async fn beyond_loopback_every_route_demands_the_token() {
        let router = guarded(Some("t0ken"), true);
        for path in ["/livez", "/readyz", "/metrics", "/rest-api/pull/pull"] {
            assert_eq!(status(&router, path, None).await, 401, "{path}");
            assert_eq!(status(&router, path, Some(("authorization", "Bearer wrong"))).await, 401, "{path}");
            assert_eq!(status(&router, path, Some(("authorization", "Basic t0ken"))).await, 401, "{path}");
            assert_eq!(status(&router, path, Some(("authorization", "Bearer t0ken"))).await, 200, "{path}");
        }
    }

    #[tokio::test]
    async fn on_loopback_the_probes_need_no_token() {
        let router = guarded(Some("t0ken"), false);
        assert_eq!(status(&router, "/livez", None).await, 200);
        assert_eq!(status(&router, "/readyz", None).await, 200);
        assert_eq!(status(&router, "/rest-api/pull/pull", None).await, 401);
        let router = guarded(None, false);
        assert_eq!(status(&router, "/metrics", None).await, 200);
        assert_eq!(status(&router, "/rest-api/pull/pull", None).await, 200);
    }

    #[tokio::test]
    async fn a_web_page_is_refused() {
        let router = guarded(None, false);
        assert_eq!(status(&router, "/rest-api/pull/pull", Some(("origin", "https://a"))).await, 403);
    }

    #[tokio::test]
    async fn beyond_loopback_without_a_token_it_does_not_start() {
        for token in [None, Some(Secret::new(""))] {
            let listen = "0.0.0.0:0".parse().expect("an address");
            assert!(matches!(Admin::open(AdminSettings { listen, token }).await, Err(AdminError::TokenRequired(_))));
        }
        let settings = |listen: &str| AdminSettings { listen: listen.parse().expect("an address"), token: None };
        assert!(Admin::open(settings("127.0.0.1:0")).await.is_ok());
    }

    #[tokio::test]
    async fn it_answers_on_a_real_socket_until_its_end() {
        let settings = AdminSettings { listen: "127.0.0.1:0".parse().expect("an address"), token: None };
        let admin = Admin::open(settings).await.expect("open");
        let address = admin.address();
        let source: ReadinessSource = Arc::new(|| ready(Phase::Draining));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let end = CancellationToken::new();
        let serving = tokio::spawn(admin.serve(source, metrics, Arc::new(|| {}), Router::new(), end.clone()));
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"draining\""), "{answer}");
        end.cancel();
        serving.await.expect("ended").expect("served");
    }
}
