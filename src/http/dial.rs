//! Connections that this process opens, to call gateways and media servers: what we send there commands and what we hear
//! is believed, so over TLS the other end must prove who it is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::tls_client::{self, Fingerprint, Io, Trust};

/// Bytes read at once. tungstenite's default, 128 KiB, is really touched on every connection.
const READ_BUFFER: usize = 4096;

/// A WebSocket that this process has opened.
pub type Socket = WebSocketStream<Box<dyn Io>>;

/// The reason why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address can't be used.
    #[error("not an address of that kind")]
    Address,
    /// The host can't be reached.
    #[error("{0}")]
    Connect(io::Error),
    /// The TLS handshake has failed.
    #[error("TLS: {}", tls_client::words(.0))]
    Tls(io::Error),
    /// The server answers with that HTTP status.
    #[error("it answers {0}")]
    Status(u16),
    /// The upgrade to a WebSocket has failed.
    #[error("{0}")]
    Upgrade(String),
}

/// Opens a WebSocket with the offered subprotocols. The caller bounds the time.
///
/// # Errors
/// As far as it came.
pub async fn websocket(uri: &Uri, protocols: &str, tls: &Tls, message_max: usize) -> Result<Socket, DialError> {
    let protocols = HeaderValue::from_str(protocols).map_err(|_| DialError::Address)?;
    open(uri, Some(protocols), tls, message_max).await
}

/// The same without subprotocols.
///
/// # Errors
/// As far as it came.
pub async fn plain_websocket(uri: &Uri, tls: &Tls, message_max: usize) -> Result<Socket, DialError> {
    open(uri, None, tls, message_max).await
}

async fn open(uri: &Uri, protocols: Option<HeaderValue>, tls: &Tls, message_max: usize) -> Result<Socket, DialError> {
    if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
        return Err(DialError::Address);
    }
    let stream = stream(uri, tls).await?;
    let mut request = uri.into_client_request().map_err(|_| DialError::Address)?;
    if let Some(protocols) = protocols {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Io(error)) => Err(DialError::Connect(error)),
        Err(Error::Http(response)) => Err(DialError::Status(response.status().as_u16())),
        Err(error) => Err(DialError::Upgrade(error.to_string())),
    }
}

/// Opens a connection to an http(s) or ws(s) address, with TLS where it says so. The caller bounds the time.
///
/// # Errors
/// As far as it came.
pub async fn stream(uri: &Uri, tls: &Tls) -> Result<Box<dyn Io>, DialError> {
    let secure = match uri.scheme_str() {
        Some("wss" | "https") => true,
        Some("ws" | "http") => false,
        _ => return Err(DialError::Address),
    };
    let host = uri.host().ok_or(DialError::Address)?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(DialError::Connect)?;
    stream.set_nodelay(true).map_err(DialError::Connect)?;
    match secure {
        true => Ok(Box::new(tls.connect(host, stream).await.map_err(DialError::Tls)?)),
        false => Ok(Box::new(stream)),
    }
}

/// The certificates that outgoing connections trust. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    /// What the connector was made of; `None` where it trusts any certificate.
    trust: Option<Arc<Trust>>,
}

impl Tls {
    /// Trusts whom that connector trusts.
    pub fn of(connector: TlsConnector) -> Self {
        Self { connector, trust: None }
    }

    /// Trusts also the server that shows one of these certificates: for connections to that server only.
    ///
    /// # Errors
    /// There is nothing to trust.
    pub fn pinned(&self, pinned: &[Fingerprint]) -> Result<Self, String> {
        match &self.trust {
            Some(trust) if !pinned.is_empty() => Self::from_trust(Trust::clone(trust).and_pinned(pinned)),
            _ => Ok(self.clone()),
        }
    }

    fn from_trust(trust: Trust) -> Result<Self, String> {
        let connector = TlsConnector::from(Arc::new(trust.clone().client()?));
        Ok(Self { connector, trust: Some(Arc::new(trust)) })
    }

    /// Trusts what the system trusts, and the certificates in the PEM file `ca`: a node's own self-signed one serves.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(ca: Option<&Path>) -> Result<Self, String> {
        Self::trusting(ca.map(|path| ("callgw.ca", path)))
    }

    /// Trusts also the certificate that this process shows: its own nodes pull from each other as from any.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn load_with_own(ca: Option<&Path>, own: &Path) -> Result<Self, String> {
        Self::trusting(ca.map(|path| ("callgw.ca", path)).into_iter().chain([("http.cert", own)]))
    }

    fn trusting<'a>(files: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Result<Self, String> {
        let mut trust = Trust::system();
        for (key, path) in files {
            trust = trust.and_file(path).map_err(|why| format!("{key}: {why}"))?;
        }
        Self::from_trust(trust)
    }

    async fn connect(&self, host: &str, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.pem");
        std::fs::write(&path, "nothing here").unwrap();
        let wrong = Tls::load(Some(&path)).err().unwrap();
        assert!(wrong.contains("callgw.ca") && wrong.contains("nodes.pem"), "{wrong}");
    }
}
