//! The call gateways that other gateway nodes have registered, as the pool has them. Pure: what was read of the register
//! and the time are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::ids::Secret;
use crate::tls_client::Fingerprint;

/// A call gateway of another gateway node.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredNode {
    /// The id.
    pub id: String,
    /// The wss address.
    pub url: String,
    /// The region, to prefer a node near the client.
    pub region: Option<String>,
    /// Signs its tokens.
    pub secret: Secret,
    /// Certificates by which it is known.
    pub pins: Vec<Fingerprint>,
    /// The web origin of its gateway node's pages.
    pub origin: String,
}

/// What the pool is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// One more node.
    Add(RegisteredNode),
    /// The node of that id is another one from now on.
    Replace(RegisteredNode),
    /// The node shows another certificate from now on; its links stay.
    Repin(String, Vec<Fingerprint>),
    /// The node has left.
    Remove(String),
}

struct Known {
    node: RegisteredNode,
    /// Since when it has not been in the register.
    missing_since: Option<Moment>,
}

/// Owns which registered nodes the pool has.
pub struct RegisteredNodes {
    /// Ids of configured nodes: they precede registered ones.
    configured: BTreeSet<String>,
    /// How long a node that is no longer in the register is kept.
    grace: Duration,
    known: BTreeMap<String, Known>,
}

impl RegisteredNodes {
    pub fn new(configured: impl IntoIterator<Item = String>, grace: Duration) -> Self {
        Self { configured: configured.into_iter().collect(), grace, known: BTreeMap::new() }
    }

    /// Those that the pool has.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredNode> {
        self.known.values().map(|known| &known.node)
    }

    /// The register holds these nodes now. Of two with one id the first counts.
    pub fn merge(&mut self, read: Vec<RegisteredNode>, now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut seen = BTreeSet::new();
        for node in read {
            if !self.configured.contains(&node.id) && seen.insert(node.id.clone()) {
                changes.extend(self.enter(node));
            }
        }
        let grace = self.grace;
        for (id, _) in self.known.extract_if(.., |id, known| {
            !seen.contains(id) && now.since(*known.missing_since.get_or_insert(now)) >= grace
        }) {
            changes.push(Change::Remove(id));
        }
        changes
    }

    fn enter(&mut self, node: RegisteredNode) -> Option<Change> {
        let known = Known { node: node.clone(), missing_since: None };
        let Some(before) = self.known.insert(node.id.clone(), known) else { return Some(Change::Add(node)) };
        let repinned = RegisteredNode { pins: node.pins.clone(), ..before.node.clone() };
        match (before.node == node, repinned == node) {
            (true, _) => None,
            (false, true) => Some(Change::Repin(node.id, node.pins)),
            (false, false) => Some(Change::Replace(node)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_millis(100);

    fn node(id: &str, version: u8, pin: u8) -> RegisteredNode {
        RegisteredNode {
            id: id.into(),
            url: format!("wss://{id}.example.org:{version}/callgw"),
            region: None,
            secret: Secret::new("the shared secret"),
            pins: vec![Fingerprint::parse(&format!("{pin:02x}").repeat(32)).unwrap()],
            origin: "https://meet.example.org".into(),
        }
    }

    fn nodes() -> RegisteredNodes {
        RegisteredNodes::new(["configured".to_owned()], GRACE)
    }

    #[test]
    fn a_node_comes_changes_and_leaves_with_its_entry() {
        let mut nodes = nodes();
        let first = node("a", 1, 1);
        assert_eq!(nodes.merge(vec![first.clone()], Moment::at(0)), [Change::Add(first.clone())]);
        assert_eq!(nodes.merge(vec![first], Moment::at(1)), []);
        let repinned = node("a", 1, 2);
        assert_eq!(nodes.merge(vec![repinned.clone()], Moment::at(2)), [Change::Repin("a".into(), repinned.pins)]);
        let moved = node("a", 2, 2);
        assert_eq!(nodes.merge(vec![moved.clone()], Moment::at(3)), [Change::Replace(moved.clone())]);
        assert_eq!(nodes.merge(Vec::new(), Moment::at(4)), [], "as after an outage of the store");
        assert_eq!(nodes.merge(vec![moved], Moment::at(103)), []);
        assert_eq!(nodes.merge(Vec::new(), Moment::at(104)), []);
        assert_eq!(nodes.merge(Vec::new(), Moment::at(203)), []);
        assert_eq!(nodes.merge(Vec::new(), Moment::at(204)), [Change::Remove("a".into())]);
        assert_eq!(nodes.merge(Vec::new(), Moment::at(205)), []);
    }

    #[test]
    fn a_configured_node_precedes_a_registered_one_of_its_id() {
        let mut nodes = nodes();
        let read = vec![node("configured", 1, 1), node("a", 1, 1), node("a", 2, 1)];
        assert_eq!(nodes.merge(read, Moment::at(0)), [Change::Add(node("a", 1, 1))], "and of two the first counts");
    }

    proptest! {
        /// However the register changes, what the pool has by these changes is what was read, and beyond it only nodes
        /// that have been missing for less than the grace; never a configured one.
        #[test]
        fn the_pool_follows_the_register(
            reads in prop::collection::vec(
                (0_u64..80, prop::collection::vec((0_usize..4, 0_u8..3, 0_u8..3), 0..6)),
                1..30,
            )
        ) {
            let ids = ["configured", "a", "b", "c"];
            let (mut nodes, mut now) = (nodes(), 0);
            let mut pool: BTreeMap<String, RegisteredNode> = BTreeMap::new();
            let mut last_read: BTreeMap<String, u64> = BTreeMap::new();
            for (passed, read) in reads {
                now += passed;
                let read: Vec<RegisteredNode> = read.into_iter().map(|(id, v, pin)| node(ids[id], v, pin)).collect();
                for change in nodes.merge(read.clone(), Moment::at(now)) {
                    match change {
                        Change::Add(node) => prop_assert!(pool.insert(node.id.clone(), node).is_none()),
                        Change::Replace(node) => prop_assert!(pool.insert(node.id.clone(), node).is_some()),
                        Change::Repin(id, pins) => pool.get_mut(&id).expect("it is there").pins = pins,
                        Change::Remove(id) => prop_assert!(pool.remove(&id).is_some()),
                    }
                }
                prop_assert!(!pool.contains_key("configured"));
                let mut first: BTreeMap<String, RegisteredNode> = BTreeMap::new();
                for node in read.into_iter().filter(|node| node.id != "configured") {
                    first.entry(node.id.clone()).or_insert(node);
                }
                for (id, node) in &first {
                    prop_assert_eq!(pool.get(id), Some(node));
                    last_read.insert(id.clone(), now);
                }
                for id in pool.keys().filter(|id| !first.contains_key(*id)) {
                    prop_assert!(last_read.contains_key(id));
                }
                for (id, at) in &last_read {
                    // Missing since the first read without it, which was later than `at`.
                    let must_be_there = now - at < GRACE.as_millis() as u64;
                    prop_assert!(!must_be_there || pool.contains_key(id));
                }
            }
        }
    }
}
