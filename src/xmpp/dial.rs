//! How a link's stream comes about: where to, as whom.

use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::ids::{Secret, UserId};
use crate::tls_client::Io;
use crate::xmpp::negotiate::client::{self, Security};
use crate::xmpp::negotiate::tls::Tls;
use crate::xmpp::negotiate::{ConnectError, component_client};
use crate::xmpp::stream::XmppStream;

/// Bytes in flight each way on an in-process pipe.
const PIPE_BYTES: usize = 64 * 1024;

/// The way to the built-in EIM: each connection attempt sends it the far end of a new pipe.
#[derive(Clone)]
pub struct InProcess {
    /// The built-in EIM's listener.
    pub connect: mpsc::Sender<DuplexStream>,
}

/// Where the far end is.
#[derive(Clone)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Endpoint {
    /// The built-in EIM in this process.
    InProcess(InProcess),
    /// A server.
    Tcp { host: String, port: u16 },
}

impl Endpoint {
    async fn open(&self) -> Result<Box<dyn Io>, ConnectError> {
        match self {
            Self::InProcess(eim) => {
                let (here, there) = tokio::io::duplex(PIPE_BYTES);
                let gone = |_| ConnectError::Refused("the built-in EIM has stopped".into());
                eim.connect.send(there).await.map_err(gone)?;
                Ok(Box::new(here))
            }
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // A stanza alone must not wait for the acknowledgement of the one before (40 ms and more).
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// As whom a stream is opened.
#[derive(Clone)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum Dial {
    /// XEP-0114. `tls`: with the name that the certificate must bear. `beside`: a domain that it speaks from beside its
    /// own.
    Component { endpoint: Endpoint, domain: String, secret: Secret, tls: Option<(Tls, String)>, beside: Option<String> },
    /// A user's session.
    Session { endpoint: Endpoint, domain: String, security: Security, user: UserId, password: Secret, resource: String },
}

/// A stream that carries stanzas.
pub struct Connected {
    /// The stream.
    pub stream: XmppStream,
    /// Our address on it: the component's domain, or the session's full JID.
    pub address: String,
    /// The addresses that an absent `from` stands for.
    pub implied: Vec<String>,
}

impl Dial {
    /// Connects and authenticates within `limit`.
    pub async fn connect(&self, limit: Duration) -> Result<Connected, ConnectError> {
        let late = |_| ConnectError::Timeout(limit.as_millis() as u64);
        timeout(limit, self.connect_at_leisure()).await.map_err(late)?
    }

    async fn connect_at_leisure(&self) -> Result<Connected, ConnectError> {
        match self {
            Self::Component { endpoint, domain, secret, tls, beside } => {
                let mut io = endpoint.open().await?;
                if let Some((tls, name)) = tls {
                    io = tls.connect(name, io).await?;
                }
                let stream = component_client(io, domain, secret, beside.as_deref()).await?;
                Ok(Connected { stream, address: domain.clone(), implied: Vec::new() })
            }
            Self::Session { endpoint, domain, security, user, password, resource } => {
                let offer = client::open(endpoint.open().await?, domain, security).await?;
                let offer = client::authenticate(offer, domain, user, password).await?;
                let (stream, address) = client::bind(offer, resource).await?;
                let implied = vec![format!("{user}@{domain}"), domain.clone(), address.clone()];
                Ok(Connected { stream, address, implied })
            }
        }
    }
}

/// Opens a client stream and reads what the server offers, for who only wants to see or to prove a password.
pub async fn offer(endpoint: &Endpoint, domain: &str, security: &Security) -> Result<client::Offer, ConnectError> {
    client::open(endpoint.open().await?, domain, security).await
}
