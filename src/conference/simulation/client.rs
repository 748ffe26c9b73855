//! A client of the event socket, which checks every frame against the history of what the store has committed.

use std::collections::BTreeMap;

use rand::RngExt;
use serde_json::Value;

use super::history::History;
use super::messages::{Connected, Message, Operation, Timer, World};
use super::schedule::{ConnectionId, End, Ms};
use crate::conference::log::Position;
use crate::event::{Audio, Change, Event, LeftReason, Roster, Video};
use crate::ids::UserId;

const OWN: [&str; 6] = ["muteSelf", "unmuteSelf", "raiseHand", "lowerHand", "openCamera", "closeCamera"];

/// An operation whose answer the client has got, and the number of the conference's last event by then.
#[derive(Debug)]
pub struct Acknowledged {
    operation: Operation,
    at: u64,
}

/// Owns what one user's page knows.
pub struct Client {
    pub index: usize,
    pub user: UserId,
    pub is_guest: bool,
    pub connection: Connected,
    pub run: u32,
    /// What it shows.
    pub roster: Option<Roster>,
    /// Whether what it shows is everything, and not only itself.
    pub is_full: bool,
    pub wants_in: bool,
    /// It does not come back.
    pub is_gone: bool,
    operations: BTreeMap<u64, (Operation, u64)>,
    last: u64,
    pub acknowledged: Vec<Acknowledged>,
}

impl Client {
    pub fn new(index: usize, is_guest: bool) -> Self {
        Self {
            index,
            user: UserId::parse(&format!("u{index}")).expect("a user's id"),
            is_guest,
            connection: None,
            run: 0,
            roster: None,
            is_full: false,
            wants_in: false,
            is_gone: false,
            operations: BTreeMap::new(),
            last: 0,
            acknowledged: Vec::new(),
        }
    }

    fn end(&self) -> End {
        End::Client(self.index)
    }

    /// Opens a socket and says where it left off.
    pub fn connect(&mut self, node: usize, world: &mut World) {
        let connection = world.connect(self.end(), End::Node(node));
        self.connection = Some(connection);
        let position = self.roster.as_ref().map(|r| Position { epoch: r.epoch.clone(), seq: r.seq });
        world.send(connection, self.end(), Message::Open { user: self.index, position });
    }

    /// Tries again after a while.
    pub fn reconnect(&mut self, world: &mut World) {
        self.run += 1;
        if !self.is_gone {
            let ms = world.range(20, 1500);
            world.after(ms, Timer::ClientConnect { user: self.index, run: self.run });
        }
    }

    pub fn lost(&mut self, connection: ConnectionId, world: &mut World) {
        if self.connection == Some(connection) {
            self.connection = None;
            self.operations.clear();
            self.reconnect(world);
        }
    }

    /// Closes the socket: politely, or as one who has lost the network.
    pub fn disconnect(&mut self, world: &mut World) {
        let Some(connection) = self.connection.take() else { return };
        self.operations.clear();
        if world.chance(0.5) { world.close(connection, self.end()) } else { world.cut(connection) }
    }

    pub fn operate(&mut self, connection: ConnectionId, operation: Operation, history: &History, world: &mut World) {
        self.last += 1;
        match operation {
            Operation::Join => self.wants_in = true,
            Operation::Leave => self.wants_in = false,
            _ => {}
        }
        self.operations.insert(self.last, (operation.clone(), history.last().seq));
        world.send(connection, self.end(), Message::Operation { number: self.last, operation });
    }

    /// What the user does next.
    pub fn act(&mut self, users: &[UserId], node: usize, history: &History, world: &mut World) {
        let Some(connection) = self.connection else {
            if world.chance(0.15) {
                // A request of its own, without a socket.
                let post = world.connect(self.end(), End::Node(node));
                self.operate(post, Operation::Join, history, world);
            }
            return;
        };
        if !self.wants_in {
            if world.chance(0.6) {
                self.operate(connection, Operation::Join, history, world);
            }
            return;
        }
        let chosen = world.range(0, 99);
        let whom = users[world.rng.random_range(1..users.len())].clone();
        let is_chair = self.index == 0;
        let operation = match chosen {
            0..5 => return self.disconnect_and_return(world),
            // The network changes: the former connection is left to itself.
            5..10 => {
                world.cut(connection);
                return self.connect(node, world);
            }
            10..14 => Operation::Leave,
            14..22 if is_chair => Operation::Kick(whom),
            22..28 if is_chair => Operation::Lobby(world.chance(0.4)),
            28..38 if is_chair => Operation::AdmitAll,
            38..43 if is_chair => Operation::MuteAll,
            14..60 => Operation::Control(OWN[world.rng.random_range(0..OWN.len())]),
            _ => Operation::Say(format!("{} {}", self.user, self.last)),
        };
        self.operate(connection, operation, history, world);
    }

    fn disconnect_and_return(&mut self, world: &mut World) {
        self.disconnect(world);
        self.reconnect(world);
    }

    pub fn result(&mut self, number: u64, done: bool, history: &History) {
        let Some((operation, from)) = self.operations.remove(&number) else { return };
        if !done {
            return;
        }
        let to = history.last().seq;
        let is_done = history.between(from, to).iter().any(|state| holds(&operation, &self.user, state));
        assert!(is_done, "{}: acknowledged and not done: {operation:?}, between {from} and {to}", self.user);
        self.acknowledged.push(Acknowledged { operation, at: to });
    }

    /// A frame of the socket that is open.
    pub fn receive(&mut self, frame: &str, history: &History) {
        let frame: Value = serde_json::from_str(frame).expect("a frame is JSON");
        match frame["method"].as_str() {
            Some("conference.snapshot") => self.snapshot(&frame["params"], history),
            Some("conference.event") => {
                self.event(&serde_json::from_value(frame["params"].clone()).expect("an event"), history);
            }
            _ => {}
        }
    }

    fn snapshot(&mut self, params: &Value, history: &History) {
        let roster: Roster = serde_json::from_value(params.clone()).expect("a roster");
        self.is_full = params.get("waiting").is_some();
        if self.is_full {
            assert_eq!(Some(&roster), history.state(roster.seq), "{}: a snapshot that never was", self.user);
        }
        self.roster = Some(roster);
    }

    fn event(&mut self, event: &Event, history: &History) {
        assert_eq!(Some(event), history.event(event.seq), "{}: an event that never was", self.user);
        let is_own_removal = match &event.change {
            Change::MemberLeft(left) => left.user_id == self.user,
            Change::WaitingRemoved(gone) => gone.user_id == self.user,
            _ => false,
        };
        let is_removal = match &event.change {
            Change::MemberLeft(left) => left.user_id == self.user && left.reason != LeftReason::Left,
            _ => false,
        };
        self.wants_in &= !is_removal;
        let follows = |roster: &Roster| (&event.epoch, event.seq) == (&roster.epoch, roster.seq + 1);
        if is_own_removal && !self.roster.as_ref().is_some_and(follows) {
            // Sent away before the first frame: that event alone, and nothing after it.
            self.roster = None;
            return;
        }
        let roster = self.roster.as_mut().expect("a snapshot precedes the first event");
        let expected = (&roster.epoch, roster.seq + 1);
        assert_eq!((&event.epoch, event.seq), expected, "{}: a gap or a repeat", self.user);
        roster.apply(&event.change);
        roster.seq = event.seq;
        if self.is_full {
            assert_eq!(Some(&*roster), history.state(event.seq), "{}: replayed to another roster", self.user);
        }
        if is_own_removal && self.index != 0 {
            self.is_full = false;
        }
    }

    /// What was acknowledged is there.
    pub fn check_acknowledged(&self, truth: &Roster) {
        for one in &self.acknowledged {
            let is_message = matches!(one.operation, Operation::Say(_));
            let is_kept = !is_message || holds(&one.operation, &self.user, truth);
            assert!(is_kept && one.at <= truth.seq, "{}: acknowledged and lost: {one:?}", self.user);
        }
    }

    /// At rest: whether one who is in the conference, and connected, shows all of it.
    pub fn shows(&self, truth: &Roster) -> bool {
        let is_in = self.connection.is_some() && truth.member(&self.user).is_some();
        !is_in || self.roster.as_ref() == Some(truth)
    }
}

/// Whether the operation's effect is in that state.
fn holds(operation: &Operation, user: &UserId, state: &Roster) -> bool {
    let is_there = |user: &UserId| state.member(user).is_some() || state.waiter(user).is_some();
    let own = |test: fn(&crate::event::Member) -> bool| state.member(user).is_some_and(test);
    match operation {
        Operation::Join => is_there(user),
        Operation::Leave => !is_there(user),
        Operation::Control("muteSelf") => own(|m| m.audio != Audio::On),
        Operation::Control("unmuteSelf") => own(|m| m.audio == Audio::On),
        Operation::Control("raiseHand") => own(|m| m.hand),
        Operation::Control("lowerHand") => own(|m| !m.hand),
        Operation::Control("openCamera") => own(|m| m.video == Video::On),
        Operation::Control(_) => own(|m| m.video == Video::Off),
        Operation::Kick(whom) => !is_there(whom),
        Operation::MuteAll => state.members.iter().all(|m| m.user_id == *user || m.audio != Audio::On),
        Operation::AdmitAll => true,
        Operation::Lobby(on) => state.conference.lobby == *on,
        Operation::Say(text) => state.messages.iter().any(|message| message.text == *text),
    }
}

/// How long the user waits before the next thing.
pub fn until_next(world: &mut World) -> Ms {
    world.range(50, 1800)
}
