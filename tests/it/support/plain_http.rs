//! One request over plain HTTP, on a connection of its own: for the admin listener and for chromedriver.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The reply's status and body.
pub async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> std::io::Result<(StatusCode, String)> {
    let socket = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await.map_err(std::io::Error::other)?;
    // Ends with the exchange: the sender's end closes it.
    tokio::spawn(connection);
    let reply = sender.send_request(request).await.map_err(std::io::Error::other)?;
    let status = reply.status();
    let body = reply.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A GET.
pub async fn get(address: SocketAddr, path: &str) -> std::io::Result<(StatusCode, String)> {
    let request = Request::get(path).header("host", address.to_string()).body(Full::default());
    exchange(address, request.map_err(std::io::Error::other)?).await
}
