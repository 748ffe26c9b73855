//! The control link to a node: kept open by one task for each node, over wss, or over channels to the embedded one.
//! Members' permissions go out, the node's health comes in. Commands wait in a queue of [`QUEUE`]. The sender of
//! commands sends everything anew when [`Node::opened`] tells it to, since a lost link or a full queue loses commands.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Uri;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::clock::backoff::Backoff;
use crate::clock::stall::patience;
use crate::config;
use crate::http::bearer;
use crate::http::dial::{self, DialError, Socket, Tls};
use crate::node_protocol::{FromNode, QUEUE, ToNode};
use crate::tls_client;
use crate::token::ControlClaims;

use super::node::Node;

/// Longest frame that a node may send, in bytes: a report is below 300.
const FRAME_MAX: usize = 16 * 1024;

/// The settings of control links.
#[derive(Clone)]
pub struct ControlLinkConfig {
    /// Our own `node.id`.
    pub node: String,
    pub tls: Tls,
    /// For the whole of connecting, and for one command to be taken.
    pub timeout: Duration,
    pub report_interval: Duration,
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// How long a token serves for opening.
    pub token_ttl: Duration,
}

impl ControlLinkConfig {
    /// # Errors
    /// The error in `callgw.ca`.
    pub fn new(config: &config::Callgw, node: &str) -> Result<Self, String> {
        Ok(Self {
            node: node.to_owned(),
            tls: Tls::load(config.ca.as_deref())?,
            timeout: config.probe_timeout,
            report_interval: config.report_interval,
            reconnect_min: config.reconnect_min,
            reconnect_max: config.reconnect_max,
            token_ttl: config.token_ttl,
        })
    }

    /// A link that is silent for longer is dead.
    pub fn silence(&self) -> Duration {
        self.report_interval * 2
    }
}

/// The embedded node's ends of its control link.
pub struct Embedded {
    /// Commands for the node.
    pub commands: mpsc::Sender<ToNode>,
    /// Reports of the node.
    pub messages: mpsc::Receiver<FromNode>,
}

/// The reason why there is no link.
enum NoLink {
    /// The node answers, and won't have one.
    Refused(String),
    /// It doesn't take our secret, or we don't take its certificate.
    Distrusted(String),
    /// It may be there later.
    Failed(String),
}

/// Keeps the link to a node in another process until `stop`.
pub async fn run_forever(
    node: Arc<Node>,
    config: ControlLinkConfig,
    mut commands: mpsc::Receiver<ToNode>,
    stop: CancellationToken,
) {
    let keep = async {
        let mut backoff = Backoff::new(config.reconnect_min, config.reconnect_max);
        loop {
            match patience(config.timeout, open(&node, &config)).await {
                Ok(Ok(socket)) => {
                    backoff.reset();
                    let why = serve(&node, &config, socket, &mut commands).await;
                    node.closed();
                    tracing::info!(gateway = node.id, why, "the control link has ended");
                }
                Ok(Err(NoLink::Refused(why))) => node.set_control_refused(why),
                Ok(Err(NoLink::Distrusted(why))) => node.set_distrusted(why),
                Ok(Err(NoLink::Failed(why))) => tracing::debug!(gateway = node.id, why, "no control link"),
                Err(_) => tracing::debug!(gateway = node.id, "no control link in time"),
            }
            // Gateways that lost a node together must not come back to it together.
            sleep(backoff.pause(false, rand::random())).await;
        }
    };
    stop.run_until_cancelled(keep).await;
}

/// Opens the link and closes it again.
///
/// # Errors
/// Why there is none.
pub async fn try_once(node: &Node, config: &ControlLinkConfig) -> Result<(), String> {
    match patience(config.timeout, open(node, config)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(NoLink::Refused(why) | NoLink::Distrusted(why) | NoLink::Failed(why))) => Err(why),
        Err(_) => Err("no answer in time".into()),
    }
}

async fn open(node: &Node, config: &ControlLinkConfig) -> Result<Socket, NoLink> {
    let uri = control_uri(&node.url).ok_or_else(|| NoLink::Refused("no control address".into()))?;
    let token = node.control_keys.sign(&ControlClaims::new(&node.id, &config.node, config.token_ttl));
    let tls = config.tls.pinned(&node.pins()).map_err(NoLink::Failed)?;
    dial::websocket(&uri, &bearer::offer(&token), &tls, FRAME_MAX).await.map_err(|error| match error {
        // A node that can't prove who it is gets no commands, and admits nobody without them.
        DialError::Tls(why) if tls_client::is_peers(&why) => {
            NoLink::Distrusted(format!("TLS: {}; see callgw.ca", tls_client::words(&why)))
        }
        DialError::Status(401 | 403) => {
            NoLink::Distrusted(format!("{error}: another secret than ours, or another time"))
        }
        DialError::Connect(_) | DialError::Tls(_) => NoLink::Failed(error.to_string()),
        DialError::Address | DialError::Status(_) | DialError::Upgrade(_) => NoLink::Refused(error.to_string()),
    })
}

/// The node's address with `/control` after its path.
fn control_uri(url: &str) -> Option<Uri> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    let path = parts.path_and_query.as_ref().map_or("", |path| path.path().trim_end_matches('/'));
    parts.path_and_query = Some(format!("{path}/control").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Speaks on an open link until it ends; says why it did.
async fn serve(
    node: &Node,
    config: &ControlLinkConfig,
    socket: Socket,
    commands: &mut mpsc::Receiver<ToNode>,
) -> String {
    let (mut sink, mut stream) = socket.split();
    // Commands that were queued for an earlier link are part of the full state that is sent now.
    while commands.try_recv().is_ok() {}
    let mut greeted = false;
    loop {
        tokio::select! {
            heard = patience(config.silence(), stream.next()) => match heard {
                Err(_) => return "silent".into(),
                Ok(None) => return "closed".into(),
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str::<FromNode>(&text) {
                    Ok(message) => {
                        node.on_message(&message);
                        // Its first report is its word that it takes commands.
                        if !std::mem::replace(&mut greeted, true) {
                            tracing::info!(gateway = node.id, "the control link is open");
                            node.opened();
                        }
                    }
                    // A newer node may say more than we know.
                    Err(error) => tracing::debug!(gateway = node.id, %error, "a frame that can't be read"),
                },
                Ok(Some(Ok(Message::Close(_)))) => return "closed by the node".into(),
                Ok(Some(Ok(_))) => {}
            },
            Some(command) = commands.recv() => {
                let text = serde_json::to_string(&command).expect("commands have string keys only");
                match timeout(config.timeout, sink.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "a command wasn't taken in time".into(),
                }
                let waiting = (QUEUE - commands.capacity()) as f64;
                metrics::gauge!("confgate_call_gateway_commands", "gateway" => node.id.clone()).set(waiting);
            }
        }
    }
}

/// Listens to the embedded node until it or the process ends; its commands go to it directly.
pub async fn listen(node: Arc<Node>, mut messages: mpsc::Receiver<FromNode>, stop: CancellationToken) {
    let listen = async {
        let mut greeted = false;
        while let Some(message) = messages.recv().await {
            node.on_message(&message);
            if !std::mem::replace(&mut greeted, true) {
                node.opened();
            }
        }
        node.closed();
    };
    stop.run_until_cancelled(listen).await;
}

/// Lets silence be noticed, of the nodes that there are then.
pub async fn watch(nodes: impl Fn() -> Arc<Vec<Arc<Node>>>, report_interval: Duration, stop: CancellationToken) {
    let watch = async {
        let mut tick = interval((report_interval / 4).max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            nodes().iter().for_each(|node| node.tick());
        }
    };
    stop.run_until_cancelled(watch).await;
}

#[cfg(test)]
mod tests {
    use super::control_uri;

    #[test]
    fn the_control_link_is_below_the_nodes_address() {
        let is = |url: &str, expected: &str| assert_eq!(control_uri(url).unwrap().to_string(), expected);
        is("wss://media1.example.org:8989/groupcall", "wss://media1.example.org:8989/groupcall/control");
        is("wss://media1.example.org:8989", "wss://media1.example.org:8989/control");
        is("ws://[::1]:8989/a/b/?x=1", "ws://[::1]:8989/a/b/control");
    }
}
