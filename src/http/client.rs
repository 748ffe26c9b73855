//! A small HTTP client: one request, one bounded answer, a connection of its own, no redirects. For the command line, and
//! for servers with WHIP, whose sessions begin and end too seldom for a pool of connections.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls_client::{self, Io, Trust};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// From the first look-up to the last byte of the answer.
const WITHIN: Duration = Duration::from_secs(30);

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "a variant's sentence tells of its fields")]
pub enum ClientError {
    /// The address can't be used.
    #[error("{0:?} is not an address like https://meet.example.org/gzbwclient/jsonrpc")]
    Url(String),
    /// The certificates to trust can't be used.
    #[error("{0}")]
    Roots(String),
    /// There are no certificates to trust.
    #[error("no root certificates on this system; name one with --ca")]
    NoRoots,
    /// The host can't be reached.
    #[error("{host}: {}", tls_client::words(source))]
    Connect { host: String, source: io::Error },
    /// The connection has failed.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer can't be used.
    #[error("the answer can't be read: {0}")]
    Answer(String),
    /// No answer in time.
    #[error("no answer within {} s", WITHIN.as_secs())]
    Time,
}

/// Sends `body` (JSON) to an `https` address and returns the answer's status and body (at most 1 MiB).
///
/// The server's certificate must be signed by the system's roots, or, with `ca`, by one in that PEM file (a self-signed
/// server certificate counts as its own root). `headers` are added to `Content-Type` and `Accept`.
pub async fn post_json(
    url: &str,
    headers: HeaderMap,
    body: Bytes,
    ca: Option<&Path>,
) -> Result<(StatusCode, Bytes), ClientError> {
    tokio::time::timeout(WITHIN, post(url, headers, body, ca)).await.map_err(|_| ClientError::Time)?
}

async fn post(
    url: &str,
    headers: HeaderMap,
    body: Bytes,
    ca: Option<&Path>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let wrong = || ClientError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)).ok_or_else(wrong)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).body(Full::new(body)).map_err(|_| wrong())?;
    *request.headers_mut() = headers;
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json.clone());
    request.headers_mut().insert(header::ACCEPT, json);
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?);

    let stream = connect(authority.host(), authority.port_u16().unwrap_or(443), tls_config(ca)?).await?;
    let (head, body) = exchange(stream, request, MAX_ANSWER_BYTES).await?.into_parts();
    Ok((head.status, body))
}

/// Sends the request over that connection, which is its own and closed after it, and reads the whole answer, of so many
/// bytes at most. The caller bounds the time.
///
/// # Errors
/// [`ClientError::Http`] or [`ClientError::Answer`].
pub async fn exchange(
    io: impl Io,
    request: Request<Full<Bytes>>,
    answer_max: usize,
) -> Result<Response<Bytes>, ClientError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, answer_max).collect().await;
        let body = body.map_err(|error| ClientError::Answer(error.to_string()))?.to_bytes();
        Ok::<_, ClientError>(Response::from_parts(head, body))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven here, beside the exchange: it ends with it, and no task is left behind.
    tokio::select! {
        answer = &mut exchange => answer,
        // A server may answer and be gone at once: what it has said counts.
        ended = connection => match (exchange.await, ended) {
            (Err(_), Err(error)) => Err(error.into()),
            (outcome, _) => outcome,
        }
    }
}

async fn connect(host: &str, port: u16, config: ClientConfig) -> Result<TlsStream<TcpStream>, ClientError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |source| ClientError::Connect { host: format!("{host}:{port}"), source };
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| ClientError::Url(host.to_owned()))?;
    let stream = TcpStream::connect((bare, port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)
}

fn tls_config(ca: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let trust = match ca {
        Some(path) => Trust::nothing().and_file(path).map_err(ClientError::Roots)?,
        None => Trust::system(),
    };
    trust.client().map_err(|_| ClientError::NoRoots)
}
