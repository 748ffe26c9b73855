//! The library's runtime, tokio, with connections that we made ourselves in place of its own TCP streams: it needs no TLS
//! of its own then, and no connection outlives its owner.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_compat::Compat;
use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::DummyIO;
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};

use crate::tls_client::Io;

/// A connection, over TCP or TLS.
pub(super) type Transport = Compat<Box<dyn Io>>;

/// tokio, which makes no connections.
#[derive(Debug, Clone)]
pub(super) struct Transports(pub Tokio);

impl Reactor for Transports {
    type TcpStream = Transport;
    type Sleep = tokio::time::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, pause: Duration) -> Self::Sleep {
        self.0.sleep(pause)
    }

    fn interval(&self, pause: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(pause)
    }

    fn tcp_connect_addr(&self, _: SocketAddr) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
