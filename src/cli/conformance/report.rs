//! The table, printed row by row as the conversation goes on.

use std::collections::BTreeMap;
use std::io;

use serde_json::json;

use super::operations::{Need, OPERATIONS, Operation};
use crate::app::print::print;

/// A request and its answer as text, without secrets.
#[derive(Debug, Clone)]
pub struct RoundTrip {
    /// The request's stanza.
    pub request: String,
    /// The answer's, or in words why there is none.
    pub answer: String,
}

/// The result of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// Because of a row before it.
    NotReached,
    /// Because it can't be asked in this configuration, or of no EIM.
    NotAsked,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotReached | Self::NotAsked => "not asked",
        }
    }
}

/// The rows so far.
pub struct Report {
    /// Rows as JSON lines.
    as_json: bool,
    rows: BTreeMap<&'static str, Outcome>,
    /// Whether there is somebody to read it.
    printed: io::Result<()>,
}

impl Report {
    /// An empty one.
    pub fn new(as_json: bool) -> Self {
        Self { as_json, rows: BTreeMap::new(), printed: Ok(()) }
    }

    /// The operation works; `note` says what was seen.
    pub fn passed(&mut self, row: &'static str, note: &str) {
        self.add(row, Outcome::Passed, note, None);
    }

    /// The operation does not work, and why, with the stanzas that show it.
    pub fn failed(&mut self, row: &'static str, why: &str, shown: Option<&RoundTrip>) {
        self.add(row, Outcome::Failed, why, shown);
    }

    /// The operation is not asked in this configuration, or never.
    pub fn not_asked(&mut self, row: &'static str, why: &str) {
        self.add(row, Outcome::NotAsked, why, None);
    }

    /// The operation can't be asked, because of a row before it.
    pub fn not_reached(&mut self, row: &'static str, because: &str) {
        self.add(row, Outcome::NotReached, because, None);
    }

    /// Whether that row has been printed.
    pub fn has(&self, row: &str) -> bool {
        self.rows.contains_key(row)
    }

    /// Whether that row has passed.
    pub fn has_passed(&self, row: &str) -> bool {
        self.rows.get(row) == Some(&Outcome::Passed)
    }

    /// Prints the rows that are left as not asked, for that reason, and the sums. True where no must failed or was out of
    /// reach.
    ///
    /// # Errors
    /// Where it can't be printed.
    pub fn finish(mut self, because: &str) -> io::Result<bool> {
        for operation in OPERATIONS {
            if !self.has(operation.name) {
                self.not_reached(operation.name, because);
            }
        }
        let sums = [Need::Must, Need::Should, Need::May].map(|need| self.sum(need));
        let conforms = self.count(Need::Must, Outcome::Failed) + self.count(Need::Must, Outcome::NotReached) == 0;
        let end = if conforms {
            "Every must passed: the gateway works with this EIM."
        } else {
            "Not every must passed. docs/integration.md, \"What an EIM must answer\", says what each is for."
        };
        if self.as_json {
            self.write(&json!({ "conforms": conforms }).to_string());
        } else {
            self.write(&format!("\n{}\n{end}", sums.join("; ")));
        }
        self.printed.map(|()| conforms)
    }

    /// A line that is no row.
    pub fn remark(&mut self, text: &str) {
        let line = if self.as_json { json!({ "remark": text }).to_string() } else { text.to_owned() };
        self.write(&line);
    }

    fn add(&mut self, row: &'static str, outcome: Outcome, note: &str, shown: Option<&RoundTrip>) {
        let operation = Operation::of(row);
        if self.rows.insert(operation.name, outcome).is_some() {
            return;
        }
        let text = if self.as_json {
            as_json(operation, outcome, note, shown)
        } else {
            as_text(operation, outcome, note, shown)
        };
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if self.printed.is_ok() {
            self.printed = print(text);
        }
    }

    fn count(&self, need: Need, outcome: Outcome) -> usize {
        let is_counted =
            |operation: &&Operation| operation.need == need && self.rows.get(operation.name) == Some(&outcome);
        OPERATIONS.iter().filter(is_counted).count()
    }

    fn sum(&self, need: Need) -> String {
        let not_asked = self.count(need, Outcome::NotReached) + self.count(need, Outcome::NotAsked);
        let (passed, failed) = (self.count(need, Outcome::Passed), self.count(need, Outcome::Failed));
        format!("{}: {passed} passed, {failed} failed, {not_asked} not asked", need.word())
    }
}

fn as_text(operation: &Operation, outcome: Outcome, note: &str, shown: Option<&RoundTrip>) -> String {
    let width = OPERATIONS.iter().map(|operation| operation.name.len()).max().unwrap_or_default();
    let mut text = format!("{:<9}  {:<6}  {:<width$}  {note}", outcome.word(), operation.need.word(), operation.name);
    if outcome != Outcome::Failed {
        return text;
    }
    let mut more = Vec::new();
    if let Some(RoundTrip { request, answer }) = shown {
        more.extend([("request", request.clone()), ("answer", answer.clone())]);
    }
    more.push(("effect", operation.effect.to_owned()));
    more.push(("see", see(operation)));
    for (word, line) in more {
        text.push_str(&format!("\n             {word:<8} {line}"));
    }
    text
}

fn as_json(operation: &Operation, outcome: Outcome, note: &str, shown: Option<&RoundTrip>) -> String {
    let mut row = json!({
        "operation": operation.name, "need": operation.need.word(), "outcome": outcome.word().to_lowercase(), "note": note,
    });
    if outcome == Outcome::Failed {
        (row["effect"], row["see"]) = (json!(operation.effect), json!(see(operation)));
    }
    if let Some(RoundTrip { request, answer }) = shown {
        (row["request"], row["answer"]) = (json!(request), json!(answer));
    }
    row.to_string()
}

/// The place that says how it should be.
fn see(operation: &Operation) -> String {
    match operation.entry() {
        Some(entry) => format!("rpc-schema/iq/{entry}.iq"),
        None if operation.name.starts_with("event ") => "docs/integration.md, \"Events\"".to_owned(),
        None => "docs/integration.md, \"Connections to the EIM\"".to_owned(),
    }
}
