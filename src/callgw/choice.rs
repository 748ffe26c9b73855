//! Chooses the call gateway of a conference, and the node of one more member among its own. Pure: the nodes as they are
//! now and the randomness are arguments.
//!
//! Reports are old by the time they are read, so what was given to a node since its report counts as load too; two nodes
//! picked at random are compared rather than all, so that gateways which don't know of each other's choices don't all
//! pick the same; and no node takes more than [`BURST`] places ahead of the others between two reports, whatever it
//! reports.

use rand::RngExt;

use crate::node_protocol::CascadeMethod;

/// The load that one member is assumed to cause until the node's own report shows it: a share of the node, of which 1
/// is all.
pub const PLACE_LOAD: f64 = 0.01;

/// From here on a node takes no further conference, nor members of its own if those may be at another node. Below 1,
/// since those who are in may yet open their cameras, and other nodes pull what they send.
pub const FULL: f64 = 0.9;

/// A conference that can't be at two nodes leaves its full one only for one below this: else it would fill that one and
/// move on.
pub const ROOMY: f64 = 0.5;

/// How long such a conference stays where it is before the node's being full can move it: long enough for the load that the
/// last move brought to show in the reports.
pub const SETTLED_MS: u64 = 60_000;

/// Places that a node may have been given since its report ahead of the node that was given the fewest. With 10 nodes
/// and 100 joins between two reports, no node gets more than 1.3 times the mean, whatever was reported.
pub const BURST: u64 = 3;

/// A node as the choice sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub id: String,
    pub region: Option<String>,
    /// The reason why no conference may go there, if so.
    pub unusable: Option<String>,
    /// As the node reported it: 0 idle, 1 full.
    pub load: f64,
    /// Places given since that report.
    pub recent: u64,
    /// The method by which a conference is at this node and at others, which pull from each other.
    pub cascades: Option<CascadeMethod>,
}

impl Candidate {
    pub fn estimate(&self) -> f64 {
        self.load + self.recent as f64 * PLACE_LOAD
    }
}

/// The reason why no node can be chosen: a reason for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoNodeAvailable(pub Vec<(String, String)>);

/// Most nodes of one conference: each pulls from each.
pub const NODES_MAX: usize = 8;

/// A node where a conference is.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    pub id: &'a str,
    pub is_up: bool,
    /// The time until which it was drained is over.
    pub must_leave: bool,
}

/// Where a conference is, and who is to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Conference<'a> {
    /// In the order in which they came.
    pub at: &'a [Current<'a>],
    /// For how long it has been just there.
    pub since_ms: u64,
    /// The node to which the member was sent before.
    pub own: Option<&'a str>,
}

/// Where one more member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeChoice {
    /// A node where the conference is.
    Stay(String),
    /// One more node.
    Grow(String),
    /// Another node, where the conference goes as a whole.
    Move(String),
}

/// The node for a member of a conference: their own, or the first that isn't full, of those where it is. Where all are
/// full it grows onto another one; if that can't be, it moves, or fills them further. Nodes that have died, or were
/// drained long enough, are left if there is any other.
///
/// # Errors
/// Where no node can take it: why not, for each of them.
pub fn place(
    nodes: &[Candidate],
    conference: Conference<'_>,
    region: Option<&str>,
    rng: &mut impl RngExt,
) -> Result<NodeChoice, NoNodeAvailable> {
    let known = |at: &Current<'_>| nodes.iter().find(|node| node.id == at.id);
    let up: Vec<&Current<'_>> = conference.at.iter().filter(|at| at.is_up && known(at).is_some()).collect();
    let staying: Vec<&Candidate> = up.iter().filter(|at| !at.must_leave).filter_map(|at| known(at)).collect();
    if let Some(node) = staying.iter().find(|node| Some(node.id.as_str()) == conference.own) {
        return Ok(NodeChoice::Stay(node.id.clone()));
    }
    let free = |full: bool| staying.iter().find(|node| if full { !is_full(node) } else { obstacle(node).is_none() });
    // One that is drained keeps what it has, until its deadline.
    if let Some(node) = free(false).or_else(|| free(true)) {
        return Ok(NodeChoice::Stay(node.id.clone()));
    }
    let others: Vec<Candidate> =
        nodes.iter().filter(|node| conference.at.iter().all(|at| at.id != node.id)).cloned().collect();
    if staying.is_empty() {
        let elsewhere = choose(&others, region, rng).map(|id| NodeChoice::Move(id.to_owned()));
        let stay = up.first().map(|at| NodeChoice::Stay(at.id.to_owned()));
        return elsewhere.or_else(|_| stay.ok_or_else(|| NoNodeAvailable(obstacles(nodes))));
    }
    let better = beyond_full(&staying, others, conference.since_ms, region, rng);
    let least = staying.iter().min_by(|a, b| a.estimate().total_cmp(&b.estimate()));
    let least = least.map(|node| NodeChoice::Stay(node.id.clone()));
    better.or(least).ok_or_else(|| NoNodeAvailable(obstacles(nodes)))
}

/// Where to go from nodes that are all full.
fn beyond_full(
    full: &[&Candidate],
    mut others: Vec<Candidate>,
    since_ms: u64,
    region: Option<&str>,
    rng: &mut impl RngExt,
) -> Option<NodeChoice> {
    let method = full.first().and_then(|node| node.cascades);
    if method.is_some() && full.iter().all(|node| node.cascades == method) {
        others.retain(|node| node.cascades == method && full.len() < NODES_MAX);
        return choose(&others, region, rng).ok().map(|id| NodeChoice::Grow(id.to_owned()));
    }
    others.retain(|node| is_roomy(node) && since_ms >= SETTLED_MS);
    choose(&others, region, rng).ok().map(|id| NodeChoice::Move(id.to_owned()))
}

/// The node for a conference that is at none, in the wanted region where one of that region can take it.
///
/// # Errors
/// Where no node can: why not, for each of them.
pub fn choose<'a>(
    nodes: &'a [Candidate],
    region: Option<&str>,
    rng: &mut impl RngExt,
) -> Result<&'a str, NoNodeAvailable> {
    let usable: Vec<&Candidate> = nodes.iter().filter(|node| obstacle(node).is_none()).collect();
    let near = |node: &&Candidate| region.is_some() && node.region.as_deref() == region;
    let near: Vec<&Candidate> = usable.iter().copied().filter(near).collect();
    let eligible = within_burst(if near.is_empty() { usable } else { near });
    better_of_two(&eligible, rng).map(|node| node.id.as_str()).ok_or_else(|| NoNodeAvailable(obstacles(nodes)))
}

fn is_roomy(node: &Candidate) -> bool {
    obstacle(node).is_none() && node.estimate() < ROOMY
}

/// By the node's own word only: our estimate orders the nodes, but must not refuse anybody a node that has room.
fn is_full(node: &Candidate) -> bool {
    node.load >= FULL
}

fn obstacle(node: &Candidate) -> Option<String> {
    node.unusable.clone().or_else(|| is_full(node).then(|| format!("full: {:.2}", node.load)))
}

fn obstacles(nodes: &[Candidate]) -> Vec<(String, String)> {
    nodes.iter().filter_map(|node| Some((node.id.clone(), obstacle(node)?))).collect()
}

fn within_burst(nodes: Vec<&Candidate>) -> Vec<&Candidate> {
    let least = nodes.iter().map(|node| node.recent).min().unwrap_or_default();
    nodes.into_iter().filter(|node| node.recent < least + BURST).collect()
}

fn better_of_two<'a>(nodes: &[&'a Candidate], rng: &mut impl RngExt) -> Option<&'a Candidate> {
    let (first, second) = match nodes {
        [] => return None,
        [only] => return Some(only),
        several => {
            let first = rng.random_range(0..several.len());
            // Any but the first, each as likely.
            let second = (first + rng.random_range(1..several.len())) % several.len();
            (several[first], several[second])
        }
    };
    Some(if second.estimate() < first.estimate() { second } else { first })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
