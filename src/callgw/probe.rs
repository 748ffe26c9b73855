//! Whether a call gateway serves where its address leads: a connection, TLS where the address says so, and a WebSocket
//! that opens. Nothing less is health: members are given that very address.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsConnector;

use crate::clock::stall::patience;
use crate::http::dial::{self, DialError, Tls};
use crate::tls_client;

/// Nothing that a node sends by itself is larger.
const MESSAGE_MAX: usize = 64 * 1024;

pub struct Prober {
    url: String,
    tls: Tls,
}

impl Prober {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), tls: Tls::of(TlsConnector::from(Arc::new(tls_client::trusting_all()))) }
    }

    /// `Err` says why the node is not to be used.
    pub async fn probe(&self, within: Duration) -> Result<(), String> {
        let uri = self.url.parse().map_err(|_| "not an address".to_owned())?;
        let opening = patience(within, dial::plain_websocket(&uri, &self.tls, MESSAGE_MAX));
        match opening.await.map_err(|_| "no answer in time".to_owned())? {
            // The connection is dropped: a close frame's answer would only be waited for.
            Ok(_) => Ok(()),
            Err(DialError::Status(404)) => Err(format!("it answers 404: nothing serves at {}", uri.path())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const WITHIN: Duration = Duration::from_millis(300);

    /// Answers one connection like that, to a probe.
    async fn probed(answer: &str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prober = Prober::new(&format!("ws://{}/x", listener.local_addr().unwrap()));
        let answering = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = peer.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
            let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            peer.write_all(answer.replace("ACCEPT", &accept).as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            // The prober may close the connection in any way.
            peer.read_to_end(&mut rest).await.ok();
        };
        tokio::join!(prober.probe(Duration::from_secs(5)), answering).0
    }

    #[tokio::test]
    async fn only_a_websocket_that_opens_is_health() {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        let open = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}Sec-WebSocket-Accept: ACCEPT\r\n\r\n");
        assert_eq!(probed(&open).await, Ok(()));
        for (answer, expected) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
            ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502"),
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
            ("HTTP/1.1 301 Moved Permanently\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", "301"),
            ("SSH-2.0-OpenSSH_9.2\r\n", ""),
            (&open.replace("ACCEPT", "bm90IGl0cyBhbnN3ZXI="), ""),
        ] {
            let why = probed(answer).await.expect_err(answer);
            assert!(why.contains(expected), "{why}");
        }
    }

    #[tokio::test]
    async fn a_node_that_is_silent_or_gone_is_dead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prober = Prober::new(&format!("ws://{}/x", listener.local_addr().unwrap()));
        assert_eq!(prober.probe(WITHIN).await.unwrap_err(), "no answer in time");
        drop(listener);
        assert!(prober.probe(WITHIN).await.is_err());
    }
}
