//! The link to another gateway node, which owns conferences' numbers: one task for each node, with a queue of
//! [`QUEUE`]. It is opened when something is asked, stays open, and is opened again after a pause when it was lost. While
//! there is none, whoever asks is refused at once: conferences ask again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::Uri;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::task::TaskTracker;

use super::super::numbering::OwnerRequest;
use super::protocol::{ANSWER_MAX, FromOwner, ToOwner, unnumbered};
use super::reply::Reply;
use super::{OwnerNotice, Owners};
use crate::clock::backoff::Backoff;
use crate::clock::stall::patience;
use crate::event::ConferenceEvent;
use crate::http::bearer;
use crate::http::dial::{self, Socket, Tls};
use crate::ids::ConfId;
use crate::store::Store;
use crate::tls_client::Fingerprint;
use crate::token::{KindKeys, NodeClaims};

/// What waits for one node. Beyond, whoever asks is refused for now, and an event of the EIM's is dropped.
const QUEUE: usize = 4096;
/// For the whole of connecting, and for one frame to be taken.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A node that has said nothing for so long is stopped, or cut off: five times [`super::serve::ALIVE`].
const SILENCE: Duration = Duration::from_secs(5);
/// The first pause before connecting again, and the longest.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a token serves for opening.
const TOKEN_TTL: Duration = Duration::from_secs(60);

/// How other nodes are reached. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    node: Arc<str>,
    keys: Arc<KindKeys>,
    tls: Tls,
    store: Store,
}

impl Dialer {
    /// `node`: our own id. `keys` sign what opens a link; `tls`: whom we trust besides what a node's row names.
    pub fn new(node: &str, keys: Arc<KindKeys>, tls: Tls, store: Store) -> Self {
        Self { node: node.into(), keys, tls, store }
    }

    async fn open(&self, node: &str) -> Result<Socket, String> {
        let link = self.store.node_link(node).await.map_err(|error| error.to_string())?;
        let link = link.ok_or("it has not said where it is")?;
        let uri: Uri = link.url.parse().map_err(|_| "its address is none")?;
        let pins: Option<Vec<Fingerprint>> = link.pins.split_whitespace().map(Fingerprint::parse).collect();
        let tls = self.tls.pinned(&pins.ok_or("its certificates are none")?)?;
        let token = self.keys.sign(&NodeClaims::new(&self.node, node, TOKEN_TTL));
        let opened = dial::websocket(&uri, &bearer::offer(&token), &tls, ANSWER_MAX).await;
        opened.map_err(|error| error.to_string())
    }
}

/// What goes to the node.
enum Outgoing {
    OwnerRequest(ConfId, OwnerRequest, Reply),
    Change(ConferenceEvent),
    Doubt,
}

/// The queue to one node.
pub(super) struct LinkQueue(mpsc::Sender<Outgoing>);

impl LinkQueue {
    /// Begins its task.
    pub fn start(node: &str, owners: Owners, tracker: &TaskTracker) -> Arc<Self> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let link = Link { node: node.to_owned(), owners, queue, asked: HashMap::new(), last: 0 };
        tracker.spawn(link.run());
        Arc::new(Self(sender))
    }

    /// Where the queue is full, the reply says that it may work later.
    pub fn request(&self, conf: &ConfId, request: OwnerRequest, reply: Reply) {
        self.put(Outgoing::OwnerRequest(conf.clone(), request, reply));
    }

    /// An event of the EIM's; false where it was dropped.
    pub fn change(&self, event: ConferenceEvent) -> bool {
        self.put(Outgoing::Change(event))
    }

    /// Events of the EIM's may have been lost.
    pub fn doubt(&self) {
        self.put(Outgoing::Doubt);
    }

    fn put(&self, outgoing: Outgoing) -> bool {
        let is_lost = matches!(self.0.try_send(outgoing), Err(TrySendError::Full(_)));
        metrics::gauge!("confgate_node_link_waiting").set((QUEUE - self.0.capacity()) as f64);
        !is_lost
    }
}

/// Owns the link to one node, and what was asked over it.
struct Link {
    node: String,
    owners: Owners,
    queue: mpsc::Receiver<Outgoing>,
    asked: HashMap<u64, Reply>,
    last: u64,
}

impl Link {
    /// Ends with the registry of owners.
    async fn run(mut self) {
        let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
        while let Some(first) = self.queue.recv().await {
            match patience(TIMEOUT, self.owners.0.dialer.clone().open(&self.node)).await {
                Ok(Ok(socket)) => {
                    backoff.reset();
                    tracing::info!(node = self.node, "the link to another gateway node is open");
                    metrics::gauge!("confgate_node_links").increment(1.0);
                    let why = self.serve(socket, first).await;
                    metrics::gauge!("confgate_node_links").decrement(1.0);
                    metrics::counter!("confgate_node_links_lost_total").increment(1);
                    tracing::info!(node = self.node, why, "the link to another gateway node has ended");
                }
                Ok(Err(why)) => self.not_open(first, &why),
                Err(_) => self.not_open(first, "no answer in time"),
            }
            self.asked.clear();
            self.owners.clone().lost(&self.node).await;
            let pause = sleep(backoff.pause(false, rand::random()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    refused = self.queue.recv() => match refused {
                        Some(refused) => drop(refused),
                        None => return,
                    },
                }
            }
        }
    }

    fn not_open(&self, first: Outgoing, why: &str) {
        metrics::counter!("confgate_node_link_failures_total").increment(1);
        tracing::debug!(node = self.node, why, "no link to another gateway node");
        drop(first);
    }

    /// Speaks on an open link until it ends; says why it did.
    async fn serve(&mut self, socket: Socket, first: Outgoing) -> String {
        let (mut sink, mut stream) = socket.split();
        let mut next = Some(first);
        loop {
            if let Some(outgoing) = next.take() {
                let text = serde_json::to_string(&self.frame(outgoing)).expect("frames have string keys only");
                match timeout(TIMEOUT, sink.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "a frame wasn't taken in time".into(),
                }
            }
            tokio::select! {
                received = patience(SILENCE, stream.next()) => match received {
                    Err(_) => return "silent".into(),
                    Ok(None) => return "closed".into(),
                    Ok(Some(Err(error))) => return error.to_string(),
                    Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str::<FromOwner>(&text) {
                        Ok(frame) => self.received(frame).await,
                        Err(error) => return format!("a frame that can't be read: {error}"),
                    },
                    Ok(Some(Ok(Message::Close(_)))) => return "closed by the node".into(),
                    Ok(Some(Ok(_))) => {}
                },
                outgoing = self.queue.recv() => match outgoing {
                    Some(outgoing) => next = Some(outgoing),
                    None => return "this process ends".into(),
                },
            }
        }
    }

    fn frame(&mut self, outgoing: Outgoing) -> ToOwner {
        match outgoing {
            Outgoing::OwnerRequest(conf, request, reply) => {
                self.last += 1;
                self.asked.insert(self.last, reply);
                ToOwner::OwnerRequest { number: self.last, conf, request }
            }
            Outgoing::Change(event) => ToOwner::Change(unnumbered(event)),
            Outgoing::Doubt => ToOwner::Doubt,
        }
    }

    async fn received(&mut self, frame: FromOwner) {
        match frame {
            FromOwner::Answer { number, answer } => {
                if let Some(reply) = self.asked.remove(&number) {
                    reply.send(answer);
                }
            }
            FromOwner::Event(event) => {
                metrics::counter!("confgate_node_link_events_total").increment(1);
                // At a stop nobody takes it.
                let _ = self.owners.0.notices.send(OwnerNotice::Event(event)).await;
            }
            FromOwner::Elsewhere(conf) => self.owners.elsewhere(&conf, &self.node),
            FromOwner::Alive => {}
        }
    }
}
