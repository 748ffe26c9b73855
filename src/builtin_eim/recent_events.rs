//! The newest events of each conference, for a gateway node that did not follow it when they were sent. In memory only:
//! after a restart of the EIM who moves to such a node gets a snapshot.

use std::collections::{HashMap, VecDeque};

use crate::clock::Moment;
use crate::event::{Change, Event};
use crate::ids::ConfId;

/// Most events of one conference: as many as a gateway replays to one socket (half of `limits.socket_queue_frames`).
const EVENTS_MAX: usize = 256;
/// Most bytes of one conference's events. With every quotation mark escaped, that many fill a stanza.
const BYTES_MAX: usize = 128 * 1024;
/// Most bytes of all conferences' events: 20 of 330 bytes for each of 10 000 conferences. With [`KEPT_MS`], it takes
/// 1600 events a second to come there, each of which is a write to the store.
const ALL_BYTES_MAX: usize = 64 << 20;
/// How long an event is kept: twice the default of `limits.resume_window_ms`. Who is away for longer has lost their seat
/// and joins anew.
const KEPT_MS: u64 = 120_000;
/// Bytes that an event takes beside its text.
const EVENT_OVERHEAD: usize = 32;

/// Owns the events' texts. What is missing here is a snapshot more, so every bound drops.
#[derive(Debug)]
pub(super) struct RecentEvents {
    conferences: HashMap<ConfId, Tail>,
    bytes: usize,
    /// When those of conferences without news were dropped last.
    swept: Moment,
}

impl Default for RecentEvents {
    fn default() -> Self {
        Self { conferences: HashMap::new(), bytes: 0, swept: Moment::NEVER }
    }
}

/// Two EIMs of the same documents are the same EIM: what a restart forgets makes no difference.
impl PartialEq for RecentEvents {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The end of one conference's numbering, without gap.
#[derive(Debug)]
struct Tail {
    epoch: String,
    /// The number of the newest event.
    seq: u64,
    /// Each event's JSON, oldest first, and when it was sent.
    events: VecDeque<(Moment, Box<str>)>,
    bytes: usize,
}

impl RecentEvents {
    /// Takes the conference's next event, and its JSON.
    pub fn add(&mut self, event: &Event, json: &str, now: Moment) {
        self.sweep(now);
        if matches!(event.change, Change::Ended(_)) {
            return self.forget(&event.conf_id);
        }
        if self.bytes + cost(json) > ALL_BYTES_MAX {
            return self.forget(&event.conf_id);
        }
        let before = |tail: &Tail| (tail.epoch.as_str(), tail.seq) == (&event.epoch, event.seq.saturating_sub(1));
        if self.conferences.get(&event.conf_id).is_some_and(|tail| !before(tail)) {
            self.forget(&event.conf_id);
        }
        let tail = self.conferences.entry(event.conf_id.clone()).or_insert_with(|| Tail {
            epoch: event.epoch.clone(),
            seq: 0,
            events: VecDeque::new(),
            bytes: 0,
        });
        let bytes_before = tail.bytes;
        tail.seq = event.seq;
        tail.bytes += cost(json);
        tail.events.push_back((now, json.into()));
        tail.trim(now);
        self.bytes = self.bytes - bytes_before + tail.bytes;
    }

    /// The JSON of each event after `since` up to `until`, where all of them are here.
    pub fn between(
        &self,
        conf: &ConfId,
        epoch: &str,
        since: u64,
        until: u64,
    ) -> Option<impl ExactSizeIterator<Item = &str>> {
        let tail = self.conferences.get(conf).filter(|tail| tail.epoch == epoch)?;
        let oldest = tail.seq - tail.events.len() as u64;
        let is_here = oldest <= since && since <= until && until <= tail.seq;
        let index = |seq: u64| (seq - oldest) as usize;
        is_here.then(|| tail.events.range(index(since)..index(until)).map(|(_, json)| &**json))
    }

    /// The conference is over, or its events don't follow each other.
    pub fn forget(&mut self, conf: &ConfId) {
        if let Some(tail) = self.conferences.remove(conf) {
            self.bytes -= tail.bytes;
        }
    }

    /// Drops the events of conferences without news: nobody resumes from so long ago.
    fn sweep(&mut self, now: Moment) {
        if now < self.swept.plus_ms(KEPT_MS) {
            return;
        }
        self.swept = now;
        self.conferences.retain(|_, tail| tail.events.back().is_some_and(|(at, _)| now < at.plus_ms(KEPT_MS)));
        self.bytes = self.conferences.values().map(|tail| tail.bytes).sum();
    }
}

impl Tail {
    fn trim(&mut self, now: Moment) {
        let is_old = |at: Moment| at.plus_ms(KEPT_MS) <= now;
        while let Some((at, json)) = self.events.front() {
            if !is_old(*at) && self.events.len() <= EVENTS_MAX && self.bytes <= BYTES_MAX {
                return;
            }
            self.bytes -= cost(json);
            self.events.pop_front();
        }
    }
}

fn cost(json: &str) -> usize {
    json.len() + EVENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Conference, Message, MutePolicy, OPEN};
    use crate::ids::UserId;

    fn said(conf: usize, seq: u64, epoch: &str) -> Event {
        let message = Message {
            message_id: format!("m{seq}"),
            user_id: UserId::parse("u1").unwrap(),
            text: String::new(),
            time: 0,
        };
        Event {
            epoch: epoch.into(),
            seq,
            conf_id: ConfId::parse(&format!("c{conf}")).unwrap(),
            time: 0,
            change: Change::Message(message),
            actor: None,
        }
    }

    fn conference() -> Conference {
        Conference {
            conf_id: ConfId::parse("c0").unwrap(),
            conf_name: "Weekly".into(),
            state: OPEN,
            start_at: None,
            chair: UserId::parse("u1").unwrap(),
            locked: false,
            lobby: false,
            mute_policy: MutePolicy::Free,
            main_video: None,
            call: None,
        }
    }

    fn count(recent: &RecentEvents, conf: usize, epoch: &str, since: u64, until: u64) -> Option<usize> {
        let conf = ConfId::parse(&format!("c{conf}")).unwrap();
        recent.between(&conf, epoch, since, until).map(|all| all.len())
    }

    #[test]
    fn events_of_all_conferences_together_have_a_bound() {
        let (mut recent, json) = (RecentEvents::default(), "x".repeat(60_000));
        for seq in 1..=4 {
            for conf in 0..1000 {
                recent.add(&said(conf, seq, "e"), &json, Moment::at(1));
                assert!(recent.bytes <= ALL_BYTES_MAX);
                let counted: usize = recent.conferences.values().map(|tail| tail.bytes).sum();
                assert_eq!(recent.bytes, counted);
            }
        }
        assert!(recent.bytes > ALL_BYTES_MAX / 2);
        // Time makes room.
        let now = Moment::at(1).plus_ms(KEPT_MS);
        recent.add(&said(0, 5, "e"), "x", now);
        assert_eq!((recent.conferences.len(), recent.bytes), (1, cost("x")));
        recent.add(&Event { change: Change::Ended(conference()), ..said(0, 6, "e") }, "x", now);
        assert_eq!((recent.conferences.len(), recent.bytes), (0, 0));
    }

    #[test]
    fn one_conferences_events_are_the_newest_without_gap() {
        let (mut recent, now) = (RecentEvents::default(), Moment::at(1));
        for seq in 1..=1000 {
            recent.add(&said(0, seq, "e"), "x", now);
        }
        assert_eq!(count(&recent, 0, "e", 1000 - EVENTS_MAX as u64, 1000), Some(EVENTS_MAX));
        assert_eq!(count(&recent, 0, "e", 999 - EVENTS_MAX as u64, 1000), None);
        assert_eq!(count(&recent, 0, "e", 1000, 1000), Some(0));
        assert_eq!(count(&recent, 0, "e", 998, 999), Some(1), "up to a number before the last");
        for (epoch, since, until) in [("f", 998, 999), ("e", 1001, 1001), ("e", 999, 998), ("e", 990, 1001)] {
            assert_eq!(count(&recent, 0, epoch, since, until), None, "{epoch} {since} {until}");
        }
        // A store that was undone: numbers are given once more.
        recent.add(&said(0, 990, "e"), "x", now);
        assert_eq!((count(&recent, 0, "e", 989, 990), count(&recent, 0, "e", 988, 990)), (Some(1), None));
        recent.add(&said(0, 991, "f"), "x", now);
        assert_eq!((count(&recent, 0, "f", 990, 991), count(&recent, 0, "e", 989, 990)), (Some(1), None));
        // Large ones are fewer.
        for seq in 992..1000 {
            recent.add(&said(0, seq, "f"), &"x".repeat(BYTES_MAX / 2), now);
        }
        assert_eq!((count(&recent, 0, "f", 998, 999), count(&recent, 0, "f", 997, 999)), (Some(1), None));
    }
}
