//! A client's state on the event socket: each conference's roster, followed event by event over its snapshot.

use std::collections::HashMap;

use confgate::event::{Change, Event, Roster};
use serde_json::Value;

/// The rosters of the conferences that one user follows. Fails the test where the numbering has a gap or a repeat.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    rosters: HashMap<String, Roster>,
}

impl Follower {
    /// Takes a notification of the event socket; one that isn't numbered changes nothing.
    #[track_caller]
    pub fn take(&mut self, method: &str, params: &Value) {
        match method {
            "conference.snapshot" => {
                let roster: Roster = read(params);
                self.rosters.insert(conference(params), roster);
            }
            "conference.event" => self.event(&conference(params), &read(params)),
            _ => {}
        }
    }

    #[track_caller]
    fn event(&mut self, conf_id: &str, event: &Event) {
        if let Change::Created(conference) = &event.change {
            assert_eq!(event.seq, 1, "a conference begins with its creation");
            let (epoch, conference) = (event.epoch.clone(), conference.clone());
            let nobody = Roster { epoch, seq: 0, conference, members: vec![], waiting: vec![], messages: vec![] };
            self.rosters.entry(conf_id.to_owned()).or_insert(nobody);
        }
        // A member that is removed at the moment of its join gets that event, and none before it.
        let sends_away = matches!(event.change, Change::MemberLeft(_) | Change::WaitingRemoved(_));
        if sends_away && !self.rosters.contains_key(conf_id) {
            return;
        }
        let Some(roster) = self.rosters.get_mut(conf_id) else {
            panic!("an event of a conference without a snapshot: {event:?}");
        };
        assert_eq!(event.epoch, roster.epoch, "another epoch without a snapshot: {event:?}");
        assert_eq!(event.seq, roster.seq + 1, "a gap or a repeat after {}: {event:?}", roster.seq);
        roster.apply(&event.change);
        roster.seq = event.seq;
    }

    #[track_caller]
    pub fn roster(&self, conf_id: &str) -> &Roster {
        self.rosters.get(conf_id).unwrap_or_else(|| panic!("no snapshot of {conf_id} came"))
    }

    /// Where it stands, as `resume` takes it: `<confId>:<epoch>:<seq>` for each conference.
    pub fn positions(&self) -> Vec<String> {
        let position = |(conf_id, roster): (&String, &Roster)| format!("{conf_id}:{}:{}", roster.epoch, roster.seq);
        self.rosters.iter().map(position).collect()
    }
}

#[track_caller]
fn read<T: serde::de::DeserializeOwned>(params: &Value) -> T {
    serde_json::from_value(params.clone()).unwrap_or_else(|e| panic!("{e} in {params}"))
}

#[track_caller]
fn conference(params: &Value) -> String {
    params["confId"].as_str().unwrap_or_else(|| panic!("no confId in {params}")).to_owned()
}
