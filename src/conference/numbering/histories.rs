//! Random histories: an EIM whose changes are lost, repeated and reordered, gateways that are killed, people who come and
//! go. After the last fault the numbered events give the EIM's roster, and each client has every number once.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::tests::{claim, conference, event, member};
use super::*;
use crate::conference::log::Position;
use crate::event::Message;

const SEEDS: u64 = 1000;
const STEPS: usize = 120;
const EVERY: u64 = 5000;
/// Fewer than a history has, so that a client may come too late for the log.
const KEEP: usize = 40;

/// What the store has.
struct Stored {
    roster: Roster,
    events: Vec<Event>,
    kept: Kept,
}

struct World {
    rng: StdRng,
    now: u64,
    eim: Roster,
    /// Changes on their way to the gateway.
    changes: Vec<ConferenceEvent>,
    numbering: Numbering,
    stored: Option<Stored>,
    /// A roster on its way, once the EIM has read the request.
    answer: Option<Option<Roster>>,
    leaving: Vec<UserId>,
    client: Option<Roster>,
    generation: u64,
    next_id: u64,
    differences: usize,
    restarts: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let eim = Roster {
            epoch: String::new(),
            seq: 0,
            conference: conference(),
            members: vec![member("u0", 1)],
            waiting: vec![],
            messages: vec![],
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: 1000,
            eim,
            changes: vec![],
            numbering: Numbering::new(conference().conf_id, KEEP, EVERY),
            stored: None,
            answer: None,
            leaving: vec![],
            client: None,
            generation: 1,
            next_id: 0,
            differences: 0,
            restarts: 0,
        }
    }

    fn some_user(&mut self) -> UserId {
        UserId::parse(&format!("u{}", self.rng.random_range(0..5))).unwrap()
    }

    /// The EIM changes, and tells it, perhaps.
    fn eim_change(&mut self, change: Change) {
        self.eim.apply(&change);
        self.changes.push(event(change, self.now));
    }

    fn eim_acts(&mut self) {
        let user = self.some_user();
        let (is_in, waits) = (self.eim.member(&user).cloned(), self.eim.waiter(&user).cloned());
        let left = |reason| Change::MemberLeft(Left { user_id: user.clone(), reason });
        let change = match (self.rng.random_range(0..9), is_in, waits) {
            (0..3, None, None) => Change::MemberJoined(member(user.as_str(), self.now)),
            (3, None, None) => {
                Change::WaitingAdded(Member { state: MemberState::Waiting, ..member(user.as_str(), self.now) })
            }
            (0..4, None, Some(_)) => {
                let reason = WaitingReason::Admitted;
                self.eim_change(Change::WaitingRemoved(WaitingRemoved { user_id: user.clone(), reason }));
                Change::MemberJoined(member(user.as_str(), self.now))
            }
            (0, Some(_), _) => left(LeftReason::Left),
            (1, Some(_), _) => left(LeftReason::Kicked),
            (2..5, Some(m), _) => Change::MemberUpdated(Member { hand: !m.hand, ..m }),
            (5, ..) => {
                let locked = !self.eim.conference.locked;
                let conference = Conference { locked, ..self.eim.conference.clone() };
                if locked { Change::Locked(conference) } else { Change::Unlocked(conference) }
            }
            (6 | 7, ..) => {
                self.next_id += 1;
                let message_id = format!("m{}", self.next_id);
                Change::Message(Message { message_id, user_id: user, text: "x".into(), time: self.now })
            }
            _ => return,
        };
        self.eim_change(change);
    }

    /// One of the changes arrives, in whatever order; some twice, some never.
    fn arrive(&mut self, faults: bool) {
        if self.changes.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.changes.len());
        let change = match self.rng.random_range(0..10) {
            0 if faults => self.changes[at].clone(),
            1 if faults => return drop(self.changes.remove(at)),
            _ => self.changes.remove(at),
        };
        let (mut out, now) = (Vec::new(), self.now);
        self.numbering.change(change, now, &mut out);
        self.carry_out(out, faults);
    }

    /// As the shell does: first the store, then the clients. Between the two the process may be killed.
    fn carry_out(&mut self, out: Vec<Order>, faults: bool) {
        self.keep();
        let is_killed = faults && self.rng.random_range(0..40) == 0;
        for order in out {
            match order {
                Order::Deliver(event) if !is_killed => {
                    let Some(client) = &mut self.client else { continue };
                    assert_eq!((&event.epoch, event.seq), (&client.epoch, client.seq + 1), "no gap, no repeat");
                    client.apply(&event.change);
                    client.seq = event.seq;
                }
                Order::Deliver(_) => {}
                Order::ReadRoster => self.answer = Some(None),
                Order::Leave(user) => self.leaving.push(user),
            }
        }
        if is_killed {
            self.restart();
        }
    }

    fn keep(&mut self) {
        let Some(log) = self.numbering.log() else { return };
        let epoch = log.roster().epoch.clone();
        let events: Vec<Event> = log.entries().cloned().collect();
        // A roster is written now and then only.
        let stored = self.stored.take().filter(|stored| stored.roster.epoch == epoch);
        let is_old = stored.as_ref().is_none_or(|old| events.first().is_none_or(|first| first.seq > old.roster.seq));
        let roster = stored.map(|stored| stored.roster).filter(|_| !is_old).unwrap_or_else(|| log.roster().clone());
        self.stored = Some(Stored { roster, events, kept: self.numbering.kept() });
    }

    fn restart(&mut self) {
        self.restarts += 1;
        (self.answer, self.leaving) = (None, vec![]);
        self.numbering = Numbering::new(conference().conf_id, KEEP, EVERY);
        if let Some(Stored { roster, events, kept }) = self.stored.take() {
            self.numbering.resume(roster, events, kept);
        }
        self.generation += 1;
        let (mut out, now, generation) = (Vec::new(), self.now, self.generation);
        self.numbering.reset(&claim(generation), now, now, &mut out);
        self.keep();
        self.resume_client();
    }

    /// The client comes back, with the events that it missed or with a snapshot.
    fn resume_client(&mut self) {
        let Some(log) = self.numbering.log() else { return };
        let roster = log.roster().clone();
        let Some(client) = &mut self.client else {
            self.client = Some(roster);
            return;
        };
        let position = Position { epoch: client.epoch.clone(), seq: client.seq };
        match log.since(&position) {
            Ok(missed) => {
                for entry in missed {
                    assert_eq!(entry.event.seq, client.seq + 1);
                    client.apply(&entry.event.change);
                    client.seq = entry.event.seq;
                }
                assert_eq!(*client, roster);
            }
            Err(_) => {
                assert!(client.epoch != roster.epoch || client.seq < roster.seq, "a number was given twice");
                self.client = Some(roster);
            }
        }
    }

    fn answer_roster(&mut self, faults: bool) {
        match self.answer.take() {
            // The EIM reads the request.
            Some(None) => self.answer = Some(Some(self.eim.clone())),
            Some(Some(roster)) => {
                let (mut out, now) = (Vec::new(), self.now);
                if faults && self.rng.random_range(0..5) == 0 {
                    self.numbering.on_no_roster(NoRoster::NotNow, now, now, &mut out);
                } else {
                    let epoch = format!("e{}", self.restarts);
                    self.differences += self.numbering.on_roster(roster, epoch, now, now, &mut out);
                }
                self.carry_out(out, faults);
                if self.client.is_none() {
                    self.resume_client();
                }
            }
            None => {}
        }
    }

    fn leave_at_eim(&mut self, faults: bool) {
        let Some(user) = self.leaving.pop() else { return };
        let is_reached = !faults || self.rng.random_range(0..4) > 0;
        if is_reached && self.eim.member(&user).is_some() {
            self.eim_change(Change::MemberLeft(Left { user_id: user.clone(), reason: LeftReason::Left }));
        } else if is_reached && self.eim.waiter(&user).is_some() {
            let reason = WaitingReason::Left;
            self.eim_change(Change::WaitingRemoved(WaitingRemoved { user_id: user.clone(), reason }));
        }
        let now = self.now;
        self.numbering.on_left(&user, is_reached.then_some(true), now);
    }

    fn socket(&mut self) {
        let user = self.some_user();
        let (mut out, now) = (Vec::new(), self.now);
        self.generation += 1;
        let claim = claim(self.generation - self.rng.random_range(0..2));
        if self.numbering.roster().is_none() {
            return;
        }
        match self.rng.random_range(0..3) {
            0 => drop(self.numbering.subscribe(&user, &claim, now, now, &mut out)),
            1 => self.numbering.away(&user, &claim, now, now, &mut out),
            _ => self.numbering.gone(&user, &claim, 3000, now, now, &mut out),
        }
        self.carry_out(out, true);
    }

    fn tick(&mut self, faults: bool) {
        let (mut out, now) = (Vec::new(), self.now);
        self.numbering.tick(now, &mut out);
        self.carry_out(out, faults);
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.now += self.rng.random_range(0..300);
            match self.rng.random_range(0..12) {
                0..4 => self.eim_acts(),
                4..7 => self.arrive(true),
                7 => self.socket(),
                8 => self.leave_at_eim(true),
                9 => self.answer_roster(true),
                10 => self.tick(true),
                _ if self.rng.random_range(0..15) == 0 => self.restart(),
                _ => {}
            }
        }
        // No more faults.
        while !self.changes.is_empty() {
            self.arrive(false);
        }
        for _ in 0..100 {
            self.now += 500;
            self.tick(false);
            self.answer_roster(false);
            self.answer_roster(false);
            self.leave_at_eim(false);
            while !self.changes.is_empty() {
                self.arrive(false);
            }
        }
        self.check();
    }

    fn check(&self) {
        let ours = self.numbering.roster().expect("it has one");
        let ids = |members: &[Member]| members.iter().map(|m| m.user_id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&ours.members), ids(&self.eim.members));
        let seen = self.numbering.as_seen(self.eim.clone());
        assert_eq!((&ours.conference, &ours.members, &ours.waiting), (&seen.conference, &seen.members, &seen.waiting));
        let messages = |roster: &Roster| {
            let mut ids: Vec<_> = roster.messages.iter().map(|m| m.message_id.clone()).collect();
            ids.sort();
            ids
        };
        assert_eq!(messages(ours), messages(&self.eim));
        assert_eq!(self.client.as_ref(), Some(ours), "a client that applies the events has the roster");
    }
}

#[test]
fn numbered_events_give_the_eims_roster_whatever_is_lost_repeated_or_late() {
    let one = std::env::var("CONFGATE_SIMULATION_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let (mut differences, mut restarts, mut last) = (0, 0, 0);
    for seed in one.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            (world.differences, world.restarts, world.numbering.roster().map_or(0, |roster| roster.seq))
        });
        let Ok((found, again, seq)) = outcome else { panic!("seed {seed} fails") };
        (differences, restarts, last) = (differences + found, restarts + again, last.max(seq));
    }
    println!("{differences} differences, {restarts} restarts, {last} events at the most");
    assert!(one.is_some() || differences > SEEDS as usize && restarts > SEEDS as usize / 2 && last > KEEP as u64);
}
