//! The load: publishers and viewers on any number of servers, and what it costs those.

use std::time::{Duration, Instant};

use crate::peer::{Count, Peer};
use crate::server::Server;
use crate::{cpu, machine};

/// How often sockets are looked at: packets that come in between are read together.
const TURN: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// Viewers that connect at the same time.
const AT_ONCE: u64 = 10;

/// A publisher and their viewers.
pub struct Call {
    room: u64,
    publisher: Peer,
    pub viewers: Vec<Peer>,
}

/// The work of a server during one measurement.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub time: Duration,
    pub cpu: Duration,
    pub audio: Count,
    pub video: Count,
    /// The share of the machine that others than the server and the load took, in percent.
    pub others_percent: f64,
}

impl Round {
    pub fn packets(&self) -> u64 {
        self.audio.received + self.video.received
    }

    pub fn per_s(&self) -> f64 {
        self.packets() as f64 / self.time.as_secs_f64()
    }

    /// CPU for each packet that a viewer got, in microseconds.
    pub fn cost_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets().max(1) as f64
    }

    pub fn lost_percent(&self) -> f64 {
        let mut all = self.audio;
        all.add(self.video);
        all.lost_percent()
    }
}

impl Call {
    /// A room with its publisher, who is connected.
    pub fn begin(server: &mut dyn Server, room: u64) -> Call {
        let mut publisher = server.publish(room);
        let deadline = Instant::now() + PATIENCE;
        while !publisher.connected {
            assert!(Instant::now() < deadline, "the publisher is connected in time");
            publisher.poll(Instant::now());
            std::thread::sleep(TURN);
        }
        let mut call = Call { room, publisher, viewers: Vec::new() };
        // Some servers let nobody watch before media came.
        run(&mut [&mut call], Duration::from_millis(300));
        call
    }

    /// More viewers, all connected; gives how many the server took.
    pub fn fill(&mut self, server: &mut dyn Server, viewers: u64) -> u64 {
        let mut taken = 0;
        let mut left = viewers;
        while left > 0 {
            let now = AT_ONCE.min(left);
            taken += self.offer(server, now);
            self.connect();
            left -= now;
        }
        taken
    }

    /// More viewers, who come at once and are not waited for.
    pub fn offer(&mut self, server: &mut dyn Server, viewers: u64) -> u64 {
        let before = self.viewers.len();
        for _ in 0..viewers {
            self.viewers.extend(server.watch(self.room));
            self.turn(Instant::now());
        }
        (self.viewers.len() - before) as u64
    }

    /// Serves the call until all viewers are connected.
    pub fn connect(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.viewers.iter().all(|viewer| viewer.connected) {
            assert!(Instant::now() < deadline, "the viewers are connected in time");
            self.turn(Instant::now());
            std::thread::sleep(TURN);
        }
    }

    fn turn(&mut self, now: Instant) {
        self.publisher.send(now);
        self.publisher.poll(now);
        self.viewers.iter_mut().for_each(|viewer| viewer.poll(now));
    }

    /// Sends nothing, but stays connected.
    pub fn idle(&mut self, now: Instant) {
        self.publisher.poll(now);
        self.viewers.iter_mut().for_each(|viewer| viewer.poll(now));
    }

    pub fn resume(&mut self) {
        self.publisher.resume(Instant::now());
    }
}

/// Runs the calls for that time.
pub fn run(calls: &mut [&mut Call], time: Duration) {
    let end = Instant::now() + time;
    let mut now = Instant::now();
    while now < end {
        calls.iter_mut().for_each(|call| call.turn(now));
        std::thread::sleep(TURN);
        now = Instant::now();
    }
}

/// Runs the calls of one server for that time, and says what it cost the server.
pub fn measure(server: &dyn Server, calls: &mut [&mut Call], time: Duration) -> Round {
    calls.iter_mut().for_each(|call| call.viewers.iter_mut().for_each(Peer::mark));
    let (begun, used, own) = (Instant::now(), cpu::used(server.pid()), cpu::used(std::process::id()));
    let busy = machine::busy();
    run(calls, time);
    let (cpu, own, busy) =
        (cpu::used(server.pid()) - used, cpu::used(std::process::id()) - own, machine::busy() - busy);
    let time = begun.elapsed();
    let (mut audio, mut video) = (Count::default(), Count::default());
    for [of_audio, of_video] in calls.iter().flat_map(|call| call.viewers.iter().map(Peer::counts)) {
        audio.add(of_audio);
        video.add(of_video);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let others = busy.saturating_sub(cpu + own).as_secs_f64() / time.as_secs_f64() / cores;
    Round { time, cpu, audio, video, others_percent: 100.0 * others }
}
