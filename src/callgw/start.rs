//! Starts the nodes of a pool: each with its own tasks, which end with the node or with the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{self, Embedded};
use super::node::{Changes, Node};
use super::probe;
use super::registered::RegisteredNode;
use crate::config::{self, NodeKind};
use crate::ids::Secret;
use crate::node_protocol::{QUEUE, ToNode};

/// What starting a node takes.
pub struct Starter {
    /// Between probes, and for one's answer.
    pub probe: (Duration, Duration),
    pub link_config: link::ControlLinkConfig,
    pub changes: Changes,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

impl Starter {
    /// The node with its tasks started. `None` where there is nothing that a member could be told: no address is
    /// configured, and no media served in this process.
    pub fn configured(
        &self,
        config: &config::CallNode,
        own_secret: &Secret,
        own_url: &str,
        embedded: &mut HashMap<String, Embedded>,
    ) -> Option<Arc<Node>> {
        let embedded = embedded.remove(&config.id);
        let own = embedded.is_some().then(|| format!("{own_url}{}", config.path()));
        let url = config.url.as_ref().map(ToString::to_string).or(own)?;
        let Some(Embedded { commands, messages }) = embedded else {
            return Some(self.remote(config, url, own_secret, &self.stop));
        };
        let node = Arc::new(self.node(config, url, own_secret, commands));
        self.tracker.spawn(link::listen(node.clone(), messages, self.stop.clone()));
        Some(node)
    }

    /// A call gateway of another gateway node.
    pub fn registered(&self, registered: RegisteredNode, stop: &CancellationToken) -> Arc<Node> {
        let RegisteredNode { id, url, region, secret, pins, .. } = registered;
        let config = config::CallNode { region, ..config::CallNode::new(id, NodeKind::Confgate) };
        tracing::info!(gateway = config.id, url, "a call gateway of another gateway node is in the register");
        let node = self.remote(&config, url, &secret, stop);
        node.set_pins(pins);
        node
    }

    fn remote(&self, config: &config::CallNode, url: String, secret: &Secret, stop: &CancellationToken) -> Arc<Node> {
        let (commands, queued) = mpsc::channel(QUEUE);
        let node = Arc::new(self.node(config, url, secret, commands));
        let (every, timeout) = self.probe;
        self.tracker.spawn(probe_forever(node.clone(), every, timeout, stop.clone()));
        if config.kind == NodeKind::Confgate {
            self.tracker.spawn(link::run_forever(node.clone(), self.link_config.clone(), queued, stop.clone()));
        }
        node
    }

    fn node(&self, config: &config::CallNode, url: String, secret: &Secret, commands: mpsc::Sender<ToNode>) -> Node {
        Node::new(config, url, secret, self.link_config.silence(), commands, self.changes.clone())
    }
}

async fn probe_forever(node: Arc<Node>, every: Duration, timeout: Duration, stop: CancellationToken) {
    let prober = probe::Prober::new(&node.url);
    let probing = async {
        loop {
            if !node.is_controlled() {
                node.on_probe(prober.probe(timeout).await);
            }
            tokio::time::sleep(every).await;
        }
    };
    stop.run_until_cancelled(probing).await;
}
