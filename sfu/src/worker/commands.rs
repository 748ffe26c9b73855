//! The commands of signalling, carried out by a worker.

use std::collections::HashSet;
use std::time::Instant;

use str0m::{Input, Output};

use super::{Routing, Worker, mark, outgoing};
use crate::protocol::{Command, EndpointId, Notice, Reason, Refusal, RoomId, Source, StreamId};
use crate::room::{Allowed, StreamKey};
use crate::sdp;

impl Worker {
    /// Does what signalling wants; answers are notices. [`Command::Pull`] needs a socket: see [`Worker::pull`].
    pub fn command(&mut self, command: Command, now: Instant) {
        let (endpoint, done) = match command {
            Command::Publish { room, endpoint, stream, offer } => {
                (endpoint, self.publish(room, endpoint, stream, &offer, now))
            }
            Command::Subscribe { room, endpoint, stream, offer, .. }
            | Command::Forward { room, endpoint, stream, offer, .. } => {
                (endpoint, self.subscribe(room, endpoint, stream, &offer, now))
            }
            Command::SendRecv { room, endpoint, stream, other, offer } => {
                (endpoint, self.exchange(room, endpoint, stream, other, &offer, now))
            }
            Command::Pull { endpoint, .. } => (endpoint, Err(Refusal::Unavailable)),
            Command::Answered { endpoint, answer } => (endpoint, self.answered(endpoint, &answer, now)),
            Command::Renegotiate { endpoint, offer } => (endpoint, self.renegotiate(endpoint, &offer, now)),
            Command::Candidate { endpoint, candidate } => return self.candidate(endpoint, &candidate),
            Command::Close { endpoint } => return self.close(endpoint, None, now),
            Command::SetForwarding { room, stream, audio, video } => {
                return self.permit(room, &stream, Allowed { audio, video });
            }
            Command::View { endpoint, width, height } => return self.view(endpoint, width, height, now),
            Command::CloseRoom { room } => return self.close_room(&room, now),
        };
        if let Err(refusal) = done {
            self.refuse(endpoint, refusal);
        }
        self.flush(now);
    }

    /// Says that what was wanted of the endpoint isn't done.
    pub fn refuse(&mut self, endpoint: EndpointId, refusal: Refusal) {
        self.notices.push_back(Notice::Refused { endpoint, refusal });
        // Refused at the beginning, it has no end of its own: whoever routes may forget it.
        if !self.endpoints.contains_key(&endpoint) {
            self.routing.push(Routing::Ended { endpoint });
        }
    }

    fn candidate(&mut self, id: EndpointId, text: &str) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Some(candidate) = sdp::candidate(text) else { return };
        if endpoint.candidates == sdp::CANDIDATES_MAX {
            return;
        }
        endpoint.candidates += 1;
        endpoint.rtc.add_remote_candidate(candidate);
        mark(&mut self.dirty, endpoint);
    }

    /// Ends the connection and tells the other side (DTLS close). A `reason` is told to signalling.
    pub(super) fn close(&mut self, id: EndpointId, reason: Option<Reason>, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if endpoint.rtc.close().is_ok() && endpoint.rtc.handle_input(Input::Timeout(now)).is_ok() {
            while let Some(output) =
                endpoint.rtc.poll_output().ok().filter(|output| !matches!(output, Output::Timeout(_)))
            {
                if let Output::Transmit(transmit) = output {
                    self.transmits.push(outgoing(endpoint, transmit));
                }
            }
        }
        self.remove(id, reason);
    }

    /// Ends all connections.
    pub fn close_all(&mut self, now: Instant) {
        let all: Vec<EndpointId> = self.endpoints.keys().copied().collect();
        for id in all {
            self.close(id, None, now);
        }
    }

    fn close_room(&mut self, room: &RoomId, now: Instant) {
        let Some(place) = self.rooms.remove(room) else { return };
        let keys: HashSet<StreamKey> = place.streams.into_values().collect();
        // Those too that are neither sent nor received yet: pulls that wait for their answer.
        let of_room = self.endpoints.values().filter(|endpoint| keys.contains(&endpoint.stream));
        let ids: Vec<EndpointId> = of_room.map(|endpoint| endpoint.id).collect();
        self.streams.retain(|key, _| !keys.contains(key));
        ids.into_iter().for_each(|id| self.close(id, None, now));
    }

    fn permit(&mut self, room: RoomId, id: &StreamId, allowed: Allowed) {
        if !self.rooms.contains_key(&room) && allowed == Allowed::default() {
            return;
        }
        let place = self.rooms.entry(room.clone()).or_default();
        let is_now = place.permit(id, allowed, self.limits.permits_max);
        if is_now != allowed {
            tracing::warn!(%room, "more streams are held back than a room remembers: nothing of it is forwarded");
        }
        if let Some(stream) = place.streams.get(id).and_then(|key| self.streams.get_mut(key)) {
            stream.allowed = is_now;
        }
        if !is_now.audio && id.source == Source::Camera {
            place.speaker.forget(&id.member);
        }
        if place.is_idle() {
            self.rooms.remove(&room);
        }
    }
}
