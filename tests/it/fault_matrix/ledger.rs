//! What the simulated guests saw and what was acknowledged to them, all together.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use confgate::clock::date_ms;
use confgate::event::{Change, Event, Roster};
use serde_json::Value;

/// Counted since the last [`Ledger::reset`], but for the acknowledged messages, which are never forgotten.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Events whose number was passed over on a socket without a snapshot.
    pub lost: u64,
    /// Events whose number came before.
    pub repeated: u64,
    /// Snapshots that came to a guest who had a roster, by their reason.
    pub snapshots: BTreeMap<String, u64>,
    /// Sockets that ended without their guest's doing.
    pub dropped: u64,
    /// Acknowledged operations.
    pub acknowledged: u64,
    /// Refusals and broken connections by their name.
    pub errors: BTreeMap<String, u64>,
    /// Texts of messages that were acknowledged.
    pub messages: BTreeSet<String>,
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Counts>>);

impl Ledger {
    pub fn write(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().expect("no guest panics in it")
    }

    pub fn error(&self, name: &str) {
        *self.write().errors.entry(name.to_owned()).or_default() += 1;
    }

    /// What was counted; counting begins anew.
    pub fn reset(&self) -> Counts {
        let mut counts = self.write();
        let messages = counts.messages.clone();
        std::mem::replace(&mut *counts, Counts { messages, ..Counts::default() })
    }
}

/// A guest's state of the one conference, followed event by event over its last snapshot.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub roster: Option<Roster>,
    pub is_connected: bool,
    /// Which gateway the socket is at.
    pub at: usize,
    /// Texts of all messages that it has ever seen.
    pub seen: BTreeSet<String>,
    /// The newest of what it asked and was told of itself, for a failure's report.
    pub history: VecDeque<String>,
    /// The last acknowledged hand; `None` where an answer was lost, so that nobody knows.
    pub hand: Option<bool>,
}

/// Entries of a guest's history.
const HISTORY: usize = 40;

impl View {
    pub fn note(&mut self, what: String) {
        let at = date_ms() % 1_000_000;
        self.history.truncate(HISTORY);
        self.history.push_front(format!("{at} {what}"));
    }

    /// `user`: the guest's own id.
    pub fn take(&mut self, method: &str, params: &Value, ledger: &Ledger, user: &str) {
        if method != "conference.event" || params["data"]["userId"] == user {
            let of_self = params["members"].as_array().map(|all| all.iter().any(|member| member["userId"] == user));
            let kind = params["type"].as_str().unwrap_or_default();
            self.note(format!(
                "{method} {kind} seq {} reason {} state {} in {of_self:?}",
                params["seq"], params["data"]["reason"], params["data"]["state"]
            ));
        }
        match method {
            "conference.snapshot" => {
                let roster: Roster = serde_json::from_value(params.clone()).expect("a snapshot is a roster");
                if self.roster.is_some() {
                    let reason = params["reason"].as_str().unwrap_or_default().to_owned();
                    *ledger.write().snapshots.entry(reason).or_default() += 1;
                }
                self.seen.extend(roster.messages.iter().map(|message| message.text.clone()));
                self.roster = Some(roster);
            }
            "conference.event" => {
                let event: Event = serde_json::from_value(params.clone()).expect("an event has its shape");
                self.event(&event, ledger);
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, ledger: &Ledger) {
        let Some(roster) = &mut self.roster else { return };
        let is_next = event.epoch == roster.epoch && event.seq == roster.seq + 1;
        if !is_next {
            let mut counts = ledger.write();
            match event.epoch == roster.epoch && event.seq <= roster.seq {
                true => counts.repeated += 1,
                false => counts.lost += 1,
            }
        }
        if let Change::Message(message) = &event.change {
            self.seen.insert(message.text.clone());
        }
        roster.apply(&event.change);
        roster.seq = event.seq;
    }

    /// Where it stands, as `resume` takes it.
    pub fn position(&self) -> Option<String> {
        let roster = self.roster.as_ref()?;
        Some(format!("{}:{}:{}", roster.conference.conf_id, roster.epoch, roster.seq))
    }

    /// The members by their ids, with what can change of them.
    pub fn members(&self) -> HashMap<String, Value> {
        let members = self.roster.iter().flat_map(|roster| &roster.members);
        members.map(|m| (m.user_id.to_string(), serde_json::to_value(m).expect("a member is JSON"))).collect()
    }
}
