//! Where each conference's numbers are, as this node knows it: with an owner here, or at another node. Pure.

use std::collections::HashMap;

use crate::ids::ConfId;

/// The place of one conference's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location<T> {
    /// An owner here.
    Here(T),
    /// That node has them.
    There(String),
}

/// All that are known. What isn't is asked of the store. `T` is an owner here.
#[derive(Debug)]
pub struct Locations<T>(HashMap<ConfId, Location<T>>);

impl<T: Clone> Locations<T> {
    /// None is known.
    pub fn new() -> Self {
        Self(HashMap::new())
    }

    /// The place, where it is known.
    pub fn get(&self, conf: &ConfId) -> Option<Location<T>> {
        self.0.get(conf).cloned()
    }

    /// An owner begins here.
    pub fn begin(&mut self, conf: &ConfId, owner: T) {
        self.0.insert(conf.clone(), Location::Here(owner));
    }

    /// The owner here has ended, and nobody is known to go on.
    pub fn end(&mut self, conf: &ConfId) {
        if matches!(self.0.get(conf), Some(Location::Here(_))) {
            self.0.remove(conf);
        }
    }

    /// The owner here is none: that node is.
    pub fn moved(&mut self, conf: &ConfId, node: &str) {
        self.0.insert(conf.clone(), Location::There(node.to_owned()));
    }

    /// That node says that it isn't the owner, or is asked as one while another was known here. Answers whether that was
    /// believed until now.
    pub fn elsewhere(&mut self, conf: &ConfId, node: Option<&str>) -> bool {
        let is_so = |place: &Location<T>| match place {
            Location::There(known) => node.is_none_or(|node| node == known),
            Location::Here(_) => false,
        };
        let was_so = self.0.get(conf).is_some_and(is_so);
        if was_so {
            self.0.remove(conf);
        }
        was_so
    }

    /// That node can't be reached, or is gone: what was there is asked of the store again. Answers what that is.
    pub fn lost(&mut self, node: &str) -> Vec<ConfId> {
        let is_there = |place: &Location<T>| matches!(place, Location::There(known) if known == node);
        self.0.extract_if(|_, place| is_there(place)).map(|(conf, _)| conf).collect()
    }

    /// The owners here.
    pub fn here(&self) -> impl Iterator<Item = &T> {
        self.0.values().filter_map(|place| match place {
            Location::Here(owner) => Some(owner),
            Location::There(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_forgotten_with_the_node_that_had_it_and_no_other() {
        let conf = |id| ConfId::parse(id).unwrap();
        let mut locations = Locations::new();
        locations.begin(&conf("c1"), 1);
        locations.moved(&conf("c2"), "b");
        locations.moved(&conf("c3"), "c");
        assert!(
            !locations.elsewhere(&conf("c1"), Some("b")) && !locations.elsewhere(&conf("c2"), Some("c")),
            "late notices"
        );
        assert_eq!(locations.lost("b"), [conf("c2")]);
        assert!(locations.elsewhere(&conf("c3"), Some("c")) && locations.get(&conf("c3")).is_none());
        locations.moved(&conf("c1"), "b");
        locations.end(&conf("c1"));
        assert_eq!(locations.get(&conf("c1")), Some(Location::There("b".into())), "it has ended before");
        assert!(locations.elsewhere(&conf("c1"), None) && locations.here().next().is_none());
    }
}
