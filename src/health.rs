//! How a part is (the store, the link to the EIM, the call gateways), and since when: what operators and sockets are
//! told.

use crate::clock::date_ms;

/// A part's state, and for how long it has been so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether it works.
    pub up: bool,
    /// Ms since 1970.
    pub since_ms: u64,
    /// For operators: what the last attempt or connection ended with. Empty while up.
    pub why: String,
    /// The other side refuses the secret or the password: that doesn't pass by itself.
    pub refused: bool,
}

impl Health {
    /// The part works, since now.
    pub fn up() -> Self {
        Self { up: true, since_ms: date_ms(), why: String::new(), refused: false }
    }

    /// The part doesn't work, since now.
    pub fn down(why: impl Into<String>) -> Self {
        Self { up: false, since_ms: date_ms(), why: why.into(), refused: false }
    }

    /// Takes what is seen now if the part has gone or come back; answers whether it has. An outage keeps its first
    /// reason and its beginning.
    pub fn turn(&mut self, now: Self) -> bool {
        let turned = self.up != now.up;
        if turned {
            *self = now;
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_keeps_its_first_reason() {
        let mut health = Health::up();
        assert!(!health.turn(Health::up()));
        assert!(health.turn(Health::down("first")));
        assert!(!health.turn(Health::down("second")));
        assert_eq!(health.why, "first");
        assert!(health.turn(Health::up()));
        assert_eq!(health.why, "");
    }
}
