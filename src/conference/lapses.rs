//! Which nodes are gone. Pure. A lease has lapsed when its row was not renewed for as long as it lasts, by this node's own
//! clock: moments of two machines don't compare.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::store::{Heir, Lease, NodeState};

/// Owns since when each node's row is as it is.
#[derive(Debug, Default)]
pub(super) struct Lapses {
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    fence: u64,
    expires_at: i64,
    since: Moment,
}

impl Lapses {
    /// Nothing was seen for a while, so that nobody's silence means anything.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// The nodes that are gone, and for whose members nobody answers. `lasts`: this node's lease, for nodes of an older
    /// release, which don't tell theirs.
    pub fn orphans(&mut self, own: &Lease, lasts: Duration, nodes: &[NodeState], now: Moment) -> Vec<NodeState> {
        for node in nodes {
            let seen = self.seen.get(&node.node_id);
            if seen.is_none_or(|seen| (seen.fence, seen.expires_at) != (node.fence, node.expires_at)) {
                let seen = Seen { fence: node.fence, expires_at: node.expires_at, since: now };
                self.seen.insert(node.node_id.clone(), seen);
            }
        }
        let is_gone = |node: &NodeState| {
            let lasts = node.lease.unwrap_or(lasts);
            let seen = self.seen.get(&node.node_id);
            lasts.is_zero() || seen.is_some_and(|seen| now.since(seen.since) > lasts)
        };
        let answers = |heir: &Heir| match heir {
            Heir::None | Heir::Overlapped { .. } => false,
            Heir::Settled => true,
            Heir::Node { id, fence } if *id == own.node_id => *fence == own.fence,
            Heir::Node { id, fence } => {
                nodes.iter().any(|node| node.node_id == *id && node.fence == *fence && !is_gone(node))
            }
        };
        let others = nodes.iter().filter(|node| node.node_id != own.node_id);
        others.filter(|node| is_gone(node) && !answers(&node.heir)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(100);

    fn node(id: &str, fence: u64, expires_at: i64) -> NodeState {
        NodeState { node_id: id.into(), fence, expires_at, lease: Some(LEASE), heir: Heir::None }
    }

    fn orphans(lapses: &mut Lapses, nodes: &[NodeState], now: u64) -> Vec<String> {
        let own = Lease { node_id: "me".into(), fence: 7, took_over: false };
        lapses.orphans(&own, LEASE, nodes, Moment::at(now)).into_iter().map(|node| node.node_id).collect()
    }

    const NOBODY: [String; 0] = [];

    #[test]
    fn node_is_gone_when_it_has_not_renewed_for_as_long_as_its_lease_lasts() {
        let mut lapses = Lapses::default();
        // Long past by any clock, and seen for the first time.
        let mut nodes = [node("me", 7, 0), node("a", 1, 5), node("b", 1, 5)];
        assert_eq!(orphans(&mut lapses, &nodes, 1000), NOBODY);
        nodes[2].expires_at = 6;
        assert_eq!(orphans(&mut lapses, &nodes, 1050), NOBODY);
        assert_eq!(orphans(&mut lapses, &nodes, 1101), ["a"]);
        assert_eq!(orphans(&mut lapses, &nodes, 1151), ["a", "b"]);
        lapses.forget();
        assert_eq!(orphans(&mut lapses, &nodes, 5000), NOBODY);
    }

    #[test]
    fn released_lease_is_over_at_once() {
        let released = NodeState { lease: Some(Duration::ZERO), ..node("a", 1, 5) };
        assert_eq!(orphans(&mut Lapses::default(), &[node("me", 7, 0), released], 1), ["a"]);
    }

    #[test]
    fn next_node_inherits_when_the_heir_is_gone_or_was_started_anew() {
        let mut lapses = Lapses::default();
        let heir = |id: &str, fence| NodeState {
            heir: Heir::Node { id: id.into(), fence },
            lease: Some(Duration::ZERO),
            ..node("a", 1, 5)
        };
        let alive = node("b", 2, 5);
        assert_eq!(orphans(&mut lapses, &[heir("b", 2), alive.clone()], 1), NOBODY);
        assert_eq!(orphans(&mut lapses, &[heir("b", 1), alive.clone()], 1), ["a"]);
        assert_eq!(orphans(&mut lapses, &[heir("b", 2), alive], 200), ["a", "b"]);
        assert_eq!(orphans(&mut lapses, &[heir("me", 7)], 200), NOBODY);
        assert_eq!(orphans(&mut lapses, &[heir("me", 6)], 200), ["a"]);
        let settled = NodeState { heir: Heir::Settled, ..heir("b", 2) };
        assert_eq!(orphans(&mut lapses, &[settled], 500), NOBODY);
    }
}
