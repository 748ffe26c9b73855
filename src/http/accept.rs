//! Taking connections from a listening socket, whatever becomes of single ones.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metrics::Counter;
use tokio::net::{TcpListener, TcpStream};

use crate::clock::backoff::Backoff;

/// Waits after an accept that failed for want of something (files, memory): the first, and the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The connections of one listening socket.
pub struct Connections {
    listener: TcpListener,
    address: SocketAddr,
    backoff: Backoff,
    errors: Counter,
}

impl Connections {
    /// `errors` counts what the system refuses.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn new(listener: TcpListener, errors: Counter) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, backoff: Backoff::new(BACKOFF_MIN, BACKOFF_MAX), errors })
    }

    /// The next connection, and its peer's address.
    pub async fn next(&mut self) -> (TcpStream, IpAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.backoff.reset();
                    return (stream, peer.ip().to_canonical());
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.errors.increment(1);
                    let pause = self.backoff.pause(false, rand::random());
                    let wait_ms = pause.as_millis() as u64;
                    tracing::warn!(listen = %self.address, %error, wait_ms, "can't accept connections");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Errors that concern the one connection which was about to be accepted (accept(2)); the next may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | PermissionDenied)
}
