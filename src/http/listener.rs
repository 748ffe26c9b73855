//! The accept loop, and the end of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::HttpSettings;
use super::accept::Connections;
use super::connection::ConnectionServer;
use super::guard::{Guard, GuardError, Neighbours};
use super::service::{Handler, ServiceState};
use super::slot::{Slot, refused, refused_by};
use super::stop::SoftStop;
use super::tls::{Tls, TlsError};
use crate::rate_limit::account::Accounts;

/// The reason why the listener can't start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum ListenError {
    /// The address can't be listened at.
    #[error("listening on {listen}: {source}")]
    Listen { listen: String, source: io::Error },
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An allowed origin can't be used.
    #[error(transparent)]
    Origin(#[from] GuardError),
}

/// The listening socket with all that it needs to serve.
pub struct HttpServer {
    connections: Connections,
    address: SocketAddr,
    settings: HttpSettings,
    guard: Guard,
    tls: Tls,
    slots: Arc<Semaphore>,
    accounts: Accounts,
}

impl HttpServer {
    /// Takes the address and loads (or makes) the certificate. Connections wait in the system's queue until
    /// [`serve`](Self::serve).
    pub async fn open(settings: HttpSettings) -> Result<Self, ListenError> {
        let guard = Guard::new(&settings.guard)?;
        let listen = |source| ListenError::Listen { listen: settings.listen.clone(), source };
        let listener = TcpListener::bind(&settings.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let errors = metrics::counter!("confgate_http_accept_errors_total");
        let connections = Connections::new(listener, errors).map_err(listen)?;
        // Only now: who can't have the address makes no certificate either.
        let tls = Tls::load(settings.certificate.files()?)?;
        let slots = Arc::new(Semaphore::new(settings.connections as usize));
        let accounts = Accounts::new(settings.bounds);
        Ok(Self { connections, address, settings, guard, tls, slots, accounts })
    }

    /// The accounts of its clients.
    pub fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// The other gateway nodes, as its guard knows them.
    pub fn neighbours(&self) -> Neighbours {
        self.guard.neighbours()
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has `handler` answer until `soft`; then takes no more connections and returns when the requests under way are
    /// answered and every socket, upgraded ones too, is closed, or at `hard`.
    pub async fn serve(self, handler: Handler, soft: CancellationToken, hard: CancellationToken) {
        let Self { connections, settings, guard, tls, slots, accounts, .. } = self;
        let answers = Arc::new(ServiceState {
            handler,
            guard,
            admission: settings.admission.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            accounts: accounts.clone(),
            body_bytes: settings.body_bytes,
            body_within: settings.timeouts.body,
            responses: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| metrics::counter!("confgate_http_responses_total", "class" => class)),
        });
        let server = Arc::new(ConnectionServer::new(tls, answers, settings.admission.clone(), settings.timeouts));
        let (stop, tasks) = (SoftStop::default(), TaskTracker::new());
        let acceptor = Acceptor { settings, accounts, slots, server, stop, hard, tasks };
        tokio::select! {
            () = acceptor.stop.follow(&soft) => {}
            () = acceptor.accept(connections) => acceptor.drain().await,
            () = acceptor.server.tls.watch(acceptor.settings.timeouts.certificate_check) => {}
        }
    }
}

struct Acceptor {
    settings: HttpSettings,
    accounts: Accounts,
    slots: Arc<Semaphore>,
    server: Arc<ConnectionServer>,
    stop: SoftStop,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Acceptor {
    /// Until the soft stop; with its return the listening socket is closed, and who comes later is told so at once.
    async fn accept(&self, mut connections: Connections) {
        while let Some((stream, peer)) = self.stop.token().run_until_cancelled(connections.next()).await {
            self.admit(stream, peer);
        }
    }

    /// Starts the connection's task, or closes the connection by dropping it.
    fn admit(&self, stream: TcpStream, peer: IpAddr) {
        // A trusted proxy's own address is not its clients': the clients are checked when the proxy has named them.
        let trusted = self.settings.trusted_proxies.contains(peer);
        if !trusted && !self.settings.admission.admits(peer) {
            refused("network");
            tracing::debug!(%peer, "network not allowed");
            return;
        }
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            refused("limit");
            tracing::debug!(%peer, limit = self.settings.connections, "too many connections");
            return;
        };
        let account = if trusted { None } else { Some(self.accounts.connect(peer)) };
        let account = match account.transpose() {
            Ok(account) => account,
            Err(full) => {
                refused_by(full);
                tracing::debug!(%peer, reason = %full, "connection refused");
                return;
            }
        };
        let slot = Slot::new(permit);
        let serving = self.server.clone().serve(stream, peer, account, slot, self.stop.clone(), self.hard.clone());
        self.tasks.spawn(serving);
    }

    async fn drain(&self) {
        self.tasks.close();
        let closed = async {
            self.tasks.wait().await;
            // Upgraded sockets have left their connection's task: all are closed when all slots are back.
            let _all = self.slots.acquire_many(self.settings.connections).await;
        };
        self.hard.run_until_cancelled(closed).await;
    }
}
