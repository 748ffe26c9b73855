//! A TCP link that can be cut, stalled and mended on purpose.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A kilobyte a second, in parts.
const SLOW_PART: usize = 100;
const SLOW_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    /// Bytes pass.
    Up,
    /// They pass, a kilobyte a second in each direction of each connection.
    Slow,
    /// Connections stay open, are accepted too, and nothing passes: a network that swallows packets.
    Stalled,
    /// Connections are closed, and new ones at once: a server that isn't there.
    Cut,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    state: LinkState,
    /// How often it was cut: a connection made before the last cut is gone, even if the link was mended at once.
    cuts: u64,
}

/// Forwards connections to a server for as long as it lives.
pub struct ChaosProxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    acceptor: JoinHandle<()>,
}

impl ChaosProxy {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (link, state) = watch::channel(Link { state: LinkState::Up, cuts: 0 });
        let acceptor = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, state.clone()));
            }
        });
        Self { address, link, acceptor }
    }

    /// The address to connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and every new one until [`ChaosProxy::restore`].
    pub fn cut(&self) {
        self.link.send_modify(|link| *link = Link { state: LinkState::Cut, cuts: link.cuts + 1 });
    }

    /// Holds back every byte of both directions until [`ChaosProxy::restore`].
    pub fn stall(&self) {
        self.link.send_modify(|link| link.state = LinkState::Stalled);
    }

    /// Lets a kilobyte a second through until [`ChaosProxy::restore`].
    pub fn slow(&self) {
        self.link.send_modify(|link| link.state = LinkState::Slow);
    }

    /// Bytes pass again, those held back first.
    pub fn restore(&self) {
        self.link.send_modify(|link| link.state = LinkState::Up);
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.cut();
        self.acceptor.abort();
    }
}

async fn carry(near: TcpStream, server: SocketAddr, link: watch::Receiver<Link>) {
    let Link { state, cuts } = *link.borrow();
    if state == LinkState::Cut {
        return;
    }
    let mut cut = link.clone();
    tokio::select! {
        () = both_ways(near, server, link) => {}
        // Ends when the proxy does, too. The sockets close as they are dropped.
        _ = cut.wait_for(|link| link.cuts != cuts) => {}
    }
}

async fn both_ways(near: TcpStream, server: SocketAddr, mut link: watch::Receiver<Link>) {
    // A stalled network does not let a connection through either.
    if link.wait_for(|link| link.state != LinkState::Stalled).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(server).await else { return };
    // Any latency comes from the two ends.
    let nodelay = [near.set_nodelay(true), far.set_nodelay(true)];
    assert!(nodelay.iter().all(Result::is_ok), "a connected socket takes options");
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(pump(near_read, far_write, link.clone()), pump(far_read, near_write, link));
}

/// One direction, until its reader ends; the writer then learns that nothing more comes.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut bytes).await {
        let mut rest = &bytes[..n];
        if rest.is_empty() {
            return;
        }
        while !rest.is_empty() {
            let Ok(state) = link.wait_for(|link| link.state != LinkState::Stalled).await.map(|link| link.state) else {
                return;
            };
            let part = if state == LinkState::Slow { rest.len().min(SLOW_PART) } else { rest.len() };
            if to.write_all(&rest[..part]).await.is_err() {
                return;
            }
            rest = &rest[part..];
            if state == LinkState::Slow {
                // Restored, the rest passes at once.
                let _ = timeout(SLOW_PAUSE, link.wait_for(|link| link.state != LinkState::Slow)).await;
            }
        }
    }
}
