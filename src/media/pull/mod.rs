//! Streams that this node pulls from others: a link to each, by hand for one stream, or for a conference that is at
//! both.

mod link;
mod targets;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::group::{LinkCommand, LinkEvent, LinkId};
use crate::clock::backoff::Backoff;
use crate::http::dial::Tls;
use crate::ids::{ConfId, random_text};
use crate::node_protocol::RemoteNode;

use self::link::{Link, Wanted};
pub use self::targets::{Known, Named, Registered, Targets};

/// Commands that may wait for a link: for all streams of a large conference.
const LINK_COMMANDS: usize = 4096;
/// Reports of links that may wait for the node's task. When it is full, the links wait.
const LINK_REPORTS: usize = 1024;
/// Streams that are pulled by hand.
const BY_HAND: usize = 1024;

/// Which nodes streams are pulled from, and how.
pub struct Settings {
    /// The settings of links.
    pub reach: PullLinkConfig,
    /// The nodes that may be pulled from.
    pub targets: Targets,
}

/// The settings of links to other nodes.
pub struct PullLinkConfig {
    /// Our own id.
    pub node: String,
    /// The trust of its certificate.
    pub tls: Tls,
    /// For connecting to a node, until the stream flows.
    pub timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// A link on which nothing came for this long, pings neither, is dead.
    pub silence: Duration,
    /// How long a token serves.
    pub token_ttl: Duration,
}

/// A stream as operators name it (see [`Named`]), there and here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The other node's address.
    pub uri: String,
    /// The stream's name there.
    pub remote: String,
    /// The stream's name here.
    pub local: String,
}

/// A stream that is pulled by hand.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The request.
    pub pull: Pull,
    /// The pull's id.
    pub session: String,
    /// The state.
    pub state: State,
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It doesn't flow yet.
    New,
    /// Its media flows.
    Flows,
    /// It did flow; the other node, or its stream, is away.
    Away,
    /// It has failed.
    Failed(Refused),
}

/// The reason why a stream isn't pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No node of ours has that address, nor is it allowed.
    NotAllowed,
    /// The other node has no such stream.
    NoStream,
    /// There is another stream of that name here.
    Taken,
    /// The stream comes from this node.
    Loop,
    /// The other node can't be reached, or won't give it.
    Dead(String),
    /// There are too many pulls.
    TooMany,
}

/// A request of an operator.
pub enum Request {
    /// Begins a pull.
    Pull(Pull, oneshot::Sender<Result<watch::Receiver<State>, Refused>>),
    /// Lists the pulls.
    List(oneshot::Sender<Vec<Pulled>>),
    /// Answered with whether there was such a one.
    Terminate(Pull, oneshot::Sender<bool>),
}

/// A report of a link.
pub(super) enum LinkReport {
    Of(LinkId, LinkEvent),
    /// It has ended by itself.
    Over(LinkId),
}

/// All links of this node. Owned by the node's task; each link is a task, which ends with its handle.
pub(super) struct Pulls {
    reach: Arc<PullLinkConfig>,
    targets: Targets,
    next: u64,
    handles: HashMap<LinkId, Handle>,
    /// By the name here.
    by_hand: BTreeMap<String, ByHand>,
    /// By the other node's id.
    cascades: HashMap<ConfId, BTreeMap<String, Cascade>>,
    reports: mpsc::Sender<LinkReport>,
    received: mpsc::Receiver<LinkReport>,
}

struct Handle {
    commands: mpsc::Sender<LinkCommand>,
    task: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        metrics::gauge!("confgate_pull_links").decrement(1);
        self.task.abort();
    }
}

struct ByHand {
    link: LinkId,
    pull: Pull,
    session: String,
    state: watch::Receiver<State>,
}

impl ByHand {
    /// Whether its link has ended, and only hasn't said so yet.
    fn is_over(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_))
    }
}

struct Cascade {
    link: LinkId,
    peer: watch::Sender<RemoteNode>,
}

impl Pulls {
    pub fn new(Settings { reach, targets }: Settings) -> Self {
        let (reports, received) = mpsc::channel(LINK_REPORTS);
        let (handles, by_hand, cascades) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Self { reach: Arc::new(reach), targets, next: 0, handles, by_hand, cascades, reports, received }
    }

    /// The next report of a link. Reports of a link that is gone are dropped.
    pub async fn next(&mut self) -> LinkReport {
        loop {
            let received = self.received.recv().await.expect("one sender is ours");
            let (LinkReport::Of(link, _) | LinkReport::Over(link)) = &received;
            if self.handles.contains_key(link) {
                return received;
            }
        }
    }

    /// Asks the link. Answers whether it is there: one that can't keep up is gone.
    pub fn send_command(&mut self, link: LinkId, command: LinkCommand) -> bool {
        let Some(handle) = self.handles.get(&link) else { return false };
        if command != LinkCommand::End && handle.commands.try_send(command).is_ok() {
            return true;
        }
        self.forget(link);
        false
    }

    /// The conference is at those nodes too, and at no others. Returns the links that have ended.
    pub fn cascade(&mut self, conf: ConfId, peers: Vec<RemoteNode>) -> Vec<LinkId> {
        let peers: Vec<RemoteNode> = peers.into_iter().filter(|peer| peer.gateway_id != self.reach.node).collect();
        let known = self.cascades.remove(&conf).unwrap_or_default();
        let (mut kept, mut ended) = (BTreeMap::new(), Vec::new());
        for (id, cascade) in known {
            match peers.iter().find(|peer| peer.gateway_id == id) {
                Some(peer) => {
                    cascade.peer.send_replace(peer.clone());
                    kept.insert(id, cascade);
                }
                None => ended.push(cascade.link),
            }
        }
        for peer in peers {
            if !kept.contains_key(&peer.gateway_id) {
                let id = peer.gateway_id.clone();
                tracing::info!(%conf, node = id, "the conference is at that call gateway too");
                let (wanted, now_wanted) = watch::channel(peer);
                let link = self.start(conf.clone(), Wanted::All(now_wanted), watch::Sender::new(State::New));
                kept.insert(id, Cascade { link, peer: wanted });
            }
        }
        if !kept.is_empty() {
            self.cascades.insert(conf, kept);
        }
        ended.iter().for_each(|link| drop(self.handles.remove(link)));
        ended
    }

    /// Begins to pull. `taken`: a stream of that name is here.
    pub fn pull(&mut self, pull: Pull, taken: bool) -> Result<watch::Receiver<State>, Refused> {
        let (uri, target) = self.targets.find(&pull.uri).ok_or(Refused::NotAllowed)?;
        let target = Box::new(target);
        let pull = Pull { uri, ..pull };
        if self.by_hand.get(&pull.local).is_some_and(|known| !known.is_over()) {
            return Err(Refused::Taken);
        }
        let from = Named::parse(&pull.remote).ok_or(Refused::NoStream)?;
        let local = Named::parse(&pull.local).ok_or(Refused::NoStream)?;
        if taken {
            return Err(Refused::Taken);
        }
        if self.by_hand.len() >= BY_HAND {
            return Err(Refused::TooMany);
        }
        let (show, state) = watch::channel(State::New);
        let room = local.room.clone();
        let link = self.start(room, Wanted::One { target, from, local }, show);
        let entry = ByHand { link, pull: pull.clone(), session: random_text(16), state: state.clone() };
        self.by_hand.insert(pull.local, entry);
        Ok(state)
    }

    pub fn list(&self) -> Vec<Pulled> {
        let pulled = |each: &ByHand| {
            let (pull, session) = (each.pull.clone(), each.session.clone());
            Pulled { pull, session, state: each.state.borrow().clone() }
        };
        self.by_hand.values().filter(|each| !each.is_over()).map(pulled).collect()
    }

    /// Ends a pull; the link that has ended.
    pub fn terminate(&mut self, pull: &Pull) -> Option<LinkId> {
        let uri = targets::normal(&pull.uri);
        let known = self.by_hand.get(&pull.local).filter(|known| !known.is_over())?;
        let asked = targets::normal(&known.pull.uri) == uri && known.pull.remote == pull.remote;
        let link = asked.then_some(known.link)?;
        self.forget(link);
        Some(link)
    }

    pub fn forget(&mut self, link: LinkId) {
        self.handles.remove(&link);
        self.by_hand.retain(|_, each| each.link != link);
        self.cascades.retain(|_, peers| {
            peers.retain(|_, each| each.link != link);
            !peers.is_empty()
        });
    }

    fn start(&mut self, room: ConfId, wanted: Wanted, state: watch::Sender<State>) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        let (to_link, commands) = mpsc::channel(LINK_COMMANDS);
        let (reach, reports, has, again) = (Arc::clone(&self.reach), self.reports.clone(), HashMap::new(), Vec::new());
        let backoff = Backoff::new(reach.reconnect_min, reach.reconnect_max);
        let link = Link { id, room, wanted, reach, state, commands, reports, has, again, backoff };
        // Of all of the process's nodes.
        metrics::gauge!("confgate_pull_links").increment(1);
        self.handles.insert(id, Handle { commands: to_link, task: tokio::spawn(link.run()) });
        id
    }
}
