//! To which conferences a user's event sockets listen. Pure.

use std::collections::BTreeMap;

use crate::ids::ConfId;

/// The conferences of one user, each with the generation of the socket that listens there.
///
/// A socket that takes over goes on with those of its predecessor. It may end before it listens itself, and then the
/// predecessor still counts as listening there: the conference has to learn that nobody does.
#[derive(Debug, Default, Clone)]
pub(super) struct Attached(BTreeMap<ConfId, u64>);

impl Attached {
    /// The socket of that generation listens to the conference, in the place of an earlier one.
    pub(super) fn attach(&mut self, conf: &ConfId, generation: u64) {
        self.0.insert(conf.clone(), generation);
    }

    /// Nobody listens to the conference any more.
    pub(super) fn forget(&mut self, conf: &ConfId) {
        self.0.remove(conf);
    }

    /// Those to which only sockets before the one of that generation have listened.
    pub(super) fn inherited(&self, generation: u64) -> impl Iterator<Item = &ConfId> {
        self.0.iter().filter(move |(_, listening)| **listening < generation).map(|(conf, _)| conf)
    }

    /// Those to which the socket of that generation listens itself.
    pub(super) fn own(&self, generation: u64) -> impl Iterator<Item = &ConfId> {
        self.0.iter().filter(move |(_, listening)| **listening == generation).map(|(conf, _)| conf)
    }

    /// Whether a socket of the user's listens to the conference, or its predecessor did.
    pub(super) fn has(&self, conf: &ConfId) -> bool {
        self.0.contains_key(conf)
    }

    /// Those that the user's last socket leaves behind, and the generation under which each knows the user.
    pub(super) fn detached(self) -> impl Iterator<Item = (ConfId, u64)> {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_ends_before_it_listens_leaves_what_its_predecessor_listened_to() {
        let conf = |id| ConfId::parse(id).unwrap();
        let mut first = Attached::default();
        first.attach(&conf("c1"), 1);
        first.attach(&conf("c2"), 1);
        first.attach(&conf("c3"), 1);
        // Taken over by the socket of generation 2, which has reached one of them.
        let mut second = first.clone();
        second.attach(&conf("c2"), 2);
        second.forget(&conf("c3"));
        assert!(second.has(&conf("c1")) && !second.has(&conf("c3")));
        assert_eq!(second.inherited(2).collect::<Vec<_>>(), [&conf("c1")]);
        assert_eq!(second.own(2).collect::<Vec<_>>(), [&conf("c2")]);
        let left: Vec<_> = second.detached().collect();
        assert_eq!(left, [(conf("c1"), 1), (conf("c2"), 2)]);
    }
}
