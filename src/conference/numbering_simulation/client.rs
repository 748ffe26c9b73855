//! A client of the event socket, which compares every frame with what the store has kept.

use serde_json::Value;

use super::store::Store;
use crate::conference::log::Position;
use crate::event::{Change, Event, Roster};
use crate::ids::UserId;

/// Owns what one user's page knows.
pub struct Client {
    pub user: UserId,
    /// The node, and the socket's generation there.
    pub at: Option<(usize, u64)>,
    pub roster: Option<Roster>,
    /// Whether what it shows is everything, and not only itself.
    pub is_full: bool,
}

impl Client {
    pub fn new(user: UserId) -> Self {
        Self { user, at: None, roster: None, is_full: false }
    }

    pub fn position(&self) -> Option<Position> {
        self.roster.as_ref().map(|roster| Position { epoch: roster.epoch.clone(), seq: roster.seq })
    }

    pub fn receive(&mut self, frame: &str, store: &Store) {
        let frame: Value = serde_json::from_str(frame).expect("a frame is JSON");
        let params = &frame["params"];
        match frame["method"].as_str() {
            Some("conference.snapshot") => {
                let roster: Roster = serde_json::from_value(params.clone()).expect("a roster");
                self.is_full = params.get("waiting").is_some();
                if self.is_full {
                    let state = store.state(&roster.epoch, roster.seq);
                    assert_eq!(Some(&roster), state, "{}: a snapshot that never was", self.user);
                }
                self.roster = Some(roster);
            }
            Some("conference.event") => {
                self.event(&serde_json::from_str(&params.to_string()).expect("an event"), store)
            }
            _ => {}
        }
    }

    fn event(&mut self, event: &Event, store: &Store) {
        assert_eq!(Some(event), store.event(&event.epoch, event.seq), "{}: an event that never was", self.user);
        let is_own_removal = match &event.change {
            Change::MemberLeft(left) => left.user_id == self.user,
            Change::WaitingRemoved(gone) => gone.user_id == self.user,
            _ => false,
        };
        let follows = |roster: &Roster| (&event.epoch, event.seq) == (&roster.epoch, roster.seq + 1);
        if is_own_removal && !self.roster.as_ref().is_some_and(follows) {
            // Sent away before the first frame: that event alone, and nothing after it.
            self.roster = None;
            return;
        }
        let roster = self.roster.as_mut().expect("a snapshot precedes the first event");
        assert_eq!((&event.epoch, event.seq), (&roster.epoch, roster.seq + 1), "{}: a gap or a repeat", self.user);
        roster.apply(&event.change);
        roster.seq = event.seq;
        if self.is_full {
            let state = store.state(&event.epoch, event.seq);
            assert_eq!(Some(&*roster), state, "{}: replayed to another roster", self.user);
        }
        if is_own_removal && self.user.as_str() != "u0" {
            self.is_full = false;
        }
    }
}
