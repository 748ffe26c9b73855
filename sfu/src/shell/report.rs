//! The metrics of a media thread: reported at intervals, not for each packet.

use metrics::{Counter, Gauge, counter, gauge};

use crate::worker::{Counts, Worker};

/// Owned by the thread.
pub(crate) struct Report {
    before: Counts,
    received: Counter,
    forwarded: Counter,
    stray: Counter,
    keyframe_requests: Counter,
    excess: Counter,
    unsent: Counter,
    endpoints: Gauge,
    rooms: Gauge,
    commands_waiting: Gauge,
    notices_waiting: Gauge,
    tcp_connections: Gauge,
}

/// How much waits in the thread's queues.
pub(crate) struct Queues {
    pub(crate) commands: usize,
    pub(crate) notices: usize,
    pub(crate) tcp_connections: usize,
}

impl Report {
    pub(crate) fn new(thread: usize) -> Report {
        let thread = thread.to_string();
        let counter = |name: &'static str| counter!(name, "thread" => thread.clone());
        let gauge = |name: &'static str| gauge!(name, "thread" => thread.clone());
        Report {
            before: Counts::default(),
            received: counter("confgate_sfu_datagrams_received_total"),
            forwarded: counter("confgate_sfu_packets_forwarded_total"),
            stray: counter("confgate_sfu_datagrams_stray_total"),
            keyframe_requests: counter("confgate_sfu_keyframe_requests_total"),
            excess: counter("confgate_sfu_packets_excess_total"),
            unsent: counter("confgate_sfu_datagrams_unsent_total"),
            endpoints: gauge("confgate_sfu_endpoints"),
            rooms: gauge("confgate_sfu_rooms"),
            commands_waiting: gauge("confgate_sfu_commands_waiting"),
            notices_waiting: gauge("confgate_sfu_notices_waiting"),
            tcp_connections: gauge("confgate_sfu_tcp_connections"),
        }
    }

    /// `unsent`: datagrams that the kernel didn't take since the last time.
    pub(crate) fn update(&mut self, worker: &Worker, unsent: u64, queues: Queues) {
        let (now, before) = (worker.counts(), self.before);
        self.received.increment(now.received - before.received);
        self.forwarded.increment(now.forwarded - before.forwarded);
        self.stray.increment(now.stray - before.stray);
        self.keyframe_requests.increment(now.keyframe_requests - before.keyframe_requests);
        self.excess.increment(now.excess - before.excess);
        self.unsent.increment(unsent);
        self.endpoints.set(worker.endpoints() as f64);
        self.rooms.set(worker.rooms() as f64);
        self.commands_waiting.set(queues.commands as f64);
        self.notices_waiting.set(queues.notices as f64);
        self.tcp_connections.set(queues.tcp_connections as f64);
        self.before = now;
    }
}
