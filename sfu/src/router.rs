//! Which media thread a command is for. A room stays on the thread where it began; what comes for an endpoint before
//! its offer waits here.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::protocol::{Command, EndpointId, RoomId};
use crate::sdp;
use crate::worker::Routing;

/// How long a candidate waits for its endpoint's offer. In Kurento's flow it comes milliseconds before; one of an
/// endpoint that has ended already never meets it.
const EARLY_MAX_AGE: Duration = Duration::from_secs(30);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Endpoints with candidates that wait.
const EARLY_MAX: usize = 4_096;
/// Permits that wait for their rooms. A permit is sent just before the streams that it is for, of which a command begins
/// two at most.
const UNROUTED_MAX: usize = 64;

/// Owned by the node behind a lock: taken for each command and at an endpoint's end, for no packet.
#[derive(Debug)]
pub(crate) struct Router {
    rooms_max: usize,
    rooms: HashMap<RoomId, EndpointRoute>,
    endpoints: HashMap<EndpointId, RoomRoute>,
    fragments: HashMap<String, usize>,
    early: HashMap<EndpointId, EarlyCandidates>,
    /// Permits of rooms for which there was no place, the latest last: one may be free when their streams come.
    unrouted_permits: VecDeque<(RoomId, Command)>,
    /// When those who waited too long were last looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct EndpointRoute {
    thread: usize,
    endpoints: usize,
    /// Signalling said what its members may: it lives until it is closed.
    permits: bool,
}

#[derive(Debug)]
struct RoomRoute {
    thread: usize,
    room: RoomId,
    fragments: Vec<String>,
}

#[derive(Debug)]
struct EarlyCandidates {
    since: Instant,
    candidates: Vec<String>,
}

/// Where a command goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Thread(usize),
    /// A room more than the node takes.
    TooMany,
    /// It waits, or is for nothing that is.
    NoNodeAvailable,
}

impl Router {
    pub(crate) fn new(rooms_max: usize) -> Router {
        Router {
            rooms_max,
            rooms: HashMap::new(),
            endpoints: HashMap::new(),
            fragments: HashMap::new(),
            early: HashMap::new(),
            unrouted_permits: VecDeque::new(),
            swept: None,
        }
    }

    /// Where the command goes; nothing changes until [`Router::sent`]. `idlest`: the thread that would take a new room.
    pub(crate) fn route(&self, command: &Command, idlest: usize) -> Route {
        let home = |endpoint| self.endpoints.get(endpoint).map(|home: &RoomRoute| home.thread);
        match command {
            // An endpoint's number that is in use is refused by its own thread.
            Command::Publish { room, endpoint, .. }
            | Command::Subscribe { room, endpoint, .. }
            | Command::Forward { room, endpoint, .. }
            | Command::SendRecv { room, endpoint, .. }
            | Command::Pull { room, endpoint, .. } => {
                home(endpoint).map_or_else(|| self.place(room, idlest), Route::Thread)
            }
            Command::SetForwarding { room, .. } => self.place(room, idlest),
            Command::CloseRoom { room } => {
                self.rooms.get(room).map_or(Route::NoNodeAvailable, |place| Route::Thread(place.thread))
            }
            Command::Candidate { endpoint, .. } | Command::Close { endpoint } | Command::View { endpoint, .. } => {
                home(endpoint).map_or(Route::NoNodeAvailable, Route::Thread)
            }
            // Refused by any thread when unknown.
            Command::Answered { endpoint, .. } | Command::Renegotiate { endpoint, .. } => {
                Route::Thread(home(endpoint).unwrap_or(idlest))
            }
        }
    }

    fn place(&self, room: &RoomId, idlest: usize) -> Route {
        match self.rooms.get(room) {
            Some(place) => Route::Thread(place.thread),
            None if self.rooms.len() < self.rooms_max => Route::Thread(idlest),
            None => Route::TooMany,
        }
    }

    /// How many commands go with this one at most, itself included.
    pub(crate) fn going(&self, command: &Command) -> usize {
        let Some((room, endpoint)) = begins(command) else { return 1 };
        let candidates = self.early.get(&endpoint).map_or(0, |early| early.candidates.len());
        1 + candidates + self.unrouted_permits.iter().filter(|(of, _)| of == room).count()
    }

    /// The command goes to the thread, after and before those that waited for it.
    pub(crate) fn sent(&mut self, command: Command, thread: usize) -> Vec<Command> {
        if let Command::CloseRoom { room } = &command {
            if let Some(place) = self.rooms.get_mut(room) {
                place.permits = false;
            }
            self.sweep(&room.clone());
        }
        if let Command::SetForwarding { room, .. } = &command {
            self.room(room, thread).permits = true;
        }
        let begun = begins(&command).map(|(room, endpoint)| (room.clone(), endpoint));
        let Some((room, endpoint)) = begun.filter(|(_, endpoint)| !self.endpoints.contains_key(endpoint)) else {
            return vec![command];
        };
        let mut all: Vec<Command> = self.take_unplaced(&room);
        let place = self.room(&room, thread);
        place.endpoints += 1;
        place.permits |= !all.is_empty();
        self.endpoints.insert(endpoint, RoomRoute { thread, room, fragments: Vec::new() });
        all.push(command);
        let early = self.early.remove(&endpoint).map(|early| early.candidates).unwrap_or_default();
        all.extend(early.into_iter().map(|candidate| Command::Candidate { endpoint, candidate }));
        all
    }

    /// There is no place for the room that the permit is for.
    pub(crate) fn unrouted_permits(&mut self, room: RoomId, permit: Command) {
        if self.unrouted_permits.len() >= UNROUTED_MAX {
            self.unrouted_permits.pop_front();
        }
        self.unrouted_permits.push_back((room, permit));
    }

    fn take_unplaced(&mut self, room: &RoomId) -> Vec<Command> {
        let (of_room, rest) = std::mem::take(&mut self.unrouted_permits).into_iter().partition(|(of, _)| of == room);
        self.unrouted_permits = rest;
        let of_room: VecDeque<(RoomId, Command)> = of_room;
        of_room.into_iter().map(|(_, permit)| permit).collect()
    }

    fn room(&mut self, room: &RoomId, thread: usize) -> &mut EndpointRoute {
        self.rooms.entry(room.clone()).or_insert(EndpointRoute { thread, endpoints: 0, permits: false })
    }

    fn sweep(&mut self, room: &RoomId) {
        if self.rooms.get(room).is_some_and(|place| place.endpoints == 0 && !place.permits) {
            self.rooms.remove(room);
        }
    }

    /// A candidate came before its endpoint.
    pub(crate) fn early(&mut self, endpoint: EndpointId, candidate: String, now: Instant) {
        // Not for each candidate of a flood: it is a walk over all.
        let rested = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL);
        if self.early.len() >= EARLY_MAX && rested {
            self.swept = Some(now);
            self.early.retain(|_, early| now.saturating_duration_since(early.since) < EARLY_MAX_AGE);
        }
        if self.early.len() >= EARLY_MAX || candidate.len() > sdp::CANDIDATE_MAX {
            return;
        }
        let early = self.early.entry(endpoint).or_insert(EarlyCandidates { since: now, candidates: Vec::new() });
        if early.candidates.len() < sdp::CANDIDATES_MAX {
            early.candidates.push(candidate);
        }
    }

    /// News of a worker.
    pub(crate) fn note(&mut self, routing: Routing) {
        match routing {
            Routing::Named { endpoint, fragment } => {
                let Some(home) = self.endpoints.get_mut(&endpoint) else { return };
                home.fragments.push(fragment.clone());
                self.fragments.insert(fragment, home.thread);
            }
            Routing::Ended { endpoint } => {
                let Some(home) = self.endpoints.remove(&endpoint) else { return };
                for fragment in home.fragments {
                    self.fragments.remove(&fragment);
                }
                if let Some(place) = self.rooms.get_mut(&home.room) {
                    place.endpoints -= 1;
                }
                self.sweep(&home.room);
            }
        }
    }

    /// The thread of the connection that a STUN request with this user fragment is for.
    pub(crate) fn thread_of(&self, fragment: &str) -> Option<usize> {
        self.fragments.get(fragment).copied()
    }

    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }
}

/// The room and the endpoint of a command that makes one.
fn begins(command: &Command) -> Option<(&RoomId, EndpointId)> {
    match command {
        Command::Publish { room, endpoint, .. }
        | Command::Subscribe { room, endpoint, .. }
        | Command::Forward { room, endpoint, .. }
        | Command::SendRecv { room, endpoint, .. }
        | Command::Pull { room, endpoint, .. } => Some((room, *endpoint)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{Source, StreamId};

    fn publish(room: &str, endpoint: u64) -> Command {
        let stream = StreamId { member: Arc::from("anna"), source: Source::Camera };
        Command::Publish { room: Arc::from(room), endpoint: EndpointId(endpoint), stream, offer: String::new() }
    }

    fn ended(endpoint: u64) -> Routing {
        Routing::Ended { endpoint: EndpointId(endpoint) }
    }

    #[test]
    fn a_room_stays_on_its_thread_until_it_is_empty() {
        let mut router = Router::new(10);
        assert_eq!(router.route(&publish("a", 1), 3), Route::Thread(3));
        router.sent(publish("a", 1), 3);
        assert_eq!(router.route(&publish("a", 2), 0), Route::Thread(3));
        assert_eq!(router.route(&publish("b", 3), 0), Route::Thread(0));
        assert_eq!(router.route(&publish("b", 1), 0), Route::Thread(3), "a number in use is refused by its thread");
        router.note(ended(1));
        assert_eq!((router.rooms(), router.route(&publish("a", 2), 0)), (0, Route::Thread(0)));
    }

    #[test]
    fn a_room_with_permits_lives_until_it_is_closed() {
        let mut router = Router::new(1);
        let stream = StreamId { member: Arc::from("x"), source: Source::Camera };
        let permit = Command::SetForwarding { room: Arc::from("a"), stream, audio: false, video: true };
        router.sent(permit, 2);
        router.sent(publish("a", 1), 2);
        router.note(ended(1));
        assert_eq!(router.route(&publish("a", 2), 0), Route::Thread(2));
        assert_eq!(router.route(&publish("b", 2), 0), Route::TooMany);
        let close = Command::CloseRoom { room: Arc::from("a") };
        assert_eq!(router.route(&close, 0), Route::Thread(2));
        router.sent(close.clone(), 2);
        assert_eq!((router.rooms(), router.route(&close, 0)), (0, Route::NoNodeAvailable));
    }

    #[test]
    fn a_permit_that_found_no_place_goes_before_the_stream_that_finds_one() {
        let mut router = Router::new(1);
        router.sent(publish("full", 1), 0);
        let permit = |member: &str| {
            let stream = StreamId { member: Arc::from(member), source: Source::Camera };
            Command::SetForwarding { room: Arc::from("b"), stream, audio: false, video: false }
        };
        for member in ["anna", "ben"] {
            assert_eq!(router.route(&permit(member), 0), Route::TooMany);
            router.unrouted_permits(Arc::from("b"), permit(member));
        }
        router.unrouted_permits(Arc::from("c"), permit("carl"));
        router.note(ended(1));
        assert_eq!((router.route(&publish("b", 2), 0), router.going(&publish("b", 2))), (Route::Thread(0), 3));
        assert_eq!(router.sent(publish("b", 2), 0), [permit("anna"), permit("ben"), publish("b", 2)]);
        assert_eq!(router.sent(publish("b", 3), 0), [publish("b", 3)], "once");
        router.note(ended(2));
        router.note(ended(3));
        assert_eq!(router.rooms(), 1, "it lives until it is closed, as any that has permits");
        (0..100).for_each(|_| router.unrouted_permits(Arc::from("d"), permit("dan")));
        assert_eq!(router.unrouted_permits.len(), UNROUTED_MAX);
    }

    #[test]
    fn candidates_wait_for_their_offer_but_not_forever_and_not_without_bound() {
        let (now, mut router) = (Instant::now(), Router::new(10));
        let candidate = |endpoint| Command::Candidate { endpoint: EndpointId(endpoint), candidate: "c".into() };
        assert_eq!(router.route(&candidate(1), 0), Route::NoNodeAvailable);
        (0..1_000).for_each(|_| router.early(EndpointId(1), "c".into(), now));
        assert_eq!(router.going(&publish("a", 1)), 1 + sdp::CANDIDATES_MAX);
        assert_eq!(router.sent(publish("a", 1), 0).len(), 1 + sdp::CANDIDATES_MAX);
        assert_eq!((router.going(&publish("a", 1)), router.route(&candidate(1), 5)), (1, Route::Thread(0)));
        (0..10_000).for_each(|n| router.early(EndpointId(100 + n), "c".into(), now));
        assert_eq!(router.early.len(), EARLY_MAX);
        router.early(EndpointId(9), "c".into(), now + EARLY_MAX_AGE);
        assert_eq!((router.early.len(), router.going(&publish("a", 9))), (1, 2));
    }

    #[test]
    fn a_tcp_connection_finds_the_thread_by_its_user_fragment() {
        let mut router = Router::new(10);
        router.sent(publish("a", 1), 4);
        router.note(Routing::Named { endpoint: EndpointId(1), fragment: "abcd".into() });
        assert_eq!(router.thread_of("abcd"), Some(4));
        router.note(ended(1));
        assert_eq!(router.thread_of("abcd"), None);
    }
}
