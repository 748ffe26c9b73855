//! The events of str0m for a connection, and the end of endpoints.

use std::time::{Duration, Instant};

use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::{NackEntry, Rtcp};
use str0m::{Event, IceConnectionState};

use super::{Routing, Socket, Transmit, Worker};
use crate::protocol::{EndpointId, Notice, Reason, Source};
use crate::room::StreamKey;

/// From ICE's path to the end of the DTLS handshake: a second, or some with losses (RFC 9147 section 5.8).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Ticks from one weighing of layers and load to the next.
const WEIGH_TICKS: u64 = 3;

impl Worker {
    pub(super) fn event(&mut self, id: EndpointId, event: Event, now: Instant) {
        match event {
            Event::RtpPacket(packet) => self.packet(id, &packet, now),
            Event::KeyframeRequest(_) => self.want_keyframe(id, now),
            Event::EgressBitrateEstimate(estimate) => self.estimated(id, &estimate),
            Event::Connected => self.connected(id, now),
            Event::IceConnectionStateChange(state) => self.ice(id, state, now),
            Event::RawPacket(packet) => self.reported(id, &packet, now),
            Event::Closed => self.remove(id, Some(Reason::Hangup)),
            _ => {}
        }
    }

    /// Sends again what a viewer without RTX asks for.
    fn reported(&mut self, id: EndpointId, packet: &RawPacket, now: Instant) {
        let RawPacket::RtcpRx(Rtcp::Nack(nack)) = packet else { return };
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        let Some(resends) = &mut endpoint.resends else { return };
        let Some((proto, destination)) = resends.to else { return };
        let entries: Vec<NackEntry> = nack.reports.iter().copied().collect();
        let again = resends.on_nack(*nack.ssrc, &entries, now);
        let socket = endpoint.own_socket.map_or(Socket::Shared, |_| Socket::Of(id));
        self.transmits.extend(again.into_iter().map(|bytes| Transmit { socket, proto, destination, bytes }));
    }

    fn connected(&mut self, id: EndpointId, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        if !std::mem::replace(&mut endpoint.connected, true) {
            endpoint.lost_at = None;
            self.notices.push_back(Notice::Connected { endpoint: id });
        }
        let (stream, viewed) = (endpoint.stream, endpoint.viewed());
        self.retarget(stream, now);
        if viewed != stream {
            self.retarget(viewed, now);
        }
        self.want_keyframe(id, now);
    }

    /// A path that is lost may come back (another network, an ICE restart): for some seconds.
    fn ice(&mut self, id: EndpointId, state: IceConnectionState, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return };
        match state {
            IceConnectionState::Disconnected => {
                endpoint.lost_at.get_or_insert(now + self.limits.reconnect_timeout);
            }
            IceConnectionState::Connected | IceConnectionState::Completed if endpoint.connected => {
                endpoint.lost_at = None;
            }
            IceConnectionState::Connected | IceConnectionState::Completed
                if !std::mem::replace(&mut endpoint.has_path, true) =>
            {
                let at = now + HANDSHAKE_TIMEOUT;
                endpoint.lost_at = Some(endpoint.lost_at.map_or(at, |lost| lost.min(at)));
            }
            _ => {}
        }
    }

    /// The work at intervals.
    pub(super) fn tick(&mut self, now: Instant) {
        self.forwarded.tick(now);
        let lost = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let ended: Vec<EndpointId> =
            self.endpoints.values().filter(|endpoint| lost(endpoint.lost_at)).map(|endpoint| endpoint.id).collect();
        for id in ended {
            let is_handshake = self.endpoints.get(&id).is_some_and(|endpoint| endpoint.has_path && !endpoint.connected);
            self.remove(id, Some(if is_handshake { Reason::DtlsFailed } else { Reason::IceFailed }));
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(WEIGH_TICKS) {
            self.weigh(now);
        }
        self.update_speakers(now);
        self.ask_for_keyframes(now);
    }

    /// Takes the endpoint out of its streams and room.
    pub(super) fn detach(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let (stream, viewed) = (endpoint.stream, endpoint.viewed());
        self.detach_from(id, stream);
        if viewed != stream {
            self.detach_from(id, viewed);
        }
    }

    fn detach_from(&mut self, id: EndpointId, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.publisher == Some(id) {
            stream.publisher = None;
            if let Some(room) = self.rooms.get_mut(&stream.room) {
                stream.allowed = room.forget_permit(&stream.id);
                if stream.id.source == Source::Camera {
                    room.speaker.forget(&stream.id.member);
                }
            }
        }
        stream.subscribers.retain(|subscriber| *subscriber != id);
        if !stream.is_idle() {
            return;
        }
        let Some(stream) = self.streams.remove(&key) else { return };
        if let Some(room) = self.rooms.get_mut(&stream.room) {
            room.streams.remove(&stream.id);
            if room.is_idle() {
                self.rooms.remove(&stream.room);
            }
        }
    }

    /// The endpoint is no more. A `reason` is told to signalling.
    pub(super) fn remove(&mut self, id: EndpointId, reason: Option<Reason>) {
        self.detach(id);
        let Some(endpoint) = self.endpoints.remove(&id) else { return };
        // One that ends before it was up has failed, whoever ended it.
        let failed = endpoint.has_path && !endpoint.connected;
        let reason = reason.map(|reason| if failed && reason == Reason::Hangup { Reason::DtlsFailed } else { reason });
        if reason == Some(Reason::DtlsFailed) {
            tracing::warn!(endpoint = id.0, stream = ?endpoint.stream, "a client's DTLS handshake failed");
            metrics::counter!("confgate_media_dtls_failures_total").increment(1);
        }
        if reason == Some(Reason::IceFailed) {
            let (id, stream, was_connected) = (id.0, &endpoint.stream, endpoint.connected);
            tracing::info!(endpoint = id, ?stream, was_connected, "a client has no media path");
            metrics::counter!("confgate_media_path_failures_total").increment(1);
        }
        self.demux.forget(id);
        if let Some(at) = endpoint.timer {
            self.timers.remove(&(at, id));
        }
        self.routing.push(Routing::Ended { endpoint: id });
        if let Some(reason) = reason {
            self.notices.push_back(Notice::Closed { endpoint: id, reason });
        }
    }
}
