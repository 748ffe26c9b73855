//! What signalling wants of a worker.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::media::{Direction, MediaKind};
use str0m::net::Protocol;
use str0m::{Input, Output};

use super::{Routing, Worker, mark, outgoing};
use crate::endpoint::{Endpoint, Ice, Publisher, Role, host_candidate};
use crate::room::{Allowed, Stream, StreamKey};
use crate::sdp;
use crate::vocabulary::{Command, EndpointId, MemberId, Notice, Reason, Refusal, RoomId, StreamId};

impl Worker {
    /// Does what signalling wants; answers are notices. [`Command::Pull`] needs a socket: see [`Worker::pull`].
    pub fn command(&mut self, command: Command, now: Instant) {
        let (endpoint, done) = match command {
            Command::Publish { room, endpoint, stream, offer } => {
                (endpoint, self.publish(room, endpoint, stream, &offer, now))
            }
            Command::Subscribe { room, endpoint, stream, offer, .. } => {
                (endpoint, self.subscribe(room, endpoint, stream, &offer, now))
            }
            Command::Pull { endpoint, .. } => (endpoint, Err(Refusal::Unavailable)),
            Command::Answered { endpoint, answer } => (endpoint, self.answered(endpoint, &answer, now)),
            Command::Renegotiate { endpoint, offer } => (endpoint, self.renegotiate(endpoint, &offer, now)),
            Command::Candidate { endpoint, candidate } => return self.candidate(endpoint, &candidate),
            Command::Close { endpoint } => return self.close(endpoint, None, now),
            Command::Permit { room, member, audio, video } => {
                return self.permit(room, member, Allowed { audio, video });
            }
            Command::View { endpoint, width, height } => return self.view(endpoint, width, height),
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

    fn publish(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admit(id)?;
        let answer = self.answer_to(id, Role::Publisher(Publisher::default()), &room, stream, offer, now)?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        self.take_place(id, now);
        Ok(())
    }

    /// The endpoint is its stream's publisher from now on; the one before ends.
    fn take_place(&mut self, id: EndpointId, now: Instant) {
        let Some(key) = self.endpoints.get(&id).map(|endpoint| endpoint.stream) else { return };
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if let Some(former) = stream.publisher.replace(id)
            && former != id
        {
            self.close(former, Some(Reason::Replaced), now);
        }
    }

    fn subscribe(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.admit(id)?;
        let role = Role::Subscriber(Box::default());
        let answer = self.answer_to(id, role, &room, stream, offer, now)?;
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        let Some(key) = self.endpoints.get(&id).map(|endpoint| endpoint.stream) else { return Ok(()) };
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.subscribers.push(id);
        }
        Ok(())
    }

    fn admit(&self, id: EndpointId) -> Result<(), Refusal> {
        if self.endpoints.contains_key(&id) {
            return Err(Refusal::BadEndpoint);
        }
        if self.endpoints.len() >= self.limits.endpoints_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    /// Makes the endpoint that answers the offer.
    fn answer_to(
        &mut self,
        id: EndpointId,
        role: Role,
        room: &RoomId,
        stream: StreamId,
        offer: &str,
        now: Instant,
    ) -> Result<String, Refusal> {
        let parsed = sdp::offer(offer)?;
        let mut rtc = self.factory.rtc(Ice::Lite, None, now);
        for (proto, address) in &self.locals {
            host_candidate(*proto, *address).and_then(|candidate| rtc.add_local_candidate(candidate).map(|_| ()));
        }
        let answer = rtc.sdp_api().accept_offer(parsed).map_err(|error| bad_sdp(id, &error))?;
        let mut endpoint = Endpoint::new(id, StreamKey(u64::MAX), rtc, role, now + self.limits.connect_timeout);
        endpoint.note_media(&answer);
        if !endpoint.has_media() {
            return Err(Refusal::BadSdp);
        }
        self.insert(endpoint, room, stream);
        self.drain(id, now);
        Ok(answer.to_sdp_string())
    }

    fn insert(&mut self, mut endpoint: Endpoint, room: &RoomId, stream: StreamId) {
        let id = endpoint.id;
        endpoint.stream = self.stream_key(room, stream);
        let fragment = endpoint.rtc.direct_api().local_ice_credentials().ufrag;
        self.endpoints.insert(id, endpoint);
        self.name(id, fragment);
    }

    fn name(&mut self, endpoint: EndpointId, fragment: String) {
        self.demux.name(endpoint, fragment.clone());
        self.routing.push(Routing::Named { endpoint, fragment });
    }

    fn stream_key(&mut self, room: &RoomId, id: StreamId) -> StreamKey {
        let place = self.rooms.entry(room.clone()).or_default();
        if let Some(key) = place.streams.get(&id) {
            return *key;
        }
        let key = StreamKey(self.next_stream);
        self.next_stream += 1;
        let allowed = place.allowed(&id.member);
        place.streams.insert(id.clone(), key);
        let stream = Stream { id, room: room.clone(), publisher: None, subscribers: Vec::new(), allowed };
        self.streams.insert(key, stream);
        key
    }

    /// [`Command::Pull`], with the address of a socket that is this endpoint's alone. Of its own, since all streams
    /// pulled from one node come from one address of that node: on a shared socket nothing told them apart.
    pub fn pull(&mut self, room: RoomId, id: EndpointId, stream: StreamId, own: SocketAddr, now: Instant) {
        match self.offer_to_receive(room, id, stream, own, now) {
            Ok(offer) => self.notices.push_back(Notice::Offer { endpoint: id, offer }),
            Err(refusal) => self.refuse(id, refusal),
        }
    }

    fn offer_to_receive(
        &mut self,
        room: RoomId,
        id: EndpointId,
        stream: StreamId,
        own: SocketAddr,
        now: Instant,
    ) -> Result<String, Refusal> {
        self.admit(id)?;
        let mut rtc = self.factory.rtc(Ice::Full, None, now);
        let candidate = host_candidate(Protocol::Udp, own).ok_or(Refusal::Unavailable)?;
        rtc.add_local_candidate(candidate);
        let mut changes = rtc.sdp_api();
        let audio = changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let video = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().ok_or(Refusal::Unavailable)?;
        let role = Role::Publisher(Publisher { pending: Some(pending), ..Publisher::default() });
        let mut endpoint = Endpoint::new(id, StreamKey(u64::MAX), rtc, role, now + self.limits.connect_timeout);
        endpoint.own_socket = Some(own);
        // str0m tells of media that the other side added only.
        endpoint.add_media(audio, MediaKind::Audio, Vec::new());
        endpoint.add_media(video, MediaKind::Video, Vec::new());
        self.insert(endpoint, &room, stream);
        self.drain(id, now);
        Ok(offer.to_sdp_string())
    }

    fn answered(&mut self, id: EndpointId, answer: &str, now: Instant) -> Result<(), Refusal> {
        let endpoint = self.endpoints.get_mut(&id).ok_or(Refusal::BadEndpoint)?;
        let Role::Publisher(publisher) = &mut endpoint.role else { return Err(Refusal::BadEndpoint) };
        let pending = publisher.pending.take().ok_or(Refusal::BadEndpoint)?;
        let taken = sdp::answer(answer)
            .and_then(|answer| endpoint.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| bad_sdp(id, &e)));
        if let Err(refusal) = taken {
            self.remove(id, None);
            return Err(refusal);
        }
        endpoint.lost_at = Some(now + self.limits.connect_timeout);
        mark(&mut self.dirty, endpoint);
        self.take_place(id, now);
        Ok(())
    }

    fn renegotiate(&mut self, id: EndpointId, offer: &str, now: Instant) -> Result<(), Refusal> {
        let endpoint = self.endpoints.get_mut(&id).ok_or(Refusal::BadEndpoint)?;
        let offer = sdp::offer(offer)?;
        let answer = endpoint.rtc.sdp_api().accept_offer(offer).map_err(|error| bad_sdp(id, &error));
        if let Role::Subscriber(subscriber) = &mut endpoint.role {
            let tracks = [subscriber.audio.as_mut(), subscriber.video.as_mut()];
            tracks.into_iter().flatten().for_each(|track| track.renegotiated());
        }
        let fragment = endpoint.rtc.direct_api().local_ice_credentials().ufrag;
        mark(&mut self.dirty, endpoint);
        let answer = answer.inspect(|answer| endpoint.note_media(answer));
        self.name(id, fragment);
        let answer = answer?;
        let answer = answer.to_sdp_string();
        self.notices.push_back(Notice::Answer { endpoint: id, answer });
        self.want_keyframe(id, now);
        Ok(())
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
    fn close(&mut self, id: EndpointId, reason: Option<Reason>, now: Instant) {
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
        for key in place.streams.values() {
            let Some(stream) = self.streams.remove(key) else { continue };
            for id in stream.subscribers.into_iter().chain(stream.publisher) {
                self.close(id, None, now);
            }
        }
    }

    fn permit(&mut self, room: RoomId, member: MemberId, allowed: Allowed) {
        if !self.rooms.contains_key(&room) && allowed == Allowed::default() {
            return;
        }
        let place = self.rooms.entry(room.clone()).or_default();
        if place.permits() >= self.limits.permits_max && place.allowed(&member) == Allowed::default() {
            tracing::warn!(%room, "more members with permits than a room may have: a permit isn't remembered");
            return;
        }
        place.permit(member.clone(), allowed);
        for (id, key) in &place.streams {
            if id.member == member
                && let Some(stream) = self.streams.get_mut(key)
            {
                stream.allowed = allowed;
            }
        }
        if place.is_idle() {
            self.rooms.remove(&room);
        }
    }

    fn view(&mut self, _id: EndpointId, _width: u32, _height: u32) {}
}

fn bad_sdp(id: EndpointId, error: &str0m::RtcError) -> Refusal {
    tracing::debug!(endpoint = id.0, %error, "an SDP that can't be taken");
    Refusal::BadSdp
}
