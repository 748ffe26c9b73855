//! Requests counted by method and outcome, and timed by method.

use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::refusal::{Kind, Refusal};

const DONE: usize = 0;
const REFUSED: usize = 1;
const FAULT: usize = 2;
/// The label of each.
const OUTCOMES: [&str; 3] = ["done", "refused", "fault"];

/// One method's; looked up once, not for every request. Made after the recorder is there.
pub(super) struct MethodCounters {
    outcomes: [Counter; 3],
    seconds: Histogram,
}

impl MethodCounters {
    /// The counters of that method.
    pub fn new(method: &str) -> Self {
        let seconds = metrics::histogram!("confgate_rpc_request_seconds", "method" => method.to_owned());
        Self { outcomes: OUTCOMES.map(|outcome| counter(method, outcome)), seconds }
    }

    /// Counts one by how it went and how long it took, and gives the former as the label says it.
    pub fn count(&self, refusal: Option<&Refusal>, took: Duration) -> &'static str {
        let kind = match refusal {
            None => DONE,
            Some(refusal) if refusal.kind == Kind::Internal => FAULT,
            Some(_) => REFUSED,
        };
        self.outcomes[kind].increment(1);
        self.seconds.record(took);
        OUTCOMES[kind]
    }
}

/// For requests for a method that is none.
pub(super) fn unknown_methods() -> Counter {
    counter("unknown", OUTCOMES[REFUSED])
}

fn counter(method: &str, outcome: &'static str) -> Counter {
    metrics::counter!("confgate_rpc_requests_total", "method" => method.to_owned(), "outcome" => outcome)
}
