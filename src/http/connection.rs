//! One connection, from the first byte to the last answer.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, ActivityStream, IdleDecision};
use super::flood::Counted;
use super::networks::Admission;
use super::self_wake_guard::SelfWakeGuard;
use super::service::{Caller, ServiceState};
use super::slot::{Slot, refused, refused_by};
use super::stop::SoftStop;
use super::tls::Tls;
use super::{Timeouts, proxy};
use crate::http::write_timeout::WriteTimeout;
use crate::rate_limit::account::{Account, Full};

/// Longest request line and header fields together, in bytes: room for a token and a few resume positions in the query.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Longest stretch of a body that HTTP/1.1 buffers for a reader.
pub const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection. RFC 9113, section 6.5.2, recommends no less than 100.
const MAX_STREAMS: u32 = 100;
/// Bytes that one HTTP/2 stream, and all of a connection's streams together, may send before they are read. The rest of
/// a body comes as it is read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Bytes that all streams of an HTTP/2 connection may send before they are read.
pub const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// Largest HTTP/2 frame, and HPACK's table: the least that there may be, and the usual one.
const MAX_FRAME_BYTES: u32 = 16 * 1024;
const HEADER_TABLE_BYTES: u32 = 4096;
/// Bytes that HTTP/2 itself buffers for each stream of a client that does not read.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// Streams that a client may open and reset before we have seen them; one more ends the connection (rapid reset).
const MAX_PENDING_RESETS: usize = 20;
/// Streams that we may have to reset for what the client did wrong on them; one more ends the connection.
const MAX_OWN_RESETS: usize = 100;

/// The shared state that serves all connections.
pub struct ConnectionServer {
    pub tls: Tls,
    pub answers: Arc<ServiceState>,
    pub admission: Admission,
    pub timeouts: Timeouts,
    http1: hyper::server::conn::http1::Builder,
    http2: hyper::server::conn::http2::Builder<TokioExecutor>,
}

/// The soft stop comes first; until then the hard one is not looked at.
struct Stops {
    soft: SoftStop,
    hard: CancellationToken,
}

/// The reason why a connection ended other than in good order. Logged at debug: clients come and go as they like.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("socket: {0}")]
    Socket(io::Error),
    #[error("PROXY header: {0}")]
    Proxy(io::Error),
    #[error("no PROXY header in time")]
    ProxyTime,
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("no TLS handshake in time")]
    HandshakeTime,
    #[error("no request's head in time")]
    SlowHead,
    #[error("an answer isn't taken in time")]
    Stuck,
    #[error("connection of that address block: {0}")]
    Full(Full),
    #[error("too many frames that carry nothing")]
    Flood,
    #[error("HTTP: {0}")]
    Http(hyper::Error),
}

impl ConnectionServer {
    pub fn new(tls: Tls, answers: Arc<ServiceState>, admission: Admission, timeouts: Timeouts) -> Self {
        let mut http1 = hyper::server::conn::http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None) // ours distinguishes a slow head from an idle connection
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_header_size(MAX_HEAD_BYTES);
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(MAX_FRAME_BYTES)
            .header_table_size(HEADER_TABLE_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_OWN_RESETS)
            .keep_alive_interval(timeouts.ping_interval)
            .keep_alive_timeout(timeouts.ping);
        Self { tls, answers, admission, timeouts, http1, http2 }
    }

    /// Serves one accepted socket until its end, until `soft` and the requests then under way, or until `hard`. Without
    /// an account the socket is a trusted proxy's, whose own address has no account.
    pub async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        account: Option<Arc<Account>>,
        slot: Slot,
        soft: SoftStop,
        hard: CancellationToken,
    ) {
        if let Err(cut) = self.handle_connection(stream, peer, account, slot, Stops { soft, hard }).await {
            count(&cut);
            tracing::debug!(%peer, reason = %cut, "connection cut");
        }
    }

    async fn handle_connection(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
        account: Option<Arc<Account>>,
        slot: Slot,
        stops: Stops,
    ) -> Result<(), ConnectionError> {
        stream.set_nodelay(true).map_err(ConnectionError::Socket)?;
        let (address, account) = match account {
            Some(account) => (peer, account),
            None => {
                let named = stops.soft.token().run_until_cancelled(self.behind_proxy(&mut stream, peer)).await;
                let Some(Some(named)) = named.transpose()? else { return Ok(()) };
                named
            }
        };
        let stream = WriteTimeout::new(stream, self.timeouts.write);
        let handshake = account.shake_hands(TlsAcceptor::from(self.tls.current()).accept(stream));
        let handshake = timeout(self.timeouts.tls_handshake, handshake);
        let Some(done) = stops.soft.token().run_until_cancelled(handshake).await else { return Ok(()) };
        let tls = done.map_err(|_| ConnectionError::HandshakeTime)?.map_err(ConnectionError::Handshake)?;
        self.serve_http(tls, address, account, slot, &stops).await
    }

    /// The client that a trusted proxy names by its PROXY header. `None`: the client is not let in.
    async fn behind_proxy(
        &self,
        stream: &mut TcpStream,
        proxy: IpAddr,
    ) -> Result<Option<(IpAddr, Arc<Account>)>, ConnectionError> {
        let read = timeout(self.timeouts.header, proxy::read(stream)).await;
        let address = read.map_err(|_| ConnectionError::ProxyTime)?.map_err(ConnectionError::Proxy)?.unwrap_or(proxy);
        let accounts = &self.answers.accounts;
        if address == proxy {
            return Ok(Some((proxy, accounts.behind_proxy(proxy))));
        }
        if !self.admission.admits(address) {
            refused("network");
            return Ok(None);
        }
        let account = accounts.connect(address).inspect_err(|full| refused_by(*full)).map_err(ConnectionError::Full)?;
        Ok(Some((address, account)))
    }

    /// HTTP/2 is what was agreed on by ALPN, and nothing else (RFC 9113, section 3.2).
    async fn serve_http(
        &self,
        tls: TlsStream<WriteTimeout>,
        address: IpAddr,
        account: Arc<Account>,
        slot: Slot,
        stops: &Stops,
    ) -> Result<(), ConnectionError> {
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let activity = Arc::new(Activity::new(Instant::now(), http2));
        let io = ActivityStream::new(
            TokioIo::new(Counted::new(tls, activity.clone())),
            activity.clone(),
            slot,
            account.clone(),
        );
        let caller = Arc::new(Caller {
            answers: self.answers.clone(),
            address,
            account: account.clone(),
            activity: activity.clone(),
        });
        let service = service_fn(move |request| {
            let caller = caller.clone();
            async move { Ok::<_, Infallible>(caller.respond(request).await) }
        });
        if http2 {
            drive(pin!(self.http2.serve_connection(io, service)), &activity, &account, &self.timeouts, stops).await
        } else {
            let connection = self.http1.serve_connection(io, service).with_upgrades();
            drive(pin!(connection), &activity, &account, &self.timeouts, stops).await
        }
    }
}

/// Runs a connection, and ends it by the clock or the stop.
async fn drive<C: Connection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    account: &Account,
    timeouts: &Timeouts,
    Stops { soft, hard }: &Stops,
) -> Result<(), ConnectionError> {
    let mut timer = pin!(sleep_until(Instant::now() + timeouts.header.min(timeouts.idle)));
    let mut ending = false;
    let rewoken = SelfWakeGuard::new();
    loop {
        tokio::select! {
            done = poll_fn(|cx| rewoken.poll(cx, connection.as_mut())) => return done.map_err(|error| {
                if activity.is_flooded() { ConnectionError::Flood } else { ConnectionError::Http(error) }
            }),
            () = soft.begun(), if !ending => {
                ending = true;
                connection.as_mut().end_in_order();
            }
            () = hard.cancelled(), if ending => return Ok(()),
            () = timer.as_mut() => {
                if account.is_condemned() {
                    return Err(ConnectionError::Stuck);
                }
                let now = Instant::now();
                match activity.patience(now, timeouts) {
                    IdleDecision::Until(then) => timer.as_mut().reset(then),
                    IdleDecision::SlowHead => return Err(ConnectionError::SlowHead),
                    IdleDecision::Stuck => return Err(ConnectionError::Stuck),
                    IdleDecision::Idle if ending => return Ok(()),
                    IdleDecision::Idle => {
                        ending = true;
                        connection.as_mut().end_in_order();
                        timer.as_mut().reset(now + timeouts.header);
                    }
                }
            }
        }
    }
}

/// The methods of HTTP/1.1 and HTTP/2 connections that [`drive`] needs.
trait Connection: Future<Output = hyper::Result<()>> {
    /// No new requests; those under way are answered.
    fn end_in_order(self: Pin<&mut Self>);
}

type Socket = ActivityStream<TokioIo<Counted<TlsStream<WriteTimeout>>>>;

impl<S> Connection for hyper::server::conn::http1::UpgradeableConnection<Socket, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = axum::body::Body> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end_in_order(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Connection for hyper::server::conn::http2::Connection<Socket, S, TokioExecutor>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = axum::body::Body> + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn end_in_order(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

fn count(cut: &ConnectionError) {
    let reason = match cut {
        ConnectionError::Socket(_) => "socket",
        ConnectionError::Proxy(_) | ConnectionError::ProxyTime => "proxy",
        ConnectionError::Handshake(_) | ConnectionError::HandshakeTime => {
            metrics::counter!("confgate_http_handshakes_failed_total").increment(1);
            return;
        }
        ConnectionError::SlowHead => "slow_head",
        ConnectionError::Stuck => "stuck",
        ConnectionError::Full(_) => return,
        ConnectionError::Flood => "flood",
        ConnectionError::Http(_) => "http",
    };
    metrics::counter!("confgate_http_connections_cut_total", "reason" => reason).increment(1);
}
