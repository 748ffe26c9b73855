//! Requests counted by method and outcome, and timed by method.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::refusal::{Kind, Refusal};
use crate::schema::{Method, Schema};

const DONE: usize = 0;
const REFUSED: usize = 1;
const FAULT: usize = 2;
/// The label of each.
const OUTCOMES: [&str; 3] = ["done", "refused", "fault"];

/// Looked up once for every method, not for every request. Made after the recorder is there.
pub struct Counters {
    methods: HashMap<String, ([Counter; 3], Histogram)>,
    unknown: Counter,
}

impl Counters {
    pub fn new(schema: &Schema) -> Self {
        let of = |method: &Method| {
            let seconds = metrics::histogram!("confgate_rpc_request_seconds", "method" => method.name.clone());
            (method.name.clone(), (OUTCOMES.map(|outcome| counter(&method.name, outcome)), seconds))
        };
        Self { methods: schema.methods().map(of).collect(), unknown: counter("unknown", OUTCOMES[REFUSED]) }
    }

    /// Counts a request for a method that is none.
    pub fn unknown(&self) {
        self.unknown.increment(1);
    }

    /// Counts one by how it went and how long it took, and gives the former as the label says it.
    pub fn count(&self, method: &Method, refusal: Option<&Refusal>, took: Duration) -> &'static str {
        let kind = match refusal {
            None => DONE,
            Some(refusal) if refusal.kind == Kind::Internal => FAULT,
            Some(_) => REFUSED,
        };
        if let Some((counters, seconds)) = self.methods.get(&method.name) {
            counters[kind].increment(1);
            seconds.record(took);
        }
        OUTCOMES[kind]
    }
}

fn counter(method: &str, outcome: &'static str) -> Counter {
    metrics::counter!("confgate_rpc_requests_total", "method" => method.to_owned(), "outcome" => outcome)
}
