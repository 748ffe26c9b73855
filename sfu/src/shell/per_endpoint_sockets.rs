//! Sockets of streams that the node pulls from other nodes: one for each, see [`crate::Worker::pull`].

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use str0m::net::Protocol;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::mailbox::{DATAGRAM_MAX, Incoming};
use super::udp::{bind, canonical, mapped};
use crate::protocol::EndpointId;
use crate::worker::Socket;

/// Owned by a media thread.
pub(crate) struct PerEndpointSockets {
    sockets: HashMap<EndpointId, EndpointSocket>,
    incoming: mpsc::Sender<Incoming>,
}

struct EndpointSocket {
    socket: Arc<UdpSocket>,
    is_ipv6: bool,
    /// Ends with this.
    reader: JoinHandle<()>,
}

impl Drop for EndpointSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl PerEndpointSockets {
    pub(crate) fn new(incoming: mpsc::Sender<Incoming>) -> PerEndpointSockets {
        PerEndpointSockets { sockets: HashMap::new(), incoming }
    }

    /// Opens the endpoint's socket at a free port of the address; gives the port.
    pub(crate) fn open(&mut self, endpoint: EndpointId, at: SocketAddr) -> io::Result<u16> {
        let socket = Arc::new(UdpSocket::from_std(bind(SocketAddr::new(at.ip(), 0))?)?);
        let port = socket.local_addr()?.port();
        let reader = tokio::spawn(read(endpoint, Arc::clone(&socket), self.incoming.clone()));
        self.sockets.insert(endpoint, EndpointSocket { socket, is_ipv6: at.is_ipv6(), reader });
        Ok(port)
    }

    /// Whether the kernel took the datagram.
    pub(crate) fn send(&self, endpoint: EndpointId, bytes: &[u8], to: SocketAddr) -> bool {
        let own = self.sockets.get(&endpoint);
        own.is_some_and(|own| own.socket.try_send_to(bytes, mapped(to, own.is_ipv6)).is_ok())
    }

    pub(crate) fn close(&mut self, endpoint: EndpointId) {
        self.sockets.remove(&endpoint);
    }
}

async fn read(endpoint: EndpointId, socket: Arc<UdpSocket>, to: mpsc::Sender<Incoming>) {
    let mut buffer = [0; DATAGRAM_MAX];
    while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
        let bytes = buffer[..length].to_vec();
        let incoming =
            Incoming { socket: Socket::Of(endpoint), proto: Protocol::Udp, source: canonical(source), bytes };
        if to.send(incoming).await.is_err() {
            return;
        }
    }
}
