//! Call gateways as far as the gateway sees them from outside: something that answers probes.

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::gateway::Gateway;
use super::ports::Port;
use super::wait::until_true;

/// What nodes share with the gateway.
pub const SECRET: &str = "the secret that the node shares";

/// A call gateway as far as a probe sees one: it answers WebSocket handshakes.
pub struct Node {
    pub id: &'static str,
    port: Port,
    serving: Option<JoinHandle<()>>,
}

impl Node {
    pub async fn start(id: &'static str) -> Self {
        let mut node = Self { id, port: Port::claim(), serving: None };
        node.revive().await;
        node
    }

    pub fn url(&self) -> String {
        format!("ws://{}/groupcall", self.port.address())
    }

    pub fn section(&self) -> String {
        let (id, url) = (self.id, self.url());
        format!("[[callgw.nodes]]\nid = \"{id}\"\nkind = \"confgate\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n")
    }

    pub async fn revive(&mut self) {
        let listener = TcpListener::bind(self.port.address()).await.expect("the port is ours");
        self.serving = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A prober that goes away in the middle is none of the node's business.
                tokio::spawn(async move { tokio_tungstenite::accept_async(stream).await.ok() });
            }
        }));
    }

    pub async fn kill(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Over once the listener is closed.
            serving.await.ok();
        }
    }
}

/// Waits until the gateway has found each of the nodes alive.
pub async fn probed(gateway: &Gateway, nodes: &[&Node]) {
    for node in nodes {
        until_true("every node is probed", async || {
            let parts = gateway.readyz().await.to_string();
            parts.contains(&format!("callgw.{}", node.id)) && !parts.contains("\"down\"")
        })
        .await;
    }
}
