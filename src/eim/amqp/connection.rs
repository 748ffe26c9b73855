//! One connection to the broker with one channel. The library's thread for it ends with it in any case.

use std::net::{Shutdown, TcpStream as StdStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_compat::Compat;
use async_rs::Tokio;
use async_rs::util::RuntimeParts;
use lapin::options::ExchangeDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Error, ErrorKind, ExchangeKind};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Settings;
use super::transport::{Transport, Transports};
use crate::sync;
use crate::tls_client::{Io, Trust, words};

/// How long closing in order may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no connection any more, or none yet.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub(super) struct BrokerError {
    /// For operators; without the password.
    pub why: String,
    /// Only an operator can help: a wrong password, a certificate that isn't trusted.
    pub lasting: bool,
}

impl BrokerError {
    fn passing(why: impl ToString) -> Self {
        Self { why: why.to_string(), lasting: false }
    }

    fn lasting(why: impl ToString) -> Self {
        Self { why: why.to_string(), lasting: true }
    }
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        Self::passing(error)
    }
}

/// Why the broker doesn't let us in: for a refusal of the user, the vhost or the exchange only an operator can help.
fn refused(error: Error) -> BrokerError {
    let lasting = matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(
        error.kind(),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
            | AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED)
    ));
    BrokerError { lasting, ..error.into() }
}

/// A connection and its channel. Dropped: the socket is shut down, and the library's thread ends.
pub(super) struct Session {
    pub connection: Connection,
    pub channel: Channel,
    limit: Duration,
    _socket: Socket,
}

/// The socket that the library's thread reads.
struct Socket(StdStream);

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Session {
    /// Connects, logs in, opens the channel and declares the exchange. `name` is what the broker's operator sees.
    pub async fn open(settings: &Settings, name: &str) -> Result<Self, BrokerError> {
        let limit = settings.timeout;
        let silent = |_| BrokerError::passing(format!("no answer within {} ms", limit.as_millis()));
        let (stream, socket) = timeout(limit, dial(settings)).await.map_err(silent)??;
        let opened = timeout(limit, Self::handshake(settings, name, stream)).await.map_err(silent)?;
        let (connection, channel) = opened?;
        Ok(Self { connection, channel, limit, _socket: socket })
    }

    async fn handshake(
        settings: &Settings,
        name: &str,
        stream: Transport,
    ) -> Result<(Connection, Channel), BrokerError> {
        let runtime = async_rs::Runtime::new(RuntimeParts::new(Tokio::current(), Transports(Tokio::current())));
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let stream = Mutex::new(Some(stream));
        // The library would connect again by itself; only we do.
        let connect = async move |_, _| sync::lock(&stream).take().map(AsyncTcpStream::Plain).ok_or_else(gone);
        let connecting = Connection::connector(settings.uri.clone(), runtime, connect, properties);
        let connection = connecting.await.map_err(refused)?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = settings.exchange.as_str().into();
        let declared = channel.exchange_declare(exchange, ExchangeKind::Topic, durable, FieldTable::default());
        declared.await.map_err(refused)?;
        Ok((connection, channel))
    }

    /// The answer to one request, in time.
    pub async fn within<T>(&self, request: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
        match timeout(self.limit, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(BrokerError::passing(format!("no answer within {} ms", self.limit.as_millis()))),
        }
    }

    /// Closes the connection in order, if the broker takes part.
    pub async fn close(self) {
        // The socket is closed in any case.
        let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "".into())).await;
    }
}

fn gone() -> Error {
    Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
}

/// The transport, and what ends it.
async fn dial(settings: &Settings) -> Result<(Transport, Socket), BrokerError> {
    let (host, port) = (settings.uri.authority.host.as_str(), settings.uri.authority.port);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(BrokerError::passing)?;
    stream.set_nodelay(true).map_err(BrokerError::passing)?;
    let stream = stream.into_std().map_err(BrokerError::passing)?;
    let socket = Socket(stream.try_clone().map_err(BrokerError::passing)?);
    let stream = TcpStream::from_std(stream).map_err(BrokerError::passing)?;
    if settings.uri.scheme == AMQPScheme::AMQP {
        return Ok((Compat::new(Box::new(stream)), socket));
    }
    let trust = match &settings.ca {
        Some(path) => Trust::nothing().and_file(path).map_err(BrokerError::lasting)?,
        None => Trust::system(),
    };
    let connector = TlsConnector::from(Arc::new(trust.client().map_err(BrokerError::lasting)?));
    let name = ServerName::try_from(bare.to_owned()).map_err(BrokerError::lasting)?;
    let secure = connector.connect(name, stream).await.map_err(|error| BrokerError::lasting(words(&error)))?;
    Ok((Compat::new(Box::new(secure) as Box<dyn Io>), socket))
}

/// Whether the broker lets us in, for `confgate check`.
///
/// # Errors
/// Why not, for operators.
pub async fn try_broker(settings: &Settings) -> Result<String, String> {
    let session = Session::open(settings, "confgate check").await.map_err(|error| error.why)?;
    session.close().await;
    Ok(format!("{}:{}, exchange {}", settings.uri.authority.host, settings.uri.authority.port, settings.exchange))
}
