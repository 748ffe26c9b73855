//! Which media thread a command is for. A room stays on the thread where it began; what comes for an endpoint before
//! its offer waits here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::sdp;
use crate::vocabulary::{Command, EndpointId, RoomId};
use crate::worker::Routing;

/// How long a candidate waits for its endpoint's offer. In Kurento's flow it comes milliseconds before; one of an
/// endpoint that has ended already never meets it.
const EARLY_MAX_AGE: Duration = Duration::from_secs(30);
/// Endpoints with candidates that wait.
const EARLY_MAX: usize = 4_096;

/// Owned by the node behind a lock: taken for each command and at an endpoint's end, for no packet.
#[derive(Debug)]
pub(crate) struct Router {
    rooms_max: usize,
    rooms: HashMap<RoomId, Place>,
    endpoints: HashMap<EndpointId, Home>,
    fragments: HashMap<String, usize>,
    early: HashMap<EndpointId, Early>,
}

#[derive(Debug)]
struct Place {
    thread: usize,
    endpoints: usize,
    /// Signalling said what its members may: it lives until it is closed.
    permits: bool,
}

#[derive(Debug)]
struct Home {
    thread: usize,
    room: RoomId,
    fragments: Vec<String>,
}

#[derive(Debug)]
struct Early {
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
    Nowhere,
}

impl Router {
    pub(crate) fn new(rooms_max: usize) -> Router {
        Router {
            rooms_max,
            rooms: HashMap::new(),
            endpoints: HashMap::new(),
            fragments: HashMap::new(),
            early: HashMap::new(),
        }
    }

    /// Where the command goes; nothing changes until [`Router::sent`]. `idlest`: the thread that would take a new room.
    pub(crate) fn route(&self, command: &Command, idlest: usize) -> Route {
        let home = |endpoint| self.endpoints.get(endpoint).map(|home: &Home| home.thread);
        match command {
            // An endpoint's number that is in use is refused by its own thread.
            Command::Publish { room, endpoint, .. }
            | Command::Subscribe { room, endpoint, .. }
            | Command::Pull { room, endpoint, .. } => {
                home(endpoint).map_or_else(|| self.place(room, idlest), Route::Thread)
            }
            Command::Permit { room, .. } => self.place(room, idlest),
            Command::CloseRoom { room } => {
                self.rooms.get(room).map_or(Route::Nowhere, |place| Route::Thread(place.thread))
            }
            Command::Candidate { endpoint, .. } | Command::Close { endpoint } | Command::View { endpoint, .. } => {
                home(endpoint).map_or(Route::Nowhere, Route::Thread)
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

    /// How many candidates wait for the endpoint.
    pub(crate) fn waiting(&self, endpoint: EndpointId) -> usize {
        self.early.get(&endpoint).map_or(0, |early| early.candidates.len())
    }

    /// The command goes to the thread. Gives the candidates that waited for it.
    pub(crate) fn sent(&mut self, command: &Command, thread: usize) -> Vec<String> {
        match command {
            Command::Publish { room, endpoint, .. }
            | Command::Subscribe { room, endpoint, .. }
            | Command::Pull { room, endpoint, .. } => {
                if self.endpoints.contains_key(endpoint) {
                    return Vec::new();
                }
                self.room(room, thread).endpoints += 1;
                self.endpoints.insert(*endpoint, Home { thread, room: room.clone(), fragments: Vec::new() });
                self.early.remove(endpoint).map(|early| early.candidates).unwrap_or_default()
            }
            Command::Permit { room, .. } => {
                self.room(room, thread).permits = true;
                Vec::new()
            }
            Command::CloseRoom { room } => {
                if let Some(place) = self.rooms.get_mut(room) {
                    place.permits = false;
                }
                self.sweep(&room.clone());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn room(&mut self, room: &RoomId, thread: usize) -> &mut Place {
        self.rooms.entry(room.clone()).or_insert(Place { thread, endpoints: 0, permits: false })
    }

    fn sweep(&mut self, room: &RoomId) {
        if self.rooms.get(room).is_some_and(|place| place.endpoints == 0 && !place.permits) {
            self.rooms.remove(room);
        }
    }

    /// A candidate came before its endpoint.
    pub(crate) fn early(&mut self, endpoint: EndpointId, candidate: String, now: Instant) {
        if self.early.len() >= EARLY_MAX {
            self.early.retain(|_, early| now.saturating_duration_since(early.since) < EARLY_MAX_AGE);
        }
        if self.early.len() >= EARLY_MAX || candidate.len() > sdp::CANDIDATE_MAX {
            return;
        }
        let early = self.early.entry(endpoint).or_insert(Early { since: now, candidates: Vec::new() });
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
