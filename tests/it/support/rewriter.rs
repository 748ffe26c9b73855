//! A TCP proxy before an XMPP server that changes the stanzas of those who connect through it, one by one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What becomes of a stanza; `None`: it is dropped.
pub type Change = fn(&str) -> Option<String>;

/// Ends with its connections when it is dropped.
pub struct Rewriter {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Rewriter {
    pub async fn to(server: SocketAddr, change: Change) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, mut to_client), (mut from_server, to_server)) =
                    (client.into_split(), server.into_split());
                connections.spawn(rewrite(from_client, to_server, change));
                connections.spawn(async move {
                    // An error here: the connection is over.
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
            }
        });
        Self { address, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn rewrite(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, change: Change) {
    let (mut pending, mut buffer) = (String::new(), vec![0; 64 * 1024]);
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        // The built-in EIM writes whole stanzas, so characters are whole too.
        pending.push_str(&String::from_utf8_lossy(&buffer[..n]));
        while let Some(end) = end_of_stanza(&pending) {
            let stanza: String = pending.drain(..end).collect();
            if let Some(text) = change(&stanza)
                && to.write_all(text.as_bytes()).await.is_err()
            {
                return;
            }
        }
    }
}

/// Where the first stanza ends, or what stands before one.
fn end_of_stanza(text: &str) -> Option<usize> {
    for name in ["iq", "message", "presence"] {
        if text.starts_with(&format!("<{name} ")) {
            let head = text.find('>')? + 1;
            if text[..head].ends_with("/>") {
                return Some(head);
            }
            let end = format!("</{name}>");
            return Some(text.find(&end)? + end.len());
        }
    }
    let next = ["<iq ", "<message ", "<presence "].iter().filter_map(|start| text.find(start)).min();
    next.or((!text.is_empty()).then_some(text.len()))
}
