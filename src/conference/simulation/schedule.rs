//! Virtual time, chance, and the network: what happens next, by time and then by the order in which it was scheduled.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Milliseconds of virtual time.
pub type Ms = u64;
/// An index of [`Schedule::connections`]. A later connection has a greater one.
pub type ConnectionId = usize;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Node(usize),
    Client(usize),
    Eim,
    Broker,
}

/// A TCP connection: each direction is in order. A cut loses what is under way both ways.
#[derive(Debug)]
struct Connection {
    ends: [End; 2],
    is_cut: bool,
    /// The last arrival at each end.
    arrivals: [Ms; 2],
}

/// What is scheduled. `M` are messages, `T` everything else.
#[derive(Debug)]
pub enum Scheduled<M, T> {
    Message {
        connection: ConnectionId,
        to: End,
        message: M,
    },
    /// That end of the connection learns that it is over.
    Lost {
        connection: ConnectionId,
        at: End,
    },
    Timer(T),
}

/// Owns time, chance and the connections.
pub struct Schedule<M, T> {
    pub now: Ms,
    pub rng: StdRng,
    queue: BTreeMap<(Ms, u64), Box<Scheduled<M, T>>>,
    count: u64,
    connections: Vec<Connection>,
    /// The longest usual delay of a message.
    delay: Ms,
}

/// How long after a cut an end learns of it, at most: a lost connection shows by a keep-alive.
const NOTICE_MS: Ms = 2500;

impl<M, T> Schedule<M, T> {
    pub fn new(seed: u64, now: Ms) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // A fast network in some histories, a slow one in others.
        let delay = [5, 40, 200][rng.random_range(0..3)];
        Self { now, rng, queue: BTreeMap::new(), count: 0, connections: Vec::new(), delay }
    }

    fn put(&mut self, at: Ms, scheduled: Scheduled<M, T>) {
        self.count += 1;
        self.queue.insert((at, self.count), Box::new(scheduled));
    }

    pub fn after(&mut self, ms: Ms, timer: T) {
        self.put(self.now + ms, Scheduled::Timer(timer));
    }

    /// What is due next, until that time.
    pub fn pop(&mut self, until: Ms) -> Option<Scheduled<M, T>> {
        let (at, _) = *self.queue.first_key_value()?.0;
        if at > until {
            return None;
        }
        let (_, scheduled) = self.queue.pop_first()?;
        self.now = at;
        Some(*scheduled)
    }

    pub fn range(&mut self, from: Ms, to: Ms) -> Ms {
        self.rng.random_range(from..=to)
    }

    pub fn chance(&mut self, of: f64) -> bool {
        self.rng.random_bool(of)
    }

    /// A message's time on its way: now and then much longer than usual.
    pub fn delay(&mut self) -> Ms {
        let most = if self.chance(0.02) { self.delay * 10 } else { self.delay };
        self.range(1, most)
    }

    pub fn connect(&mut self, from: End, to: End) -> ConnectionId {
        self.connections.push(Connection { ends: [from, to], is_cut: false, arrivals: [0, 0] });
        self.connections.len() - 1
    }

    /// Sends a message to the connection's other end.
    pub fn send(&mut self, connection: ConnectionId, from: End, message: M) {
        let delay = self.delay();
        let Connection { ends, arrivals, is_cut } = &mut self.connections[connection];
        if *is_cut {
            return;
        }
        let other = usize::from(ends[0] == from);
        arrivals[other] = arrivals[other].max(self.now + delay);
        let (at, to) = (arrivals[other], ends[other]);
        self.put(at, Scheduled::Message { connection, to, message });
    }

    /// The other end.
    pub fn peer(&self, connection: ConnectionId, of: End) -> End {
        let [a, b] = self.connections[connection].ends;
        if a == of { b } else { a }
    }

    pub fn is_cut(&self, connection: ConnectionId) -> bool {
        self.connections[connection].is_cut
    }

    /// Loses what is under way; each end learns of it later.
    pub fn cut(&mut self, connection: ConnectionId) {
        if std::mem::replace(&mut self.connections[connection].is_cut, true) {
            return;
        }
        for at in self.connections[connection].ends {
            let later = self.range(1, NOTICE_MS);
            self.put(self.now + later, Scheduled::Lost { connection, at });
        }
    }

    /// One end closes the connection: what it has sent arrives, then the other end learns of it.
    pub fn close(&mut self, connection: ConnectionId, from: End) {
        if self.is_cut(connection) {
            return;
        }
        let delay = self.delay();
        let Connection { ends, arrivals, .. } = &self.connections[connection];
        let other = usize::from(ends[0] == from);
        let (at, end) = (arrivals[other].max(self.now + delay), ends[other]);
        self.put(at, Scheduled::Lost { connection, at: end });
    }

    /// Every connection of that end is cut, as its process is gone.
    pub fn cut_all(&mut self, of: End) {
        for connection in 0..self.connections.len() {
            if self.connections[connection].ends.contains(&of) {
                self.cut(connection);
            }
        }
    }
}
