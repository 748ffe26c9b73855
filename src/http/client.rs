//! A small HTTPS client for the command line: one POST, one bounded answer, no redirects.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls_client::{self, Trust};

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
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let limited = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = limited.map_err(|error| ClientError::Answer(error.to_string()))?.to_bytes();
        Ok::<_, ClientError>((status, body))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven here, beside the exchange: it ends with it, and no task is left behind.
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => {
            ended?;
            exchange.await
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
