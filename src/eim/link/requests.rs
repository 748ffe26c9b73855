//! The requests of one link that await their answers. Pure: time and waiters are arguments.
//!
//! An answer belongs to a request by id **and** sender: an id alone could be guessed by whoever can reach us.

use std::collections::{BTreeSet, HashMap};

use smol_str::{SmolStr, format_smolstr};
use tokio::time::Instant;

use crate::ids::random_text;
use crate::xmpp::jid::same_address;

/// Why an answer was dropped; also the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// The id is one of ours, and its request is over (answered before, or past its deadline).
    Late,
    /// The id was never ours.
    UnknownId,
    /// Not from whom the request went to. The request stays under way.
    WrongSender,
}

impl Stray {
    pub fn label(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::UnknownId => "unknown_id",
            Self::WrongSender => "wrong_sender",
        }
    }
}

struct Waiting<W> {
    to: SmolStr,
    deadline: Instant,
    waiter: W,
}

/// See the module. `W` is whoever awaits the answer. How many may be under way is the caller's bound.
pub struct UnderWay<W> {
    /// Random for each connection, so that an answer to an earlier one's request matches nothing.
    prefix: String,
    last: u64,
    table: HashMap<u64, Waiting<W>>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Addresses that an absent `from` stands for (RFC 6120 section 8.1.2.1). None on a component's stream.
    implied: Vec<String>,
}

impl<W> UnderWay<W> {
    pub fn new(implied: Vec<String>) -> Self {
        let prefix = format!("{}-", random_text(8));
        Self { prefix, last: 0, table: HashMap::new(), deadlines: BTreeSet::new(), implied }
    }

    /// Registers a request to `to` (empty for none) and gives the id that it must bear.
    pub fn add(&mut self, to: impl Into<SmolStr>, deadline: Instant, waiter: W) -> SmolStr {
        self.last += 1;
        self.table.insert(self.last, Waiting { to: to.into(), deadline, waiter });
        self.deadlines.insert((deadline, self.last));
        format_smolstr!("{}{:x}", self.prefix, self.last)
    }

    /// Takes out the request that this answer belongs to.
    pub fn answer(&mut self, id: &str, from: Option<&str>) -> Result<W, Stray> {
        let number = self.number(id).ok_or(Stray::UnknownId)?;
        let waiting = self.table.get(&number).ok_or(Stray::Late)?;
        if !self.is_from(&waiting.to, from) {
            return Err(Stray::WrongSender);
        }
        self.take(number).ok_or(Stray::Late)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// When the next request is over, if any is under way.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes out one request whose deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Option<W> {
        let (at, number) = *self.deadlines.first()?;
        if at <= now { self.take(number) } else { None }
    }

    /// Takes out everything.
    pub fn drain(&mut self) -> impl Iterator<Item = W> {
        self.deadlines.clear();
        self.table.drain().map(|(_, waiting)| waiting.waiter)
    }

    fn take(&mut self, number: u64) -> Option<W> {
        let waiting = self.table.remove(&number)?;
        self.deadlines.remove(&(waiting.deadline, number));
        Some(waiting.waiter)
    }

    /// The number in an id that we have given out; written back it must be the same text.
    fn number(&self, id: &str) -> Option<u64> {
        let hex = id.strip_prefix(self.prefix.as_str())?;
        let number = u64::from_str_radix(hex, 16).ok()?;
        let canonical = !hex.starts_with(['0', '+']) && !hex.bytes().any(|b| b.is_ascii_uppercase());
        (canonical && number <= self.last).then_some(number)
    }

    fn is_from(&self, to: &str, from: Option<&str>) -> bool {
        let implied = |address: &str| self.implied.iter().any(|own| same_address(own, address));
        match from {
            Some(from) if to.is_empty() => implied(from),
            Some(from) => same_address(from, to),
            None => !self.implied.is_empty() && (to.is_empty() || implied(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_answer_needs_the_id_and_the_sender() {
        let (mut requests, at) = (UnderWay::new(vec![]), Instant::now());
        let id = requests.add("a.x", at, 1);
        assert_eq!(requests.answer("1", Some("a.x")), Err(Stray::UnknownId));
        assert_eq!(requests.answer(&id, Some("b.x")), Err(Stray::WrongSender));
        assert_eq!(requests.answer(&id, None), Err(Stray::WrongSender));
        assert_eq!(requests.answer(&id, Some("A.x")), Ok(1));
        assert_eq!(requests.answer(&id, Some("a.x")), Err(Stray::Late), "answered twice");
        assert_eq!(requests.next_deadline(), None);
        let other = UnderWay::<u8>::new(vec![]).add("a.x", at, 1);
        assert_eq!(requests.answer(&other, Some("a.x")), Err(Stray::UnknownId), "another connection's id");
        assert_eq!(requests.answer(&format!("{id}0000000000000000000"), None), Err(Stray::UnknownId));
    }

    #[test]
    fn in_a_session_no_sender_means_the_account_itself() {
        let (mut requests, at) = (UnderWay::new(vec!["u@x".into(), "x".into()]), Instant::now());
        for (to, from, ok) in [
            ("u@x", None, true),
            ("x", None, true),
            ("", None, true),
            ("", Some("u@x"), true),
            ("", Some("v@x"), false),
            ("y.x", None, false),
        ] {
            let id = requests.add(to, at, ());
            assert_eq!(requests.answer(&id, from).is_ok(), ok, "{to:?} {from:?}");
        }
    }

    #[test]
    fn deadlines_pass_in_order() {
        let (mut requests, at) = (UnderWay::new(vec![]), Instant::now());
        requests.add("x", at + second(2), 2);
        requests.add("x", at + second(1), 1);
        let third = requests.add("x", at + second(3), 3);
        assert_eq!(requests.next_deadline(), Some(at + second(1)));
        assert_eq!(requests.expire(at), None);
        assert_eq!(requests.expire(at + second(2)), Some(1));
        assert_eq!(requests.expire(at + second(2)), Some(2));
        assert_eq!(requests.expire(at + second(2)), None);
        assert_eq!(requests.answer(&third, Some("x")), Ok(3));
    }

    proptest! {
        #[test]
        fn each_request_is_over_exactly_once(steps in proptest::collection::vec((0u8..4, 0usize..20), 1..200)) {
            let (mut requests, at) = (UnderWay::new(vec![]), Instant::now());
            let (mut ids, mut over, mut added) = (Vec::new(), Vec::new(), 0u32);
            for (step, n) in steps {
                match step {
                    0 | 1 => {
                        ids.push(requests.add("x", at + second(n as u64), added));
                        added += 1;
                    }
                    2 => over.extend(ids.get(n).and_then(|id| requests.answer(id, Some("x")).ok())),
                    _ => over.extend(requests.expire(at + second(n as u64))),
                }
            }
            over.extend(requests.drain());
            over.sort_unstable();
            prop_assert_eq!(over, (0..added).collect::<Vec<_>>());
        }
    }
}
